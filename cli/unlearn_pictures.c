#include "cli/unlearn_pictures.h"

#include "core/comm.h"

#include <string.h>

/* ---- one sample ---- */

/* The image as it was before normalisation; without what a fitted picture leaves of the square. */
static bool image_undo(const Task *task, const Batch *b, int64_t i, Picture *out, Error *e) {
    int64_t side = task->image_size, high = b->fit ? b->fit[2 * i] : side,
            wide = b->fit ? b->fit[2 * i + 1] : side;
    *out = (Picture){.width = (int)wide, .height = (int)high};
    size_t bytes = (size_t)high * (size_t)wide * 3;
    if (!(out->pixel = mem_get(bytes))) return error_memory(e, bytes);
    const real *from = tensor_real(&b->image) + i * 3 * side * side;
    for (int64_t k = 0; k < high * wide; k++)
        for (int64_t c = 0; c < 3; c++) {
            double v = (double)from[(c * side + k / wide) * side + k % wide] * task->std[c] + task->mean[c];
            out->pixel[3 * k + c] = (uint8_t)(v <= 0 ? 0 : v >= 1 ? 255 : v * 255 + 0.5);
        }
    return true;
}

/* The batch of its i-th sample alone. */
static Batch batch_at(const Task *task, const Batch *b, int64_t i) {
    int64_t side = task->image_size;
    return (Batch){.n = 1,
                   .whole = 1,
                   .id = b->id + i,
                   .label = b->label ? b->label + i : NULL,
                   .identity = b->identity ? b->identity + i : NULL,
                   .size = b->size ? b->size + 2 * i : NULL,
                   .fit = b->fit ? b->fit + 2 * i : NULL,
                   .epoch = b->epoch,
                   .fixed = b->fixed,
                   .image = {.data = tensor_real(&b->image) + i * 3 * side * side,
                             .ndim = 4,
                             .dim = {1, 3, side, side}}};
}

static bool sample_draw(ReportSample *s, Unlearn *u, const Batch *b, int64_t i, ReportModel which, Error *e) {
    const Batch one = batch_at(u->task, b, i);
    size_t bytes = REPORT_MODELS * TASK_NOTE;
    if (!s->note && !(s->note = mem_zero(REPORT_MODELS, TASK_NOTE))) return error_memory(e, bytes);
    mem_free(s->drawn[which].pixel);
    s->drawn[which] = (Picture){0};
    step_begin(u->step);
    return u->task->class->draw(u->task, u->step, &one, &s->drawn[which], s->note + which, e);
}

/* The folder it lies in and its name. */
static void name_put(ReportSample *s, const Dataset *d) {
    char room[FILE_PATH];
    int64_t at = 0;
    while (at < d->count && d->sample[at].id != s->id) at++;
    if (at == d->count) return;
    const char *name = dataset_name(d, at, room, sizeof room), *from = name + strlen(name);
    for (int slashes = 0; from > name; from--)
        if (from[-1] == '/' && ++slashes == 2) break;
    size_t n = strlen(from), most = sizeof s->name - 1;
    memcpy(s->name, n > most ? from + n - most : from, (n > most ? most : n) + 1);
}

/* ---- all of them ---- */

static ReportSample *sample_of(ReportPictures *p, int64_t id) {
    for (int i = 0; i < p->count; i++)
        if (p->sample[i].id == id) return &p->sample[i];
    return NULL;
}

/* Of the first model that is asked it takes samples; of the next ones it finds them again. */
static bool sample_take(ReportPictures *p, const World *w, Unlearn *u, const Batch *b, int64_t i,
                        ReportModel which, Error *e) {
    ReportSample *s = sample_of(p, b->id[i]);
    if (!s) {
        if (p->count == PICTURES_SEEN) return true;
        s = &p->sample[p->count++];
        *s = (ReportSample){.id = b->id[i]};
        name_put(s, w->set[SET_FORGET]);
    }
    if (u->task->class->draws_each) return sample_draw(s, u, b, i, which, e);
    return s->image.pixel || image_undo(u->task, b, i, &s->image, e);
}

static bool batch_take(ReportPictures *p, const World *w, Unlearn *u, const Batch *b, int64_t seen,
                       ReportModel which, Error *e) {
    int64_t count = u->world->count[SET_FORGET],
            room = u->task->class->draws_each ? PICTURES_DRAWN : PICTURES_SEEN,
            most = room < count ? room : count;
    for (int64_t i = 0; i < b->n; i++) {
        int64_t k = seen + i;
        if ((k + 1) * most / count == k * most / count) continue;
        if (!sample_take(p, w, u, b, i, which, e)) return false;
    }
    return true;
}

bool pictures_take(ReportPictures *p, const World *w, Unlearn *u, ReportModel which, Error *e) {
    Feed f;
    if (!u->world->count[SET_FORGET]) return true;
    if (!feed_open(&f, u, SET_FORGET, FEED_WHOLE, 0, e)) return false;
    bool fine = true;
    int64_t seen = 0;
    for (int64_t i = 0; i < f.steps && fine; i++) {
        const Batch *b;
        if (!(fine = feed_next(&f, &b, e))) break;
        fine = comm_agree(!comm_first() || batch_take(p, w, u, b, seen, which, e), e);
        seen += b->n;
    }
    feed_close(&f);
    return fine;
}

bool pictures_take_before(ReportPictures *p, const World *w, Unlearn *u, Error *e) {
    const Params *params = &u->task->params;
    size_t bytes = (size_t)params->values * sizeof(real);
    real *kept = mem_get(bytes);
    if (!comm_agree(kept ? true : error_memory(e, bytes), e)) {
        mem_free(kept);
        return false;
    }
    memcpy(kept, params->value, bytes);
    unlearn_restore(u);
    bool fine = pictures_take(p, w, u, REPORT_BEFORE, e);
    memcpy(params->value, kept, bytes);
    mem_free(kept);
    return fine;
}

void pictures_close(ReportPictures *p) {
    for (int i = 0; i < p->count; i++) {
        ReportSample *s = &p->sample[i];
        mem_free(s->image.pixel);
        mem_free(s->note);
        for (int k = 0; k < REPORT_MODELS; k++) mem_free(s->drawn[k].pixel);
    }
    *p = (ReportPictures){0};
}
