#include "cli/bench.h"

#include "cli/setup.h"
#include "core/clock.h"
#include "core/gemm.h"
#include "core/json.h"
#include "segment/predictor.h"
#include "segment/task.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

enum { PROMPTS = 10, MOST = 1000 };

typedef struct Figures {
    double embed, flops, rate;         /* seconds, FLOP of an embedding; FLOP/s of its products alone */
    double prompt, box, full, clocked; /* seconds: one point, one box, a mask brought to the image's size */
    int64_t side, parameters, peak;
    StepClock clock[64], clock_prompt[64];
    double clocked_prompt;
} Figures;

static bool image_make(Image *im, int64_t side, Error *e) {
    if (!image_reserve(im, (int)side, (int)side, e)) return false;
    Rng r = rng_open(0, RNG_TEST, 0, 0);
    for (int64_t i = 0; i < side * side * 3; i++) im->pixel[i] = (uint8_t)rng_u32(&r);
    return true;
}

static bool embed_once(Predictor *p, const Image *im, Embedding **b, double *took, Error *e) {
    double from = clock_seconds();
    embedding_close(*b);
    *b = NULL;
    bool fine = predictor_embed(p, im, NULL, NULL, b, e);
    *took = clock_seconds() - from;
    return fine;
}

static bool measure_embed(Figures *f, Predictor *p, const Image *im, int64_t steps, Embedding **b, Error *e) {
    double took[MOST], once;
    Step *s = predictor_step(p, true);
    if (!embed_once(p, im, b, &once, e)) return false;
    f->peak = bench_peak_bytes(); /* before the matmuls run alone */
    gemm_count_reset();
    if (!embed_once(p, im, b, &once, e)) return false;
    f->flops = s->flops;
    step_begin(s);
    double unused, before = gemm_measure(s, 3, &unused);
    for (int64_t i = 0; i < steps; i++)
        if (!embed_once(p, im, b, &took[i], e)) return false;
    s->clock = f->clock;
    if (!embed_once(p, im, b, &f->clocked, e)) return false;
    s->clock = NULL;
    step_begin(s);
    double after = gemm_measure(s, 3, &unused);
    f->rate = 2 / (1 / before + 1 / after); /* the machine's speed drifts */
    f->embed = bench_median(took, steps);
    return true;
}

static bool ask(Predictor *p, const Embedding *b, const PredictorPrompt *prompt, bool multimask, int64_t n,
                double *seconds, PredictorMasks *out, Error *e) {
    double took[MOST];
    for (int64_t i = -2; i < n; i++) {
        double from = clock_seconds();
        if (!predictor_ask(p, b, prompt, 1, multimask, PREDICTOR_HQ_SUM, out, e)) return false;
        if (i >= 0) took[i] = clock_seconds() - from;
    }
    *seconds = bench_median(took, n);
    return true;
}

static bool measure_ask(Figures *f, Predictor *p, const Embedding *b, int64_t n, Error *e) {
    const PredictorPoint point = {(double)f->side / 3, (double)f->side / 2, 1};
    const double corner[4] = {10, 20, (double)f->side / 2, (double)f->side / 3};
    const PredictorPrompt by_point = {.point = &point, .points = 1}, by_box = {.box = corner};
    PredictorMasks out;
    Step *s = predictor_step(p, false);
    if (!ask(p, b, &by_box, false, n, &f->box, &out, e) ||
        !ask(p, b, &by_point, true, n, &f->prompt, &out, e))
        return false;
    s->clock = f->clock_prompt;
    f->clocked_prompt = clock_seconds();
    bool fine = predictor_ask(p, b, &by_point, 1, true, PREDICTOR_HQ_SUM, &out, e);
    f->clocked_prompt = clock_seconds() - f->clocked_prompt;
    s->clock = NULL;
    float *full = fine ? mem_get((size_t)out.height * (size_t)out.width * sizeof *full) : NULL;
    if (fine && !full) fine = error_memory(e, (size_t)out.height * (size_t)out.width * sizeof *full);
    f->full = clock_seconds();
    if (fine) predictor_upscale(b, out.low, full);
    f->full = clock_seconds() - f->full;
    mem_free(full);
    return fine;
}

static void tell(const Figures *f, const BenchSegment *b) {
    printf("segment %s, %s, %" PRId64 " x %" PRId64 ", %d threads\n", b->preset, b->dtype, f->side, f->side,
           b->threads);
    printf("  an embedding         %10.3f s\n", f->embed);
    printf("  FLOP of it           %10.3g   (matmul, attention, convolution)\n", f->flops);
    printf("  reached              %10.1f GFLOP/s\n", f->flops / f->embed / 1e9);
    printf("  same matmuls alone   %10.1f GFLOP/s\n", f->rate / 1e9);
    printf("  fraction             %10.1f %%\n", 100 * f->flops / f->embed / f->rate);
    printf("  a point, three masks %10.1f ms\n", 1e3 * f->prompt);
    printf("  a box, one mask      %10.1f ms\n", 1e3 * f->box);
    printf("  a mask to full size  %10.1f ms\n", 1e3 * f->full);
    printf("  parameters           %10.1f M\n", (double)f->parameters / 1e6);
    printf("  peak memory          %10.1f MiB\n", (double)f->peak / 0x1p20);
    printf("the embedding:\n");
    bench_tell_ops(f->clock, f->clocked, "rest");
    printf("the point:\n");
    bench_tell_ops(f->clock_prompt, f->clocked_prompt, "rest");
}

static bool write_json(const Figures *f, const BenchSegment *b, Error *e) {
    char text[2048];
    JsonWriter w = json_writer(text, sizeof text, 2);
    json_put_open(&w, NULL, '{');
    json_put_text(&w, "task", "segment");
    json_put_text(&w, "preset", b->preset);
    json_put_text(&w, "dtype", b->dtype);
    json_put_int(&w, "threads", b->threads);
    json_put_int(&w, "image_size", f->side);
    json_put_real(&w, "embedding_seconds", f->embed);
    json_put_real(&w, "embedding_flop", f->flops);
    json_put_real(&w, "matmul_flops", f->rate);
    json_put_real(&w, "matmul_fraction", f->flops / f->embed / f->rate);
    json_put_real(&w, "point_seconds", f->prompt);
    json_put_real(&w, "box_seconds", f->box);
    json_put_int(&w, "parameters", f->parameters);
    json_put_int(&w, "peak_bytes", f->peak);
    json_put_close(&w, '}');
    size_t n = strlen(text);
    text[n++] = '\n';
    return file_write(b->json, text, n, e);
}

bool bench_segment(const BenchSegment *b, Error *e) {
    Recipe *recipe = NULL;
    Task task = {0};
    RunSettings run;
    Predictor *p = NULL;
    Embedding *on = NULL;
    Image im = {0};
    Figures f = {0};
    const double mean[3] = {0.485, 0.456, 0.406}, std[3] = {0.229, 0.224, 0.225};
    char text[256];
    snprintf(text, sizeof text, "{\"task\": \"segment\", \"dtype\": \"%s\", \"model\": {\"size\": \"%s\"}}",
             b->dtype, b->preset);
    bool fine = recipe_parse(&recipe, "bench", text, strlen(text), b->set, b->sets, e) &&
                recipe_bind(recipe, &run_table, &run, e) &&
                task_open(&task, &segment_class, recipe, 0, 0, e) && recipe_finish(recipe, e);
    task.mean = mean, task.std = std;
    f.side = task.image_size;
    f.parameters = task.params.values;
    fine = fine && predictor_open(&p, &task, run_dtype(&run), e) && image_make(&im, f.side, e) &&
           measure_embed(&f, p, &im, b->steps, &on, e) && measure_ask(&f, p, on, b->steps * PROMPTS, e);
    if (fine) tell(&f, b);
    if (fine && b->json) fine = write_json(&f, b, e);
    embedding_close(on);
    predictor_close(p);
    image_free(&im);
    task_close(&task);
    recipe_close(recipe);
    return fine;
}
