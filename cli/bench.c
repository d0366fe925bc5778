#include "cli/bench.h"
#include "cli/cli.h"
#include "cli/options.h"
#include "cli/setup.h"
#include "core/clock.h"
#include "core/device.h"
#include "core/gemm.h"
#include "core/json.h"
#include "core/train.h"
#include "mim/classify.h"
#include "mim/mae.h"

#include <inttypes.h>
#include <omp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char usage[] =
    "usage: lethe bench [--task mae|classify|segment] [--preset micro|tiny|small|base|large|huge] [--dtype "
    "f32|bf16]\n"
    "                   [--batch N] [--steps N] [--threads N] [--set key=value]... [--json FILE]\n"
    "                   [--device cpu|cuda|auto]\n\n"
    "Trains on random images and says how fast: images and steps a second, FLOP a step, the rate of the "
    "same\n"
    "matmuls run alone in the same process, the fraction of it that training reaches, peak memory, and where "
    "the\n"
    "time goes, op by op. --task segment embeds a random image instead and answers prompts about it.\n"
    "--set takes any key of a recipe.\n";

enum {
    CLASSES = 1000,
    WARM = 2,
    WARM_GPU = 4 /* two as they are, one to capture, one replayed */,
    MOST_STEPS = 1000
};

/* ---- random images, made once ---- */

typedef struct Noise {
    Batch batch;
    uint8_t *pixel; /* pinned, for the GPU, which normalises */
    float level[3 * 256];
    int64_t *id;
    int32_t *label;
} Noise;

static bool noise_get(void *self, int64_t step, const Batch **out, Error *e) {
    (void)step;
    (void)e;
    *out = &((Noise *)self)->batch;
    return true;
}

static bool noise_open(Noise *n, int64_t batch, int64_t side, Error *e) {
    n->batch = (Batch){.n = (int)batch, .image = {.ndim = 4, .dim = {batch, 3, side, side}, .dtype = DT_F32}};
    n->id = mem_zero((size_t)batch, sizeof *n->id);
    n->label = mem_zero((size_t)batch, sizeof *n->label);
    if (device_opened())
        n->pixel = device_pinned_get((size_t)tensor_count(&n->batch.image));
    else
        n->batch.image.data = mem_get(tensor_bytes(&n->batch.image));
    n->batch.id = n->id;
    n->batch.label = n->batch.identity = n->label;
    if (!n->id || !n->label || !(n->pixel || n->batch.image.data))
        return error_memory(e, tensor_bytes(&n->batch.image));
    Rng r = rng_open(0, RNG_TEST, 0, 0);
    for (int i = 0; i < COUNT(n->level); i++) n->level[i] = (float)(i % 256) / 127.5f - 1;
    for (int64_t i = 0; i < tensor_count(&n->batch.image); i++) {
        if (n->pixel)
            n->pixel[i] = (uint8_t)rng_u32(&r);
        else
            tensor_real(&n->batch.image)[i] = 2 * rng_uniformf(&r) - 1;
    }
    n->batch.pixel = n->pixel;
    n->batch.level = n->level;
    for (int64_t i = 0; i < batch; i++) {
        n->id[i] = i;
        n->label[i] = (int32_t)(i % CLASSES);
    }
    return true;
}

static void noise_close(Noise *n) {
    mem_free(n->id);
    mem_free(n->label);
    mem_free(n->batch.image.data);
    device_pinned_free(n->pixel);
}

/* ---- measuring ---- */

int64_t bench_peak_bytes(void) {
    size_t room;
    if (device_opened()) {
        size_t all = device_memory(&room);
        return (int64_t)(all - room);
    }
    FILE *f = fopen("/proc/self/status", "r");
    char line[256];
    long kib = 0;
    if (!f) return 0;
    while (fgets(line, sizeof line, f))
        if (sscanf(line, "VmHWM: %ld", &kib) == 1) break;
    fclose(f);
    return (int64_t)kib * 1024;
}

static int by_value(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

double bench_median(double *x, int64_t n) {
    qsort(x, (size_t)n, sizeof *x, by_value);
    return x[n / 2];
}

typedef struct Figures {
    const char *task, *preset, *dtype;
    char device[80]; /* the GPU; "" on the processor */
    int threads;
    int64_t batch, parameters, kept, allowed, peak, step_peak;
    double seconds, flops, rate, gemm_flops;
    double clocked; /* seconds of the one update whose ops were timed: */
    StepClock clock[64];
} Figures;

/* FLOP/s to hold the step against: the same products alone, or on the GPU one large product. */
static double rate_now(Figures *f, Trainer *t) {
    if (device_opened()) return device_matmul_rate(t->step->compute == DT_BF16);
    step_begin(t->step);
    return gemm_measure(t->step, 5, &f->gemm_flops);
}

static bool measure(Figures *f, const TrainJob *job, int64_t steps, Error *e) {
    Trainer t;
    TrainResult result;
    double took[MOST_STEPS];
    bool fine = trainer_open(&t, job, e);
    int64_t warm = device_opened() ? WARM_GPU : WARM, at = 0;
    while (at < warm && fine) fine = trainer_update(&t, at++, &result, e);
    if (!fine) {
        trainer_close(&t);
        return false;
    }
    f->peak = bench_peak_bytes(); /* before the matmuls run alone */
    f->kept = (int64_t)t.step->kept;
    f->step_peak = (int64_t)step_peak(t.step);
    f->parameters = job->task->params.trained;
    f->allowed = f->parameters * 16 + f->kept + f->kept / 10;
    gemm_count_reset();
    fine = trainer_update(&t, at++, &result, e);
    f->flops = t.step->flops;
    double before = rate_now(f, &t);
    for (int64_t i = 0; i < steps && fine; i++) {
        double from = clock_seconds();
        fine = trainer_update(&t, at++, &result, e);
        took[i] = clock_seconds() - from;
    }
    gemm_count_reset();
    t.step->clock = f->clock;
    f->clocked = clock_seconds();
    if (fine) fine = trainer_update(&t, at++, &result, e);
    f->clocked = clock_seconds() - f->clocked;
    t.step->clock = NULL;
    double after = rate_now(f, &t);
    f->rate =
        2 / (1 / before + 1 / after); /* the machine's speed drifts: before and after, averaged in time */
    f->seconds = bench_median(took, steps);
    trainer_close(&t);
    return fine;
}

/* ---- telling ---- */

void bench_tell_ops(const StepClock *clock, double seconds, const char *rest) {
    double all = 0;
    for (int r = 0; op_rows[r]; r++) all += clock[r].forward + clock[r].backward;
    printf("  %-16s %9s %9s %7s\n", "op", "forward", "backward", "share");
    for (int r = 0; op_rows[r]; r++) {
        const StepClock *c = &clock[r];
        if (c->calls)
            printf("  %-16s %6.1f ms %6.1f ms %5.1f %%\n", op_rows[r]->name, 1e3 * c->forward,
                   1e3 * c->backward, 100 * (c->forward + c->backward) / seconds);
    }
    printf("  %-16s %9s %6.1f ms %5.1f %%\n", rest, "", 1e3 * (seconds - all), 100 * (1 - all / seconds));
}

static void tell(const Figures *f) {
    double reached = f->flops / f->seconds;
    char where[100];
    snprintf(where, sizeof where, "%d threads", f->threads);
    printf("%s %s, %s, batch %" PRId64 ", %s\n", f->task, f->preset, f->dtype, f->batch,
           f->device[0] ? f->device : where);
    printf("  images per second    %10.2f\n", (double)f->batch / f->seconds);
    printf("  steps per second     %10.3f\n", 1 / f->seconds);
    printf("  FLOP per step        %10.3g   (matmul, attention, convolution; forward and backward)\n",
           f->flops);
    printf("  reached              %10.1f GFLOP/s\n", reached / 1e9);
    printf("  %-20s %10.1f GFLOP/s\n", f->device[0] ? "a large matmul" : "same matmuls alone", f->rate / 1e9);
    printf("  fraction             %10.1f %%\n", 100 * reached / f->rate);
    printf("  parameters           %10.1f M\n", (double)f->parameters / 1e6);
    printf("  kept for backward    %10.1f MiB\n", (double)f->kept / 0x1p20);
    if (f->device[0])
        printf("  GPU memory taken     %10.1f MiB, libraries included\n", (double)f->peak / 0x1p20);
    else
        printf(
            "  peak memory          %10.1f MiB, allowed %.1f MiB (16 bytes a parameter + 110 %% of what is "
            "kept)\n",
            (double)f->peak / 0x1p20, (double)f->allowed / 0x1p20);
    bench_tell_ops(f->clock, f->clocked, "optimizer, rest");
}

static bool write_json(const Figures *f, const char *path, Error *e) {
    char text[8192];
    JsonWriter w = json_writer(text, sizeof text, 2);
    json_put_open(&w, NULL, '{');
    json_put_text(&w, "task", f->task);
    json_put_text(&w, "preset", f->preset);
    json_put_text(&w, "dtype", f->dtype);
    json_put_text(&w, "device", f->device[0] ? f->device : "cpu");
    json_put_int(&w, "batch", f->batch);
    json_put_int(&w, "threads", f->threads);
    json_put_real(&w, "images_per_second", (double)f->batch / f->seconds);
    json_put_real(&w, "steps_per_second", 1 / f->seconds);
    json_put_real(&w, "flop_per_step", f->flops);
    json_put_real(&w, "matmul_flops", f->rate);
    json_put_real(&w, "matmul_fraction", f->flops / f->seconds / f->rate);
    json_put_int(&w, "parameters", f->parameters);
    json_put_int(&w, "kept_bytes", f->kept);
    json_put_int(&w, "allowed_bytes", f->allowed);
    json_put_int(&w, "peak_bytes", f->peak);
    json_put_open(&w, "milliseconds", '{'); /* of each op, forward and backward */
    for (int r = 0; op_rows[r]; r++)
        if (f->clock[r].calls)
            json_put_real(&w, op_rows[r]->name, 1e3 * (f->clock[r].forward + f->clock[r].backward));
    json_put_close(&w, '}');
    json_put_close(&w, '}');
    size_t n = strlen(text);
    if (w.full) return error_set(e, ERROR_LIMIT, "%s: the result does not fit", path);
    text[n++] = '\n';
    return file_write(path, text, n, e);
}

static bool bench(Figures *f, char *const *set, int sets, int64_t batch, int64_t steps, Error *e) {
    const TaskClass *class = strcmp(f->task, "mae") == 0 ? &mae_class : &classify_class;
    Recipe *recipe = NULL;
    Task task = {0};
    Noise noise = {0};
    RunSettings run;
    TrainSettings train;
    OptimSettings optim;
    ScheduleSettings schedule;
    char text[512];
    snprintf(text, sizeof text,
             "{\"task\": \"%s\", \"dtype\": \"%s\", \"model\": {\"size\": \"%s\"%s}, \"train\": {\"batch\": "
             "%" PRId64 "}}",
             f->task, f->dtype, f->preset, class == &classify_class ? ", \"classes\": 1000" : "", batch);
    bool fine = recipe_parse(&recipe, "bench", text, strlen(text), set, sets, e) &&
                recipe_bind(recipe, &run_table, &run, e) && recipe_bind(recipe, &train_table, &train, e) &&
                recipe_bind(recipe, &optim_table, &optim, e) &&
                recipe_bind(recipe, &schedule_table, &schedule, e) &&
                setup_device(&run, train.deterministic, e) &&
                task_open(&task, class, recipe, class == &classify_class ? CLASSES : 0, 0, e) &&
                recipe_finish(recipe, e) && noise_open(&noise, train.batch, task.image_size, e);
    if (fine) {
        Source source = {
            .self = &noise, .samples = train.batch, .steps_per_epoch = 1000000, .get = noise_get};
        TrainJob job = {.task = &task,
                        .train = &source,
                        .run = &run,
                        .train_set = &train,
                        .optim = &optim,
                        .schedule = &schedule};
        f->batch = train.batch;
        f->dtype = dtype_name(run_dtype(&run));
        if (device_opened()) device_cuda_describe(0, f->device, sizeof f->device);
        fine = train.accumulate == 1
                   ? true
                   : error_set(e, ERROR_VALUE, "train.accumulate: a benchmark's update is one forward pass");
        fine = fine && measure(f, &job, steps, e);
    }
    noise_close(&noise);
    task_close(&task);
    recipe_close(recipe);
    return fine;
}

int cli_bench(int argc, char **argv) {
    Error e = {0};
    Figures f = {.task = "mae", .preset = "base", .dtype = "f32", .threads = omp_get_max_threads()};
    const char *json = NULL, *device = NULL;
    char place[64];
    int64_t batch = 32, steps = 5, threads = 0;
    OptionList set = {0};
    const Option options[] = {
        {"task", OPTION_TEXT, &f.task},   {"preset", OPTION_TEXT, &f.preset},
        {"dtype", OPTION_TEXT, &f.dtype}, {"batch", OPTION_INT, &batch},
        {"steps", OPTION_INT, &steps},    {"threads", OPTION_INT, &threads},
        {"set", OPTION_LIST, &set},       {"json", OPTION_TEXT, &json},
        {"device", OPTION_TEXT, &device}, {0},
    };
    OptionList rest = {0};
    int done = options_read(argc, argv, usage, options, &rest, &e);
    if (done >= 0) return done ? cli_fail(&e) : 0;
    bool fine = true;
    if (rest.count)
        fine = error_set(&e, ERROR_VALUE, "bench takes no argument \"%s\"; see lethe bench --help",
                         rest.item[0]);
    else if (strcmp(f.task, "mae") && strcmp(f.task, "classify") && strcmp(f.task, "segment"))
        fine = error_set(&e, ERROR_VALUE, "--task \"%s\": mae, classify or segment are known", f.task);
    else if (steps < 1 || steps > MOST_STEPS || batch < 1 || threads < 0)
        fine = error_set(&e, ERROR_VALUE, "--steps takes 1 to %d, --batch 1 or more, --threads 0 or more",
                         MOST_STEPS);
    fine = fine && (!device || setup_put(&set, "device", device, place, sizeof place, &e));
    if (fine && threads) omp_set_num_threads((int)threads), f.threads = (int)threads;
    if (strcmp(f.task, "segment") == 0) {
        const BenchSegment b = {f.preset, f.dtype, f.threads, steps, set.item, set.count, json};
        return fine && bench_segment(&b, &e) ? 0 : cli_fail(&e);
    }
    fine = fine && bench(&f, set.item, set.count, batch, steps, &e);
    if (fine) tell(&f);
    if (fine && json) fine = write_json(&f, json, &e);
    return fine ? 0 : cli_fail(&e);
}
