#include "cli/cli.h"
#include "cli/options.h"

#include "core/json.h"
#include "core/plan.h"
#include "data/dataset.h"
#include "data/mix.h"
#include "mim/classify.h"
#include "mim/mae.h"
#include "segment/task.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const char usage[] =
    "usage: lethe plan RECIPE [--gpus N,N,...] [--set key=value]... [--json FILE]\n"
    "                  [--rate TFLOP/s] [--fraction F] [--bandwidth GB/s] [--link GB/s] [--memory GiB]\n\n"
    "Says before a run what an update of the recipe takes: time, images a second, the share that waits for\n"
    "other GPUs, and memory, with and without train.shard \"optimizer\". FLOPs and memory come from the "
    "code\n"
    "that trains, run without numbers; nothing is read but the recipe and, if it is there, the list of\n"
    "data.train.\n\n"
    "  --gpus N,..   numbers of GPUs that share train.batch (default 1,8)\n"
    "  --rate R      TFLOP/s that a large product of matrices reaches on one (default 650 in bf16, 380 in "
    "f32\n"
    "                as TF32: an H100)\n"
    "  --fraction F  of it that training reaches (default 0.5; `lethe bench` measures it)\n"
    "  --bandwidth B GB/s of a GPU's memory (default 3000)\n"
    "  --link L      GB/s between GPUs, the bus bandwidth of nccl-tests (default 400 in a machine of 8, 40\n"
    "                beyond)\n"
    "  --memory M    GiB of a GPU (default 80)\n";

/* As the recipe's choices. */
static const TaskClass *const class_of[] = {&mae_class, &classify_class, &segment_class};

enum { MOST_COUNTS = 16, MOST_GPUS = 1 << 20 };

typedef struct Row {
    int64_t gpus;
    PlanNeed need;
    PlanMemory memory[2]; /* without and with sharding */
    PlanTime time;
} Row;

typedef struct Plan {
    const char *recipe, *task;
    int64_t count[MOST_COUNTS];
    int counts;
    PlanMachine machine;
    double memory; /* bytes of a GPU */
    int64_t program;
    RunSettings run;
    TrainSettings train;
    OptimSettings optim;
    DataSettings data;
    int64_t parameters, samples; /* samples: 0 where the data is not there */
    bool shard, can_shard;
    PlanNeed whole;
    PlanMemory cpu;
    Row row[MOST_COUNTS];
} Plan;

/* ---- options ---- */

static bool number(double *to, const char *text, double times, const char *option, Error *e) {
    char *end;
    if (!text) return true;
    double v = strtod(text, &end);
    if (end == text || *end || !isfinite(v) || v <= 0 || v > 1e9)
        return error_set(e, ERROR_VALUE, "--%s takes a number above 0, not \"%s\"", option, text);
    *to = v * times;
    return true;
}

static bool counts_read(Plan *p, const char *text, Error *e) {
    const char *at = text;
    for (p->counts = 0; p->counts < MOST_COUNTS; at++) {
        char *end;
        long long n = strtoll(at, &end, 10);
        if (end == at || n < 1 || n > MOST_GPUS || (*end && *end != ',')) break;
        p->count[p->counts++] = n;
        if (!*end) return true;
        at = end;
    }
    return error_set(e, ERROR_VALUE, "--gpus takes up to %d numbers from 1 to %d, as 8,64,512; not \"%s\"",
                     MOST_COUNTS, MOST_GPUS, text);
}

/* ---- the recipe ---- */

static bool recipe_of(Recipe **out, const char *path, const OptionList *set, Error *e) {
    char inside[FILE_PATH];
    if (file_kind(path) != FILE_FOLDER) return recipe_open(out, path, set->item, set->count, e);
    return file_join(inside, sizeof inside, path, "recipe.json", e) &&
           recipe_open(out, inside, set->item, set->count, e);
}

/* Samples and classes of data.train, if it is there. */
static bool data_count(Plan *p, int *classes, Error *e) {
    Dataset *d = NULL;
    *classes = 0;
    if (!p->data.train[0] || file_kind(p->data.train) == FILE_NONE) return true;
    if (!data_settings_check(&p->data, e) || !dataset_open(&d, &p->data, true, e)) return false;
    p->samples = d->count;
    *classes = d->classes;
    dataset_close(d);
    return true;
}

static bool classes_known(const Plan *p, Recipe *r, int classes, Error *e) {
    ClassifySettings set;
    if (class_of[p->run.task] != &classify_class) return true;
    if (!recipe_bind(r, &classify_table, &set, e)) return false;
    return set.classes || classes
               ? true
               : error_set(e, ERROR_VALUE,
                           "how many classes? model.classes is 0, and data.train is not there to count "
                           "them: --set model.classes=1000");
}

static bool shares(const Plan *p, Error *e) {
    for (int i = 0; i < p->counts; i++)
        if (p->train.batch % p->count[i])
            return error_set(e, ERROR_VALUE,
                             "train.batch is %" PRId64 ", which %" PRId64
                             " GPUs cannot share evenly; change --gpus or train.batch",
                             p->train.batch, p->count[i]);
    return true;
}

static bool tables_bind(Plan *p, Recipe *r, Error *e) {
    ScheduleSettings schedule;
    return recipe_bind(r, &run_table, &p->run, e) && recipe_bind(r, &data_table, &p->data, e) &&
           recipe_bind(r, &train_table, &p->train, e) && recipe_bind(r, &optim_table, &p->optim, e) &&
           recipe_bind(r, &schedule_table, &schedule, e);
}

/* ---- planning ---- */

static bool rows_fill(Plan *p, const PlanJob *job, Error *e) {
    if (!plan_open(job, e) || !plan_need(&p->whole, job, p->train.batch, e)) return false;
    p->parameters = job->task->params.trained;
    p->cpu = plan_on_cpu(job, &p->whole, p->program);
    p->can_shard = p->optim.kind != OPTIM_LARS; /* it looks at whole tensors */
    p->shard = p->train.shard && p->can_shard;
    for (int i = 0; i < p->counts; i++) {
        Row *r = &p->row[i];
        r->gpus = p->count[i];
        if (!plan_need(&r->need, job, p->train.batch / r->gpus, e)) return false;
        for (int k = 0; k < 2; k++) r->memory[k] = plan_on_gpu(job, &r->need, r->gpus, k);
        r->time = plan_time(job, &r->need, &p->machine, r->gpus, p->shard);
    }
    return true;
}

static bool plan(Plan *p, const OptionList *set, Error *e) {
    Recipe *r = NULL;
    Task task = {0};
    int classes;
    bool fine = recipe_of(&r, p->recipe, set, e) && tables_bind(p, r, e) && data_count(p, &classes, e) &&
                classes_known(p, r, classes, e) &&
                task_open_dry(&task, class_of[p->run.task], r, classes, e) && recipe_finish(r, e) &&
                shares(p, e);
    if (fine) {
        bool floats = mix_wanted(&p->data) || p->data.erase > 0;
        const PlanJob job = {&task, run_dtype(&p->run), &p->train, &p->optim, floats};
        p->task = task.class->name;
        if (task.class->wants_masks) task.masks = (int)p->data.masks_per_image;
        if (!(p->machine.rate > 0)) p->machine.rate = job.dtype == DT_BF16 ? 650e12 : 380e12;
        fine = rows_fill(p, &job, e);
    }
    task_close(&task);
    recipe_close(r);
    if (!fine && strncmp(e->text, p->recipe, strlen(p->recipe)) != 0 && strncmp(e->text, "--set", 5) != 0)
        error_prefix(e, "%s", p->recipe);
    return fine;
}

/* ---- telling ---- */

static double gib(int64_t bytes) {
    return (double)bytes / 0x1p30;
}

static const char *seconds_text(double s, char to[32]) {
    const char *format = s >= 100 ? "%.0f s" : s >= 1 ? "%.2f s" : "%.1f ms";
    snprintf(to, 32, format, s >= 1 ? s : 1e3 * s);
    return to;
}

static void tell_memory(const char *what, const PlanMemory *m) {
    printf("%s %.2f GiB: weights %.2f, gradients %.2f, optimizer %.2f, step %.2f, images %.2f, program "
           "%.2f\n",
           what, gib(m->all), gib(m->weights), gib(m->gradients), gib(m->moments + m->average), gib(m->step),
           gib(m->images), gib(m->program));
}

static void tell_rows(const Plan *p) {
    printf("%7s %7s %10s %8s %10s %8s %9s  %s\n", "GPUs", "batch", "step", "waits", "images/s", "scaling",
           "epoch", "memory, and sharded");
    for (int i = 0; i < p->counts; i++) {
        const Row *r = &p->row[i];
        const PlanTime *t = &r->time;
        char step[32], epoch[32] = "-", sharded[32] = "-";
        if (p->samples)
            snprintf(epoch, sizeof epoch, "%.1f min", (double)p->samples / t->images_per_second / 60);
        if (p->can_shard) snprintf(sharded, sizeof sharded, "%.1f GiB", gib(r->memory[1].all));
        bool fits = (double)r->memory[0].all <= p->memory,
             fits_sharded = p->can_shard && (double)r->memory[1].all <= p->memory;
        printf("%7" PRId64 " %7" PRId64 " %10s %6.1f %% %10.0f %6.1f %% %9s  %.1f GiB, %s: %s\n", r->gpus,
               r->need.batch, seconds_text(t->step, step), 100 * t->exposed / t->step, t->images_per_second,
               100 * t->efficiency, epoch, gib(r->memory[0].all), sharded,
               fits           ? "fits"
               : fits_sharded ? "fits sharded"
                              : "too large");
    }
}

static void tell_assumptions(const Plan *p) {
    const PlanMachine *m = &p->machine;
    printf("Assumed of a GPU: %.4g TFLOP/s in large products, of which training reaches %.0f %% (--rate, "
           "--fraction);\n"
           "%.4g GB/s and %.4g GiB of memory (--bandwidth, --memory); links of %.4g GB/s among %d GPUs of a "
           "machine,\n"
           "%.4g GB/s beyond (--link).\n",
           m->rate / 1e12, 100 * m->fraction, m->bandwidth / 1e9, p->memory / 0x1p30, m->inside / 1e9,
           m->machine, m->between / 1e9);
    printf("Gradients (f32) travel while backward runs, all but the last %" PRId64 " MiB; %s.\n",
           p->train.bucket_mb,
           p->shard ? "sharded weights travel after the update, with nothing to hide behind"
                    : "without sharding nothing else travels");
    printf("\"waits\" is the share of a step that nothing hides. Images are taken to be there in time; a "
           "message's start\ncosts nothing; small batches are taken to compute as fast as large ones.\n");
}

static void tell(const Plan *p) {
    printf("%s: %s, %s, %.1f M parameters trained, batch %" PRId64, p->recipe, p->task,
           dtype_name(run_dtype(&p->run)), (double)p->parameters / 1e6, p->train.batch);
    if (p->train.accumulate > 1) printf(" x %" PRId64, p->train.accumulate);
    printf("\n%.4g FLOP an update, %.3g an image; backward reads %.1f MiB an image again\n",
           p->whole.flops * (double)p->train.accumulate, p->whole.flops / (double)p->train.batch,
           (double)p->whole.kept / (double)p->train.batch / 0x1p20);
    tell_memory("one process on the processor:", &p->cpu);
    char who[64];
    snprintf(who, sizeof who, "one of %" PRId64 " GPUs%s:", p->row[0].gpus, p->shard ? ", sharded" : "");
    tell_memory(who, &p->row[0].memory[p->shard]);
    printf("\n");
    tell_rows(p);
    printf("\n");
    tell_assumptions(p);
}

static void put_memory(JsonWriter *w, const char *key, const PlanMemory *m) {
    json_put_open(w, key, '{');
    json_put_int(w, "bytes", m->all);
    json_put_int(w, "weights", m->weights);
    json_put_int(w, "gradients", m->gradients);
    json_put_int(w, "optimizer", m->moments + m->average);
    json_put_int(w, "step", m->step);
    json_put_int(w, "images", m->images);
    json_put_int(w, "program", m->program);
    json_put_close(w, '}');
}

static void put_row(JsonWriter *w, const Plan *p, const Row *r) {
    json_put_open(w, NULL, '{');
    json_put_int(w, "gpus", r->gpus);
    json_put_int(w, "batch_per_gpu", r->need.batch);
    json_put_real(w, "flop_per_gpu", r->need.flops * (double)p->train.accumulate);
    json_put_real(w, "step_seconds", r->time.step);
    json_put_real(w, "compute_seconds", r->time.compute);
    json_put_real(w, "optimizer_seconds", r->time.optimizer);
    json_put_real(w, "communication_seconds", r->time.reduce + r->time.collect);
    json_put_real(w, "exposed_seconds", r->time.exposed);
    json_put_real(w, "exposed_share", r->time.exposed / r->time.step);
    json_put_real(w, "images_per_second", r->time.images_per_second);
    json_put_real(w, "scaling", r->time.efficiency);
    put_memory(w, "memory", &r->memory[0]);
    if (p->can_shard) put_memory(w, "memory_sharded", &r->memory[1]);
    json_put_bool(w, "fits", (double)r->memory[0].all <= p->memory);
    json_put_bool(w, "fits_sharded", p->can_shard && (double)r->memory[1].all <= p->memory);
    json_put_close(w, '}');
}

static void put_assumptions(JsonWriter *w, const Plan *p) {
    json_put_open(w, "assumed", '{');
    json_put_real(w, "rate", p->machine.rate);
    json_put_real(w, "fraction", p->machine.fraction);
    json_put_real(w, "bandwidth", p->machine.bandwidth);
    json_put_real(w, "link_inside", p->machine.inside);
    json_put_real(w, "link_between", p->machine.between);
    json_put_int(w, "gpus_in_a_machine", p->machine.machine);
    json_put_real(w, "memory", p->memory);
    json_put_close(w, '}');
}

static bool write_json(const Plan *p, const char *path, Error *e) {
    static char text[1 << 15];
    JsonWriter w = json_writer(text, sizeof text - 1, 1);
    json_put_open(&w, NULL, '{');
    json_put_text(&w, "recipe", p->recipe);
    json_put_text(&w, "task", p->task);
    json_put_text(&w, "dtype", dtype_name(run_dtype(&p->run)));
    json_put_int(&w, "batch", p->train.batch);
    json_put_int(&w, "parameters", p->parameters);
    json_put_real(&w, "flop_per_step", p->whole.flops);
    json_put_int(&w, "kept_bytes", p->whole.kept);
    json_put_int(&w, "peak_bytes", p->cpu.all);
    put_memory(&w, "cpu_memory", &p->cpu);
    put_assumptions(&w, p);
    json_put_open(&w, "gpus", '[');
    for (int i = 0; i < p->counts; i++) put_row(&w, p, &p->row[i]);
    json_put_close(&w, ']');
    json_put_close(&w, '}');
    text[w.used++] = '\n';
    return file_write(path, text, w.used, e);
}

/* Resident memory of the program before it does anything, from /proc/self/statm; 0 where that is missing. */
static int64_t resident(void) {
    FILE *f = fopen("/proc/self/statm", "r");
    long long pages = 0;
    if (!f) return 0;
    if (fscanf(f, "%*s %lld", &pages) != 1) pages = 0;
    fclose(f);
    return (int64_t)pages * sysconf(_SC_PAGESIZE);
}

int cli_plan(int argc, char **argv) {
    static Plan p;
    p = (Plan){
        .program = resident(),
        .memory = 80 * 0x1p30,
        .machine = {.fraction = 0.5, .bandwidth = 3e12, .inside = 400e9, .between = 40e9, .machine = 8}};
    Error e = {0};
    const char *json = NULL, *gpus = "1,8", *rate = NULL, *fraction = NULL, *bandwidth = NULL, *link = NULL,
               *memory = NULL;
    OptionList set = {0}, rest = {0};
    const Option options[] = {
        {"gpus", OPTION_TEXT, &gpus},
        {"set", OPTION_LIST, &set},
        {"json", OPTION_TEXT, &json},
        {"rate", OPTION_TEXT, &rate},
        {"fraction", OPTION_TEXT, &fraction},
        {"bandwidth", OPTION_TEXT, &bandwidth},
        {"link", OPTION_TEXT, &link},
        {"memory", OPTION_TEXT, &memory},
        {0},
    };
    int done = options_read(argc, argv, usage, options, &rest, &e);
    if (done >= 0) return done ? cli_fail(&e) : 0;
    bool fine = rest.count == 1 || error_set(&e, ERROR_VALUE, "plan takes one recipe; see lethe plan --help");
    fine = fine && counts_read(&p, gpus, &e) && number(&p.machine.rate, rate, 1e12, "rate", &e) &&
           number(&p.machine.fraction, fraction, 1, "fraction", &e) &&
           number(&p.machine.bandwidth, bandwidth, 1e9, "bandwidth", &e) &&
           number(&p.machine.inside, link, 1e9, "link", &e) &&
           number(&p.machine.between, link, 1e9, "link", &e) &&
           number(&p.memory, memory, 0x1p30, "memory", &e);
    if (fine && p.machine.fraction > 1) fine = error_set(&e, ERROR_VALUE, "--fraction is at most 1");
    p.recipe = rest.item[0];
    fine = fine && plan(&p, &set, &e);
    if (fine) tell(&p);
    if (fine && json) fine = write_json(&p, json, &e);
    return fine ? 0 : cli_fail(&e);
}
