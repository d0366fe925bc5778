/* Any bytes as a file of weights: refused with one line, or tensors that can be read. */
#include "core/weights.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(bool truth) {
    if (!truth) abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    Weights *w;
    Error e = {0};
    if (!weights_open_bytes(&w, "fuzz", data, size, &e)) {
        require(e.code != ERROR_NONE && e.text[0] && !strchr(e.text, '\n'));
        return 0;
    }
    for (int64_t i = 0; i < weights_count(w); i++) {
        const SafeEntry *x = weights_at(w, i);
        require(weights_find(w, x->name) == x && x->begin <= size && x->size <= size);
        uint8_t *raw = malloc(x->size + 1);
        require(raw && (weights_read_raw(w, x, raw, (size_t)x->size, &e) || e.text[0]));
        free(raw);
    }
    weights_close(w);
    return 0;
}
