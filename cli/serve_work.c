#include "cli/serve_work.h"

#include "cli/coco_write.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/signalfd.h>
#include <unistd.h>

enum { WATCH_MS = 500 };

bool work_open(Work *w, Predictor *embed, Predictor *ask, Error *e) {
    *w = (Work){.embed = embed, .ask = ask};
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGINT);
    sigaddset(&set, SIGTERM);
    pthread_sigmask(SIG_BLOCK, &set, NULL);
    pthread_mutex_init(&w->lock, NULL);
    pthread_condattr_t clock;
    pthread_condattr_init(&clock);
    pthread_condattr_setclock(&clock, CLOCK_MONOTONIC);
    pthread_cond_init(&w->changed, &clock);
    pthread_condattr_destroy(&clock);
    w->wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    w->signals = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
    if (w->wake >= 0 && w->signals >= 0) return true;
    error_set(e, ERROR_IO, "serve: no event descriptor: %s", strerror(errno));
    work_close(w);
    return false;
}

void work_close(Work *w) {
    if (w->wake >= 0) close(w->wake);
    if (w->signals >= 0) close(w->signals);
    pthread_cond_destroy(&w->changed);
    pthread_mutex_destroy(&w->lock);
    mem_free(w->full);
    mem_free(w->bits);
    bytes_free(&w->runs);
    bytes_free(&w->record);
}

/* ---- the list of jobs; under the lock ---- */

static void append(Job **list, Job *j) {
    while (*list) list = &(*list)->next;
    *list = j;
}

static bool unlink_job(Job **list, const Job *j) {
    while (*list && *list != j) list = &(*list)->next;
    if (!*list) return false;
    *list = j->next;
    return true;
}

static void finish(Work *w, Job *j, const Error *why) {
    j->state = JOB_DONE;
    j->failed = why != NULL;
    if (why) j->error = *why;
    if (w->running == j) w->running = NULL;
    pthread_cond_broadcast(&w->changed);
}

static void finish_stopped(Work *w, Job *j) {
    Error e = {0};
    error_set(&e, ERROR_STATE, "the server is ending");
    finish(w, j, &e);
}

static Job *pop(Work *w, Job **list) {
    pthread_mutex_lock(&w->lock);
    Job *j = *list;
    if (j) {
        *list = j->next;
        j->state = JOB_RUNS;
        if (j->kind != JOB_MASKS) w->running = j;
        pthread_cond_broadcast(&w->changed);
    }
    pthread_mutex_unlock(&w->lock);
    return j;
}

/* ---- what the other threads call ---- */

void work_put(Work *w, Job *j) {
    pthread_mutex_lock(&w->lock);
    j->next = NULL;
    j->state = JOB_WAITS;
    if (w->stopped) {
        finish_stopped(w, j);
    } else {
        append(j->kind == JOB_MASKS ? &w->quick : &w->slow, j);
        eventfd_write(w->wake, 1);
    }
    pthread_mutex_unlock(&w->lock);
}

void work_wait(Work *w, Job *j) {
    pthread_mutex_lock(&w->lock);
    while (j->state != JOB_DONE) pthread_cond_wait(&w->changed, &w->lock);
    pthread_mutex_unlock(&w->lock);
}

void work_cancel(Work *w, Job *j) {
    pthread_mutex_lock(&w->lock);
    j->cancelled = true;
    if (j->state == JOB_WAITS && (unlink_job(&w->slow, j) || unlink_job(&w->quick, j))) {
        Error e = {0};
        error_set(&e, ERROR_STATE, "given up");
        finish(w, j, &e);
    }
    while (j->state != JOB_DONE) pthread_cond_wait(&w->changed, &w->lock);
    pthread_mutex_unlock(&w->lock);
}

static WorkView view(const Work *w, const Job *j) {
    WorkView v = {.done = j->state == JOB_DONE, .share = j->share};
    if (j->state != JOB_WAITS) return v;
    v.ahead = w->running ? 1 : 0;
    for (const Job *k = w->slow; k && k != j; k = k->next) v.ahead++;
    if (!v.ahead) v.ahead = 1; /* its turn is next, when the prompts in hand are answered */
    return v;
}

WorkView work_watch(Work *w, Job *j, const WorkView *seen) {
    struct timespec until;
    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_nsec += WATCH_MS * 1000000L;
    if (until.tv_nsec >= 1000000000L) until.tv_sec++, until.tv_nsec -= 1000000000L;
    pthread_mutex_lock(&w->lock);
    WorkView v = view(w, j);
    while (v.done == seen->done && v.ahead == seen->ahead && v.share == seen->share) {
        if (pthread_cond_timedwait(&w->changed, &w->lock, &until) == ETIMEDOUT) break;
        v = view(w, j);
    }
    pthread_mutex_unlock(&w->lock);
    return v;
}

/* ---- computing ---- */

static bool room_for(Work *w, int64_t pixels, Error *e) {
    if (pixels <= w->pixels) return true;
    mem_free(w->full);
    mem_free(w->bits);
    w->pixels = 0;
    w->full = mem_get((size_t)pixels * sizeof *w->full);
    w->bits = mem_get((size_t)pixels);
    if (!w->full || !w->bits) return error_memory(e, (size_t)pixels * sizeof *w->full);
    w->pixels = pixels;
    return true;
}

/* Mask i of the answer, as a COCO annotation. */
static bool record_put(Work *w, Job *j, int64_t i, const CocoRecord *r, Error *e) {
    w->record.size = 0;
    return coco_put_annotation(&w->record, i + 1, r, e) && (i == 0 || bytes_append(&j->text, ", ", 2, e)) &&
           bytes_append(&j->text, w->record.data, w->record.size, e);
}

/* One mask of an answer, at the size of the image. */
static bool mask_put(Work *w, Job *j, const PredictorMasks *m, int i, Error *e) {
    const Embedding *on = j->session->embedding;
    int64_t low = embedding_low(on), pixels = (int64_t)m->height * m->width;
    predictor_upscale(on, m->low + i * low * low, w->full);
    for (int64_t k = 0; k < pixels; k++) w->bits[k] = w->full[k] > 0;
    Rle r;
    w->runs.size = 0;
    if (!rle_from_mask(&r, &w->runs, w->bits, m->height, m->width, e)) return false;
    CocoRecord record = {.image = 1,
                         .category = 1,
                         .rle = &r,
                         .iou = m->iou[i],
                         .stability = predictor_stability(w->full, pixels, 1.0)};
    coco_box(&r, record.box);
    return record_put(w, j, i, &record, e);
}

static bool masks_run(Work *w, Job *j, Error *e) {
    PredictorMasks m;
    const Embedding *on = j->session->embedding;
    const PredictorPrompt prompt = {.point = j->point, .points = j->points, .box = j->boxed ? j->box : NULL};
    if (!predictor_ask(w->ask, on, &prompt, 1, j->multimask, j->hq, &m, e) ||
        !room_for(w, (int64_t)m.height * m.width, e) || !bytes_append(&j->text, "{\"masks\": [", 11, e))
        return false;
    for (int i = 0; i < m.each; i++)
        if (!mask_put(w, j, &m, i, e)) return false;
    return bytes_append(&j->text, "]}", 2, e);
}

static void quick_run(Work *w) {
    for (Job *j; (j = pop(w, &w->quick));) {
        Error e = {0};
        bool fine = masks_run(w, j, &e);
        pthread_mutex_lock(&w->lock);
        finish(w, j, fine ? NULL : &e);
        pthread_mutex_unlock(&w->lock);
    }
}

/* Takes note of a signal, if one came. */
static bool hears_stop(Work *w) {
    struct signalfd_siginfo info;
    bool heard = read(w->signals, &info, sizeof info) == (ssize_t)sizeof info;
    pthread_mutex_lock(&w->lock);
    w->stopped = w->stopped || heard;
    bool stopped = w->stopped;
    pthread_mutex_unlock(&w->lock);
    return stopped;
}

typedef struct Turn {
    Work *work;
    Job *job;
} Turn;

/* Progress of long work: told, and prompts are answered in between. */
static bool slow_progress(void *self, double share) {
    Turn *t = self;
    Work *w = t->work;
    quick_run(w);
    bool stop = hears_stop(w);
    pthread_mutex_lock(&w->lock);
    t->job->share = share;
    bool on = !stop && !t->job->cancelled && !atomic_load(&t->job->session->removed);
    pthread_cond_broadcast(&w->changed);
    pthread_mutex_unlock(&w->lock);
    return on;
}

static bool embed_run(Work *w, Job *j, Error *e) {
    Session *s = j->session;
    Turn turn = {w, j};
    if (!predictor_embed(w->embed, &s->image, slow_progress, &turn, &s->embedding, e)) return false;
    atomic_store(&s->ready, true);
    return true;
}

static bool points_progress(void *self, int64_t points, int64_t all) {
    return slow_progress(self, all ? (double)points / (double)all : 0);
}

/* As `lethe segment --everything` writes it. */
static bool found_put(Work *w, Job *j, const GeneratorMask *m, int64_t i, Error *e) {
    char more[COCO_MORE];
    const CocoRecord record = coco_generated(m, more);
    return record_put(w, j, i, &record, e);
}

static bool everything_run(Work *w, Job *j, Error *e) {
    GeneratorMasks m = {0};
    Turn turn = {w, j};
    bool fine = generator_run(w->embed, &j->session->image, &j->set, points_progress, &turn, &m, e) &&
                bytes_append(&j->text, "{\"masks\": [", 11, e);
    for (int64_t i = 0; fine && i < m.count; i++) fine = found_put(w, j, &m.mask[i], i, e);
    generator_free(&m);
    return fine && bytes_append(&j->text, "]}", 2, e);
}

static void slow_run(Work *w) {
    Job *j = pop(w, &w->slow);
    if (!j) return;
    Error e = {0};
    bool fine = j->kind == JOB_EMBED ? embed_run(w, j, &e) : everything_run(w, j, &e);
    pthread_mutex_lock(&w->lock);
    if (fine || !w->stopped)
        finish(w, j, fine ? NULL : &e);
    else
        finish_stopped(w, j);
    pthread_mutex_unlock(&w->lock);
}

static bool idle(Work *w) {
    pthread_mutex_lock(&w->lock);
    bool nothing = !w->slow && !w->quick && !w->stopped;
    pthread_mutex_unlock(&w->lock);
    return nothing;
}

void work_run(Work *w) {
    while (!hears_stop(w)) {
        eventfd_t ignored;
        quick_run(w);
        slow_run(w);
        if (!idle(w)) continue;
        struct pollfd on[] = {{.fd = w->wake, .events = POLLIN}, {.fd = w->signals, .events = POLLIN}};
        if (poll(on, COUNT(on), -1) > 0) eventfd_read(w->wake, &ignored);
    }
    pthread_mutex_lock(&w->lock);
    for (Job *j; (j = w->slow ? w->slow : w->quick);) {
        if (!unlink_job(&w->slow, j)) unlink_job(&w->quick, j);
        finish_stopped(w, j);
    }
    pthread_mutex_unlock(&w->lock);
}
