/* The names of a model's classes, in the order of its outputs: a JSON list in the metadata of
 * model.safetensors, where also a bare file has them. */
#include "core/checkpoint_inside.h"
#include "core/json.h"

#include <string.h>

bool checkpoint_classes_text(char **out, char *const *name, int count, Error *e) {
    size_t size = 3;
    *out = NULL;
    if (!count) return true;
    for (int i = 0; i < count; i++) size += 6 * strlen(name[i]) + 4; /* 6: a byte as \u0000 */
    char *text = mem_get(size);
    if (!text) return error_memory(e, size);
    JsonWriter w = json_writer(text, size, 0);
    json_put_open(&w, NULL, '[');
    for (int i = 0; i < count; i++) json_put_text(&w, NULL, name[i]);
    json_put_close(&w, ']');
    if (w.full) die("checkpoint: the names of the classes do not fit");
    *out = text;
    return true;
}

bool checkpoint_classes(const Checkpoint *c, char ***name, int *count, Error *e) {
    const Weights *w = checkpoint_file(c, CHECKPOINT_MODEL);
    const SafeFile *f = w ? weights_safe(w) : NULL;
    const char *text = f ? safe_meta(f, CHECKPOINT_CLASSES) : NULL;
    JsonFile *doc = NULL;
    *name = NULL;
    *count = 0;
    if (!text) return true;
    bool ok = json_open(&doc, checkpoint_path(c), text, strlen(text), e) &&
              json_expect(json_root(doc), JSON_ARRAY, e);
    int64_t most = ok ? json_count(json_root(doc)) : 0;
    if (ok && most > CHECKPOINT_MOST_CLASSES)
        ok = json_error(json_root(doc), e, "more than %d classes", CHECKPOINT_MOST_CLASSES);
    if (ok && !(*name = mem_zero((size_t)most, sizeof **name)))
        ok = error_memory(e, (size_t)most * sizeof **name);
    for (Json i = ok ? json_first(json_root(doc)) : (Json){0}; ok && json_exists(i); i = json_next(i)) {
        const char *word;
        ok = json_text(i, &word, e);
        if (ok && !((*name)[*count] = mem_string(word))) ok = error_memory(e, strlen(word) + 1);
        *count += ok;
    }
    json_close(doc);
    if (ok) return true;
    checkpoint_classes_free(*name, *count);
    *name = NULL;
    *count = 0;
    return error_prefix(e, "the names of the classes");
}

void checkpoint_classes_free(char **name, int count) {
    for (int i = 0; i < count; i++) mem_free(name[i]);
    mem_free(name);
}
