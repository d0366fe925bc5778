#include "core/trainer_cuda.h"

#if defined(LETHE_CUDA) && !defined(LETHE_DOUBLE)

#include "core/clock.h"
#include "core/comm_nccl.h"
#include "core/device.h"
#include "core/optim_cuda.h"
#include "core/stop.h"
#include "core/trace.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

/* What the device tells of an update. */
typedef struct Told {
    float loss;
    OptimVerdict verdict;
} Told;

/* A batch on its way: two places, filled in turn. */
typedef struct Upload {
    void *pixels;
    size_t room;
    int64_t number;     /* of the batch in it; -1: none */
    const Batch *batch; /* of the host, until the next is asked for */
    DeviceMark *there, *used;
} Upload;

typedef enum {
    PHASE_BEGIN,
    PHASE_UPLOAD,
    PHASE_FORWARD,
    PHASE_BACKWARD,
    PHASE_REDUCE,
    PHASE_OPTIMIZER,
    PHASES
} Phase;

typedef struct TrainerCuda {
    OptimCuda optim;
    OptimSlabs slab;
    int64_t mine; /* elements of the moments on this rank */
    Upload upload[2];
    Error failed; /* of the batch that was asked for ahead; code 0: none */
    /* The batch as the step sees it, always in the same place: */
    Batch batch;
    size_t image_room, target_room;
    int room; /* samples */
    float *level;
    float *loss; /* device */
    int64_t *index;
    Told *told; /* pinned */
    DeviceMark *end, *phase[PHASES];
    /* The captured update, and the batch it was captured for: */
    DeviceGraph *graph;
    int n, whole, warm;
    double flops;
    int64_t images; /* of this update so far */
} TrainerCuda;

/* ------------------------------------------------------------------------------------------ opening --- */

bool trainer_cuda_open(Trainer *t, const TrainJob *job, const OptimPart *part, int parts, Error *e) {
    Params *p = &job->task->params;
    TrainerCuda *g = mem_zero(1, sizeof *g);
    if (!comm_agree(g || error_memory(e, sizeof *g), e)) return false;
    t->gpu = g;
    if (comm_size() > 1 && !nccl_open(e)) return false;
    params_to_device(p);
    optim_cuda_open(&g->optim, job->optim, p, part, parts);
    g->mine = part ? optim_elements(part, parts) : p->trained;
    size_t mine = (size_t)g->mine * sizeof(float), whole = (size_t)p->trained * sizeof(float);
    g->slab = (OptimSlabs){.grad = p->grad, .value = p->device, .first = device_get(mine)};
    device_zero(g->slab.first, mine);
    if (job->optim->kind == OPTIM_ADAMW) {
        g->slab.second = device_get(mine);
        device_zero(g->slab.second, mine);
    }
    if (job->optim->ema > 0) {
        g->slab.average = device_get(whole);
        device_copy(g->slab.average, p->device, whole);
    }
    if (t->step->compute == DT_BF16) {
        g->slab.half = device_get((size_t)p->values * sizeof(bf16));
        device_halve(p->device, g->slab.half, p->values);
        device_halves_are(p->device, g->slab.half, p->values);
    }
    g->loss = device_get(sizeof *g->loss);
    g->index = device_get(sizeof *g->index);
    g->told = device_pinned_get(sizeof *g->told);
    g->end = device_mark_open(false);
    for (int i = 0; i < PHASES; i++) g->phase[i] = device_mark_open(true);
    for (int i = 0; i < 2; i++)
        g->upload[i] =
            (Upload){.number = -1, .there = device_mark_open(false), .used = device_mark_open(false)};
    t->step->index_at = g->index;
    return true;
}

void trainer_cuda_close(Trainer *t) {
    TrainerCuda *g = t->gpu;
    if (!g) return;
    device_wait();
    device_graph_free(g->graph);
    device_halves_are(NULL, NULL, 0);
    void *const list[] = {
        g->slab.first, g->slab.second,      g->slab.average,      g->slab.half,        g->loss,
        g->index,      g->batch.image.data, g->batch.target.data, (void *)g->batch.id, (void *)g->batch.label,
        g->level,      g->upload[0].pixels, g->upload[1].pixels};
    for (int i = 0; i < COUNT(list); i++) device_free(list[i]);
    device_pinned_free(g->told);
    device_mark_free(g->end);
    for (int i = 0; i < PHASES; i++) device_mark_free(g->phase[i]);
    for (int i = 0; i < 2; i++) {
        device_mark_free(g->upload[i].there);
        device_mark_free(g->upload[i].used);
    }
    if (g->slab.grad) optim_cuda_close(&g->optim);
    nccl_close();
    mem_free(g);
    t->gpu = NULL;
}

/* ------------------------------------------------------------------------------------------- batches --- */

/* Device memory of at least `bytes`. */
static void *grown(void *p, size_t *room, size_t bytes) {
    if (*room >= bytes) return p;
    device_free(p);
    *room = bytes;
    return device_get(bytes);
}

static size_t pixels_of(const Batch *b) {
    return (size_t)tensor_count(&b->image) * (b->pixel ? 1 : sizeof(float));
}

/* Asks the source for a batch and sends it. Collective in the end: see batch_ready. */
static void fetch(Trainer *t, int64_t number) {
    TrainerCuda *g = t->gpu;
    Upload *u = &g->upload[number % 2], *other = &g->upload[(number + 1) % 2];
    if (u->number == number) return;
    device_mark_wait(other->there); /* asking gives the loader the memory of the batch before */
    u->number = -1;
    g->failed.code = ERROR_NONE;
    double clock = clock_seconds();
    if (!t->source->get(t->source->self, number, &u->batch, &g->failed)) return;
    trace_span(TRACE_STEP, "load", -1, clock, clock_seconds());
    u->number = number;
    const Batch *b = u->batch;
    u->pixels = grown(u->pixels, &u->room, pixels_of(b));
    device_after(DEVICE_UPLOAD, u->used);
    device_upload(u->pixels, b->pixel ? (const void *)b->pixel : b->image.data, pixels_of(b));
    device_mark(u->there, DEVICE_UPLOAD);
}

/* Room for the batch as the step sees it. It grows only when a batch is larger than any before. */
static void batch_room(TrainerCuda *g, const Batch *b) {
    g->batch.image.data =
        grown(g->batch.image.data, &g->image_room, (size_t)tensor_count(&b->image) * sizeof(float));
    if (b->target.data)
        g->batch.target.data = grown(g->batch.target.data, &g->target_room, tensor_bytes(&b->target));
    if (g->room >= b->n) return;
    device_free((void *)g->batch.id);
    device_free((void *)g->batch.label);
    g->batch.id = device_get((size_t)b->n * sizeof *b->id);
    g->batch.label = device_get((size_t)b->n * sizeof *b->label);
    g->room = b->n;
}

static void normalise(const Trainer *t, const Upload *u) {
    TrainerCuda *g = t->gpu;
    const Batch *b = u->batch;
    size_t bytes = 3 * 256 * sizeof(float);
    if (!b->pixel) {
        device_copy(g->batch.image.data, u->pixels, pixels_of(b));
        return;
    }
    if (!g->level) {
        g->level = device_get(bytes);
        device_copy(g->level, b->level, bytes);
    }
    if (!t->task->class->reads_pixels) g->batch.image.dtype = t->step->compute;
    device_normalise(u->pixels, g->batch.image.data, g->batch.image.dtype == DT_BF16, g->level, b->n,
                     b->image.dim[2]);
}

/* The batch from where it was sent to where the step reads it. */
static void batch_place(Trainer *t, Upload *u, int64_t number) {
    TrainerCuda *g = t->gpu;
    const Batch *b = u->batch;
    void *image, *target, *id, *label;
    batch_room(g, b);
    image = g->batch.image.data, target = g->batch.target.data;
    id = (void *)g->batch.id, label = (void *)g->batch.label;
    g->batch = *b;
    g->batch.image.data = image;
    g->batch.image.dtype = DT_F32;
    g->batch.image.device = true;
    g->batch.id = id;
    g->batch.label = label;
    g->batch.target.data = b->target.data ? target : NULL;
    g->batch.target.device = true;
    device_after(DEVICE_STEP, u->there);
    normalise(t, u);
    device_mark(u->used, DEVICE_STEP);
    device_copy(id, b->id, (size_t)b->n * sizeof *b->id);
    device_copy(label, b->label, (size_t)b->n * sizeof *b->label);
    if (b->target.data) device_copy(target, b->target.data, tensor_bytes(&b->target));
    device_copy(g->index, &number, sizeof number);
    g->batch.target.data = b->target.data ? target : NULL;
    g->images += b->n;
    t->step->index = number;
    t->step->sample = id;
    t->step->batch = b;
}

/* Collective. The batch of that number, on its way to the device. */
static bool batch_ready(Trainer *t, int64_t number, Upload **out, Error *e) {
    TrainerCuda *g = t->gpu;
    fetch(t, number);
    if (g->failed.code) *e = g->failed;
    *out = &g->upload[number % 2];
    return comm_agree(!g->failed.code, e);
}

/* -------------------------------------------------------------------------------------------- update --- */

static void phase(TrainerCuda *g, Phase p) {
    if (trace_on()) device_mark(g->phase[p], DEVICE_STEP);
}

/* Forward and backward of the batch in place, whose samples count as `share`. `first`, `last` of its update.
 */
static void batch_run(Trainer *t, double share, bool first, bool last) {
    TrainerCuda *g = t->gpu;
    Step *s = t->step;
    step_begin(s);
    params_begin(&t->task->params);
    s->training = s->recording = true;
    if (last) buckets_begin(&t->buckets);
    s->written = last ? buckets_written : NULL;
    if (g->batch.n) {
        Tensor *loss = t->task->class->loss(t->task, s, &g->batch, NULL);
        device_add_scaled(g->loss, loss->data, (float)share, first);
        phase(g, PHASE_FORWARD);
        tape_backward(s, loss, share);
        if (s->bad[0] && !t->bad[0]) memcpy(t->bad, s->bad, sizeof t->bad);
    } else if (first) {
        device_set(g->loss, 0);
    }
    phase(g, PHASE_BACKWARD);
    if (last) buckets_finish(&t->buckets);
    phase(g, PHASE_REDUCE);
}

/* The optimizer, where the gradients allow it. */
static void optimizer_run(Trainer *t) {
    TrainerCuda *g = t->gpu;
    nccl_sum_float(g->loss, 1);
    optim_cuda_squares(&g->optim, g->slab.grad);
    if (t->buckets.shard) nccl_sum_double(g->optim.squares, 1);
    optim_cuda_judge(&g->optim, g->loss);
    if (t->optim.set->kind == OPTIM_LARS) optim_cuda_norms(&g->optim, &g->slab);
    OptimSlabs slab = g->slab;
    if (t->buckets.shard) slab.half = NULL, slab.average = NULL; /* of all weights, when they are here */
    optim_cuda_update(&g->optim, &slab);
    if (t->buckets.shard) {
        Params *p = &t->task->params;
        buckets_collect(&t->buckets);
        if (g->slab.half) device_halve(p->device, g->slab.half, p->trained);
        if (g->slab.average) optim_cuda_average(&g->optim, &g->slab);
    }
    phase(g, PHASE_OPTIMIZER);
}

/* All batches of an update, one after the other, without the optimizer. */
static bool gradients(Trainer *t, int64_t index, Error *e) {
    TrainerCuda *g = t->gpu;
    int64_t parts = t->set->accumulate;
    t->bad[0] = '\0';
    for (int64_t a = 0; a < parts; a++) {
        Upload *u;
        if (!batch_ready(t, index * parts + a, &u, e)) return false;
        phase(g, PHASE_BEGIN);
        batch_place(t, u, index * parts + a);
        phase(g, PHASE_UPLOAD);
        if (a == 0) params_zero_grad(&t->task->params);
        batch_run(t, trainer_share(t, u->batch), a == 0, a == parts - 1);
    }
    return true;
}

enum {
    WARM = 2
}; /* updates of one shape before it is captured: libraries choose and allocate in the first */

/* One batch an update: runs as it is at first, then as a graph. */
static bool update_captured(Trainer *t, int64_t index, Error *e) {
    TrainerCuda *g = t->gpu;
    Step *s = t->step;
    Upload *u;
    if (!batch_ready(t, index, &u, e)) return false;
    const Batch *b = u->batch;
    bool same = b->n == g->n && b->whole == g->whole;
    if (!same) {
        device_graph_free(g->graph);
        g->graph = NULL;
        g->n = b->n, g->whole = b->whole, g->warm = 0;
    }
    batch_place(t, u, index);
    if (!g->graph && g->warm++ < WARM) {
        params_zero_grad(&t->task->params);
        batch_run(t, trainer_share(t, b), true, true);
        optimizer_run(t);
        return true;
    }
    if (!g->graph) {
        device_capture_begin();
        s->capturing = true;
        params_zero_grad(&t->task->params);
        batch_run(t, trainer_share(t, b), true, true);
        optimizer_run(t);
        s->capturing = false;
        g->graph = device_capture_end();
        step_keep_given(s);
        g->flops = s->flops;
    }
    step_refill(s);
    device_replay(g->graph);
    s->flops = g->flops;
    return true;
}

static bool ended(void *self) {
    char text[300];
    if (nccl_broken(text, sizeof text)) give_up("%s", text);
    return device_mark_done(self);
}

static void trace_phases(TrainerCuda *g, double end) {
    static const char *const name[PHASES] = {NULL, "upload", "forward", "backward", "reduce", "optimizer"};
    for (int i = 1; i < PHASES; i++) {
        double from = end - device_mark_seconds(g->phase[i - 1], g->phase[PHASE_OPTIMIZER]);
        double to = end - device_mark_seconds(g->phase[i], g->phase[PHASE_OPTIMIZER]);
        trace_span(TRACE_GPU, name[i], -1, from, to);
    }
}

/* The same gradients once more, looking at every tensor: names the first that is not finite. Never true. */
static bool blame(Trainer *t, int64_t index, const Told *told, Error *e) {
    TrainerCuda *g = t->gpu;
    for (int i = 0; i < 2; i++) g->upload[i].number = -1; /* the loader has given its memory to the next */
    t->step->check = true;
    bool fine = gradients(t, index, e);
    t->step->check = false;
    return fine && trainer_blame(t, index, isfinite(told->loss) ? "gradient" : "loss", e);
}

bool trainer_cuda_update(Trainer *t, int64_t index, TrainResult *out, Error *e) {
    TrainerCuda *g = t->gpu;
    char what[80];
    double sum[2] = {0, stop_asked() != 0}; /* images, stop */
    g->images = 0;
    optim_cuda_step(&g->optim, index + 1, out->lr);
    bool captured =
        t->set->cuda_graph && !t->task->varies && t->set->accumulate == 1 && !trace_on() && !t->step->clock;
    if (captured ? !update_captured(t, index, e) : !gradients(t, index, e)) return false;
    if (!captured) optimizer_run(t);
    sum[0] = (double)g->images;
    device_copy(&g->told->loss, g->loss, sizeof g->told->loss);
    device_copy(&g->told->verdict, g->optim.verdict, sizeof g->told->verdict);
    device_mark(g->end, DEVICE_STEP);
    if (index + 1 < trainer_updates(t)) fetch(t, (index + 1) * t->set->accumulate);
    snprintf(what, sizeof what, "adding up the gradients of update %" PRId64, index + 1);
    comm_wait_until(ended, g->end, what);
    if (trace_on()) trace_phases(g, clock_seconds());
    comm_sum(sum, COUNT(sum));
    out->loss = (double)g->told->loss;
    out->grad_norm = g->told->verdict.norm;
    out->images = (int64_t)sum[0];
    out->stop = sum[1] > 0;
    return g->told->verdict.fine ? true : blame(t, index, g->told, e);
}

/* --------------------------------------------------------------------------------------------- state --- */

void trainer_cuda_swap_average(Trainer *t) {
    TrainerCuda *g = t->gpu;
    Params *p = &t->task->params;
    if (!g->slab.average) return;
    device_swap(p->device, g->slab.average, p->trained);
    if (g->slab.half) device_halve(p->device, g->slab.half, p->trained);
}

/* The moments of this rank, by way of the host. */
static bool moments_fetch(Trainer *t, const float *from, real *slab, Error *e) {
    TrainerCuda *g = t->gpu;
    size_t bytes = (size_t)g->mine * sizeof *from;
    real *mine = t->buckets.shard ? mem_get(bytes) : slab;
    if (!comm_agree(mine || !comm_first() || error_memory(e, bytes), e)) return false;
    if (mine) device_copy(mine, from, bytes);
    device_wait();
    if (!t->buckets.shard) return true;
    buckets_gather(&t->buckets, mine, slab);
    mem_free(mine);
    return true;
}

bool trainer_cuda_fetch(Trainer *t, real *const slab[3], Error *e) {
    TrainerCuda *g = t->gpu;
    params_fetch(&t->task->params);
    if (g->slab.average && comm_first()) {
        device_copy(slab[2], g->slab.average, (size_t)t->task->params.trained * sizeof(float));
        device_wait();
    }
    return moments_fetch(t, g->slab.first, slab[0], e) &&
           (!g->slab.second || moments_fetch(t, g->slab.second, slab[1], e));
}

/* What rank 0 has in `slab`, to the device of every rank. */
static bool share_whole(float *to, real *slab, int64_t n, Error *e) {
    size_t bytes = (size_t)n * sizeof *to;
    real *room = comm_first() ? slab : mem_get(bytes);
    if (!comm_agree(room || error_memory(e, bytes), e)) return false;
    comm_share(room, bytes);
    device_copy(to, room, bytes);
    device_wait();
    if (!comm_first()) mem_free(room);
    return true;
}

static bool moments_put(Trainer *t, float *to, real *slab, Error *e) {
    TrainerCuda *g = t->gpu;
    size_t bytes = (size_t)g->mine * sizeof *to;
    if (!t->buckets.shard) return share_whole(to, slab, g->mine, e);
    real *mine = mem_get(bytes);
    bool fine = comm_agree(mine || error_memory(e, bytes), e) && buckets_spread(&t->buckets, mine, slab, e);
    if (fine) device_copy(to, mine, bytes);
    device_wait();
    mem_free(mine);
    return fine;
}

bool trainer_cuda_put(Trainer *t, real *const slab[3], bool moments, Error *e) {
    TrainerCuda *g = t->gpu;
    Params *p = &t->task->params;
    params_put(p);
    if (g->slab.half) device_halve(p->device, g->slab.half, p->values);
    if (!moments) {
        if (g->slab.average) device_copy(g->slab.average, p->device, (size_t)p->trained * sizeof(float));
        return true;
    }
    return (!g->slab.average || share_whole(g->slab.average, slab[2], p->trained, e)) &&
           moments_put(t, g->slab.first, slab[0], e) &&
           (!g->slab.second || moments_put(t, g->slab.second, slab[1], e));
}

#else

#include "core/device.h"

/* Without CUDA device_open fails, and none of these is called. */
bool trainer_cuda_open(Trainer *t, const TrainJob *job, const OptimPart *part, int parts, Error *e) {
    (void)t, (void)job, (void)part, (void)parts, (void)e;
    die("trainer_cuda_open: built without CUDA");
}
void trainer_cuda_close(Trainer *t) {
    (void)t;
}
bool trainer_cuda_update(Trainer *t, int64_t index, TrainResult *out, Error *e) {
    (void)t, (void)index, (void)out, (void)e;
    die("trainer_cuda_update: built without CUDA");
}
void trainer_cuda_swap_average(Trainer *t) {
    (void)t;
    die("trainer_cuda_swap_average: built without CUDA");
}
bool trainer_cuda_fetch(Trainer *t, real *const slab[3], Error *e) {
    (void)t, (void)slab, (void)e;
    die("trainer_cuda_fetch: built without CUDA");
}
bool trainer_cuda_put(Trainer *t, real *const slab[3], bool moments, Error *e) {
    (void)t, (void)slab, (void)moments, (void)e;
    die("trainer_cuda_put: built without CUDA");
}

#endif
