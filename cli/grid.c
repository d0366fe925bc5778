#include "cli/grid.h"

#include "core/json.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

enum { CELL = 1 << 14 };

/* ---- a cell's file ---- */

bool grid_path(const Grid *g, const char *method, int seed, const char *ending, char path[FILE_PATH],
               Error *e) {
    char inside[100];
    snprintf(inside, sizeof inside, "cells/%s-%d.%s", method, seed + 1, ending);
    return file_join(path, FILE_PATH, g->out, inside, e);
}

static bool cell_path(const Grid *g, int method, int seed, char path[FILE_PATH], Error *e) {
    return grid_path(g, g->method[method]->name, seed, "json", path, e);
}

/* In "figures" a number each; in "at_least" the names of those that are more than was tried. */
static bool figures_read(Json j, Json more, double figure[FIGURES], bool beyond[FIGURES], Error *e) {
    for (int i = 0; i < FIGURES; i++) {
        Json v = json_get(j, figure_row[i].key);
        figure[i] = NAN;
        if (json_exists(v) && !json_number(v, -1e300, 1e300, &figure[i], e)) return false;
        beyond[i] = json_exists(json_get(more, figure_row[i].key));
    }
    return true;
}

bool grid_read(Grid *g, int method, int seed, Error *e) {
    char path[FILE_PATH];
    JsonFile *f = NULL;
    const char *why = "";
    GridCell *c = &g->cell[method][seed];
    *c = (GridCell){0};
    if (!cell_path(g, method, seed, path, e)) return false;
    if (file_kind(path) == FILE_NONE) return true;
    bool fine = json_load(&f, path, CELL, e) && json_text(json_get(json_root(f), "error"), &why, e) &&
                figures_read(json_get(json_root(f), "figures"), json_get(json_root(f), "at_least"), c->figure,
                             c->beyond, e);
    if (fine) snprintf(c->why, sizeof c->why, "%s", why);
    c->done = fine;
    json_close(f);
    return fine || error_prefix(e, "remove the file to measure it anew");
}

bool grid_write(const Grid *g, int method, int seed, Error *e) {
    char path[FILE_PATH], text[CELL];
    const GridCell *c = &g->cell[method][seed];
    JsonWriter w = json_writer(text, sizeof text - 1, 2);
    json_put_open(&w, NULL, '{');
    json_put_text(&w, "method", g->method[method]->name);
    json_put_int(&w, "seed", seed + 1);
    json_put_text(&w, "error", c->why);
    json_put_open(&w, "figures", '{');
    for (int i = 0; i < FIGURES; i++)
        if (!isnan(c->figure[i])) json_put_real(&w, figure_row[i].key, c->figure[i]);
    json_put_close(&w, '}');
    json_put_open(&w, "at_least", '{');
    for (int i = 0; i < FIGURES; i++)
        if (c->beyond[i]) json_put_bool(&w, figure_row[i].key, true);
    json_put_close(&w, '}');
    json_put_close(&w, '}');
    if (w.full) return error_set(e, ERROR_LIMIT, "a cell's figures do not fit");
    memcpy(text + w.used, "\n", 2);
    return cell_path(g, method, seed, path, e) && file_write(path, text, w.used + 1, e);
}

/* ---- means ---- */

static bool column(const Grid *g, int method, Figure f, Interval *out, Error *e) {
    double x[GRID_SEEDS], sum = 0;
    int n = 0;
    bool beyond = false;
    for (int s = 0; s < g->seeds; s++) {
        const GridCell *c = &g->cell[method][s];
        if (!c->done || c->why[0] || isnan(c->figure[f])) continue;
        sum += x[n++] = c->figure[f];
        beyond |= c->beyond[f];
    }
    *out = beyond ? audit_beyond(sum / n) : (Interval){n ? sum / n : NAN, NAN, NAN};
    return n < 2 || beyond || interval_t(out, x, n, 0.95, e);
}

bool grid_average(Grid *g, Error *e) {
    for (int m = 0; m < g->methods; m++) {
        for (int f = 0; f < FIGURES; f++)
            if (!column(g, m, (Figure)f, &g->mean[m][f], e)) return false;
        if (m > 0 && !audit_gap(&g->mean[m][FIGURE_gap].value, g->mean[m], g->mean[0], g->share, e))
            return false;
    }
    g->mean[0][FIGURE_work] = g->mean[0][FIGURE_rte] = (Interval){100, NAN, NAN}; /* of itself */
    return true;
}

void grid_order(const Grid *g, int order[GRID_METHODS]) {
    for (int i = 0; i < g->methods; i++) {
        double gap = g->mean[i][FIGURE_gap].value;
        int k = i;
        order[i] = i;
        for (; k > 1; k--) { /* those without a figure come last */
            double before = g->mean[order[k - 1]][FIGURE_gap].value;
            if (!isnan(before) && !(gap < before)) break;
            if (isnan(before) && isnan(gap)) break;
            order[k] = order[k - 1];
        }
        order[k] = i;
    }
}

static void put(const Interval *i, int digits) {
    if (isnan(i->value))
        printf(" %14s", "-");
    else if (isnan(i->lo))
        printf(" %14.*f", digits, i->value);
    else
        printf(" %7.*f ±%5.*f", digits, i->value, digits, (i->hi - i->lo) / 2);
}

void grid_print(const Grid *g) {
    int order[GRID_METHODS] = {0};
    grid_order(g, order);
    printf("\n%-18s %14s %14s %14s %14s %14s %14s\n", g->share ? "percent" : g->score, "UA", "RA", "TA",
           "MIA", "gap", "time ratio");
    for (int i = 0; i < g->methods; i++) {
        const Interval *f = g->mean[order[i]];
        const GridCell *c = g->cell[order[i]];
        printf("%-18s", g->method[order[i]]->title);
        if (c->why[0]) {
            printf(" %s\n", c->why);
            continue;
        }
        put(&f[FIGURE_ua], 2);
        put(&f[FIGURE_ra], 2);
        put(&f[FIGURE_ta], 2);
        put(&f[FIGURE_mia], 2);
        put(&f[FIGURE_gap], 2);
        put(&f[FIGURE_rte], 1);
        printf("\n");
    }
}
