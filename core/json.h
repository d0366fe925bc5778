/* json: reading JSON from outside, strictly, and writing it into a fixed buffer.
 *
 * Reading. cJSON builds the tree; before it sees a byte, json_scan checks the text against RFC 8259 and
 * more: at most JSON_MAX_DEPTH levels and JSON_MAX_BYTES bytes, valid UTF-8, no NUL in any form, no key twice
 * in an object, finite numbers of at most 63 characters, nothing after the value. Every error is one line
 * "name:line:column: what is wrong", and an error about a value also says where it is: "images[4].width".
 *
 *     JsonFile *f = NULL;
 *     int64_t width;
 *     if (!json_load(&f, "coco.json", 1 << 30, e)) return false;
 *     for (Json i = json_first(json_get(json_root(f), "images")); json_exists(i); i = json_next(i))
 *         if (!json_int(json_get(i, "width"), 1, 65500, &width, e)) goto out;
 *
 * A Json is a borrowed view, passed by value and valid until json_close. A view may be of something absent:
 * json_get never fails, and the first typed read then says "images[4].width: missing". */
#ifndef LETHE_JSON_H
#define LETHE_JSON_H

#include "core/base.h"

#define JSON_MAX_BYTES ((size_t)1 << 30)
#define JSON_MAX_DEPTH 64
#define JSON_MAX_INT   9007199254740991 /* 2^53 - 1: every whole number up to here is exact */

typedef enum { JSON_ABSENT, JSON_NULL, JSON_BOOL, JSON_NUMBER, JSON_TEXT, JSON_ARRAY, JSON_OBJECT } JsonType;

typedef struct JsonFile JsonFile; /* one parsed text */

typedef struct Json {
    const JsonFile *file;
    const struct cJSON *node;   /* NULL: absent */
    const struct cJSON *parent; /* absent: the object that was asked; else NULL */
    const char *key;            /* absent: the key that was asked for */
} Json;

/* Parses `size` bytes. `text` is borrowed until json_close (line numbers of later errors are counted in it);
 * `name` is copied and stands at the head of every message. */
bool json_open(JsonFile **out, const char *name, const char *text, size_t size, Error *e);
/* Reads a file of at most `cap` bytes and parses it. */
bool json_load(JsonFile **out, const char *path, size_t cap, Error *e);
/* A value from a command line: JSON, or else taken as a text. Messages carry `name` but no line and column.
 */
bool json_open_word(JsonFile **out, const char *name, const char *word, Error *e);
void json_close(JsonFile *f); /* NULL is fine */

Json json_root(const JsonFile *f);
JsonType json_type(Json j);
const char *json_type_text(JsonType type); /* "a number", "an object" ...: for messages */
static inline bool json_exists(Json j) {
    return j.node != NULL;
}

Json json_get(Json object, const char *key); /* absent if there is no such key or `object` is none */
/* Children in file order; absent after the last one, and when there are none. */
Json json_first(Json j);
Json json_next(Json j);
int64_t json_count(Json j);   /* children; counted by walking */
const char *json_key(Json j); /* the name of a child of an object; NULL in an array */

/* Typed reads: false with an error that names file, line and place when the value is absent, of another type
 * or outside lo..hi. Bounds are inclusive. */
bool json_bool(Json j, bool *out, Error *e);
bool json_int(Json j, int64_t lo, int64_t hi, int64_t *out, Error *e); /* 3.0 and 1e3 are whole; 3.5 is not */
bool json_number(Json j, double lo, double hi, double *out, Error *e);
bool json_text(Json j, const char **out, Error *e); /* borrowed, NUL-terminated UTF-8 */
bool json_expect(Json j, JsonType type, Error *e);  /* for JSON_ARRAY and JSON_OBJECT before walking them */

/* Fails for the caller's own reason: "name:line:column: place: format...". Returns false. */
bool json_error(Json j, Error *e, const char *format, ...) PRINTF_LIKE(3, 4);

/* Writing, without any allocation. A writer that runs out of room sets `full` and writes no more; what stands
 * in the buffer is then cut short but still NUL-terminated. `key` is NULL at the top and inside arrays.
 * indent 0 writes one line; n > 0 puts every value on a line of its own. Arrays always stay on one line. */
typedef struct JsonWriter {
    char *text;
    size_t size, used; /* used: bytes before the NUL */
    int indent, depth;
    int arrays; /* open levels from the outermost array on; inside one, all stays on its line */
    bool comma, full;
} JsonWriter;

JsonWriter json_writer(char *buffer, size_t size, int indent);
void json_put_open(JsonWriter *w, const char *key, char bracket); /* '{' or '[' */
void json_put_close(JsonWriter *w, char bracket);                 /* '}' or ']' */
void json_put_bool(JsonWriter *w, const char *key, bool value);
void json_put_int(JsonWriter *w, const char *key, int64_t value);
void json_put_real(JsonWriter *w, const char *key,
                   double value); /* shortest that reads back; null if not finite */
void json_put_text(JsonWriter *w, const char *key,
                   const char *value); /* bytes that are no UTF-8 become U+FFFD */
void json_put_null(JsonWriter *w, const char *key);
void json_put_raw(JsonWriter *w, const char *key, const char *json); /* a value that is JSON already */

/* The shortest decimal text that reads back as the same double ("0.1", "1e-05"); returns buffer. */
const char *json_real_text(double value, char buffer[32]);

#endif
