/* unlearn_world: the models and data that unlearning works with, made of a checkpoint, a recipe laid over its
 * own, and the manifest: which of data.train's samples are retained and which forgotten, and which of
 * data.test's a method may look at. */
#ifndef LETHE_CLI_UNLEARN_WORLD_H
#define LETHE_CLI_UNLEARN_WORLD_H

#include "cli/setup.h"
#include "unlearn/manifest.h"
#include "unlearn/method.h"
#include "unlearn/request.h"

typedef struct World {
    Setup setup;
    Checkpoint *checkpoint;
    Manifest *manifest;
    Request request;
    int64_t *place; /* [manifest.count] of each line's sample in data.train; -1: it is there no more */
    Dataset *outside, *set[SETS];
    UnlearnWorld unlearn; /* its self is this */
    int64_t strangers;    /* samples of data.train that the model was not trained on: left out */
} World;

/* Opens all of it: the checkpoint's weights are in setup.task. */
bool world_open(World *w, const char *recipe, const OptionList *set, const char *checkpoint,
                const OptionList *forget, uint64_t seed, Error *e);
void world_close(World *w);

/* Makes the retained and the forgotten set anew, of those lines of the manifest: [manifest.count] of
 * WorldPart; NULL: as the request has it. No feed may be open. */
typedef enum { PART_NONE, PART_RETAIN, PART_FORGET } WorldPart;
bool world_split(World *w, const uint8_t *part, Error *e);

/* unlearn.retrain.init. */
const char *world_init(const World *w);
/* A method's settings from the recipe. */
const void *world_settings(const World *w, const Method *m);

#endif
