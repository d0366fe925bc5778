#include "core/log.h"

#include "core/clock.h"

#include "core/events.h"
#include "core/file.h"
#include "core/json.h"
#include "core/progress.h"
#include "core/task.h"

#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

enum { LINE = 2048, ROW = 4096, TAG = 200 };

static const double redraw_seconds = 0.1;
static const double rate_weight = 0.02; /* of the newest step: the rate looks back some fifty steps */

struct Log {
    pthread_mutex_t lock;
    LogTotals totals;
    bool silent, terminal;
    int rows;          /* metrics.jsonl; -1: none */
    int64_t rows_size; /* bytes of whole rows */
    char rows_path[FILE_PATH];
    Events *events; /* NULL: none */
    bool rows_warned, events_warned;
    double last_step, last_row, last_draw; /* clock readings; last_step and last_row move with pauses */
    double step_seconds, step_images;      /* smoothed, of one step */
    int64_t steps_seen, row_images;
    Progress progress;
};

/* ---- console ---- */

/* A console that has gone away (a closed pipe) ends the talking, not the training. */
static void say(Log *l, const char *text, size_t n) {
    if (l->totals.console >= 0 && !file_put(l->totals.console, text, n)) l->totals.console = -1;
}

/* The one bar of the terminal, as it was drawn last. A line of any log goes above it. */
static struct {
    pthread_mutex_t lock;
    const Log *of; /* NULL: there is none */
    int fd;
    char text[LINE];
} bar = {.lock = PTHREAD_MUTEX_INITIALIZER};

static void draw_bar(Log *l) {
    struct winsize size = {0};
    int width = ioctl(l->totals.console, TIOCGWINSZ, &size) == 0 && size.ws_col > 0 ? size.ws_col : 80;
    pthread_mutex_lock(&bar.lock);
    bar.of = l;
    bar.fd = l->totals.console;
    bar.text[0] = '\r';
    progress_bar(bar.text + 1, sizeof bar.text - 8, width - 1, &l->progress); /* the last column would wrap */
    strcat(bar.text, "\x1b[K");
    say(l, bar.text, strlen(bar.text));
    pthread_mutex_unlock(&bar.lock);
}

/* Leaves the bar where it stands. */
static void end_bar(Log *l) {
    pthread_mutex_lock(&bar.lock);
    if (bar.of == l) {
        say(l, "\n", 1);
        bar.of = NULL;
    }
    pthread_mutex_unlock(&bar.lock);
}

/* A whole line to `fd`, the bar taken off and put back around it. */
static void say_line(Log *l, int fd, char *text, size_t n) {
    pthread_mutex_lock(&bar.lock);
    if (bar.of) file_put(bar.fd, "\r\x1b[K", 4);
    text[n] = '\n';
    if (fd == l->totals.console)
        say(l, text, n + 1);
    else
        file_put(fd, text, n + 1);
    if (bar.of) file_put(bar.fd, bar.text, strlen(bar.text));
    pthread_mutex_unlock(&bar.lock);
}

PRINTF_LIKE(3, 0)
static void say_format(Log *l, const char *prefix, const char *format, va_list args) {
    char text[LINE];
    if (l->silent) return;
    size_t used = (size_t)snprintf(text, sizeof text, "%s", prefix);
    int n = vsnprintf(text + used, sizeof text - used - 1, format, args);
    used = n < 0 ? used : used + (size_t)n;
    if (used > sizeof text - 2) used = sizeof text - 2;
    say_line(l, *prefix ? STDERR_FILENO : l->totals.console, text, used);
}

/* With the lock held. */
PRINTF_LIKE(2, 3) static void warn(Log *l, const char *format, ...) {
    va_list args;
    va_start(args, format);
    say_format(l, "warning: ", format, args);
    va_end(args);
}

void log_line(Log *l, const char *format, ...) {
    va_list args;
    va_start(args, format);
    pthread_mutex_lock(&l->lock);
    say_format(l, "", format, args);
    pthread_mutex_unlock(&l->lock);
    va_end(args);
}

void log_warn(Log *l, const char *format, ...) {
    va_list args;
    va_start(args, format);
    pthread_mutex_lock(&l->lock);
    say_format(l, "warning: ", format, args);
    pthread_mutex_unlock(&l->lock);
    va_end(args);
}

/* ---- metrics.jsonl ---- */

/* The step of a row of ours; -1 for any other line. */
static int64_t row_step(const char *line) {
    static const char head[] = "{\"step\": ";
    char *end;
    if (strncmp(line, head, strlen(head)) != 0) return -1;
    long long step = strtoll(line + strlen(head), &end, 10);
    return *end == ',' ? step : -1;
}

/* How many bytes of the rows to keep: up to the first of a later step, and no line without its end. */
static size_t rows_to_keep(const char *text, size_t size, int64_t resume_step) {
    size_t at = 0;
    while (at < size) {
        const char *end = memchr(text + at, '\n', size - at);
        if (!end || row_step(text + at) > resume_step) break;
        at = (size_t)(end - text) + 1;
    }
    return at;
}

static bool rows_open(Log *l, const char *folder, int64_t resume_step, Error *e) {
    char *text = NULL;
    size_t size = 0;
    if (!file_join(l->rows_path, sizeof l->rows_path, folder, "metrics.jsonl", e)) return false;
    if (file_kind(l->rows_path) != FILE_NONE && !file_read(l->rows_path, JSON_MAX_BYTES, &text, &size, e))
        return false;
    l->rows_size = text ? (int64_t)rows_to_keep(text, size, resume_step) : 0;
    mem_free(text);
    l->rows = open(l->rows_path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0666);
    if (l->rows < 0) return file_error(e, l->rows_path, "write", errno);
    if (ftruncate(l->rows, l->rows_size) != 0) return file_error(e, l->rows_path, "cut", errno);
    return true;
}

/* One write a row. A row that did not fit on the disk is taken back whole. */
static void put_row(Log *l, JsonWriter *w) {
    Error e;
    if (l->rows < 0) return;
    json_put_close(w, '}');
    if (!w->full)
        w->text[w->used++] = '\n';
    else
        errno = EMSGSIZE;
    if (!w->full && file_put(l->rows, w->text, w->used)) {
        l->rows_size += (int64_t)w->used;
        return;
    }
    file_error(&e, l->rows_path, "write", errno);
    if (ftruncate(l->rows, l->rows_size) != 0) {
        close(l->rows);
        l->rows = -1;
    }
    if (!l->rows_warned) warn(l, "%s; rows are missing from here on, training goes on", e.text);
    l->rows_warned = true;
}

/* ---- TensorBoard ---- */

static void check_events(Log *l, bool ok, const Error *e) {
    if (ok) return;
    if (!l->events_warned) warn(l, "%s; TensorBoard will miss scalars, training goes on", e->text);
    l->events_warned = true;
}

static void put_scalar(Log *l, int64_t step, const char *group, const char *name, double value) {
    char tag[TAG];
    Error e;
    if (!l->events) return;
    snprintf(tag, sizeof tag, "%s/%s", group, name);
    check_events(l, events_scalar(l->events, step, tag, value, &e), &e);
}

static void flush_events(Log *l) {
    Error e;
    if (l->events) check_events(l, events_flush(l->events, &e), &e);
}

/* ---- the run ---- */

bool log_open(Log **out, const char *folder, const LogTotals *totals, int64_t resume_step, Error *e) {
    *out = NULL;
    Log *l = mem_zero(1, sizeof *l);
    if (!l) return error_memory(e, sizeof *l);
    pthread_mutex_init(&l->lock, NULL);
    l->totals = *totals;
    l->rows = -1;
    l->silent = totals->console < 0;
    l->terminal =
        totals->console >= 0 && isatty(totals->console) &&
        !getenv("OMPI_COMM_WORLD_SIZE"); /* mpirun shows a terminal, whatever it passes lines on to */
    if (l->totals.interval < 1) l->totals.interval = 1;
    if (folder && !rows_open(l, folder, resume_step, e)) goto fail;
    if (folder && !events_open(&l->events, folder, resume_step > 0 ? resume_step + 1 : 0, e)) goto fail;
    l->last_step = l->last_row = clock_seconds();
    *out = l;
    return true;
fail:
    log_close(l);
    return false;
}

void log_close(Log *l) {
    if (!l) return;
    end_bar(l);
    if (l->rows >= 0) close(l->rows);
    events_close(l->events);
    pthread_mutex_destroy(&l->lock);
    mem_free(l);
}

void log_sync(Log *l) {
    Error e;
    pthread_mutex_lock(&l->lock);
    if (l->rows >= 0 && fdatasync(l->rows) != 0 && !l->rows_warned) {
        file_error(&e, l->rows_path, "sync", errno);
        warn(l, "%s", e.text);
        l->rows_warned = true;
    }
    if (l->events) check_events(l, events_sync(l->events, &e), &e);
    pthread_mutex_unlock(&l->lock);
}

void log_restart_clock(Log *l) {
    pthread_mutex_lock(&l->lock);
    double now = clock_seconds();
    l->last_row += now - l->last_step;
    l->last_step = now;
    pthread_mutex_unlock(&l->lock);
}

/* Means over all steps at first, then exponential ones. The first step is left out as soon as there is
 * another: it pays for what is set up once. */
static void update_rate(Log *l, const LogStep *s, double now) {
    double seconds = now - l->last_step, n = (double)l->steps_seen;
    double weight = n < 2 ? 1 : fmax(1 / n, rate_weight);
    l->step_seconds += weight * (seconds - l->step_seconds);
    l->step_images += weight * ((double)s->images - l->step_images);
    l->last_step = now;
    l->row_images += s->images;
    l->steps_seen++;
    double left = (double)(l->totals.steps - s->step) * l->step_seconds;
    l->progress = (Progress){
        .step = s->step,
        .steps = l->totals.steps,
        .epoch = s->epoch,
        .epochs = l->totals.epochs,
        .loss = s->loss,
        .lr = s->lr,
        .rate = l->step_seconds > 0 ? l->step_images / l->step_seconds : 0,
        .left = l->totals.steps > 0 ? left : -1,
    };
}

static void step_row(Log *l, const LogStep *s, double now) {
    char row[ROW], text[LINE];
    double seconds = now - l->last_row;
    double rate = seconds > 0 ? round(100 * (double)l->row_images / seconds) / 100 : 0;
    JsonWriter w = json_writer(row, sizeof row - 1, 0);
    json_put_open(&w, NULL, '{');
    json_put_int(&w, "step", s->step);
    json_put_real(&w, "epoch", s->epoch);
    json_put_real(&w, "loss", s->loss);
    json_put_real(&w, "lr", s->lr);
    json_put_real(&w, "images_per_second", rate);
    put_scalar(l, s->step, "train", "loss", s->loss);
    put_scalar(l, s->step, "train", "lr", s->lr);
    put_scalar(l, s->step, "train", "images_per_second", rate);
    for (int i = 0; i < s->mores; i++) {
        json_put_real(&w, s->more[i].name, s->more[i].value);
        put_scalar(l, s->step, "train", s->more[i].name, s->more[i].value);
    }
    put_row(l, &w);
    flush_events(l);
    l->last_row = now;
    l->row_images = 0;
    if (l->terminal) return;
    progress_line(text, sizeof text - 1, &l->progress);
    say_line(l, l->totals.console, text, strlen(text));
}

void log_step(Log *l, const LogStep *s) {
    pthread_mutex_lock(&l->lock);
    double now = clock_seconds();
    bool last = s->step == l->totals.steps;
    update_rate(l, s, now);
    if (s->step % l->totals.interval == 0 || s->step == 1 || last) step_row(l, s, now);
    if (l->terminal && (last || now - l->last_draw >= redraw_seconds)) {
        draw_bar(l);
        l->last_draw = now;
    }
    pthread_mutex_unlock(&l->lock);
}

void log_eval(Log *l, int64_t step, double epoch, const char *name, const struct Metric *list, int n) {
    char row[ROW], text[LINE];
    pthread_mutex_lock(&l->lock);
    JsonWriter w = json_writer(row, sizeof row - 1, 0);
    json_put_open(&w, NULL, '{');
    json_put_int(&w, "step", step);
    json_put_real(&w, "epoch", epoch);
    json_put_text(&w, "eval", name);
    size_t used = (size_t)snprintf(text, sizeof text, "step %lld  %.100s:", (long long)step, name);
    for (int i = 0; i < n; i++) {
        json_put_real(&w, list[i].name, list[i].value);
        put_scalar(l, step, name, list[i].name, list[i].value);
        if (used < sizeof text - 100)
            used += (size_t)snprintf(text + used, sizeof text - used, "  %.60s %.5g", list[i].name,
                                     list[i].value);
    }
    put_row(l, &w);
    flush_events(l);
    say_line(l, l->totals.console, text, used);
    pthread_mutex_unlock(&l->lock);
}

void log_image(Log *l, int64_t step, const char *tag, const void *png, size_t size, int width, int height) {
    Error e;
    pthread_mutex_lock(&l->lock);
    if (l->events) {
        check_events(l, events_image(l->events, step, tag, png, size, width, height, &e), &e);
        flush_events(l);
    }
    pthread_mutex_unlock(&l->lock);
}
