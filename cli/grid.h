/* grid: methods side by side on one checkpoint, each with several seeds: what `lethe unlearn-bench` fills in.
 * A cell is one method with one seed; it stands in a file of its own as soon as it is measured, so that a
 * grid that was interrupted goes on where it was. The first method is retraining, which the others of its
 * seed are held against. */
#ifndef LETHE_CLI_GRID_H
#define LETHE_CLI_GRID_H

#include "cli/unlearn_world.h"

#define GRID_SUBJECT "subject.json" /* the first file of a grid's folder, which makes it one */

enum { GRID_METHODS = SETUP_METHODS, GRID_SEEDS = 32, GRID_WHY = 400 };

typedef struct GridCell {
    bool done;
    char why[GRID_WHY];     /* it could not be done: what was said; "" */
    double figure[FIGURES]; /* NAN: not measured */
    bool beyond[FIGURES];   /* audit_beyond */
} GridCell;

typedef struct Grid {
    const char *out;
    const Method *method[GRID_METHODS]; /* [methods]; method[0] is retraining */
    int methods, seeds;
    GridCell cell[GRID_METHODS][GRID_SEEDS];
    Interval mean[GRID_METHODS][FIGURES], before[FIGURES];
    const char *score; /* by what UA, RA and TA go */
    bool share;
} Grid;

/* DIR/cells/METHOD-SEED.ENDING; `seed` counts from 0, the name from 1. */
bool grid_path(const Grid *g, const char *method, int seed, const char *ending, char path[FILE_PATH],
               Error *e);

/* A folder belongs to one checkpoint, one request and one recipe, which stand in it. Where only the settings
 * of methods are others than those it was begun with, the cells of these methods are dropped (retraining's:
 * all), and where the audit is another, all cells, but no retrained weights. Cells of methods that are not in
 * the grid, since nobody asked for them this time, are never dropped: their settings stay what they were, in
 * the world, too, and what would make them stale all the same is an error. Rank 0 alone. */
bool grid_claim(const Grid *g, World *w, Error *e);

/* Which of unlearn_methods that are not in the grid stand in its folder, with all its seeds: the table has
 * them, too. Tells of those that lack some. After grid_claim; rank 0 alone. */
bool grid_others(const Grid *g, bool others[GRID_METHODS], Error *e);

/* DIR/cells/METHOD-SEED.json; false with done unset where there is none, an error where it is damaged. */
bool grid_read(Grid *g, int method, int seed, Error *e);
bool grid_write(const Grid *g, int method, int seed, Error *e);

/* Means and intervals over seeds; the gap of a method is that of its means from retraining's. */
bool grid_average(Grid *g, Error *e);

/* table.csv, table.json and table.html in the grid's folder. */
bool grid_tables(const Grid *g, const char *title, Error *e);
/* The same for the console: a line a method, the nearest to retraining first. */
void grid_print(const Grid *g);
/* Places of the methods in that order, retraining before all. */
void grid_order(const Grid *g, int order[GRID_METHODS]);

#endif
