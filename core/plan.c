#include "core/plan.h"

enum { F32 = 4, BF16 = 2, MOMENTS = 2 * F32 };

/* What no step knows of: libraries and their context on the GPU, and cuBLASLt's and cuDNN's workspace. */
#define CUDA_CONTEXT   ((int64_t)500 << 20)
#define CUDA_WORKSPACE ((int64_t)64 << 20)
/* What a CPU process grows by besides: oneDNN's compiled primitives, threads, the tape's records. Measured.
 */
#define ONEDNN_CODE ((int64_t)12 << 20)

bool plan_open(const PlanJob *job, Error *e) {
    task_layer_decay(job->task, job->optim->layer_decay);
    return params_train(&job->task->params, buckets_multiple(), e);
}

static Batch batch_of(const Task *task, int64_t n) {
    return (Batch){.n = (int)n,
                   .whole = (int)n,
                   .each = task->masks,
                   .image = {.ndim = 4, .dim = {n, 3, task->image_size, task->image_size}, .dtype = DT_F32}};
}

bool plan_need(PlanNeed *out, const PlanJob *job, int64_t batch, Error *e) {
    Step *s = step_create(job->dtype, BACKEND_CPU, (size_t)1 << 42, e); /* address space alone */
    if (!s) return false;
    s->dry = true;
    Batch b = batch_of(job->task, batch);
    params_begin(&job->task->params);
    params_zero_grad(&job->task->params);
    step_begin(s);
    tape_backward(s, job->task->class->loss(job->task, s, &b, NULL), 1);
    *out = (PlanNeed){batch, s->flops, (int64_t)s->kept, (int64_t)step_peak(s)};
    step_free(s);
    return true;
}

/* ---- memory ---- */

static int64_t moments_of(const PlanJob *job) {
    return job->task->params.trained * (job->optim->kind == OPTIM_ADAMW ? MOMENTS : F32);
}

static int64_t pixels(const PlanJob *job, int64_t batch) {
    return batch * 3 * job->task->image_size * job->task->image_size;
}

static PlanMemory parameters(const PlanJob *job) {
    const Params *p = &job->task->params;
    return (PlanMemory){.weights = p->values * F32,
                        .gradients = p->trained * F32,
                        .moments = moments_of(job),
                        .average = job->optim->ema > 0 ? p->trained * F32 : 0};
}

static PlanMemory summed(PlanMemory m) {
    m.all = m.weights + m.gradients + m.moments + m.average + m.step + m.images + m.program;
    return m;
}

PlanMemory plan_on_cpu(const PlanJob *job, const PlanNeed *need, int64_t program) {
    PlanMemory m = parameters(job);
    m.step = need->peak;
    m.images = 2 * pixels(job, need->batch) * F32; /* the loader's two batches */
    m.program = program + ONEDNN_CODE;
    return summed(m);
}

PlanMemory plan_on_gpu(const PlanJob *job, const PlanNeed *need, int64_t gpus, bool shard) {
    PlanMemory m = parameters(job);
    if (job->dtype == DT_BF16) m.weights += job->task->params.values * BF16; /* rounded once an update */
    if (shard) m.moments = (m.moments + gpus - 1) / gpus;
    m.step = need->peak;
    m.images = pixels(job, need->batch) * (2 * (job->floats ? F32 : 1) + F32); /* two on their way */
    m.program = CUDA_CONTEXT + CUDA_WORKSPACE;
    return summed(m);
}

/* ---- time ---- */

/* Bytes that the update moves for each of this GPU's parameters: the norm reads the gradient; then all are
 * read, and all but the gradient written. */
static double update_bytes(const PlanJob *job, int64_t gpus, bool shard) {
    double n = (double)job->task->params.trained, moments = (double)moments_of(job);
    double own = n * F32 + n * (3 * F32) + 2 * moments;
    double whole = (job->dtype == DT_BF16 ? n * (F32 + BF16) : 0) + (job->optim->ema > 0 ? n * (3 * F32) : 0);
    return (shard ? own / (double)gpus : own) + whole;
}

/* How long one way of a ring takes: reduce-scatter or all-gather. An all-reduce is both. */
static double ring(const PlanMachine *m, int64_t gpus, double bytes) {
    double n = (double)gpus;
    return (n - 1) / n * bytes / (gpus > m->machine ? m->between : m->inside);
}

static double least(double a, double b) {
    return a < b ? a : b;
}

/* Backward is two thirds of the work. A stretch of gradients leaves when it is whole and the one before has
 * arrived, so the first waits for its share of backward and the last travels when backward is over. */
static double exposed(double reduce, double backward, double stretch) {
    double late = reduce - (1 - stretch) * backward, last = stretch * reduce;
    return late > last ? late : last;
}

PlanTime plan_time(const PlanJob *job, const PlanNeed *need, const PlanMachine *m, int64_t gpus, bool shard) {
    double passes = (double)job->train->accumulate, bytes = (double)job->task->params.trained * F32;
    double once = need->flops / (m->rate * m->fraction);
    double stretch = bytes > 0 ? least(1, (double)(job->train->bucket_mb << 20) / bytes) : 1;
    PlanTime t = {.compute = passes * once,
                  .optimizer = update_bytes(job, gpus, shard) / m->bandwidth,
                  .reduce = (shard ? 1 : 2) * ring(m, gpus, bytes),
                  .collect = shard ? ring(m, gpus, bytes) : 0};
    t.exposed = exposed(t.reduce, once * 2 / 3, stretch) + t.collect;
    t.step = t.compute + t.optimizer + t.exposed;
    double images = (double)(need->batch * gpus) * passes;
    double alone = t.compute + update_bytes(job, 1, false) / m->bandwidth;
    t.images_per_second = images / t.step;
    t.efficiency = alone / t.step;
    return t;
}
