/* xent: softmax cross entropy, mean over rows.
 * logits (B, C)  label (B) i32 in 0 .. C-1, or soft (B, C) f32  ->  loss (1), each (B).
 * f[0] = smoothing e, for labels: target = (1 - e) onehot + e / C.
 * each_b = -sum_c t_bc log softmax(z_b)_c,  dz = dloss (softmax(z) sum(t) - t) / B.
 * Only the loss has a derivative. Backward reads logits, label, soft. */
#include "core/ops.h"

#include <math.h>

static void shape(OpCall *c) {
    const Tensor *z = c->in[0], *label = c->in[1], *soft = c->in[2];
    int64_t one = 1;
    if (z->ndim != 2 || !label == !soft)
        op_die(c, "logits (B, C) and either labels or soft targets are wanted");
    if (label && (tensor_count(label) != z->dim[0] || label->dtype != DT_I32))
        op_die(c, "labels (B) i32 are wanted");
    if (soft && (!tensor_same_shape(soft, z) || soft->dtype != DT_F32))
        op_die(c, "soft targets (B, C) f32 are wanted");
    op_out(c, 0, DT_F32, 1, &one);
    op_out(c, 1, DT_F32, 1, z->dim);
}

static real target(const OpCall *c, int64_t b, int64_t k) {
    int64_t classes = c->in[0]->dim[1];
    if (!c->in[1]) return tensor_real(c->in[2])[b * classes + k];
    return (real)c->f[0] / (real)classes + (tensor_i32(c->in[1])[b] == k ? 1 - (real)c->f[0] : 0);
}

/* log of the sum of exponents of row b. */
static double log_sum(const Tensor *z, int64_t b) {
    int64_t classes = z->dim[1];
    double top = -INFINITY, sum = 0;
    for (int64_t k = 0; k < classes; k++) top = fmax(top, (double)tensor_at(z, b * classes + k));
    for (int64_t k = 0; k < classes; k++) sum += exp((double)tensor_at(z, b * classes + k) - top);
    return top + log(sum);
}

static void labels_check(const OpCall *c, const Tensor *label, int64_t classes) {
    for (int64_t b = 0; label && b < tensor_count(label); b++)
        if (tensor_i32(label)[b] < 0 || tensor_i32(label)[b] >= classes) op_die(c, "a label out of range");
}

static void forward_ref(OpCall *c) {
    const Tensor *z = c->in[0];
    int64_t batch = z->dim[0], classes = z->dim[1];
    double total = 0;
    labels_check(c, c->in[1], classes);
    for (int64_t b = 0; b < batch; b++) {
        double norm = log_sum(z, b), sum = 0;
        for (int64_t k = 0; k < classes; k++)
            sum -= (double)target(c, b, k) * ((double)tensor_at(z, b * classes + k) - norm);
        tensor_real(c->out[1])[b] = (real)sum;
        total += sum;
    }
    tensor_real(c->out[0])[0] = (real)(total / (double)batch);
}

static void backward_ref(OpCall *c) {
    const Tensor *z = c->in[0];
    int64_t batch = z->dim[0], classes = z->dim[1];
    Tensor *dz = op_grad(c, 0, NULL);
    double scale = (double)tensor_real(c->out[0]->grad)[0] / (double)batch;
    if (!dz) return;
    for (int64_t b = 0; b < batch; b++) {
        double norm = log_sum(z, b), mass = 0;
        for (int64_t k = 0; k < classes; k++) mass += (double)target(c, b, k);
        for (int64_t k = 0; k < classes; k++) {
            double p = exp((double)tensor_at(z, b * classes + k) - norm);
            tensor_add(dz, b * classes + k, (real)(scale * (p * mass - (double)target(c, b, k))));
        }
    }
}

static const Probe probes[] = {
    {.about = "labels", .in = {{2, {4, 5}, -3, 3}, {1, {4}, .below = 5}}},
    {.about = "smoothed", .in = {{2, {3, 6}, -3, 3}, {1, {3}, .below = 6}}, .f = {0.1}},
    {.about = "soft", .in = {{2, {3, 4}, -3, 3}, {0}, {2, {3, 4}, 0, 1, .constant = true}}},
};

const Op xent_row = {
    .name = "xent",
    .shape = shape,
    .forward = {forward_ref, ON_CPU(forward_ref), ON_CUDA(xent_forward_cuda)},
    .backward = {backward_ref, ON_CPU(backward_ref), ON_CUDA(xent_backward_cuda)},
    .needs = NEED_IN(0) | NEED_IN(1) | NEED_IN(2),
    .bf16 = true,
    .probe = probes,
    .probes = COUNT(probes),
};

Tensor *op_xent(Step *s, Tensor *logits, Tensor *label, Tensor *soft, double smoothing, Tensor **each) {
    OpCall c = {.in = {logits, label, soft}, .f = {smoothing}};
    op_run(s, &xent_row, &c);
    if (each) *each = c.out[1];
    return c.out[0];
}
