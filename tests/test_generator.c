/* Automatic masks: crops, grids and edges as SAM's code has them (tests/golden/masks_reference.safetensors),
 * the lists of masks, and the whole on a small model; COCO JSON and pictures of masks written and read back.
 */
#include "cli/coco_write.h"
#include "cli/overlay.h"
#include "core/file.h"
#include "core/json.h"
#include "core/rng.h"
#include "core/train.h"
#include "data/coco.h"
#include "segment/generator_crops.h"
#include "segment/generator_list.h"
#include "segment/task.h"
#include "tests/golden.h"

#include <unistd.h>

#define GOLDEN "tests/golden/masks_reference.safetensors"

static SafeFile *golden;

static int32_t whole_at(const Tensor *t, int64_t i) {
    assert_int_equal(t->dtype, DT_I32);
    return ((const int32_t *)t->data)[i];
}

static void test_crops(void **state) {
    (void)state;
    const int shape[][3] = {{600, 800, 2}, {333, 1000, 3}, {101, 67, 1}};
    for (int k = 0; k < COUNT(shape); k++) {
        Error e;
        char name[40];
        GeneratorCrop *crop;
        int n;
        GeneratorSettings set = generator_standard;
        set.crop_layers = shape[k][2];
        snprintf(name, sizeof name, "crops.%dx%d.%d", shape[k][0], shape[k][1], shape[k][2]);
        Tensor want = golden_read(golden, name);
        assert_true(generator_crops(shape[k][1], shape[k][0], &set, &crop, &n, &e));
        assert_int_equal(n, want.dim[0]);
        for (int i = 0; i < n; i++) {
            const ImageBox b = crop[i].box;
            const int got[] = {b.x, b.y, b.x + b.width, b.y + b.height, crop[i].layer};
            for (int c = 0; c < 5; c++) assert_int_equal(got[c], whole_at(&want, i * 5 + c));
        }
        mem_free(crop);
        mem_free(want.data);
    }
}

static void test_crops_refused(void **state) {
    (void)state;
    Error e;
    GeneratorCrop *crop;
    int n;
    GeneratorSettings set = generator_standard;
    set.crop_layers = 3;
    assert_false(generator_crops(9, 5, &set, &crop, &n, &e));
    assert_non_null(strstr(e.text, "9 x 5 pixels are too few"));
    set.crop_point_shrink = 4;
    assert_false(generator_crops(900, 500, &set, &crop, &n, &e));
    assert_non_null(strstr(e.text, "32 points a side leave none"));
}

static void test_grid(void **state) {
    (void)state;
    const int sides[] = {1, 7, 32};
    for (int k = 0; k < COUNT(sides); k++) {
        char name[40];
        const int n = sides[k];
        snprintf(name, sizeof name, "grid.%d", n);
        Tensor want = golden_read(golden, name);
        for (int i = 0; i < n * n; i++) {
            assert_true((float)generator_place(n, i % n) == tensor_at(&want, 2 * i));
            assert_true((float)generator_place(n, i / n) == tensor_at(&want, 2 * i + 1));
        }
        mem_free(want.data);
    }
}

static void test_edges(void **state) {
    (void)state;
    Tensor box = golden_read(golden, "edge.boxes"), near = golden_read(golden, "edge.near"),
           crop = golden_read(golden, "edge.crop"), whole = golden_read(golden, "edge.whole");
    const int x = whole_at(&crop, 0), y = whole_at(&crop, 1);
    const ImageBox at = {x, y, whole_at(&crop, 2) - x, whole_at(&crop, 3) - y};
    int64_t cut = 0;
    for (int64_t i = 0; i < box.dim[0]; i++) {
        const MaskBox b = {x + whole_at(&box, 4 * i), y + whole_at(&box, 4 * i + 1),
                           x + whole_at(&box, 4 * i + 2), y + whole_at(&box, 4 * i + 3)};
        const bool got = generator_cut(b, at, whole_at(&whole, 2), whole_at(&whole, 3));
        assert_int_equal(got, whole_at(&near, i));
        cut += got;
    }
    assert_true(cut > 20 && cut < box.dim[0] - 20);
    mem_free(box.data);
    mem_free(near.data);
    mem_free(crop.data);
    mem_free(whole.data);
}

enum { SIDE = 24 };

static void square_put(GeneratorMasks *list, int x, int y, int size, int speck) {
    Error e;
    uint8_t mask[SIDE * SIDE] = {0};
    Bytes runs = {0};
    GeneratorMask m = {.iou = size};
    for (int i = 0; i < size * size; i++) mask[(y + i / size) * SIDE + x + i % size] = 1;
    if (speck >= 0) mask[speck] = !mask[speck];
    assert_true(rle_from_mask(&m.rle, &runs, mask, SIDE, SIDE, &e));
    m.area = rle_area(&m.rle);
    m.box = mask_box(mask, SIDE, SIDE);
    assert_true(generator_list_add(list, &m, &e));
    bytes_free(&runs);
}

/* Each mask's runs are its own, however often the list's memory moved. */
static void list_check(const GeneratorMasks *list) {
    for (int64_t i = 0; i < list->count; i++) {
        uint8_t mask[SIDE * SIDE];
        rle_to_mask(&list->mask[i].rle, mask);
        assert_int_equal(mask_area(mask, SIDE * SIDE), list->mask[i].area);
        assert_memory_equal(&(MaskBox[]){mask_box(mask, SIDE, SIDE)}, &list->mask[i].box, sizeof(MaskBox));
    }
}

static void test_list(void **state) {
    (void)state;
    Error e;
    GeneratorMasks list = {0};
    double score[300];
    for (int i = 0; i < 300; i++) {
        square_put(&list, i % 12, i / 12 % 12, 2 + i % 11, -1);
        score[i] = i % 11;
    }
    list_check(&list);
    assert_true(generator_list_suppress(&list, score, 0.5, &e));
    assert_true(list.count > 1 && list.count < 250);
    for (int64_t i = 1; i < list.count; i++) assert_true(list.mask[i].iou <= list.mask[i - 1].iou);
    list_check(&list);
    generator_free(&list);
}

static void test_clean(void **state) {
    (void)state;
    Error e;
    GeneratorMasks list = {0};
    square_put(&list, 4, 4, 10, 8 * SIDE + 8); /* a hole: changed, so the next one wins over it */
    square_put(&list, 4, 4, 10, -1);
    square_put(&list, 14, 12, 8, 3 * SIDE + 20); /* an island: its box is then the square's */
    assert_true(generator_list_clean(&list, 5, 0.7, &e));
    assert_int_equal(list.count, 2);
    assert_int_equal(list.mask[0].area, 100);
    assert_int_equal(list.mask[1].area, 64);
    assert_true(list.mask[1].box.y0 == 12);
    list_check(&list);
    for (int n = 0; n < 6; n++) { /* memory that runs out changes nothing */
        const uint64_t live = mem_stat().live;
        mem_fail_after(n);
        const bool fine = generator_list_clean(&list, 5, 0.7, &e);
        mem_fail_after(-1);
        if (fine) break;
        assert_int_equal(e.code, ERROR_MEMORY);
        assert_int_equal(mem_stat().live, live);
        assert_int_equal(list.count, 2);
        list_check(&list);
    }
    generator_free(&list);
}

typedef struct Small {
    Recipe *recipe;
    Task task;
    Predictor *predictor;
    Image image;
} Small;

static void small_open(Small *m) {
    static const double mean[3] = {0.485, 0.456, 0.406}, std[3] = {0.229, 0.224, 0.225};
    static const char text[] =
        "{\"task\": \"segment\", \"model\": {\"size\": \"micro\", \"image_size\": 128}}";
    Error e;
    RunSettings run;
    *m = (Small){0};
    if (!recipe_parse(&m->recipe, "test", text, strlen(text), NULL, 0, &e) ||
        !recipe_bind(m->recipe, &run_table, &run, &e) ||
        !task_open(&m->task, &segment_class, m->recipe, 0, 4, &e))
        fail_msg("%s", e.text);
    m->task.mean = mean, m->task.std = std;
    if (!predictor_open(&m->predictor, &m->task, DT_F32, &e) || !image_reserve(&m->image, 90, 60, &e))
        fail_msg("%s", e.text);
    for (int i = 0; i < 90 * 60 * 3; i++) m->image.pixel[i] = (uint8_t)(i / 3 % 90 > 40 ? 200 : i / 270);
}

static void small_close(Small *m) {
    image_free(&m->image);
    predictor_close(m->predictor);
    task_close(&m->task);
    recipe_close(m->recipe);
}

/* Nothing is filtered away: fresh weights promise little. */
static GeneratorSettings generous(void) {
    GeneratorSettings set = generator_standard;
    set.points_per_side = 4;
    set.iou_threshold = set.stability_threshold = 0;
    set.box_nms = 1;
    return set;
}

typedef struct Told {
    int64_t points, all, calls, stop;
} Told;

static bool tell(void *self, int64_t points, int64_t all) {
    Told *t = self;
    assert_true(points >= t->points && points <= all);
    t->points = points, t->all = all, t->calls++;
    return points < t->stop;
}

static void test_run(void **state) {
    (void)state;
    Small m;
    Error e;
    GeneratorMasks all = {0}, few = {0};
    GeneratorSettings set = generous();
    Told told = {.stop = 1000};
    small_open(&m);
    if (!generator_run(m.predictor, &m.image, &set, tell, &told, &all, &e)) fail_msg("%s", e.text);
    assert_int_equal(told.points, 16);
    assert_int_equal(told.all, 16);
    assert_int_equal(all.count, 48); /* no box overlaps by more than 1 */
    for (int64_t i = 0; i < all.count; i++) {
        const GeneratorMask *g = &all.mask[i];
        assert_int_equal(rle_area(&g->rle), g->area);
        assert_true(g->rle.width == 90 && g->rle.height == 60 && g->crop.width == 90);
        assert_true(i == 0 || g->iou <= all.mask[i - 1].iou);
        assert_true(g->x > 0 && g->x < 90 && g->y > 0 && g->y < 60);
    }
    /* the size of the batches changes nothing; a threshold keeps those above it, in the same order */
    set.points_per_batch = 8;
    set.iou_threshold = all.mask[5].iou;
    assert_true(set.iou_threshold > 0);
    if (!generator_run(m.predictor, &m.image, &set, NULL, NULL, &few, &e)) fail_msg("%s", e.text);
    assert_true(few.count > 0 && few.count <= 5);
    for (int64_t i = 0; i < few.count; i++) {
        assert_int_equal(few.mask[i].area, all.mask[i].area);
        assert_true(few.mask[i].stability == all.mask[i].stability);
    }
    generator_free(&all);
    generator_free(&few);
    small_close(&m);
}

static void test_run_crops(void **state) {
    (void)state;
    Small m;
    Error e;
    GeneratorMasks found = {0};
    GeneratorSettings set = generous();
    Told told = {.stop = 1000};
    set.crop_layers = 1;
    set.crop_nms = 1;
    set.crop_point_shrink = 2;
    small_open(&m);
    if (!generator_run(m.predictor, &m.image, &set, tell, &told, &found, &e)) fail_msg("%s", e.text);
    assert_int_equal(told.all, 16 + 4 * 4);
    assert_true(found.count > 0);
    for (int64_t i = 0; i < found.count; i++) {
        const GeneratorMask *g = &found.mask[i], *before = &found.mask[i ? i - 1 : 0];
        assert_true(g->x >= g->crop.x && g->x < g->crop.x + g->crop.width);
        assert_true(g->crop.width * g->crop.height >= before->crop.width * before->crop.height);
        if (g->area == 0) continue;
        assert_true(g->box.x0 >= g->crop.x && g->box.x1 < g->crop.x + g->crop.width);
        assert_true(g->box.y0 >= g->crop.y && g->box.y1 < g->crop.y + g->crop.height);
    }
    generator_free(&found);
    told = (Told){.stop = 10};
    set.points_per_batch = 5;
    assert_false(generator_run(m.predictor, &m.image, &set, tell, &told, &found, &e));
    assert_int_equal(e.code, ERROR_STATE);
    assert_int_equal(told.points, 10);
    assert_int_equal(found.count, 0);
    small_close(&m);
}

static void random_mask(uint8_t *mask, int n, uint32_t key) {
    for (int i = 0; i < n; i++) {
        uint32_t word[4];
        rng_philox((uint32_t[4]){(uint32_t)i, 0, 0, 0}, (uint32_t[2]){key, 1}, word);
        mask[i] = word[0] % 3 == 0;
    }
}

static void test_json(void **state) {
    (void)state;
    enum { W = 31, H = 19, N = 3 };
    Error e;
    char path[] = "/tmp/lethe-coco-XXXXXX";
    const int fd = mkstemp(path);
    uint8_t mask[N][W * H], got[W * H];
    Bytes list = {0}, results = {0};
    for (uint32_t k = 0; k < N; k++) {
        Bytes runs = {0};
        Rle rle;
        CocoRecord r = {.image = 1, .category = 1, .rle = &rle, .iou = 0.5, .more = "\"note\": \"a\\\"b\""};
        random_mask(mask[k], W * H, k);
        if (k == 2) memset(mask[k], 0, W * H);
        assert_true(rle_from_mask(&rle, &runs, mask[k], H, W, &e));
        coco_box(&rle, r.box);
        const MaskBox b = mask_box(mask[k], H, W);
        assert_true(r.box[0] == b.x0 && r.box[1] == b.y0);
        assert_true(r.box[2] == (k == 2 ? 0 : b.x1 - b.x0 + 1) && r.box[3] == (k == 2 ? 0 : b.y1 - b.y0 + 1));
        if (!coco_put_annotation(&list, k + 1, &r, &e) || !coco_put_result(&results, &r, &e))
            fail_msg("%s", e.text);
        bytes_free(&runs);
    }
    if (!coco_write_image(path, "a\"b.png", W, H, &list, &e)) fail_msg("%s", e.text);
    Coco *c;
    if (!coco_open(&c, path, &e)) fail_msg("%s", e.text);
    assert_int_equal(c->annotations, N);
    assert_string_equal(c->image[0].file, "a\"b.png");
    for (int k = 0; k < N; k++) {
        rle_to_mask(&c->annotation[k].rle, got);
        assert_memory_equal(got, mask[k], W * H);
        assert_true(c->annotation[k].area == (double)mask_area(mask[k], W * H));
    }
    coco_close(c);
    if (!coco_write_results(path, &results, &e)) fail_msg("%s", e.text);
    JsonFile *json;
    if (!json_load(&json, path, 1 << 20, &e)) fail_msg("%s", e.text);
    assert_int_equal(json_count(json_root(json)), N);
    json_close(json);
    bytes_free(&list);
    bytes_free(&results);
    close(fd);
    unlink(path);
}

static void test_pictures(void **state) {
    (void)state;
    enum { W = 20, H = 10 };
    Error e;
    char path[] = "/tmp/lethe-grey-XXXXXX";
    const int fd = mkstemp(path);
    uint8_t grey[W * H], mask[W * H];
    Image im = {0};
    random_mask(mask, W * H, 9);
    for (int i = 0; i < W * H; i++) grey[i] = (uint8_t)(i + 3);
    if (!image_write_grey(grey, W, H, path, &e) || !image_read(&im, path, &image_standard, &e))
        fail_msg("%s", e.text);
    for (int i = 0; i < W * H * 3; i++) assert_int_equal(im.pixel[i], grey[i / 3]);
    /* what is outside keeps its colour; prompts at and beyond the edges stay in the picture */
    overlay_mask(&im, mask, overlay_colour(0));
    for (int i = 0; i < W * H; i++)
        assert_int_equal(memcmp(im.pixel + 3L * i, (uint8_t[]){grey[i], grey[i], grey[i]}, 3) == 0, !mask[i]);
    overlay_point(&im, 0, 0, true);
    overlay_point(&im, W - 0.5, H - 0.5, false);
    overlay_box(&im, (double[]){-5, -5, W + 5, H + 5});
    overlay_box(&im, (double[]){12, 1, 17, 5});
    assert_true(im.pixel[(1 * W + 14) * 3 + 1] > 200);
    image_free(&im);
    close(fd);
    unlink(path);
}

int main(void) {
    Error e;
    if (!safe_open(&golden, GOLDEN, &e)) {
        fprintf(stderr, "%s\n", e.text);
        return 1;
    }
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_crops),    cmocka_unit_test(test_crops_refused), cmocka_unit_test(test_grid),
        cmocka_unit_test(test_edges),    cmocka_unit_test(test_list),          cmocka_unit_test(test_clean),
        cmocka_unit_test(test_run),      cmocka_unit_test(test_run_crops),     cmocka_unit_test(test_json),
        cmocka_unit_test(test_pictures),
    };
    const int failed = cmocka_run_group_tests(tests, NULL, NULL);
    safe_close(golden);
    return failed;
}
