/* checkpoint: a run's state on disk, whole or absent, checked before it is used.
 *
 *     RUN/manifest.jsonl               a line a training sample; written once, linked into every checkpoint
 *     RUN/checkpoints/STEP/            one checkpoint: a folder complete in itself
 *         model.safetensors            parameters and buffers, named as in PyTorch's state dict; in its
 *                                      metadata the names of the classes
 *         optimizer.safetensors        "m.NAME", "v.NAME" ...; only if there are any
 *         ema.safetensors              only if there are any
 *         state.json                   CheckpointState
 *         recipe.json                  the complete recipe
 *         manifest.jsonl
 *         files.json                   size and SHA-256 of each of the above; written last
 *     RUN/checkpoints/last, best       links to a STEP
 *
 * Saving writes all of it into .STEP.tmp.PID, fsyncs every file and the folder, renames the folder to STEP,
 * fsyncs the parent, and only then moves `last` by renaming a link over it. Whatever fails, and whenever the
 * process is killed, STEP is whole or absent and the checkpoint before it is untouched. A failed fsync counts
 * as lost content: nothing of that folder is used again. */
#ifndef LETHE_CHECKPOINT_H
#define LETHE_CHECKPOINT_H

#include "core/file.h"
#include "core/weights.h"

#include <stdio.h>

enum {
    CHECKPOINT_FORMAT = 1,
    CHECKPOINT_NAME = 64, /* room for names in state.json */
    CHECKPOINT_SCALARS = 64,
    CHECKPOINT_LINE = 1 << 15, /* room for a line of the manifest */
    CHECKPOINT_NOTE = 1000,
    CHECKPOINT_MOST_CLASSES = 1000000
};

typedef struct NamedTensor {
    const char *name;
    Tensor *tensor;
} NamedTensor;

typedef struct NamedTensors {
    const NamedTensor *list;
    int64_t count;
} NamedTensors;

typedef enum { CHECKPOINT_MODEL, CHECKPOINT_OPTIMIZER, CHECKPOINT_EMA, CHECKPOINT_PARTS } CheckpointPart;

typedef struct CheckpointScalar {
    char name[CHECKPOINT_NAME];
    double value;
} CheckpointScalar;

/* What a run must know beside its tensors. Doubles come back to the bit, but every NaN or infinity as NaN. */
typedef struct CheckpointState {
    int64_t step;                    /* optimizer steps done; the checkpoint's name */
    int64_t epoch;                   /* passes begun */
    int64_t seed;                    /* 0 .. 2^53 */
    char version[CHECKPOINT_NAME];   /* LETHE_VERSION of the program that wrote it; filled in by save */
    char best_name[CHECKPOINT_NAME]; /* the metric that `best` goes by */
    double best;
    int64_t best_step; /* -1: none yet */
    int scalar_count;
    CheckpointScalar scalar[CHECKPOINT_SCALARS]; /* the optimizer's and the schedule's, by name */
    char recipe_sha256[HASH_TEXT];               /* of recipe.json; filled in by save and open */
} CheckpointState;

/* -------------------------------------------------------------------------------------------- saving --- */

typedef struct CheckpointSettings {
    const char *run;    /* the run's folder; made if need be */
    const char *recipe; /* complete, as JSON; copied */
    bool resume;        /* false: refuse a run that has checkpoints already */
    int keep;           /* newest checkpoints kept, beside the best; 0: all */
    /* The manifest: line i for i < samples, as in core/batch.h's Source. describe NULL: no manifest. */
    bool (*describe)(void *self, int64_t i, char *line, size_t size, Error *e);
    void *self;
    int64_t samples;
    char *const *class_name; /* [names]: of the model's outputs, for model.safetensors */
    int names;
} CheckpointSettings;

typedef struct CheckpointStore CheckpointStore;

/* Makes RUN/checkpoints, locks it against a second writer, clears away what killed writers left, and writes
 * the manifest. With `resume` a manifest that stands there is kept, after 64 of its lines, evenly spread, and
 * their number were compared with the data set: other data is an error. */
bool checkpoint_store_open(CheckpointStore **out, const CheckpointSettings *settings, Error *e);
void checkpoint_store_close(CheckpointStore *s); /* NULL is fine */

typedef struct CheckpointContents {
    const CheckpointState *state;
    NamedTensors part[CHECKPOINT_PARTS]; /* count 0: no such file; the model must have some */
    bool best;                           /* `best` shall point here */
} CheckpointContents;

/* What happened beside the saving; note is "" if there is nothing to tell. */
typedef struct CheckpointSaved {
    char path[FILE_PATH];
    uint64_t bytes; /* of this checkpoint's files, the manifest included */
    char note[CHECKPOINT_NOTE];
} CheckpointSaved;

/* Saves, moves the links and removes what `keep` no longer covers: never the best, never the newest two
 * unless keep is 1 and the newest was read back and is whole. A checkpoint of the same step is replaced in
 * one move. On error the line says what stays usable; on a full disk also what was wanted and what is free.
 * To meet a file size limit (ulimit -f) as an error, the program must ignore SIGXFSZ. */
bool checkpoint_store_save(CheckpointStore *s, const CheckpointContents *contents, CheckpointSaved *saved,
                           Error *e);

/* ------------------------------------------------------------------------------------------- loading --- */

typedef struct Checkpoint Checkpoint;

/* `path` is a run's folder, its checkpoints folder, one checkpoint, or any file of weights (core/weights.h;
 * then the checkpoint has a model and nothing else). Of a run, `last` is taken; if that is damaged, the
 * newest before it that is whole, and `note` says so ("" otherwise). Every file's size and SHA-256 is checked
 * first. A damaged manifest is noted only, because the weights do not depend on it. */
bool checkpoint_open(Checkpoint **out, const char *path, char note[CHECKPOINT_NOTE], Error *e);
void checkpoint_close(Checkpoint *c); /* NULL is fine */

/* Does a run's folder hold a checkpoint, whole or not, linked or not? */
bool checkpoint_any(const char *run);

const char *checkpoint_path(const Checkpoint *c);             /* the folder or file that was taken */
const CheckpointState *checkpoint_state(const Checkpoint *c); /* NULL: a bare file */
const char *checkpoint_recipe(const Checkpoint *c);           /* text; NULL: a bare file */
const Weights *checkpoint_file(const Checkpoint *c, CheckpointPart part); /* NULL: has none */
/* The path of its manifest, if it has one and that is whole. */
bool checkpoint_manifest(const Checkpoint *c, char path[FILE_PATH], Error *e);
/* The names of the model's outputs, in order; count 0: the file has none. Give them back with
 * checkpoint_classes_free. */
bool checkpoint_classes(const Checkpoint *c, char ***name, int *count, Error *e);
void checkpoint_classes_free(char **name, int count);

/* A scalar of the state; NULL: not there. */
const double *checkpoint_scalar(const CheckpointState *s, const char *name);

/* A part and the tensors to fill from it. Strict: the names must be the same, as in PyTorch, but a bare file
 * may have more. Not strict: names missing on either side are passed over; shapes and dtypes must still fit
 * (safe_fits). */
typedef struct CheckpointWant {
    CheckpointPart part;
    NamedTensors into;
    bool strict;
} CheckpointWant;

/* Checks everything of all `n` wants, then reads. An error names missing and unexpected keys and the tensors
 * that do not fit, and has changed no tensor (unless the disk fails between check and reading; the line then
 * says "cannot read"). */
bool checkpoint_read(const Checkpoint *c, const CheckpointWant *want, int n, Error *e);

/* Which names are on one side only. Pointers are borrowed from the tensors' names and from the checkpoint. */
typedef struct KeyReport {
    const char **missing, **unexpected; /* wanted but not in the file; in the file but not wanted */
    int64_t missing_count, unexpected_count;
} KeyReport;
bool checkpoint_keys(const Checkpoint *c, CheckpointPart part, NamedTensors into, KeyReport *out, Error *e);
void key_report_close(KeyReport *k);

/* Prints what is at `path` (as in checkpoint_open): files with size, hash and
 * whether they are whole, tensors with shape and dtype, parameter count, state and recipe. False, after all
 * that could be printed, if something is damaged. */
bool checkpoint_describe(const char *path, FILE *out, Error *e);

#endif
