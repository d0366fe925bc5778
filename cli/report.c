#include "cli/report.h"

#include "cli/cli.h"
#include "cli/options.h"

#include <stdio.h>
#include <string.h>

static const char usage[] =
    "usage: lethe report --out FILE.html --run DIR [--run DIR]... [OPTIONS]\n"
    "\n"
    "Writes one HTML page that needs nothing beside it: curves of loss, learning rate and accuracy, the "
    "recipe,\n"
    "final figures, pictures.\n"
    "\n"
    "  --out FILE.html          the page\n"
    "  --run DIR                a run's folder, as lethe train wrote it; again for more runs\n"
    "  --title TEXT             the page's heading\n"
    "  --note TEXT              a paragraph below the heading; may be given again\n"
    "  --picture CAPTION=FILE   a JPEG or PNG; may be given again; those of one caption stand under one "
    "another\n"
    "  --predictions FILE       predictions.jsonl of lethe predict with a classifier: accuracy by class, "
    "what\n"
    "                           is taken for what, examples\n";

enum { RUNS_MOST = 64, PICTURE_WHOLE = 16 << 20 };

typedef struct Request {
    const char *out, *title, *predictions;
    OptionList run, picture, note;
} Request;

/* ---- pictures ---- */

/* The file behind the caption; the caption alone has no file. */
static const char *picture_file(const char *item) {
    const char *sign = strchr(item, '=');
    return sign ? sign + 1 : item;
}

static size_t caption_length(const char *item) {
    const char *sign = strchr(item, '=');
    return sign ? (size_t)(sign - item) : 0;
}

static bool same_caption(const char *a, const char *b) {
    size_t n = caption_length(a);
    return n == caption_length(b) && !strncmp(a, b, n);
}

static bool put_pictures(Html *h, const OptionList *list, Error *e) {
    if (!list->count) return true;
    html_put(h, "<section><h2>Pictures</h2>\n<div class=\"pictures\">\n");
    for (int i = 0; i < list->count;) {
        char caption[1024];
        const char *first = list->item[i];
        snprintf(caption, sizeof caption, "%.*s", (int)caption_length(first), first);
        html_put(h, "<figure class=\"card picture\">\n");
        for (; i < list->count && same_caption(first, list->item[i]); i++) {
            const char *path = picture_file(list->item[i]);
            if (!html_image(h, path, caption[0] ? caption : file_base(path), PICTURE_WHOLE, e)) return false;
            html_put(h, "\n");
        }
        if (caption[0]) {
            html_put(h, "<figcaption>");
            html_text(h, caption);
            html_put(h, "</figcaption>");
        }
        html_put(h, "</figure>\n");
    }
    html_put(h, "</div></section>\n");
    return true;
}

/* ---- the page ---- */

static void put_tiles(Html *h, const History *run, int runs) {
    double seconds = 0, images = 0, s, n;
    char text[HTML_NUMBER];
    html_put(h, "<div class=\"tiles\">\n");
    for (int i = runs - 1; i >= 0 && i >= runs - 2; i--) report_run_tile(h, &run[i]);
    for (int i = 0; i < runs; i++) {
        if (!history_pace(&run[i], &n, &s)) continue;
        images += n;
        seconds += s;
    }
    if (seconds > 0) {
        report_tile(h, html_seconds(text, seconds), runs > 1 ? "of training in all" : "of training");
        report_tile(h, html_number(text, (double)(int64_t)(images / seconds)), "images a second");
    }
    html_put(h, "</div>\n");
}

static bool put_page(Html *h, const Request *q, const History *run, const Answers *a, int *missing,
                     Error *e) {
    report_head(h, q->title);
    for (int i = 0; i < q->note.count; i++) {
        html_put(h, "<p>");
        html_text(h, q->note.item[i]);
        html_put(h, "</p>\n");
    }
    html_put(h, "</header>\n");
    put_tiles(h, run, q->run.count);
    report_runs_table(h, run, q->run.count);
    if (!put_pictures(h, &q->picture, e)) return false;
    if (a->count && !report_answers(h, a, missing, e)) return false;
    for (int i = 0; i < q->run.count; i++) report_run(h, &run[i]);
    html_put(h, "</main>\n<footer>lethe %s</footer>\n</body>\n</html>\n", LETHE_VERSION);
    return html_fine(h, e);
}

static bool report(const Request *q, int *missing, Error *e) {
    History *run = mem_zero((size_t)q->run.count, sizeof *run);
    Answers answers = {0};
    Html h = {0};
    bool ok = false;
    if (!run) return error_memory(e, (size_t)q->run.count * sizeof *run);
    for (int i = 0; i < q->run.count; i++)
        if (!history_open(&run[i], q->run.item[i], e)) goto out;
    if (q->predictions && !answers_open(&answers, q->predictions, e)) goto out;
    ok = put_page(&h, q, run, &answers, missing, e) && file_write(q->out, h.text.data, h.text.size, e);
out:
    html_free(&h);
    answers_close(&answers);
    for (int i = 0; i < q->run.count; i++) history_close(&run[i]);
    mem_free(run);
    return ok;
}

int cli_report(int argc, char **argv) {
    Error e = {0};
    Request q = {.title = "Lethe: report"};
    OptionList rest = {0};
    int missing = 0;
    const Option options[] = {
        {"out", OPTION_TEXT, &q.out},
        {"title", OPTION_TEXT, &q.title},
        {"predictions", OPTION_TEXT, &q.predictions},
        {"run", OPTION_LIST, &q.run},
        {"picture", OPTION_LIST, &q.picture},
        {"note", OPTION_LIST, &q.note},
        {0},
    };
    int done = options_read(argc, argv, usage, options, &rest, &e);
    if (done >= 0) return done ? cli_fail(&e) : 0;
    if (rest.count)
        error_set(&e, ERROR_VALUE, "report takes options only, not \"%s\"; see lethe report --help",
                  rest.item[0]);
    else if (!q.out)
        error_set(&e, ERROR_VALUE, "--out FILE.html is missing");
    else if (!q.run.count || q.run.count > RUNS_MOST)
        error_set(&e, ERROR_VALUE, "report needs 1 to %d runs: --run DIR", RUNS_MOST);
    else if (report(&q, &missing, &e)) {
        if (missing)
            fprintf(stderr, "lethe: warning: %d images of %s cannot be read; the report goes without them\n",
                    missing, q.predictions);
        printf("wrote %s\n", q.out);
        return 0;
    }
    return cli_fail(&e);
}
