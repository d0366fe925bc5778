/* grid_page: table.html of a grid. */
#ifndef LETHE_CLI_GRID_PAGE_H
#define LETHE_CLI_GRID_PAGE_H

#include "cli/grid.h"

bool grid_page(const Grid *g, const char *title, Error *e);

#endif
