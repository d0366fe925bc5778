/* torch_legacy: what torch.save wrote before PyTorch 1.6, and still does where it is asked to: pickles and
 * bytes in a row. Source: _legacy_save and _legacy_load of torch/serialization.py.
 *
 *     pickles of a magic number, of a version, of a dict of sizes | the object's | a list of the storages'
 * keys | for each key: i64 elements, bytes */
#ifndef LETHE_TORCH_LEGACY_H
#define LETHE_TORCH_LEGACY_H

#include "core/pickle.h"
#include "core/zip.h"

#define TORCH_LEGACY_ROOT "legacy"

bool torch_legacy_is(const void *head, size_t size); /* by the first bytes */

typedef struct TorchLegacy {
    Zip zip;       /* its storages, as if they were entries: ROOT/data/KEY, without checksums */
    Pickle object; /* points into `data` */
    bool big;      /* endian */
    uint8_t *data; /* the file, as far as the pickles go */
    size_t size, at;
} TorchLegacy;

/* After a failure, too, torch_legacy_close frees what was taken. */
bool torch_legacy_open(TorchLegacy *t, const Input *in, Error *e);
void torch_legacy_close(TorchLegacy *t);

#endif
