/* serve_api: what the page asks of `lethe serve`, behind /api.
 *
 *     GET    /api/model                about the model and the limits
 *     POST   /api/image                a JPEG or PNG file; a line of JSON at a time tells how far its
 *                                      embedding is
 *         {"id": "4f..", "width": 640, "height": 480}  {"ahead": 1}  {"share": 0.25}  {"ready": true}
 *     POST   /api/image/ID/masks       {"points": [[x, y, 1], [x, y, 0]], "box": [x0, y0, x1, y1],
 *                                       "multimask": true} -> {"masks": [...]}, COCO annotations
 *     POST   /api/image/ID/everything  {"side": 32}; lines as above, the last {"masks": [...]}
 *     DELETE /api/image/ID
 *
 * Pixels count from the top left of the image as seen. An error is {"error": "one line"}, with a status where
 * the answer has not begun. Closing the connection gives up the work it waits for. Any thread. */
#ifndef LETHE_CLI_SERVE_API_H
#define LETHE_CLI_SERVE_API_H

#include "cli/serve_work.h"

typedef struct Api {
    Sessions sessions;
    Work work;
    pthread_mutex_t decoding; /* one image at a time: a large one needs its pixels twice */
    const char *model;        /* its name; borrowed */
    bool hq;
    size_t embedding; /* bytes of one */
    int64_t max_upload;
} Api;

/* One request and its answer. */
typedef struct Call {
    Session *session; /* held */
    Job *job;
    int status;
    bool streams; /* the answer comes from call_read, not from `text` */
    Bytes text;   /* the answer; of a stream, what is to be sent next */
    size_t sent;  /* of text */
    WorkView seen;
    bool last; /* of a stream: text is the last of it */
} Call;

void call_model(Api *api, Call *c);
void call_image(Api *api, Call *c, const Bytes *body);
void call_masks(Api *api, Call *c, const char *id, const Bytes *body);
void call_everything(Api *api, Call *c, const char *id, const Bytes *body);
void call_remove(Api *api, Call *c, const char *id);
void call_fail(Call *c, int status, const char *format, ...) PRINTF_LIKE(3, 4);
/* The next bytes of a stream, waiting for them; 0: that was all. */
size_t call_read(Api *api, Call *c, char *out, size_t most);
void call_close(Api *api, Call *c);

#endif
