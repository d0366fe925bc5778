/* weights: named tensors of a file from outside, whatever its format: safetensors, or what PyTorch's
 * torch.save writes (.pth, .pt: a zip file, or pickles in a row before 1.6). Told by the first bytes, never
 * by the name. Nothing of a file is executed. */
#ifndef LETHE_WEIGHTS_H
#define LETHE_WEIGHTS_H

#include "core/safetensors.h"

typedef struct Weights Weights;

bool weights_open(Weights **out, const char *path, Error *e);
/* The same from memory, borrowed until weights_close; `name` is for messages. */
bool weights_open_bytes(Weights **out, const char *name, const void *bytes, size_t size, Error *e);
/* A file of our own: safetensors and nothing else, its names as they stand. */
bool weights_open_safe(Weights **out, const char *path, Error *e);
void weights_close(Weights *w); /* NULL is fine */

/* Does a file begin as one of weights does, and not as a text? */
bool weights_begin(const char *path);

const char *weights_path(const Weights *w);
const char *weights_format(const Weights *w); /* "safetensors", "PyTorch zip", "PyTorch before 1.6" */
/* Names without what wraps them: "model.", "state_dict.", "module." and the like around all of them are gone.
 */
int64_t weights_count(const Weights *w);
const SafeEntry *weights_at(const Weights *w, int64_t i);
const SafeEntry *weights_find(const Weights *w, const char *name); /* NULL: no such tensor */
/* Is there one whose name begins so? */
bool weights_have(const Weights *w, const char *prefix);
/* How many blocks "PREFIX.0.", "PREFIX.1." ... there are: one more than the greatest number in a name. A
 * number of more than four digits counts as 9999. */
int64_t weights_blocks(const Weights *w, const char *prefix);
int64_t weights_ignored(const Weights *w);      /* tensors beside those: an optimizer's */
const SafeFile *weights_safe(const Weights *w); /* for its metadata; NULL: another format */

/* As safe_fits, safe_read, safe_read_real and safe_read_raw: f32 from any real type. A PyTorch tensor that is
 * not in C order takes memory while it is read. */
bool weights_fits(const Weights *w, const SafeEntry *x, const Tensor *t, Error *e);
bool weights_read(const Weights *w, const SafeEntry *x, Tensor *t, Error *e);
bool weights_read_real(const Weights *w, const SafeEntry *x, real *out, int64_t count, Error *e);
bool weights_read_raw(const Weights *w, const SafeEntry *x, void *out, size_t size, Error *e);

#endif
