/* Reading and writing images: what libjpeg and libpng hand over, orientation, and files that mean harm. */
#include "core/rng.h"
#include "data/augment.h"
#include "data/jpeg.h"
#include "data/png.h"

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

#include <jpeglib.h>
#include <png.h>

static char folder[64];

static const char *data_folder(void) {
    const char *given = getenv("LETHE_DATA");
    return given ? given : "../shared/data";
}

static const char *path_of(const char *name) {
    static char path[2][512];
    static int turn;
    turn = 1 - turn;
    snprintf(path[turn], sizeof path[turn], "%s/%s", folder, name);
    return path[turn];
}

/* A smooth picture with noise on it: compresses, but not to nothing. */
static void draw(Image *im, int width, int height) {
    Error e;
    Rng r = rng_open(1, RNG_TEST, 0, (uint64_t)(width * 10000 + height));
    if (!image_reserve(im, width, height, &e)) fail_msg("%s", e.text);
    for (int i = 0; i < width * height; i++) {
        im->pixel[3 * i] = (uint8_t)(200 * (i % width) / width + (int)(rng_u32(&r) % 32));
        im->pixel[3 * i + 1] = (uint8_t)(200 * (i / width) / height + (int)(rng_u32(&r) % 32));
        im->pixel[3 * i + 2] = (uint8_t)(100 + (int)(rng_u32(&r) % 32));
    }
}

static void encode(Bytes *out, int width, int height, int quality) {
    Error e;
    Image im = {0};
    draw(&im, width, height);
    if (!image_jpeg_encode(out, &im, quality, &e)) fail_msg("%s", e.text);
    image_free(&im);
}

static void decode(Image *out, const Bytes *b, const ImageOptions *o) {
    Error e;
    if (!image_decode(out, b->data, b->size, "memory", o, &e)) fail_msg("%s", e.text);
}

/* The decoder must refuse, with a message that begins with the name and contains `part`. */
static void expect_refusal(const uint8_t *data, size_t size, const ImageOptions *o, const char *part) {
    Error e = {0};
    Image im = {0};
    uint8_t *exact = mem_get(size ? size : 1); /* its own block, so that a sanitizer sees a read beyond */
    memcpy(exact, data, size);
    uint64_t live = mem_stat().live;
    if (image_decode(&im, exact, size, "evil.jpg", o, &e)) fail_msg("accepted; wanted: %s", part);
    image_free(&im);
    assert_int_equal(mem_stat().live, live);
    if (strncmp(e.text, "evil.jpg: ", 10) != 0 || !strstr(e.text, part) || strchr(e.text, '\n'))
        fail_msg("said: %s\nwanted: %s", e.text, part);
    mem_free(exact);
}

/* ------------------------------------------------------------------------------------ round trips --- */

static void test_png_is_exact(void **state) {
    (void)state;
    Error e;
    Image im = {0}, back = {0};
    draw(&im, 61, 37);
    if (!image_write_png(&im, path_of("a.png"), &e)) fail_msg("%s", e.text);
    if (!image_read(&back, path_of("a.png"), &image_standard, &e)) fail_msg("%s", e.text);
    assert_int_equal(back.width, 61);
    assert_int_equal(back.height, 37);
    assert_int_equal(back.channels, 3);
    assert_memory_equal(back.pixel, im.pixel, 61 * 37 * 3);
    image_free(&im);
    image_free(&back);
}

static void test_jpeg_is_near(void **state) {
    (void)state;
    Error e;
    Image im = {0}, back = {0};
    draw(&im, 61, 37);
    for (int i = 0; i < 61 * 37; i++) /* smooth, since 4:2:0 halves the resolution of colour */
        for (int c = 0; c < 3; c++) im.pixel[3 * i + c] = (uint8_t)(i % 61 * 2 + i / 61 * 2 + 20 * c);
    if (!image_write_jpeg(&im, 100, path_of("named.png"), &e)) fail_msg("%s", e.text);
    if (!image_read(&back, path_of("named.png"), &image_standard, &e))
        fail_msg("the kind is in the bytes: %s", e.text);
    double sum = 0.0;
    for (int i = 0; i < 61 * 37 * 3; i++) sum += abs(im.pixel[i] - back.pixel[i]);
    assert_true(sum / (61 * 37 * 3) < 1.0);
    image_free(&im);
    image_free(&back);
}

static void test_write_replaces_or_leaves(void **state) {
    (void)state;
    Error e = {0};
    Image im = {0};
    draw(&im, 8, 8);
    assert_false(image_write_png(&im, path_of("no/such/folder.png"), &e));
    assert_non_null(strstr(e.text, "no/such/folder.png"));
    assert_true(image_write_png(&im, path_of("twice.png"), &e));
    assert_true(image_write_png(&im, path_of("twice.png"), &e));
    char command[128];
    snprintf(command, sizeof command, "ls %s | grep -q tmp", folder);
    assert_int_not_equal(system(command), 0); /* nothing half written stays */
    image_free(&im);
}

/* ------------------------------------------------------------------------------------------- parts --- */

static void test_part_is_the_whole(void **state) {
    (void)state;
    static const int size[][2] = {{333, 251}, {64, 48}, {17, 90}, {1, 1}, {5, 200}};
    Rng r = rng_open(2, RNG_TEST, 0, 0);
    Bytes b = {0};
    Image whole = {0}, part = {0};
    for (int k = 0; k < COUNT(size); k++) {
        int w = size[k][0], h = size[k][1];
        encode(&b, w, h, 90);
        decode(&whole, &b, &image_standard);
        for (int round = 0; round < 60; round++) {
            Error e;
            ImagePart at;
            ImageBox box = {.width = 1 + (int)rng_below(&r, (uint64_t)w),
                            .height = 1 + (int)rng_below(&r, (uint64_t)h)};
            box.x = (int)rng_below(&r, (uint64_t)(w - box.width + 1));
            box.y = (int)rng_below(&r, (uint64_t)(h - box.height + 1));
            if (!image_decode_part(&part, &at, b.data, b.size, "m", box, 1, &image_standard, &e))
                fail_msg("%s", e.text);
            assert_int_equal(at.shrink, 1);
            assert_true(at.x <= box.x && at.y <= box.y);
            assert_true(at.x + part.width >= box.x + box.width && at.y + part.height >= box.y + box.height);
            for (int y = box.y; y < box.y + box.height; y++)
                assert_memory_equal(
                    part.pixel + ((size_t)(y - at.y) * (size_t)part.width + (size_t)(box.x - at.x)) * 3,
                    whole.pixel + ((size_t)y * (size_t)w + (size_t)box.x) * 3, (size_t)box.width * 3);
        }
    }
    bytes_free(&b);
    image_free(&whole);
    image_free(&part);
}

static void test_shrunk_part_shows_the_same(void **state) {
    (void)state;
    Bytes b = {0};
    Image whole = {0}, part = {0};
    encode(&b, 500, 375, 95);
    decode(&whole, &b, &image_standard);
    for (int most = 1; most < 20; most++) {
        Error e;
        ImagePart at;
        ImageBox box = {130, 100, 320, 240};
        if (!image_decode_part(&part, &at, b.data, b.size, "m", box, most, &image_standard, &e))
            fail_msg("%s", e.text);
        assert_int_equal(at.shrink, most >= 8 ? 8 : most >= 4 ? 4 : most >= 2 ? 2 : 1);
        assert_true(at.x * at.shrink <= box.x && (at.x + part.width) * at.shrink >= box.x + box.width);
        assert_true(at.y * at.shrink <= box.y && (at.y + part.height) * at.shrink >= box.y + box.height);
        for (int y = 0; y < part.height; y++) /* the mean of the pixels it stands for, nearly */
            for (int x = 0; x < part.width; x++) {
                int sum = 0, n = 0;
                for (int v = 0; v < at.shrink; v++)
                    for (int u = 0; u < at.shrink; u++) {
                        int sx = (at.x + x) * at.shrink + u, sy = (at.y + y) * at.shrink + v;
                        if (sx >= 500 || sy >= 375) continue;
                        sum += whole.pixel[(sy * 500 + sx) * 3];
                        n++;
                    }
                assert_true(abs(part.pixel[(y * part.width + x) * 3] - sum / (n > 0 ? n : 1)) < 24);
            }
    }
    bytes_free(&b);
    image_free(&whole);
    image_free(&part);
}

/* ------------------------------------------------------------------------------------- orientation --- */

/* An APP1 marker with the orientation, put after the first marker of b. */
static void add_exif(Bytes *b, int orientation, bool little) {
    uint8_t app[36] = {0xFF, 0xE1, 0, 34, 'E', 'x', 'i', 'f', 0, 0};
    static const uint8_t big[] = {'M', 'M', 0, 42, 0, 0, 0, 8, 0, 1, 1, 0x12, 0,
                                  3,   0,   0, 0,  1, 0, 0, 0, 0, 0, 0, 0,    0};
    static const uint8_t low[] = {'I', 'I', 42, 0, 8, 0, 0, 0, 1, 0, 0x12, 1, 3,
                                  0,   1,   0,  0, 0, 0, 0, 0, 0, 0, 0,    0, 0};
    Error e;
    memcpy(app + 10, little ? low : big, 26);
    app[10 + (little ? 18 : 19)] = (uint8_t)orientation;
    assert_true(bytes_reserve(b, b->size + 36, &e));
    memmove(b->data + 38, b->data + 2, b->size - 2);
    memcpy(b->data + 2, app, 36);
    b->size += 36;
}

static void test_orientation(void **state) {
    (void)state;
    /* Which stored corner is seen at the top left, and which at the top right (0: as stored; clockwise). */
    static const int corner[9][2] = {{0}, {0, 1}, {1, 0}, {2, 3}, {3, 2}, {0, 3}, {3, 0}, {2, 1}, {1, 2}};
    Error e;
    Bytes b = {0};
    Image plain = {0}, seen = {0}, turned = {0};
    for (int o = 1; o <= 8; o++) {
        encode(&b, 40, 30, 95);
        decode(&plain, &b, &image_standard);
        add_exif(&b, o, o % 2);
        decode(&seen, &b, &image_standard);
        assert_int_equal(seen.width, o > 4 ? 30 : 40);
        const uint8_t *stored[4] = {plain.pixel, plain.pixel + 39 * 3, plain.pixel + (30 * 40 - 1) * 3,
                                    plain.pixel + 29 * 40 * 3};
        assert_memory_equal(seen.pixel, stored[corner[o][0]], 3);
        assert_memory_equal(seen.pixel + (seen.width - 1) * 3, stored[corner[o][1]], 3);
        int back = o == 6 ? 8 : o == 8 ? 6 : o;
        assert_true(image_orient(&turned, &seen, back, &e));
        assert_memory_equal(turned.pixel, plain.pixel, 40 * 30 * 3);
        ImageOptions as_stored = image_standard;
        as_stored.orient = false;
        decode(&seen, &b, &as_stored);
        assert_memory_equal(seen.pixel, plain.pixel, 40 * 30 * 3);
        ImageInfo info = {.width = 40, .height = 30, .orientation = o};
        ImageBox all = {0, 0, o > 4 ? 30 : 40, o > 4 ? 40 : 30}, box = image_box_stored(&info, all);
        assert_true(box.x == 0 && box.y == 0 && box.width == 40 && box.height == 30);
    }
    bytes_free(&b);
    image_free(&plain);
    image_free(&seen);
    image_free(&turned);
}

static void test_broken_exif_is_passed_over(void **state) {
    (void)state;
    Bytes b = {0};
    Image im = {0};
    for (int at = 10; at < 38; at++) {
        encode(&b, 16, 12, 90);
        add_exif(&b, 1, at % 2);
        b.data[at] = 0xFE;
        decode(&im, &b, &image_standard); /* some way up, but read */
        assert_int_equal(im.width + im.height, 28);
    }
    bytes_free(&b);
    image_free(&im);
}

/* ----------------------------------------------------------------------------------- kinds of colour --- */

/* A flat JPEG of n components, one colour. */
static void encode_flat(Bytes *out, const uint8_t *colour, int n, J_COLOR_SPACE space, bool progressive) {
    struct jpeg_compress_struct c;
    struct jpeg_error_mgr errors;
    unsigned char *memory = NULL;
    unsigned long size = 0;
    Error e;
    uint8_t row[32 * 4];
    c.err = jpeg_std_error(&errors);
    jpeg_create_compress(&c);
    jpeg_mem_dest(&c, &memory, &size);
    c.image_width = 32, c.image_height = 24, c.input_components = n, c.in_color_space = space;
    jpeg_set_defaults(&c);
    jpeg_set_quality(&c, 100, TRUE);
    if (progressive) jpeg_simple_progression(&c);
    jpeg_start_compress(&c, TRUE);
    for (int x = 0; x < 32 * n; x++) row[x] = colour[x % n];
    for (int y = 0; y < 24; y++) {
        JSAMPROW p = row;
        jpeg_write_scanlines(&c, &p, 1);
    }
    jpeg_finish_compress(&c);
    jpeg_destroy_compress(&c);
    out->size = 0;
    assert_true(bytes_append(out, memory, size, &e));
    free(memory);
}

static void expect_flat(const Image *im, int r, int g, int b) {
    for (int i = 0; i < im->width * im->height; i++) {
        const uint8_t *p = im->pixel + 3 * i;
        if (abs(p[0] - r) > 2 || abs(p[1] - g) > 2 || abs(p[2] - b) > 2)
            fail_msg("pixel %d is %d %d %d, wanted %d %d %d", i, p[0], p[1], p[2], r, g, b);
    }
}

static void test_jpeg_colours(void **state) {
    (void)state;
    Bytes b = {0};
    Image im = {0};
    encode_flat(&b, (const uint8_t[]){77}, 1, JCS_GRAYSCALE, false);
    decode(&im, &b, &image_standard);
    expect_flat(&im, 77, 77, 77);
    encode_flat(&b, (const uint8_t[]){200, 100, 50}, 3, JCS_RGB, true);
    decode(&im, &b, &image_standard);
    expect_flat(&im, 200, 100, 50);
    encode_flat(&b, (const uint8_t[]){200, 100, 50, 255}, 4, JCS_CMYK, false);
    decode(&im, &b, &image_standard);
    expect_flat(&im, 200, 100, 50);
    encode_flat(&b, (const uint8_t[]){200, 100, 50, 128}, 4, JCS_CMYK, false);
    decode(&im, &b, &image_standard);
    expect_flat(&im, 100, 50, 25);
    bytes_free(&b);
    image_free(&im);
}

static void put(png_structp png, png_bytep from, size_t n) {
    Error e;
    assert_true(bytes_append(png_get_io_ptr(png), from, n, &e));
}

/* A 16 x 8 PNG of one value everywhere; `row` is one of its rows as stored. */
static void encode_png(Bytes *out, int type, int depth, const uint8_t *row, bool interlaced) {
    png_structp png = png_create_write_struct(PNG_LIBPNG_VER_STRING, NULL, NULL, NULL);
    png_infop info = png_create_info_struct(png);
    if (setjmp(png_jmpbuf(png))) fail_msg("libpng");
    out->size = 0;
    png_set_write_fn(png, out, put, NULL);
    png_set_IHDR(png, info, 16, 8, depth, type, interlaced ? PNG_INTERLACE_ADAM7 : PNG_INTERLACE_NONE, 0, 0);
    png_color palette[4] = {{1, 2, 3}, {10, 20, 30}, {200, 100, 50}, {0, 0, 0}};
    png_byte alpha[2] = {255, 0};
    if (type == PNG_COLOR_TYPE_PALETTE) {
        png_set_PLTE(png, info, palette, 4);
        png_set_tRNS(png, info, alpha, 2, NULL);
    }
    png_write_info(png, info);
    int passes = png_set_interlace_handling(png);
    for (int pass = 0; pass < passes; pass++)
        for (int y = 0; y < 8; y++) png_write_row(png, row);
    png_write_end(png, info);
    png_destroy_write_struct(&png, &info);
}

static void test_png_kinds(void **state) {
    (void)state;
    Bytes b = {0};
    Image im = {0};
    uint8_t row[16 * 8];
    memset(row, 0xFF, sizeof row);
    encode_png(&b, PNG_COLOR_TYPE_GRAY, 1, row, false);
    decode(&im, &b, &image_standard);
    expect_flat(&im, 255, 255, 255);
    for (int i = 0; i < 16; i++) memcpy(row + 6 * i, (const uint8_t[]){200, 1, 100, 2, 50, 255}, 6);
    encode_png(&b, PNG_COLOR_TYPE_RGB, 16, row, true);
    decode(&im, &b, &image_standard);
    expect_flat(&im, 200, 100, 50);
    for (int i = 0; i < 16; i++) memcpy(row + 4 * i, (const uint8_t[]){200, 7, 3, 255}, 4);
    encode_png(&b, PNG_COLOR_TYPE_GRAY_ALPHA, 16, row, false);
    decode(&im, &b, &image_standard);
    expect_flat(&im, 200, 200, 200);
    for (int i = 0; i < 16; i++) memcpy(row + 4 * i, (const uint8_t[]){200, 100, 50, 0}, 4);
    encode_png(&b, PNG_COLOR_TYPE_RGB_ALPHA, 8, row, true);
    decode(&im, &b, &image_standard);
    expect_flat(&im, 200, 100, 50); /* dropped, not blended */
    memset(row, 0x55, sizeof row);  /* entry 1, which is transparent */
    encode_png(&b, PNG_COLOR_TYPE_PALETTE, 2, row, false);
    decode(&im, &b, &image_standard);
    expect_flat(&im, 10, 20, 30);
    assert_int_equal(im.width, 16);
    bytes_free(&b);
    image_free(&im);
}

/* ---------------------------------------------------------------------------------------- bad files --- */

static void test_jpeg_cut_short(void **state) {
    (void)state;
    Bytes b = {0};
    Image part = {0};
    encode(&b, 320, 240, 90);
    for (int i = 1; i < 40; i++) {
        size_t size = b.size * (size_t)i / 40;
        expect_refusal(b.data, size, &image_standard,
                       size > 1000 ? "the JPEG is cut short: its data end at byte" : "");
        /* Also when only the top is asked for, which is all there. */
        Error e = {0};
        ImagePart at;
        assert_false(
            image_decode_part(&part, &at, b.data, size, "m", (ImageBox){0, 0, 8, 8}, 1, &image_standard, &e));
    }
    expect_refusal(b.data, b.size - 2, &image_standard, "cut short");
    char bytes[32];
    snprintf(bytes, sizeof bytes, "byte %zu", b.size / 2);
    expect_refusal(b.data, b.size / 2, &image_standard, bytes);
    bytes_free(&b);
    image_free(&part);
}

static void test_jpeg_damaged_inside(void **state) {
    (void)state;
    Bytes b = {0};
    encode(&b, 320, 240, 90);
    memset(b.data + b.size / 2, 0xFF, 64); /* fill bytes, then a marker where there should be none */
    b.data[b.size / 2 + 64] = JPEG_EOI;
    expect_refusal(b.data, b.size, &image_standard, "Corrupt JPEG data");
    bytes_free(&b);
}

static void test_png_cut_short(void **state) {
    (void)state;
    Error e;
    Image im = {0};
    Bytes b = {0};
    draw(&im, 100, 80);
    if (!image_png_encode(&b, &im, &e)) fail_msg("%s", e.text);
    for (int i = 1; i < 40; i++) {
        size_t size = b.size * (size_t)i / 40;
        expect_refusal(b.data, size, &image_standard, size > 100 ? "cut short" : "");
    }
    expect_refusal(b.data, b.size - 1, &image_standard, "the PNG is cut short: its data end at byte");
    b.data[b.size / 2] ^= 0x10;
    expect_refusal(b.data, b.size, &image_standard, "not a PNG that can be read");
    bytes_free(&b);
    image_free(&im);
}

/* A PNG header with the given size, its checksum right, and next to no data. */
static size_t fake_png(uint8_t out[64], uint32_t width, uint32_t height) {
    static const uint8_t head[] = {0x89, 'P', 'N', 'G', '\r', '\n', 0x1A, '\n',
                                   0,    0,   0,   13,  'I',  'H',  'D',  'R'};
    memcpy(out, head, 16);
    for (int i = 0; i < 4; i++) {
        out[16 + i] = (uint8_t)(width >> (24 - 8 * i));
        out[20 + i] = (uint8_t)(height >> (24 - 8 * i));
    }
    memcpy(out + 24, (const uint8_t[]){8, 2, 0, 0, 0}, 5);
    uint32_t crc = 0xFFFFFFFFu;
    for (int i = 12; i < 29; i++) {
        crc ^= out[i];
        for (int k = 0; k < 8; k++) crc = crc & 1 ? crc >> 1 ^ 0xEDB88320u : crc >> 1;
    }
    crc = ~crc;
    for (int i = 0; i < 4; i++) out[29 + i] = (uint8_t)(crc >> (24 - 8 * i));
    memcpy(out + 33, (const uint8_t[]){0, 0, 0, 1, 'I', 'D', 'A', 'T', 0x78, 0, 0, 0, 0}, 13);
    return 46;
}

static void test_claims_of_gigabytes(void **state) {
    (void)state;
    uint8_t png[64];
    uint64_t calls = mem_stat().calls;
    size_t size = fake_png(png, 60000, 60000); /* 10.8 GB */
    expect_refusal(png, size, &image_standard, "60000 x 60000 pixels are over the limit of 268435456");
    size = fake_png(png, 0x7FFFFFFF, 0x7FFFFFFF);
    expect_refusal(png, size, &image_standard, "over the limit");
    size = fake_png(png, 16000, 16000);
    expect_refusal(png, size, &image_standard, "46 bytes cannot hold 16000 x 16000 pixels");
    assert_int_equal(mem_stat().calls - calls, 3); /* the copies of the files, and nothing for pixels */
    ImageOptions small = image_standard;
    small.max_pixels = 100;
    Bytes b = {0};
    encode(&b, 11, 10, 90);
    expect_refusal(b.data, b.size, &small, "11 x 10 pixels are over the limit of 100");
    bytes_free(&b);
}

static void test_limits_of_progressive_files(void **state) {
    (void)state;
    Bytes b = {0};
    encode_flat(&b, (const uint8_t[]){1, 2, 3}, 3, JCS_RGB, true);
    ImageOptions few = image_standard;
    few.max_scans = 3;
    expect_refusal(b.data, b.size, &few, "the JPEG has more than 3 scans");
    bytes_free(&b);
}

static void test_what_is_no_image(void **state) {
    (void)state;
    Error e;
    Image im = {0};
    expect_refusal((const uint8_t *)"GIF89a.......", 13, &image_standard, "neither a JPEG nor a PNG");
    expect_refusal((const uint8_t *)"", 0, &image_standard, "neither a JPEG nor a PNG");
    expect_refusal((const uint8_t *)"\xFF\xD8\xFF", 3, &image_standard, "cut short");
    FILE *f = fopen(path_of("empty.jpg"), "w");
    fclose(f);
    assert_false(image_read(&im, path_of("empty.jpg"), &image_standard, &e));
    assert_non_null(strstr(e.text, "empty.jpg: the file is empty"));
    assert_false(image_read(&im, folder, &image_standard, &e));
    assert_non_null(strstr(e.text, "not a regular file"));
    assert_false(image_read(&im, path_of("nowhere.jpg"), &image_standard, &e));
    assert_non_null(strstr(e.text, "nowhere.jpg"));
}

/* Bytes flipped at random: whatever comes back, it comes back. */
static void test_flipped_bytes(void **state) {
    (void)state;
    Rng r = rng_open(3, RNG_TEST, 0, 0);
    Error e;
    Image im = {0}, source = {0};
    Bytes jpeg = {0}, png = {0};
    encode(&jpeg, 64, 48, 80);
    draw(&source, 20, 20);
    assert_true(image_png_encode(&png, &source, &e));
    int refused = 0;
    for (int round = 0; round < 600; round++) {
        Bytes *b = round % 2 ? &jpeg : &png;
        size_t at = (size_t)rng_below(&r, round % 3 ? b->size : 200);
        uint8_t old = b->data[at];
        b->data[at] ^= (uint8_t)(1 + rng_below(&r, 255));
        e = (Error){0};
        if (!image_decode(&im, b->data, b->size, "m", &image_standard, &e)) {
            refused++;
            assert_true(strlen(e.text) > 3);
        }
        b->data[at] = old;
    }
    assert_true(refused > 100);
    bytes_free(&jpeg);
    bytes_free(&png);
    image_free(&im);
    image_free(&source);
}

static void test_memory_runs_out(void **state) {
    (void)state;
    Bytes b = {0};
    encode(&b, 40, 30, 90);
    add_exif(&b, 6, true);
    Error e;
    assert_true(bytes_write(&b, path_of("turned.jpg"), &e));
    for (int n = 0;; n++) {
        Image im = {0};
        uint64_t live = mem_stat().live;
        mem_fail_after(n);
        bool ok = image_read(&im, path_of("turned.jpg"), &image_standard, &e);
        mem_fail_after(-1);
        image_free(&im);
        assert_int_equal(mem_stat().live, live);
        if (ok) {
            assert_true(n >= 3);
            break;
        }
        assert_int_equal(e.code, ERROR_MEMORY);
    }
    bytes_free(&b);
}

/* --------------------------------------------------------------------------------------- real files --- */

static void test_real_files(void **state) {
    (void)state;
    static const struct {
        const char *path;
        int width, height;
    } row[] = {{"photos/thin.png", 0, 0},
               {"photos/truck.jpg", 1800, 1200},
               {"faces/s01/01.jpg", 92, 112},
               {"coco100/train/000000000009.jpg", 640, 480},
               {"nuclei/train/0e5edb072788c7b1.png", 256, 256},
               {"retina/01L.jpg", 0, 0},
               {"cifar10/test/cat/0374.jpg", 32, 32}};
    struct stat s;
    if (stat(data_folder(), &s) != 0) {
        printf("skipped: there is no %s (set LETHE_DATA)\n", data_folder());
        skip();
    }
    Image im = {0};
    for (int i = 0; i < COUNT(row); i++) {
        Error e;
        char path[512];
        snprintf(path, sizeof path, "%s/%s", data_folder(), row[i].path);
        if (!image_read(&im, path, &image_standard, &e)) fail_msg("%s", e.text);
        if (row[i].width) assert_true(im.width == row[i].width && im.height == row[i].height);
    }
    image_free(&im);
}

/* Crops that are shrunk while decoded, of turned pictures whose sides are no multiple of the factor: the same
 * picture as without shrinking, to its edge. */
static void test_turned_crops(void **state) {
    (void)state;
    enum { WIDE = 201, HIGH = 107, SIZE = 16, CROPS = 40 };
    Error e;
    Image im = {0};
    assert_true(image_reserve(&im, WIDE, HIGH, &e));
    for (int k = 0; k < WIDE * HIGH * 3; k++)
        im.pixel[k] = (uint8_t)(k % 3 == 0 ? k / 3 % WIDE : k % 3 == 1 ? 2 * (k / 3 / WIDE) : 128);
    for (int o = 1; o <= 8; o++) {
        Bytes b = {0};
        assert_true(image_jpeg_encode(&b, &im, 98, &e));
        add_exif(&b, o, o % 2);
        DataSettings set = {.crop = CROP_RANDOM,
                            .crop_min = 0.2,
                            .crop_max = 1,
                            .ratio_min = 0.75,
                            .ratio_max = 1.33,
                            .interpolation = 1,
                            .orientation = true,
                            .max_pixels = 1 << 20,
                            .std = {1, 1, 1}};
        Augment a[2];
        for (int k = 0; k < 2; k++) {
            set.scaled_decode = k == 1;
            a[k] = augment_of(&set, SIZE, true);
        }
        double worst = 0;
        for (uint64_t c = 0; c < CROPS; c++) {
            float out[2][3 * SIZE * SIZE];
            AugmentScratch s = {0};
            const AugmentSource from = {.data = b.data, .size = b.size, .name = "turned.jpg"};
            for (int k = 0; k < 2; k++)
                if (!augment_run(&a[k], &s, &from, rng_open(1, RNG_AUGMENT, 0, c), out[k], NULL, &e))
                    fail_msg("%s", e.text);
            augment_scratch_free(&s);
            for (int k = 0; k < 3 * SIZE * SIZE; k++) {
                double d = fabs((double)out[0][k] - (double)out[1][k]);
                worst = d > worst ? d : worst;
            }
        }
        print_message("orientation %d: at most %.3f of the range apart\n", o, worst);
        assert_true(worst < 0.06);
        bytes_free(&b);
    }
    image_free(&im);
}

int main(void) {
    const struct CMUnitTest test[] = {
        cmocka_unit_test(test_png_is_exact),
        cmocka_unit_test(test_jpeg_is_near),
        cmocka_unit_test(test_write_replaces_or_leaves),
        cmocka_unit_test(test_part_is_the_whole),
        cmocka_unit_test(test_shrunk_part_shows_the_same),
        cmocka_unit_test(test_orientation),
        cmocka_unit_test(test_turned_crops),
        cmocka_unit_test(test_broken_exif_is_passed_over),
        cmocka_unit_test(test_jpeg_colours),
        cmocka_unit_test(test_png_kinds),
        cmocka_unit_test(test_jpeg_cut_short),
        cmocka_unit_test(test_jpeg_damaged_inside),
        cmocka_unit_test(test_png_cut_short),
        cmocka_unit_test(test_claims_of_gigabytes),
        cmocka_unit_test(test_limits_of_progressive_files),
        cmocka_unit_test(test_what_is_no_image),
        cmocka_unit_test(test_flipped_bytes),
        cmocka_unit_test(test_memory_runs_out),
        cmocka_unit_test(test_real_files),
    };
    snprintf(folder, sizeof folder, "/tmp/lethe_image_XXXXXX");
    if (!mkdtemp(folder)) return 1;
    int failed = cmocka_run_group_tests(test, NULL, NULL);
    char command[128];
    snprintf(command, sizeof command, "rm -rf %s", folder);
    return system(command) == 0 ? failed : 1;
}
