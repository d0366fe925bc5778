#include "core/buckets.h"

#include <string.h>

enum { PIECE = 16 }; /* elements: pieces begin on a cache line */

int64_t buckets_multiple(void) {
    return (int64_t)PIECE * comm_size();
}

/* The buckets that a parameter's gradient lies in: first .. last. */
static void span_of(const Buckets *b, const Tensor *t, int *first, int *last) {
    int64_t from = tensor_real(t->grad) - b->params->grad, each = b->list[0].end - b->list[0].begin;
    *first = (int)(from / each);
    *last = (int)((from + tensor_count(t) - 1) / each);
}

bool buckets_open(Buckets *b, Params *params, int64_t bytes, bool shard, Error *e) {
    int64_t multiple = buckets_multiple(), n = params->trained;
    int64_t each = (bytes / (int64_t)sizeof(real) + multiple - 1) / multiple * multiple;
    *b = (Buckets){.params = params, .shard = shard, .next = -1};
    b->count = (int)((n + each - 1) / each);
    b->list = mem_zero((size_t)b->count + 1, sizeof *b->list);
    b->part = mem_zero((size_t)b->count + 1, sizeof *b->part);
    if (!b->list || !b->part) return error_memory(e, (size_t)b->count * sizeof *b->list);
    for (int i = 0; i < b->count; i++) {
        int64_t begin = i * each, end = begin + each < n ? begin + each : n;
        int64_t piece = (end - begin) / comm_size();
        b->list[i] = (Bucket){.begin = begin, .end = end};
        b->part[i] = (OptimPart){begin + piece * comm_rank(), begin + piece * (comm_rank() + 1),
                                 each / comm_size() * i};
    }
    return true;
}

void buckets_close(Buckets *b) {
    mem_free(b->list);
    mem_free(b->part);
    *b = (Buckets){0};
}

void buckets_begin(Buckets *b) {
    for (int i = 0; i < b->count; i++) b->list[i].waits = 0;
    for (int i = 0; i < b->params->count; i++) {
        int first, last;
        if (!b->params->list[i]->tensor.grad) continue;
        span_of(b, &b->params->list[i]->tensor, &first, &last);
        for (int k = first; k <= last; k++) b->list[k].waits++;
    }
    b->next = b->count - 1;
}

/* What nobody wrote is zero from now on: the sum needs it. */
static void settle(Buckets *b, const Bucket *k) {
    for (int i = 0; i < b->params->count; i++) {
        Tensor *t = &b->params->list[i]->tensor;
        if (!t->grad || !t->grad_fresh) continue;
        int64_t from = tensor_real(t->grad) - b->params->grad;
        if (from < k->end && from + tensor_count(t) > k->begin) params_settle_one(b->params->list[i]);
    }
}

static void send(Buckets *b) {
    Bucket *k = &b->list[b->next];
    settle(b, k);
    k->work = (CommWork){.kind = b->shard ? COMM_SCATTER : COMM_SUM,
                         .data = b->params->grad + k->begin,
                         .device = b->params->device != NULL,
                         .n = k->end - k->begin,
                         .what = "adding up the gradients",
                         .number = b->next};
    comm_start(&k->work);
    b->next--;
}

void buckets_written(void *self, Tensor *param) {
    Buckets *b = self;
    int first, last;
    span_of(b, param, &first, &last);
    for (int i = first; i <= last; i++) b->list[i].waits--;
    while (b->next >= 0 && b->list[b->next].waits == 0) send(b);
}

void buckets_finish(Buckets *b) {
    while (b->next >= 0) send(b);
    for (int i = b->count - 1; i >= 0; i--) comm_finish(&b->list[i].work);
}

void buckets_collect(Buckets *b) {
    if (!b->shard) return;
    for (int i = 0; i < b->count; i++) {
        Bucket *k = &b->list[i];
        k->work = (CommWork){.kind = COMM_COLLECT,
                             .data = (b->params->device ? b->params->device : b->params->value) + k->begin,
                             .device = b->params->device != NULL,
                             .n = k->end - k->begin,
                             .what = "collecting the weights",
                             .number = i};
        comm_start(&k->work);
    }
    for (int i = 0; i < b->count; i++) comm_finish(&b->list[i].work);
}

void buckets_gather(const Buckets *b, const real *mine, real *slab) {
    for (int i = 0; i < b->count; i++) {
        const OptimPart *p = &b->part[i];
        comm_gather(mine + p->at, (size_t)(p->end - p->begin) * sizeof *mine,
                    slab ? slab + b->list[i].begin : NULL);
    }
}

bool buckets_spread(const Buckets *b, real *mine, const real *slab, Error *e) {
    size_t bytes = b->count ? (size_t)(b->list[0].end - b->list[0].begin) * sizeof *mine : 0;
    real *room = mem_get(bytes);
    if (!comm_agree(room || error_memory(e, bytes), e) || !room) {
        mem_free(room);
        return false;
    }
    for (int i = 0; i < b->count; i++) {
        const Bucket *k = &b->list[i];
        const OptimPart *p = &b->part[i];
        size_t n = (size_t)(k->end - k->begin) * sizeof *room;
        if (comm_first()) memcpy(room, slab + k->begin, n);
        comm_share(room, n);
        memcpy(mine + p->at, room + (p->begin - k->begin), (size_t)(p->end - p->begin) * sizeof *mine);
    }
    mem_free(room);
    return true;
}
