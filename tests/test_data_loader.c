/* The loader: the same batches whatever the workers, the ranks and the order of asking; evaluation sees
 * everything once; corrupt images cost neither the run nor the order. */
#include "core/rng.h"
#include "data/loader.h"
#include "data/mix.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

enum { CLASSES = 3, EACH = 7, SIDE = 24, IMAGE = 16, PIXELS = 3 * IMAGE * IMAGE };

static char folder[64];

static DataSettings settings_of(const char *set[], int n) {
    Error e;
    Recipe *r = NULL;
    DataSettings s;
    if (!recipe_parse(&r, "t.json", "{}", 2, (char *const *)set, n, &e) ||
        !recipe_bind(r, &data_table, &s, &e))
        fail_msg("%s", e.text);
    recipe_close(r);
    snprintf(s.train, sizeof s.train, "%s", folder);
    return s;
}

static DataSettings standard(void) {
    return settings_of(NULL, 0);
}

static void image_path(char out[128], int class, int i) {
    snprintf(out, 128, "%s/c%d/%d.jpg", folder, class, i);
}

/* 3 classes of 7 images of different sizes. */
static int make_images(void **state) {
    (void)state;
    Error e;
    Image im = {0};
    char path[128];
    for (int c = 0; c < CLASSES; c++) {
        snprintf(path, sizeof path, "%s/c%d", folder, c);
        mkdir(path, 0755);
        for (int i = 0; i < EACH; i++) {
            Rng r = rng_open(9, RNG_TEST, (uint32_t)c, (uint64_t)i);
            if (!image_reserve(&im, SIDE + 3 * i, SIDE + c, &e)) return 1;
            for (int k = 0; k < im.width * im.height * 3; k++)
                im.pixel[k] = (uint8_t)(80 * c + 10 * i + k / 40 % 50 + (int)(rng_u32(&r) % 16));
            image_path(path, c, i);
            if (!image_write_jpeg(&im, 90, path, &e)) return 1;
        }
    }
    image_free(&im);
    return 0;
}

static Dataset *open_data(const DataSettings *set, bool train) {
    Error e;
    Dataset *d;
    if (!dataset_open(&d, set, train, &e)) fail_msg("%s", e.text);
    return d;
}

static Source open_loader(const Dataset *d, const DataSettings *set, int batch, int rank, int ranks,
                          bool train) {
    Error e;
    Source s;
    LoaderOptions o = {.set = set,
                       .image_size = IMAGE,
                       .batch = batch,
                       .rank = rank,
                       .ranks = ranks,
                       .train = train,
                       .seed = 5};
    if (!loader_open(&s, d, &o, &e)) fail_msg("%s", e.text);
    return s;
}

static const Batch *get(const Source *s, int64_t step) {
    Error e;
    const Batch *b;
    if (!s->get(s->self, step, &b, &e)) fail_msg("step %lld: %s", (long long)step, e.text);
    return b;
}

static const float *image_at(const Batch *b, int i) {
    return (const float *)b->image.data + (size_t)i * PIXELS;
}

/* Everything of a batch in one number. */
static uint64_t hash_of(const Batch *b) {
    uint64_t h = 0xCBF29CE484222325u;
    const struct {
        const void *p;
        size_t n;
    } part[] = {{b->image.data, (size_t)b->n * PIXELS * 4},
                {b->id, (size_t)b->n * 8},
                {b->label, (size_t)b->n * 4},
                {b->size, (size_t)b->n * 8},
                {b->target.data, b->target.data ? (size_t)b->n * (size_t)b->target.dim[1] * 4 : 0},
                {&b->epoch, 4}};
    for (int k = 0; k < COUNT(part); k++)
        for (size_t i = 0; i < part[k].n; i++) h = (h ^ ((const uint8_t *)part[k].p)[i]) * 0x100000001B3u;
    return h;
}

/* Everything once, in an order that is not the data set's, and the same in each pass and for every seed. */
static void test_mixed(void **state) {
    (void)state;
    Error e;
    DataSettings set = standard();
    Dataset *d = open_data(&set, true);
    int64_t order[4][3 * EACH] = {{0}};
    for (int k = 0; k < 4; k += 2) {
        Source s;
        LoaderOptions o = {.set = &set,
                           .image_size = IMAGE,
                           .batch = 4,
                           .ranks = 1,
                           .uneven = true,
                           .mixed = true,
                           .seed = (uint64_t)k};
        if (!loader_open(&s, d, &o, &e)) fail_msg("%s", e.text);
        for (int64_t step = 0, n = 0; step < 2 * s.steps_per_epoch; step++) {
            const Batch *b = get(&s, step);
            for (int i = 0; i < b->n; i++, n++) order[k + n / (3 * EACH)][n % (3 * EACH)] = b->id[i];
        }
        s.close(s.self);
    }
    bool seen[3 * EACH] = {false};
    int moved = 0;
    for (int i = 0; i < 3 * EACH; i++) {
        seen[order[0][i]] = true;
        moved += order[0][i] != i;
        for (int k = 1; k < 4; k++) assert_int_equal(order[k][i], order[0][i]);
    }
    for (int i = 0; i < 3 * EACH; i++) assert_true(seen[i]);
    assert_true(moved > EACH);
    dataset_close(d);
}

static void test_order_and_shapes(void **state) {
    (void)state;
    DataSettings set = standard();
    Dataset *d = open_data(&set, true);
    Source s = open_loader(d, &set, 4, 0, 1, true);
    assert_int_equal(s.samples, 21);
    assert_int_equal(s.steps_per_epoch, 5); /* one is left out */
    int64_t before[20];
    for (int epoch = 0; epoch < 3; epoch++) {
        bool seen[21] = {false};
        int moved = 0;
        for (int step = 0; step < 5; step++) {
            const Batch *b = get(&s, epoch * 5 + step);
            assert_int_equal(b->n, 4);
            assert_int_equal(b->epoch, epoch);
            assert_true(b->image.ndim == 4 && b->image.dim[0] == 4 && b->image.dim[1] == 3 &&
                        b->image.dim[2] == IMAGE);
            assert_null(b->target.data);
            for (int i = 0; i < 4; i++) {
                int64_t id = b->id[i];
                assert_false(seen[id]);
                seen[id] = true;
                assert_int_equal(b->label[i], id / EACH);
                assert_int_equal(b->identity[i], id / EACH);
                assert_int_equal(b->size[2 * i], SIDE + id / EACH);
                assert_int_equal(b->size[2 * i + 1], SIDE + 3 * (id % EACH));
                moved += epoch > 0 && before[step * 4 + i] != id;
                before[step * 4 + i] = id;
                for (int k = 0; k < PIXELS; k++) assert_true(fabsf(image_at(b, i)[k]) < 3.0f);
            }
        }
        if (epoch > 0) assert_true(moved > 10);
    }
    s.close(s.self);
    dataset_close(d);
}

/* With every augmentation on: 1 or 3 workers, in order, backwards, twice, cached or not. */
static void test_batch_depends_on_seed_and_step_alone(void **state) {
    (void)state;
    const char *on[] = {"data.randaugment=9", "data.erase=0.5", "data.jitter=0.4",    "data.mixup=0.8",
                        "data.cutmix=1",      "data.workers=1", "data.smoothing=0.1", "data.cache_mb=0"};
    DataSettings set = settings_of(on, COUNT(on));
    Dataset *d = open_data(&set, true);
    uint64_t hash[15];
    Source s = open_loader(d, &set, 4, 0, 1, true);
    for (int step = 0; step < 15; step++) hash[step] = hash_of(get(&s, step));
    for (int step = 0; step < 14; step++) assert_true(hash[step] != hash[step + 1]);
    for (int step = 14; step >= 0; step--) assert_true(hash_of(get(&s, step)) == hash[step]);
    s.close(s.self);
    set.workers = 3;
    for (int cached = 0; cached < 2; cached++) {
        set.cache_mb = cached;
        s = open_loader(d, &set, 4, 0, 1, true);
        static const int jump[] = {7, 8, 8, 2, 3, 14, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14};
        for (int i = 0; i < COUNT(jump); i++) assert_true(hash_of(get(&s, jump[i])) == hash[jump[i]]);
        s.close(s.self);
    }
    LoaderOptions o = {.set = &set, .image_size = IMAGE, .batch = 4, .ranks = 1, .train = true, .seed = 6};
    Error e;
    assert_true(loader_open(&s, d, &o, &e));
    assert_true(hash_of(get(&s, 0)) != hash[0]);
    s.close(s.self);
    dataset_close(d);
}

static int place_of(const Batch *b, int64_t id) {
    for (int i = 0; i < b->n; i++)
        if (b->id[i] == id) return i;
    return -1;
}

/* Two or five ranks together hold what one holds, to the bit, mixed or not. */
static void check_ranks(const char *set_text[], int n, int batch, int ranks, bool train) {
    DataSettings set = settings_of(set_text, n);
    Dataset *d = open_data(&set, true);
    Source one = open_loader(d, &set, batch, 0, 1, train), part[5];
    for (int r = 0; r < ranks; r++) part[r] = open_loader(d, &set, batch, r, ranks, train);
    assert_int_equal(part[0].steps_per_epoch, one.steps_per_epoch);
    for (int step = 0; step < one.steps_per_epoch * (train ? 2 : 1); step++) {
        const Batch *whole = get(&one, step);
        int found = 0;
        for (int r = 0; r < ranks; r++) {
            const Batch *b = get(&part[r], step);
            for (int i = 0; i < b->n; i++, found++) {
                int at = place_of(whole, b->id[i]);
                assert_true(at >= 0);
                assert_memory_equal(image_at(b, i), image_at(whole, at), PIXELS * 4);
                assert_int_equal(b->label[i], whole->label[at]);
                assert_int_equal(b->target.data != NULL, whole->target.data != NULL);
                if (b->target.data)
                    assert_memory_equal((float *)b->target.data + i * CLASSES,
                                        (float *)whole->target.data + at * CLASSES, CLASSES * 4);
            }
        }
        assert_int_equal(found, whole->n);
    }
    for (int r = 0; r < ranks; r++) part[r].close(part[r].self);
    one.close(one.self);
    dataset_close(d);
}

static void test_ranks_share_a_batch(void **state) {
    (void)state;
    const char *mix[] = {"data.mixup=0.8", "data.cutmix=1", "data.workers=1"};
    check_ranks(mix + 2, 1, 6, 2, true);
    check_ranks(mix + 2, 1, 5, 5, true);
    check_ranks(mix, 3, 8, 2, true);
    check_ranks(mix, 3, 20, 5, true);
    check_ranks(mix + 2, 1, 10, 5, false); /* the last batch has one sample for five ranks */
}

static void test_evaluation_sees_everything_once(void **state) {
    (void)state;
    const char *split[] = {"data.per_class_train=4", "data.erase=1"};
    DataSettings set = settings_of(split, 2);
    Dataset *d = open_data(&set, false);
    Source s = open_loader(d, &set, 4, 0, 1, false);
    assert_int_equal(s.samples, 9);
    assert_int_equal(s.steps_per_epoch, 3);
    for (int pass = 0; pass < 2; pass++) {
        int64_t next = 0;
        for (int step = 0; step < 3; step++) {
            const Batch *b = get(&s, pass * 3 + step);
            assert_int_equal(b->n, step < 2 ? 4 : 1);
            assert_int_equal(b->image.dim[0], b->n);
            for (int i = 0; i < b->n; i++, next++) assert_int_equal(b->id[i], next / 3 * EACH + 4 + next % 3);
        }
        assert_int_equal(next, 9);
    }
    s.close(s.self);
    dataset_close(d);
}

static void test_short_last_batch_of_training(void **state) {
    (void)state;
    const char *keep[] = {"data.drop_last=false", "data.mixup=0.8"};
    DataSettings set = settings_of(keep, 2);
    Dataset *d = open_data(&set, true);
    Source s = open_loader(d, &set, 8, 0, 1, true);
    assert_int_equal(s.steps_per_epoch, 3);
    assert_int_equal(get(&s, 2)->n, 5);
    assert_int_equal(get(&s, 3)->epoch, 1);
    s.close(s.self);
    dataset_close(d);
}

/* For looking at: as in training, but each sample once a pass, in order, and nothing that changes. */
static void test_plain(void **state) {
    (void)state;
    DataSettings set = standard();
    set.hflip = 0.5;
    set.drop_last = true;
    Error e;
    Dataset *d = open_data(&set, true), *part;
    bool keep[CLASSES * EACH] = {false};
    for (int i = 0; i < COUNT(keep); i++) keep[i] = i % 3 != 1;
    assert_true(dataset_part(&part, d, keep, true, &e));
    Source s;
    LoaderOptions o = {
        .set = &set, .image_size = IMAGE, .batch = 4, .ranks = 1, .train = true, .plain = true, .seed = 5};
    assert_true(loader_open(&s, part, &o, &e));
    assert_int_equal(s.samples, 14);
    assert_int_equal(s.steps_per_epoch, 4); /* the last one short */
    uint64_t hash[4];
    for (int step = 0; step < 12; step++) {
        const Batch *b = get(&s, step);
        assert_int_equal(b->n, step % 4 == 3 ? 2 : 4);
        assert_int_equal(b->whole, b->n);
        assert_int_equal(b->epoch, 0);
        assert_true(b->fixed);
        for (int i = 0; i < b->n; i++) assert_int_equal(b->id[i], part->sample[step % 4 * 4 + i].id);
        if (step < 4)
            hash[step] = hash_of(b);
        else
            assert_true(hash_of(b) == hash[step % 4]);
    }
    s.close(s.self);
    o.plain = false;
    assert_true(loader_open(&s, part, &o, &e));
    assert_false(get(&s, 0)->fixed);
    s.close(s.self);
    o.train = false;
    assert_true(loader_open(&s, part, &o, &e));
    assert_true(get(&s, 0)->fixed);
    s.close(s.self);
    dataset_close(part);
    dataset_close(d);
}

/* A batch that ranks do not divide: parts of two sizes, perhaps none, which are together what one rank has.
 */
static void test_uneven_parts(void **state) {
    (void)state;
    enum { RANKS = 4 };
    DataSettings set = standard();
    set.drop_last = false;
    Dataset *d = open_data(&set, true);
    Error e;
    for (int batch = 1; batch < 8; batch += 2) {
        Source whole, part[RANKS];
        LoaderOptions o = {
            .set = &set, .image_size = IMAGE, .batch = batch, .ranks = 1, .train = true, .seed = 5};
        assert_true(loader_open(&whole, d, &o, &e));
        o.ranks = RANKS;
        assert_false(loader_open(&part[0], d, &o, &e)); /* training wants all alike */
        o.uneven = true;
        for (o.rank = 0; o.rank < RANKS; o.rank++) assert_true(loader_open(&part[o.rank], d, &o, &e));
        for (int64_t step = 0; step < 2 * whole.steps_per_epoch; step++) {
            const Batch *b = get(&whole, step);
            int at = 0;
            for (int r = 0; r < RANKS; r++) {
                const Batch *p = get(&part[r], step);
                assert_int_equal(p->whole, b->n);
                for (int i = 0; i < p->n; i++, at++) {
                    assert_int_equal(p->id[i], b->id[at]);
                    assert_memory_equal(image_at(p, i), image_at(b, at), PIXELS * sizeof(float));
                }
            }
            assert_int_equal(at, b->n);
        }
        for (int r = 0; r < RANKS; r++) part[r].close(part[r].self);
        whole.close(whole.self);
    }
    dataset_close(d);
}

static void test_steady_state_allocates_nothing(void **state) {
    (void)state;
    for (int cached = 0; cached < 2; cached++) {
        DataSettings set = standard();
        set.cache_mb = cached;
        Dataset *d = open_data(&set, true);
        Source s = open_loader(d, &set, 7, 0, 1, true);
        for (int step = 0; step < 6; step++) get(&s, step);
        get(&s, 6);
        uint64_t calls = mem_stat().calls;
        for (int step = 7; step < 40; step++) get(&s, step);
        assert_int_equal(mem_stat().calls, calls);
        s.close(s.self);
        dataset_close(d);
    }
}

/* --------------------------------------------------------------------------------------- refusals --- */

static void expect_refusal(const DataSettings *set, int batch, int ranks, const char *part) {
    Error e = {0};
    Source s;
    Dataset *d = open_data(set, true);
    LoaderOptions o = {.set = set, .image_size = IMAGE, .batch = batch, .ranks = ranks, .train = true};
    if (loader_open(&s, d, &o, &e)) fail_msg("accepted; wanted: %s", part);
    if (!strstr(e.text, part)) fail_msg("said: %s\nwanted: %s", e.text, part);
    dataset_close(d);
}

static void test_refusals(void **state) {
    (void)state;
    DataSettings set = standard();
    expect_refusal(&set, 22, 1, "train.batch is 22, but data.train (");
    expect_refusal(&set, 22, 1, "has 21 images: lower it, or set data.drop_last to false");
    expect_refusal(&set, 9, 2, "train.batch is 9, which 2 ranks cannot share");
    set.mixup = 1.0;
    expect_refusal(&set, 10, 2, "each of 2 ranks needs an even number");
    set.layout = LAYOUT_FLAT;
    expect_refusal(&set, 10, 1, "data.mixup and data.cutmix need classes");
}

/* ----------------------------------------------------------------------------------- corrupt images --- */

static void cut_file(const char *path) {
    struct stat s;
    if (stat(path, &s) != 0 || truncate(path, s.st_size / 2) != 0) fail_msg("%s", path);
}

static void test_corrupt_images(void **state) {
    (void)state;
    char path[128];
    uint64_t hash[2][5];
    Error e;
    const Batch *b;
    LoaderCorrupt bad;
    image_path(path, 1, 2); /* id 9 */
    cut_file(path);
    DataSettings set = standard();
    Dataset *d = open_data(&set, true);

    set.corrupt_max = 0.1;
    for (int workers = 1; workers <= 2; workers++) {
        set.workers = workers;
        Source s = open_loader(d, &set, 4, 0, 1, true);
        for (int step = 0; step < 5; step++) {
            b = get(&s, step);
            assert_int_equal(b->n, 4);
            assert_true(place_of(b, 9) < 0);
            hash[workers - 1][step] = hash_of(b);
        }
        for (int step = 5; step < 25; step++) get(&s, step);
        assert_int_equal(loader_corrupt_count(&s), 1); /* once, however often it came */
        assert_true(loader_corrupt_at(&s, 0, &bad));
        assert_int_equal(bad.id, 9);
        assert_string_equal(bad.name, path);
        assert_non_null(strstr(bad.reason, "2.jpg: the JPEG is cut short"));
        assert_false(loader_corrupt_at(&s, 1, &bad));
        s.close(s.self);
    }
    assert_memory_equal(hash[0], hash[1], sizeof hash[0]);

    Source s = open_loader(d, &set, 4, 0, 1, false); /* evaluation leaves it out */
    int64_t next = 0;
    for (int step = 0; step < s.steps_per_epoch; step++) {
        b = get(&s, step);
        assert_int_equal(b->n, step == 2 ? 3 : step == 5 ? 1 : 4);
        for (int i = 0; i < b->n; i++, next++) {
            next += next == 9;
            assert_int_equal(b->id[i], next);
            assert_int_equal(b->label[i], next / EACH);
            assert_int_equal(b->size[2 * i + 1], SIDE + 3 * (next % EACH));
        }
    }
    assert_int_equal(next, 21);
    s.close(s.self);

    set.corrupt_max = 0.01; /* 1 of 21 is more */
    s = open_loader(d, &set, 21, 0, 1, true);
    assert_false(s.get(s.self, 0, &b, &e));
    assert_non_null(strstr(
        e.text, "data.train: 1 of 21 images cannot be read, more than data.corrupt_max = 0.01 allows"));
    s.close(s.self);

    set.corrupt = CORRUPT_STOP;
    s = open_loader(d, &set, 21, 0, 1, true);
    for (int again = 0; again < 2; again++) {
        assert_false(s.get(s.self, 0, &b, &e));
        assert_true(strncmp(e.text, "data.train: ", 12) == 0 &&
                    strstr(e.text, "2.jpg: the JPEG is cut short"));
    }
    s.close(s.self);
    dataset_close(d);
    make_images(NULL);
}

static void test_memory_runs_out(void **state) {
    (void)state;
    DataSettings set = standard();
    set.workers = 1;
    Dataset *d = open_data(&set, true);
    bool ok = false;
    for (int n = 0; !ok; n++) {
        Error e;
        Source s;
        const Batch *b;
        LoaderOptions o = {.set = &set, .image_size = IMAGE, .batch = 4, .ranks = 1, .train = true};
        uint64_t live = mem_stat().live;
        mem_fail_after(n);
        bool opened = loader_open(&s, d, &o, &e);
        ok = opened;
        for (int step = 0; ok && step < 5; step++) ok = s.get(s.self, step, &b, &e);
        mem_fail_after(-1);
        if (opened) s.close(s.self);
        if (!ok) assert_int_equal(e.code, ERROR_MEMORY);
        assert_int_equal(mem_stat().live, live);
        assert_true(n < 200);
    }
    dataset_close(d);
}

static void test_describe(void **state) {
    (void)state;
    DataSettings set = standard();
    Dataset *d = open_data(&set, true);
    Source s = open_loader(d, &set, 4, 0, 1, true);
    char line[1024], wanted[256];
    Error e;
    assert_true(s.describe(s.self, 8, line, sizeof line, &e));
    snprintf(wanted, sizeof wanted, "{\"id\": 8, \"path\": \"%s/c1/1.jpg\", \"sha256\": \"", folder);
    assert_true(strncmp(line, wanted, strlen(wanted)) == 0);
    assert_non_null(strstr(line, "\", \"identity\": \"c1\"}"));
    assert_false(s.describe(s.self, 8, line, 40, &e));
    s.close(s.self);
    dataset_close(d);
}

int main(void) {
    const struct CMUnitTest test[] = {
        cmocka_unit_test(test_order_and_shapes),
        cmocka_unit_test(test_mixed),
        cmocka_unit_test(test_batch_depends_on_seed_and_step_alone),
        cmocka_unit_test(test_ranks_share_a_batch),
        cmocka_unit_test(test_evaluation_sees_everything_once),
        cmocka_unit_test(test_short_last_batch_of_training),
        cmocka_unit_test(test_plain),
        cmocka_unit_test(test_uneven_parts),
        cmocka_unit_test(test_steady_state_allocates_nothing),
        cmocka_unit_test(test_refusals),
        cmocka_unit_test(test_corrupt_images),
        cmocka_unit_test(test_memory_runs_out),
        cmocka_unit_test(test_describe),
    };
    snprintf(folder, sizeof folder, "/tmp/lethe_loader_XXXXXX");
    if (!mkdtemp(folder)) return 1;
    int failed = cmocka_run_group_tests(test, make_images, NULL);
    char command[128];
    snprintf(command, sizeof command, "rm -rf %s", folder);
    return system(command) == 0 ? failed : 1;
}
