#include "core/json.h"

#include "core/file.h"
#include "core/json_scan.h"

#include <cjson/cJSON.h>
#include <inttypes.h>
#include <math.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* cJSON asks for a block per value; they are cut from chunks that the document frees all at once. */
typedef struct Chunk Chunk;
struct Chunk {
    Chunk *next;
    size_t used, size;
    _Alignas(16) char data[];
};

enum { CHUNK_FIRST = 4096, CHUNK_MOST = 1 << 20, FEW_KEYS = 16 };

struct JsonFile {
    char *name;
    const char *text;
    char *owned; /* the text, if it is ours */
    size_t size;
    bool bare; /* messages without line and column */
    Chunk *chunks;
    cJSON *root;
};

/* cJSON's hooks carry no context and it keeps an error pointer of its own: one parse at a time. */
static pthread_mutex_t parsing = PTHREAD_MUTEX_INITIALIZER;
static JsonFile *parsed; /* whose chunks the hooks use; guarded by `parsing` */

static void *node_get(size_t size) {
    if (size > PTRDIFF_MAX / 2) return NULL;
    size = (size + 15) / 16 * 16;
    Chunk *c = parsed->chunks;
    if (!c || c->size - c->used < size) {
        size_t room = c && c->size < CHUNK_MOST ? c->size * 2 : c ? c->size : CHUNK_FIRST;
        if (room > CHUNK_MOST) room = CHUNK_MOST;
        if (room < size) room = size;
        c = mem_get(sizeof *c + room);
        if (!c) return NULL;
        *c = (Chunk){.next = parsed->chunks, .size = room};
        parsed->chunks = c;
    }
    c->used += size;
    return c->data + c->used - size;
}

static void node_free(void *p) {
    (void)p; /* chunks are freed by json_close */
}

static cJSON *parse(JsonFile *f) {
    cJSON_Hooks hooks = {node_get, node_free};
    pthread_mutex_lock(&parsing);
    parsed = f;
    cJSON_InitHooks(&hooks);
    cJSON *root = cJSON_ParseWithLengthOpts(f->text, f->size, NULL, false);
    parsed = NULL;
    pthread_mutex_unlock(&parsing);
    return root;
}

static int compare_keys(const void *a, const void *b) {
    return strcmp((*(cJSON *const *)a)->string, (*(cJSON *const *)b)->string);
}

static bool fail_twice(const JsonFile *f, const cJSON *a, const cJSON *b, Error *e) {
    const cJSON *later = a;
    while (later && later != b) later = later->next;
    return json_error((Json){.file = f, .node = later ? later : a}, e,
                      "this key stands twice in its object: remove one");
}

/* No key twice, in this object or below. Large objects are sorted, as a hostile one could hold millions. */
static bool check_keys(const JsonFile *f, const cJSON *node, Error *e) {
    size_t n = 0;
    for (const cJSON *c = node->child; c; c = c->next, n++)
        if (c->child && !check_keys(f, c, e)) return false;
    if (!cJSON_IsObject(node)) return true;
    if (n <= FEW_KEYS) {
        for (const cJSON *a = node->child; a; a = a->next)
            for (const cJSON *b = a->next; b; b = b->next)
                if (strcmp(a->string, b->string) == 0) return fail_twice(f, a, b, e);
        return true;
    }
    const cJSON **list = mem_get(n * sizeof *list);
    if (!list) return error_memory(e, n * sizeof *list);
    size_t i = 0, twice = 0;
    for (const cJSON *c = node->child; c; c = c->next) list[i++] = c;
    qsort(list, n, sizeof *list, compare_keys);
    for (i = 1; i < n && !twice; i++)
        if (strcmp(list[i - 1]->string, list[i]->string) == 0) twice = i;
    if (twice) fail_twice(f, list[twice - 1], list[twice], e);
    mem_free(list);
    return twice == 0;
}

/* Takes over `owned`, also on failure. */
static bool open_text(JsonFile **out, const char *name, const char *text, char *owned, size_t size, bool bare,
                      Error *e) {
    *out = NULL;
    JsonFile *f = mem_zero(1, sizeof *f);
    if (!f) {
        mem_free(owned);
        return error_memory(e, sizeof *f);
    }
    f->text = text, f->owned = owned, f->size = size, f->bare = bare;
    f->name = mem_string(name);
    if (!f->name) {
        error_memory(e, strlen(name) + 1);
        goto fail;
    }
    if (!json_scan(name, text, size, e)) goto fail;
    f->root = parse(f);
    if (!f->root) {
        /* The text passed the scan, so only memory can have run out. */
        error_set(e, ERROR_MEMORY, "%s: out of memory while reading %zu bytes of JSON", name, size);
        goto fail;
    }
    if (!check_keys(f, f->root, e)) goto fail;
    *out = f;
    return true;
fail:
    json_close(f);
    return false;
}

bool json_open(JsonFile **out, const char *name, const char *text, size_t size, Error *e) {
    return open_text(out, name, text, NULL, size, false, e);
}

bool json_load(JsonFile **out, const char *path, size_t cap, Error *e) {
    char *text;
    size_t size;
    *out = NULL;
    if (!file_read(path, cap < JSON_MAX_BYTES ? cap : JSON_MAX_BYTES, &text, &size, e)) return false;
    return open_text(out, path, text, text, size, false, e);
}

bool json_open_word(JsonFile **out, const char *name, const char *word, Error *e) {
    char *copy = mem_string(word);
    *out = NULL;
    if (!copy) return error_memory(e, strlen(word) + 1);
    if (open_text(out, name, copy, copy, strlen(word), true, e)) return true;
    if (e->code != ERROR_FORMAT) return false;
    size_t room = 6 * strlen(word) + 8; /* the longest escape, \u001f, is six bytes */
    char *quoted = mem_get(room);
    if (!quoted) return error_memory(e, room);
    JsonWriter w = json_writer(quoted, room, 0);
    json_put_text(&w, NULL, word);
    return open_text(out, name, quoted, quoted, w.used, true, e);
}

void json_close(JsonFile *f) {
    if (!f) return;
    for (Chunk *c = f->chunks, *next; c; c = next) {
        next = c->next;
        mem_free(c);
    }
    mem_free(f->owned);
    mem_free(f->name);
    mem_free(f);
}

Json json_root(const JsonFile *f) {
    return (Json){.file = f, .node = f->root};
}

JsonType json_type(Json j) {
    if (!j.node) return JSON_ABSENT;
    if (cJSON_IsNull(j.node)) return JSON_NULL;
    if (cJSON_IsBool(j.node)) return JSON_BOOL;
    if (cJSON_IsNumber(j.node)) return JSON_NUMBER;
    if (cJSON_IsString(j.node)) return JSON_TEXT;
    return cJSON_IsArray(j.node) ? JSON_ARRAY : JSON_OBJECT;
}

const char *json_type_text(JsonType type) {
    static const char *const text[] = {"nothing", "null",     "true or false", "a number",
                                       "a text",  "an array", "an object"};
    return text[type];
}

Json json_get(Json object, const char *key) {
    if (cJSON_IsObject(object.node))
        for (const cJSON *c = object.node->child; c; c = c->next)
            if (strcmp(c->string, key) == 0) return (Json){.file = object.file, .node = c};
    if (!object.node) return object; /* what is missing is what was missing first */
    return (Json){.file = object.file, .parent = object.node, .key = key};
}

Json json_first(Json j) {
    return (Json){.file = j.file, .node = j.node ? j.node->child : NULL};
}

Json json_next(Json j) {
    return (Json){.file = j.file, .node = j.node ? j.node->next : NULL};
}

int64_t json_count(Json j) {
    int64_t n = 0;
    for (const cJSON *c = j.node ? j.node->child : NULL; c; c = c->next) n++;
    return n;
}

const char *json_key(Json j) {
    return j.node ? j.node->string : NULL;
}

/* A place in the document, as text ("images[4].width") and as its number in the order of values. */
typedef struct Place {
    char text[300];
    size_t used;
    int64_t index;
} Place;

/* Adds a key, or the number of an array's element if key is NULL. */
static void place_add(Place *p, const char *key, int64_t i) {
    char *end = p->text + p->used;
    size_t room = sizeof p->text - p->used;
    int n =
        key ? snprintf(end, room, "%s%s", p->used ? "." : "", key) : snprintf(end, room, "[%" PRId64 "]", i);
    p->used += (size_t)n < room ? (size_t)n : room - 1;
}

static bool place_find(Place *p, const cJSON *at, const cJSON *wanted) {
    if (at == wanted) return true;
    size_t used = p->used;
    int64_t i = 0;
    for (const cJSON *c = at->child; c; c = c->next, i++) {
        p->index++;
        place_add(p, c->string, i);
        if (place_find(p, c, wanted)) return true;
        p->used = used;
        p->text[used] = 0;
    }
    return false;
}

/* Bytes from a file that would break the line or steer a terminal become '?'. */
static void clean(char *text) {
    for (; *text; text++)
        if ((uint8_t)*text < 0x20 || *text == 0x7F) *text = '?';
}

bool json_error(Json j, Error *e, const char *format, ...) {
    char what[600], where[64] = "";
    Place p = {.text = ""};
    va_list args;
    va_start(args, format);
    vsnprintf(what, sizeof what, format, args);
    va_end(args);
    const cJSON *node = j.node ? j.node : j.parent;
    if (node) place_find(&p, j.file->root, node);
    if (!j.node && j.key) place_add(&p, j.key, 0);
    if (!j.file->bare) {
        int64_t line, column;
        json_scan_place(j.file->text, json_scan_find(j.file->text, j.file->size, p.index), &line, &column);
        snprintf(where, sizeof where, ":%" PRId64 ":%" PRId64, line, column);
    }
    error_set(e, ERROR_VALUE, "%s%s: %s%s%s", j.file->name, where, p.text, p.used ? ": " : "", what);
    clean(e->text);
    return false;
}

static bool fail_type(Json j, const char *expected, Error *e) {
    char number[32];
    switch (json_type(j)) {
    case JSON_ABSENT:
        return json_error(j, e, "missing");
    case JSON_NUMBER:
        return json_error(j, e, "expected %s, found %s", expected,
                          json_real_text(j.node->valuedouble, number));
    case JSON_TEXT:
        return json_error(j, e, "expected %s, found the text \"%.60s\"", expected, j.node->valuestring);
    case JSON_BOOL:
        return json_error(j, e, "expected %s, found %s", expected, cJSON_IsTrue(j.node) ? "true" : "false");
    default:
        return json_error(j, e, "expected %s, found %s", expected, json_type_text(json_type(j)));
    }
}

bool json_expect(Json j, JsonType type, Error *e) {
    return json_type(j) == type || fail_type(j, json_type_text(type), e);
}

bool json_bool(Json j, bool *out, Error *e) {
    if (!json_expect(j, JSON_BOOL, e)) return false;
    *out = cJSON_IsTrue(j.node);
    return true;
}

/* "a whole number from 1 to 65500", "a number of at least 0", "a number". */
static const char *range_text(char buffer[120], const char *what, double lo, double hi, double least,
                              double most) {
    char a[32], b[32];
    json_real_text(lo, a);
    json_real_text(hi, b);
    if (lo > least && hi < most)
        snprintf(buffer, 120, "%s from %s to %s", what, a, b);
    else if (lo > least)
        snprintf(buffer, 120, "%s of at least %s", what, a);
    else if (hi < most)
        snprintf(buffer, 120, "%s of at most %s", what, b);
    else
        snprintf(buffer, 120, "%s", what);
    return buffer;
}

bool json_int(Json j, int64_t lo, int64_t hi, int64_t *out, Error *e) {
    char expected[120];
    if (lo < -JSON_MAX_INT) lo = -JSON_MAX_INT;
    if (hi > JSON_MAX_INT) hi = JSON_MAX_INT;
    double v = json_type(j) == JSON_NUMBER ? j.node->valuedouble : 0.5;
    if (v == floor(v) && v >= (double)lo && v <= (double)hi) {
        *out = (int64_t)v;
        return true;
    }
    bool huge = fabs(v) > (double)JSON_MAX_INT;
    range_text(expected, "a whole number", (double)lo, (double)hi, huge ? -INFINITY : -(double)JSON_MAX_INT,
               huge ? INFINITY : (double)JSON_MAX_INT);
    return fail_type(j, expected, e);
}

bool json_number(Json j, double lo, double hi, double *out, Error *e) {
    char expected[120];
    if (json_type(j) == JSON_NUMBER && j.node->valuedouble >= lo && j.node->valuedouble <= hi) {
        *out = j.node->valuedouble;
        return true;
    }
    return fail_type(j, range_text(expected, "a number", lo, hi, -INFINITY, INFINITY), e);
}

bool json_text(Json j, const char **out, Error *e) {
    if (!json_expect(j, JSON_TEXT, e)) return false;
    *out = j.node->valuestring;
    return true;
}
