/* Any bytes as a safetensors file: refused, or a file whose tensors cover its data exactly once. */
#include "core/safetensors.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(bool truth) {
    if (!truth) abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    SafeFile *f;
    Error e = {0};
    char name[SAFE_NAME_TEXT], text[224];
    if (!safe_open_bytes(&f, "fuzz", data, size, &e)) {
        require(e.code != ERROR_NONE && e.text[0] && !strchr(e.text, '\n'));
        return 0;
    }
    uint64_t covered = safe_count(f) ? safe_at(f, 0)->begin : size;
    for (int64_t i = 0; i < safe_count(f); i++) {
        const SafeEntry *x = safe_at(f, i);
        require(x->begin == covered && x->size <= size - x->begin);
        covered += x->size;
        require(safe_find(f, x->name) == x);
        require(strlen(safe_name_text(x->name, name)) < SAFE_NAME_TEXT &&
                strlen(safe_entry_text(x, text)) < 224);
        require((uint64_t)safe_entry_count(x) * (uint64_t)safe_type_bits(x->type) == 8 * x->size);
        uint8_t *raw = malloc(x->size + 1);
        real *value = malloc(((size_t)safe_entry_count(x) + 1) * sizeof *value);
        require(raw && value && safe_read_raw(f, x, raw, (size_t)x->size, &e));
        require(memcmp(raw, data + x->begin, (size_t)x->size) == 0);
        bool real_type =
            x->type == SAFE_F16 || x->type == SAFE_BF16 || x->type == SAFE_F32 || x->type == SAFE_F64;
        require(safe_read_real(f, x, value, safe_entry_count(x), &e) == real_type);
        free(raw);
        free(value);
    }
    require(covered == size);
    for (int i = 0; i < safe_meta_count(f); i++)
        require(safe_meta(f, safe_meta_at(f, i)->key) == safe_meta_at(f, i)->value);
    safe_close(f);
    return 0;
}
