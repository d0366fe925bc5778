#include "core/trace.h"

#include "core/clock.h"
#include "core/comm.h"
#include "core/file.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

enum { NAME = 24, LINE = 200 };

typedef struct Span {
    char name[NAME];
    int64_t number;
    double from, to; /* seconds since all ranks stood in trace_open */
    int lane;
} Span;

static struct {
    char path[FILE_PATH];
    double zero;
    Span *span;
    int64_t count;
} trace;

bool trace_on(void) {
    return trace.span != NULL;
}

bool trace_open(const char *path, Error *e) {
    bool fine = (size_t)snprintf(trace.path, sizeof trace.path, "%s", path) < sizeof trace.path ||
                error_set(e, ERROR_LIMIT, "--trace: the path is too long");
    if (fine && comm_first()) fine = file_write(path, "[]\n", 3, e);
    if (fine && !(trace.span = mem_zero(TRACE_MOST, sizeof *trace.span)))
        fine = error_memory(e, TRACE_MOST * sizeof *trace.span);
    if (!comm_agree(fine, e)) return false;
    comm_wait_all(); /* the ranks' clocks may show anything: this moment is their common zero */
    trace.zero = clock_seconds();
    return true;
}

void trace_span(TraceLane lane, const char *name, int64_t number, double from, double to) {
    if (!trace.span || trace.count == TRACE_MOST) return;
    Span *s = &trace.span[trace.count++];
    *s = (Span){.number = number, .from = from - trace.zero, .to = to - trace.zero, .lane = (int)lane};
    snprintf(s->name, sizeof s->name, "%s", name);
}

typedef struct Text {
    char *text;
    size_t used, room;
} Text;

PRINTF_LIKE(2, 3) static void put(Text *t, const char *format, ...) {
    va_list args;
    va_start(args, format);
    if (t->used < t->room) t->used += (size_t)vsnprintf(t->text + t->used, t->room - t->used, format, args);
    va_end(args);
}

static void put_names(Text *t, int rank) {
    static const char *const lane[TRACE_LANES] = {"step", "reduce", "gpu"};
    put(t,
        "{\"name\": \"process_name\", \"ph\": \"M\", \"pid\": %d, \"args\": {\"name\": \"rank %d on "
        "%s\"}},\n",
        rank, rank, comm_host(rank));
    for (int i = 0; i < TRACE_LANES; i++)
        put(t,
            "{\"name\": \"thread_name\", \"ph\": \"M\", \"pid\": %d, \"tid\": %d, \"args\": {\"name\": "
            "\"%s\"}},\n",
            rank, i, lane[i]);
}

static void put_span(Text *t, int rank, const Span *s) {
    char number[48] = "";
    if (s->number >= 0) snprintf(number, sizeof number, ", \"args\": {\"number\": %" PRId64 "}", s->number);
    put(t, "{\"name\": \"%s\", \"ph\": \"X\", \"pid\": %d, \"tid\": %d, \"ts\": %.3f, \"dur\": %.3f%s},\n",
        s->name, rank, s->lane, 1e6 * s->from, 1e6 * (s->to - s->from), number);
}

static bool write_all(const Span *all, const double *counts, int64_t most, Error *e) {
    Text t = {.room = 16};
    for (int r = 0; r < comm_size(); r++) t.room += LINE * ((size_t)counts[r] + 2 * TRACE_LANES);
    if (!(t.text = mem_get(t.room))) return error_memory(e, t.room);
    put(&t, "[\n");
    for (int r = 0; r < comm_size(); r++) {
        put_names(&t, r);
        for (int64_t i = 0; i < (int64_t)counts[r]; i++) put_span(&t, r, &all[r * most + i]);
    }
    t.text[t.used - 2] = '\n'; /* no comma after the last */
    t.text[t.used - 1] = ']';
    bool fine = file_write(trace.path, t.text, t.used, e);
    mem_free(t.text);
    return fine;
}

bool trace_close(Error *e) {
    if (!trace.span) return true;
    double count = (double)trace.count, *counts = mem_zero((size_t)comm_size(), sizeof *counts);
    double most = count;
    comm_most(&most, 1);
    size_t each = (size_t)most * sizeof(Span);
    Span *all = comm_first() ? mem_zero((size_t)comm_size(), each + 1) : NULL;
    bool fine = comm_agree((counts && (all || !comm_first())) || error_memory(e, each), e);
    if (fine) {
        comm_gather(&count, sizeof count, counts);
        comm_gather(trace.span, each, all);
        if (all) fine = write_all(all, counts, (int64_t)most, e);
        fine = comm_agree(fine, e);
    }
    mem_free(all);
    mem_free(counts);
    mem_free(trace.span);
    trace.span = NULL;
    return fine;
}
