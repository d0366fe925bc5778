/* generator_list: the masks found so far, and what is done with all of them. */
#ifndef LETHE_SEGMENT_GENERATOR_LIST_H
#define LETHE_SEGMENT_GENERATOR_LIST_H

#include "segment/generator.h"

/* Adds a copy of *m with its runs. */
bool generator_list_add(GeneratorMasks *list, const GeneratorMask *m, Error *e);
bool generator_list_join(GeneratorMasks *list, const GeneratorMasks *more, Error *e);

/* Keeps what mask_nms keeps of the boxes, in order of `score` [count]. */
bool generator_list_suppress(GeneratorMasks *list, const double *score, double limit, Error *e);

/* SAM's postprocess_small_regions: small holes and islands go; of masks that now overlap, those which needed
 * no change stay. */
bool generator_list_clean(GeneratorMasks *list, int64_t area, double limit, Error *e);

#endif
