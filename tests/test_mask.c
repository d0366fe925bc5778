/* Masks as bitmaps: what cv2, torchvision and the references make of the same ones
 * (tests/golden/masks_reference.safetensors), the plain way beside the fast one, and memory that runs out. */
#include "core/rng.h"
#include "segment/mask.h"
#include "tests/golden.h"

#define GOLDEN "tests/golden/masks_reference.safetensors"

static SafeFile *golden;

static Tensor golden_tensor(const char *format, const char *name) {
    char key[200];
    snprintf(key, sizeof key, format, name);
    return golden_read(golden, key);
}

static uint8_t *bytes_of(const Tensor *t) {
    return t->data;
}

static int32_t whole_at(const Tensor *t, int64_t i) {
    assert_int_equal(t->dtype, DT_I32);
    return ((const int32_t *)t->data)[i];
}

/* Calls `check` on every mask of the fixture. */
static void each_mask(void (*check)(const char *name, uint8_t *mask, int height, int width)) {
    int seen = 0;
    for (int64_t i = 0; i < safe_count(golden); i++) {
        const char *name = safe_at(golden, i)->name;
        if (strncmp(name, "mask.", 5) != 0) continue;
        Tensor t = golden_tensor("%s", name);
        check(name + 5, bytes_of(&t), (int)t.dim[0], (int)t.dim[1]);
        mem_free(t.data);
        seen++;
    }
    assert_true(seen > 30);
}

static void check_box(const char *name, uint8_t *mask, int height, int width) {
    Tensor want = golden_tensor("box.%s", name);
    const MaskBox b = mask_box(mask, height, width);
    const double got[] = {b.x0, b.y0, b.x1, b.y1};
    for (int k = 0; k < 4; k++)
        if (got[k] != whole_at(&want, k)) fail_msg("%s: corner %d is %g", name, k, got[k]);
    mem_free(want.data);
}

static void test_box(void **state) {
    (void)state;
    each_mask(check_box);
}

static void check_small(const char *name, const uint8_t *mask, int height, int width, int area, bool holes) {
    Error e;
    char format[40];
    const size_t pixels = (size_t)height * (size_t)width;
    uint8_t *got = mem_get(pixels);
    bool changed;
    memcpy(got, mask, pixels);
    assert_true(mask_remove_small(got, height, width, area, holes, &changed, &e));
    snprintf(format, sizeof format, "%s%d.%%s", holes ? "holes" : "islands", area);
    Tensor want = golden_tensor(format, name);
    snprintf(format, sizeof format, "%s%d.told.%%s", holes ? "holes" : "islands", area);
    Tensor told = golden_tensor(format, name);
    if (memcmp(got, bytes_of(&want), pixels) != 0) fail_msg("%s: other pixels in %s", name, want.name);
    if (changed != (whole_at(&told, 0) != 0)) fail_msg("%s: tells %d of %d", name, changed, area);
    mem_free(want.data);
    mem_free(told.data);
    mem_free(got);
}

static void check_smalls(const char *name, uint8_t *mask, int height, int width) {
    for (int i = 0; i < 4; i++) check_small(name, mask, height, width, i < 2 ? 3 : 30, i % 2);
}

static void test_remove_small(void **state) {
    (void)state;
    each_mask(check_smalls);
}

static void check_centre(const char *name, uint8_t *mask, int height, int width) {
    Error e;
    int x = -1, y = -1;
    if (mask_area(mask, (int64_t)height * width) == 0) {
        assert_false(mask_centre(mask, height, width, &x, &y, &e));
        assert_int_equal(e.code, ERROR_VALUE);
        return;
    }
    assert_true(mask_centre(mask, height, width, &x, &y, &e));
    Tensor want = golden_tensor("centre.%s", name);
    if (x != whole_at(&want, 0) || y != whole_at(&want, 1))
        fail_msg("%s: centre %d, %d instead of %d, %d", name, x, y, whole_at(&want, 0), whole_at(&want, 1));
    mem_free(want.data);
}

static void test_centre(void **state) {
    (void)state;
    each_mask(check_centre);
}

/* Squared distance to the nearest pixel outside, looking at all of them. */
static int plain_distance(const uint8_t *mask, int h, int w, int x, int y) {
    int least = 1 << 30;
    for (int v = -1; v <= h; v++)
        for (int u = -1; u <= w; u++) {
            const bool inside = u >= 0 && v >= 0 && u < w && v < h && mask[v * w + u];
            const int d = (u - x) * (u - x) + (v - y) * (v - y);
            if (!inside && d < least) least = d;
        }
    return least;
}

static void test_centre_plain(void **state) {
    (void)state;
    for (uint32_t round = 0; round < 200; round++) {
        Error e;
        uint8_t mask[17 * 23];
        const int h = 1 + (int)(round % 17), w = 1 + (int)(round * 7 % 23);
        int best = 0, at = -1, x = 0, y = 0;
        for (int i = 0; i < h * w; i++) {
            uint32_t word[4];
            rng_philox((uint32_t[4]){round, (uint32_t)i, 0, 0}, (uint32_t[2]){5, 6}, word);
            mask[i] = word[0] % 16 >= round % 6;
        }
        for (int i = 0; i < h * w; i++) {
            const int d = mask[i] ? plain_distance(mask, h, w, i % w, i / w) : 0;
            if (d > best) best = d, at = i;
        }
        if (at < 0) continue;
        assert_true(mask_centre(mask, h, w, &x, &y, &e));
        assert_int_equal(y * w + x, at);
    }
}

static void test_boundary(void **state) {
    (void)state;
    int seen = 0;
    for (int64_t i = 0; i < safe_count(golden); i++) {
        const char *name = safe_at(golden, i)->name;
        if (strncmp(name, "boundary", 8) != 0) continue;
        Error e;
        char *pair;
        double iou;
        const double ratio = strtod(name + 8, &pair), want = golden_number(golden, name);
        Tensor a = golden_tensor("mask.%s", pair + 1);
        char other[100];
        snprintf(other, sizeof other, "%.*s1", (int)strlen(pair + 1) - 1, pair + 1);
        Tensor b = golden_tensor("mask.%s", other);
        assert_true(
            mask_boundary_iou(bytes_of(&a), bytes_of(&b), (int)a.dim[0], (int)a.dim[1], ratio, &iou, &e));
        if (fabs(iou - want) > 1e-6) fail_msg("%s: %.8f instead of %.8f", name, iou, want);
        mem_free(a.data);
        mem_free(b.data);
        seen++;
    }
    assert_int_equal(seen, 20);
}

static void test_iou(void **state) {
    (void)state;
    Error e;
    const uint8_t a[] = {1, 1, 0, 0, 0, 1}, b[] = {0, 1, 1, 0, 0, 1}, none[6] = {0};
    double iou = 0;
    assert_true(mask_iou(a, b, 6) == 0.5);
    assert_true(mask_iou(a, none, 6) == 0);
    assert_true(mask_iou(none, none, 6) == 1);
    assert_int_equal(mask_area(a, 6), 3);
    assert_true(mask_boundary_iou(none, none, 2, 3, 0.02, &iou, &e));
    assert_true(iou == 1);
}

static void check_nms(int number, double limit) {
    Error e;
    char name[40];
    snprintf(name, sizeof name, "nms%d.boxes", number);
    Tensor boxes = golden_read(golden, name);
    snprintf(name, sizeof name, "nms%d.scores", number);
    Tensor scores = golden_read(golden, name);
    snprintf(name, sizeof name, "nms%d.keep%.1f", number, limit);
    Tensor want = golden_read(golden, name);
    const int64_t n = boxes.dim[0];
    MaskBox box[400];
    double score[400];
    int64_t keep[400];
    assert_true(n <= 400);
    for (int64_t i = 0; i < n; i++) {
        box[i] = (MaskBox){tensor_at(&boxes, 4 * i), tensor_at(&boxes, 4 * i + 1),
                           tensor_at(&boxes, 4 * i + 2), tensor_at(&boxes, 4 * i + 3)};
        score[i] = (double)tensor_at(&scores, i);
    }
    assert_int_equal(mask_nms(box, score, n, limit, keep, &e), want.dim[0]);
    for (int64_t i = 0; i < want.dim[0]; i++) assert_int_equal(keep[i], whole_at(&want, i));
    mem_free(boxes.data);
    mem_free(scores.data);
    mem_free(want.data);
}

static void test_nms(void **state) {
    (void)state;
    for (int i = 0; i < 3; i++) {
        check_nms(i, 0.3);
        check_nms(i, 0.7);
    }
    /* Of equal scores the first stays; empty boxes overlap nothing. */
    Error e;
    int64_t keep[4];
    const MaskBox box[4] = {{0, 0, 9, 9}, {0, 0, 9, 9}, {2, 2, 2, 2}, {2, 2, 2, 2}};
    assert_int_equal(mask_nms(box, (double[]){1, 1, 1, 1}, 4, 0.5, keep, &e), 3);
    assert_int_equal(keep[0], 0);
    assert_int_equal(keep[1], 2);
    assert_int_equal(mask_nms(box, NULL, 0, 0.5, keep, &e), 0);
}

static void test_memory(void **state) {
    (void)state;
    Error e;
    const uint8_t mask[] = {1, 0, 1, 1};
    uint8_t changed_mask[] = {1, 0, 1, 1};
    int x, y;
    bool changed;
    double iou;
    int64_t keep[1];
    const MaskBox box = {0, 0, 1, 1};
    for (int i = 0; i < 5; i++) {
        const uint64_t live = mem_stat().live;
        mem_fail_after(i == 4 ? 1 : 0);
        if (i == 0) assert_false(mask_boundary_iou(mask, mask, 2, 2, 0.02, &iou, &e));
        if (i == 1) assert_false(mask_remove_small(changed_mask, 2, 2, 3, true, &changed, &e));
        if (i == 2) assert_int_equal(mask_nms(&box, (double[]){1}, 1, 0.5, keep, &e), -1);
        if (i >= 3) assert_false(mask_centre(mask, 2, 2, &x, &y, &e));
        mem_fail_after(-1);
        assert_int_equal(e.code, ERROR_MEMORY);
        assert_int_equal(mem_stat().live, live);
    }
}

int main(void) {
    Error e;
    if (!safe_open(&golden, GOLDEN, &e)) {
        fprintf(stderr, "%s\n", e.text);
        return 1;
    }
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_box),      cmocka_unit_test(test_remove_small),
        cmocka_unit_test(test_centre),   cmocka_unit_test(test_centre_plain),
        cmocka_unit_test(test_boundary), cmocka_unit_test(test_iou),
        cmocka_unit_test(test_nms),      cmocka_unit_test(test_memory),
    };
    const int failed = cmocka_run_group_tests(tests, NULL, NULL);
    safe_close(golden);
    return failed;
}
