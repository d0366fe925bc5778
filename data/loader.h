/* loader: batches of a data set, decoded and augmented by worker threads, as a Source of core/batch.h.
 *
 * Training: epoch e visits the samples in the order of rng_open(seed, RNG_SHUFFLE, e, 0); what does not fill
 * a batch is left out (data.drop_last). Evaluation: in the order of the data set, nothing twice, the last
 * batch short. A batch depends on (seed, step) alone: not on workers, on ranks, or on what was asked before.
 *
 * Ranks. A global batch of `batch` samples is divided among `ranks` loaders, which need not speak to each
 * other: each computes the same order and loads its part. Rank r holds the r-th stretch of the batch; with
 * mixup or cutmix the r-th stretch of its first half and that stretch's mirror image, so that partners meet.
 * In evaluation a rank's part of a short batch may be empty (n = 0).
 *
 * Corrupt images (data.corrupt). "stop": the first ends the run. "skip": it is warned of once and another
 * sample, drawn by (seed, epoch, id), takes its place in the batch, under its own id; in evaluation, and
 * where `plain` is set, it is left out, and n is smaller. Above data.corrupt_max of the data set the run
 * ends. A sample counts once, however often it comes; each rank counts those of its own part.
 *
 * Masks. Samples without any are left out, and how many those are is warned of once. Training: each image
 * comes with data.masks_per_image of its masks, drawn by (seed, epoch, id), every one once before any comes
 * again; where none can be seen after jittering, the image comes without. Evaluation: all of them, or the
 * first data.eval_masks.
 *
 * Memory: two batches, and for each worker one file and its pixels. Where all images fit into data.cache_mb,
 * they are kept as pixels from their first use on. After the first epoch nothing is allocated
 * (but while a JSON of SA-1B is read). */
#ifndef LETHE_LOADER_H
#define LETHE_LOADER_H

#include "core/batch.h"
#include "core/log.h"
#include "data/dataset.h"

typedef struct LoaderOptions {
    const DataSettings *set; /* copied */
    int image_size;          /* side of the samples: model.image_size */
    int64_t batch;           /* samples a step, on all ranks; a multiple of `ranks` */
    bool uneven;             /* or not: ranks then have parts of two sizes, which may be empty; no mixing */
    int rank, ranks;         /* 0, 1: a single process */
    int processors; /* for data.workers 0: a worker a processor but one; 0: all the process may use */
    bool train;
    bool plain; /* with train: batches as in training, masks and all, but every sample once, in the data set's
                   order, with nothing drawn that changes from pass to pass (Batch.fixed) */
    bool mixed; /* not in the data set's order, but in one that is drawn once and the same for every seed */
    bool device; /* for the GPU: batches lie in pinned memory, as bytes where nothing but normalising is left
                    to do */
    uint64_t seed;
    bool masks;  /* fill Batch.mask (training) or Batch.truth (evaluation) */
    int classes; /* columns of Batch.target; 0: those of the data set */
    Log *log;    /* for warnings; NULL: they go to stderr */
} LoaderOptions;

/* Fills *out and starts the workers. The data set is borrowed until out->close. */
bool loader_open(Source *out, const Dataset *data, const LoaderOptions *o, Error *e);

/* The images of `source` (a loader's) found corrupt so far: how many, and which. False when there is no k-th.
 * The texts are borrowed until close. */
typedef struct LoaderCorrupt {
    const char *name, *reason;
    int64_t id;
} LoaderCorrupt;
int64_t loader_corrupt_count(const Source *source);
bool loader_corrupt_at(const Source *source, int64_t k, LoaderCorrupt *out);

#endif
