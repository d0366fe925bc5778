/* Ops against what torch and Pillow computed (tests/golden/README.md): outputs and gradients, by both
 * backends. */
#include "core/ops.h"
#include "tests/golden.h"

static const double LIMIT = 1e-5; /* relative, Euclidean norm */

/* One case of a fixture: its tensors are NAME.key. */
typedef struct Case {
    Step *s;
    SafeFile *file;
    char name[64];
} Case;

static const SafeEntry *entry(const Case *c, const char *key) {
    char name[128];
    snprintf(name, sizeof name, "%s%s%s", c->name, *c->name ? "." : "", key);
    return safe_find(c->file, name);
}

/* NULL when the case has no such tensor. The host writes to step memory here, which kernels before may still
 * be using: it waits for them. */
static Tensor *optional(const Case *c, const char *key) {
    const SafeEntry *x = entry(c, key);
    Error e;
    if (!x) return NULL;
    golden_wait();
    DType dtype = x->type == SAFE_I32 ? DT_I32 : x->type == SAFE_U8 ? DT_U8 : DT_F32;
    Tensor *t = step_tensor(c->s, dtype, x->ndim, x->dim);
    if (!safe_fits(c->file, x, t, &e) || !safe_read(c->file, x, t, &e)) fail_msg("%s", e.text);
    t->name = x->name;
    return t;
}

static Tensor *load(const Case *c, const char *key) {
    Tensor *t = optional(c, key);
    if (!t) fail_msg("%s.%s is not in %s", c->name, key, safe_path(c->file));
    return t;
}

/* An input that the case has a gradient for. */
static Tensor *leaf(const Case *c, const char *key) {
    Tensor *t = optional(c, key);
    if (t) step_want_grad(t);
    return t;
}

/* A leaf that the case must have. */
static Tensor *needed(const Case *c, const char *key) {
    Tensor *t = leaf(c, key);
    if (!t) fail_msg("%s has no %s", c->name, key);
    return t;
}

static int integer(const Case *c, const char *key, int i) {
    return tensor_i32(load(c, key))[i];
}

static double number(const Case *c, const char *key) {
    return (double)tensor_real(load(c, key))[0];
}

static double value(const Tensor *t, int64_t i) {
    return t->dtype == DT_I32 ? (double)tensor_i32(t)[i] : (double)tensor_real(t)[i];
}

static void check(const Case *c, const char *key, const Tensor *got) {
    const Tensor *want = load(c, key);
    double diff = 0, norm = 0;
    golden_wait();
    if (!got) fail_msg("%s.%s: nothing was computed", c->name, key);
    assert_int_equal(got->dtype, want->dtype);
    assert_int_equal(tensor_count(got), tensor_count(want));
    for (int64_t i = 0; i < tensor_count(want); i++) {
        double d = value(got, i) - value(want, i);
        diff += d * d;
        norm += value(want, i) * value(want, i);
    }
    double off = sqrt(diff) / (sqrt(norm) + 1e-30);
    if (!(off <= LIMIT)) fail_msg("%s.%s is off by %.3g", c->name, key, off);
}

/* Walks back from dy, the gradient of y. */
static void backward_from(const Case *c, Tensor *y, const Tensor *dy) {
    Tensor *grad = step_grad_of(c->s, y, NULL);
    golden_wait(); /* until it has been zeroed */
    memcpy(grad->data, dy->data, tensor_bytes(dy));
    tape_backward_seeded(c->s);
}

/* Checks y, walks back from the case's d_y (1 for a loss) and checks the gradient of every leaf given. */
static void finish(const Case *c, Tensor *y, int leaves, const char *const key[], Tensor *const t[]) {
    check(c, "y", y);
    const Tensor *dy = optional(c, "d_y");
    if (dy) {
        backward_from(c, y, dy);
    } else {
        tape_backward(c->s, y, 1);
    }
    for (int i = 0; i < leaves; i++) {
        char name[32];
        snprintf(name, sizeof name, "d_%s", key[i]);
        if (t[i]) check(c, name, t[i]->grad);
    }
}

static const char *const affine[] = {"x", "weight", "bias"};

/* ---- one function an op; each is called for the cases NAME.0, NAME.1, .. ---- */

static void conv2d(Case *c) {
    Tensor *in[] = {leaf(c, "x"), leaf(c, "weight"), leaf(c, "bias")};
    Tensor *y = op_conv2d(c->s, in[0], in[1], in[2], integer(c, "args", 0), integer(c, "args", 1),
                          integer(c, "args", 2));
    finish(c, y, 3, affine, in);
}

static void conv_transpose2d(Case *c) {
    Tensor *in[] = {leaf(c, "x"), leaf(c, "weight"), leaf(c, "bias")};
    Tensor *y = op_conv_transpose2d(c->s, in[0], in[1], in[2], integer(c, "args", 0), integer(c, "args", 1),
                                    integer(c, "args", 2), integer(c, "args", 3));
    finish(c, y, 3, affine, in);
}

static void batch_norm(Case *c) {
    Tensor *in[] = {leaf(c, "x"), leaf(c, "weight"), leaf(c, "bias")};
    Tensor *mean = load(c, "running_mean"), *var = load(c, "running_var");
    bool was = step_no_grad(c->s);
    c->s->training = false;
    check(c, "y_eval", op_batch_norm(c->s, in[0], in[1], in[2], mean, var, NULL, 0.1, 1e-5));
    c->s->training = true;
    step_grad_on(c->s, was);
    finish(c, op_batch_norm(c->s, in[0], in[1], in[2], mean, var, NULL, 0.1, 1e-5), 3, affine, in);
    check(c, "running_mean_after", mean);
    check(c, "running_var_after", var);
}

static void group_norm(Case *c) {
    Tensor *in[] = {leaf(c, "x"), leaf(c, "weight"), leaf(c, "bias")};
    finish(c, op_group_norm(c->s, in[0], in[1], in[2], integer(c, "args", 0), 1e-6), 3, affine, in);
}

static void layer_norm(Case *c) {
    Tensor *in[] = {leaf(c, "x"), leaf(c, "weight"), leaf(c, "bias")};
    finish(c, op_layernorm(c->s, in[0], in[1], in[2], 1e-6), 3, affine, in);
}

static void layer_norm2d(Case *c) {
    Tensor *in[] = {leaf(c, "x"), leaf(c, "weight"), leaf(c, "bias")};
    finish(c, op_layernorm2d(c->s, in[0], in[1], in[2], 1e-6), 3, affine, in);
}

/* (N, heads, tokens, d) to the engine's (N, tokens, heads d). */
static Tensor *heads_in(const Case *c, Tensor *x) {
    int64_t dim[] = {x->dim[0], x->dim[2], x->dim[1] * x->dim[3]};
    return op_reshape(c->s, op_permute(c->s, x, (const int[]){0, 2, 1, 3}), 3, dim);
}

static void attention(Case *c) {
    static const char *const key[] = {"q", "k", "v", "bias"};
    Tensor *in[] = {needed(c, "q"), needed(c, "k"), needed(c, "v"), leaf(c, "bias")};
    int64_t heads = in[0]->dim[1], dim[] = {in[0]->dim[0], in[0]->dim[2], heads, in[0]->dim[3]};
    Tensor *y = op_attention(c->s, heads_in(c, in[0]), heads_in(c, in[1]), heads_in(c, in[2]), in[3],
                             (int)heads, integer(c, "causal", 0));
    y = op_permute(c->s, op_reshape(c->s, y, 4, dim), (const int[]){0, 2, 1, 3});
    finish(c, y, 4, key, in);
}

static void gelu(Case *c) {
    Tensor *x = leaf(c, "x");
    finish(c, op_pointwise(c->s, x, POINT_GELU), 1, affine, &x);
}

static void softmax(Case *c) {
    Tensor *x = leaf(c, "x");
    finish(c, op_softmax(c->s, x), 1, affine, &x);
}

static void cross_entropy(Case *c) {
    Tensor *x = leaf(c, "x"), *labels = load(c, "labels");
    finish(c, op_xent(c->s, x, labels, NULL, number(c, "label_smoothing"), NULL), 1, affine, &x);
}

static void cross_entropy_soft(Case *c) {
    Tensor *x = leaf(c, "x");
    finish(c, op_xent(c->s, x, NULL, load(c, "target"), 0, NULL), 1, affine, &x);
}

static void mse(Case *c) {
    Tensor *x = leaf(c, "x");
    finish(c, op_mse(c->s, x, load(c, "target"), NULL, NULL), 1, affine, &x);
}

static void bce_logits(Case *c) {
    Tensor *x = leaf(c, "x");
    finish(c, op_point_loss(c->s, x, load(c, "target"), NULL, LOSS_BCE, 0), 1, affine, &x);
}

static void l1(Case *c) {
    Tensor *x = leaf(c, "x");
    finish(c, op_point_loss(c->s, x, load(c, "target"), NULL, LOSS_L1, 0), 1, affine, &x);
}

static void smooth_l1(Case *c) {
    Tensor *x = leaf(c, "x");
    finish(c, op_point_loss(c->s, x, load(c, "target"), NULL, LOSS_SMOOTH_L1, number(c, "beta")), 1, affine,
           &x);
}

static void gather(Case *c) {
    Tensor *x = leaf(c, "x");
    finish(c, op_gather(c->s, x, load(c, "index"), NULL), 1, affine, &x);
}

static void fourier(Case *c) {
    check(c, "y", op_fourier(c->s, load(c, "xyw"), load(c, "g")));
}

static void point_sample(Case *c) {
    Tensor *x = leaf(c, "x");
    finish(c, op_point_sample(c->s, x, load(c, "xy")), 1, affine, &x);
}

static void mask_loss(Case *c) {
    Tensor *x = leaf(c, "x");
    const real *numbers = tensor_real(load(c, "numbers"));
    finish(c,
           op_mask_loss(c->s, x, load(c, "target"), (MaskLoss)integer(c, "kind", 0), (double)numbers[0],
                        (double)numbers[1]),
           1, affine, &x);
}

static void mask_overlap(Case *c) {
    check(c, "y", op_mask_overlap(c->s, load(c, "x"), load(c, "target")));
}

static void top_index(Case *c) {
    check(c, "y", op_top_index(c->s, load(c, "x"), (TopKind)integer(c, "args", 0), integer(c, "args", 1)));
}

static void click(Case *c) {
    Tensor *label;
    check(c, "y", op_click(c->s, load(c, "x"), load(c, "target"), load(c, "uniform"), &label));
    check(c, "label", label);
}

static const struct {
    const char *name;
    void (*run)(Case *c);
    int cases;
} ops[] = {
    {"conv2d", conv2d, 5},
    {"conv_transpose2d", conv_transpose2d, 3},
    {"batch_norm", batch_norm, 2},
    {"group_norm", group_norm, 3},
    {"layer_norm", layer_norm, 1},
    {"layer_norm2d", layer_norm2d, 1},
    {"attention", attention, 5},
    {"gelu", gelu, 1},
    {"softmax", softmax, 1},
    {"cross_entropy", cross_entropy, 2},
    {"cross_entropy_soft", cross_entropy_soft, 1},
    {"mse", mse, 1},
    {"bce_logits", bce_logits, 1},
    {"l1", l1, 1},
    {"smooth_l1", smooth_l1, 2},
    {"gather", gather, 2},
    {"fourier", fourier, 1},
    {"point_sample", point_sample, 2},
    {"mask_loss", mask_loss, 4},
    {"mask_overlap", mask_overlap, 1},
    {"top_index", top_index, 3},
    {"click", click, 1},
};

static Case case_open(const char *path) {
    Case c = {0};
    Error e;
    if (!(c.s = step_create(DT_F32, golden_backend(), (size_t)1 << 28, &e))) fail_msg("%s", e.text);
    if (!safe_open(&c.file, path, &e)) fail_msg("%s", e.text);
    return c;
}

static void case_close(Case *c) {
    safe_close(c->file);
    step_free(c->s);
}

static void torch_ops(void **state) {
    (void)state;
    Case c = case_open("tests/golden/ops_torch.safetensors");
    bool gpu = c.s->backend == BACKEND_CUDA; /* its memory is the GPU's: no kernel of another can follow */
    for (Backend b = gpu ? BACKEND_CUDA : BACKEND_REF; b <= (gpu ? BACKEND_CUDA : BACKEND_CPU); b++)
        for (int o = 0; o < COUNT(ops); o++)
            for (int i = 0; i < ops[o].cases; i++) {
                c.s->backend = b;
                step_begin(c.s);
                snprintf(c.name, sizeof c.name, "%s.%d", ops[o].name, i);
                ops[o].run(&c);
            }
    case_close(&c);
}

static void torch_interpolate(void **state) {
    (void)state;
    static const struct {
        const char *name;
        InterpolateKind kind;
    } mode[] = {{"bilinear", INTERPOLATE_BILINEAR},
                {"bilinear_aligned", INTERPOLATE_BILINEAR_CORNERS},
                {"bicubic", INTERPOLATE_BICUBIC_TORCH}};
    static const int64_t size[][2] = {{10, 14}, {3, 4}, {8, 5}, {1, 1}, {5, 7}};
    Case c = case_open("tests/golden/resize_pillow.safetensors");
    for (int m = 0; m < COUNT(mode); m++)
        for (int i = 0; i < COUNT(size); i++) {
            step_begin(c.s);
            snprintf(c.name, sizeof c.name, "torch");
            Tensor *x = leaf(&c, "in"), *y = op_interpolate(c.s, x, mode[m].kind, size[i][0], size[i][1]);
            snprintf(c.name, sizeof c.name, "torch.%s.%dx%d", mode[m].name, (int)size[i][0], (int)size[i][1]);
            check(&c, "out", y);
            backward_from(&c, y, load(&c, "dout"));
            check(&c, "din", x->grad);
        }
    case_close(&c);
}

/* A picture (H, W, 3) of bytes as (1, 3, H, W) of floats. */
static Tensor *planes_of(const Case *c, const char *key) {
    const Tensor *t = load(c, key);
    int64_t n = t->dim[0] * t->dim[1], dim[] = {1, 3, t->dim[0], t->dim[1]};
    Tensor *p = step_tensor(c->s, DT_F32, 4, dim);
    for (int64_t i = 0; i < 3 * n; i++) tensor_real(p)[i % 3 * n + i / 3] = (real)tensor_u8(t)[i];
    return p;
}

/* To whole numbers in 0 .. 255, in place. */
static Tensor *as_bytes(Tensor *t) {
    golden_wait();
    for (int64_t i = 0; i < tensor_count(t); i++)
        tensor_real(t)[i] = floorf(fminf(fmaxf(tensor_real(t)[i], 0), 255) + 0.5f);
    return t;
}

/* Pillow goes across, then down, and rounds to bytes after each; this op never rounds. With the rounding put
 * between two calls the bytes are the same but where a sum falls on a half, as one in 50 does when 64 become
 * 100. */
static void pillow_interpolate(void **state) {
    (void)state;
    static const char *const kind[] = {"bilinear", "bicubic"};
    static const char *const result[] = {
        "coffee.112x112", "coffee.64x64",  "coffee.50x37",   "coffee.224x41",   "coffee.7x5",
        "coffee.1x1",     "chelsea.64x30", "chelsea.100x90", "chelsea.128x128", "chelsea.65x200"};
    Case c = case_open("tests/golden/resize_pillow.safetensors");
    for (int k = 0; k < COUNT(kind); k++)
        for (int i = 0; i < COUNT(result); i++) {
            char key[64];
            int64_t other = 0;
            step_begin(c.s);
            snprintf(key, sizeof key, "source.%s", strncmp(result[i], "coffee", 6) ? "chelsea" : "coffee");
            Tensor *x = planes_of(&c, key);
            snprintf(key, sizeof key, "pillow.%s.%s", kind[k], result[i]);
            const Tensor *want = planes_of(&c, key);
            InterpolateKind how = k ? INTERPOLATE_BICUBIC_PILLOW : INTERPOLATE_BILINEAR_PILLOW;
            Tensor *y = as_bytes(op_interpolate(c.s, x, how, x->dim[2], want->dim[3]));
            y = as_bytes(op_interpolate(c.s, y, how, want->dim[2], want->dim[3]));
            for (int64_t j = 0; j < tensor_count(y); j++) {
                float d = fabsf(tensor_real(y)[j] - tensor_real(want)[j]);
                if (d > 1) fail_msg("%s: a value is off by %g", key, (double)d);
                other += d != 0;
            }
            if (other > tensor_count(y) / 20) fail_msg("%s: %d values differ", key, (int)other);
        }
    case_close(&c);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(torch_ops),
        cmocka_unit_test(torch_interpolate),
        cmocka_unit_test(pillow_interpolate),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
