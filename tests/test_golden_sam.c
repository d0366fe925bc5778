/* SAM and HQ-SAM at a small size against their references: every part's output, and the gradient of every
 * parameter. tests/golden/README.md says what the fixtures hold. */
#include "core/ops.h"
#include "segment/sam.h"
#include "tests/golden_rule.h"

typedef struct Case {
    SafeFile *file;
    Params params;
    Sam sam;
    Step *step;
    Tensor held[64]; /* of the fixture, as inputs: freed at the end */
    int holds;
} Case;

static void case_open(Case *c, bool hq) {
    const char *path = hq ? "tests/golden/sam_hq_micro.safetensors" : "tests/golden/sam_micro.safetensors";
    SamSettings set = {.size = SAM_MICRO, .image_size = 128, .hq = hq};
    Error e = {0};
    *c = (Case){0};
    if (!safe_open(&c->file, path, &e)) fail_msg("%s", e.text);
    if (!sam_declare(&c->sam, &c->params, &set, &e)) fail_msg("%s", e.text);
    if (!params_build(&c->params, 0, &e) || !params_train(&c->params, 1, &e)) fail_msg("%s", e.text);
    by_rule(&c->params);
    Backend backend = golden_backend();
    if (backend == BACKEND_CUDA) params_to_device(&c->params);
    if (!(c->step = step_create(DT_F32, backend, backend == BACKEND_CUDA ? (size_t)1 << 30 : 0, &e)))
        fail_msg("%s", e.text);
    step_begin(c->step);
}

static void case_close(Case *c) {
    for (int i = 0; i < c->holds; i++) mem_free(c->held[i].data);
    step_free(c->step);
    sam_free(&c->sam);
    params_free(&c->params);
    safe_close(c->file);
}

/* PART.KEY of the fixture as an input of the step. */
static Tensor *given(Case *c, const char *part, const char *key) {
    char name[64];
    snprintf(name, sizeof name, "%s%s%s", part, *part ? "." : "", key);
    Tensor *t = &c->held[c->holds++];
    *t = golden_read(c->file, name);
    t->name = "given";
    return step_input(c->step, t);
}

static void near(Case *c, const char *part, const char *key, const Tensor *got) {
    char name[64];
    snprintf(name, sizeof name, "%s%s%s", part, *part ? "." : "", key);
    golden_near(c->file, name, got, 1e-4);
}

/* As the step's backward has it: i32 [1, N]. */
static Tensor *images_of(Case *c, const char *part, const char *key) {
    Tensor *t = given(c, part, key);
    return step_view(c->step, t, 2, (int64_t[]){1, tensor_count(t)});
}

static SamAnswer ask(Case *c, const SamEmbedding *on, const char *part, Tensor *of, bool mask) {
    SamPrompt p = {.point = given(c, part, "point"), .label = given(c, part, "label")};
    if (mask) p.mask = given(c, part, "prompt");
    return sam_answer(c->step, &c->sam, on, of, &p);
}

static void near_answer(Case *c, const char *part, const SamAnswer *a) {
    near(c, part, "mask", a->mask);
    near(c, part, "iou", a->iou);
    if (c->sam.set.hq)
        near(c, part, "fine", a->fine);
    else
        assert_null(a->fine);
}

static void check_outputs(Case *c) {
    static const char *part[] = {"point", "points", "box", "both", "again"};
    Step *s = c->step;
    bool was = step_no_grad(s);
    Tensor *early, *image = given(c, "", "images");
    near(c, "", "embedding", sam_encoder_run(s, &c->sam.vit, image, &early, NULL));
    near(c, "", "early", early);
    near(c, "", "place", prompt_encoder_grid(s, &c->sam.prompt));
    SamEmbedding on = sam_embed(s, &c->sam, image, NULL);
    for (int i = 0; i < 5; i++) {
        near(
            c, part[i], "sparse",
            prompt_encoder_sparse(s, &c->sam.prompt, given(c, part[i], "point"), given(c, part[i], "label")));
        if (i == 4)
            near(c, part[i], "dense", prompt_encoder_dense(s, &c->sam.prompt, given(c, part[i], "prompt")));
        SamAnswer a = ask(c, &on, part[i], images_of(c, part[i], "image"), i == 4);
        near_answer(c, part[i], &a);
    }
    step_grad_on(s, was);
}

static Tensor *rows(Case *c, Tensor *x, int64_t n) {
    return op_reshape(c->step, x, 2, (int64_t[]){n, tensor_count(x) / n});
}

static Tensor *sum(Case *c, Tensor *x, double factor) {
    return op_scale(c->step, op_reduce(c->step, x, 0, x->ndim, REDUCE_SUM), factor, 0);
}

/* 20 focal + Dice of every mask, and the mean squared error of the IoUs. */
static Tensor *loss_of(Case *c, const char *part, const SamAnswer *a, Tensor *truth) {
    Step *s = c->step;
    int64_t masks = 4 * a->mask->dim[0];
    Tensor *x = rows(c, a->mask, masks), *t = rows(c, truth, masks);
    Tensor *focal = op_mask_loss(s, x, t, MASK_FOCAL, 0.25, 2),
           *dice = op_mask_loss(s, x, t, MASK_DICE, 0, 0);
    Tensor *d = op_arith(s, a->iou, given(c, part, "wanted"), ARITH_SUB);
    if (!strcmp(part, "train")) {
        near(c, part, "focal", focal);
        near(c, part, "dice", dice);
    }
    d = sum(c, op_arith(s, d, d, ARITH_MUL), 1.0 / (double)masks);
    return op_add(s, op_add(s, sum(c, focal, 20), sum(c, dice, 1)), d);
}

/* BCE + Dice of HQ's masks at the given points. */
static Tensor *fine_loss_of(Case *c, const char *part, const SamAnswer *a, Tensor *truth) {
    Step *s = c->step;
    int64_t n = a->fine->dim[0];
    Tensor *places = given(c, part, "places");
    Tensor *x = rows(c, op_point_sample(s, a->fine, places), n);
    Tensor *t = rows(c, op_point_sample(s, op_slice(s, truth, 1, 0, 1), places), n);
    Tensor *bce = sum(c, op_mask_loss(s, x, t, MASK_BCE, 0, 0), 1.0 / (double)n);
    Tensor *dice = sum(c, op_mask_loss(s, x, t, MASK_DICE, 0, 0), 1.0 / (double)n);
    if (!strcmp(part, "train")) {
        near(c, part, "bce", bce);
        near(c, part, "point_dice", dice);
    }
    return op_add(s, bce, dice);
}

static Tensor *whole_loss(Case *c, const char *part, const SamAnswer *a) {
    Tensor *truth = given(c, part, "truth"), *loss = loss_of(c, part, a, truth);
    if (a->fine) loss = op_add(c->step, loss, fine_loss_of(c, part, a, truth));
    near(c, part, "loss", loss);
    return loss;
}

static void check_gradients(Case *c) {
    double worst = 0;
    for (int i = 0; i < c->params.count; i++) {
        Param *q = c->params.list[i];
        double far = sketch_distance(c->file, q, 0, tensor_real(&q->tensor)), norm;
        if (!(far <= 1e-6)) fail_msg("%s: the weight is not the fixture's: %.3g", q->name, far);
        if (q->buffer || q->frozen) continue;
        if (!q->tensor.grad) fail_msg("%s has no gradient", q->name);
        far = sketch_far(c->file, q->name, 1, tensor_real(q->tensor.grad), tensor_count(&q->tensor), &norm);
        /* A key's bias has no gradient but rounding noise: softmax does not see it. */
        if (ends_with(q->name, "k_proj.bias")) {
            if (!(far * norm <= 1e-4 && norm <= 1e-4)) fail_msg("%s: not zero: %.3g", q->name, far * norm);
            continue;
        }
        if (far > worst) worst = far;
        if (!(far <= 1e-3)) fail_msg("gradient of %s: relative distance %.3g", q->name, far);
    }
    print_message("worst gradient %.2g\n", worst);
}

static void check_case(bool hq) {
    Case c;
    case_open(&c, hq);
    check_outputs(&c);
    params_begin(&c.params);
    SamEmbedding on = sam_embed(c.step, &c.sam, given(&c, "", "images"), NULL);
    SamAnswer a = ask(&c, &on, "train", images_of(&c, "train", "of"), false);
    SamAnswer b = ask(&c, &on, "train1", NULL, true);
    near_answer(&c, "train", &a);
    near_answer(&c, "train1", &b);
    Tensor *loss = op_add(c.step, whole_loss(&c, "train", &a), whole_loss(&c, "train1", &b));
    params_zero_grad(&c.params);
    tape_backward(c.step, loss, 1);
    params_settle_grad(&c.params);
    golden_wait();
    check_gradients(&c);
    case_close(&c);
}

static void micro(void **state) {
    (void)state;
    check_case(false);
}

static void micro_hq(void **state) {
    (void)state;
    check_case(true);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(micro), cmocka_unit_test(micro_hq)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
