/* Random erasing (Zhong et al. 2020) as timm 0.3.2's RandomErasing(mode = "pixel"). */
#include "data/augment.h"

#include <math.h>

void augment_erase(Rng *r, float *x, int size) {
    for (int attempt = 0; attempt < 10; attempt++) {
        double area = (double)size * size * rng_range(r, 0.02, 1.0 / 3.0);
        double ratio = exp(rng_range(r, log(0.3), log(1.0 / 0.3)));
        int h = (int)rint(sqrt(area * ratio)), w = (int)rint(sqrt(area / ratio));
        if (w >= size || h >= size) continue;
        int top = (int)rng_below(r, (uint64_t)(size - h + 1)),
            left = (int)rng_below(r, (uint64_t)(size - w + 1));
        for (int c = 0; c < 3; c++)
            for (int i = top; i < top + h; i++)
                for (int j = left; j < left + w; j++)
                    x[((size_t)c * (size_t)size + (size_t)i) * (size_t)size + (size_t)j] =
                        (float)rng_normal(r);
        return;
    }
}
