/* curve: lines over time as an SVG inside a page. Axes with round ticks, the raw values faint and a smoothed
 * line over them, a dot for each of few values, titles that name the values under the pointer. Colours come
 * from the page's style by class (c0, c1, ...), so that light and dark mode need one drawing. */
#ifndef LETHE_CLI_CURVE_H
#define LETHE_CLI_CURVE_H

#include "cli/html.h"

typedef enum {
    CURVE_LINE,  /* connected, nothing more */
    CURVE_DOTS,  /* a dot on each value, while they are few */
    CURVE_NOISY, /* drawn faint, with their running mean over them */
} CurveStyle;

typedef struct CurveLine {
    const char *name; /* from outside: escaped */
    const double *x, *y;
    int64_t count; /* x does not fall; a y that is not finite is a gap */
    CurveStyle style;
} CurveLine;

typedef struct Curve {
    const char *title;   /* ours */
    const char *x_label; /* ours: "epoch" */
    const CurveLine *line;
    int lines;
    bool from_zero; /* the y axis begins at 0 */
    double top;     /* where the y axis ends; 0: by the values */
    bool percent;
} Curve;

/* Nothing is written where no line has two values to connect or one to mark. */
void curve_draw(Html *h, const Curve *c);

#endif
