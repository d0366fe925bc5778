/* The grid as files: CSV for a spreadsheet, JSON for a program; cli/grid_page.c has the page. */
#include "cli/grid.h"
#include "cli/grid_page.h"

#include "core/json.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

static bool save(const Grid *g, const char *name, const void *data, size_t size, Error *e) {
    char path[FILE_PATH];
    return file_join(path, sizeof path, g->out, name, e) && file_write(path, data, size, e);
}

static bool put(Bytes *b, Error *e, const char *format, ...) PRINTF_LIKE(3, 4);
static bool put(Bytes *b, Error *e, const char *format, ...) {
    char text[600];
    va_list args;
    va_start(args, format);
    int n = vsnprintf(text, sizeof text, format, args);
    va_end(args);
    return bytes_append(b, text, n < (int)sizeof text ? (size_t)n : sizeof text - 1, e);
}

static bool number_put(Bytes *b, double v, Error *e) {
    char text[32];
    if (isinf(v)) return put(b, e, ",inf"); /* the end of what is more than was tried */
    return isnan(v) ? put(b, e, ",") : put(b, e, ",%s", json_real_text(v, text));
}

/* One line a method: each figure's mean and the ends of its interval. */
static bool csv(const Grid *g, Error *e) {
    Bytes b = {0};
    int order[GRID_METHODS] = {0};
    grid_order(g, order);
    bool fine = put(&b, e, "method,seeds");
    for (int f = 0; f < FIGURES && fine; f++)
        fine = put(&b, e, ",%s,%s_lo,%s_hi", figure_row[f].key, figure_row[f].key, figure_row[f].key);
    for (int i = 0; i < g->methods && fine; i++) {
        fine = put(&b, e, "\n%s,%d", g->method[order[i]]->name, g->seeds);
        for (int f = 0; f < FIGURES && fine; f++) {
            const Interval *v = &g->mean[order[i]][f];
            fine = number_put(&b, v->value, e) && number_put(&b, v->lo, e) && number_put(&b, v->hi, e);
        }
    }
    fine = fine && put(&b, e, "\n") && save(g, "table.csv", b.data, b.size, e);
    bytes_free(&b);
    return fine;
}

static bool json(const Grid *g, Error *e) {
    enum { ROOM = 1 << 20, PART = 1 << 14 };
    int order[GRID_METHODS] = {0};
    char *text = mem_get(ROOM), *part = mem_get(PART);
    bool fine = (text && part) || error_memory(e, ROOM);
    grid_order(g, order);
    if (fine) {
        JsonWriter w = json_writer(text, ROOM - 1, 2);
        json_put_open(&w, NULL, '{');
        json_put_text(&w, "score", g->score);
        json_put_int(&w, "seeds", g->seeds);
        fine = audit_json(g->before, part, PART);
        json_put_raw(&w, "before", part);
        for (int i = 0; i < g->methods && fine; i++) {
            const GridCell *c = g->cell[order[i]];
            json_put_open(&w, g->method[order[i]]->name, '{');
            if (c->why[0]) json_put_text(&w, "error", c->why);
            fine = audit_json(g->mean[order[i]], part, PART);
            json_put_raw(&w, "figures", part);
            json_put_close(&w, '}');
        }
        json_put_close(&w, '}');
        fine = (fine && !w.full) || error_set(e, ERROR_LIMIT, "the table does not fit");
        if (fine) {
            memcpy(text + w.used, "\n", 2);
            fine = save(g, "table.json", text, w.used + 1, e);
        }
    }
    mem_free(text);
    mem_free(part);
    return fine;
}

bool grid_tables(const Grid *g, const char *title, Error *e) {
    return csv(g, e) && json(g, e) && grid_page(g, title, e);
}
