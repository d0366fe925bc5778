/* Masks in batches: every layout, pictures and masks moving together, evaluation's masks to the pixel, ranks,
 * memory, and what is wrong with files. A scene has a red and a green object on black, so that a mask must be
 * where its colour is. */
#include "core/file.h"
#include "core/json.h"
#include "core/rng.h"
#include "data/loader.h"
#include "data/masks.h"

#include <png.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

enum { SCENES = 6, SIDE = 32, PIXELS = SIDE * SIDE };

static char root[64];
static Log *hush;

static const char *path_of(const char *format, ...) {
    static char ring[8][300];
    static int next;
    char inside[200];
    va_list args;
    va_start(args, format);
    vsnprintf(inside, sizeof inside, format, args);
    va_end(args);
    char *out = ring[next++ % 8];
    snprintf(out, sizeof ring[0], "%s/%s", root, inside);
    return out;
}

static DataSettings settings_of(const char *train, const char *const more[], int n) {
    Error e;
    Recipe *r = NULL;
    DataSettings s;
    const char *set[20] = {"data.geometry=longest", "data.corrupt=stop", "data.workers=2"};
    for (int i = 0; i < n; i++) set[3 + i] = more[i];
    if (!recipe_parse(&r, "t.json", "{}", 2, (char *const *)set, 3 + n, &e) ||
        !recipe_bind(r, &data_table, &s, &e))
        fail_msg("%s", e.text);
    recipe_close(r);
    snprintf(s.train, sizeof s.train, "%s", train);
    return s;
}

/* ------------------------------------------------------------------------------------------ scenes --- */

typedef struct Scene {
    int width, height;
    ImageBox object[2]; /* red, green */
} Scene;

static Scene scene_of(int i) {
    return (Scene){44 + 3 * i, 34 + 2 * i, {{3 + i, 4, 14, 12}, {24, 13 + i, 15, 14}}};
}

static bool is_inside(ImageBox b, int x, int y) {
    return x >= b.x && x < b.x + b.width && y >= b.y && y < b.y + b.height;
}

static void fine(bool ok, const Error *e) {
    if (!ok) fail_msg("%s", e->text);
}

static void make_folder(const char *path) {
    Error e;
    fine(file_make_folder(path, &e), &e);
}

static void write_text(const char *path, const char *text) {
    Error e;
    fine(file_write(path, text, strlen(text), &e), &e);
}

static void draw_scene(int i, const char *path) {
    Error e;
    Image im = {0};
    Scene s = scene_of(i);
    fine(image_reserve(&im, s.width, s.height, &e), &e);
    for (int y = 0; y < s.height; y++)
        for (int x = 0; x < s.width; x++) {
            uint8_t *p = im.pixel + (y * s.width + x) * 3;
            p[0] = is_inside(s.object[0], x, y) ? 255 : 0;
            p[1] = is_inside(s.object[1], x, y) ? 255 : 0;
            p[2] = 0;
        }
    bool png = strcmp(path + strlen(path) - 4, ".png") == 0;
    fine(png ? image_write_png(&im, path, &e) : image_write_jpeg(&im, 98, path, &e), &e);
    image_free(&im);
}

static uint8_t *mask_of(int i, int object) {
    Scene s = scene_of(i);
    uint8_t *mask = mem_zero((size_t)(s.width * s.height), 1);
    for (int k = 0; k < s.width * s.height; k++)
        mask[k] = is_inside(s.object[object], k % s.width, k / s.width) ? 255 : 0;
    return mask;
}

/* A PNG of this colour type and depth from one byte (16 bits: the high one of two) a pixel; NULL: nothing
 * but the header is good. */
static void write_png(const char *path, int type, int depth, int width, int height, const uint8_t *value) {
    FILE *f = fopen(path, "wb");
    png_structp png = png_create_write_struct(PNG_LIBPNG_VER_STRING, NULL, NULL, NULL);
    png_infop info = png_create_info_struct(png);
    png_color palette[256];
    uint8_t *row = mem_zero((size_t)width, 6);
    for (int k = 0; k < 256; k++) palette[k] = (png_color){(png_byte)(200 - k), (png_byte)k, 90};
    png_set_user_limits(png, 0x7FFFFFFF, 0x7FFFFFFF);
    png_init_io(png, f);
    png_set_IHDR(png, info, (uint32_t)width, (uint32_t)height, depth, type, PNG_INTERLACE_NONE,
                 PNG_COMPRESSION_TYPE_DEFAULT, PNG_FILTER_TYPE_DEFAULT);
    if (type == PNG_COLOR_TYPE_PALETTE) png_set_PLTE(png, info, palette, 256);
    png_write_info(png, info);
    for (int y = 0; value && y < height; y++) {
        for (int x = 0; x < width; x++) row[x * depth / 8] = value[y * width + x];
        png_write_row(png, row);
    }
    if (value) png_write_end(png, info);
    if (!value) fwrite("\0\0\0\4IDAT\0\0\0\0", 1, 12, f);
    png_destroy_write_struct(&png, &info);
    mem_free(row);
    fclose(f);
}

static void write_mask(int i, int object, const char *path) {
    Scene s = scene_of(i);
    uint8_t *mask = mask_of(i, object);
    write_png(path, PNG_COLOR_TYPE_GRAY, 8, s.width, s.height, mask);
    mem_free(mask);
}

/* ------------------------------------------------------------------------------------------- layouts --- */

/* The runs of an object as "counts": a list or a string. */
static int put_counts(char *out, size_t size, int i, int object, bool packed) {
    Error e;
    Rle r;
    Bytes runs = {0}, text = {0};
    Scene s = scene_of(i);
    uint8_t *mask = mask_of(i, object);
    fine(rle_from_mask(&r, &runs, mask, s.height, s.width, &e) && rle_to_text(&r, &text, &e), &e);
    int n = snprintf(out, size, "{\"size\": [%d, %d], \"counts\": ", s.height, s.width);
    if (packed) n += snprintf(out + n, size - (size_t)n, "\"%s\"}", (char *)text.data);
    for (int64_t k = 0; !packed && k < r.count; k++)
        n += snprintf(out + n, size - (size_t)n, "%c%u", k ? ',' : '[', r.run[k]);
    if (!packed) n += snprintf(out + n, size - (size_t)n, "]}");
    bytes_free(&runs);
    bytes_free(&text);
    mem_free(mask);
    return n;
}

/* The object in two halves that touch. */
static int put_polygons(char *out, size_t size, ImageBox b) {
    int x1 = b.x + b.width, y1 = b.y + b.height, xm = b.x + b.width / 2;
    return snprintf(out, size, "[[%d,%d,%d,%d,%d,%d,%d,%d],[%d,%d,%d,%d,%d,%d,%d,%d]]", b.x, b.y, xm, b.y, xm,
                    y1, b.x, y1, xm, b.y, x1, b.y, x1, y1, xm, y1);
}

/* Red: a list of runs; green: polygons in odd scenes, a string in even ones; a crowd; the last image has
 * none. */
static void make_coco(void) {
    static char text[40000];
    int n = snprintf(text, sizeof text, "{\"categories\":[{\"id\":1,\"name\":\"thing\"}],\"images\":[");
    make_folder(path_of("coco/train"));
    for (int i = 0; i < SCENES; i++) {
        Scene s = scene_of(i);
        draw_scene(i, path_of("coco/train/%d.png", i));
        n += snprintf(text + n, sizeof text - (size_t)n,
                      "%s{\"id\":%d,\"file_name\":\"%d.png\",\"width\":%d,\"height\":%d}", i ? "," : "", i, i,
                      s.width, s.height);
    }
    n += snprintf(text + n, sizeof text - (size_t)n, "],\"annotations\":[");
    for (int i = 0; i < SCENES - 1; i++)
        for (int k = 0; k < 3; k++) {
            n += snprintf(text + n, sizeof text - (size_t)n,
                          "%s{\"id\":%d,\"image_id\":%d,\"category_id\":1,\"bbox\":[0,0,1,1],\"iscrowd\":%d,"
                          "\"segmentation\":",
                          i || k ? "," : "", 10 * i + k, i, k == 2);
            if (k == 1 && i % 2)
                n += put_polygons(text + n, sizeof text - (size_t)n, scene_of(i).object[1]);
            else
                n += put_counts(text + n, sizeof text - (size_t)n, i, k % 2, k == 1);
            n += snprintf(text + n, sizeof text - (size_t)n, "}");
        }
    snprintf(text + n, sizeof text - (size_t)n, "]}");
    write_text(path_of("coco/train.json"), text);
}

static void make_sa1b(void) {
    static char text[8000];
    make_folder(path_of("sa1b"));
    for (int i = 0; i < SCENES; i++) {
        int n = snprintf(text, sizeof text, "{\"image\":{\"image_id\":%d},\"annotations\":[", i);
        for (int k = 0; k < 2; k++) {
            n += snprintf(text + n, sizeof text - (size_t)n,
                          "%s{\"id\":%d,\"area\":1,\"segmentation\":", k ? "," : "", 10 * i + k);
            n += put_counts(text + n, sizeof text - (size_t)n, i, k, true);
            n += snprintf(text + n, sizeof text - (size_t)n, "}");
        }
        snprintf(text + n, sizeof text - (size_t)n, "]}");
        draw_scene(i, path_of("sa1b/sa_%d.jpg", i));
        write_text(path_of("sa1b/sa_%d.json", i), text);
    }
}

/* Beside each other, in two folders, and images without a mask. */
static void make_masks(void) {
    make_folder(path_of("masks/below"));
    make_folder(path_of("pair/im/below"));
    make_folder(path_of("pair/gt/below"));
    for (int i = 0; i < SCENES; i++) {
        const char *in = i % 2 ? "below/" : "";
        if (i == 4) {
            draw_scene(i, path_of("masks/%d.png", i));
            write_mask(i, i % 2, path_of("masks/%d_mask.png", i));
        } else {
            draw_scene(i, path_of("masks/%s%d.jpg", in, i));
            write_mask(i, i % 2, path_of("masks/%s%d.%s", in, i, i == 3 ? "PNG" : "png"));
        }
        draw_scene(i, path_of("pair/im/%s%d.jpg", in, i));
        write_mask(i, i % 2, path_of("pair/gt/%s%d.png", in, i));
    }
    draw_scene(0, path_of("masks/lone.jpg"));
}

static void make_hqseg(void) {
    static const char *const part[][2] = {
        {"DIS5K/DIS-TR/im", "DIS5K/DIS-TR/gt"},
        {"thin_object_detection/ThinObject5K/images_train", "thin_object_detection/ThinObject5K/masks_train"},
        {"cascade_psp/fss_all", "cascade_psp/fss_all"},
        {"cascade_psp/DUTS-TR", "cascade_psp/DUTS-TR"},
        {"cascade_psp/DUTS-TE", "cascade_psp/DUTS-TE"},
        {"cascade_psp/ecssd", "cascade_psp/ecssd"},
        {"thin_object_detection/COIFT/images", "thin_object_detection/COIFT/masks"},
        {"cascade_psp/MSRA_10K", "cascade_psp/MSRA_10K"}};
    for (int i = 0; i < COUNT(part); i++) {
        make_folder(path_of("hq/%s", part[i][0]));
        make_folder(path_of("hq/%s", part[i][1]));
        draw_scene(i % SCENES, path_of("hq/%s/a%d.jpg", part[i][0], i));
        write_mask(i % SCENES, i % 2, path_of("hq/%s/a%d.png", part[i][1], i));
    }
}

static int make_all(void **state) {
    (void)state;
    Error e;
    const LogTotals nowhere = {.interval = 1, .console = -1};
    fine(log_open(&hush, NULL, &nowhere, 0, &e), &e);
    make_coco();
    make_sa1b();
    make_masks();
    make_hqseg();
    return 0;
}

/* ------------------------------------------------------------------------------------------ batches --- */

static Dataset *open_data(const DataSettings *set, bool train) {
    Error e;
    Dataset *d;
    fine(dataset_open(&d, set, train, &e), &e);
    return d;
}

static LoaderOptions options_of(const DataSettings *set, int batch, bool train) {
    return (LoaderOptions){.set = set,
                           .image_size = SIDE,
                           .batch = batch,
                           .ranks = 1,
                           .train = train,
                           .masks = true,
                           .seed = 3,
                           .log = hush};
}

static Source open_loader(const Dataset *d, const DataSettings *set, int batch, bool train) {
    Error e;
    Source s;
    LoaderOptions o = options_of(set, batch, train);
    fine(loader_open(&s, d, &o, &e), &e);
    return s;
}

static const Batch *get(const Source *s, int64_t step) {
    Error e;
    const Batch *b;
    fine(s->get(s->self, step, &b, &e), &e);
    return b;
}

static const uint8_t *mask_at(const Batch *b, int i, int k) {
    return b->mask + (size_t)(i * b->each + k) * PIXELS;
}

static const float *image_at(const Batch *b, int i) {
    return (const float *)b->image.data + (size_t)i * 3 * PIXELS;
}

/* Which object of the picture a mask covers: pixels that disagree with its colour, at most those along the
 * edges. 0 red, 1 green; fails if neither. */
static int object_of(const Batch *b, int i, int k) {
    const uint8_t *mask = mask_at(b, i, k);
    int wrong[2] = {0}, inside = 0;
    for (int p = 0; p < PIXELS; p++) {
        inside += mask[p] >= 128;
        for (int c = 0; c < 2; c++) {
            double v = (double)image_at(b, i)[c * PIXELS + p],
                   level = c ? v * 57.12 + 116.28 : v * 58.395 + 123.675;
            bool padded = p / SIDE >= b->fit[2 * i] || p % SIDE >= b->fit[2 * i + 1];
            wrong[c] += (mask[p] >= 128) != (level > 128.5 && !padded);
        }
    }
    int object = wrong[0] < wrong[1] ? 0 : 1;
    assert_true(inside >= 4);
    if (wrong[object] > 4 + inside / 5)
        fail_msg("sample %lld: %d of %d pixels are off", (long long)b->id[i], wrong[object], inside);
    return object;
}

/* Jittered and mirrored: masks stay on their objects. Returns a bit for each object seen. */
static int check_together(const DataSettings *set, int64_t samples) {
    Dataset *d = open_data(set, true);
    Source s = open_loader(d, set, 2, true);
    int seen = 0, cut = 0;
    assert_int_equal(s.samples, samples);
    for (int64_t step = 0; step < 4 * s.steps_per_epoch; step++) {
        const Batch *b = get(&s, step);
        assert_int_equal(b->n, 2);
        assert_int_equal(b->each, set->masks_per_image);
        assert_int_equal(b->truths, 0);
        for (int i = 0; i < b->n; i++) {
            for (int k = 0; k < b->each; k++) seen |= 1 << object_of(b, i, k);
            assert_true(b->fit[2 * i] >= 1 && b->fit[2 * i] <= SIDE && b->fit[2 * i + 1] <= SIDE);
            cut += b->fit[2 * i] == SIDE && b->fit[2 * i + 1] == SIDE;
        }
    }
    if (set->lsj_max > 1.5) assert_true(cut > 0);
    s.close(s.self);
    dataset_close(d);
    return seen;
}

static void test_masks_follow_pictures(void **state) {
    (void)state;
    const struct {
        const char *train, *more;
        int64_t samples;
    } row[] = {{path_of("coco/train.json"), "data.layout=auto", SCENES - 1},
               {path_of("sa1b"), "data.layout=auto", SCENES},
               {path_of("masks"), "data.layout=auto", SCENES},
               {path_of("pair/im"), "data.masks=../gt", SCENES},
               {path_of("hq"), "data.layout=hqseg", 7}};
    const char *how[] = {"data.geometry=longest", "data.geometry=stretch", "data.lsj_max=2"};
    for (int i = 0; i < COUNT(row); i++)
        for (int k = 0; k < COUNT(how); k++) {
            const char *more[] = {how[k],           k == 2 ? "data.lsj_min=0.5" : how[k],
                                  row[i].more,      "data.masks_per_image=2",
                                  "data.hflip=0.5", i == 3 ? "data.layout=masks" : row[i].more};
            DataSettings set = settings_of(row[i].train, more, COUNT(more));
            assert_int_equal(check_together(&set, row[i].samples), 3);
        }
}

/* Two objects, three masks: each object, then the first again; another order elsewhere. */
static void test_drawn_without_replacement(void **state) {
    (void)state;
    const char *more[] = {"data.masks_per_image=3", "data.hflip=0"};
    DataSettings set = settings_of(path_of("coco/train.json"), more, COUNT(more));
    Dataset *d = open_data(&set, true);
    Source s = open_loader(d, &set, 5, true);
    int first[2] = {0};
    for (int step = 0; step < 6; step++) {
        const Batch *b = get(&s, step);
        for (int i = 0; i < b->n; i++) {
            int one = object_of(b, i, 0);
            assert_int_equal(object_of(b, i, 1), 1 - one);
            assert_memory_equal(mask_at(b, i, 2), mask_at(b, i, 0), PIXELS);
            assert_true(b->id[i] != SCENES - 1); /* has none */
            first[one]++;
        }
    }
    assert_true(first[0] > 3 && first[1] > 3);
    s.close(s.self);
    dataset_close(d);
}

/* Jitter that leaves three pixels: then without it. A larger least size: the smaller object is never drawn.
 */
static void test_small_objects(void **state) {
    (void)state;
    const char *tiny[] = {"data.lsj_min=0.1", "data.lsj_max=0.1"};
    DataSettings set = settings_of(path_of("coco/train.json"), tiny, COUNT(tiny));
    Dataset *d = open_data(&set, true);
    Source s = open_loader(d, &set, 5, true);
    const Batch *b = get(&s, 0);
    for (int i = 0; i < b->n; i++) {
        assert_int_equal(b->fit[2 * i + 1], SIDE);
        object_of(b, i, 0);
    }
    s.close(s.self);
    set = settings_of(path_of("coco/train.json"), (const char *[]){"data.mask_min=80"}, 1);
    s = open_loader(d, &set, 5, true); /* 168 and 210 pixels at full size, 44 to 59 across */
    int seen[2] = {0};
    for (int step = 0; step < 6; step++) {
        b = get(&s, step);
        for (int i = 0; i < b->n; i++) {
            int inside = 0;
            for (int p = 0; p < PIXELS; p++) inside += mask_at(b, i, 0)[p] >= 128;
            assert_true(inside >= 80);
            seen[object_of(b, i, 0)]++;
        }
    }
    assert_true(seen[1] > seen[0]);
    s.close(s.self);
    dataset_close(d);
}

/* ---------------------------------------------------------------------------------------- evaluation --- */

static void check_truth(const BatchMask *m, int scene, int object, int slack) {
    Scene s = scene_of(scene);
    uint8_t *want = mask_of(scene, object), *got = mem_get((size_t)(s.width * s.height));
    int wrong = 0;
    assert_int_equal(m->height, s.height);
    assert_int_equal(m->width, s.width);
    Rle r = {m->height, m->width, m->runs, m->run};
    rle_to_mask(&r, got);
    for (int k = 0; k < s.width * s.height; k++) wrong += (got[k] == 1) != (want[k] == 255);
    assert_true(wrong <= slack);
    mem_free(want);
    mem_free(got);
}

static void test_evaluation(void **state) {
    (void)state;
    for (int most = 0; most < 2; most++) {
        char text[40];
        snprintf(text, sizeof text, "data.eval_masks=%d", most);
        const char *more[] = {text};
        DataSettings set = settings_of(path_of("coco/train.json"), more, 1);
        snprintf(set.test, sizeof set.test, "%s", set.train);
        Dataset *d = open_data(&set, false);
        Source s = open_loader(d, &set, 2, false);
        int64_t id = 0;
        assert_int_equal(s.samples, SCENES - 1);
        for (int step = 0; step < 3; step++) {
            const Batch *b = get(&s, step);
            int each = most ? 1 : 2;
            assert_int_equal(b->n, step < 2 ? 2 : 1);
            assert_int_equal(b->truths, each * b->n);
            assert_int_equal(b->each, 0);
            assert_null(b->mask);
            for (int64_t k = 0; k < b->truths; k++) {
                const BatchMask *m = &b->truth[k];
                int object = (int)k % each, scene = (int)b->id[m->image];
                assert_int_equal(m->image, k / each);
                assert_int_equal(m->id, 10 * scene + object);
                check_truth(m, scene, object, 0);
                id += k % each == 0;
            }
            for (int i = 0; i < b->n; i++) {
                Scene c = scene_of((int)b->id[i]);
                assert_int_equal(b->fit[2 * i], (int)(c.height * (SIDE * 1.0 / c.width) + 0.5));
                assert_int_equal(b->fit[2 * i + 1], SIDE);
                assert_int_equal(b->size[2 * i], c.height);
            }
        }
        assert_int_equal(id, SCENES - 1);
        s.close(s.self);
        dataset_close(d);
    }
}

/* Soft edges: more than 128 is inside. An empty mask: the image is left out. */
static void test_soft_and_empty_masks(void **state) {
    (void)state;
    Scene c = scene_of(0);
    uint8_t *mask = mask_of(0, 0);
    make_folder(path_of("soft"));
    mask[0] = 128, mask[1] = 129;
    for (int k = 0; k < 2; k++) {
        draw_scene(0, path_of("soft/%d.jpg", k));
        write_png(path_of("soft/%d.png", k), PNG_COLOR_TYPE_GRAY, 8, c.width, c.height, mask);
        memset(mask, 0, (size_t)(c.width * c.height));
    }
    DataSettings set = settings_of(path_of("soft"), NULL, 0);
    snprintf(set.test, sizeof set.test, "%s", set.train);
    Dataset *d = open_data(&set, false);
    Source s = open_loader(d, &set, 2, false);
    const Batch *b = get(&s, 0);
    assert_int_equal(b->n, 1);
    assert_int_equal(b->truths, 1);
    check_truth(b->truth, 0, 0, 1);
    Rle r = {b->truth->height, b->truth->width, b->truth->runs, b->truth->run};
    assert_int_equal(rle_area(&r), c.object[0].width * c.object[0].height + 1);
    s.close(s.self);
    s = open_loader(d, &set, 2, true); /* in training another takes its place */
    for (int step = 0; step < 3; step++) {
        b = get(&s, step);
        for (int i = 0; i < 2; i++) assert_int_equal(b->id[i], 0);
    }
    s.close(s.self);
    LoaderOptions o = options_of(&set, 2, true);
    Error e;
    o.plain = true; /* but not where each comes once */
    fine(loader_open(&s, d, &o, &e), &e);
    for (int step = 0; step < 3; step++) {
        b = get(&s, step);
        assert_int_equal(b->n, 1);
        assert_int_equal(b->id[0], 0);
    }
    s.close(s.self);
    dataset_close(d);
    mem_free(mask);
}

/* Plain: every picture that has masks once a pass, in order; the same masks each time. */
static void test_plain(void **state) {
    (void)state;
    const char *more[] = {"data.masks_per_image=2"};
    DataSettings set = settings_of(path_of("coco/train.json"), more, COUNT(more));
    Dataset *d = open_data(&set, true);
    Source s;
    LoaderOptions o = options_of(&set, 2, true);
    Error e;
    o.plain = true;
    fine(loader_open(&s, d, &o, &e), &e);
    assert_int_equal(s.samples, SCENES - 1);
    uint8_t *first = mem_zero(SCENES, (size_t)2 * PIXELS);
    for (int pass = 0; pass < 3; pass++) {
        int64_t last = -1, seen = 0;
        for (int64_t k = 0; k < s.steps_per_epoch; k++) {
            const Batch *b = get(&s, pass * s.steps_per_epoch + k);
            assert_true(b->fixed && b->epoch == 0);
            assert_int_equal(b->each, 2);
            for (int i = 0; i < b->n; i++, seen++) {
                assert_true(b->id[i] > last);
                last = b->id[i];
                uint8_t *kept = first + seen * 2 * PIXELS;
                if (pass) assert_memory_equal(mask_at(b, i, 0), kept, 2 * PIXELS);
                memcpy(kept, mask_at(b, i, 0), 2 * PIXELS);
                object_of(b, i, 0);
            }
        }
        assert_int_equal(seen, s.samples);
    }
    mem_free(first);
    s.close(s.self);
    dataset_close(d);
}

/* ---------------------------------------------------------------------------------- ranks and memory --- */

static void check_ranks(const DataSettings *set, int batch, bool train) {
    enum { RANKS = 2 };
    Error e;
    Dataset *d = open_data(set, train);
    Source one = open_loader(d, set, batch, train), part[RANKS];
    for (int r = 0; r < RANKS; r++) {
        LoaderOptions o = options_of(set, batch, train);
        o.rank = r, o.ranks = RANKS;
        fine(loader_open(&part[r], d, &o, &e), &e);
    }
    for (int64_t step = 0; step < one.steps_per_epoch * (train ? 2 : 1); step++) {
        const Batch *whole = get(&one, step);
        int at = 0;
        int64_t truth = 0;
        for (int r = 0; r < RANKS; r++) {
            const Batch *b = get(&part[r], step);
            size_t square = (size_t)b->n * (size_t)b->each * PIXELS;
            assert_memory_equal(b->image.data, image_at(whole, at), (size_t)b->n * 3 * PIXELS * 4);
            assert_memory_equal(b->fit, whole->fit + 2 * at, (size_t)b->n * 2 * 4);
            if (square) assert_memory_equal(b->mask, mask_at(whole, at, 0), square);
            for (int64_t k = 0; k < b->truths; k++, truth++) {
                assert_int_equal(b->truth[k].image + at, whole->truth[truth].image);
                assert_int_equal(b->truth[k].id, whole->truth[truth].id);
            }
            at += b->n;
        }
        assert_int_equal(at, whole->n);
        assert_int_equal(truth, whole->truths);
    }
    for (int r = 0; r < RANKS; r++) part[r].close(part[r].self);
    one.close(one.self);
    dataset_close(d);
}

static void test_ranks_share_a_batch(void **state) {
    (void)state;
    const char *more[] = {"data.lsj_min=0.5", "data.lsj_max=2", "data.masks_per_image=2"};
    DataSettings set = settings_of(path_of("coco/train.json"), more, COUNT(more));
    snprintf(set.test, sizeof set.test, "%s", set.train);
    check_ranks(&set, 4, true);
    check_ranks(&set, 2, false);
    check_ranks(&set, 4, false);
}

static void test_steady_state_allocates_nothing(void **state) {
    (void)state;
    const char *more[] = {"data.lsj_min=0.5", "data.lsj_max=2", "data.masks_per_image=2", "data.workers=1",
                          "data.cache_mb=0"};
    const char *const source[] = {path_of("coco/train.json"), path_of("masks")};
    for (int k = 0; k < 2 * COUNT(source); k++) {
        DataSettings set = settings_of(source[k / 2], more, COUNT(more));
        snprintf(set.test, sizeof set.test, "%s", set.train);
        Dataset *d = open_data(&set, k % 2);
        Source s = open_loader(d, &set, 1, k % 2);
        for (int step = 0; step < 31; step++) get(&s, step);
        uint64_t calls = mem_stat().calls;
        for (int step = 31; step < 60; step++) get(&s, step);
        assert_int_equal(mem_stat().calls, calls);
        s.close(s.self);
        dataset_close(d);
    }
}

static void test_memory_runs_out(void **state) {
    (void)state;
    const char *const source[] = {path_of("coco/train.json"), path_of("masks"), path_of("sa1b")};
    for (int k = 0; k < 2 * COUNT(source); k++) {
        DataSettings set = settings_of(source[k / 2], (const char *[]){"data.workers=1"}, 1);
        snprintf(set.test, sizeof set.test, "%s", set.train);
        Dataset *d = open_data(&set, k % 2);
        bool ok = false;
        for (int n = 0; !ok; n++) {
            Error e;
            Source s;
            const Batch *b;
            LoaderOptions o = options_of(&set, 2, k % 2);
            uint64_t live = mem_stat().live;
            mem_fail_after(n);
            bool opened = loader_open(&s, d, &o, &e);
            ok = opened;
            for (int step = 0; ok && step < 3; step++) ok = s.get(s.self, step, &b, &e);
            mem_fail_after(-1);
            if (opened) s.close(s.self);
            if (!ok && e.code != ERROR_MEMORY) fail_msg("%s", e.text);
            assert_int_equal(mem_stat().live, live);
            assert_true(n < 2000);
        }
        dataset_close(d);
    }
}

static void test_describe(void **state) {
    (void)state;
    char line[1024];
    Error e;
    DataSettings set = settings_of(path_of("masks"), NULL, 0);
    Dataset *d = open_data(&set, true);
    Source s = open_loader(d, &set, 2, true);
    fine(s.describe(s.self, 0, line, sizeof line, &e), &e);
    const char *hash = strstr(line, "\"mask_sha256\": \"");
    assert_non_null(hash);
    assert_int_equal(strspn(hash + 16, "0123456789abcdef"), 64);
    s.close(s.self);
    dataset_close(d);
    set = settings_of(path_of("coco/train.json"), NULL, 0);
    d = open_data(&set, true);
    fine(dataset_describe(d, 0, line, sizeof line, &e), &e);
    assert_null(strstr(line, "mask_sha256"));
    dataset_close(d);
}

/* Without LoaderOptions.masks nothing of them is read, and images without any are as good as others. */
static void test_masks_not_wanted(void **state) {
    (void)state;
    Error e;
    Source s;
    DataSettings set = settings_of(path_of("masks"), (const char *[]){"data.geometry=crop"}, 1);
    Dataset *d = open_data(&set, true);
    LoaderOptions o = options_of(&set, 2, true);
    o.masks = false;
    fine(loader_open(&s, d, &o, &e), &e);
    const Batch *b = get(&s, 0);
    assert_int_equal(s.samples, SCENES + 1);
    assert_true(!b->mask && !b->each && !b->fit && !b->truths);
    s.close(s.self);
    dataset_close(d);
}

/* ------------------------------------------------------------------------------------------- refusals --- */

static void expect_no_data(const char *train, const char *const more[], int n, const char *part) {
    Error e = {0};
    Dataset *d;
    DataSettings set = settings_of(train, more, n);
    if (dataset_open(&d, &set, true, &e)) fail_msg("accepted; wanted: %s", part);
    if (!strstr(e.text, part)) fail_msg("said: %s\nwanted: %s", e.text, part);
}

static void expect_no_loader(const char *train, const char *more, const char *part) {
    Error e = {0};
    Source s;
    DataSettings set = settings_of(train, &more, 1);
    Dataset *d = open_data(&set, true);
    LoaderOptions o = options_of(&set, 2, true);
    if (loader_open(&s, d, &o, &e)) fail_msg("accepted; wanted: %s", part);
    if (!strstr(e.text, part)) fail_msg("said: %s\nwanted: %s", e.text, part);
    dataset_close(d);
}

static void test_refusals(void **state) {
    (void)state;
    const char *hq[] = {"data.layout=hqseg"}, *masks[] = {"data.layout=masks"},
               *folder[] = {"data.layout=masks", "data.masks=nowhere"},
               *crop[] = {"data.geometry=crop", "data.lsj_max=2"},
               *range[] = {"data.lsj_min=2", "data.lsj_max=1"};
    expect_no_loader(path_of("masks"), "data.geometry=crop", "data.geometry is crop");
    expect_no_loader(path_of("masks"), "data.layout=flat", "has no masks: they come with the layouts coco");
    expect_no_loader(path_of("masks"), "data.randaugment=9", "go with data.geometry crop");
    expect_no_data(path_of("coco"), masks, 1, "coco has a mask: expected NAME.jpg and NAME.png");
    expect_no_data(path_of("coco"), (const char *[]){"data.layout=sa1b"}, 1, "expected NAME.json beside");
    expect_no_data(path_of("pair/im"), folder, 2, "data.masks: neither nowhere nor ");
    expect_no_data(path_of("coco"), crop, 2, "go with data.geometry longest or stretch");
    expect_no_data(path_of("coco"), range, 2, "data.lsj_min is 2, above data.lsj_max, which is 1");
    expect_no_data(path_of("coco"), hq, 1, "lacks DIS5K/DIS-TR/im, thin_object");
    DataSettings set = settings_of(path_of("hq"), hq, 1);
    Error e;
    Dataset *d;
    snprintf(set.test, sizeof set.test, "%s", set.train);
    assert_false(dataset_open(&d, &set, false, &e));
    assert_non_null(strstr(e.text, "lacks DIS5K/DIS-VD/im, thin_object_detection/HRSOD/images"));
    set.partial = true;
    fine(dataset_open(&d, &set, false, &e), &e);
    assert_int_equal(d->count, 1);
    dataset_close(d);
}

/* The first batch of a folder with one image; its files are bad in one way. */
static void expect_bad(const char *part) {
    Error e = {0};
    const Batch *b;
    DataSettings set = settings_of(path_of("bad"), NULL, 0);
    Dataset *d = open_data(&set, true);
    Source s = open_loader(d, &set, 1, true);
    if (access(path_of("bad/gone"), F_OK) == 0) unlink(path_of("bad/a.png"));
    if (s.get(s.self, 0, &b, &e)) fail_msg("accepted; wanted: %s", part);
    if (!strstr(e.text, part) || strchr(e.text, '\n')) fail_msg("said: %s\nwanted: %s", e.text, part);
    s.close(s.self);
    dataset_close(d);
}

static void begin_bad(void) {
    Error e;
    fine(file_remove_tree(path_of("bad"), &e), &e);
    make_folder(path_of("bad"));
    draw_scene(0, path_of("bad/a.jpg"));
}

static void test_bad_masks(void **state) {
    (void)state;
    Scene c = scene_of(0);
    int pixels = c.width * c.height;
    uint8_t *value = mask_of(0, 0);
    char png[300];
    snprintf(png, sizeof png, "%s", path_of("bad/a.png"));
    begin_bad();
    write_png(png, PNG_COLOR_TYPE_GRAY, 8, c.height, c.width, value);
    expect_bad("bad/a.jpg: the picture is 44 x 34 pixels, its mask in ");
    write_png(png, PNG_COLOR_TYPE_GRAY, 8, 316228, 316228, NULL);
    expect_bad("bad/a.png: 316228 x 316228 pixels are over the limit");
    write_png(png, PNG_COLOR_TYPE_GRAY, 16, c.width, c.height, value);
    expect_bad("bad/a.png: samples of 16 bits");
    value[0] = 7;
    write_png(png, PNG_COLOR_TYPE_PALETTE, 8, c.width, c.height, value);
    expect_bad("bad/a.png: 2 values besides 0: labels of several things");
    for (int k = 0; k < pixels; k++) value[k] = (uint8_t)(k % 20);
    write_png(png, PNG_COLOR_TYPE_GRAY, 8, c.width, c.height, value);
    expect_bad("bad/a.png: 19 values besides 0");
    draw_scene(0, png);
    expect_bad("bad/a.png: a picture in colours");
    write_text(png, "no PNG");
    expect_bad("bad/a.png: neither a JPEG nor a PNG");
    write_text(path_of("bad/gone"), "");
    expect_bad("bad/a.png: cannot open it");
    mem_free(value);
}

static void test_bad_json(void **state) {
    (void)state;
    static const char *const row[][2] = {
        {"{\"annotations\":[{\"segmentation\":{\"size\":[34,44],\"counts\":\"09\"}}]}",
         "bad/a.json:1:49: annotations[0].segmentation.counts: the runs make 9 pixels, the mask has 1496"},
        {"{\"annotations\":[{\"segmentation\":{\"size\":[44,34],\"counts\":\"09\"}}]}",
         "annotations[0].segmentation.size: the mask is 44 x 34 (height x width), its picture 34 x 44"},
        {"{\"annotations\":[{\"segmentation\":[]}]}", "annotations[0].segmentation: expected an object"},
        {"{\"annotations\":7}", "bad/a.json:1:2: annotations: expected an array"},
        {"{}", "annotations: missing"},
        {"{\"annotations\":", "bad/a.json:1:"}};
    begin_bad();
    for (int i = 0; i < COUNT(row); i++) {
        write_text(path_of("bad/a.json"), row[i][0]);
        expect_bad(row[i][1]);
    }
}

/* 0 and one other number, in grey or by a palette, is a mask whatever the number. */
static void test_numbers_for_inside(void **state) {
    (void)state;
    Scene c = scene_of(0);
    for (int k = 0; k < 3; k++) {
        uint8_t *value = mask_of(0, 0);
        for (int p = 0; p < c.width * c.height; p++) value[p] = value[p] ? (uint8_t)(k == 2 ? 200 : 1) : 0;
        begin_bad();
        write_png(path_of("bad/a.png"), k == 1 ? PNG_COLOR_TYPE_PALETTE : PNG_COLOR_TYPE_GRAY, 8, c.width,
                  c.height, value);
        DataSettings set = settings_of(path_of("bad"), (const char *[]){"data.hflip=0"}, 1);
        Dataset *d = open_data(&set, true);
        Source s = open_loader(d, &set, 1, true);
        const Batch *b = get(&s, 0);
        assert_int_equal(object_of(b, 0, 0), 0);
        int most = 0;
        for (int p = 0; p < PIXELS; p++) most = b->mask[p] > most ? b->mask[p] : most;
        assert_int_equal(most, 255);
        s.close(s.self);
        dataset_close(d);
        mem_free(value);
    }
}

/* ------------------------------------------------------------------------------------------ real data --- */

static void check_real(const char *train, int64_t samples, int64_t masks, const char *what) {
    if (file_kind(train) == FILE_NONE) {
        print_message("%s is not there: skipped\n", train);
        skip();
    }
    const char *more[] = {"data.masks_per_image=4", "data.lsj_min=0.5", "data.lsj_max=1.5"};
    DataSettings set = settings_of(train, more, COUNT(more));
    snprintf(set.test, sizeof set.test, "%s", train);
    Dataset *d = open_data(&set, true);
    Source s = open_loader(d, &set, 4, true);
    assert_int_equal(s.samples, samples);
    for (int step = 0; step < 5; step++) {
        const Batch *b = get(&s, step);
        for (int64_t k = 0; k < (int64_t)b->n * b->each; k++) {
            int64_t inside = 0;
            for (int p = 0; p < PIXELS; p++) inside += b->mask[k * PIXELS + p] >= 128;
            assert_true(inside >= set.mask_min);
        }
    }
    s.close(s.self);
    s = open_loader(d, &set, 16, false);
    int64_t seen = 0, pictures = 0;
    for (int64_t step = 0; step < s.steps_per_epoch; step++) {
        const Batch *b = get(&s, step);
        seen += b->truths;
        pictures += b->n;
    }
    print_message("%s: %lld pictures, %lld masks\n", what, (long long)pictures, (long long)seen);
    assert_int_equal(pictures, samples);
    assert_int_equal(seen, masks);
    s.close(s.self);
    dataset_close(d);
}

static void test_nuclei(void **state) {
    (void)state;
    check_real("../shared/data/nuclei/val.json", 50, 1380, "nuclei");
}

static void test_coco100(void **state) {
    (void)state;
    check_real("../shared/data/coco100/train.json", 98, 740, "coco100");
}

static void test_retina(void **state) {
    (void)state;
    check_real("../shared/data/retina", 28, 28, "retina");
}

int main(void) {
    Error e;
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_masks_follow_pictures),
        cmocka_unit_test(test_drawn_without_replacement),
        cmocka_unit_test(test_small_objects),
        cmocka_unit_test(test_evaluation),
        cmocka_unit_test(test_soft_and_empty_masks),
        cmocka_unit_test(test_plain),
        cmocka_unit_test(test_ranks_share_a_batch),
        cmocka_unit_test(test_steady_state_allocates_nothing),
        cmocka_unit_test(test_memory_runs_out),
        cmocka_unit_test(test_describe),
        cmocka_unit_test(test_masks_not_wanted),
        cmocka_unit_test(test_refusals),
        cmocka_unit_test(test_bad_masks),
        cmocka_unit_test(test_bad_json),
        cmocka_unit_test(test_numbers_for_inside),
        cmocka_unit_test(test_nuclei),
        cmocka_unit_test(test_coco100),
        cmocka_unit_test(test_retina),
    };
    snprintf(root, sizeof root, "/tmp/lethe-masks-%d", (int)getpid());
    int failed = cmocka_run_group_tests(tests, make_all, NULL);
    file_remove_tree(root, &e);
    log_close(hush);
    return failed;
}
