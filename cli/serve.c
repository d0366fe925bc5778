#include "cli/cli.h"
#include "cli/model.h"
#include "cli/options.h"
#include "cli/serve_guard.h"
#include "cli/serve_http.h"

#include "core/file.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

static const char usage[] = "usage: lethe serve --checkpoint FILE [--port N] [--host ADDRESS] [--dtype "
                            "f32|bf16] [--max-upload MIB]\n\n"
                            "Opens a page on this machine: drop an image on it, click, and get masks at "
                            "once. FILE is a run's folder, a\n"
                            "checkpoint, or a file of weights of a segmentation model.\n"
                            "  --port        where to listen: 8000; 0: any port that is free\n"
                            "  --host        the address to listen at: 127.0.0.1, which only this machine "
                            "reaches. Other machines are\n"
                            "                not asked who they are\n"
                            "  --dtype       what is computed in: f32\n"
                            "  --max-upload  the largest file taken, in MiB: 64\n"
                            "Ctrl-C ends. Images stay in memory: nothing is written to a disk or sent "
                            "elsewhere. See docs/serve.md.\n";

enum { PORT = 8000, PORT_MOST = 65535, UPLOAD = 64, UPLOAD_MOST = 1024 };

/* Most bytes that images and their embeddings take; see serve_session.h. */
static const size_t memory_most = (size_t)2 << 30;

typedef struct ServeOptions {
    const char *checkpoint, *host, *dtype;
    int64_t port, upload;
} ServeOptions;

static bool options_check(const ServeOptions *o, const OptionList *rest, Error *e) {
    if (rest->count || !o->checkpoint)
        return error_set(e, ERROR_VALUE,
                         "serve takes --checkpoint and no other words; see lethe serve --help");
    if (o->port < 0 || o->port > PORT_MOST)
        return error_set(e, ERROR_VALUE, "--port takes 0 to %d, not %" PRId64, PORT_MOST, o->port);
    if (o->upload < 1 || o->upload > UPLOAD_MOST)
        return error_set(e, ERROR_VALUE, "--max-upload takes 1 to %d MiB, not %" PRId64, UPLOAD_MOST,
                         o->upload);
    if (strcmp(o->dtype, "f32") != 0 && strcmp(o->dtype, "bf16") != 0)
        return error_set(e, ERROR_VALUE, "--dtype takes f32 or bf16, not \"%s\"", o->dtype);
    return true;
}

/* What an embedding takes, at most: of S x S pixels g x g places, g = S / 16, of 256 channels, and for HQ 32
 * channels of 4g x 4g. */
static size_t embedding_bytes(const Task *task, bool hq) {
    enum { PATCH = 16, CHANNELS = 256, FINE = 32 * 4 * 4 };
    size_t grid = (size_t)task->image_size / PATCH;
    return grid * grid * (CHANNELS + (hq ? FINE : 0)) * sizeof(float);
}

static bool run(Api *api, const ServeOptions *o, Error *e) {
    Http *http = NULL;
    if (!http_open(&http, api, o->host, (int)o->port, e)) return false;
    const char *open = strchr(o->host, ':') ? "[" : "", *close = *open ? "]" : "";
    printf("http://%s%s%s:%d/ (Ctrl-C ends)\n", open, o->host, close, http_port(http));
    fflush(stdout);
    if (!guard_loopback(o->host))
        fprintf(stderr, "warning: other machines can reach this page, and nobody is asked who they are\n");
    work_run(&api->work);
    http_close(http);
    return true;
}

static bool serve(const ServeOptions *o, Error *e) {
    DType compute = !strcmp(o->dtype, "bf16") ? DT_BF16 : DT_F32;
    Model model = {0};
    Predictor *ask = NULL;
    if (!model_open(&model, o->checkpoint, compute, e)) return false;
    const char *name = file_base(o->checkpoint);
    Api api = {.model = *name ? name : o->checkpoint, .max_upload = o->upload << 20};
    bool fine =
        predictor_open(&ask, &model.setup.task, compute, e) && work_open(&api.work, model.predictor, ask, e);
    if (fine) {
        api.hq = predictor_hq(ask);
        api.embedding = embedding_bytes(&model.setup.task, api.hq);
        pthread_mutex_init(&api.decoding, NULL);
        sessions_open(&api.sessions, memory_most);
        fine = run(&api, o, e);
        sessions_close(&api.sessions);
        pthread_mutex_destroy(&api.decoding);
        work_close(&api.work);
    }
    predictor_close(ask);
    model_close(&model);
    return fine;
}

int cli_serve(int argc, char **argv) {
    Error e = {0};
    ServeOptions o = {.host = "127.0.0.1", .dtype = "f32", .port = PORT, .upload = UPLOAD};
    OptionList rest = {0};
    const Option options[] = {
        {"checkpoint", OPTION_TEXT, &o.checkpoint}, {"host", OPTION_TEXT, &o.host},
        {"dtype", OPTION_TEXT, &o.dtype},           {"port", OPTION_INT, &o.port},
        {"max-upload", OPTION_INT, &o.upload},      {0},
    };
    int done = options_read(argc, argv, usage, options, &rest, &e);
    if (done >= 0) return done ? cli_fail(&e) : 0;
    return options_check(&o, &rest, &e) && serve(&o, &e) ? 0 : cli_fail(&e);
}
