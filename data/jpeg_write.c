#include "data/jpeg.h"

#include <setjmp.h>
#include <stdio.h>

#include <jpeglib.h>

#include <jerror.h>

enum { BLOCK = 1 << 15 }; /* bytes by which the output grows at least */

typedef struct Job {
    struct jpeg_error_mgr errors; /* first: libjpeg hands back a pointer to it */
    struct jpeg_destination_mgr sink;
    struct jpeg_compress_struct c;
    jmp_buf back;
    Bytes *out;
    Error *e;
} Job;

static void job_fail(j_common_ptr c) {
    Job *j = (Job *)c->err;
    char text[JMSG_LENGTH_MAX];
    c->err->format_message(c, text);
    error_set(j->e, ERROR_VALUE, "cannot make a JPEG: %s", text);
    longjmp(j->back, 1);
}

static void job_silent(j_common_ptr c) {
    (void)c;
}

static void sink_room(Job *j) {
    if (!bytes_reserve(j->out, j->out->size + BLOCK, j->e)) longjmp(j->back, 1);
    j->sink.next_output_byte = j->out->data + j->out->size;
    j->sink.free_in_buffer = j->out->capacity - j->out->size;
}

static void sink_open(j_compress_ptr c) {
    sink_room((Job *)c->err);
}

static boolean sink_full(j_compress_ptr c) {
    Job *j = (Job *)c->err;
    j->out->size = j->out->capacity;
    sink_room(j);
    return TRUE;
}

static void sink_close(j_compress_ptr c) {
    Job *j = (Job *)c->err;
    j->out->size = j->out->capacity - j->sink.free_in_buffer;
}

bool image_jpeg_encode(Bytes *out, const Image *im, int quality, Error *e) {
    Job j = {.out = out, .e = e};
    jpeg_std_error(&j.errors);
    j.errors.error_exit = job_fail;
    j.errors.output_message = job_silent;
    j.sink = (struct jpeg_destination_mgr){
        .init_destination = sink_open, .empty_output_buffer = sink_full, .term_destination = sink_close};
    out->size = 0;
    bool ok = false;
    if (setjmp(j.back) == 0) {
        j.c.err = &j.errors;
        jpeg_create_compress(&j.c);
        j.c.dest = &j.sink;
        j.c.image_width = (JDIMENSION)im->width;
        j.c.image_height = (JDIMENSION)im->height;
        j.c.input_components = 3;
        j.c.in_color_space = JCS_RGB;
        jpeg_set_defaults(&j.c);
        jpeg_set_quality(&j.c, quality, TRUE);
        jpeg_start_compress(&j.c, TRUE);
        while (j.c.next_scanline < j.c.image_height) {
            JSAMPROW row = im->pixel + (size_t)j.c.next_scanline * (size_t)im->width * 3;
            jpeg_write_scanlines(&j.c, &row, 1);
        }
        jpeg_finish_compress(&j.c);
        ok = true;
    }
    jpeg_destroy_compress(&j.c);
    return ok;
}
