/* setup: from a recipe to a task with its data: what train, eval and predict have in common. */
#ifndef LETHE_CLI_SETUP_H
#define LETHE_CLI_SETUP_H

#include "cli/options.h"
#include "core/train.h"
#include "data/dataset.h"
#include "data/loader.h"
#include "unlearn/audit.h"
#include "unlearn/method.h"

enum { SETUP_METHODS = 32, SETUP_TABLES = 64 };

typedef struct Setup {
    Recipe *recipe;
    char *text; /* the complete recipe */
    RunSettings run;
    TrainSettings train;
    OptimSettings optim;
    ScheduleSettings schedule;
    DataSettings data;
    AuditSettings audit; /* SETUP_UNLEARN, as are the next two */
    UnlearnSettings unlearn;
    void *method[SETUP_METHODS];   /* settings of each, in the order of unlearn_methods; NULL: it has none */
    Dataset *train_set, *test_set; /* NULL: not asked for, or none given */
    char **name;                   /* of the classes, where they come from a checkpoint */
    int names;
    Task task;
} Setup;

typedef enum {
    SETUP_TRAIN = 1,  /* data.train must be there */
    SETUP_TEST = 2,   /* data.test, if the recipe has one or splits data.train */
    SETUP_DEVICE = 4, /* may run on a GPU: takes the one the recipe asks for */
    SETUP_UNLEARN = 8 /* unlearn.* and audit.*; what the recipe is silent on is taken from the checkpoint's */
} SetupParts;

/* What a file of weights is, by the task that knows it. False, saying so, where none does or Lethe has no
 * such model. */
bool setup_recognise(const Weights *w, TaskGuess *guess, Error *e);

/* Reads the recipe, binds every table, lists the data asked for and makes the model with fresh weights. A
 * recipe path that is a run's folder or a checkpoint takes the recipe.json in it; a file of weights stands
 * for the recipe of the model they are recognised as. `checkpoint` (may be NULL): whose classes the labels
 * are. Threads are set. */
bool setup_open(Setup *u, const char *recipe, char *const *set, int sets, unsigned parts,
                const Checkpoint *checkpoint, Error *e);
void setup_close(Setup *u);

/* Another model of the same recipe, with fresh weights and `more` classes more. */
bool setup_another(Setup *u, int more, uint64_t seed, Task *out, Error *e);

/* "key=value" into `text`, and that into the list of --set: for options that stand for a key. */
bool setup_put(OptionList *set, const char *key, const char *value, char *text, size_t size, Error *e);

/* Takes this rank's GPU, if the recipe wants one and the machine has it. "auto" takes what there is. */
bool setup_device(const RunSettings *run, bool exact, Error *e);

/* task_load, which tells on stderr what a bare file holds beside the model. */
bool setup_weights(Setup *u, const Checkpoint *c, Error *e);

/* loader_open, whose errors then name the recipe. */
bool setup_load(Source *out, const char *recipe, const Dataset *d, const LoaderOptions *options, Error *e);

/* Tells on stderr which images of a loader could not be read and were skipped, if any. Returns how many. */
int64_t setup_tell_skipped(const Dataset *d, const Source *source);

/* Every table of every task, for the reference of keys. Returns how many. */
int setup_tables(const RecipeTable *tables[SETUP_TABLES]);

#endif
