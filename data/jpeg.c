#include "data/jpeg.h"

#include "data/exif.h"

#include <setjmp.h>
#include <stdio.h>
#include <string.h>

#include <jpeglib.h>

#include <jerror.h>

enum { ROWS = 16 }; /* rows asked of libjpeg in one call: its largest block row */

/* All state of one decode. Its address is libjpeg's, too, so that none of it stays in a register across a
 * longjmp. */
typedef struct Job {
    struct jpeg_error_mgr errors; /* first: libjpeg hands back a pointer to it */
    struct jpeg_progress_mgr progress;
    struct jpeg_decompress_struct d;
    jmp_buf back;
    const char *name;
    size_t size;
    int max_scans;
    Error *e;
} Job;

static size_t job_offset(const Job *j) {
    return j->d.src ? j->size - j->d.src->bytes_in_buffer : 0;
}

/* Takes over from libjpeg's error_exit, which would call exit(). */
static void job_fail(j_common_ptr c) {
    Job *j = (Job *)c->err;
    char text[JMSG_LENGTH_MAX];
    c->err->format_message(c, text);
    bool memory = c->err->msg_code == JERR_OUT_OF_MEMORY || c->err->msg_code == JERR_NO_BACKING_STORE;
    error_set(j->e, memory ? ERROR_LIMIT : ERROR_FORMAT,
              "%s: not a JPEG that can be read: %s (at byte %zu of %zu)", j->name, text, job_offset(j),
              j->size);
    longjmp(j->back, 1);
}

/* Warnings have a negative level. Those that mean lost pixels are errors here; libjpeg would paint them grey.
 */
static void job_message(j_common_ptr c, int level) {
    Job *j = (Job *)c->err;
    if (level >= 0) return;
    switch (c->err->msg_code) {
    case JWRN_JPEG_EOF:
        error_set(j->e, ERROR_FORMAT, "%s: the JPEG is cut short: its data end at byte %zu, in row %u of %u",
                  j->name, j->size, j->d.output_scanline, j->d.output_height);
        longjmp(j->back, 1);
    case JWRN_HIT_MARKER:
    case JWRN_HUFF_BAD_CODE:
    case JWRN_ARITH_BAD_CODE:
    case JWRN_MUST_RESYNC:
        job_fail(c);
        break;
    default:
        break;
    }
}

static void job_silent(j_common_ptr c) {
    (void)c;
}

/* Called now and then while a progressive file is read: a few bytes can claim thousands of scans. */
static void job_progress(j_common_ptr c) {
    Job *j = (Job *)c->err;
    if (j->d.input_scan_number <= j->max_scans) return;
    error_set(j->e, ERROR_LIMIT, "%s: the JPEG has more than %d scans", j->name, j->max_scans);
    longjmp(j->back, 1);
}

static void job_errors(struct jpeg_error_mgr *errors) {
    jpeg_std_error(errors);
    errors->error_exit = job_fail;
    errors->emit_message = job_message;
    errors->output_message = job_silent;
}

static int job_orientation(const Job *j) {
    for (jpeg_saved_marker_ptr m = j->d.marker_list; m; m = m->next) {
        if (m->marker != JPEG_APP0 + 1) continue;
        int orientation = exif_orientation(m->data, m->data_length);
        if (orientation != 1) return orientation;
    }
    return 1;
}

/* Reads the header and checks it. Called under setjmp, as all job_ functions below. */
static void job_header(Job *j, const uint8_t *data, const ImageOptions *o) {
    j->d.err = &j->errors;
    jpeg_create_decompress(&j->d);
    j->d.mem->max_memory_to_use = (long)o->max_memory;
    j->d.progress = &j->progress;
    j->progress.progress_monitor = job_progress;
    j->max_scans = o->max_scans;
    jpeg_mem_src(&j->d, data, j->size);
    if (o->orient) jpeg_save_markers(&j->d, JPEG_APP0 + 1, 0xFFFF);
    jpeg_read_header(&j->d, TRUE);
    int64_t pixels = (int64_t)j->d.image_width * j->d.image_height;
    if (pixels > o->max_pixels) {
        error_set(j->e, ERROR_LIMIT, "%s: %u x %u pixels are over the limit of %lld", j->name,
                  j->d.image_width, j->d.image_height, (long long)o->max_pixels);
        longjmp(j->back, 1);
    }
    switch (j->d.jpeg_color_space) {
    case JCS_GRAYSCALE:
    case JCS_YCbCr:
    case JCS_RGB:
        j->d.out_color_space = JCS_RGB;
        break;
    case JCS_CMYK:
    case JCS_YCCK:
        j->d.out_color_space = JCS_CMYK;
        break;
    default:
        error_set(j->e, ERROR_FORMAT, "%s: a JPEG of %d colour components is not supported", j->name,
                  j->d.num_components);
        longjmp(j->back, 1);
    }
}

/* A part may lie above the place where a file was cut off, and would then decode without complaint today and
 * fail in another epoch. So the end marker is looked for first; it nearly always stands at the very end. */
static void job_expect_end(Job *j) {
    const uint8_t *p = j->d.src->next_input_byte;
    for (size_t n = j->d.src->bytes_in_buffer; n >= 2; n--)
        if (p[n - 2] == 0xFF && p[n - 1] == JPEG_EOI) return;
    error_set(j->e, ERROR_FORMAT, "%s: the JPEG is cut short: its data end at byte %zu without an end marker",
              j->name, j->size);
    longjmp(j->back, 1);
}

/* Adobe's inverted CMYK to RGB: with K inverted too, R = K * C / 255, rounded as Pillow's cmyk2rgb. */
static void rgb_from_cmyk(uint8_t *rgb, const uint8_t *cmyk, int width) {
    for (int x = 0; x < width; x++, rgb += 3, cmyk += 4) {
        int k = cmyk[3];
        for (int c = 0; c < 3; c++) {
            int product = (255 - cmyk[c]) * k + 128, value = k - (((product >> 8) + product) >> 8);
            rgb[c] = (uint8_t)(value < 0 ? 0 : value);
        }
    }
}

static int scale_down(int v, int shrink) {
    return v / shrink;
}

static int scale_up(int v, int shrink) {
    return (v + shrink - 1) / shrink;
}

/* Largest power of two by which the box may shrink. */
static int job_shrink(int max_shrink) {
    int shrink = 1;
    while (shrink < 8 && 2 * shrink <= max_shrink) shrink *= 2;
    return shrink;
}

/* Starts decoding of the part that covers `box` (stored pixels), and makes room for it. */
static void job_start(Job *j, Image *out, ImagePart *part, ImageBox box, int max_shrink) {
    enum { MARGIN = 2 }; /* smooth upsampling of colour looks one pixel beyond its own block */
    int shrink = job_shrink(max_shrink);
    j->d.scale_num = 1;
    j->d.scale_denom = (unsigned)shrink;
    job_expect_end(j);
    jpeg_start_decompress(&j->d);
    int width = (int)j->d.output_width, height = (int)j->d.output_height;
    int x0 = scale_down(box.x, shrink) - MARGIN, x1 = scale_up(box.x + box.width, shrink) + MARGIN;
    int y0 = scale_down(box.y, shrink), y1 = scale_up(box.y + box.height, shrink);
    x0 = x0 < 0 ? 0 : x0;
    x1 = x1 > width ? width : x1;
    y1 = y1 > height ? height : y1;
    if (x0 > 0 || x1 < width) {
        JDIMENSION x = (JDIMENSION)x0, w = (JDIMENSION)(x1 - x0);
        jpeg_crop_scanline(&j->d, &x, &w);
        x0 = (int)x;
    }
    if (!image_reserve(out, (int)j->d.output_width, y1 - y0, j->e)) {
        error_prefix(j->e, "%s", j->name);
        longjmp(j->back, 1);
    }
    if (y0 > 0) jpeg_skip_scanlines(&j->d, (JDIMENSION)y0);
    *part = (ImagePart){x0, y0, shrink};
}

static void job_rows(Job *j, Image *out) {
    size_t stride = (size_t)out->width * 3;
    bool cmyk = j->d.out_color_space == JCS_CMYK;
    JSAMPARRAY ink = NULL;
    if (cmyk) ink = j->d.mem->alloc_sarray((j_common_ptr)&j->d, JPOOL_IMAGE, (JDIMENSION)out->width * 4, 1);
    for (int y = 0; y < out->height;) {
        JSAMPROW row[ROWS];
        int n = 0;
        if (cmyk) {
            n = (int)jpeg_read_scanlines(&j->d, ink, 1);
            if (n) rgb_from_cmyk(out->pixel + (size_t)y * stride, ink[0], out->width);
        } else {
            int wanted = out->height - y < ROWS ? out->height - y : ROWS;
            for (int i = 0; i < wanted; i++) row[i] = out->pixel + (size_t)(y + i) * stride;
            n = (int)jpeg_read_scanlines(&j->d, row, (JDIMENSION)wanted);
        }
        if (n == 0) { /* a memory source never suspends, so this is damage libjpeg did not report */
            error_set(j->e, ERROR_FORMAT, "%s: the JPEG's data end in row %u (at byte %zu of %zu)", j->name,
                      j->d.output_scanline, job_offset(j), j->size);
            longjmp(j->back, 1);
        }
        y += n;
    }
}

bool image_jpeg_probe(ImageInfo *out, const uint8_t *data, size_t size, const char *name,
                      const ImageOptions *options, Error *e) {
    Job j = {.name = name, .size = size, .e = e};
    job_errors(&j.errors);
    bool ok = false;
    if (setjmp(j.back) == 0) {
        job_header(&j, data, options);
        *out = (ImageInfo){IMAGE_JPEG, (int)j.d.image_width, (int)j.d.image_height, job_orientation(&j)};
        ok = true;
    }
    jpeg_destroy_decompress(&j.d);
    return ok;
}

bool image_jpeg_part(Image *out, ImagePart *part, const uint8_t *data, size_t size, const char *name,
                     ImageBox box, int max_shrink, const ImageOptions *options, Error *e) {
    Job j = {.name = name, .size = size, .e = e};
    job_errors(&j.errors);
    bool ok = false;
    if (setjmp(j.back) == 0) {
        job_header(&j, data, options);
        job_start(&j, out, part, box, max_shrink);
        job_rows(&j, out);
        ok = true;
    }
    jpeg_destroy_decompress(&j.d);
    return ok;
}
