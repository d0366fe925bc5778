/* predictor_inside: what the predictor's files share. */
#ifndef LETHE_SEGMENT_PREDICTOR_INSIDE_H
#define LETHE_SEGMENT_PREDICTOR_INSIDE_H

#include "segment/predictor.h"

/* What is known of one image, in the host's memory. */
struct Embedding {
    int width, height;         /* of the image */
    int fit_width, fit_height; /* what it takes of the square, from the upper left */
    int64_t side, low;         /* S and 4g */
    Tensor image;              /* f32 [1, C, g, g] */
    Tensor fine;               /* f32 [1, 32, 4g, 4g]; no data: not HQ */
};

/* Where a pixel of the image lies, as the prompt encoder wants it: see SamPrompt.point. */
void embedding_point(const Embedding *on, real to[3], double x, double y);

#endif
