/* checkpoint_inside: what a checkpoint's folder looks like. For core/checkpoint*.c alone. */
#ifndef LETHE_CHECKPOINT_INSIDE_H
#define LETHE_CHECKPOINT_INSIDE_H

#include "core/checkpoint.h"

enum { CHECKPOINT_FILES = 16 };

typedef struct CheckpointFile {
    char name[CHECKPOINT_NAME]; /* plain: letters, digits, '.', '_', '-' */
    uint64_t size;
    char sha256[HASH_TEXT];
} CheckpointFile;

typedef struct CheckpointFiles {
    CheckpointFile row[CHECKPOINT_FILES];
    int count;
} CheckpointFiles;

extern const char *const checkpoint_part_file[CHECKPOINT_PARTS]; /* "model.safetensors" ... */

/* The text of files.json and of state.json. mem_free it. */
char *checkpoint_files_text(const CheckpointFiles *files, Error *e);
char *checkpoint_state_text(const CheckpointState *state, Error *e);

bool checkpoint_files_load(CheckpointFiles *out, const char *folder, Error *e);
bool checkpoint_state_load(CheckpointState *out, const char *folder, Error *e);
const CheckpointFile *checkpoint_files_find(const CheckpointFiles *files, const char *name); /* NULL: none */

/* Size first, then SHA-256 of the whole. `fresh`: read from the disk, not from the cache, where possible. */
bool checkpoint_file_check(const char *folder, const CheckpointFile *row, bool fresh, Error *e);

/* The step that a folder's name stands for: a plain decimal number; else -1. */
int64_t checkpoint_step_of(const char *name);
/* Where RUN/checkpoints/last or best points; -1: nowhere, or to no step. */
int64_t checkpoint_link_step(const char *folder, const char *link);
/* The steps in a checkpoints folder, rising. mem_free(*steps). */
bool checkpoint_steps(const char *folder, int64_t **steps, int64_t *count, Error *e);

/* The list of names as JSON, NULL for none; mem_free it. It stands in the metadata under this key. */
#define CHECKPOINT_CLASSES "classes"
bool checkpoint_classes_text(char **out, char *const *name, int count, Error *e);

/* "1.34 GB"; returns buffer. */
const char *checkpoint_bytes_text(uint64_t bytes, char buffer[32]);

/* Writes or checks RUN/manifest.jsonl as CheckpointSettings says; fills the row that lists it. */
bool checkpoint_manifest_prepare(const CheckpointSettings *settings, CheckpointFile *row, Error *e);

/* A folder that holds one checkpoint, or the folder of many. */
typedef enum { PLACE_FILE, PLACE_ONE, PLACE_MANY } CheckpointPlace;
/* What `path` is; `folder` becomes the file, the checkpoint or the checkpoints folder. */
bool checkpoint_place(const char *path, CheckpointPlace *place, char folder[FILE_PATH], Error *e);
/* The checkpoints of a folder in the order in which to try them: last, those before it from the newest, those
 * after it from the newest. mem_free(*steps). */
bool checkpoint_candidates(const char *folder, int64_t **steps, int64_t *count, Error *e);

#endif
