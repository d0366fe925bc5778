/* Data sets: what each layout lists, in which order, and the one line for each thing that can be wrong. */
#include "data/coco.h"
#include "data/dataset.h"
#include "data/walk.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include <zlib.h>

static char root[64];

static const char *data_folder(void) {
    const char *given = getenv("LETHE_DATA");
    return given ? given : "../shared/data";
}

/* `path` below the test's folder. */
static const char *at(const char *path) {
    static char full[4][512];
    static int turn;
    turn = (turn + 1) % 4;
    snprintf(full[turn], sizeof full[turn], "%s/%s", root, path);
    return full[turn];
}

static void make_file(const char *path, const void *data, size_t size) {
    char folder[512];
    snprintf(folder, sizeof folder, "%s", at(path));
    for (char *p = folder + strlen(root) + 1; (p = strchr(p, '/')); p++) {
        *p = '\0';
        mkdir(folder, 0755);
        *p = '/';
    }
    FILE *f = fopen(folder, "wb");
    if (!f) fail_msg("%s", folder);
    fwrite(data, 1, size, f);
    fclose(f);
}

static void make_files(const char *const path[], int n) {
    for (int i = 0; i < n; i++) make_file(path[i], "x", 1);
}

static DataSettings settings_of(const char *train, const char *test) {
    Error e;
    Recipe *r = NULL;
    DataSettings s;
    if (!recipe_parse(&r, "t.json", "{}", 2, NULL, 0, &e) || !recipe_bind(r, &data_table, &s, &e))
        fail_msg("%s", e.text);
    recipe_close(r);
    snprintf(s.train, sizeof s.train, "%s", train);
    snprintf(s.test, sizeof s.test, "%s", test);
    return s;
}

static Dataset *open_data(const DataSettings *set, bool train) {
    Error e;
    Dataset *d;
    if (!dataset_open(&d, set, train, &e)) fail_msg("%s", e.text);
    return d;
}

static void expect_refusal(const DataSettings *set, bool train, const char *text) {
    Error e = {0};
    Dataset *d;
    uint64_t live = mem_stat().live;
    if (dataset_open(&d, set, train, &e)) fail_msg("accepted; wanted: %s", text);
    assert_string_equal(e.text, text);
    assert_int_equal(mem_stat().live, live);
}

/* The paths of all samples, without the folder, in one line. */
static void expect_list(const Dataset *d, const char *folder, const char *wanted) {
    char line[2048] = "";
    size_t skip = strlen(at(folder)) + 1;
    for (int64_t i = 0; i < d->count; i++) {
        size_t used = strlen(line);
        snprintf(line + used, sizeof line - used, "%s%s=%d", used ? " " : "", d->sample[i].path + skip,
                 d->sample[i].label);
    }
    assert_string_equal(line, wanted);
}

/* -------------------------------------------------------------------------------------------- names --- */

static void test_order_of_names(void **state) {
    (void)state;
    static const char *const sorted[] = {"1.jpg", "01.png", "2.jpg", "10.jpg", "a",      "a1",   "a1b",
                                         "a2",    "a02b",   "a10",   "b",      "x9y100", "x10y1"};
    for (int i = 0; i < COUNT(sorted); i++)
        for (int k = 0; k < COUNT(sorted); k++) {
            int order = walk_compare(sorted[i], sorted[k]);
            if ((order < 0) != (i < k) || (order == 0) != (i == k))
                fail_msg("%s and %s: %d", sorted[i], sorted[k], order);
        }
    assert_true(walk_is_image("A.JPEG") && walk_is_image("a.b.png") && walk_is_image("x.Jpg"));
    assert_false(walk_is_image(".jpg") || walk_is_image("a.jpg.txt") || walk_is_image("jpg") ||
                 walk_is_image("a.gif"));
}

/* ------------------------------------------------------------------------------------------ folders --- */

static void test_class_folders(void **state) {
    (void)state;
    static const char *const file[] = {"cls/b/10.jpg",   "cls/b/2.jpg", "cls/b/deep/1.JPEG",
                                       "cls/a/x.png",    "cls/a/y.txt", "cls/a/.hidden.jpg",
                                       "cls/.git/z.jpg", "cls/B/1.jpg", "cls/readme.md"};
    make_files(file, COUNT(file));
    DataSettings set = settings_of(at("cls"), "");
    Dataset *d = open_data(&set, true);
    assert_int_equal(d->layout, LAYOUT_FOLDER);
    assert_int_equal(d->classes, 3);
    assert_string_equal(d->class_name[0], "B"); /* by bytes, as torchvision sorts */
    expect_list(d, "cls", "B/1.jpg=0 a/x.png=1 b/2.jpg=2 b/10.jpg=2 b/deep/1.JPEG=2");
    for (int i = 0; i < 5; i++) assert_int_equal(d->sample[i].id, i);
    dataset_close(d);
}

static void test_folders_that_lead_in_circles(void **state) {
    (void)state;
    static const char *const file[] = {"loop/a/1.jpg", "loop/a/b/2.jpg"};
    make_files(file, COUNT(file));
    assert_int_equal(symlink(at("loop/a"), at("loop/a/b/back")), 0);
    DataSettings set = settings_of(at("loop"), "");
    Dataset *d = open_data(&set, true);
    expect_list(d, "loop", "a/1.jpg=0 a/b/2.jpg=0");
    dataset_close(d);
}

static void test_flat_folder(void **state) {
    (void)state;
    static const char *const file[] = {"flat/p10.jpg", "flat/p9.jpg", "flat/sub/1.png", "flat/notes.txt"};
    make_files(file, COUNT(file));
    DataSettings set = settings_of(at("flat"), "");
    Dataset *d = open_data(&set, true);
    assert_int_equal(d->layout, LAYOUT_FLAT);
    assert_int_equal(d->classes, 0);
    expect_list(d, "flat", "p9.jpg=-1 p10.jpg=-1 sub/1.png=-1");
    dataset_close(d);
}

static void test_split_by_class(void **state) {
    (void)state;
    static const char *const file[] = {"split/a/1.jpg", "split/a/2.jpg", "split/a/10.jpg",
                                       "split/b/1.jpg", "split/b/2.jpg", "split/b/3.jpg"};
    make_files(file, COUNT(file));
    DataSettings set = settings_of(at("split"), "");
    set.per_class_train = 2;
    Dataset *train = open_data(&set, true), *test = open_data(&set, false);
    expect_list(train, "split", "a/1.jpg=0 a/2.jpg=0 b/1.jpg=1 b/2.jpg=1");
    expect_list(test, "split", "a/10.jpg=0 b/3.jpg=1");
    assert_int_equal(test->sample[0].id, 2); /* ids are those of the whole listing */
    assert_int_equal(train->sample[2].id, 3);
    dataset_close(train);
    dataset_close(test);
}

static void test_labels_of_the_test_folder(void **state) {
    (void)state;
    static const char *const file[] = {"lt/train/a/1.jpg", "lt/train/b/1.jpg", "lt/train/c/1.jpg",
                                       "lt/test/c/1.jpg",  "lt/test/a/5.jpg",  "lt/odd/z/1.jpg"};
    char text[1200];
    make_files(file, COUNT(file));
    DataSettings set = settings_of(at("lt/train"), at("lt/test"));
    Dataset *d = open_data(&set, false);
    expect_list(d, "lt/test", "a/5.jpg=0 c/1.jpg=2"); /* c stays class 2 though b is absent */
    assert_int_equal(d->classes, 3);
    assert_string_equal(d->class_name[1], "b");
    dataset_close(d);
    snprintf(set.test, sizeof set.test, "%s", at("lt/odd"));
    snprintf(text, sizeof text,
             "data.test: its labels are the classes of data.train: class z of %s does not exist in "
             "data.train (%s)",
             at("lt/odd"), at("lt/train"));
    expect_refusal(&set, false, text);
}

/* ---------------------------------------------------------------------------------------------- parts --- */

static void test_parts(void **state) {
    (void)state;
    static const char *const file[] = {"pa/a/1.jpg", "pa/a/2.jpg", "pa/b/1.jpg", "pa/c/1.jpg", "pa/c/2.jpg"};
    make_files(file, COUNT(file));
    DataSettings set = settings_of(at("pa"), "");
    uint64_t live = mem_stat().live;
    Dataset *d = open_data(&set, true), *part;
    Error e = {0};
    const bool keep[] = {true, false, true, false, true}, none[COUNT(file)] = {false};
    char line[2048];
    for (int wanted = 0; wanted < 2; wanted++) {
        int64_t at = 0;
        assert_true(dataset_part(&part, d, keep, wanted, &e));
        assert_int_equal(part->count, wanted ? 3 : 2);
        assert_int_equal(part->classes, 3); /* though one has no b */
        assert_string_equal(part->class_name[2], "c");
        for (int i = 0; i < COUNT(file); i++) {
            if (keep[i] != wanted) continue;
            assert_int_equal(part->sample[at].id, i);
            assert_int_equal(part->sample[at].label, d->sample[i].label);
            assert_ptr_equal(part->sample[at].path, d->sample[i].path);
            at++;
        }
        assert_true(dataset_describe(part, 1, line, sizeof line, &e));
        assert_non_null(strstr(line, wanted ? "{\"id\": 2, " : "{\"id\": 3, "));
        dataset_close(part);
    }
    assert_true(dataset_part(&part, d, none, false, &e)); /* all of it */
    Dataset *again;
    assert_int_equal(part->count, 5);
    assert_true(dataset_part(&again, part, keep, true, &e)); /* a part of a part */
    assert_int_equal(again->sample[2].id, 4);
    dataset_close(again);
    dataset_close(part);
    part = d;
    assert_false(dataset_part(&part, d, none, true, &e));
    assert_null(part);
    assert_non_null(strstr(e.text, "no sample is left"));
    for (int n = 0; n < 2; n++) {
        mem_fail_after(n);
        assert_false(dataset_part(&part, d, keep, true, &e));
        mem_fail_after(-1);
        assert_int_equal(e.code, ERROR_MEMORY);
    }
    dataset_close(d);
    assert_int_equal(mem_stat().live, live);
}

/* Classes of a checkpoint, of which the folder lacks one and has another. */
static void test_classes_of_a_model(void **state) {
    (void)state;
    static const char *const file[] = {"cm/a/1.jpg", "cm/c/1.jpg", "cm/new/1.jpg"};
    char *name[] = {"c", "b", "a"};
    make_files(file, COUNT(file));
    DataSettings set = settings_of(at("cm"), "");
    uint64_t live = mem_stat().live;
    Dataset *d = open_data(&set, true);
    Error e = {0};
    assert_false(dataset_use_classes(d, name, 3, "the model", &e));
    assert_non_null(strstr(e.text, "class new of"));
    assert_non_null(strstr(e.text, "does not exist in the model"));
    assert_true(dataset_use_classes(d, name, 3, NULL, &e));
    assert_int_equal(d->classes, 3);
    assert_string_equal(d->class_name[1], "b");
    assert_int_equal(d->sample[0].label, 2);
    assert_int_equal(d->sample[1].label, 0);
    assert_int_equal(d->sample[2].label, -1);
    assert_int_equal(d->sample[2].identity, -1);
    dataset_close(d);
    assert_int_equal(mem_stat().live, live);
}

/* ------------------------------------------------------------------------------------------ refusals --- */

static void test_what_is_not_there(void **state) {
    (void)state;
    char text[1200];
    DataSettings set = settings_of("", "");
    expect_refusal(&set, true,
                   "data.train is empty: name a folder, a COCO JSON or an IDX file (--set data.train=...)");
    set = settings_of(at("nowhere"), "");
    snprintf(text, sizeof text, "data.train: %s: there is no such file or folder", at("nowhere"));
    expect_refusal(&set, true, text);
    set.layout = LAYOUT_FOLDER;
    snprintf(text, sizeof text, "data.train: %s: cannot list it: No such file or directory", at("nowhere"));
    expect_refusal(&set, true, text);

    mkdir(at("bare"), 0755);
    set = settings_of(at("bare"), "");
    snprintf(text, sizeof text, "data.train: no images in %s: expected %s/CLASS/NAME.jpg (or .jpeg, .png)",
             at("bare"), at("bare"));
    expect_refusal(&set, true, text);
    set.layout = LAYOUT_FLAT;
    snprintf(text, sizeof text,
             "data.train: no images in %s: expected .jpg, .jpeg or .png files, but it is empty", at("bare"));
    expect_refusal(&set, true, text);
    make_file("scans/a.bmp", "x", 1);
    snprintf(set.train, sizeof set.train, "%s", at("scans"));
    snprintf(text, sizeof text,
             "data.train: no images in %s: expected .jpg, .jpeg or .png files, found 1 others", at("scans"));
    expect_refusal(&set, true, text);

    make_file("half/full/a.jpg", "x", 1);
    mkdir(at("half/void"), 0755);
    set = settings_of(at("half"), "");
    snprintf(text, sizeof text,
             "data.train: no images in the class folder %s: expected .jpg, .jpeg or .png files; remove it",
             at("half/void"));
    expect_refusal(&set, true, text);
    set = settings_of(at("half/full"), "");
    expect_refusal(&set, false,
                   "data.test: nothing to evaluate on: it is empty, and data.per_class_train is 0");
    make_file("a file", "x", 1);
    set = settings_of(at("a file"), "");
    snprintf(text, sizeof text, "data.train: %s: expected a folder of images, a COCO .json file or IDX files",
             at("a file"));
    expect_refusal(&set, true, text);
    set = settings_of(at("half/full"), at("half/full"));
    set.per_class_train = 3;
    expect_refusal(&set, true, "data.per_class_train and data.test are both given: one of them decides");
}

/* chmod does not stop root, so a child gives root up first. */
static void test_folder_without_permission(void **state) {
    (void)state;
    make_file("secret/a/1.jpg", "x", 1);
    chmod(root, 0755);
    chmod(at("secret"), 0755);
    chmod(at("secret/a"), 0);
    pid_t child = fork();
    if (child == 0) {
        Error e = {0};
        Dataset *d;
        char text[1200];
        DataSettings set = settings_of(at("secret"), "");
        if (getuid() == 0 && (setgid(65534) != 0 || setuid(65534) != 0)) _exit(3);
        snprintf(text, sizeof text,
                 "data.train: %s: cannot list it: Permission denied; check the permissions", at("secret/a"));
        bool refused = !dataset_open(&d, &set, true, &e);
        if (!refused || strcmp(e.text, text) != 0) fprintf(stderr, "said: %s\nwanted: %s\n", e.text, text);
        _exit(refused && strcmp(e.text, text) == 0 ? 0 : 1);
    }
    int status = 0;
    assert_true(child > 0 && waitpid(child, &status, 0) == child);
    chmod(at("secret/a"), 0755);
    assert_true(WIFEXITED(status));
    if (WEXITSTATUS(status) == 3) skip();
    assert_int_equal(WEXITSTATUS(status), 0);
}

/* ------------------------------------------------------------------------------------------------ IDX --- */

static void make_gzip(const char *path, const void *data, unsigned size) {
    gzFile f = gzopen(at(path), "wb");
    assert_non_null(f);
    assert_int_equal(gzwrite(f, data, size), (int)size);
    gzclose(f);
}

static void test_idx(void **state) {
    (void)state;
    static const uint8_t images[] = {0, 0, 8, 3, 0, 0, 0, 3, 0, 0, 0, 2,  0,  0,
                                     0, 2, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12};
    static const uint8_t labels[] = {0, 0, 8, 1, 0, 0, 0, 3, 2, 0, 2};
    Error e;
    Image im = {0};
    char name[512], text[1200];
    mkdir(at("idx"), 0755);
    make_gzip("idx/train-images-idx3-ubyte.gz", images, sizeof images);
    make_gzip("idx/train-labels-idx1-ubyte.gz", labels, sizeof labels);
    make_file("idx/t10k-images-idx3-ubyte", images, sizeof images);
    DataSettings set = settings_of(at("idx"), "");
    Dataset *d = open_data(&set, true);
    assert_int_equal(d->layout, LAYOUT_IDX);
    assert_true(d->count == 3 && d->classes == 3 && d->sample[0].label == 2 && d->sample[1].label == 0);
    assert_int_equal(d->sample[2].identity, -1);
    assert_true(dataset_pixels(d, 1, &im, &e));
    assert_true(im.width == 2 && im.height == 2 && im.pixel[0] == 5 && im.pixel[2] == 5 && im.pixel[3] == 6);
    snprintf(text, sizeof text, "%s#2", at("idx/train-images-idx3-ubyte.gz"));
    assert_string_equal(dataset_name(d, 2, name, sizeof name), text);
    dataset_close(d);
    d = open_data(&set, false); /* plain, and without labels */
    assert_true(d->count == 3 && d->classes == 0 && d->sample[0].label == -1);
    dataset_close(d);
    image_free(&im);

    static const struct {
        const char *change;
        size_t size;
        int at, value;
        const char *part;
    } row[] = {{"magic", 28, 2, 9, "not an IDX file of images: begins with 0x00000903, not 0x00000803"},
               {"count", 28, 7, 4, "cut short: its data end at byte 28"},
               {"count", 28, 7, 2, "more data than its header says"},
               {"count", 28, 4, 0x7F, "cut short or too large: its header promises"},
               {"side", 28, 8, 1, "expected sides of 1 to 4096"},
               {"empty", 28, 7, 0, "0 images of 2 x 2"},
               {"short", 9, 0, 0, "cut short: its data end at byte 9"}};
    for (int i = 0; i < COUNT(row); i++) {
        uint8_t copy[sizeof images];
        memcpy(copy, images, sizeof copy);
        copy[row[i].at] = (uint8_t)row[i].value;
        make_file("bad-images-idx3-ubyte", copy, row[i].size);
        Dataset *bad;
        DataSettings one = settings_of(at("bad-images-idx3-ubyte"), "");
        if (dataset_open(&bad, &one, true, &e)) fail_msg("accepted: %s", row[i].change);
        if (!strstr(e.text, row[i].part)) fail_msg("said: %s\nwanted: %s", e.text, row[i].part);
    }
    uint8_t few[sizeof labels];
    memcpy(few, labels, sizeof few);
    few[7] = 2;
    make_gzip("idx/train-labels-idx1-ubyte.gz", few, sizeof few);
    snprintf(text, sizeof text, "data.train: %s: 2 labels for 3 images",
             at("idx/train-labels-idx1-ubyte.gz"));
    expect_refusal(&set, true, text);
    uint8_t zip[256]; /* a gzip file cut short: its end is missing */
    FILE *f = fopen(at("idx/train-images-idx3-ubyte.gz"), "rb");
    size_t n = fread(zip, 1, sizeof zip, f);
    fclose(f);
    make_gzip("idx/train-labels-idx1-ubyte.gz", labels, sizeof labels);
    make_file("idx/train-images-idx3-ubyte.gz", zip, n - 6);
    Dataset *bad;
    assert_false(dataset_open(&bad, &set, true, &e));
    zip[n - 6] ^= 1; /* the sum is wrong */
    make_file("idx/train-images-idx3-ubyte.gz", zip, n);
    assert_false(dataset_open(&bad, &set, true, &e));
    assert_non_null(strstr(e.text, "train-images-idx3-ubyte.gz: damaged"));
}

/* --------------------------------------------------------------------------------------------- memory --- */

static void test_memory_runs_out(void **state) {
    (void)state;
    static const char *const file[] = {"mem/train/a/1.jpg", "mem/train/b/2.jpg", "mem/test/b/1.jpg"};
    make_files(file, COUNT(file));
    DataSettings set = settings_of(at("mem/train"), at("mem/test"));
    bool ok = false;
    for (int n = 0; !ok; n++) {
        Error e;
        Dataset *d;
        uint64_t live = mem_stat().live;
        mem_fail_after(n);
        ok = dataset_open(&d, &set, false, &e);
        mem_fail_after(-1);
        if (ok) dataset_close(d);
        if (!ok) assert_int_equal(e.code, ERROR_MEMORY);
        assert_int_equal(mem_stat().live, live);
        assert_true(n < 200);
    }
}

/* ----------------------------------------------------------------------------------------- real data --- */

static void test_real_data(void **state) {
    (void)state;
    static const struct {
        const char *path;
        int layout, classes;
        int64_t count;
    } row[] = {{"faces", LAYOUT_FOLDER, 40, 400},           {"cifar10/train", LAYOUT_FOLDER, 10, 10000},
               {"photos1000", LAYOUT_FLAT, 0, 1000},        {"photos", LAYOUT_FLAT, 0, 5},
               {"coco100/train.json", LAYOUT_COCO, 0, 100}, {"bccd/val.json", LAYOUT_COCO, 0, 87}};
    struct stat s;
    if (stat(data_folder(), &s) != 0) {
        printf("skipped: there is no %s (set LETHE_DATA)\n", data_folder());
        skip();
    }
    for (int i = 0; i < COUNT(row); i++) {
        char path[512], line[2048];
        Error e;
        snprintf(path, sizeof path, "%s/%s", data_folder(), row[i].path);
        DataSettings set = settings_of(path, "");
        Dataset *d = open_data(&set, true);
        assert_int_equal(d->layout, row[i].layout);
        assert_int_equal(d->classes, row[i].classes);
        assert_int_equal(d->count, row[i].count);
        if (!dataset_describe(d, d->count - 1, line, sizeof line, &e)) fail_msg("%s", e.text);
        dataset_close(d);
    }
}

int main(void) {
    const struct CMUnitTest test[] = {
        cmocka_unit_test(test_order_of_names),
        cmocka_unit_test(test_class_folders),
        cmocka_unit_test(test_folders_that_lead_in_circles),
        cmocka_unit_test(test_flat_folder),
        cmocka_unit_test(test_split_by_class),
        cmocka_unit_test(test_labels_of_the_test_folder),
        cmocka_unit_test(test_parts),
        cmocka_unit_test(test_classes_of_a_model),
        cmocka_unit_test(test_what_is_not_there),
        cmocka_unit_test(test_folder_without_permission),
        cmocka_unit_test(test_idx),
        cmocka_unit_test(test_memory_runs_out),
        cmocka_unit_test(test_real_data),
    };
    snprintf(root, sizeof root, "/tmp/lethe_data_XXXXXX");
    if (!mkdtemp(root)) return 1;
    int failed = cmocka_run_group_tests(test, NULL, NULL);
    char command[128];
    snprintf(command, sizeof command, "rm -rf %s", root);
    return system(command) == 0 ? failed : 1;
}
