/* Any bytes as a recipe, and as --set after the first NUL: values or one line of error. What is accepted is
 * written out complete; that text must be accepted and come out the same. */
#include "core/recipe.h"

#include <stdlib.h>
#include <string.h>

#define FUZZ_FIELDS(X)                                                                                       \
    X(TEXT, task, "task", "mae", 1, 0, "", "")                                                               \
    X(INT, batch, "train.batch", "64", 1, 65536, "", "")                                                     \
    X(REAL, epochs, "train.epochs", "1.5", 0, 1e6, "", "")                                                   \
    X(BOOL, flip, "data.flip", "true", 0, 0, "", "")                                                         \
    X(CHOICE, kind, "optim.kind", "adamw", 0, 0, "adamw|sgd|lars", "")                                       \
    X(REAL3, mean, "data.mean", "[0.5, 0.5, 0.5]", 0, 1, "", "")

typedef struct FuzzSettings {
    RECIPE_MEMBERS(FUZZ_FIELDS)
} FuzzSettings;
#define RECIPE_STRUCT FuzzSettings
static const RecipeField rows[] = {FUZZ_FIELDS(RECIPE_ROW)};
static const RecipeTable table = {"Fuzz", rows, COUNT(rows), sizeof(FuzzSettings)};

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* The recipe written out complete, or NULL and one line of error. mem_free it. */
static char *complete(const char *text, size_t size, char *const *set, int n) {
    Error e = {0};
    FuzzSettings settings;
    Recipe *r = NULL;
    char *out = NULL;
    if (recipe_parse(&r, "fuzz", text, size, set, n, &e) && recipe_bind(r, &table, &settings, &e) &&
        recipe_finish(r, &e)) {
        out = recipe_text(r, &e);
        if (!out) abort();
    } else if (e.code == ERROR_NONE || strlen(e.text) < 8)
        abort();
    recipe_close(r);
    return out;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    const uint8_t *nul = size ? memchr(data, 0, size) : NULL;
    size_t length = nul ? (size_t)(nul - data) : size;
    char *argument = mem_zero(size - length + 1, 1);
    if (!argument) abort();
    if (nul) memcpy(argument, nul + 1, size - length - 1);
    char *first = complete((const char *)data, length, &argument, nul != NULL);
    if (first) {
        char *second = complete(first, strlen(first), NULL, 0);
        if (!second || strcmp(first, second) != 0) abort();
        mem_free(second);
    }
    mem_free(first);
    mem_free(argument);
    return 0;
}
