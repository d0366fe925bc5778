/* The globals that may stand in a pickle, and what calling them comes to: a tensor, a dict, or something
 * opaque. Nothing here runs code of the file's choice. */
#include "core/pickle_inside.h"

#include <inttypes.h>
#include <string.h>

typedef enum {
    ROLE_VALUE,   /* never called */
    ROLE_OPAQUE,  /* whatever it makes is passed over */
    ROLE_ORDERED, /* collections.OrderedDict */
    ROLE_SIZE,    /* torch.Size: a tuple */
    ROLE_STORAGE, /* a class of storages with a dtype */
    ROLE_BYTES,   /* one without */
    ROLE_DTYPE,
    ROLE_TENSOR,    /* (storage, offset, size, stride) and what does not concern its values */
    ROLE_TENSOR_OF, /* the same with a dtype: _rebuild_tensor_v3 */
    ROLE_PARAMETER, /* (tensor, ...) */
} Role;

static const struct {
    const char *module, *name;
    Role role;
    SafeType type;
} known[] = {
    {"torch._utils", "_rebuild_tensor_v2", ROLE_TENSOR, 0},
    {"torch._utils", "_rebuild_tensor_v3", ROLE_TENSOR_OF, 0},
    {"torch._utils", "_rebuild_tensor", ROLE_TENSOR, 0},
    {"torch._utils", "_rebuild_parameter", ROLE_PARAMETER, 0},
    {"torch._utils", "_rebuild_parameter_with_state", ROLE_PARAMETER, 0},
    {"collections", "OrderedDict", ROLE_ORDERED, 0},
    {"torch", "Size", ROLE_SIZE, 0},
    {"torch", "DoubleStorage", ROLE_STORAGE, SAFE_F64},
    {"torch", "FloatStorage", ROLE_STORAGE, SAFE_F32},
    {"torch", "HalfStorage", ROLE_STORAGE, SAFE_F16},
    {"torch", "BFloat16Storage", ROLE_STORAGE, SAFE_BF16},
    {"torch", "LongStorage", ROLE_STORAGE, SAFE_I64},
    {"torch", "IntStorage", ROLE_STORAGE, SAFE_I32},
    {"torch", "ShortStorage", ROLE_STORAGE, SAFE_I16},
    {"torch", "CharStorage", ROLE_STORAGE, SAFE_I8},
    {"torch", "ByteStorage", ROLE_STORAGE, SAFE_U8},
    {"torch", "BoolStorage", ROLE_STORAGE, SAFE_BOOL},
    {"torch", "ComplexFloatStorage", ROLE_STORAGE, SAFE_C64},
    {"torch.storage", "UntypedStorage", ROLE_BYTES, SAFE_U8},
    {"torch", "UntypedStorage", ROLE_BYTES, SAFE_U8},
    {"torch", "float64", ROLE_DTYPE, SAFE_F64},
    {"torch", "float32", ROLE_DTYPE, SAFE_F32},
    {"torch", "float16", ROLE_DTYPE, SAFE_F16},
    {"torch", "bfloat16", ROLE_DTYPE, SAFE_BF16},
    {"torch", "int64", ROLE_DTYPE, SAFE_I64},
    {"torch", "int32", ROLE_DTYPE, SAFE_I32},
    {"torch", "int16", ROLE_DTYPE, SAFE_I16},
    {"torch", "int8", ROLE_DTYPE, SAFE_I8},
    {"torch", "uint8", ROLE_DTYPE, SAFE_U8},
    {"torch", "uint16", ROLE_DTYPE, SAFE_U16},
    {"torch", "uint32", ROLE_DTYPE, SAFE_U32},
    {"torch", "uint64", ROLE_DTYPE, SAFE_U64},
    {"torch", "bool", ROLE_DTYPE, SAFE_BOOL},
    {"torch", "complex64", ROLE_DTYPE, SAFE_C64},
    {"torch", "float8_e4m3fn", ROLE_DTYPE, SAFE_F8_E4M3},
    {"torch", "float8_e5m2", ROLE_DTYPE, SAFE_F8_E5M2},
    {"torch", "float8_e4m3fnuz", ROLE_DTYPE, SAFE_F8_E4M3FNUZ},
    {"torch", "float8_e5m2fnuz", ROLE_DTYPE, SAFE_F8_E5M2FNUZ},
    {"torch", "float8_e8m0fnu", ROLE_DTYPE, SAFE_F8_E8M0},
    {"torch", "strided", ROLE_VALUE, 0},
    {"torch.serialization", "_get_layout", ROLE_OPAQUE, 0},
    {"torch", "device", ROLE_OPAQUE, 0},
    {"argparse", "Namespace", ROLE_OPAQUE, 0},
    {"types", "SimpleNamespace", ROLE_OPAQUE, 0},
    {"collections", "defaultdict", ROLE_OPAQUE, 0},
    {"collections", "Counter", ROLE_OPAQUE, 0},
    {"builtins", "set", ROLE_OPAQUE, 0},
    {"__builtin__", "set", ROLE_OPAQUE, 0},
    {"builtins", "complex", ROLE_OPAQUE, 0},
    {"__builtin__", "complex", ROLE_OPAQUE, 0},
    {"builtins", "bytearray", ROLE_OPAQUE, 0},
    {"__builtin__", "bytearray", ROLE_OPAQUE, 0},
    {"builtins", "slice", ROLE_OPAQUE, 0},
    {"__builtin__", "slice", ROLE_OPAQUE, 0},
    {"builtins", "int", ROLE_VALUE, 0},
    {"__builtin__", "int", ROLE_VALUE, 0},
    {"builtins", "float", ROLE_VALUE, 0},
    {"__builtin__", "float", ROLE_VALUE, 0},
    {"builtins", "str", ROLE_VALUE, 0},
    {"builtins", "list", ROLE_VALUE, 0},
    {"__builtin__", "list", ROLE_VALUE, 0},
    {"builtins", "dict", ROLE_VALUE, 0},
    {"__builtin__", "dict", ROLE_VALUE, 0},
    {"_codecs", "encode", ROLE_OPAQUE, 0},
    {"numpy", "dtype", ROLE_OPAQUE, 0},
    {"numpy", "ndarray", ROLE_VALUE, 0},
    {"numpy.core.multiarray", "scalar", ROLE_OPAQUE, 0},
    {"numpy.core.multiarray", "_reconstruct", ROLE_OPAQUE, 0},
    {"numpy._core.multiarray", "scalar", ROLE_OPAQUE, 0},
    {"numpy._core.multiarray", "_reconstruct", ROLE_OPAQUE, 0},
    {"numpy.core.numeric", "_frombuffer", ROLE_OPAQUE, 0},
    {"numpy._core.numeric", "_frombuffer", ROLE_OPAQUE, 0},
    {"pathlib", "PosixPath", ROLE_OPAQUE, 0},
    {"pathlib", "WindowsPath", ROLE_OPAQUE, 0},
    {"pathlib._local", "PosixPath", ROLE_OPAQUE, 0},
};

static bool equal(PickleText text, const char *word) {
    return text.size == strlen(word) && memcmp(text.at, word, text.size) == 0;
}

bool machine_global(const Machine *m, PickleText module, PickleText name, int *row) {
    char a[PICKLE_SHOWN], b[PICKLE_SHOWN];
    for (*row = 0; *row < COUNT(known); ++*row)
        if (equal(module, known[*row].module) && equal(name, known[*row].name)) return true;
    return machine_fail(m, "global %s.%s is not allowed", pickle_shown(module, a), pickle_shown(name, b));
}

/* -------------------------------------------------------------------------------------------- tensors --- */

/* The items of a tuple or list, at most `most`; -1: there are more, or it is neither. */
static int items_of(const Pickle *p, uint32_t node, uint32_t *item, int most) {
    const PickleNode *t = &p->node[node];
    int n = 0;
    if (t->kind != PICKLE_TUPLE && t->kind != PICKLE_LIST) return -1;
    for (uint32_t c = t->chain.first; c; c = p->cell[c].next, n++) {
        if (n == most) return -1;
        item[n] = p->cell[c].node;
    }
    return n;
}

static bool read_numbers(const Machine *m, uint32_t node, int64_t out[SAFE_MAX_DIM], int *count) {
    uint32_t item[SAFE_MAX_DIM];
    *count = items_of(m->p, node, item, SAFE_MAX_DIM);
    if (*count < 0)
        return machine_fail(m, "a tensor's sizes or strides are no tuple of at most %d", SAFE_MAX_DIM);
    for (int i = 0; i < *count; i++) {
        if (m->p->node[item[i]].kind != PICKLE_INT)
            return machine_fail(m, "a tensor's sizes or strides are not whole numbers");
        out[i] = m->p->node[item[i]].integer;
    }
    return true;
}

/* Metadata says that values are conjugate or negative: nothing that weights are. */
static bool plain(const Pickle *p, uint32_t metadata) {
    const PickleNode *n = &p->node[metadata];
    return n->kind == PICKLE_NONE || (n->kind == PICKLE_DICT && !n->chain.first);
}

/* (storage, offset, size, stride[, requires_grad, hooks[, dtype][, metadata]]) */
static bool make_tensor(Machine *m, bool typed, uint32_t args) {
    Pickle *p = m->p;
    uint32_t arg[8];
    int n = items_of(p, args, arg, COUNT(arg)), strides, last = typed ? 7 : 6;
    if (n < 4 || (typed && n < 7)) return machine_fail(m, "a tensor is made from %d arguments", n);
    const PickleNode *storage = &p->node[arg[0]], *offset = &p->node[arg[1]];
    if (storage->kind != PICKLE_STORAGE || offset->kind != PICKLE_INT || offset->integer < 0)
        return machine_fail(m, "a tensor is made from no storage, or from no place in it");
    PickleTensor t = {.storage = p->storage[storage->more], .offset = (uint64_t)offset->integer};
    t.type = t.storage.type;
    if (!read_numbers(m, arg[2], t.dim, &t.ndim) || !read_numbers(m, arg[3], t.stride, &strides))
        return false;
    if (strides != t.ndim) return machine_fail(m, "a tensor with %d sizes and %d strides", t.ndim, strides);
    if (typed) {
        const PickleNode *dtype = &p->node[arg[6]];
        if (dtype->kind != PICKLE_GLOBAL || known[dtype->global].role != ROLE_DTYPE)
            return machine_fail(m, "a tensor's dtype is none");
        t.type = known[dtype->global].type;
    }
    if (!typed && t.storage.bytes) return machine_fail(m, "a tensor without a dtype");
    if (n > last && !plain(p, arg[last])) return machine_fail(m, "a tensor that is conjugate or negative");
    if (!machine_grow(m, &p->tensor, &m->room_tensor, p->tensors, sizeof *p->tensor, SAFE_MAX_TENSORS))
        return false;
    p->tensor[p->tensors] = t;
    return machine_push(m, (PickleNode){.kind = PICKLE_TENSOR, .more = p->tensors++});
}

/* ('storage', class, key, location, length[, view]): a view of another storage was written long ago, if ever
 */
bool machine_storage(Machine *m, uint32_t id) {
    Pickle *p = m->p;
    uint32_t arg[6];
    int n = items_of(p, id, arg, COUNT(arg));
    if (n < 5 || (n == 6 && p->node[arg[5]].kind != PICKLE_NONE))
        return machine_fail(m, "a persistent id that is no storage");
    const PickleNode *word = &p->node[arg[0]], *class = &p->node[arg[1]], *key = &p->node[arg[2]],
                     *length = &p->node[arg[4]];
    if (word->kind != PICKLE_TEXT || !equal(word->text, "storage") || class->kind != PICKLE_GLOBAL ||
        key->kind != PICKLE_TEXT || length->kind != PICKLE_INT || length->integer < 0)
        return machine_fail(m, "a persistent id that is no storage");
    Role role = known[class->global].role;
    if (role != ROLE_STORAGE && role != ROLE_BYTES)
        return machine_fail(m, "%s.%s is no class of storages", known[class->global].module,
                            known[class->global].name);
    if (!machine_grow(m, &p->storage, &m->room_storage, p->storages, sizeof *p->storage, PICKLE_MAX_NODES))
        return false;
    p->storage[p->storages] = (PickleStorage){.key = key->text,
                                              .type = known[class->global].type,
                                              .bytes = role == ROLE_BYTES,
                                              .length = (uint64_t)length->integer};
    return machine_push(m, (PickleNode){.kind = PICKLE_STORAGE, .more = p->storages++});
}

/* --------------------------------------------------------------------------------------------- calls --- */

static bool make_parameter(Machine *m, uint32_t args) {
    uint32_t arg[4];
    int n = items_of(m->p, args, arg, COUNT(arg));
    if (n < 1 || m->p->node[arg[0]].kind != PICKLE_TENSOR)
        return machine_fail(m, "a parameter is made from no tensor");
    return machine_push(m, m->p->node[arg[0]]);
}

bool machine_call(Machine *m, uint32_t callable, uint32_t args) {
    const PickleNode *f = &m->p->node[callable];
    uint32_t arg[1];
    if (f->kind != PICKLE_GLOBAL) return machine_fail(m, "calls what is no global");
    if (m->p->node[args].kind != PICKLE_TUPLE) return machine_fail(m, "calls with what is no tuple");
    switch (known[f->global].role) {
    case ROLE_OPAQUE:
        return machine_push(m, (PickleNode){.kind = PICKLE_OPAQUE});
    case ROLE_ORDERED:
        if (m->p->node[args].chain.first)
            return machine_fail(m, "an OrderedDict that is made from something");
        return machine_push(m, (PickleNode){.kind = PICKLE_DICT});
    case ROLE_SIZE:
        if (items_of(m->p, args, arg, 1) != 1 || m->p->node[arg[0]].kind != PICKLE_TUPLE)
            return machine_fail(m, "a torch.Size that is made from no tuple");
        return machine_push(m, m->p->node[arg[0]]);
    case ROLE_TENSOR:
    case ROLE_TENSOR_OF:
        return make_tensor(m, known[f->global].role == ROLE_TENSOR_OF, args);
    case ROLE_PARAMETER:
        return make_parameter(m, args);
    default:
        return machine_fail(m, "%s.%s is not called", known[f->global].module, known[f->global].name);
    }
}
