/* augment: one image to one normalised sample of a batch.
 *
 * Training: crop (bicubic to size x size), mirror, colour jitter, RandAugment, normalise, erase; in that
 * order. Evaluation: short side to int(size / crop) bicubic, centre crop, normalise. The transforms and their
 * settings are MAE's (torchvision's and timm 0.3.2's); each change of pixels gives the bytes Pillow gives.
 *
 * Every draw comes from streams of rng_open(seed, RNG_AUGMENT, epoch, sample id), one for each step below, so
 * that switching one step on leaves the others' draws as they were. */
#ifndef LETHE_AUGMENT_H
#define LETHE_AUGMENT_H

#include "core/rng.h"
#include "data/resize.h"
#include "data/sample.h"
#include "data/settings.h"

enum {
    AUGMENT_CROP,
    AUGMENT_FLIP,
    AUGMENT_JITTER,
    AUGMENT_RANDAUGMENT,
    AUGMENT_ERASE,
    AUGMENT_SCALE,
    AUGMENT_OBJECTS
}; /* rng_sub */

/* What is the same for all images. Read only, shared by all threads. */
typedef struct Augment {
    const DataSettings *set; /* borrowed */
    int size;                /* side of the result, pixels */
    bool train;
    bool shrink; /* JPEG crops may be shrunk while decoded */
    bool raw;    /* the result stays bytes, [size, size, 3]: the GPU normalises; nothing is erased */
    ImageOptions limits;
    float value[3][256]; /* of each byte, normalised, in float: (v / 255 - mean) / std as torchvision has it,
                            or, with another geometry than crop, (v - 255 mean) / (255 std) as SAM */
    uint8_t fill[3];     /* the mean colour, for what turning and shifting uncover */
} Augment;

Augment augment_of(const DataSettings *set, int size, bool train);

/* What a thread works with; a zeroed one is ready. It grows to the largest image and then asks for no more.
 */
typedef struct AugmentScratch {
    Image part, upright, sized, other;
    Resizer resizer;
    SampleAxis x, y; /* data/fit.h */
} AugmentScratch;
void augment_scratch_free(AugmentScratch *s);

/* An image in a file's bytes, or already decoded (then `data` is not looked at). */
typedef struct AugmentSource {
    const uint8_t *data;
    size_t size;
    const char *name;     /* for messages */
    const Image *decoded; /* as seen; NULL: decode */
} AugmentSource;

/* out: f32 [3, size, size], or bytes if a->raw. `seen` (may be NULL) receives height and width of the
 * picture. */
bool augment_run(const Augment *a, AugmentScratch *s, const AugmentSource *from, Rng rng, void *out,
                 int32_t seen[2], Error *e);

/* ------------------------------------------------------------------------------- the single steps --- */

/* torchvision's RandomResizedCrop: ten tries of area and ratio, then the largest centre crop that fits. */
ImageBox augment_crop_random(Rng *r, const DataSettings *set, int width, int height);
/* The one-draw form of MAE's linear probe (util/crop.py), clipped to the image. */
ImageBox augment_crop_single(Rng *r, const DataSettings *set, int width, int height);

void augment_jitter(Rng *r, double strength, Image *im);

/* timm's rand-mM-mstdS-inc1 with n operations. *im and *other may be exchanged. */
bool augment_randaugment(Rng *r, const DataSettings *set, const uint8_t fill[3], Image *im, Image *other,
                         Error *e);

/* timm's RandomErasing in mode "pixel": a box of 2 to 33 % of the area becomes N(0, 1) noise. x: [3, size,
 * size], normalised. */
void augment_erase(Rng *r, float *x, int size);

#endif
