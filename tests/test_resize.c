/* Resizing: to the bit what Pillow gave (tests/golden/resize_pillow.safetensors), and its laws. */
#include "core/rng.h"
#include "core/safetensors.h"
#include "data/resize.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define GOLDEN "tests/golden/resize_pillow.safetensors"

static SafeFile *golden;
static Resizer resizer;

static const SafeEntry *entry_of(const char *name) {
    const SafeEntry *x = safe_find(golden, name);
    if (!x) fail_msg("%s has no %s", GOLDEN, name);
    return x;
}

static void read_bytes(const char *name, void *out, size_t size) {
    Error e;
    if (!safe_read_raw(golden, entry_of(name), out, size, &e)) fail_msg("%s", e.text);
}

static void read_image(Image *im, const char *name) {
    Error e;
    const SafeEntry *x = entry_of(name);
    assert_int_equal(x->type, SAFE_U8);
    if (!image_reserve(im, (int)x->dim[1], (int)x->dim[0], &e)) fail_msg("%s", e.text);
    read_bytes(name, im->pixel, x->size);
}

static void expect_golden(ResizeView from, ResizeTo to, const char *name) {
    Error e;
    Image wanted = {0}, got = {0};
    read_image(&wanted, name);
    if (!resize_run(&resizer, &got, from, &to, &e)) fail_msg("%s", e.text);
    assert_int_equal(got.width, wanted.width);
    assert_int_equal(got.height, wanted.height);
    for (int i = 0; i < got.width * got.height * 3; i++)
        if (got.pixel[i] != wanted.pixel[i])
            fail_msg("%s: pixel (%d, %d) channel %d is %d, Pillow has %d", name, i / 3 % got.width,
                     i / 3 / got.width, i % 3, got.pixel[i], wanted.pixel[i]);
    image_free(&wanted);
    image_free(&got);
}

static const char *const filter_name[] = {"bilinear", "bicubic"};

static void test_golden_whole(void **state) {
    (void)state;
    int seen = 0;
    for (int64_t i = 0; i < safe_count(golden); i++) {
        const SafeEntry *x = safe_at(golden, i);
        char kind[16], picture[16], source[32];
        int width, height;
        if (sscanf(x->name, "pillow.%15[^.].%15[^.].%dx%d", kind, picture, &width, &height) != 4) continue;
        Image from = {0};
        snprintf(source, sizeof source, "source.%s", picture);
        read_image(&from, source);
        ResizeView view = resize_view(&from);
        ResizeFilter filter = strcmp(kind, "bicubic") == 0 ? RESIZE_BICUBIC : RESIZE_BILINEAR;
        expect_golden(view, resize_whole(view, width, height, filter), x->name);
        image_free(&from);
        seen++;
    }
    assert_true(seen >= 20);
}

static void test_golden_crops_and_boxes(void **state) {
    (void)state;
    Image from = {0};
    int32_t crop[3][6];
    float box[2][6];
    char name[64];
    read_image(&from, "source.coffee");
    read_bytes("pillow.crops", crop, sizeof crop);
    read_bytes("pillow.boxes", box, sizeof box);
    for (int filter = 0; filter < 2; filter++) {
        for (int i = 0; i < 3; i++) {
            const int32_t *c = crop[i];
            ResizeView view = resize_view_part(&from, (ImageBox){c[0], c[1], c[2], c[3]});
            snprintf(name, sizeof name, "pillow.%s.crop%d", filter_name[filter], i);
            expect_golden(view, resize_whole(view, c[4], c[5], (ResizeFilter)filter), name);
        }
        for (int i = 0; i < 2; i++) {
            const float *b = box[i];
            ResizeTo to = resize_whole(resize_view(&from), (int)b[4], (int)b[5], (ResizeFilter)filter);
            to.left = b[0], to.top = b[1], to.right = b[2], to.bottom = b[3];
            snprintf(name, sizeof name, "pillow.%s.box%d", filter_name[filter], i);
            expect_golden(resize_view(&from), to, name);
        }
    }
    image_free(&from);
}

/* A picture of noise in which every vector load past the end would meet other values. */
static void noise_image(Image *im, int width, int height, Rng *r) {
    Error e;
    if (!image_reserve(im, width, height, &e)) fail_msg("%s", e.text);
    for (size_t i = 0; i < (size_t)width * (size_t)height * 3; i++) im->pixel[i] = (uint8_t)rng_u32(r);
}

/* Vectors against the plain loops, on sizes with every remainder. */
static void test_vectors_are_exact(void **state) {
    (void)state;
    Rng r = rng_open(1, RNG_TEST, 0, 0);
    Image from = {0}, got = {0};
    uint8_t *rows = mem_get(4 << 20), *plain = mem_get(4 << 20);
    for (int round = 0; round < 60; round++) {
        Error e;
        int w = 1 + (int)rng_below(&r, round % 5 ? 90 : 700),
            h = 1 + (int)rng_below(&r, round % 3 ? 60 : 500);
        noise_image(&from, w, h, &r);
        ResizeView view = resize_view(&from);
        int ow = 1 + (int)rng_below(&r, 130), oh = 1 + (int)rng_below(&r, 130);
        ResizeTo to = resize_whole(view, ow, oh, (ResizeFilter)(round % 2));
        if (!resize_run(&resizer, &got, view, &to, &e)) fail_msg("%s", e.text);
        size_t row = (size_t)ow * 3;
        if (oh < h && h - oh > 2 * (w - ow)) { /* the order is part of the promise */
            resize_down_plain(&resizer.y, rows, view.stride, view.pixel, view.stride, 0, w * 3);
            resize_across_plain(&resizer.x, plain, row, rows, view.stride, oh);
        } else {
            resize_across_plain(&resizer.x, rows, row, view.pixel, view.stride, h);
            resize_down_plain(&resizer.y, plain, row, rows, row, 0, (int)row);
        }
        if (memcmp(plain, got.pixel, row * (size_t)oh) != 0)
            fail_msg("%d x %d to %d x %d differs", w, h, ow, oh);
    }
    mem_free(rows);
    mem_free(plain);
    image_free(&from);
    image_free(&got);
}

/* A window of the result is that window of the whole result. */
static void test_part_is_part_of_whole(void **state) {
    (void)state;
    Rng r = rng_open(2, RNG_TEST, 0, 0);
    Image from = {0}, whole = {0}, part = {0};
    noise_image(&from, 211, 173, &r);
    ResizeView view = resize_view(&from);
    for (int round = 0; round < 20; round++) {
        Error e;
        ResizeTo to = resize_whole(view, 97, 66 + round * 9, RESIZE_BICUBIC);
        if (!resize_run(&resizer, &whole, view, &to, &e)) fail_msg("%s", e.text);
        int w = 1 + (int)rng_below(&r, 97), h = 1 + (int)rng_below(&r, (uint64_t)to.height);
        to.part = (ImageBox){(int)rng_below(&r, (uint64_t)(98 - w)),
                             (int)rng_below(&r, (uint64_t)(to.height - h + 1)), w, h};
        if (!resize_run(&resizer, &part, view, &to, &e)) fail_msg("%s", e.text);
        for (int y = 0; y < h; y++)
            assert_memory_equal(part.pixel + (size_t)y * (size_t)w * 3,
                                whole.pixel + ((size_t)(to.part.y + y) * 97 + (size_t)to.part.x) * 3,
                                (size_t)w * 3);
    }
    image_free(&from);
    image_free(&whole);
    image_free(&part);
}

static void test_constant_stays_constant(void **state) {
    (void)state;
    Image from = {0}, got = {0};
    Error e;
    if (!image_reserve(&from, 301, 77, &e)) fail_msg("%s", e.text);
    memset(from.pixel, 201, 301 * 77 * 3);
    for (int filter = 0; filter < 2; filter++)
        for (int size = 1; size < 600; size += 83) {
            ResizeTo to = resize_whole(resize_view(&from), size, 600 - size, (ResizeFilter)filter);
            if (!resize_run(&resizer, &got, resize_view(&from), &to, &e)) fail_msg("%s", e.text);
            for (int i = 0; i < size * (600 - size) * 3; i++) assert_int_equal(got.pixel[i], 201);
        }
    image_free(&from);
    image_free(&got);
}

static void test_steady_state_asks_for_no_memory(void **state) {
    (void)state;
    Rng r = rng_open(3, RNG_TEST, 0, 0);
    Image from = {0}, got = {0};
    Error e;
    noise_image(&from, 500, 375, &r);
    uint64_t calls = 0;
    for (int round = 0; round < 20; round++) {
        ResizeView view = resize_view_part(&from, (ImageBox){0, 0, 500 - round, 375 - 2 * round});
        ResizeTo to = resize_whole(view, 224, 224, RESIZE_BICUBIC);
        if (!resize_run(&resizer, &got, view, &to, &e)) fail_msg("%s", e.text);
        if (round == 0) calls = mem_stat().calls;
    }
    assert_int_equal(mem_stat().calls, calls);
    image_free(&from);
    image_free(&got);
}

int main(void) {
    Error e;
    if (!safe_open(&golden, GOLDEN, &e)) {
        fprintf(stderr, "%s\n", e.text);
        return 1;
    }
    const struct CMUnitTest test[] = {
        cmocka_unit_test(test_golden_whole),
        cmocka_unit_test(test_golden_crops_and_boxes),
        cmocka_unit_test(test_vectors_are_exact),
        cmocka_unit_test(test_part_is_part_of_whole),
        cmocka_unit_test(test_constant_stays_constant),
        cmocka_unit_test(test_steady_state_asks_for_no_memory),
    };
    int failed = cmocka_run_group_tests(test, NULL, NULL);
    resize_free(&resizer);
    safe_close(golden);
    return failed;
}
