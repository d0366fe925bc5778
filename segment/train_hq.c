/* HQ-SAM's training (Ke et al. 2023, 3.3; train/train.py, utils/loss_mask.py): SAM stays as it is, the new
 * token's mask alone is compared, at points of which most are where it is least certain (PointRend). */
#include "core/ops.h"
#include "segment/prompts.h"

/* HQ's masks [N, 1, 4g, 4g] of all objects in the order of m->order. */
static Tensor *masks_of(Step *s, const Segment *m, const SamEmbedding *on) {
    Tensor *part[HQ_KINDS] = {0};
    int parts = 0;
    for (int k = 0; k < HQ_KINDS; k++) {
        if (m->order.count[k] == 0) continue;
        Tensor *of;
        Scope scope = scope_open(s);
        const SamPrompt prompt = prompts_hq(s, m, (HqKind)k, &of);
        part[parts++] = scope_close(s, scope, sam_answer(s, &m->sam, on, of, &prompt).fine);
    }
    return parts > 1 ? op_concat(s, part, parts, 0) : part[0];
}

/* Where the masks are compared: f32 [N, P, 2]. */
static Tensor *places_of(Step *s, const Segment *m, Tensor *mask, Tensor *const given[PLACES_GIVEN]) {
    int64_t n = mask->dim[0], keep = prompts_hq_uncertain(m);
    if (keep == 0) return given[PLACES_ANY];
    bool was = step_no_grad(s);
    Scope scope = scope_open(s);
    Tensor *drawn = given[PLACES_DRAWN], *logits = op_point_sample(s, mask, drawn);
    logits = op_reshape(s, logits, 2, (int64_t[]){n, drawn->dim[1]});
    Tensor *at = op_gather(s, drawn, op_top_index(s, logits, TOP_NEAR_ZERO, keep), NULL);
    if (given[PLACES_ANY]) at = op_concat(s, (Tensor *[]){at, given[PLACES_ANY]}, 2, 1);
    scope_close(s, scope, at);
    step_grad_on(s, was);
    return at;
}

/* Row i of the loss is object order[i]'s; where each object's row is. */
static void places_fill(const Step *s, const void *self, Tensor *const *host) {
    (void)s;
    const Segment *m = self;
    for (int64_t i = 0; i < host[0]->dim[1]; i++) tensor_i32(host[0])[m->order.object[i]] = (int32_t)i;
}

/* The mean loss of each image's objects, [B], from that of all in m->order. */
static Tensor *each_of(Step *s, const Segment *m, Tensor *loss, int64_t images, int64_t masks) {
    int64_t n = loss->dim[0];
    bool was = step_no_grad(s);
    Tensor *index, like = {.dtype = DT_I32, .ndim = 2, .dim = {1, n}};
    step_given(s, 1, &index, &like, places_fill, m);
    loss = op_gather(s, op_reshape(s, loss, 3, (int64_t[]){1, n, 1}), index, NULL);
    loss = op_reduce(s, op_reshape(s, loss, 2, (int64_t[]){images, masks}), 1, 1, REDUCE_MEAN);
    step_grad_on(s, was);
    return loss;
}

Tensor *segment_loss_hq(Task *task, Step *s, const Batch *batch, Tensor **each) {
    Segment *m = task->self;
    int64_t masks = segment_each(task, batch), n = batch->n * masks, points = m->set.points;
    Tensor *given[PLACES_GIVEN];
    segment_batch(s, batch);
    prompts_hq_order(s, m, batch->n, masks);
    SamEmbedding on = segment_embed(s, m, batch);
    Tensor *mask = masks_of(s, m, &on);
    prompts_hq_places(s, m, given);
    Tensor *at = places_of(s, m, mask, given);
    Tensor *x = op_reshape(s, op_point_sample(s, mask, at), 2, (int64_t[]){n, points});
    bool was = step_no_grad(s);
    Tensor *target = op_reshape(s, op_point_sample(s, given[PLACES_TARGET], at), 2, (int64_t[]){n, points});
    step_grad_on(s, was);
    Tensor *loss =
        op_add(s, op_mask_loss(s, x, target, MASK_BCE, 0, 0), op_mask_loss(s, x, target, MASK_DICE, 0, 0));
    loss = op_arith(s, loss, given[PLACES_WEIGHT], ARITH_MUL); /* [N] */
    if (each) *each = each_of(s, m, loss, batch->n, masks);
    return op_reduce(s, loss, 0, 1, REDUCE_MEAN);
}
