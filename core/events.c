#include "core/events.h"

#include "core/file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum { BUFFER = 1 << 16, TAG_MAX = 200, SMALL = 512, SAME_NAME = 1000 };

struct Events {
    int fd;
    char path[FILE_PATH];
    int64_t written; /* bytes of whole records in the file */
    size_t used;     /* bytes gathered */
    uint8_t buffer[BUFFER];
};

/* A protobuf message of bounded size. */
typedef struct Proto {
    uint8_t byte[SMALL];
    size_t used;
} Proto;

enum { WIRE_VARINT = 0, WIRE_DOUBLE = 1, WIRE_BYTES = 2, WIRE_FLOAT = 5 };

uint32_t events_crc(uint32_t crc, const void *data, size_t size) {
    crc = ~crc;
    for (const uint8_t *p = data; size > 0; p++, size--) {
        crc ^= *p;
        for (int bit = 0; bit < 8; bit++) crc = crc >> 1 ^ (crc & 1 ? 0x82F63B78u : 0);
    }
    return ~crc;
}

uint32_t events_mask(uint32_t crc) {
    return (crc >> 15 | crc << 17) + 0xA282EAD8u;
}

static void put_bytes(Proto *p, const void *data, size_t size) {
    if (size > SMALL - p->used) die("events: a message of more than %d bytes", SMALL);
    memcpy(p->byte + p->used, data, size);
    p->used += size;
}

/* Little endian, as every host Lethe runs on. */
static void put_varint(Proto *p, uint64_t v) {
    do {
        uint8_t byte = (uint8_t)((v & 0x7F) | (v > 0x7F ? 0x80 : 0));
        put_bytes(p, &byte, 1);
        v >>= 7;
    } while (v);
}

static void put_int(Proto *p, int field, int64_t v) {
    put_varint(p, (uint64_t)field << 3 | WIRE_VARINT);
    put_varint(p, (uint64_t)v);
}

static void put_float(Proto *p, int field, float v) {
    put_varint(p, (uint64_t)field << 3 | WIRE_FLOAT);
    put_bytes(p, &v, sizeof v);
}

static void put_double(Proto *p, int field, double v) {
    put_varint(p, (uint64_t)field << 3 | WIRE_DOUBLE);
    put_bytes(p, &v, sizeof v);
}

/* The head of a field of `size` bytes, which follow. */
static void put_head(Proto *p, int field, size_t size) {
    put_varint(p, (uint64_t)field << 3 | WIRE_BYTES);
    put_varint(p, size);
}

static void put_block(Proto *p, int field, const void *data, size_t size) {
    put_head(p, field, size);
    put_bytes(p, data, size);
}

/* Event: wall_time 1, step 2. */
static Proto event_at(int64_t step) {
    struct timespec now;
    Proto event = {.used = 0};
    clock_gettime(CLOCK_REALTIME, &now);
    put_double(&event, 1, (double)now.tv_sec + 1e-9 * (double)now.tv_nsec);
    put_int(&event, 2, step);
    return event;
}

/* Cuts the file back to its last whole record. */
static bool fail_write(Events *v, int code, Error *e) {
    if (ftruncate(v->fd, v->written) == 0) lseek(v->fd, v->written, SEEK_SET);
    v->used = 0;
    return file_error(e, v->path, "write", code);
}

bool events_flush(Events *v, Error *e) {
    if (v->used == 0) return true;
    if (!file_put(v->fd, v->buffer, v->used)) return fail_write(v, errno, e);
    v->written += (int64_t)v->used;
    v->used = 0;
    return true;
}

bool events_sync(Events *v, Error *e) {
    if (!events_flush(v, e)) return false;
    return fdatasync(v->fd) == 0 || file_error(e, v->path, "sync", errno);
}

static void gather(Events *v, const void *data, size_t size) {
    memcpy(v->buffer + v->used, data, size);
    v->used += size;
}

/* One record: `head`, then `size` more bytes of `rest`, which may be large and is then written past the
 * buffer. */
static bool put_record(Events *v, const Proto *head, const void *rest, size_t size, Error *e) {
    uint64_t length = head->used + size;
    uint32_t head_sum = events_mask(events_crc(0, &length, sizeof length));
    uint32_t sum = events_mask(events_crc(events_crc(0, head->byte, head->used), rest, size));
    size_t frame = sizeof length + sizeof head_sum + head->used + sizeof sum;
    bool large = size > BUFFER / 2;
    if ((large || frame + size > BUFFER - v->used) && !events_flush(v, e)) return false;
    gather(v, &length, sizeof length);
    gather(v, &head_sum, sizeof head_sum);
    gather(v, head->byte, head->used);
    if (!large) {
        if (size) gather(v, rest, size);
        gather(v, &sum, sizeof sum);
        return true;
    }
    if (!file_put(v->fd, v->buffer, v->used) || !file_put(v->fd, rest, size) ||
        !file_put(v->fd, &sum, sizeof sum))
        return fail_write(v, errno, e);
    v->written += (int64_t)(frame + size);
    v->used = 0;
    return true;
}

bool events_scalar(Events *v, int64_t step, const char *tag, double value, Error *e) {
    Proto event = event_at(step), summary = {.used = 0}, item = {.used = 0};
    put_block(&item, 1, tag, strnlen(tag, TAG_MAX));  /* Value.tag */
    put_float(&item, 2, (float)value);                /* Value.simple_value */
    put_block(&summary, 1, item.byte, item.used);     /* Summary.value */
    put_block(&event, 5, summary.byte, summary.used); /* Event.summary */
    return put_record(v, &event, NULL, 0, e);
}

/* The picture is the last field of each of its wrappings, so their heads come first and its bytes follow. */
bool events_image(Events *v, int64_t step, const char *tag, const void *png, size_t size, int width,
                  int height, Error *e) {
    Proto event = event_at(step), image = {.used = 0}, item = {.used = 0}, summary = {.used = 0};
    if (size > (size_t)1 << 30) return error_set(e, ERROR_LIMIT, "%s: a picture of %zu bytes", v->path, size);
    put_int(&image, 1, height);
    put_int(&image, 2, width);
    put_int(&image, 3, 3);     /* Image.colorspace: RGB */
    put_head(&image, 4, size); /* Image.encoded_image_string */
    put_block(&item, 1, tag, strnlen(tag, TAG_MAX));
    put_head(&item, 4, image.used + size); /* Value.image */
    put_bytes(&item, image.byte, image.used);
    put_head(&summary, 1, item.used + size);
    put_bytes(&summary, item.byte, item.used);
    put_head(&event, 5, summary.used + size);
    put_bytes(&event, summary.byte, summary.used);
    return put_record(v, &event, png, size, e);
}

/* Makes a file that was not there: a second run in the same second gets the next number. */
static bool create(Events *v, const char *folder, Error *e) {
    char host[128] = "host", name[256];
    gethostname(host, sizeof host - 1);
    for (int n = 0; n < SAME_NAME; n++) {
        snprintf(name, sizeof name, "events.out.tfevents.%010lld.%s.%ld.%d", (long long)time(NULL), host,
                 (long)getpid(), n);
        if (!file_join(v->path, sizeof v->path, folder, name, e)) return false;
        v->fd = open(v->path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
        if (v->fd >= 0) return true;
        if (errno != EEXIST) break;
    }
    return file_error(e, v->path, "make", errno);
}

bool events_open(Events **out, const char *folder, int64_t first_step, Error *e) {
    static const char version[] = "brain.Event:2";
    *out = NULL;
    Events *v = mem_zero(1, sizeof *v);
    if (!v) return error_memory(e, sizeof *v);
    v->fd = -1;
    if (!create(v, folder, e)) goto fail;
    Proto event = event_at(0);
    put_block(&event, 3, version, strlen(version)); /* Event.file_version */
    if (!put_record(v, &event, NULL, 0, e)) goto fail;
    if (first_step > 0) {
        Proto session = {.used = 0};
        event = event_at(first_step);
        put_int(&session, 1, 1);                          /* SessionLog.status: START */
        put_block(&event, 7, session.byte, session.used); /* Event.session_log */
        if (!put_record(v, &event, NULL, 0, e)) goto fail;
    }
    if (!events_flush(v, e)) goto fail;
    *out = v;
    return true;
fail:
    events_close(v);
    return false;
}

void events_close(Events *v) {
    if (!v) return;
    Error ignored;
    if (v->fd >= 0) {
        events_flush(v, &ignored);
        close(v->fd);
    }
    mem_free(v);
}
