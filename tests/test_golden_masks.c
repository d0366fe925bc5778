/* Outlines, and pictures and masks fitted into a square, against pycocotools, PyTorch, Pillow and SAM's
 * preprocessing (tests/golden/make_mask_data.py). */
#include "data/fit.h"
#include "data/polygon.h"
#include "tests/golden.h"

static SafeFile *fixture;

enum { SIZE = 48 };

static Tensor tensor_of(const char *name, const char *part) {
    char text[100];
    snprintf(text, sizeof text, "%s.%s", name, part);
    return golden_read(fixture, text);
}

static DataSettings settings_of(const char *const set[], int n) {
    Error e;
    Recipe *r = NULL;
    DataSettings s;
    if (!recipe_parse(&r, "t.json", "{}", 2, (char *const *)set, n, &e) ||
        !recipe_bind(r, &data_table, &s, &e))
        fail_msg("%s", e.text);
    recipe_close(r);
    return s;
}

static void test_outlines(void **state) {
    (void)state;
    enum { CASES = 24 };
    Bytes runs = {0}, scratch = {0};
    int64_t inside = 0;
    for (int k = 0; k < CASES; k++) {
        Error e;
        Rle r;
        char name[40];
        double xy[200];
        snprintf(name, sizeof name, "outline.%d", k);
        Tensor points = tensor_of(name, "xy"), want = tensor_of(name, "mask");
        int height = (int)want.dim[0], width = (int)want.dim[1];
        for (int64_t i = 0; i < tensor_count(&points); i++) xy[i] = (double)tensor_at(&points, i);
        runs.size = 0;
        if (!polygon_to_rle(&r, &runs, &scratch, xy, points.dim[0], height, width, &e))
            fail_msg("%s", e.text);
        uint8_t *mask = mem_get((size_t)(height * width));
        rle_to_mask(&r, mask);
        assert_memory_equal(mask, want.data, (size_t)(height * width));
        inside += rle_area(&r);
        mem_free(mask);
        mem_free(points.data);
        mem_free(want.data);
    }
    assert_true(inside > 1000);
    bytes_free(&runs);
    bytes_free(&scratch);
}

static void test_normalised_values(void **state) {
    (void)state;
    const char *set[] = {"data.geometry=longest"};
    DataSettings s = settings_of(set, 1);
    Augment a = augment_of(&s, SIZE, false);
    Tensor want = golden_read(fixture, "normal");
    assert_memory_equal(a.value, want.data, sizeof a.value); /* to the bit */
    mem_free(want.data);
}

static Image image_of(const char *name) {
    Error e;
    Image im = {0};
    Tensor t = golden_read(fixture, name);
    if (!image_reserve(&im, (int)t.dim[1], (int)t.dim[0], &e)) fail_msg("%s", e.text);
    memcpy(im.pixel, t.data, tensor_bytes(&t));
    mem_free(t.data);
    return im;
}

/* Fits a picture and compares to the bit, but for `most` of its values, which are off by a grey level. */
static void expect_picture(const Augment *a, const Image *im, const Fit *f, const char *name, int64_t most) {
    Error e;
    AugmentScratch s = {0};
    AugmentSource from = {.name = name, .decoded = im};
    float *got = mem_get(sizeof *got * 3 * SIZE * SIZE);
    Tensor want = tensor_of(name, "image");
    if (!fit_run(a, &s, &from, f, rng_open(0, RNG_TEST, 0, 0), got, &e)) fail_msg("%s", e.text);
    int64_t off = 0;
    for (int64_t i = 0; i < 3 * SIZE * SIZE; i++) {
        float d = fabsf(got[i] - ((const float *)want.data)[i]);
        off += d != 0.0f;
        if (d > 1.01f / 57.0f) fail_msg("%s: value %lld is off by %g", name, (long long)i, (double)d);
    }
    if (off > most) fail_msg("%s: %lld values differ", name, (long long)off);
    augment_scratch_free(&s);
    mem_free(got);
    mem_free(want.data);
}

static void expect_mask(const Fit *f, const char *soft, const char *name) {
    Error e;
    SampleAxis x = {0}, y = {0};
    Tensor mask = golden_read(fixture, soft), want = tensor_of(name, "mask");
    int height = (int)mask.dim[0], width = (int)mask.dim[1];
    uint8_t got[SIZE * SIZE];
    GreyPlane p = plane_of(mask.data, 1, (size_t)width, width, height);
    if (!fit_axes(f, width, height, &x, &y, &e)) fail_msg("%s", e.text);
    int64_t inside = sample_mask(got, SIZE, &p, &x, &y), count = 0;
    for (int i = 0; i < SIZE * SIZE; i++) {
        double d = fabs(got[i] - (double)tensor_at(&want, i));
        if (d > 0.5001) fail_msg("%s: pixel %d is %d, not %g", name, i, got[i], (double)tensor_at(&want, i));
        count += got[i] >= 128;
    }
    assert_int_equal(inside, count);
    assert_true(count > 20);
    sample_axis_free(&x);
    sample_axis_free(&y);
    mem_free(mask.data);
    mem_free(want.data);
}

static const char *const photos[] = {"photo", "tall"};

static void test_longest(void **state) {
    (void)state;
    const char *set[] = {"data.geometry=longest"};
    DataSettings s = settings_of(set, 1);
    Augment a = augment_of(&s, SIZE, false);
    for (int k = 0; k < COUNT(photos); k++) {
        char name[40];
        snprintf(name, sizeof name, "%s.longest", photos[k]);
        Image im = image_of(photos[k]);
        Tensor fit = tensor_of(name, "fit");
        Fit f = fit_draw(&a, rng_open(0, RNG_TEST, 0, 0), im.width, im.height, true);
        const int32_t *side = fit.data;
        assert_int_equal(f.window.height, side[0]);
        assert_int_equal(f.window.width, side[1]);
        expect_picture(&a, &im, &f, name, 0);
        image_free(&im);
        mem_free(fit.data);
    }
}

/* The sizes and windows of the fixture: straight, shrunk and mirrored, grown, cropped and mirrored. */
static void test_interpolated(void **state) {
    (void)state;
    static const char *const kind[] = {"stretch", "small", "large"};
    const char *set[] = {"data.geometry=stretch"};
    DataSettings s = settings_of(set, 1);
    Augment a = augment_of(&s, SIZE, false);
    for (int k = 0; k < COUNT(photos) * COUNT(kind); k++) {
        const char *photo = photos[k % COUNT(photos)];
        char name[40], soft[40];
        snprintf(name, sizeof name, "%s.%s", photo, kind[k / COUNT(photos)]);
        snprintf(soft, sizeof soft, "%s.soft", photo);
        Image im = image_of(photo);
        Tensor size = tensor_of(name, "size");
        const int32_t *v = size.data;
        Fit f = {v[1], v[0], {v[2], v[3], v[4], v[5]}, v[6] == 1, false, true};
        if (k < COUNT(photos)) {
            Fit own = fit_draw(&a, rng_open(0, RNG_TEST, 0, 0), im.width, im.height, true);
            assert_true(own.width == f.width && own.height == f.height && own.window.width == SIZE &&
                        own.window.height == SIZE && !own.mirror && !own.smooth);
        }
        expect_picture(&a, &im, &f, name, 7); /* a thousandth: sums that meet a whole number */
        expect_mask(&f, soft, name);
        image_free(&im);
        mem_free(size.data);
    }
}

static void test_jittered_sizes(void **state) {
    (void)state;
    Tensor rows = golden_read(fixture, "jitter.sizes");
    const int32_t *v = rows.data;
    for (int64_t i = 0; i < rows.dim[0]; i++, v += 6) {
        char least[40], most[40];
        snprintf(least, sizeof least, "data.lsj_min=%g", v[3] / 100.0);
        snprintf(most, sizeof most, "data.lsj_max=%g", v[3] / 100.0);
        const char *set[] = {"data.geometry=longest", least, most, "data.hflip=0"};
        DataSettings s = settings_of(set, COUNT(set));
        Augment a = augment_of(&s, v[2], true);
        Fit f = fit_draw(&a, rng_open((uint64_t)i, RNG_TEST, 0, 0), v[1], v[0], true);
        assert_int_equal(f.height, v[4]);
        assert_int_equal(f.width, v[5]);
        assert_true(f.grey && !f.smooth && !f.mirror);
        assert_true(f.window.x >= 0 && f.window.x + f.window.width <= f.width && f.window.width <= v[2]);
        assert_true(f.window.y >= 0 && f.window.y + f.window.height <= f.height && f.window.height <= v[2]);
        Fit calm = fit_draw(&a, rng_open((uint64_t)i, RNG_TEST, 0, 0), v[1], v[0], false);
        assert_true(calm.smooth && !calm.grey);
    }
    mem_free(rows.data);
}

int main(void) {
    Error e;
    if (!safe_open(&fixture, "tests/golden/mask_data.safetensors", &e)) {
        fprintf(stderr, "%s\n", e.text);
        return 1;
    }
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_outlines),       cmocka_unit_test(test_normalised_values),
        cmocka_unit_test(test_longest),        cmocka_unit_test(test_interpolated),
        cmocka_unit_test(test_jittered_sizes),
    };
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    safe_close(fixture);
    return failed;
}
