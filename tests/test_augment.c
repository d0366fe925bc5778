/* Augmentation: the bytes Pillow gives for each operation (tests/golden), and the laws of crops, flips,
 * erasing and mixing. */
#include "core/safetensors.h"
#include "data/affine.h"
#include "data/augment.h"
#include "data/mix.h"
#include "data/tone.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define TONES  "tests/golden/tones_pillow.safetensors"
#define RESIZE "tests/golden/resize_pillow.safetensors"

static DataSettings standard_settings(void) {
    static const char text[] = "{}";
    Error e;
    Recipe *r = NULL;
    DataSettings s;
    if (!recipe_parse(&r, "t.json", text, 2, NULL, 0, &e) || !recipe_bind(r, &data_table, &s, &e))
        fail_msg("%s", e.text);
    recipe_close(r);
    return s;
}

static SafeFile *open_golden(const char *path) {
    Error e;
    SafeFile *f = NULL;
    if (!safe_open(&f, path, &e)) fail_msg("%s", e.text);
    return f;
}

static void read_bytes(const SafeFile *f, const char *name, void *out, size_t size) {
    Error e;
    const SafeEntry *x = safe_find(f, name);
    if (!x) fail_msg("no %s", name);
    if (!safe_read_raw(f, x, out, size, &e)) fail_msg("%s", e.text);
}

static void read_image(const SafeFile *f, const SafeEntry *x, Image *im) {
    Error e;
    if (!image_reserve(im, (int)x->dim[1], (int)x->dim[0], &e)) fail_msg("%s", e.text);
    if (!safe_read_raw(f, x, im->pixel, x->size, &e)) fail_msg("%s", e.text);
}

/* ------------------------------------------------------------------------------------------ tones --- */

static bool by_matrix(Image *im, Image *other, const double m[6], Error *e) {
    static const uint8_t fill[3] = {124, 116, 104};
    if (!affine_run(other, im, m, fill, e)) return false;
    Image t = *im;
    *im = *other;
    *other = t;
    return true;
}

static bool apply(const char *name, double v, Image *im, Image *other, Error *e) {
    double m[6] = {1, 0, 0, 0, 1, 0};
    if (strcmp(name, "autocontrast") == 0) return tone_autocontrast(im), true;
    if (strcmp(name, "equalize") == 0) return tone_equalize(im), true;
    if (strcmp(name, "invert") == 0) return tone_invert(im), true;
    if (strcmp(name, "posterize") == 0) return tone_posterize(im, (int)v), true;
    if (strcmp(name, "solarize") == 0) return tone_solarize(im, (int)v), true;
    if (strcmp(name, "solarize_add") == 0) return tone_solarize_add(im, (int)v), true;
    if (strcmp(name, "saturation") == 0) return tone_saturation(im, v), true;
    if (strcmp(name, "contrast") == 0) return tone_contrast(im, v), true;
    if (strcmp(name, "brightness") == 0) return tone_brightness(im, v), true;
    if (strcmp(name, "sharpness") == 0) return tone_sharpness(im, v, other, e);
    if (strcmp(name, "rotate") == 0) affine_rotation(m, v, im->width, im->height);
    if (strcmp(name, "shear_x") == 0) m[1] = v;
    if (strcmp(name, "shear_y") == 0) m[3] = v;
    if (strcmp(name, "shift_x") == 0) m[2] = v;
    if (strcmp(name, "shift_y") == 0) m[5] = v;
    return by_matrix(im, other, m, e);
}

static void test_tones_are_pillows(void **state) {
    (void)state;
    SafeFile *f = open_golden(TONES);
    Image im = {0}, other = {0}, wanted = {0};
    int seen = 0;
    for (int64_t i = 0; i < safe_count(f); i++) {
        const SafeEntry *x = safe_at(f, i);
        char picture[16], operation[32], source[32];
        double value;
        Error e;
        if (sscanf(x->name, "%15[^.].%31[^.].%lf", picture, operation, &value) != 3) continue;
        snprintf(source, sizeof source, "%s.source", picture);
        read_image(f, safe_find(f, source), &im);
        read_image(f, x, &wanted);
        if (!apply(operation, value, &im, &other, &e)) fail_msg("%s", e.text);
        assert_int_equal(im.width, wanted.width);
        for (int k = 0; k < im.width * im.height * 3; k++)
            if (im.pixel[k] != wanted.pixel[k])
                fail_msg("%s: pixel (%d, %d) channel %d is %d, Pillow has %d", x->name, k / 3 % im.width,
                         k / 3 / im.width, k % 3, im.pixel[k], wanted.pixel[k]);
        seen++;
    }
    assert_true(seen > 30);
    image_free(&im);
    image_free(&other);
    image_free(&wanted);
    safe_close(f);
}

/* -------------------------------------------------------------------------------------- geometry --- */

static void test_evaluation_is_torchvisions(void **state) {
    (void)state;
    SafeFile *f = open_golden(RESIZE);
    DataSettings set = standard_settings();
    Augment a = augment_of(&set, 64, false);
    AugmentScratch scratch = {0};
    Image coffee = {0}, cut = {0}, wanted = {0};
    float *out = mem_get(3 * 64 * 64 * sizeof *out);
    read_image(f, safe_find(f, "source.coffee"), &coffee);
    static const char *const name[] = {"lying", "upright"};
    for (int i = 0; i < 2; i++) {
        char key[64];
        int32_t box[4];
        Error e;
        snprintf(key, sizeof key, "eval.%s.box", name[i]);
        read_bytes(f, key, box, sizeof box);
        snprintf(key, sizeof key, "eval.%s.out", name[i]);
        read_image(f, safe_find(f, key), &wanted);
        assert_true(image_reserve(&cut, box[2] - box[0], box[3] - box[1], &e));
        for (int y = 0; y < cut.height; y++)
            memcpy(cut.pixel + (size_t)y * (size_t)cut.width * 3,
                   coffee.pixel + ((size_t)(box[1] + y) * (size_t)coffee.width + (size_t)box[0]) * 3,
                   (size_t)cut.width * 3);
        AugmentSource from = {.name = name[i], .decoded = &cut};
        int32_t seen[2];
        if (!augment_run(&a, &scratch, &from, rng_open(0, RNG_AUGMENT, 0, 0), out, seen, &e))
            fail_msg("%s", e.text);
        assert_int_equal(seen[0], cut.height);
        assert_int_equal(seen[1], cut.width);
        for (int k = 0; k < 64 * 64; k++)
            for (int c = 0; c < 3; c++) {
                float v = ((float)wanted.pixel[3 * k + c] / 255.0f - (float)set.mean[c]) / (float)set.std[c];
                if (out[c * 64 * 64 + k] != v) fail_msg("%s: pixel %d channel %d", name[i], k, c);
            }
    }
    mem_free(out);
    image_free(&coffee);
    image_free(&cut);
    image_free(&wanted);
    augment_scratch_free(&scratch);
    safe_close(f);
}

static void test_crops_stay_inside(void **state) {
    (void)state;
    DataSettings set = standard_settings();
    Rng r = rng_open(7, RNG_TEST, 0, 0);
    double area = 0.0;
    int wide = 0, rounds = 20000;
    set.crop_min = 0.08;
    for (int i = 0; i < rounds; i++) {
        int w = 1 + (int)rng_below(&r, i % 2 ? 30 : 900), h = 1 + (int)rng_below(&r, i % 3 ? 30 : 900);
        for (int form = 0; form < 2; form++) {
            ImageBox b = form ? augment_crop_single(&r, &set, w, h) : augment_crop_random(&r, &set, w, h);
            assert_true(b.x >= 0 && b.y >= 0 && b.width > 0 && b.height > 0);
            assert_true(b.x + b.width <= w && b.y + b.height <= h);
        }
        ImageBox b = augment_crop_random(&r, &set, 640, 480);
        double ratio = (double)b.width / b.height;
        assert_true(ratio > 0.74 && ratio < 1.35);
        area += (double)b.width * b.height / (640.0 * 480.0) / rounds;
        wide += ratio > 1.0;
    }
    /* A large upright box does not fit a lying picture: 0.432 and 0.578 in a simulation of the rule. */
    assert_true(fabs(area - 0.432) < 0.01);
    assert_true(fabs((double)wide / rounds - 0.578) < 0.02);
}

/* A picture in which every pixel tells where it is. */
static void ramp_image(Image *im, int width, int height) {
    Error e;
    if (!image_reserve(im, width, height, &e)) fail_msg("%s", e.text);
    for (int i = 0; i < width * height; i++) {
        im->pixel[3 * i] = (uint8_t)(255 * (i % width) / width);
        im->pixel[3 * i + 1] = (uint8_t)(255 * (i / width) / height);
        im->pixel[3 * i + 2] = (uint8_t)(i * 37);
    }
}

static void run(const Augment *a, AugmentScratch *s, const Image *im, Rng rng, float *out) {
    Error e;
    AugmentSource from = {.name = "ramp", .decoded = im};
    if (!augment_run(a, s, &from, rng, out, NULL, &e)) fail_msg("%s", e.text);
}

static void test_steps_draw_independently(void **state) {
    (void)state;
    enum { SIZE = 24, N = 3 * SIZE * SIZE };
    DataSettings set = standard_settings();
    AugmentScratch scratch = {0};
    Image im = {0};
    float plain[N], flipped[N], erased[N];
    ramp_image(&im, 60, 50);
    for (uint64_t id = 0; id < 20; id++) {
        Rng rng = rng_open(3, RNG_AUGMENT, 1, id);
        set.hflip = 0.0, set.erase = 0.0;
        Augment a = augment_of(&set, SIZE, true);
        run(&a, &scratch, &im, rng, plain);
        set.hflip = 1.0;
        run(&a, &scratch, &im, rng, flipped);
        for (int c = 0; c < 3; c++)
            for (int y = 0; y < SIZE; y++)
                for (int x = 0; x < SIZE; x++)
                    assert_true(plain[(c * SIZE + y) * SIZE + x] ==
                                flipped[(c * SIZE + y) * SIZE + SIZE - 1 - x]);
        set.hflip = 0.0, set.erase = 1.0;
        run(&a, &scratch, &im, rng, erased);
        int same = 0;
        for (int i = 0; i < N; i++) same += plain[i] == erased[i];
        assert_true(same >= N * 6 / 10 && same < N);
    }
    image_free(&im);
    augment_scratch_free(&scratch);
}

/* RandAugment and jitter: the same draws give the same bytes; every operation comes up; sizes stay. */
static void test_randaugment_repeats(void **state) {
    (void)state;
    DataSettings set = standard_settings();
    set.randaugment = 9.0;
    static const uint8_t fill[3] = {124, 116, 104};
    Image im = {0}, other = {0}, first = {0}, source = {0};
    Error e;
    ramp_image(&source, 40, 31);
    size_t size = 40 * 31 * 3;
    int changed = 0;
    for (uint64_t id = 0; id < 300; id++) {
        for (int again = 0; again < 2; again++) {
            Rng r = rng_open(4, RNG_TEST, 0, id);
            assert_true(image_reserve(&im, 40, 31, &e));
            memcpy(im.pixel, source.pixel, size);
            if (!augment_randaugment(&r, &set, fill, &im, &other, &e)) fail_msg("%s", e.text);
            augment_jitter(&r, 0.4, &im);
            assert_int_equal(im.width, 40);
            if (!again) {
                assert_true(image_reserve(&first, 40, 31, &e));
                memcpy(first.pixel, im.pixel, size);
            }
        }
        assert_memory_equal(first.pixel, im.pixel, size);
        changed += memcmp(source.pixel, im.pixel, size) != 0;
    }
    assert_true(changed > 290);
    image_free(&im);
    image_free(&other);
    image_free(&first);
    image_free(&source);
}

static void test_erase_is_one_box_of_noise(void **state) {
    (void)state;
    enum { SIZE = 64 };
    float x[3 * SIZE * SIZE];
    double sum = 0.0, squares = 0.0, share = 0.0;
    int64_t noise = 0;
    for (uint64_t id = 0; id < 200; id++) {
        Rng r = rng_open(5, RNG_TEST, 0, id);
        for (int i = 0; i < 3 * SIZE * SIZE; i++) x[i] = 100.0f;
        augment_erase(&r, x, SIZE);
        int left = SIZE, right = -1, top = SIZE, bottom = -1, count = 0;
        for (int i = 0; i < SIZE * SIZE; i++) {
            if (x[i] == 100.0f) continue;
            assert_true(x[SIZE * SIZE + i] != 100.0f && x[2 * SIZE * SIZE + i] != 100.0f);
            int px = i % SIZE, py = i / SIZE;
            left = px < left ? px : left, right = px > right ? px : right;
            top = py < top ? py : top, bottom = py > bottom ? py : bottom;
            count++;
            sum += x[i], squares += (double)x[i] * x[i];
        }
        assert_int_equal(count, (right - left + 1) * (bottom - top + 1));
        assert_true(count > 0.018 * SIZE * SIZE && count < 0.345 * SIZE * SIZE);
        noise += count;
        share += (double)count / (SIZE * SIZE) / 200;
    }
    assert_true(fabs(sum / (double)noise) < 0.02 && fabs(squares / (double)noise - 1.0) < 0.03);
    assert_true(share > 0.14 && share < 0.21);
}

/* ------------------------------------------------------------------------------------------ mixing --- */

static void test_mix_weights(void **state) {
    (void)state;
    enum { SIZE = 20, N = 6, CLASSES = 5, EACH = 3 * SIZE * SIZE };
    DataSettings set = standard_settings();
    set.mixup = 0.8, set.cutmix = 1.0, set.smoothing = 0.1;
    float *image = mem_get(N * EACH * sizeof *image), target[N * CLASSES];
    static const int32_t label[N] = {0, 3, 2, 2, 4, 1};
    int cuts = 0, rounds = 400;
    for (int64_t first = 0; first < rounds; first++) {
        Mix m = mix_draw(&set, 1, 0, first, SIZE);
        Mix again = mix_draw(&set, 1, 0, first, SIZE);
        assert_true(m.lambda == again.lambda && m.cut == again.cut && m.left == again.left);
        assert_true(m.lambda >= 0.0 && m.lambda <= 1.0);
        cuts += m.cut;
        for (int i = 0; i < N * EACH; i++) image[i] = (float)(i / EACH);
        mix_images(&m, image, N, SIZE);
        mix_targets(&m, set.smoothing, label, target, N, CLASSES);
        for (int i = 0; i < N; i++) {
            double sum = 0.0, mean = 0.0;
            for (int k = 0; k < CLASSES; k++) sum += target[i * CLASSES + k];
            assert_true(fabs(sum - 1.0) < 1e-5);
            for (int k = 0; k < EACH; k++) mean += image[i * EACH + k] / EACH;
            assert_true(fabs(mean - (m.lambda * i + (1.0 - m.lambda) * (N - 1 - i))) < 1e-4);
        }
        assert_true(fabs(target[label[0]] - (0.9 * m.lambda + 0.02)) < 1e-5);
        assert_true(fabs(target[2 * CLASSES + 2] - 0.92) < 1e-5); /* both partners have class 2 */
    }
    assert_true(cuts > rounds / 2 - 50 && cuts < rounds / 2 + 50);
    set.mix_prob = 0.0;
    assert_false(mix_wanted(&set));
    assert_true(mix_draw(&set, 1, 0, 3, SIZE).lambda == 1.0);
    mem_free(image);
}

static void test_settings_that_contradict(void **state) {
    (void)state;
    Error e;
    DataSettings set = standard_settings();
    assert_true(data_settings_check(&set, &e));
    set.crop_min = 0.5, set.crop_max = 0.4;
    assert_false(data_settings_check(&set, &e));
    assert_string_equal(e.text, "data.crop_min is 0.5, above data.crop_max, which is 0.4");
}

int main(void) {
    const struct CMUnitTest test[] = {
        cmocka_unit_test(test_tones_are_pillows),   cmocka_unit_test(test_evaluation_is_torchvisions),
        cmocka_unit_test(test_crops_stay_inside),   cmocka_unit_test(test_steps_draw_independently),
        cmocka_unit_test(test_randaugment_repeats), cmocka_unit_test(test_erase_is_one_box_of_noise),
        cmocka_unit_test(test_mix_weights),         cmocka_unit_test(test_settings_that_contradict),
    };
    return cmocka_run_group_tests(test, NULL, NULL);
}
