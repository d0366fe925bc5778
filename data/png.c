#include "data/png.h"

#include <setjmp.h>
#include <string.h>

#include <png.h>

/* State that must survive a longjmp lives here, where libpng has its address, not in registers. */
typedef struct Job {
    png_structp png;
    png_infop info;
    const uint8_t *data;
    size_t size, at;
    Bytes *out;
    const char *name;
    Error *e;
    bool told; /* *e is filled already */
} Job;

static void job_fail(png_structp png, png_const_charp text) {
    Job *j = png_get_error_ptr(png);
    if (!j->told && j->out) error_set(j->e, ERROR_VALUE, "cannot make a PNG: %s", text);
    if (!j->told && !j->out)
        error_set(j->e, ERROR_FORMAT, "%s: not a PNG that can be read: %s (at byte %zu of %zu)", j->name,
                  text, j->at, j->size);
    j->told = true;
    png_longjmp(png, 1);
}

static void job_silent(png_structp png, png_const_charp text) {
    (void)png;
    (void)text;
}

/* Fails with the caller's own words, already in *e. */
_Noreturn static void job_stop(Job *j) {
    j->told = true;
    png_longjmp(j->png, 1);
}

static void job_source(png_structp png, png_bytep to, size_t n) {
    Job *j = png_get_io_ptr(png);
    if (n > j->size - j->at) {
        error_set(j->e, ERROR_FORMAT, "%s: the PNG is cut short: its data end at byte %zu", j->name, j->size);
        job_stop(j);
    }
    memcpy(to, j->data + j->at, n);
    j->at += n;
}

static bool job_open(Job *j) {
    j->png = png_create_read_struct(PNG_LIBPNG_VER_STRING, j, job_fail, job_silent);
    if (j->png) j->info = png_create_info_struct(j->png);
    if (j->info) return true;
    png_destroy_read_struct(&j->png, NULL, NULL);
    return error_set(j->e, ERROR_MEMORY, "%s: out of memory", j->name);
}

/* Reads the header and checks sizes before anything is allocated for pixels. */
static void job_header(Job *j, const ImageOptions *o) {
    enum { CHUNK_BYTES = 8 << 20, CHUNKS = 1000, SIDE = 1000000 };
    png_set_read_fn(j->png, j, job_source);
    png_set_user_limits(j->png, 0x7FFFFFFF, 0x7FFFFFFF); /* ours below name the size */
    png_set_chunk_malloc_max(j->png, CHUNK_BYTES);
    png_set_chunk_cache_max(j->png, CHUNKS);
    png_read_info(j->png, j->info);
    uint32_t width = png_get_image_width(j->png, j->info), height = png_get_image_height(j->png, j->info);
    if (width > SIDE || height > SIDE || (int64_t)width * height > o->max_pixels) {
        error_set(j->e, ERROR_LIMIT, "%s: %u x %u pixels are over the limit of %lld", j->name, width, height,
                  (long long)o->max_pixels);
        job_stop(j);
    }
    /* Deflate cannot make more than 1032 bytes of one (zlib, "Technical details"). */
    uint64_t raw = (uint64_t)png_get_rowbytes(j->png, j->info) * height;
    if (raw / 1032 > j->size) {
        error_set(j->e, ERROR_FORMAT, "%s: the PNG is cut short: %zu bytes cannot hold %u x %u pixels",
                  j->name, j->size, width, height);
        job_stop(j);
    }
}

/* Makes colour k of the palette (k, k, k). */
static void job_numbers(Job *j, int depth) {
    png_color grey[256];
    for (int k = 0; k < 256; k++) grey[k] = (png_color){(png_byte)k, (png_byte)k, (png_byte)k};
    png_set_PLTE(j->png, j->info, grey, 1 << depth);
}

static void job_rgb(Job *j, bool numbers) {
    int type = png_get_color_type(j->png, j->info), depth = png_get_bit_depth(j->png, j->info);
    if (numbers && depth == 16) {
        error_set(j->e, ERROR_FORMAT, "%s: samples of 16 bits, where a mask has 8 or fewer", j->name);
        job_stop(j);
    }
    if (numbers && type == PNG_COLOR_TYPE_PALETTE) job_numbers(j, depth);
    if (depth == 16) png_set_strip_16(j->png);
    if (type == PNG_COLOR_TYPE_PALETTE) png_set_palette_to_rgb(j->png);
    if (type == PNG_COLOR_TYPE_GRAY && depth < 8) png_set_expand_gray_1_2_4_to_8(j->png);
    if (!(type & PNG_COLOR_MASK_COLOR)) png_set_gray_to_rgb(j->png);
    png_set_strip_alpha(j->png);
}

static void job_rows(Job *j, Image *out) {
    int passes = png_set_interlace_handling(j->png);
    png_read_update_info(j->png, j->info);
    int width = (int)png_get_image_width(j->png, j->info),
        height = (int)png_get_image_height(j->png, j->info);
    if (!image_reserve(out, width, height, j->e)) {
        error_prefix(j->e, "%s", j->name);
        job_stop(j);
    }
    if (png_get_rowbytes(j->png, j->info) != (size_t)width * 3) png_error(j->png, "unexpected row size");
    for (int pass = 0; pass < passes; pass++)
        for (int y = 0; y < height; y++)
            png_read_row(j->png, out->pixel + (size_t)y * (size_t)width * 3, NULL);
    png_read_end(j->png, NULL);
}

bool image_png_probe(ImageInfo *out, const uint8_t *data, size_t size, const char *name,
                     const ImageOptions *options, Error *e) {
    Job j = {.data = data, .size = size, .name = name, .e = e};
    if (!job_open(&j)) return false;
    bool ok = false;
    if (setjmp(png_jmpbuf(j.png)) == 0) {
        job_header(&j, options);
        *out = (ImageInfo){IMAGE_PNG, (int)png_get_image_width(j.png, j.info),
                           (int)png_get_image_height(j.png, j.info), 1};
        ok = true;
    }
    png_destroy_read_struct(&j.png, &j.info, NULL);
    return ok;
}

bool image_png_decode(Image *out, const uint8_t *data, size_t size, const char *name,
                      const ImageOptions *options, Error *e) {
    Job j = {.data = data, .size = size, .name = name, .e = e};
    if (!job_open(&j)) return false;
    bool ok = false;
    if (setjmp(png_jmpbuf(j.png)) == 0) {
        job_header(&j, options);
        job_rgb(&j, options->numbers);
        job_rows(&j, out);
        ok = true;
    }
    png_destroy_read_struct(&j.png, &j.info, NULL);
    return ok;
}

static void job_sink(png_structp png, png_bytep from, size_t n) {
    Job *j = png_get_io_ptr(png);
    if (!bytes_append(j->out, from, n, j->e)) job_stop(j);
}

static void job_flush(png_structp png) {
    (void)png;
}

static bool encode(Bytes *out, const uint8_t *pixel, int width, int height, bool grey, Error *e) {
    Job j = {.out = out, .e = e};
    out->size = 0;
    j.png = png_create_write_struct(PNG_LIBPNG_VER_STRING, &j, job_fail, job_silent);
    if (j.png) j.info = png_create_info_struct(j.png);
    if (!j.info) {
        png_destroy_write_struct(&j.png, NULL);
        return error_set(e, ERROR_MEMORY, "cannot make a PNG: out of memory");
    }
    bool ok = false;
    if (setjmp(png_jmpbuf(j.png)) == 0) {
        png_set_write_fn(j.png, &j, job_sink, job_flush);
        png_set_IHDR(j.png, j.info, (uint32_t)width, (uint32_t)height, 8,
                     grey ? PNG_COLOR_TYPE_GRAY : PNG_COLOR_TYPE_RGB, PNG_INTERLACE_NONE,
                     PNG_COMPRESSION_TYPE_DEFAULT, PNG_FILTER_TYPE_DEFAULT);
        png_write_info(j.png, j.info);
        for (int y = 0; y < height; y++)
            png_write_row(j.png, pixel + (size_t)y * (size_t)width * (grey ? 1 : 3));
        png_write_end(j.png, j.info);
        ok = true;
    }
    png_destroy_write_struct(&j.png, &j.info);
    return ok;
}

bool image_png_encode(Bytes *out, const Image *im, Error *e) {
    return encode(out, im->pixel, im->width, im->height, false, e);
}

bool image_png_encode_grey(Bytes *out, const uint8_t *pixel, int width, int height, Error *e) {
    return encode(out, pixel, width, height, true, e);
}
