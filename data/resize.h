/* resize: Pillow's resampling (Image.resize with BILINEAR or BICUBIC, a = -0.5), to the bit.
 *
 * Each output pixel is a weighted mean over a support that grows with the shrink factor, so shrinking does
 * not alias. Two passes, across then down; after each the value is rounded to 8 bits. Weights are fixed-point
 * with 22 fraction bits. (PyTorch's interpolate differs: a = -0.75, no antialiasing by default, float.)
 *
 * Only what is asked for is computed: `part` is a window of the whole result, so that resizing and centre
 * cropping cost no more than the crop. A Resizer keeps weights and rows between calls: no memory is asked for
 * once the largest picture was seen, and equal sizes reuse their weights. One Resizer a thread. */
#ifndef LETHE_RESIZE_H
#define LETHE_RESIZE_H

#include "data/bytes.h"
#include "data/image.h"

typedef enum { RESIZE_BILINEAR, RESIZE_BICUBIC } ResizeFilter;

/* Pixels to read: part of an Image, whose IMAGE_SLACK bytes must follow the last row. */
typedef struct ResizeView {
    const uint8_t *pixel;
    size_t stride; /* bytes from row to row */
    int width, height;
} ResizeView;

ResizeView resize_view(const Image *im);
ResizeView resize_view_part(const Image *im, ImageBox box); /* pixels outside the box are not looked at */

typedef struct ResizeTo {
    float left, top, right, bottom; /* the rectangle of the view that becomes the result, in pixels */
    int width, height;              /* of the whole result */
    ImageBox part;                  /* the window of it that is wanted */
    ResizeFilter filter;
} ResizeTo;

/* The whole view to width x height. */
ResizeTo resize_whole(ResizeView from, int width, int height, ResizeFilter filter);

/* Weights along one axis. */
typedef struct ResizeAxis {
    int size, out, first_out, count; /* what the weights were made for */
    float lo, hi;
    ResizeFilter filter;
    int taps;        /* weights an output, a multiple of 4, zeros at the end */
    int *first;      /* [count] first source pixel */
    int32_t *weight; /* [count, taps], 22 fraction bits */
    int16_t *packed; /* [count, taps / 4, 2, 16]: low 15 bits and high part, as the vector code wants them */
    double *exact;   /* [taps] one output's weights while they are made */
    Bytes memory;    /* behind the four */
} ResizeAxis;

typedef struct Resizer {
    ResizeAxis x, y;
    Bytes rows; /* between the passes */
} Resizer;

/* out: part.width x part.height. `out` may not be the image that is read. */
bool resize_run(Resizer *r, Image *out, ResizeView from, const ResizeTo *to, Error *e);
void resize_free(Resizer *r);

/* The two passes, plain and (where the processor has AVX2) as vectors: the same bits. For resize.c and tests.
 * Across: `rows` rows at `from` to rows of a.count pixels at `to`, whose stride leaves a byte after each.
 * Down: rows of `bytes` bytes; row 0 of `from` is source row `from_row`. Reads may run IMAGE_SLACK bytes past
 * the last row of `from`, writes past that of `to`. */
void resize_across(const ResizeAxis *a, uint8_t *to, size_t to_stride, const uint8_t *from,
                   size_t from_stride, int rows);
void resize_across_plain(const ResizeAxis *a, uint8_t *to, size_t to_stride, const uint8_t *from,
                         size_t from_stride, int rows);
void resize_down(const ResizeAxis *a, uint8_t *to, size_t to_stride, const uint8_t *from, size_t from_stride,
                 int from_row, int bytes);
void resize_down_plain(const ResizeAxis *a, uint8_t *to, size_t to_stride, const uint8_t *from,
                       size_t from_stride, int from_row, int bytes);

#endif
