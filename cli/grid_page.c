#include "cli/grid_page.h"

#include "cli/report.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

/* The columns that papers print, and what an attacker adds to them. */
static const Figure main_column[] = {FIGURE_ua,  FIGURE_ra,  FIGURE_ta,  FIGURE_mia,
                                     FIGURE_gap, FIGURE_rte, FIGURE_work};
static const Figure more_column[] = {FIGURE_ka,          FIGURE_auc,     FIGURE_probe,   FIGURE_relearn,
                                     FIGURE_relearn_few, FIGURE_ua_int8, FIGURE_ua_int4, FIGURE_ks,
                                     FIGURE_aus,         FIGURE_zrf,     FIGURE_moved};

static void cell(Html *h, const Interval *v) {
    if (isnan(v->value)) {
        html_put(h, "<td>–</td>");
        return;
    }
    html_put(h, "<td>%s%.2f", audit_is_beyond(v) ? "&gt;" : "", v->value);
    if (!isnan(v->lo)) html_put(h, " <small>± %.2f</small>", (v->hi - v->lo) / 2);
    html_put(h, "</td>");
}

static bool any(const Grid *g, Figure f) {
    for (int m = 0; m < g->methods; m++)
        if (!isnan(g->mean[m][f].value)) return true;
    return false;
}

static void table(Html *h, const Grid *g, const Figure *column, int columns) {
    int order[GRID_METHODS] = {0};
    grid_order(g, order);
    html_put(h, "<div class=\"card scroll\"><table><thead><tr><th>method</th>");
    for (int i = 0; i < columns; i++)
        if (any(g, column[i]))
            html_put(h, "<th title=\"%s\">%s%s%s</th>", figure_row[column[i]].about,
                     figure_row[column[i]].name, figure_unit(column[i], g->share)[0] ? ", " : "",
                     figure_unit(column[i], g->share));
    html_put(h, "</tr></thead>\n<tbody><tr><th>before</th>");
    for (int i = 0; i < columns; i++)
        if (any(g, column[i])) cell(h, &g->before[column[i]]);
    html_put(h, "</tr>\n");
    for (int k = 0; k < g->methods; k++) {
        const GridCell *c = g->cell[order[k]];
        html_put(h, "<tr><th>%s</th>", g->method[order[k]]->title);
        if (c->why[0]) {
            html_put(h, "<td colspan=\"%d\">", columns);
            html_text(h, c->why);
            html_put(h, "</td>");
        }
        for (int i = 0; i < columns && !c->why[0]; i++)
            if (any(g, column[i])) cell(h, &g->mean[order[k]][column[i]]);
        html_put(h, "</tr>\n");
    }
    html_put(h, "</tbody></table></div>\n");
}

static void legend(Html *h) {
    html_put(h, "<section><h2>What the figures are</h2><div class=\"card\"><dl>");
    for (int k = 0; k < 2; k++)
        for (int i = 0; i < (k ? COUNT(more_column) : COUNT(main_column)); i++) {
            const FigureRow *r = &figure_row[k ? more_column[i] : main_column[i]];
            html_put(h, "<div><dt>%s</dt><dd>%s</dd></div>\n", r->name, r->about);
        }
    html_put(h, "</dl></div></section>\n");
}

static void sources(Html *h, const Grid *g) {
    html_put(h, "<section><h2>The methods</h2><div class=\"card\"><dl>");
    for (int m = 0; m < g->methods; m++)
        html_put(h, "<div><dt>%s</dt><dd>%s (%s)</dd></div>\n", g->method[m]->title, g->method[m]->about,
                 g->method[m]->source);
    html_put(h, "</dl></div></section>\n");
}

bool grid_page(const Grid *g, const char *title, Error *e) {
    Html h = {0};
    char path[FILE_PATH], head[300];
    snprintf(head, sizeof head, "Unlearning, %d methods: %.200s", g->methods, title);
    report_head(&h, head);
    html_put(
        &h,
        "<p>One model, the same samples to forget, %d seed%s; ± is half of the 95 %% interval. What counts "
        "is how near a method comes to retraining, not how bad it makes the model: the gap is the mean "
        "distance of UA, RA, TA and MIA from it. The nearest stands first.</p></header>\n",
        g->seeds, g->seeds > 1 ? "s" : "");
    table(&h, g, main_column, COUNT(main_column));
    html_put(&h, "<section><h2>Under attack</h2>\n");
    table(&h, g, more_column, COUNT(more_column));
    html_put(&h, "</section>\n");
    legend(&h);
    sources(&h, g);
    html_put(&h, "</main>\n<footer>lethe %s</footer>\n</body>\n</html>\n", LETHE_VERSION);
    bool fine = html_fine(&h, e) && file_join(path, sizeof path, g->out, "table.html", e) &&
                file_write(path, h.text.data, h.text.size, e);
    html_free(&h);
    return fine;
}
