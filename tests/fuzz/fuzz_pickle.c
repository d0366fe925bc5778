/* Any bytes as the pickle of a PyTorch file that has three storages: refused with one line, or tensors that
 * can be read. The file around them is whole, checksum and all. */
#include "core/weights.h"

#include "tests/torch_zip.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(bool truth) {
    if (!truth) abort();
}

static void read_all(const Weights *w, size_t size) {
    Error e = {0};
    for (int64_t i = 0; i < weights_count(w); i++) {
        const SafeEntry *x = weights_at(w, i);
        require(weights_find(w, x->name) == x && x->begin <= size && x->size <= size - x->begin);
        uint8_t *raw = malloc(x->size + 1);
        require(raw && weights_read_raw(w, x, raw, (size_t)x->size, &e));
        free(raw);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static const uint8_t storage[256];
    ZipOut z = {.room = size + 2048, .bytes = malloc(size + 2048)};
    Weights *w;
    Error e = {0};
    require(z.bytes);
    zip_add(&z, "a/data.pkl", data, size);
    zip_add(&z, "a/data/0", storage, 4);
    zip_add(&z, "a/data/1", storage, 24);
    zip_add(&z, "a/data/2", storage, 256);
    zip_end(&z);
    if (weights_open_bytes(&w, "fuzz", z.bytes, z.size, &e)) {
        read_all(w, z.size);
        weights_close(w);
    } else {
        require(e.code != ERROR_NONE && e.text[0] && !strchr(e.text, '\n'));
    }
    free(z.bytes);
    return 0;
}
