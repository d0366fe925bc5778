/* torch_file: the tensors of what torch.save writes. Since PyTorch 1.6 that is a zip file of stored entries;
 * for what it was before see core/torch_legacy.h.
 *
 *     ROOT/data.pkl     a pickle of the object, in which tensors are views of storages
 *     ROOT/data/KEY     the bytes of a storage
 *     ROOT/byteorder    "little" or "big" (absent: little); ROOT/version
 *
 * The object is a dict of tensors by name, or holds one under a name that training scripts use ("model",
 * "state_dict" ...). Refused, each with a line that names the file and the tensor: a storage that is not
 * there or whose entry has another size, a view beyond its storage, negative strides, views that overlap
 * themselves (expanded ones too). Source: torch/serialization.py. */
#ifndef LETHE_TORCH_FILE_H
#define LETHE_TORCH_FILE_H

#include "core/input.h"
#include "core/safetensors.h"

typedef struct TorchFile TorchFile;

/* Takes over the input, whether it succeeds or not. */
bool torch_open_legacy(TorchFile **out, Input in, Error *e);
bool torch_open(TorchFile **out, Input in, Error *e);
void torch_close(TorchFile *f); /* NULL is fine */

int64_t torch_count(const TorchFile *f);
const SafeEntry *torch_at(const TorchFile *f,
                          int64_t i);      /* in the dict's order; size: of the tensor in C order */
int64_t torch_ignored(const TorchFile *f); /* tensors elsewhere in the object */

/* Tensor i as safe_read, safe_read_real and safe_read_raw. The checksum of its storage is compared when it is
 * first read; a view that is not in C order takes memory for as long. */
bool torch_read(const TorchFile *f, int64_t i, Tensor *t, Error *e);
bool torch_read_real(const TorchFile *f, int64_t i, real *out, int64_t count, Error *e);
bool torch_read_raw(const TorchFile *f, int64_t i, void *out, size_t size, Error *e);

#endif
