/* Drawn data sets: the same seed gives the same bytes whatever the count and the threads; people keep their
 * looks; masks, boxes and files agree; nobody's folder is overwritten. */
#include "cli/cli.h"
#include "core/file.h"
#include "data/coco.h"
#include "data/image.h"
#include "data/synth.h"
#include "data/synth_field.h"
#include "data/synth_studio.h"

#include <omp.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

/* The verb reports through this; main.c's prints. */
static Error said;

int cli_fail(const Error *e) {
    said = *e;
    return 1;
}

static char root[256];

static const char *at(const char *name) {
    static char path[4][512];
    static int turn;
    char *p = path[turn++ % 4];
    snprintf(p, sizeof path[0], "%s/%s", root, name);
    return p;
}

static SynthTally draw(SynthPlan plan) {
    Error e;
    SynthTally tally;
    if (!synth_run(&plan, &tally, &e)) fail_msg("%s", e.text);
    return tally;
}

static void refuse(SynthPlan plan, const char *reason) {
    Error e = {0};
    SynthTally tally;
    assert_false(synth_run(&plan, &tally, &e));
    if (!strstr(e.text, reason)) fail_msg("said \"%s\", not \"...%s...\"", e.text, reason);
}

static bool same_file(const char *a, const char *b) {
    char *x = NULL, *y = NULL;
    size_t n = 0, m = 0;
    Error e;
    if (!file_read(a, 1 << 24, &x, &n, &e) || !file_read(b, 1 << 24, &y, &m, &e)) fail_msg("%s", e.text);
    bool same = n == m && !memcmp(x, y, n);
    mem_free(x);
    mem_free(y);
    return same;
}

/* Files below a folder; with `other`, each must be there too with the same bytes. */
static int count_files(const char *folder, const char *other) {
    FileList list;
    Error e;
    int n = 0;
    if (!file_list_open(&list, folder, &e)) fail_msg("%s", e.text);
    for (int64_t i = 0; i < list.count; i++) {
        char a[1024], b[1024] = "";
        snprintf(a, sizeof a, "%s/%s", folder, list.name[i]);
        if (other) snprintf(b, sizeof b, "%s/%s", other, list.name[i]);
        if (file_kind(a) == FILE_FOLDER)
            n += count_files(a, other ? b : NULL);
        else if (++n && other && !same_file(a, b))
            fail_msg("%s and %s differ", a, b);
    }
    file_list_close(&list);
    return n;
}

/* ------------------------------------------------------------------ the same bytes */

static void same_bytes(SynthKind kind) {
    char name[4][32];
    for (int i = 0; i < 4; i++) snprintf(name[i], sizeof name[i], "%s%d", synth_kind_name(kind), i);
    SynthPlan plan = {.kind = kind, .out = at(name[0]), .count = 20, .identities = 2, .seed = 7, .size = 64};
    int threads = omp_get_max_threads();
    omp_set_num_threads(1);
    draw(plan);
    omp_set_num_threads(3);
    plan.out = at(name[1]);
    draw(plan);
    omp_set_num_threads(threads);
    int files = count_files(at(name[0]), at(name[1]));
    assert_int_equal(files, kind == SYNTH_FACES ? 21 : 23);

    plan.out = at(name[2]), plan.count = 10; /* fewer pictures are the first ones of more */
    draw(plan);
    const char *part = kind == SYNTH_FACES ? "%s/test/person_0001" : "%s/test";
    char few[600], many[600];
    snprintf(few, sizeof few, part, at(name[2]));
    snprintf(many, sizeof many, part, at(name[0]));
    assert_int_equal(count_files(few, many), kind == SYNTH_FACES ? 1 : 2);

    plan.out = at(name[3]), plan.seed = 8;
    draw(plan);
    const char *one = kind == SYNTH_FACES ? "train/person_0000/0001.jpg" : "train/000001.jpg";
    snprintf(few, sizeof few, "%s/%s", at(name[2]), one);
    snprintf(many, sizeof many, "%s/%s", at(name[3]), one);
    assert_false(same_file(few, many));
}

static void test_faces_same_bytes(void **state) {
    (void)state;
    same_bytes(SYNTH_FACES);
}

static void test_shapes_same_bytes(void **state) {
    (void)state;
    same_bytes(SYNTH_SHAPES);
}

static void test_cells_same_bytes(void **state) {
    (void)state;
    same_bytes(SYNTH_CELLS);
}

/* ------------------------------------------------------------------ people */

static void test_faces_layout(void **state) {
    (void)state;
    SynthPlan plan = {
        .kind = SYNTH_FACES, .out = at("layout"), .count = 33, .identities = 3, .seed = 1, .size = 32};
    SynthTally tally = draw(plan);
    assert_int_equal(tally.train, 27);
    assert_int_equal(tally.test, 6);
    for (int id = 0; id < 3; id++) {
        char train[600], test[600], fifth[700];
        snprintf(train, sizeof train, "%s/train/person_%04d", plan.out, id);
        snprintf(test, sizeof test, "%s/test/person_%04d", plan.out, id);
        snprintf(fifth, sizeof fifth, "%s/0005.jpg", test);
        assert_int_equal(count_files(train, NULL), 9);
        assert_int_equal(count_files(test, NULL), 2);
        Image im = {0};
        Error e;
        if (!image_read(&im, fifth, &image_standard, &e)) fail_msg("%s", e.text);
        assert_int_equal(im.width, 32);
        assert_int_equal(im.height, 32);
        image_free(&im);
    }
}

static void test_a_person_is_the_same_every_time(void **state) {
    (void)state;
    for (uint32_t id = 0; id < 50; id++) {
        Person a = person_draw(5, id), b = person_draw(5, id), c = person_draw(5, id + 1),
               d = person_draw(6, id);
        assert_true(a.eye_x == b.eye_x && a.skin.r == b.skin.r && a.hair.g == b.hair.g &&
                    a.style == b.style && a.nose_w == b.nose_w && a.texture == b.texture &&
                    a.glasses == b.glasses && a.beard == b.beard);
        assert_true(a.eye_x != c.eye_x && a.texture != c.texture && a.eye_x != d.eye_x);
        assert_true(a.skin.r > a.skin.b); /* no hue of skin that no human has */
        assert_true(a.male > 0.5f || a.beard == BEARD_NONE);
    }
}

/* All of the human range, and every style of hair, is drawn. */
static void test_people_differ(void **state) {
    (void)state;
    int styles[HAIR_COUNT] = {0}, glasses = 0, beards = 0;
    float lightest = 0.0f, darkest = 1.0f;
    for (uint32_t id = 0; id < 400; id++) {
        Person p = person_draw(1, id);
        styles[p.style]++;
        glasses += p.glasses != GLASSES_NONE;
        beards += p.beard != BEARD_NONE;
        lightest = maxf(lightest, p.skin.g), darkest = minf(darkest, p.skin.g);
    }
    for (int s = 0; s < HAIR_COUNT; s++)
        if (styles[s] == 0) fail_msg("nobody of 400 has hair %s", hair_style_name((HairStyle)s));
    assert_in_range(glasses, 80, 160);
    assert_in_range(beards, 80, 170);
    assert_true(lightest > 0.5f && darkest < 0.05f);
}

enum { PEOPLE = 8, SHOTS = 6, SIDE = 16 };

/* The middle of a picture, small: a face without most of what is behind it. */
static void face_feature(Studio *studio, uint32_t id, uint64_t image, float *out) {
    Person who = person_draw(3, id);
    Shot shot = shot_draw(3, image);
    Error e;
    if (!studio_shoot(studio, &who, &shot, &e)) fail_msg("%s", e.text);
    int size = studio->picture.w, cell = size / 2 / SIDE;
    for (int i = 0; i < SIDE * SIDE; i++) {
        Rgb sum = {0};
        for (int k = 0; k < cell * cell; k++)
            sum = rgb_plus(sum, studio->picture.px[(size / 4 + i / SIDE * cell + k / cell) * size + size / 4 +
                                                   i % SIDE * cell + k % cell]);
        out[3 * i] = sum.r / (float)(cell * cell), out[3 * i + 1] = sum.g / (float)(cell * cell),
                out[3 * i + 2] = sum.b / (float)(cell * cell);
    }
}

/* Pictures of one person, each in its own light, pose and place, are nearer to each other than to others',
 * but not by so much that pixels alone would tell people apart. */
static void test_pictures_of_a_person_are_alike(void **state) {
    (void)state;
    static float feature[PEOPLE * SHOTS][3 * SIDE * SIDE];
    Studio studio;
    Error e;
    Noise *noise = mem_get(sizeof *noise);
    assert_non_null(noise);
    noise_fill(noise, 3);
    if (!studio_new(&studio, 64, noise, &e)) fail_msg("%s", e.text);
    for (int i = 0; i < PEOPLE * SHOTS; i++)
        face_feature(&studio, (uint32_t)(i % PEOPLE), (uint64_t)i, feature[i]);
    double same = 0.0, other = 0.0;
    int n_same = 0, n_other = 0, nearest_right = 0;
    for (int i = 0; i < PEOPLE * SHOTS; i++) {
        double best = 1e30;
        int nearest = -1;
        for (int j = 0; j < PEOPLE * SHOTS; j++) {
            double d = 0.0;
            if (i == j) continue;
            for (int k = 0; k < 3 * SIDE * SIDE; k++) d += fabs((double)feature[i][k] - feature[j][k]);
            if (i % PEOPLE == j % PEOPLE)
                same += d, n_same++;
            else
                other += d, n_other++;
            if (d < best) best = d, nearest = j;
        }
        nearest_right += nearest % PEOPLE == i % PEOPLE;
    }
    double ratio = same / n_same / (other / n_other);
    if (ratio > 0.9) fail_msg("distance within a person is %.3f of that between people", ratio);
    assert_in_range(nearest_right, PEOPLE * SHOTS / 4, PEOPLE * SHOTS * 19 / 20); /* chance: one in eight */
    studio_free(&studio);
    mem_free(noise);
}

/* ------------------------------------------------------------------ masks */

static void check_coco(const char *folder, const char *part, int64_t images, int categories) {
    char json[600], pictures[600];
    Coco *coco;
    Error e;
    snprintf(json, sizeof json, "%s/%s.json", folder, part);
    snprintf(pictures, sizeof pictures, "%s/%s", folder, part);
    if (!coco_open(&coco, json, &e)) fail_msg("%s", e.text);
    assert_int_equal(coco->images, images);
    assert_int_equal(coco->categories, categories);
    assert_int_equal(count_files(pictures, NULL), images);
    static uint8_t mask[96 * 96], taken[96 * 96];
    for (int64_t i = 0; i < coco->images; i++) {
        const CocoImage *image = coco->image + i;
        char path[1200];
        Image im = {0};
        snprintf(path, sizeof path, "%s/%s", pictures, image->file);
        if (!image_read(&im, path, &image_standard, &e)) fail_msg("%s", e.text);
        assert_true(im.width == 96 && im.height == 96 && image->width == 96 && image->height == 96);
        image_free(&im);
        assert_true(image->count > 0);
        memset(taken, 0, sizeof taken);
        for (int64_t k = image->first; k < image->first + image->count; k++) {
            const CocoAnnotation *a = coco->annotation + k;
            int area = 0, x0 = 96, y0 = 96, x1 = -1, y1 = -1;
            assert_int_equal(a->shape, COCO_RLE);
            rle_to_mask(&a->rle, mask);
            for (int p = 0; p < 96 * 96; p++) {
                if (!mask[p]) continue;
                int x = p % 96, y = p / 96;
                if (taken[p]++) fail_msg("%s: two masks share pixel (%d, %d)", path, x, y);
                area++;
                x0 = x < x0 ? x : x0, x1 = x > x1 ? x : x1, y0 = y < y0 ? y : y0, y1 = y > y1 ? y : y1;
            }
            assert_int_equal(area, (int)a->area);
            assert_true(area >= 16);
            assert_true(a->box[0] == x0 && a->box[1] == y0 && a->box[2] == x1 - x0 + 1 &&
                        a->box[3] == y1 - y0 + 1);
            assert_false(a->crowd);
        }
    }
    coco_close(coco);
}

static void test_shapes_masks_boxes_and_files_agree(void **state) {
    (void)state;
    SynthTally tally =
        draw((SynthPlan){.kind = SYNTH_SHAPES, .out = at("boxes"), .count = 30, .seed = 2, .size = 96});
    check_coco(at("boxes"), "train", 24, SHAPE_COUNT);
    check_coco(at("boxes"), "test", 6, SHAPE_COUNT);
    assert_true(tally.train == 24 && tally.test == 6 && tally.instances > 60);
}

static void test_cells_masks_boxes_and_files_agree(void **state) {
    (void)state;
    SynthTally tally =
        draw((SynthPlan){.kind = SYNTH_CELLS, .out = at("nuclei"), .count = 20, .seed = 2, .size = 96});
    check_coco(at("nuclei"), "train", 16, 1);
    check_coco(at("nuclei"), "test", 4, 1);
    assert_true(tally.instances > 100);
}

/* Each kind of thing is drawn about equally often, and covering leaves no sliver of what it covers. */
static void test_shapes_of_every_kind(void **state) {
    (void)state;
    int seen[SHAPE_COUNT + 1] = {0}, total = 0;
    Field field;
    Error e;
    Noise *noise = mem_get(sizeof *noise);
    assert_non_null(noise);
    noise_fill(noise, 1);
    if (!field_new(&field, 128, noise, &e)) fail_msg("%s", e.text);
    for (uint64_t i = 0; i < 60; i++) {
        assert_true(shapes_paint(&field, 1, i, &e));
        for (int k = 1; k <= field.instances; k++) {
            int left = 0;
            for (int p = 0; p < 128 * 128; p++) left += field.owner[p] == k;
            assert_true(left >= 16 && (float)left >= 0.35f * (float)field.whole[k]);
            seen[field.category[k]]++, total++;
        }
    }
    for (int c = 1; c <= SHAPE_COUNT; c++)
        if (seen[c] * SHAPE_COUNT < total / 3)
            fail_msg("%s: only %d of %d", shape_names[c - 1], seen[c], total);
    field_free(&field);
    mem_free(noise);
}

/* ------------------------------------------------------------------ folders and errors */

static void test_folders_are_not_overwritten(void **state) {
    (void)state;
    SynthPlan plan = {.kind = SYNTH_SHAPES, .out = at("mine"), .count = 10, .seed = 1, .size = 32};
    draw(plan);
    draw(plan); /* the same plan again is fine */
    plan.seed = 2;
    refuse(plan, "holds a set drawn with other settings");
    plan.force = true, plan.count = 5;
    draw(plan);
    assert_int_equal(count_files(at("mine/train"), NULL), 4); /* nothing of the older set is left */

    SynthPlan other = {.kind = SYNTH_FACES, .out = at("theirs"), .count = 5, .identities = 1, .size = 32};
    Error e;
    assert_true(file_make_folder(at("theirs/train"), &e));
    assert_true(file_write(at("theirs/train/photo.jpg"), "x", 1, &e));
    refuse(other, "is not empty");
    other.force = true;
    refuse(other, "nothing that synth drew");
    assert_int_equal(count_files(at("theirs"), NULL), 1);
    other.out = at("theirs/train/photo.jpg");
    refuse(other, "is not a folder");
    assert_true(file_make_folder(at("beside"), &e));
    assert_true(file_write(at("beside/notes.txt"), "x", 1, &e));
    other.out = at("beside");
    refuse(other, "nothing that synth drew"); /* even forced: their files and ours would be one set */
    assert_int_equal(file_kind(at("beside/notes.txt")), FILE_REGULAR);
}

static void test_bad_plans(void **state) {
    (void)state;
    SynthPlan good = {.kind = SYNTH_FACES, .out = at("bad"), .count = 20, .identities = 4, .size = 32}, plan;
    plan = good, plan.count = 19;
    refuse(plan, "give at least 20");
    plan = good, plan.identities = 0;
    refuse(plan, "--identities");
    plan = good, plan.size = 33;
    refuse(plan, "--size");
    plan = good, plan.size = 2048;
    refuse(plan, "--size");
    plan = good, plan.count = INT64_MAX;
    refuse(plan, "--count");
    plan = good, plan.kind = SYNTH_CELLS, plan.count = 4;
    refuse(plan, "give at least 5");
    assert_int_equal(file_kind(at("bad")), FILE_NONE); /* refused before anything was made */
}

static int verb(const char *line) {
    char copy[900], *argv[24], *save = NULL;
    int argc = 0;
    snprintf(copy, sizeof copy, "%s", line);
    for (char *word = strtok_r(copy, " ", &save); word; word = strtok_r(NULL, " ", &save))
        argv[argc++] = word;
    said.text[0] = '\0';
    return cli_synth(argc, argv);
}

static void test_verb(void **state) {
    (void)state;
    static const struct {
        const char *line, *reason;
    } wrong[] = {{"synth --out x --count 10", "faces, shapes or cells"},
                 {"synth dogs --out x --count 10", "unknown kind \"dogs\""},
                 {"synth cells shapes --out x --count 10", "one kind at a time"},
                 {"synth cells --count 10", "--out"},
                 {"synth cells --out x", "--count"},
                 {"synth cells --out x --count ten", "--count"},
                 {"synth cells --out x --count 10 --identities 3", "--identities is for faces"},
                 {"synth cells --out x --count 10 --seed -1", "--seed"},
                 {"synth cells --out x --count 10 --colour red", "--colour"}};
    for (int i = 0; i < COUNT(wrong); i++) {
        assert_int_equal(verb(wrong[i].line), 1);
        if (!strstr(said.text, wrong[i].reason)) fail_msg("%s: said \"%s\"", wrong[i].line, said.text);
    }
    char line[700];
    assert_int_equal(verb("synth --help"), 0);
    snprintf(line, sizeof line, "synth faces --out %s --count 10 --identities 2 --size 32 --seed 3",
             at("verb"));
    assert_int_equal(verb(line), 0);
    assert_int_equal(count_files(at("verb"), NULL), 11);
}

/* Whichever request for memory fails: an error, and nothing kept. */
static void test_no_memory(void **state) {
    (void)state;
    int threads = omp_get_max_threads();
    omp_set_num_threads(1);
    for (int kind = SYNTH_FACES; kind <= SYNTH_CELLS; kind++) {
        SynthPlan plan = {.kind = (SynthKind)kind,
                          .out = at("memory"),
                          .count = 5,
                          .identities = 1,
                          .size = 32,
                          .force = true};
        uint64_t live = mem_stat().live;
        bool done = false;
        int n = 0;
        for (; !done && n < 3000; n++) {
            Error e = {0};
            SynthTally tally;
            mem_fail_after(n);
            done = synth_run(&plan, &tally, &e);
            mem_fail_after(-1);
            if (!done && !e.text[0]) fail_msg("request %d failed without a word", n);
            if (mem_stat().live != live)
                fail_msg("%s: request %d failed and %d blocks were kept", synth_kind_name(plan.kind), n,
                         (int)(mem_stat().live - live));
        }
        assert_true(done && n > 20);
    }
    omp_set_num_threads(threads);
}

static int open_root(void **state) {
    (void)state;
    const char *tmp = getenv("TMPDIR");
    snprintf(root, sizeof root, "%s/lethe_synth_XXXXXX", tmp ? tmp : "/tmp");
    return mkdtemp(root) ? 0 : -1;
}

static int close_root(void **state) {
    (void)state;
    Error e;
    return file_remove_tree(root, &e) ? 0 : -1;
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_faces_same_bytes),
        cmocka_unit_test(test_shapes_same_bytes),
        cmocka_unit_test(test_cells_same_bytes),
        cmocka_unit_test(test_faces_layout),
        cmocka_unit_test(test_a_person_is_the_same_every_time),
        cmocka_unit_test(test_people_differ),
        cmocka_unit_test(test_pictures_of_a_person_are_alike),
        cmocka_unit_test(test_shapes_masks_boxes_and_files_agree),
        cmocka_unit_test(test_cells_masks_boxes_and_files_agree),
        cmocka_unit_test(test_shapes_of_every_kind),
        cmocka_unit_test(test_folders_are_not_overwritten),
        cmocka_unit_test(test_bad_plans),
        cmocka_unit_test(test_verb),
        cmocka_unit_test(test_no_memory),
    };
    return cmocka_run_group_tests(tests, open_root, close_root);
}
