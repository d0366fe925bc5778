#include "core/pickle_inside.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

enum { MOST_DEPTH = 100, WORD = 200 };

bool machine_fail(const Machine *m, const char *format, ...) {
    char text[500];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    return error_set(m->e, ERROR_FORMAT, "%s: byte %zu of %s: %s", m->path, m->from, m->entry, text);
}

#define fail(...) (machine_fail(__VA_ARGS__), false)

const char *pickle_shown(PickleText text, char buffer[PICKLE_SHOWN]) {
    size_t n = text.size < PICKLE_SHOWN - 4 ? text.size : PICKLE_SHOWN - 4;
    for (size_t i = 0; i < n; i++) buffer[i] = text.at[i] > 0x20 && text.at[i] < 0x7F ? text.at[i] : '?';
    strcpy(buffer + n, n < text.size ? "..." : "");
    return buffer;
}

/* -------------------------------------------------------------------------------------------- values --- */

bool machine_grow(const Machine *m, void *array, uint32_t *room, uint32_t count, size_t size, uint32_t most) {
    void **at = array;
    if (count < *room) return true;
    if (count >= most)
        return fail(m, "a pickle of more than %" PRIu32 " values, or as many on its stack", most);
    uint32_t more = *room ? *room * 2 : 64;
    void *bigger = mem_resize(*at, more * size);
    if (!bigger) return error_memory(m->e, more * size);
    *at = bigger;
    *room = more;
    return true;
}

static bool push(Machine *m, uint32_t node) {
    if (!machine_grow(m, &m->stack, &m->room_stack, m->height, sizeof *m->stack, PICKLE_MAX_STACK))
        return false;
    m->stack[m->height++] = node;
    return true;
}

bool machine_push(Machine *m, PickleNode node) {
    Pickle *p = m->p;
    if (!machine_grow(m, &p->node, &m->room_node, p->nodes, sizeof *p->node, PICKLE_MAX_NODES)) return false;
    node.at = (uint32_t)m->from;
    p->node[p->nodes] = node;
    return push(m, p->nodes++);
}

static bool push_integer(Machine *m, int64_t n) {
    return machine_push(m, (PickleNode){.kind = PICKLE_INT, .integer = n});
}

static bool push_kind(Machine *m, PickleKind kind) {
    return machine_push(m, (PickleNode){.kind = kind});
}

/* What the stack holds above the innermost mark. */
static uint32_t above(const Machine *m) {
    return m->height - (m->marks ? m->mark[m->marks - 1] : 0);
}

static bool need(const Machine *m, uint32_t n) {
    return above(m) >= n || fail(m, "takes more from the stack than is there");
}

/* Appends to a tuple, list or dict. Containers are whole before they are put into others, so that their depth
 * is known then; one that goes round in a circle is not walked by anybody. */
static bool chain_add(Machine *m, uint32_t into, uint32_t item) {
    Pickle *p = m->p;
    if (!machine_grow(m, &p->cell, &m->room_cell, p->cells, sizeof *p->cell, PICKLE_MAX_NODES)) return false;
    PickleNode *c = &p->node[into];
    uint32_t deeper = p->node[item].depth + 1u;
    if (deeper > MOST_DEPTH) return fail(m, "containers nested deeper than %d", MOST_DEPTH);
    if (deeper > c->depth) c->depth = (uint16_t)deeper;
    p->cell[p->cells] = (PickleCell){.node = item};
    if (c->chain.first)
        p->cell[c->chain.last].next = p->cells;
    else
        c->chain.first = p->cells;
    c->chain.last = p->cells++;
    return true;
}

/* Items `from` .. height of the stack into a container, which then are gone. Opaque ones swallow them. */
static bool chain_take(Machine *m, uint32_t into, uint32_t from) {
    for (uint32_t i = from; i < m->height && m->p->node[into].kind != PICKLE_OPAQUE; i++)
        if (!chain_add(m, into, m->stack[i])) return false;
    m->height = from;
    return true;
}

static bool unmark(Machine *m, uint32_t *from) {
    if (m->marks == 0) return fail(m, "a mark is missing on the stack");
    *from = m->mark[--m->marks];
    return true;
}

/* ------------------------------------------------------------------------------------------- operands --- */

static const uint8_t *take(Machine *m, uint64_t n) {
    if (n > m->size - m->at) {
        machine_fail(m, "the pickle ends before this opcode does");
        return NULL;
    }
    const uint8_t *p = m->data + m->at;
    m->at += (size_t)n;
    return p;
}

/* A little-endian number of `bytes` bytes. */
static bool take_number(Machine *m, int bytes, uint64_t *n) {
    const uint8_t *p = take(m, (uint64_t)bytes);
    *n = 0;
    for (int i = bytes - 1; p && i >= 0; i--) *n = *n << 8 | p[i];
    return p != NULL;
}

/* A length of `bytes` bytes, and so many bytes. */
static bool take_text(Machine *m, int bytes, PickleText *text) {
    uint64_t n;
    if (!take_number(m, bytes, &n)) return false;
    const uint8_t *p = take(m, n);
    *text = (PickleText){(const char *)p, (size_t)n};
    return p != NULL;
}

static bool take_line(Machine *m, PickleText *text) {
    size_t left = m->size - m->at, most = left < WORD ? left : WORD;
    const uint8_t *p = m->data + m->at, *end = memchr(p, '\n', most);
    if (!end) return fail(m, "a name that does not end");
    *text = (PickleText){(const char *)p, (size_t)(end - p)};
    m->at += text->size + 1;
    return true;
}

/* -------------------------------------------------------------------------------------------- opcodes --- */

static bool op_proto(Machine *m) {
    uint64_t n;
    if (m->from != 0) return fail(m, "PROTO stands elsewhere than at the start");
    if (!take_number(m, 1, &n)) return false;
    return (n >= 2 && n <= 5) || fail(m, "pickle protocol %" PRIu64 "; 2 to 5 are read", n);
}

static bool op_frame(Machine *m) {
    uint64_t n;
    if (!take_number(m, 8, &n)) return false;
    return n <= m->size - m->at ||
           fail(m, "a frame of %" PRIu64 " bytes, but %zu remain", n, m->size - m->at);
}

static bool op_stop(Machine *m) {
    if (m->height != 1 || m->marks) return fail(m, "ends with %" PRIu32 " values on its stack", m->height);
    m->p->root = m->stack[0];
    m->stopped = true;
    return true;
}

static bool op_mark(Machine *m) {
    if (m->marks == PICKLE_MAX_MARKS) return fail(m, "marks nested deeper than %d", PICKLE_MAX_MARKS);
    m->mark[m->marks++] = m->height;
    return true;
}

static bool op_none(Machine *m) {
    return push_kind(m, PICKLE_NONE);
}

static bool op_bool(Machine *m) {
    return machine_push(m, (PickleNode){.kind = PICKLE_BOOL, .integer = m->data[m->from] == 0x88});
}

static bool op_int(Machine *m) {
    uint8_t code = m->data[m->from];
    uint64_t n;
    if (!take_number(m, code == 'K' ? 1 : code == 'M' ? 2 : 4, &n)) return false;
    return push_integer(m, code == 'J' ? (int32_t)(uint32_t)n : (int64_t)n);
}

/* Two's complement. What 64 bits cannot hold is no size of a tensor: opaque. */
static bool op_long(Machine *m) {
    PickleText text;
    uint64_t n = 0;
    if (!take_text(m, m->data[m->from] == 0x8A ? 1 : 4, &text)) return false;
    if (text.size > 8) return push_kind(m, PICKLE_OPAQUE);
    if (text.size && text.at[text.size - 1] & 0x80) n = UINT64_MAX;
    for (size_t i = text.size; i-- > 0;) n = n << 8 | (uint8_t)text.at[i];
    return push_integer(m, (int64_t)n);
}

static bool op_float(Machine *m) {
    return take(m, 8) && push_kind(m, PICKLE_OPAQUE);
}

static int length_of(uint8_t code) {
    switch (code) {
    case 'X': /* BINUNICODE */
    case 'T': /* BINSTRING */
    case 'B': /* BINBYTES */
        return 4;
    case 0x8C: /* SHORT_BINUNICODE */
    case 'U':  /* SHORT_BINSTRING */
    case 'C':  /* SHORT_BINBYTES */
        return 1;
    default:
        return 8;
    }
}

static bool op_text(Machine *m) {
    PickleText text;
    return take_text(m, length_of(m->data[m->from]), &text) &&
           machine_push(m, (PickleNode){.kind = PICKLE_TEXT, .text = text});
}

static bool op_bytes(Machine *m) {
    PickleText text;
    return take_text(m, length_of(m->data[m->from]), &text) && push_kind(m, PICKLE_OPAQUE);
}

static bool op_empty(Machine *m) {
    uint8_t code = m->data[m->from];
    return push_kind(m, code == '}'   ? PICKLE_DICT
                        : code == ']' ? PICKLE_LIST
                        : code == ')' ? PICKLE_TUPLE
                                      : PICKLE_OPAQUE);
}

/* The items from `from` on become one tuple, or something opaque. */
static bool gather(Machine *m, PickleKind kind, uint32_t from) {
    uint32_t count = m->height - from;
    if (!push_kind(m, kind)) return false;
    uint32_t node = m->stack[--m->height];
    if (!chain_take(m, node, m->height - count)) return false;
    return push(m, node);
}

static bool op_tuple(Machine *m) {
    uint32_t from;
    return unmark(m, &from) && gather(m, m->data[m->from] == 't' ? PICKLE_TUPLE : PICKLE_OPAQUE, from);
}

static bool op_tuple_of(Machine *m) {
    uint32_t n = m->data[m->from] - 0x84u;
    return need(m, n) && gather(m, PICKLE_TUPLE, m->height - n);
}

/* Items from `from` on into the container below them. */
static bool fill(Machine *m, PickleKind kind, uint32_t from) {
    if (!need(m, m->height - from + 1)) return false;
    uint32_t into = m->stack[from - 1];
    PickleKind is = m->p->node[into].kind;
    if (is != kind && is != PICKLE_OPAQUE) return fail(m, "adds items to what holds none");
    if (kind == PICKLE_DICT && (m->height - from) % 2) return fail(m, "a key without a value");
    return chain_take(m, into, from);
}

static bool op_fill_one(Machine *m) {
    bool dict = m->data[m->from] == 's';
    uint32_t n = dict ? 2 : 1;
    return need(m, n + 1) && fill(m, dict ? PICKLE_DICT : PICKLE_LIST, m->height - n);
}

static bool op_fill(Machine *m) {
    uint8_t code = m->data[m->from];
    uint32_t from;
    return unmark(m, &from) && fill(m,
                                    code == 'u'   ? PICKLE_DICT
                                    : code == 'e' ? PICKLE_LIST
                                                  : PICKLE_OPAQUE,
                                    from);
}

/* An index is no larger than a pickle that sets all below it. */
static bool put(Machine *m, uint64_t i) {
    if (!need(m, 1)) return false;
    if (i >= m->size) return fail(m, "memo %" PRIu64 " is beyond what this pickle can fill", i);
    while (i >= m->room_memo) {
        uint32_t was = m->room_memo;
        if (!machine_grow(m, &m->memo, &m->room_memo, was, sizeof *m->memo, UINT32_MAX / 2)) return false;
        memset(m->memo + was, 0, (m->room_memo - was) * sizeof *m->memo);
    }
    m->memos += m->memo[i] == 0;
    m->memo[i] = m->stack[m->height - 1];
    return true;
}

static bool op_put(Machine *m) {
    uint64_t i = m->memos;
    uint8_t code = m->data[m->from];
    return (code == 0x94 || take_number(m, code == 'q' ? 1 : 4, &i)) && put(m, i);
}

static bool op_get(Machine *m) {
    uint64_t i;
    if (!take_number(m, m->data[m->from] == 'h' ? 1 : 4, &i)) return false;
    if (i >= m->room_memo || !m->memo[i]) return fail(m, "memo %" PRIu64 " holds nothing", i);
    return push(m, m->memo[i]);
}

static bool push_global(Machine *m, PickleText module, PickleText name) {
    int row;
    return machine_global(m, module, name, &row) &&
           machine_push(m, (PickleNode){.kind = PICKLE_GLOBAL, .global = row});
}

static bool op_global(Machine *m) {
    PickleText module, name;
    return take_line(m, &module) && take_line(m, &name) && push_global(m, module, name);
}

static bool op_stack_global(Machine *m) {
    if (!need(m, 2)) return false;
    const PickleNode *name = &m->p->node[m->stack[m->height - 1]],
                     *module = &m->p->node[m->stack[m->height - 2]];
    if (name->kind != PICKLE_TEXT || module->kind != PICKLE_TEXT)
        return fail(m, "a global whose name is no text");
    m->height -= 2;
    return push_global(m, module->text, name->text);
}

static bool op_call(Machine *m) {
    if (!need(m, 2)) return false;
    m->height -= 2;
    return machine_call(m, m->stack[m->height], m->stack[m->height + 1]);
}

static bool op_persistent(Machine *m) {
    return need(m, 1) && machine_storage(m, m->stack[--m->height]);
}

/* Attributes of a dict (a state dict's _metadata) or of something opaque: passed over. */
static bool op_build(Machine *m) {
    if (!need(m, 2)) return false;
    PickleKind kind = m->p->node[m->stack[m->height - 2]].kind;
    m->height--;
    return kind == PICKLE_DICT || kind == PICKLE_OPAQUE || fail(m, "sets attributes of what has none");
}

typedef struct Opcode {
    const char *name;
    bool (*run)(Machine *m); /* NULL: known and refused */
} Opcode;

static const Opcode opcode[256] = {
    [0x80] = {"PROTO", op_proto},
    [0x95] = {"FRAME", op_frame},
    ['.'] = {"STOP", op_stop},
    ['('] = {"MARK", op_mark},
    ['N'] = {"NONE", op_none},
    [0x88] = {"NEWTRUE", op_bool},
    [0x89] = {"NEWFALSE", op_bool},
    ['J'] = {"BININT", op_int},
    ['K'] = {"BININT1", op_int},
    ['M'] = {"BININT2", op_int},
    [0x8A] = {"LONG1", op_long},
    [0x8B] = {"LONG4", op_long},
    ['G'] = {"BINFLOAT", op_float},
    ['X'] = {"BINUNICODE", op_text},
    [0x8C] = {"SHORT_BINUNICODE", op_text},
    [0x8D] = {"BINUNICODE8", op_text},
    ['T'] = {"BINSTRING", op_text},
    ['U'] = {"SHORT_BINSTRING", op_text},
    ['B'] = {"BINBYTES", op_bytes},
    ['C'] = {"SHORT_BINBYTES", op_bytes},
    [0x8E] = {"BINBYTES8", op_bytes},
    [0x96] = {"BYTEARRAY8", op_bytes},
    ['}'] = {"EMPTY_DICT", op_empty},
    [']'] = {"EMPTY_LIST", op_empty},
    [')'] = {"EMPTY_TUPLE", op_empty},
    [0x8F] = {"EMPTY_SET", op_empty},
    ['t'] = {"TUPLE", op_tuple},
    [0x91] = {"FROZENSET", op_tuple},
    [0x85] = {"TUPLE1", op_tuple_of},
    [0x86] = {"TUPLE2", op_tuple_of},
    [0x87] = {"TUPLE3", op_tuple_of},
    ['s'] = {"SETITEM", op_fill_one},
    ['a'] = {"APPEND", op_fill_one},
    ['u'] = {"SETITEMS", op_fill},
    ['e'] = {"APPENDS", op_fill},
    [0x90] = {"ADDITEMS", op_fill},
    ['q'] = {"BINPUT", op_put},
    ['r'] = {"LONG_BINPUT", op_put},
    [0x94] = {"MEMOIZE", op_put},
    ['h'] = {"BINGET", op_get},
    ['j'] = {"LONG_BINGET", op_get},
    ['c'] = {"GLOBAL", op_global},
    [0x93] = {"STACK_GLOBAL", op_stack_global},
    ['R'] = {"REDUCE", op_call},
    [0x81] = {"NEWOBJ", op_call},
    ['Q'] = {"BINPERSID", op_persistent},
    ['b'] = {"BUILD", op_build},
    ['0'] = {"POP", NULL},
    ['1'] = {"POP_MARK", NULL},
    ['2'] = {"DUP", NULL},
    ['F'] = {"FLOAT", NULL},
    ['I'] = {"INT", NULL},
    ['L'] = {"LONG", NULL},
    ['P'] = {"PERSID", NULL},
    ['S'] = {"STRING", NULL},
    ['V'] = {"UNICODE", NULL},
    ['d'] = {"DICT", NULL},
    ['g'] = {"GET", NULL},
    ['i'] = {"INST", NULL},
    ['l'] = {"LIST", NULL},
    ['o'] = {"OBJ", NULL},
    ['p'] = {"PUT", NULL},
    [0x82] = {"EXT1", NULL},
    [0x83] = {"EXT2", NULL},
    [0x84] = {"EXT4", NULL},
    [0x92] = {"NEWOBJ_EX", NULL},
    [0x97] = {"NEXT_BUFFER", NULL},
    [0x98] = {"READONLY_BUFFER", NULL},
};

/* -------------------------------------------------------------------------------------------- running --- */

static bool run(Machine *m) {
    if (m->size < 2 || m->data[0] != 0x80)
        return fail(m, "a pickle of protocol 2 or later begins with PROTO; this does not");
    while (!m->stopped) {
        m->from = m->at;
        if (m->at == m->size) return fail(m, "the pickle ends without STOP");
        const Opcode *o = &opcode[m->data[m->at++]];
        if (!o->name) return fail(m, "0x%02X is no opcode", m->data[m->from]);
        if (!o->run) return fail(m, "opcode %s is not allowed", o->name);
        if (!o->run(m)) return false;
    }
    return true;
}

bool pickle_open(Pickle *p, const char *path, const char *entry, const void *data, size_t size, size_t *used,
                 Error *e) {
    Machine m = {.p = p, .path = path, .entry = entry, .data = data, .size = size, .e = e};
    *p = (Pickle){.nodes = 1, .cells = 1, .tensors = 1, .storages = 1};
    if (size > PICKLE_MAX_BYTES)
        return error_set(e, ERROR_LIMIT, "%s: %s has %zu bytes, above the limit of %d", path, entry, size,
                         PICKLE_MAX_BYTES);
    bool fine = run(&m);
    mem_free(m.stack);
    mem_free(m.memo);
    if (used) *used = m.at;
    if (fine && !used && m.at != size)
        return machine_fail(&m, "%zu bytes follow the end of the pickle", size - m.at);
    return fine;
}

void pickle_close(Pickle *p) {
    mem_free(p->node);
    mem_free(p->cell);
    mem_free(p->tensor);
    mem_free(p->storage);
    *p = (Pickle){0};
}

uint32_t pickle_get(const Pickle *p, uint32_t dict, const char *key) {
    uint32_t found = 0;
    if (p->node[dict].kind != PICKLE_DICT) return 0;
    for (uint32_t c = p->node[dict].chain.first; c; c = p->cell[p->cell[c].next].next) {
        const PickleNode *k = &p->node[p->cell[c].node];
        if (k->kind == PICKLE_TEXT && k->text.size == strlen(key) && !memcmp(k->text.at, key, k->text.size))
            found = p->cell[p->cell[c].next].node;
    }
    return found;
}
