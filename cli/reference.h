/* reference: does another model know who is to be forgotten? Its manifest, where it has one, says which
 * samples it was trained on; a sample is known again by the SHA-256 of its file, whatever it is called. */
#ifndef LETHE_CLI_REFERENCE_H
#define LETHE_CLI_REFERENCE_H

#include "cli/unlearn_world.h"

/* What a model's manifest says of the forgotten. */
typedef struct Known {
    bool told;     /* there is a manifest, and it is whole */
    int64_t count; /* of the forgotten samples are in it */
} Known;

/* As checkpoint_open; of model.safetensors or ema.safetensors in a checkpoint's folder that checkpoint. */
bool reference_open(Checkpoint **out, const char *path, Error *e);
bool reference_known(Known *out, const World *w, const Checkpoint *c, Error *e);

/* What retraining begins with (unlearn.retrain.init): weights that know any of the forgotten are a warning on
 * stderr. `opened`: these weights, for checkpoint_close; NULL where retraining begins with random ones, or on
 * error. Rank 0 alone. */
bool reference_first(Known *out, Checkpoint **opened, const World *w, Error *e);

/* A reference that was trained with a forgotten sample is none: an error that says with how many. Of a model
 * that is to have forgotten, in `after` (may be NULL), that is a warning on stderr. Collective. */
bool reference_check(const World *w, const OptionList *reference, const OptionList *after, Error *e);

#endif
