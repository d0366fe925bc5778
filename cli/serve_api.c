#include "cli/serve_api.h"

#include "core/json.h"

#include <stdio.h>
#include <string.h>

enum { LINE = 2400, SIDE_MOST = 64 };
enum { OK = 200, BAD = 400, NOT_FOUND = 404, CONFLICT = 409, TOO_LARGE = 413, BROKEN = 500, BUSY = 503 };

/* Most pixels of an image: its masks are computed at full size, in f32. */
static const int64_t pixels_most = (int64_t)1 << 26;

/* ---- answers ---- */

static void text_set(Call *c, const char *text) {
    Error e = {0};
    c->text.size = 0;
    c->sent = 0;
    if (!bytes_append(&c->text, text, strlen(text), &e)) c->status = BUSY;
}

static void fail_with(Call *c, int status, const char *why) {
    char line[LINE];
    JsonWriter w = json_writer(line, sizeof line, 0);
    json_put_open(&w, NULL, '{');
    json_put_text(&w, "error", why);
    json_put_close(&w, '}');
    c->status = status;
    text_set(c, w.full ? "{\"error\": \"an error too long to tell\"}" : line);
}

void call_fail(Call *c, int status, const char *format, ...) {
    Error e = {0};
    va_list list;
    va_start(list, format);
    vsnprintf(e.text, sizeof e.text, format, list);
    va_end(list);
    fail_with(c, status, e.text);
}

/* What the user sent is at fault, or we are. `limit`: the status for what is over a limit. */
static void fail_error(Call *c, const Error *e, int limit) {
    int status = e->code == ERROR_VALUE || e->code == ERROR_FORMAT   ? BAD
                 : e->code == ERROR_LIMIT                            ? limit
                 : e->code == ERROR_MEMORY || e->code == ERROR_STATE ? BUSY
                                                                     : BROKEN;
    fail_with(c, status, e->text);
}

void call_model(Api *api, Call *c) {
    char text[LINE];
    JsonWriter w = json_writer(text, sizeof text, 0);
    json_put_open(&w, NULL, '{');
    json_put_text(&w, "model", api->model);
    json_put_text(&w, "version", LETHE_VERSION);
    json_put_bool(&w, "hq", api->hq);
    json_put_int(&w, "max_upload", api->max_upload);
    json_put_int(&w, "max_pixels", pixels_most);
    json_put_int(&w, "max_points", JOB_POINTS);
    json_put_close(&w, '}');
    c->status = OK;
    if (w.full)
        call_fail(c, BROKEN, "the model's name is too long");
    else
        text_set(c, text);
}

/* ---- jobs ---- */

static bool job_make(Call *c, JobKind kind) {
    c->job = mem_zero(1, sizeof *c->job);
    if (!c->job) {
        call_fail(c, BUSY, "out of memory");
        return false;
    }
    c->job->kind = kind;
    c->job->session = c->session;
    return true;
}

static bool session_find(Api *api, Call *c, const char *id) {
    c->session = sessions_hold(&api->sessions, id);
    if (!c->session)
        call_fail(c, NOT_FOUND, "there is no such image, or it has made room for newer ones: load it again");
    return c->session != NULL;
}

static bool session_ready(Call *c) {
    bool ready = atomic_load(&c->session->ready);
    if (!ready) call_fail(c, CONFLICT, "the image is still being embedded");
    return ready;
}

void call_image(Api *api, Call *c, const Bytes *body) {
    ImageOptions options = image_standard;
    Image image = {0};
    Error e = {0};
    char line[LINE];
    options.max_pixels = pixels_most;
    options.max_memory = pixels_most * 8;
    pthread_mutex_lock(&api->decoding);
    bool fine = image_decode(&image, body->data, body->size, "the image", &options, &e);
    pthread_mutex_unlock(&api->decoding);
    if (!fine) {
        fail_error(c, &e, TOO_LARGE);
    } else if (!sessions_add(&api->sessions, &image, api->embedding, &c->session, &e)) {
        fail_error(c, &e, BUSY);
    } else if (job_make(c, JOB_EMBED)) {
        snprintf(line, sizeof line, "{\"id\": \"%s\", \"width\": %d, \"height\": %d}\n", c->session->id,
                 c->session->image.width, c->session->image.height);
        c->status = OK;
        text_set(c, line);
        c->streams = true;
        c->seen.share = -1; /* so that the first line tells where it stands */
        work_put(&api->work, c->job);
    }
    image_free(&image);
}

/* ---- prompts ---- */

static bool read_point(Json p, const Session *s, PredictorPoint *out, Error *e) {
    if (!json_expect(p, JSON_ARRAY, e)) return false;
    if (json_count(p) != 3) return json_error(p, e, "a point is [x, y, label]");
    Json x = json_first(p), y = json_next(x);
    int64_t label;
    if (!json_number(x, 0, s->image.width, &out->x, e) || !json_number(y, 0, s->image.height, &out->y, e) ||
        !json_int(json_next(y), 0, 1, &label, e))
        return false;
    out->label = (int)label;
    return true;
}

static bool read_box(Json box, const Session *s, double out[4], Error *e) {
    if (!json_expect(box, JSON_ARRAY, e)) return false;
    if (json_count(box) != 4) return json_error(box, e, "a box is [left, top, right, bottom]");
    Json v = json_first(box);
    for (int i = 0; i < 4; i++, v = json_next(v))
        if (!json_number(v, 0, i % 2 ? s->image.height : s->image.width, &out[i], e)) return false;
    return out[0] < out[2] && out[1] < out[3] ? true : json_error(box, e, "the box is empty");
}

/* No key but those of the list, which NULL ends: a misspelt one would be a prompt that nobody asked for. */
static bool keys_known(Json root, const char *const *known, Error *e) {
    if (!json_expect(root, JSON_OBJECT, e)) return false;
    for (Json i = json_first(root); json_exists(i); i = json_next(i)) {
        int k = 0;
        while (known[k] && strcmp(known[k], json_key(i)) != 0) k++;
        if (!known[k]) return json_error(i, e, "unknown");
    }
    return true;
}

static bool read_prompt(const JsonFile *f, const Api *api, Job *j, Error *e) {
    static const char *const known[] = {"points", "box", "multimask", "hq_only", NULL};
    const Session *s = j->session;
    Json root = json_root(f);
    if (!keys_known(root, known, e)) return false;
    Json points = json_get(root, "points"), box = json_get(root, "box");
    Json multimask = json_get(root, "multimask"), only = json_get(root, "hq_only");
    bool hq_only = false;
    j->multimask = true;
    if (json_exists(points) && !json_expect(points, JSON_ARRAY, e)) return false;
    if (json_count(points) > JOB_POINTS) return json_error(points, e, "more than %d points", JOB_POINTS);
    for (Json p = json_first(points); json_exists(p); p = json_next(p))
        if (!read_point(p, s, &j->point[j->points++], e)) return false;
    j->boxed = json_exists(box) && json_type(box) != JSON_NULL;
    if (j->boxed && !read_box(box, s, j->box, e)) return false;
    if (!j->boxed && !j->points) return json_error(root, e, "neither a point nor a box");
    if (json_exists(multimask) && !json_bool(multimask, &j->multimask, e)) return false;
    if (json_exists(only) && !json_bool(only, &hq_only, e)) return false;
    if (hq_only && !api->hq) return json_error(only, e, "this model is no HQ-SAM");
    j->hq = hq_only ? PREDICTOR_HQ_ONLY : PREDICTOR_HQ_SUM;
    return true;
}

/* The body as JSON, read by `read` into the call's job. */
static bool body_read(const Api *api, Call *c, const Bytes *body,
                      bool (*read)(const JsonFile *f, const Api *api, Job *j, Error *e)) {
    JsonFile *f = NULL;
    Error e = {0};
    bool fine =
        json_open(&f, "the request", (const char *)body->data, body->size, &e) && read(f, api, c->job, &e);
    json_close(f);
    if (!fine) fail_error(c, &e, BAD);
    return fine;
}

static bool read_everything(const JsonFile *f, const Api *api, Job *j, Error *e) {
    static const char *const known[] = {"side", "iou", "stability", NULL};
    Json root = json_root(f), side = json_get(root, "side");
    Json iou = json_get(root, "iou"), stability = json_get(root, "stability");
    int64_t points = generator_standard.points_per_side;
    (void)api;
    j->set = generator_standard;
    if (!keys_known(root, known, e)) return false;
    if (json_exists(side) && !json_int(side, 1, SIDE_MOST, &points, e)) return false;
    if (json_exists(iou) && !json_number(iou, 0, 1, &j->set.iou_threshold, e)) return false;
    if (json_exists(stability) && !json_number(stability, 0, 1, &j->set.stability_threshold, e)) return false;
    j->set.points_per_side = (int)points;
    return true;
}

void call_masks(Api *api, Call *c, const char *id, const Bytes *body) {
    if (!session_find(api, c, id) || !session_ready(c) || !job_make(c, JOB_MASKS)) return;
    if (!body_read(api, c, body, read_prompt)) return;
    work_put(&api->work, c->job);
    work_wait(&api->work, c->job);
    if (c->job->failed) {
        fail_error(c, &c->job->error, BUSY);
        return;
    }
    Bytes empty = c->text;
    c->text = c->job->text;
    c->job->text = empty;
    c->status = OK;
}

void call_everything(Api *api, Call *c, const char *id, const Bytes *body) {
    if (!session_find(api, c, id) || !session_ready(c) || !job_make(c, JOB_EVERYTHING)) return;
    if (!body_read(api, c, body, read_everything)) return;
    c->status = OK;
    c->streams = true;
    c->seen.share = -1; /* so that the first line tells where it stands */
    work_put(&api->work, c->job);
}

void call_remove(Api *api, Call *c, const char *id) {
    if (!session_find(api, c, id)) return;
    sessions_remove(&api->sessions, c->session);
    c->status = OK;
    text_set(c, "{}");
}

/* ---- streams ---- */

/* What there is to say about a job that goes on, or has ended. */
static void stream_line(Api *api, Call *c) {
    char line[LINE];
    Error e = {0};
    WorkView v = work_watch(&api->work, c->job, &c->seen);
    c->seen = v;
    c->last = v.done;
    if (v.done && c->job->failed) {
        fail_with(c, OK, c->job->error.text);
    } else if (v.done && c->job->kind == JOB_EMBED) {
        text_set(c, "{\"ready\": true}");
    } else if (v.done) {
        Bytes empty = c->text;
        c->text = c->job->text;
        c->job->text = empty;
        c->sent = 0;
    } else {
        if (v.ahead)
            snprintf(line, sizeof line, "{\"ahead\": %d}", v.ahead);
        else
            snprintf(line, sizeof line, "{\"share\": %.4f}", v.share);
        text_set(c, line);
    }
    if (!bytes_append(&c->text, "\n", 1, &e)) c->last = true;
}

size_t call_read(Api *api, Call *c, char *out, size_t most) {
    if (c->sent == c->text.size && c->last) return 0;
    if (c->sent == c->text.size) stream_line(api, c);
    size_t n = c->text.size - c->sent < most ? c->text.size - c->sent : most;
    memcpy(out, c->text.data + c->sent, n);
    c->sent += n;
    return n;
}

void call_close(Api *api, Call *c) {
    if (c->streams) work_cancel(&api->work, c->job);
    /* An image that was given up, or cannot be embedded, is of no use to anybody. */
    if (c->session && c->job && c->job->kind == JOB_EMBED && !atomic_load(&c->session->ready))
        sessions_remove(&api->sessions, c->session);
    if (c->job) bytes_free(&c->job->text);
    mem_free(c->job);
    if (c->session) sessions_drop(&api->sessions, c->session);
    bytes_free(&c->text);
}
