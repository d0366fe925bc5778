/* COCO: run-length masks with the published vectors and every hazard of the reference decoder; the JSON file.
 */
#include "core/rng.h"
#include "data/coco.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

/* --------------------------------------------------------------------------------------------- runs --- */

static void test_vectors(void **state) {
    (void)state;
    static const struct {
        const char *text;
        int n, height, width;
        uint32_t run[9];
    } row[] = {{"61X13mN000`0", 9, 10, 9, {6, 1, 40, 4, 5, 4, 5, 4, 21}},
               {"09", 2, 3, 3, {0, 9}},
               {"PP\\9", 1, 480, 640, {307200}}};
    Bytes b = {0}, text = {0};
    for (int i = 0; i < COUNT(row); i++) {
        Error e;
        Rle r;
        b.size = 0;
        if (!rle_from_text(&r, &b, row[i].text, row[i].height, row[i].width, &e)) fail_msg("%s", e.text);
        assert_int_equal(r.count, row[i].n);
        assert_memory_equal(r.run, row[i].run, (size_t)row[i].n * 4);
        assert_true(rle_to_text(&r, &text, &e));
        assert_string_equal((char *)text.data, row[i].text);
    }
    bytes_free(&b);
    bytes_free(&text);
}

static void test_round_trips(void **state) {
    (void)state;
    Rng g = rng_open(1, RNG_TEST, 0, 0);
    Bytes b = {0}, text = {0};
    for (int round = 0; round < 400; round++) {
        Error e;
        int h = 1 + (int)rng_below(&g, 60), w = 1 + (int)rng_below(&g, 60), run = 1 + (int)rng_below(&g, 400);
        uint8_t *mask = mem_get((size_t)(h * w)), *back = mem_get((size_t)(h * w));
        int64_t area = 0;
        bool v = rng_u32(&g) & 1;
        for (int i = 0; i < h * w; i++) {
            if (rng_below(&g, (uint64_t)run) == 0) v = !v;
            int place = i % h * w + i / h; /* down the columns, so that runs come out */
            mask[place] = v ? 200 : 0;
            area += v;
        }
        Rle r, again;
        b.size = 0;
        assert_true(rle_from_mask(&r, &b, mask, h, w, &e));
        assert_int_equal(rle_area(&r), area);
        assert_true(rle_to_text(&r, &text, &e));
        Bytes other = {0};
        if (!rle_from_text(&again, &other, (char *)text.data, h, w, &e)) fail_msg("%s", e.text);
        assert_int_equal(again.count, r.count);
        assert_memory_equal(again.run, r.run, (size_t)r.count * 4);
        rle_to_mask(&again, back);
        for (int i = 0; i < h * w; i++) assert_int_equal(back[i], mask[i] != 0);
        bytes_free(&other);
        mem_free(mask);
        mem_free(back);
    }
    bytes_free(&b);
    bytes_free(&text);
}

static void test_hazards(void **state) {
    (void)state;
    static const char *const row[][2] = {
        {"0", "the runs make 0 pixels, the mask has 9"},
        {"", "the runs make 0 pixels, the mask has 9"},
        {"0:", "run 1 leaves the mask: the runs exceed its 9 pixels"},
        {"O", "run 0 of the mask is negative"}, /* -1 */
        {"0P", "a mask string ends within a number (byte 0x00)"},
        {"P", "a mask string ends within a number (byte 0x00)"},
        {"0 9", "a mask string holds the byte 0x20, which codes nothing"},
        {"0p", "a mask string holds the byte 0x70, which codes nothing"},
        {"0\xC3\xA9", "a mask string holds the byte 0xc3, which codes nothing"},
        {"PPPPPPP0", "a mask string holds a number of more than 7 characters"},
        {"oooooo?",
         "run 0 leaves the mask: the runs exceed its 9 pixels"}, /* 2^34 - 1: would shift out of an int */
        {"oooooo_", NULL},
        {"000N", "run 3 of the mask is negative"}, /* the difference goes below zero */
        {"000000000000009", "more runs than the mask has pixels (9)"},
    };
    Bytes b = {0};
    for (int i = 0; i < COUNT(row); i++) {
        Error e = {0};
        Rle r;
        b.size = 0;
        if (rle_from_text(&r, &b, row[i][0], 3, 3, &e)) fail_msg("accepted: %s", row[i][0]);
        if (row[i][1] && strcmp(e.text, row[i][1]) != 0)
            fail_msg("%s\nsaid: %s\nwanted: %s", row[i][0], e.text, row[i][1]);
    }
    Error e;
    Rle r;
    b.size = 0;
    assert_false(rle_from_text(&r, &b, "09", 0, 3, &e));
    assert_false(rle_from_text(&r, &b, "09", 3, 1 << 20, &e));
    static const double half[] = {4.5, 4.5}, negative[] = {10, -1}, huge[] = {1e300};
    assert_false(rle_from_counts(&r, &b, half, 2, 3, 3, &e));
    assert_false(rle_from_counts(&r, &b, negative, 2, 3, 3, &e));
    assert_false(rle_from_counts(&r, &b, huge, 1, 3, 3, &e));
    bytes_free(&b);
}

/* --------------------------------------------------------------------------------------------- file --- */

#define HEAD                                                                                                 \
    "{\"images\": [{\"id\": 7, \"file_name\": \"b10.jpg\", \"width\": 3, \"height\": 3},\n"                  \
    " {\"id\": 5, \"file_name\": \"b9.jpg\"}],\n \"categories\": [{\"id\": 44, \"name\": \"cup\"}],\n "
#define ONE(fields)                                                                                          \
    HEAD "\"annotations\": [{\"image_id\": 7, \"category_id\": 44, \"bbox\": [0, 1, 2, 2]" fields "}]}"

static void test_file(void **state) {
    (void)state;
    static const char text[] =
        HEAD "\"annotations\": ["
             "{\"id\": 1, \"image_id\": 7, \"category_id\": 44, \"bbox\": [0, 1, 2, 2], \"iscrowd\": 1,"
             " \"segmentation\": {\"size\": [3, 3], \"counts\": \"144\"}},\n"
             "{\"id\": 2, \"image_id\": 5, \"category_id\": 44, \"bbox\": [0.5, 1, 2, 2.5], \"area\": 4,"
             " \"segmentation\": [[0, 0, 2, 0, 2, 2], [1, 1, 2, 2, 1, 2.5, 0, 0]]},\n"
             "{\"id\": 3, \"image_id\": 7, \"category_id\": 44, \"bbox\": [0, 0, 1, 1],"
             " \"segmentation\": {\"size\": [3, 3], \"counts\": [8, 1]}}]}";
    Error e;
    Coco *c;
    if (!coco_parse(&c, "c.json", text, strlen(text), &e)) fail_msg("%s", e.text);
    assert_true(c->images == 2 && c->annotations == 3 && c->categories == 1);
    assert_string_equal(c->image[0].file, "b9.jpg"); /* sorted, numbers by value */
    assert_true(c->image[0].first == 0 && c->image[0].count == 1 && c->image[1].first == 1 &&
                c->image[1].count == 2);
    const CocoAnnotation *a = c->annotation;
    assert_true(a[0].id == 2 && a[1].id == 1 && a[2].id == 3);
    assert_true(a[0].shape == COCO_POLYGONS && a[0].polygons == 2 && a[0].polygon[1].points == 4);
    assert_true(a[0].polygon[1].xy[5] == 2.5 && a[0].area == 4.0 && a[0].box[3] == 2.5 && !a[0].crowd);
    assert_true(a[1].shape == COCO_RLE && a[1].crowd && a[1].rle.count == 3 && rle_area(&a[1].rle) == 4);
    assert_true(a[1].area == 4.0 && a[2].rle.run[1] == 1 && a[2].image == 1);
    assert_string_equal(c->category[a[0].category].name, "cup");
    coco_close(c);
}

static void test_refusals(void **state) {
    (void)state;
    static const char *const row[][2] = {
        {"[]", "c.json:1:1: expected an object"},
        {"{}", "images: missing"},
        {"{\"images\": [{\"id\": 1}]}", "images[0].file_name: missing"},
        {"{\"images\": [{\"id\": 1, \"file_name\": \"../x.jpg\"}]}", "not one with \"..\""},
        {"{\"images\": [{\"id\": 1, \"file_name\": \"a/..\"}]}", "not one with \"..\""},
        {"{\"images\": [{\"id\": 1, \"file_name\": \"/etc/x.jpg\"}]}",
         "expected a path below the folder of images"},
        {"{\"images\": [{\"id\": 1, \"file_name\": \"a\"}, {\"id\": 1, \"file_name\": \"b\"}]}",
         "the id 1 stands twice"},
        {"{\"images\": [{\"id\": 1, \"file_name\": \"a\", \"width\": -3}]}", "images[0].width"},
        {ONE(", \"segmentation\": 3"), "expected polygons (an array) or runs (an object)"},
        {ONE(", \"segmentation\": [[1, 2, 3, 4]]"), "expected x and y of at least 3 points, found 4 numbers"},
        {ONE(", \"segmentation\": [[1, 2, 3, 4, 5, 6, 7]]"), "found 7 numbers"},
        {ONE(", \"segmentation\": [[1, 2, 3, 4, 5, \"6\"]]"), "annotations[0].segmentation[0][5]"},
        {ONE(", \"segmentation\": {\"size\": [3, 4], \"counts\": [12]}"),
         "the mask is 3 x 4 (height x width), its image 3 x 3"},
        {ONE(", \"segmentation\": {\"size\": [3, 3], \"counts\": [5, 5]}"), "run 1 leaves the mask"},
        {ONE(", \"segmentation\": {\"size\": [3, 3], \"counts\": [4, 4]}"),
         "the runs make 8 pixels, the mask has 9"},
        {ONE(", \"segmentation\": {\"size\": [3, 3], \"counts\": \"0P\"}"),
         "c.json:4:108: annotations[0].segmentation.counts"},
        {ONE(", \"segmentation\": {\"size\": [3], \"counts\": \"09\"}"),
         "expected two numbers: height, width"},
        {ONE(", \"segmentation\": {\"counts\": \"09\"}"), "segmentation.size: missing"},
        {ONE(", \"iscrowd\": 2"), "annotations[0].iscrowd"},
        {ONE(", \"area\": -1"), "annotations[0].area"},
        {HEAD "\"annotations\": [{\"image_id\": 8, \"category_id\": 44, \"bbox\": [0,0,1,1]}]}",
         "there is no image with id 8"},
        {HEAD "\"annotations\": [{\"image_id\": 7, \"category_id\": 4, \"bbox\": [0,0,1,1]}]}",
         "there is no category with id 4"},
        {HEAD "\"annotations\": [{\"image_id\": 7, \"category_id\": 44, \"bbox\": [0,0,1]}]}",
         "expected four numbers"},
        {HEAD "\"annotations\": [{\"image_id\": 7, \"category_id\": 44, \"bbox\": [0,0,-1,1]}]}",
         "annotations[0].bbox[2]"},
        {HEAD "\"annotations\": [{\"image_id\": 7, \"category_id\": 44}]}", "annotations[0].bbox: missing"},
        {HEAD "\"annotations\": []} trailing", "expected the end of the file"},
    };
    for (int i = 0; i < COUNT(row); i++) {
        Error e = {0};
        Coco *c;
        uint64_t live = mem_stat().live;
        if (coco_parse(&c, "c.json", row[i][0], strlen(row[i][0]), &e)) fail_msg("accepted: %s", row[i][0]);
        assert_null(c);
        assert_int_equal(mem_stat().live, live);
        if (strncmp(e.text, "c.json:", 7) != 0 || !strstr(e.text, row[i][1]))
            fail_msg("%s\nsaid: %s\nwanted: %s", row[i][0], e.text, row[i][1]);
    }
}

static void test_memory_runs_out(void **state) {
    (void)state;
    static const char text[] = ONE(", \"segmentation\": {\"size\": [3, 3], \"counts\": \"144\"}");
    bool ok = false;
    for (int n = 0; !ok; n++) {
        Error e;
        Coco *c;
        uint64_t live = mem_stat().live;
        mem_fail_after(n);
        ok = coco_parse(&c, "c.json", text, strlen(text), &e);
        mem_fail_after(-1);
        coco_close(c);
        assert_int_equal(mem_stat().live, live);
        assert_true(n < 100);
    }
}

static void test_folder_of_images(void **state) {
    (void)state;
    char root[] = "/tmp/lethe_coco_XXXXXX", path[256], out[512], command[128];
    Error e;
    assert_non_null(mkdtemp(root));
    snprintf(path, sizeof path, "%s/annotations", root);
    mkdir(path, 0755);
    snprintf(path, sizeof path, "%s/annotations/instances_val2017.json", root);
    assert_true(coco_folder(out, sizeof out, path, "", &e)); /* nothing better than the JSON's own */
    assert_non_null(strstr(out, "/annotations"));
    char images[256];
    snprintf(images, sizeof images, "%s/val2017", root);
    mkdir(images, 0755);
    assert_true(coco_folder(out, sizeof out, path, "", &e));
    assert_non_null(strstr(out, "/annotations/../val2017"));
    assert_true(coco_folder(out, sizeof out, path, images, &e));
    assert_string_equal(out, images);
    assert_false(coco_folder(out, sizeof out, path, "/nowhere", &e));
    assert_string_equal(e.text, "data.images: /nowhere is no folder");
    snprintf(command, sizeof command, "rm -rf %s", root);
    assert_int_equal(system(command), 0);
}

static void test_real_files(void **state) {
    (void)state;
    const char *given = getenv("LETHE_DATA"), *root = given ? given : "../shared/data";
    struct stat s;
    if (stat(root, &s) != 0) {
        printf("skipped: there is no %s (set LETHE_DATA)\n", root);
        skip();
    }
    static const struct {
        const char *path;
        int64_t images, annotations, masks;
    } row[] = {{"coco100/train.json", 100, 746, 746},
               {"nuclei/train.json", 200, 5727, 5727},
               {"bccd/train.json", 205, 2804, 0}};
    for (int i = 0; i < COUNT(row); i++) {
        char path[512];
        Error e;
        Coco *c;
        snprintf(path, sizeof path, "%s/%s", root, row[i].path);
        if (!coco_open(&c, path, &e)) fail_msg("%s", e.text);
        assert_true(c->images == row[i].images && c->annotations == row[i].annotations);
        int64_t masks = 0;
        for (int64_t k = 0; k < c->annotations; k++) {
            const CocoAnnotation *a = &c->annotation[k];
            if (a->shape != COCO_RLE) continue;
            assert_true((double)rle_area(&a->rle) == a->area); /* the file's own figure */
            masks++;
        }
        assert_int_equal(masks, row[i].masks);
        coco_close(c);
    }
}

int main(void) {
    const struct CMUnitTest test[] = {
        cmocka_unit_test(test_vectors),          cmocka_unit_test(test_round_trips),
        cmocka_unit_test(test_hazards),          cmocka_unit_test(test_file),
        cmocka_unit_test(test_refusals),         cmocka_unit_test(test_memory_runs_out),
        cmocka_unit_test(test_folder_of_images), cmocka_unit_test(test_real_files),
    };
    return cmocka_run_group_tests(test, NULL, NULL);
}
