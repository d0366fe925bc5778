/* pickle_inside: the machine's state, and what it makes of globals. For core/pickle*.c alone. */
#ifndef LETHE_PICKLE_INSIDE_H
#define LETHE_PICKLE_INSIDE_H

#include "core/pickle.h"

typedef struct Machine {
    Pickle *p;
    const char *path, *entry;
    const uint8_t *data;
    size_t size, at, from; /* at: the next byte; from: that of the opcode which runs */
    uint32_t *stack, *memo, mark[PICKLE_MAX_MARKS];
    uint32_t height, memos; /* memos: entries that are set */
    uint32_t room_stack, room_memo, room_node, room_cell, room_tensor, room_storage;
    int marks;
    bool stopped;
    Error *e;
} Machine;

/* False, with "PATH: byte N of ENTRY: TEXT". */
bool machine_fail(const Machine *m, const char *format, ...) PRINTF_LIKE(2, 3);

/* Room for one more in an array of `count` elements of `size` bytes, `*room` of which there are. */
bool machine_grow(const Machine *m, void *array, uint32_t *room, uint32_t count, size_t size, uint32_t most);
bool machine_push(Machine *m, PickleNode node); /* makes it and pushes it */

/* The row of a global in the list of those allowed. False: it is not. */
bool machine_global(const Machine *m, PickleText module, PickleText name, int *row);
/* What calling a global, or making one of its class, comes to. */
bool machine_call(Machine *m, uint32_t callable, uint32_t args);
/* What persistent_id's tuple stands for. */
bool machine_storage(Machine *m, uint32_t id);

#endif
