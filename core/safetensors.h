/* safetensors: files of named tensors, read from strangers and written for them.
 * Source: README and safetensors/src/tensor.rs of huggingface/safetensors.
 *
 *     u64 (little endian) N | N bytes of JSON | data
 *     {"__metadata__":{"format":"pt"},"norm.bias":{"dtype":"F32","shape":[768],"data_offsets":[0,3072]},...}
 *
 * Reading trusts no size. Refused, each with a line that names the file and the byte or the tensor: a header
 * beyond 100 MB or the file, text that is not exactly this JSON, a key twice (after escapes), metadata that
 * is no text, sizes that overflow, a tensor whose byte range is not what its shape and dtype need, holes and
 * overlaps between tensors, bytes after the last. Memory for the header is at most about four times its
 * length, and none is taken for data: that is read by pread straight to where it shall be. */
#ifndef LETHE_SAFETENSORS_H
#define LETHE_SAFETENSORS_H

#include "core/hash.h"
#include "core/input.h"
#include "core/sink.h"
#include "core/tensor.h"

enum {
    SAFE_MAX_DIM = 8,
    SAFE_MAX_TENSORS = 1 << 20,
    SAFE_MAX_HEADER = 100000000,
    SAFE_NAME_TEXT = 128 /* room for safe_name_text */
};

/* Every dtype of the format, in the order in which its writer sorts, last first. Lethe computes with few of
 * them; the others can be listed and copied raw. */
typedef enum {
    SAFE_BOOL,
    SAFE_F4,
    SAFE_F6_E2M3,
    SAFE_F6_E3M2,
    SAFE_U8,
    SAFE_I8,
    SAFE_F8_E5M2,
    SAFE_F8_E4M3,
    SAFE_F8_E8M0,
    SAFE_F8_E4M3FNUZ,
    SAFE_F8_E5M2FNUZ,
    SAFE_I16,
    SAFE_U16,
    SAFE_F16,
    SAFE_BF16,
    SAFE_I32,
    SAFE_U32,
    SAFE_F32,
    SAFE_C64,
    SAFE_F64,
    SAFE_I64,
    SAFE_U64,
    SAFE_TYPES
} SafeType;

const char *safe_type_name(SafeType t); /* "F32" */
int safe_type_bits(SafeType t);

typedef struct SafeMeta {
    const char *key, *value; /* UTF-8 */
} SafeMeta;

/* ------------------------------------------------------------------------------------------- reading --- */

/* What the header says of one tensor. Borrowed from the SafeFile. */
typedef struct SafeEntry {
    const char *name;     /* UTF-8; may hold anything but NUL: print it through safe_name_text */
    uint64_t begin, size; /* bytes; begin counts from the start of the file */
    int64_t dim[SAFE_MAX_DIM];
    int ndim;
    SafeType type;
} SafeEntry;

typedef struct SafeFile SafeFile;

bool safe_open(SafeFile **out, const char *path, Error *e);
/* The same from memory, borrowed until safe_close; `name` is for messages. */
bool safe_open_bytes(SafeFile **out, const char *name, const void *bytes, size_t size, Error *e);
/* Takes over the input, whether it succeeds or not. */
bool safe_open_input(SafeFile **out, Input in, Error *e);
void safe_close(SafeFile *f); /* NULL is fine */

const char *safe_path(const SafeFile *f);
int64_t safe_count(const SafeFile *f);
const SafeEntry *safe_at(const SafeFile *f, int64_t i);          /* in the order of their bytes */
const SafeEntry *safe_find(const SafeFile *f, const char *name); /* NULL: no such tensor */
int64_t safe_entry_count(const SafeEntry *x);                    /* elements */
int safe_meta_count(const SafeFile *f);
const SafeMeta *safe_meta_at(const SafeFile *f, int i);    /* sorted by key */
const char *safe_meta(const SafeFile *f, const char *key); /* NULL: no such key */

/* The bytes as they stand; `size` must be x->size. */
bool safe_read_raw(const SafeFile *f, const SafeEntry *x, void *out, size_t size, Error *e);
/* F16, BF16, F32 or F64 as `real`; `count` must be the number of elements. Values beyond float become inf. */
bool safe_read_real(const SafeFile *f, const SafeEntry *x, real *out, int64_t count, Error *e);
/* Can this entry fill this tensor? Same shape, and: f32 and bf16 take F16, BF16, F32, F64 (bf16 rounds to
 * nearest even), i32 takes I32, u8 takes U8 and BOOL. Reads no data. */
bool safe_fits(const SafeFile *f, const SafeEntry *x, const Tensor *t, Error *e);
/* Fills it, after safe_fits. Takes no memory. */
bool safe_read(const SafeFile *f, const SafeEntry *x, Tensor *t, Error *e);

/* A name from a file made fit for a message: in quotes, control characters shown as '?', cut if long. */
const char *safe_name_text(const char *name, char buffer[SAFE_NAME_TEXT]);
/* "F32[2, 3]"; returns buffer. */
const char *safe_entry_text(const SafeEntry *x, char buffer[224]);

/* ------------------------------------------------------------------------------------------- writing --- */

typedef struct SafeItem {
    const char *name;
    SafeType type;
    int ndim;
    int64_t dim[SAFE_MAX_DIM];
    const void *data; /* C order, little endian */
} SafeItem;

/* An item that borrows the tensor's data; f32 becomes F32 (F64 where real is double). */
SafeItem safe_item(const char *name, const Tensor *t);
uint64_t safe_item_bytes(const SafeItem *x);

/* Puts one whole safetensors file into the sink, byte for byte what the reference library writes: tensors by
 * dtype, last first, then by name; the header padded with spaces to a multiple of 8. Sorts `items` in place.
 * Names and metadata that are not UTF-8 are refused; a name twice is a programmer's mistake. */
bool safe_put(Sink *s, SafeItem *items, int64_t n, const SafeMeta *meta, int metas, Error *e);

/* A file of its own at `path`, whole or not at all: written beside it, fsynced, renamed, folder fsynced.
 * `sha256` (HASH_TEXT bytes) may be NULL. */
bool safe_save(const char *path, SafeItem *items, int64_t n, const SafeMeta *meta, int metas, char *sha256,
               Error *e);

#endif
