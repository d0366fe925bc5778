/* The predictors of SAM, HQ-SAM and MobileSAM, and the generator of masks, against their references: from a
 * JPEG file to masks of its size. tests/golden/README.md says what the fixtures hold. */
#include "data/image.h"
#include "data/rle.h"
#include "segment/generator.h"
#include "segment/predictor_inside.h"
#include "segment/task.h"
#include "tests/golden_rule.h"

#include <unistd.h>

static const double mean[3] = {0.485, 0.456, 0.406}, std[3] = {0.229, 0.224, 0.225};

typedef struct Case {
    SafeFile *file;
    Recipe *recipe;
    Task task;
    Predictor *predictor;
    Image image;
    Embedding *on;
    int64_t stride; /* at which rows and columns large tensors are stored */
    uint8_t *mask, *wanted;
    float *full, *fed; /* a mask's logits at the image's size; what "points" answered */
} Case;

static void model_open(Case *c, const char *fixture, const char *model) {
    char path[128], recipe[128];
    Error e = {0};
    *c = (Case){0};
    snprintf(path, sizeof path, "tests/golden/%s.safetensors", fixture);
    snprintf(recipe, sizeof recipe, "{\"task\":\"segment\",\"model\":{%s}}", model);
    if (!safe_open(&c->file, path, &e)) fail_msg("%s", e.text);
    if (!recipe_parse(&c->recipe, "test", recipe, strlen(recipe), NULL, 0, &e)) fail_msg("%s", e.text);
    if (!task_open(&c->task, &segment_class, c->recipe, 0, 0, &e)) fail_msg("%s", e.text);
    c->task.mean = mean;
    c->task.std = std;
    by_rule(&c->task.params);
}

static void photo_open(Case *c, const char *photo, int height) {
    Error e = {0};
    if (!image_read(&c->image, photo, &image_standard, &e)) fail_msg("%s", e.text);
    if (height) c->image.height = height;
    size_t pixels = (size_t)c->image.width * (size_t)c->image.height;
    c->mask = mem_get(pixels);
    c->wanted = mem_get(pixels);
    c->full = mem_get(pixels * sizeof(float));
    if (!c->mask || !c->wanted || !c->full) fail_msg("out of memory");
    if (!predictor_open(&c->predictor, &c->task, DT_F32, &e)) fail_msg("%s", e.text);
}

static void case_close(Case *c) {
    embedding_close(c->on);
    predictor_close(c->predictor);
    image_free(&c->image);
    mem_free(c->mask);
    mem_free(c->wanted);
    mem_free(c->full);
    mem_free(c->fed);
    task_close(&c->task);
    recipe_close(c->recipe);
    safe_close(c->file);
}

/* ---- what an image and its prompts give ---- */

/* x [n, side, side]: all of it by its sketch, and every stride-th row and column. */
static void near_large(Case *c, const char *name, const float *x, int64_t n, int64_t side) {
    double far = sketch_far(c->file, name, 0, x, n * side * side, NULL), diff = 0, norm = 0;
    if (!(far <= 1e-4)) fail_msg("%s: relative distance %.3g by its sketch", name, far);
    Tensor want = golden_read(c->file, name);
    const float *w = tensor_real(&want);
    for (int64_t k = 0; k < n; k++)
        for (int64_t i = 0; i < side; i += c->stride)
            for (int64_t j = 0; j < side; j += c->stride, w++) {
                diff += pow((double)x[(k * side + i) * side + j] - (double)*w, 2);
                norm += pow((double)*w, 2);
            }
    assert_int_equal(w - tensor_real(&want), tensor_count(&want));
    mem_free(want.data);
    if (!(sqrt(diff / norm) <= 1e-4)) fail_msg("%s: relative distance %.3g", name, sqrt(diff / norm));
}

/* Where the fixture has runs of mask `number` of `name`, at most one pixel in 10000 may differ. */
static void near_runs(Case *c, const char *name, int number, const uint8_t *mask) {
    char key[64];
    Rle r;
    Bytes text = {0}, runs = {0};
    Error e = {0};
    snprintf(key, sizeof key, "%s.runs.%d", name, number);
    if (!safe_find(c->file, key)) return;
    Tensor t = golden_read(c->file, key);
    int64_t n = tensor_count(&t), pixels = (int64_t)c->image.width * c->image.height, wrong = 0;
    if (!bytes_reserve(&text, (size_t)n + 1, &e)) fail_msg("%s", e.text);
    memcpy(text.data, t.data, (size_t)n);
    text.data[n] = 0;
    if (!rle_from_text(&r, &runs, (const char *)text.data, c->image.height, c->image.width, &e))
        fail_msg("%s: %s", key, e.text);
    rle_to_mask(&r, c->wanted);
    for (int64_t i = 0; i < pixels; i++) wrong += mask[i] != c->wanted[i];
    if (wrong * 10000 > pixels) fail_msg("%s: %lld pixels differ", key, (long long)wrong);
    bytes_free(&text);
    bytes_free(&runs);
    mem_free(t.data);
}

static void check_masks(Case *c, const char *name, const PredictorMasks *m) {
    int64_t side = embedding_low(c->on), pixels = (int64_t)m->width * m->height;
    assert_int_equal(m->width, c->image.width);
    assert_int_equal(m->height, c->image.height);
    for (int k = 0; k < m->each; k++) {
        predictor_upscale(c->on, m->low + k * side * side, c->full);
        for (int64_t i = 0; i < pixels; i++) c->mask[i] = c->full[i] > 0;
        near_runs(c, name, k, c->mask);
    }
}

static bool read_if(Case *c, const char *prompt, const char *key, Tensor *t) {
    char name[64];
    snprintf(name, sizeof name, "%s.%s", prompt, key);
    *t = (Tensor){0};
    if (safe_find(c->file, name)) *t = golden_read(c->file, name);
    return t->data;
}

static void check_prompt(Case *c, const char *prompt, PredictorHq hq) {
    Tensor points, corners;
    PredictorPoint point[4];
    PredictorPrompt p = {.point = point};
    PredictorMasks m;
    double box[4];
    char name[32], key[64];
    Error e = {0};
    snprintf(name, sizeof name, "%s%s", hq == PREDICTOR_HQ_ONLY ? "only." : "", prompt);
    if (read_if(c, prompt, "points", &points)) p.points = (int)points.dim[0];
    for (int i = 0; i < p.points; i++) {
        const float *at = tensor_real(&points) + (ptrdiff_t)3 * i;
        point[i] = (PredictorPoint){(double)at[0], (double)at[1], (int)at[2]};
    }
    if (read_if(c, prompt, "box", &corners)) p.box = box;
    for (int i = 0; i < 4 && p.box; i++) box[i] = (double)tensor_real(&corners)[i];
    if (!strcmp(prompt, "again")) p.logits = c->fed;
    if (!predictor_ask(c->predictor, c->on, &p, 1, !strcmp(prompt, "point"), hq, &m, &e))
        fail_msg("%s", e.text);
    int64_t side = embedding_low(c->on);
    snprintf(key, sizeof key, "%s.iou", name);
    golden_near(c->file, key,
                &(Tensor){.data = (void *)(uintptr_t)m.iou, .ndim = 1, .dim = {m.each}, .dtype = DT_F32},
                1e-4);
    snprintf(key, sizeof key, "%s.low", name);
    near_large(c, key, m.low, m.each, side);
    check_masks(c, name, &m);
    if (!strcmp(prompt, "points")) memcpy(c->fed, m.low, (size_t)(side * side) * sizeof *c->fed);
    mem_free(points.data);
    mem_free(corners.data);
}

static void check_photo(const char *fixture, const char *model, const char *photo, int height,
                        int64_t stride) {
    static const char *const prompt[] = {"point", "points", "box", "both", "again"};
    Case c;
    Error e = {0};
    model_open(&c, fixture, model);
    photo_open(&c, photo, height);
    c.stride = stride;
    if (!predictor_embed(c.predictor, &c.image, NULL, NULL, &c.on, &e)) fail_msg("%s", e.text);
    int64_t side = embedding_low(c.on);
    near_large(&c, "embedding", tensor_real(&c.on->image), c.on->image.dim[1], side / 4);
    if (!(c.fed = mem_get((size_t)(side * side) * sizeof *c.fed))) fail_msg("out of memory");
    for (int hq = PREDICTOR_HQ_SUM; hq <= (predictor_hq(c.predictor) ? PREDICTOR_HQ_ONLY : 0); hq++)
        for (int i = 0; i < COUNT(prompt); i++) check_prompt(&c, prompt[i], (PredictorHq)hq);
    case_close(&c);
}

#define SMALL "\"size\":\"micro\",\"image_size\":128"
static const char small_photo[] = "tests/golden/photos/coffee_224.jpg";

static void micro(void **state) {
    (void)state;
    check_photo("sam_photo_micro", SMALL, small_photo, 150, 1);
}

static void micro_hq(void **state) {
    (void)state;
    check_photo("sam_photo_hq_micro", SMALL ",\"hq\":true", small_photo, 150, 1);
}

/* A whole model on a photograph that is not among our own files. */
static void check_whole(const char *fixture, const char *model, const char *photo) {
    char path[512];
    const char *given = getenv("LETHE_DATA");
    skip_if_quick();
    snprintf(path, sizeof path, "%s/photos/%s", given ? given : "../shared/data", photo);
    if (access(path, R_OK)) {
        print_message("skipped: there is no %s\n", path);
        skip();
    }
    check_photo(fixture, model, path, 0, 8);
}

static void mobile_truck(void **state) {
    (void)state;
    check_whole("sam_photo_mobile_truck", "\"size\":\"tiny\"", "truck.jpg");
}

static void mobile_dog(void **state) {
    (void)state;
    check_whole("sam_photo_mobile_dog", "\"size\":\"tiny\"", "dog.jpg");
}

static void mobile_hq(void **state) {
    (void)state;
    check_whole("sam_photo_hq_mobile_truck", "\"size\":\"tiny\",\"hq\":true", "truck.jpg");
}

static void base(void **state) {
    (void)state;
    check_whole("sam_photo_base_truck", "\"size\":\"base\"", "truck.jpg");
}

static void base_hq(void **state) {
    (void)state;
    check_whole("sam_photo_hq_base_truck", "\"size\":\"base\",\"hq\":true", "truck.jpg");
}

/* ---- every mask of an image ---- */

static float *value_of(Case *c, const char *format, int i, int64_t *n) {
    char name[96];
    snprintf(name, sizeof name, format, i);
    Param *q = params_find(&c->task.params, name);
    if (!q) fail_msg("the model has no %s", name);
    *n = tensor_count(&q->tensor);
    return tensor_real(&q->tensor);
}

/* make_local of fixture_sam_masks.py: masks that are islands, not scattered all over the picture. */
static void make_local(Case *c) {
    static const char *const attention[] = {"layers.0.cross_attn_token_to_image",
                                            "layers.1.cross_attn_token_to_image",
                                            "final_attn_token_to_image"};
    char name[96];
    int64_t n;
    for (int i = 0; i <= 3; i += 3) { /* a weight's four taps become the first */
        float *w = value_of(c, "mask_decoder.output_upscaling.%d.weight", i, &n);
        for (int64_t k = 0; k < n; k++) w[k] = w[k / 4 * 4];
    }
    for (int i = 0; i < COUNT(attention); i++) {
        snprintf(name, sizeof name, "mask_decoder.transformer.%s.q_proj.weight", attention[i]);
        float *w = tensor_real(&params_find(&c->task.params, name)->tensor);
        for (int64_t k = 0; k < tensor_count(&params_find(&c->task.params, name)->tensor); k++) w[k] *= 4;
    }
    for (int i = 0; i < 4; i++) {
        float *b = value_of(c, "mask_decoder.output_hypernetworks_mlps.%d.layers.2.bias", i, &n);
        for (int64_t k = 0; k < n; k++) b[k] -= 0.05F;
    }
}

static void check_records(Case *c, const char *name, const GeneratorMasks *found) {
    static const char *const key[] = {"boxes", "crops", "points", "iou", "stability", "areas"};
    Tensor want[COUNT(key)];
    for (int i = 0; i < COUNT(key); i++) read_if(c, name, key[i], &want[i]);
    assert_int_equal(found->count, tensor_count(&want[5]));
    for (int i = 0; i < found->count; i++) {
        const GeneratorMask *m = &found->mask[i];
        const float *box = tensor_real(&want[0]) + (ptrdiff_t)4 * i,
                    *crop = tensor_real(&want[1]) + (ptrdiff_t)4 * i,
                    *at = tensor_real(&want[2]) + (ptrdiff_t)2 * i;
        const double got[] = {m->box.x0, m->box.y0, m->box.x1 - m->box.x0, m->box.y1 - m->box.y0};
        const int part[] = {m->crop.x, m->crop.y, m->crop.width, m->crop.height};
        for (int k = 0; k < 4; k++) {
            assert_int_equal((int)got[k], (int)box[k]);
            assert_int_equal(part[k], (int)crop[k]);
        }
        assert_true(fabs(m->x - (double)at[0]) < 1e-3 && fabs(m->y - (double)at[1]) < 1e-3);
        assert_true(fabs(m->iou - (double)tensor_real(&want[3])[i]) < 1e-4);
        assert_true(fabs(m->stability - (double)tensor_real(&want[4])[i]) < 2e-3);
        assert_true(fabs((double)m->area - (double)tensor_i32(&want[5])[i]) <= 3);
        rle_to_mask(&m->rle, c->mask);
        near_runs(c, name, i, c->mask);
    }
    for (int i = 0; i < COUNT(key); i++) mem_free(want[i].data);
}

static void every_mask(void **state) {
    (void)state;
    GeneratorSettings set = {.points_per_side = 8,
                             .points_per_batch = 20,
                             .iou_threshold = 0.3,
                             .stability_threshold = 0.3,
                             .stability_offset = 0.05,
                             .box_nms = 0.8,
                             .crop_nms = 0.7,
                             .crop_overlap = 0.3,
                             .crop_point_shrink = 1};
    GeneratorMasks found = {0};
    Error e = {0};
    Case c;
    model_open(&c, "sam_masks_micro", SMALL);
    make_local(&c);
    photo_open(&c, small_photo, 150);
    if (!generator_run(c.predictor, &c.image, &set, NULL, NULL, &found, &e)) fail_msg("%s", e.text);
    check_records(&c, "whole", &found);
    generator_free(&found);
    set.crop_layers = 1;
    set.crop_nms = 0.75;
    if (!generator_run(c.predictor, &c.image, &set, NULL, NULL, &found, &e)) fail_msg("%s", e.text);
    check_records(&c, "crops", &found);
    generator_free(&found);
    set.crop_point_shrink = 2;
    set.min_area = 150;
    if (!generator_run(c.predictor, &c.image, &set, NULL, NULL, &found, &e)) fail_msg("%s", e.text);
    check_records(&c, "area", &found);
    generator_free(&found);
    case_close(&c);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(micro),      cmocka_unit_test(micro_hq),  cmocka_unit_test(every_mask),
        cmocka_unit_test(mobile_dog), cmocka_unit_test(mobile_hq), cmocka_unit_test(mobile_truck),
        cmocka_unit_test(base),       cmocka_unit_test(base_hq),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
