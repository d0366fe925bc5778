/* SAM's interactive training (Kirillov et al. 2023, A, "Training algorithm"): every mask is prompted in
 * rounds, each with one more click where the answer before was wrong, and with that answer's logits. The
 * embedding is computed once. No gradient passes from one round to the next. */
#include "core/ops.h"
#include "segment/moves.h"
#include "segment/prompts.h"

enum { MASKS = 4 };

typedef struct Rounds {
    Tensor *given[FIRST_GIVEN];
    Tensor *click, *label; /* [N, r, 3], [N, r]: so far; NULL: none */
    Tensor *logits;        /* f32 [N, 1, 4g, 4g] of the answer before; NULL: none */
    int64_t n;
} Rounds;

static Tensor *flat(Step *s, Tensor *x, int64_t rows, int64_t columns) {
    return op_reshape(s, x, 2, (int64_t[]){rows, columns});
}

/* ---- one round ---- */

/* x, target [N, P] -> [N] */
static Tensor *mask_cost(Step *s, const SegmentSettings *set, Tensor *x, Tensor *target) {
    Tensor *focal = op_mask_loss(s, x, target, MASK_FOCAL, set->focal_alpha, set->focal_gamma);
    Tensor *dice = op_mask_loss(s, x, target, MASK_DICE, 0, 0);
    return op_add(s, op_scale(s, focal, set->focal_weight, 0), op_scale(s, dice, set->dice_weight, 0));
}

/* Of each row of x [N, K, W] that which index [N, 1] names: [N, W]. */
static Tensor *picked(Step *s, Tensor *x, Tensor *index) {
    return flat(s, op_gather(s, x, index, NULL), x->dim[0], x->dim[2]);
}

/* Cost and overlap of the first `count` masks of a [N, 4, 4g, 4g]: [N, count] each. */
static void masks_compare(Step *s, const SegmentRound *r, Tensor *mask, int count, Tensor **cost,
                          Tensor **overlap) {
    Tensor *c[MASKS], *o[MASKS];
    int64_t n = mask->dim[0], side = r->m->loss_side;
    Tensor *target = flat(s, r->target, n, side * side);
    for (int k = 0; k < count; k++) {
        Tensor *x = flat(s, segment_sized(s, op_slice(s, mask, 1, k, 1), side), n, side * side);
        c[k] = flat(s, mask_cost(s, &r->m->set, x, target), n, 1);
        bool was = step_no_grad(s);
        o[k] = flat(s, op_mask_overlap(s, x, target), n, 1);
        step_grad_on(s, was);
    }
    *cost = count > 1 ? op_concat(s, c, count, 1) : c[0];
    *overlap = count > 1 ? op_concat(s, o, count, 1) : o[0];
}

/* Which of the masks that answer costs least [N, 1], or is thought best. */
static Tensor *answer_pick(Step *s, const SegmentRound *r, Tensor *value, TopKind kind) {
    bool was = step_no_grad(s);
    Tensor *barred = kind == TOP_LEAST ? op_add(s, value, r->bar) : op_arith(s, value, r->bar, ARITH_SUB);
    Tensor *index = op_top_index(s, barred, kind, 1);
    step_grad_on(s, was);
    return index;
}

/* (iou - overlap)^2, summed over the masks with their shares: [N] */
static Tensor *iou_cost(Step *s, const SegmentRound *r, Tensor *iou, Tensor *overlap) {
    Tensor *d = op_arith(s, iou, overlap, ARITH_SUB);
    d = op_arith(s, d, d, ARITH_MUL);
    if (r->first) d = op_arith(s, d, r->share, ARITH_MUL);
    return op_reduce(s, d, 1, 1, REDUCE_SUM);
}

/* The logits that the next round is prompted with: f32 [N, 4g 4g]. */
static Tensor *logits_pass(Step *s, const SegmentRound *r, const SamAnswer *a) {
    int64_t n = a->mask->dim[0], low = r->m->low;
    bool was = step_no_grad(s);
    Tensor *x;
    if (r->first) {
        Tensor *best = answer_pick(s, r, a->iou, TOP_GREATEST);
        x = picked(s, op_reshape(s, a->mask, 3, (int64_t[]){n, MASKS, low * low}), best);
    } else {
        x = flat(s, op_slice(s, a->mask, 1, 0, 1), n, low * low);
    }
    x = f32_of(s, x);
    step_grad_on(s, was);
    return x;
}

/* image [B, 256, g, g] -> f32 [N, 1 + 4g 4g]: each object's loss, and the answer's logits, through which no
 * gradient passes. One tensor, so that the round can be run again in backward. */
static Tensor *round_run(Step *s, void *self, Tensor *image) {
    const SegmentRound *r = self;
    const SegmentSettings *set = &r->m->set;
    Scope scope = scope_open(s);
    int count = r->first ? MASKS : 1;
    const SamEmbedding on = {.image = image, .place = r->place};
    const SamPrompt prompt = {.point = r->point, .label = r->label, .mask = r->mask};
    SamAnswer a = sam_answer(s, &r->m->sam, &on, r->of, &prompt);
    int64_t n = a.mask->dim[0];
    Tensor *cost, *overlap, *iou = r->first ? a.iou : op_slice(s, a.iou, 1, 0, 1);
    masks_compare(s, r, a.mask, count, &cost, &overlap);
    if (r->first)
        cost =
            picked(s, op_reshape(s, cost, 3, (int64_t[]){n, MASKS, 1}), answer_pick(s, r, cost, TOP_LEAST));
    Tensor *loss = op_scale(s, iou_cost(s, r, iou, overlap), set->iou_weight, 0);
    loss = op_add(s, op_reshape(s, cost, 1, &n), loss);
    loss = flat(s, op_arith(s, loss, r->weight, ARITH_MUL), n, 1);
    return scope_close(s, scope, op_concat(s, (Tensor *[]){loss, logits_pass(s, r, &a)}, 2, 1));
}

/* ---- all rounds ---- */

/* Rounds that bring no new click: the last, of 3 and more; of 5 and more, also one after a click drawn for
 * the step, the same for all masks, and for every look at a batch that is fixed. Number 0 is the first round.
 */
static int64_t still_round(const Step *s, const SegmentSettings *set) {
    if (set->rounds < 5) return set->rounds;
    Rng r = rng_open(s->seed, RNG_PROMPT, 0, s->batch->fixed ? 0 : (uint64_t)s->index);
    return 2 + (int64_t)rng_below(&r, (uint64_t)set->rounds - 3);
}

/* One click more, where the answer before was wrong. */
static void click_add(Step *s, const Segment *m, Rounds *v, int64_t clicks) {
    int64_t n = v->n, side = m->loss_side, square[3] = {n, side, side};
    bool was = step_no_grad(s);
    Tensor *label, *draw = op_reshape(s, op_slice(s, v->given[FIRST_DRAW], 0, clicks, 1), 1, &n);
    Tensor *x = op_reshape(s, segment_sized(s, v->logits, side), 3, square);
    Tensor *at = op_reshape(s, op_click(s, x, v->given[FIRST_TARGET], draw, &label), 3, (int64_t[]){n, 1, 3});
    label = flat(s, label, n, 1);
    v->click = v->click ? op_concat(s, (Tensor *[]){v->click, at}, 2, 1) : at;
    v->label = v->label ? op_concat(s, (Tensor *[]){v->label, label}, 2, 1) : label;
    step_grad_on(s, was);
}

/* The clicks, then the first prompt with its padding or its box's corners: the order among points has no
 * effect. */
static void round_prompt(Step *s, Rounds *v, SegmentRound *r) {
    Tensor *point = v->given[FIRST_POINT], *label = v->given[FIRST_LABEL];
    bool was = step_no_grad(s);
    r->point = v->click ? op_concat(s, (Tensor *[]){v->click, point}, 2, 1) : point;
    r->label = v->label ? op_concat(s, (Tensor *[]){v->label, label}, 2, 1) : label;
    r->mask = v->logits;
    step_grad_on(s, was);
}

static Tensor *round_of(Step *s, Segment *m, Rounds *v, const SamEmbedding *on, int64_t number) {
    int64_t low = m->low;
    SegmentRound *r = &m->round[number];
    *r = (SegmentRound){.m = m,
                        .first = number == 0,
                        .of = v->given[FIRST_OF],
                        .place = on->place,
                        .target = v->given[FIRST_TARGET],
                        .weight = v->given[FIRST_WEIGHT],
                        .bar = v->given[FIRST_BAR],
                        .share = v->given[FIRST_SHARE]};
    round_prompt(s, v, r);
    Tensor *y = m->recompute ? step_recompute(s, round_run, r, on->image) : round_run(s, r, on->image);
    bool was = step_no_grad(s);
    v->logits = op_reshape(s, op_slice(s, y, 1, 1, low * low), 4, (int64_t[]){v->n, 1, low, low});
    step_grad_on(s, was);
    return op_slice(s, y, 1, 0, 1); /* [N, 1] */
}

Tensor *segment_loss_sam(Task *task, Step *s, const Batch *batch, Tensor **each) {
    Segment *m = task->self;
    int64_t masks = segment_each(task, batch), rounds = m->set.rounds, clicks = 0;
    Rounds v = {.n = batch->n * masks};
    segment_batch(s, batch);
    SamEmbedding on = segment_embed(s, m, batch);
    prompts_first(s, m, batch->n, masks, v.given);
    int64_t still = still_round(s, &m->set);
    Tensor *sum = NULL;
    for (int64_t k = 0; k < rounds; k++) {
        bool last = k == rounds - 1 && rounds >= 3;
        if (k > 0 && k != still && !last) click_add(s, m, &v, clicks++);
        Tensor *loss = round_of(s, m, &v, &on, k);
        sum = sum ? op_add(s, sum, loss) : loss;
    }
    sum = op_scale(s, flat(s, sum, batch->n, masks), 1 / (double)(rounds * masks), 0);
    if (each) *each = op_reduce(s, sum, 1, 1, REDUCE_SUM);
    return op_scale(s, op_reduce(s, sum, 0, 2, REDUCE_SUM), 1 / (double)batch->n, 0);
}
