/* pickle: a machine for the pickles that torch.save writes, which calls nothing. Source: Lib/pickletools.py
 * of CPython (the opcodes of protocols 2 to 5), torch/_weights_only_unpickler.py and torch/_utils.py of
 * PyTorch.
 *
 * It understands containers, texts, numbers, and tensors as PyTorch rebuilds them from storages; a few
 * classes that lie in checkpoints beside tensors (argparse.Namespace, NumPy's scalars, paths ...) become
 * PICKLE_OPAQUE. Every other opcode and every other global is refused by its name and its byte. What it can
 * be made to take is bounded: see the limits. */
#ifndef LETHE_PICKLE_H
#define LETHE_PICKLE_H

#include "core/safetensors.h"

enum {
    PICKLE_MAX_BYTES = 1 << 26, /* of a pickle */
    PICKLE_MAX_NODES = 1 << 22, /* values, and places in containers, of one */
    PICKLE_MAX_STACK = 1 << 20,
    PICKLE_MAX_MARKS = 256, /* open at a time: nesting */
};

typedef enum {
    PICKLE_NONE,
    PICKLE_BOOL,
    PICKLE_INT,
    PICKLE_TEXT,
    PICKLE_TUPLE,
    PICKLE_LIST,
    PICKLE_DICT, /* keys and values in turn */
    PICKLE_GLOBAL,
    PICKLE_STORAGE,
    PICKLE_TENSOR,
    PICKLE_OPAQUE,
} PickleKind;

/* Part of a pickle's text. */
typedef struct PickleText {
    const char *at; /* no NUL follows */
    size_t size;
} PickleText;

/* What persistent_id said. */
typedef struct PickleStorage {
    PickleText key; /* data/KEY is its entry */
    SafeType type;
    bool bytes;      /* it has no dtype of its own: length counts bytes */
    uint64_t length; /* elements */
} PickleStorage;

typedef struct PickleTensor {
    PickleStorage storage;
    SafeType type;
    int ndim;
    uint64_t offset; /* elements into the storage */
    int64_t dim[SAFE_MAX_DIM], stride[SAFE_MAX_DIM];
} PickleTensor;

typedef struct PickleNode {
    PickleKind kind;
    uint16_t depth; /* of what it contains; 0: contains nothing */
    uint32_t at;    /* byte of the opcode that made it */
    union {
        int64_t integer;
        PickleText text;
        int global;               /* a row of the list of those allowed */
        uint32_t more;            /* storage, tensor: which of that kind */
        struct {                  /* tuple, list, dict: a chain of cells */
            uint32_t first, last; /* 0: none */
        } chain;
    };
} PickleNode;

typedef struct PickleCell {
    uint32_t node, next; /* next 0: the last */
} PickleCell;

typedef struct Pickle {
    PickleNode *node; /* [0] is unused, as are cell[0], tensor[0], storage[0] */
    PickleCell *cell;
    PickleTensor *tensor;
    PickleStorage *storage;
    uint32_t nodes, cells, tensors, storages;
    uint32_t root;
} Pickle;

/* Runs the `size` bytes at `data`, which are borrowed until pickle_close. `used`: where it may end before
 * they do, and says where; NULL: it must not. `path` and `entry` are for messages. After a failure, too,
 * pickle_close frees what was taken. */
bool pickle_open(Pickle *p, const char *path, const char *entry, const void *data, size_t size, size_t *used,
                 Error *e);
void pickle_close(Pickle *p);

/* The value of a key of a dict, the last where it stands twice; 0: no such key, or no dict. */
uint32_t pickle_get(const Pickle *p, uint32_t dict, const char *key);

/* A text for messages: control characters and what is no ASCII shown as '?', cut if long. */
enum { PICKLE_SHOWN = 80 };
const char *pickle_shown(PickleText text, char buffer[PICKLE_SHOWN]);

#endif
