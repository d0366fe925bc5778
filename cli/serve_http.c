#include "cli/serve_http.h"

#include "cli/serve_guard.h"
#include "cli/serve_page.h"

#include "core/clock.h"

#include <errno.h>
#include <microhttpd.h>
#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

enum {
    CONNECTIONS = 64,
    LAST_SECONDS = 2,    /* when the server ends: for answers on their way */
    IDLE_SECONDS = 30,   /* a connection on which nothing moves is closed */
    JSON_MOST = 1 << 16, /* bytes of a prompt */
    UPLOADS = 4,         /* as many largest files may be on their way at once */
    BLOCK = 1 << 14,     /* bytes of a stream at once */
};

struct Http {
    Api *api;
    struct MHD_Daemon *daemon;
    char host[256];
    int port;
    atomic_int active;             /* requests whose answers are not whole yet */
    atomic_int_fast64_t uploading; /* bytes that bodies on their way may take */
};

typedef enum { VERB_PAGE, VERB_MODEL, VERB_IMAGE, VERB_MASKS, VERB_EVERYTHING, VERB_REMOVE } Verb;

/* A request, from its first line to the end of its answer. */
typedef struct Request {
    Http *http;
    Verb verb;
    char id[SESSION_ID];
    PageFile file;
    int64_t most; /* bytes of the body, as announced */
    Bytes body;
    Call call;
} Request;

/* ---- answers ---- */

static const struct {
    const char *name, *value;
} headers[] = {
    {"Content-Security-Policy",
     "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
     "img-src 'self' blob:; base-uri 'none'; form-action 'none'; "
     "frame-ancestors 'none'"},
    {"X-Content-Type-Options", "nosniff"},
    {"Cache-Control", "no-store"},
    {"Referrer-Policy", "no-referrer"},
    {"Cross-Origin-Opener-Policy", "same-origin"},
    {"Cross-Origin-Resource-Policy", "same-origin"},
};

static enum MHD_Result answer(struct MHD_Connection *to, int status, const char *type,
                              struct MHD_Response *r) {
    if (!r) return MHD_NO;
    for (int i = 0; i < COUNT(headers); i++) MHD_add_response_header(r, headers[i].name, headers[i].value);
    MHD_add_response_header(r, "Content-Type", type);
    enum MHD_Result sent = MHD_queue_response(to, (unsigned)status, r);
    MHD_destroy_response(r);
    return sent;
}

/* The text goes on belonging to the request, which outlives the answer. */
static enum MHD_Result answer_text(struct MHD_Connection *to, const Call *c) {
    return answer(to, c->status, "application/json",
                  MHD_create_response_from_buffer(c->text.size, c->text.data, MHD_RESPMEM_PERSISTENT));
}

static ssize_t stream_read(void *self, uint64_t at, char *out, size_t most) {
    (void)at;
    Request *r = self;
    size_t n = call_read(r->http->api, &r->call, out, most);
    return n ? (ssize_t)n : MHD_CONTENT_READER_END_OF_STREAM;
}

static enum MHD_Result answer_call(struct MHD_Connection *to, Request *r) {
    if (!r->call.streams) return answer_text(to, &r->call);
    return answer(to, r->call.status, "application/x-ndjson",
                  MHD_create_response_from_callback(MHD_SIZE_UNKNOWN, BLOCK, stream_read, r, NULL));
}

static enum MHD_Result answer_file(struct MHD_Connection *to, const PageFile *f) {
    return answer(to, MHD_HTTP_OK, f->type,
                  MHD_create_response_from_buffer(f->size, (void *)f->data, MHD_RESPMEM_PERSISTENT));
}

/* ---- what is asked ---- */

/* "/api/image/ID/rest" -> ID; NULL: the URL is none of these, else what follows ID. */
static const char *read_id(const char *url, char id[SESSION_ID]) {
    static const char image[] = "/api/image/";
    if (strncmp(url, image, sizeof image - 1) != 0) return NULL;
    url += sizeof image - 1;
    size_t n = strspn(url, "0123456789abcdef");
    if (n != SESSION_ID - 1) return NULL;
    memcpy(id, url, n);
    id[n] = 0;
    return url + n;
}

/* Fills the request's verb; false: the call says what is wrong. */
static bool route(Request *r, const char *method, const char *url) {
    const char *wanted = "GET", *rest;
    if (page_find(url, &r->file)) {
        r->verb = VERB_PAGE;
    } else if (!strcmp(url, "/api/model")) {
        r->verb = VERB_MODEL;
    } else if (!strcmp(url, "/api/image")) {
        r->verb = VERB_IMAGE, wanted = "POST";
    } else if ((rest = read_id(url, r->id)) != NULL && !strcmp(rest, "/masks")) {
        r->verb = VERB_MASKS, wanted = "POST";
    } else if (rest && !strcmp(rest, "/everything")) {
        r->verb = VERB_EVERYTHING, wanted = "POST";
    } else if (rest && !*rest) {
        r->verb = VERB_REMOVE, wanted = "DELETE";
    } else {
        call_fail(&r->call, MHD_HTTP_NOT_FOUND, "there is nothing at this address");
        return false;
    }
    if (!strcmp(method, wanted)) return true;
    call_fail(&r->call, MHD_HTTP_METHOD_NOT_ALLOWED, "only %s is answered here", wanted);
    return false;
}

static const char *header(struct MHD_Connection *from, const char *name) {
    return MHD_lookup_connection_value(from, MHD_HEADER_KIND, name);
}

static bool guarded(Request *r, struct MHD_Connection *from) {
    const char *host = header(from, "Host");
    if (!guard_host(host, r->http->host, r->http->port))
        call_fail(&r->call, MHD_HTTP_MISDIRECTED_REQUEST,
                  "this server answers under its own address only; open the one that lethe serve printed");
    else if (!guard_origin(header(from, "Origin"), header(from, "Sec-Fetch-Site"), host))
        call_fail(&r->call, MHD_HTTP_FORBIDDEN, "only this server's own page may ask");
    else
        return true;
    return false;
}

/* What a plain form of another page cannot send. */
static bool typed(Request *r, struct MHD_Connection *from) {
    const char *type = header(from, "Content-Type");
    const char *wanted = r->verb == VERB_IMAGE ? "application/octet-stream" : "application/json";
    size_t n = type ? strcspn(type, "; ") : 0;
    if (type && n == strlen(wanted) && !strncasecmp(type, wanted, n)) return true;
    call_fail(&r->call, MHD_HTTP_UNSUPPORTED_MEDIA_TYPE, "Content-Type must be %s", wanted);
    return false;
}

/* Is there to be a body that may be read? */
static bool announced(Request *r, struct MHD_Connection *from) {
    const char *text = header(from, "Content-Length");
    int64_t most = r->verb == VERB_IMAGE ? r->http->api->max_upload : JSON_MOST;
    char *end = NULL;
    errno = 0;
    long long length = text ? strtoll(text, &end, 10) : -1;
    if (!text || errno || *end || length < 0) {
        call_fail(&r->call, MHD_HTTP_LENGTH_REQUIRED, "Content-Length must be told");
    } else if (length > most && r->verb == VERB_IMAGE) {
        call_fail(&r->call, MHD_HTTP_CONTENT_TOO_LARGE,
                  "the file has %.1f MiB, and at most %lld MiB are taken (--max-upload)",
                  (double)length / (1 << 20), (long long)(most >> 20));
    } else if (length > most) {
        call_fail(&r->call, MHD_HTTP_CONTENT_TOO_LARGE,
                  "the request has %lld bytes, and at most %lld are taken", length, (long long)most);
    } else if (atomic_fetch_add(&r->http->uploading, length) + length > UPLOADS * r->http->api->max_upload) {
        atomic_fetch_sub(&r->http->uploading, length);
        call_fail(&r->call, MHD_HTTP_SERVICE_UNAVAILABLE, "too many files are on their way; try again");
    } else {
        r->most = length;
        return true;
    }
    return false;
}

static void body_release(Request *r) {
    bytes_free(&r->body);
    atomic_fetch_sub(&r->http->uploading, r->most);
    r->most = 0;
}

static enum MHD_Result dispatch(struct MHD_Connection *to, Request *r) {
    Api *api = r->http->api;
    switch (r->verb) {
    case VERB_PAGE:
        return answer_file(to, &r->file);
    case VERB_MODEL:
        call_model(api, &r->call);
        break;
    case VERB_IMAGE:
        call_image(api, &r->call, &r->body);
        body_release(r); /* the stream lasts longer than the file is needed */
        break;
    case VERB_MASKS:
        call_masks(api, &r->call, r->id, &r->body);
        break;
    case VERB_EVERYTHING:
        call_everything(api, &r->call, r->id, &r->body);
        break;
    case VERB_REMOVE:
        call_remove(api, &r->call, r->id);
        break;
    }
    return answer_call(to, r);
}

/* ---- libmicrohttpd ---- */

static enum MHD_Result begin(Http *h, struct MHD_Connection *from, const char *url, const char *method,
                             void **self) {
    Request *r = mem_zero(1, sizeof *r);
    if (!r) return MHD_NO;
    *self = r;
    r->http = h;
    atomic_fetch_add(&h->active, 1);
    bool fine = guarded(r, from) && route(r, method, url);
    bool body = r->verb == VERB_IMAGE || r->verb == VERB_MASKS || r->verb == VERB_EVERYTHING;
    if (fine && body) fine = typed(r, from) && announced(r, from);
    return fine ? MHD_YES : answer_text(from, &r->call);
}

/* Called once when the headers are there, then for each piece of the body, then once with none. */
static enum MHD_Result handle(void *http, struct MHD_Connection *from, const char *url, const char *method,
                              const char *version, const char *data, size_t *size, void **self) {
    (void)version;
    Request *r = *self;
    if (!r) return begin(http, from, url, method, self);
    if (!*size) return dispatch(from, r);
    Error e = {0};
    size_t n = *size;
    *size = 0;
    if ((int64_t)(r->body.size + n) > r->most || !bytes_append(&r->body, data, n, &e)) return MHD_NO;
    return MHD_YES;
}

static void complete(void *http, struct MHD_Connection *from, void **self,
                     enum MHD_RequestTerminationCode why) {
    (void)from;
    (void)why;
    Http *h = http;
    Request *r = *self;
    if (!r) return;
    call_close(h->api, &r->call);
    body_release(r);
    mem_free(r);
    atomic_fetch_sub(&h->active, 1);
    *self = NULL;
}

/* A socket that listens, or -1. */
static int listen_at(const char *host, int port, Error *e) {
    char service[16];
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_NUMERICSERV | AI_PASSIVE}, *found;
    snprintf(service, sizeof service, "%d", port);
    int code = getaddrinfo(host, service, &hints, &found), fd = -1, on = 1;
    if (code) {
        error_set(e, ERROR_VALUE, "--host %s: %s", host, gai_strerror(code));
        return -1;
    }
    for (struct addrinfo *a = found; a && fd < 0; a = a->ai_next) {
        fd = socket(a->ai_family, a->ai_socktype | SOCK_CLOEXEC, a->ai_protocol);
        if (fd >= 0) setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
        if (fd >= 0 && !bind(fd, a->ai_addr, a->ai_addrlen) && !listen(fd, CONNECTIONS)) break;
        error_set(e, ERROR_IO, "%s:%d: cannot listen: %s%s", host, port, strerror(errno),
                  errno == EADDRINUSE ? "; choose another --port" : "");
        if (fd >= 0) close(fd);
        fd = -1;
    }
    freeaddrinfo(found);
    return fd;
}

static int port_of(int fd) {
    struct sockaddr_storage at = {0};
    socklen_t n = sizeof at;
    char port[16];
    if (getsockname(fd, (struct sockaddr *)&at, &n) ||
        getnameinfo((struct sockaddr *)&at, n, NULL, 0, port, sizeof port, NI_NUMERICSERV))
        return 0;
    return (int)strtol(port, NULL, 10);
}

bool http_open(Http **out, Api *api, const char *host, int port, Error *e) {
    Http *h = mem_zero(1, sizeof *h);
    if (!h) return error_memory(e, sizeof *h);
    *out = NULL;
    snprintf(h->host, sizeof h->host, "%s", host);
    h->api = api;
    int fd = listen_at(host, port, e);
    if (fd >= 0) {
        h->port = port_of(fd);
        h->daemon = MHD_start_daemon(
            MHD_USE_INTERNAL_POLLING_THREAD | MHD_USE_THREAD_PER_CONNECTION | MHD_USE_POLL, 0, NULL, NULL,
            handle, h, MHD_OPTION_LISTEN_SOCKET, fd, MHD_OPTION_CONNECTION_LIMIT, (unsigned)CONNECTIONS,
            MHD_OPTION_CONNECTION_TIMEOUT, (unsigned)IDLE_SECONDS, MHD_OPTION_NOTIFY_COMPLETED, complete, h,
            MHD_OPTION_END);
        if (!h->daemon) {
            close(fd);
            error_set(e, ERROR_IO, "%s:%d: cannot serve: %s", host, h->port, strerror(errno));
        }
    }
    if (h->daemon)
        *out = h;
    else
        mem_free(h);
    return *out != NULL;
}

int http_port(const Http *h) {
    return h->port;
}

void http_close(Http *h) {
    const struct timespec moment = {.tv_nsec = 20000000};
    if (!h) return;
    int fd = MHD_quiesce_daemon(h->daemon);
    double until = clock_seconds() + LAST_SECONDS;
    while (atomic_load(&h->active) && clock_seconds() < until) nanosleep(&moment, NULL);
    MHD_stop_daemon(h->daemon);
    if (fd >= 0) close(fd);
    mem_free(h);
}
