#include "unlearn/request.h"

#include "core/file.h"
#include "core/hash.h"
#include "core/nearest.h"
#include "core/rng.h"

#include <limits.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { LIST_CAP = 1 << 26, SHOWN = 3 /* names that an error suggests */ };

typedef struct Kind Kind;

typedef struct Ask {
    Request *r;
    const Manifest *m;
    uint64_t seed;
    const char *spec; /* the whole of it: for messages */
    const Kind *kind;
    bool inside; /* a list: no list may be in it */
    bool asked;  /* something was, before this */
} Ask;

struct Kind {
    const char *name;
    CertificateRequest kind;
    bool (*take)(Ask *a, const char *value, Error *e);
    const char *what; /* is not found: "no sample of identity" */
    /* the word of a line that is compared, for suggestions */
    const char *(*word)(const ManifestLine *l, char room[32]);
};

static void take(Ask *a, int64_t i) {
    a->r->count += !a->r->forget[i];
    a->r->forget[i] = true;
}

/* ---- suggestions ---- */

typedef struct Near {
    char text[SHOWN][256];
    int distance[SHOWN];
} Near;

static void near_put(Near *n, const char *word, int distance) {
    for (int i = 0; i < SHOWN; i++)
        if (!strcmp(n->text[i], word)) return;
    for (int i = 0; i < SHOWN; i++) {
        if (distance >= n->distance[i]) continue;
        for (int k = SHOWN - 1; k > i; k--) {
            n->distance[k] = n->distance[k - 1];
            memcpy(n->text[k], n->text[k - 1], sizeof n->text[k]);
        }
        n->distance[i] = distance;
        snprintf(n->text[i], sizeof n->text[i], "%s", word);
        return;
    }
}

/* The names nearest to `value`, by the end of them that is as long: of a path its last parts. */
static bool not_found(const Ask *a, const char *value, Error *e) {
    Near n = {.distance = {INT_MAX, INT_MAX, INT_MAX}};
    char list[SHOWN * 264] = "", room[32];
    for (int64_t i = 0; i < a->m->count; i++) {
        const char *word = a->kind->word(&a->m->line[i], room);
        if (!word) continue;
        int distance = nearest_distance(value, word);
        const char *base = file_base(word);
        if (base != word && nearest_distance(file_base(value), base) < distance)
            distance = nearest_distance(file_base(value), base);
        near_put(&n, word, distance);
    }
    for (int i = 0; i < SHOWN && n.text[i][0]; i++)
        snprintf(list + strlen(list), sizeof list - strlen(list), "%s%s", i ? ", " : "", n.text[i]);
    return error_set(e, ERROR_VALUE, "--forget %.200s: %s %.100s in %s%s%s", a->spec, a->kind->what, value,
                     a->m->name, list[0] ? "; the nearest: " : "", list);
}

/* ---- kinds ---- */

static const char *identity_word(const ManifestLine *l, char room[32]) {
    (void)room;
    return l->identity;
}

static const char *id_word(const ManifestLine *l, char room[32]) {
    snprintf(room, 32, "%lld", (long long)l->id);
    return room;
}

static const char *path_word(const ManifestLine *l, char room[32]) {
    (void)room;
    return l->path;
}

/* Everything between commas. */
static bool each(Ask *a, const char *value, bool (*one)(Ask *a, const char *word, Error *e), Error *e) {
    char *copy = mem_string(value), *next = copy;
    if (!copy) return error_memory(e, strlen(value));
    bool fine = true;
    for (char *word; fine && (word = strsep(&next, ","));)
        fine = word[0]
                   ? one(a, word, e)
                   : error_set(e, ERROR_VALUE, "--forget %.200s: a name between commas is empty", a->spec);
    mem_free(copy);
    return fine;
}

static bool identity_one(Ask *a, const char *word, Error *e) {
    bool found = false;
    for (int64_t i = 0; i < a->m->count; i++) {
        const char *who = a->m->line[i].identity;
        if (!who || strcmp(who, word) != 0) continue;
        take(a, i);
        found = true;
    }
    return found ? true : not_found(a, word, e);
}

static bool identity_take(Ask *a, const char *value, Error *e) {
    return each(a, value, identity_one, e);
}

static bool sample_one(Ask *a, const char *word, Error *e) {
    char *end;
    long long id = strtoll(word, &end, 10);
    if (*end || end == word || id < 0)
        return error_set(e, ERROR_VALUE, "--forget %.200s: %.100s is no sample id, which is a whole number",
                         a->spec, word);
    for (int64_t i = 0; i < a->m->count; i++) {
        if (a->m->line[i].id != id) continue;
        take(a, i);
        return true;
    }
    return not_found(a, word, e);
}

static bool sample_take(Ask *a, const char *value, Error *e) {
    return each(a, value, sample_one, e);
}

static bool file_take(Ask *a, const char *value, Error *e) {
    char hash[HASH_TEXT];
    bool found = false;
    if (!hash_file(value, hash, NULL, e)) return error_prefix(e, "--forget %.200s", a->spec);
    for (int64_t i = 0; i < a->m->count; i++) {
        const ManifestLine *l = &a->m->line[i];
        if (!l->sha256 || strcmp(l->sha256, hash) != 0) continue;
        take(a, i);
        found = true;
    }
    if (found) return true;
    not_found(a, value, e);
    return error_prefix(e, "its content (SHA-256 %.12s...) is of no sample", hash);
}

/* Does `path` end in `tail`, which begins where a part of the path does? */
static bool ends_in(const char *path, const char *tail) {
    size_t n = strlen(path), k = strlen(tail);
    while (k > 2 && tail[0] == '.' && tail[1] == '/') tail += 2, k -= 2;
    return k > 0 && k <= n && !strcmp(path + n - k, tail) &&
           (k == n || path[n - k - 1] == '/' || tail[0] == '/');
}

static bool path_take(Ask *a, const char *value, Error *e) {
    bool found = false;
    for (int64_t i = 0; i < a->m->count; i++) {
        if (!ends_in(a->m->line[i].path, value)) continue;
        take(a, i);
        found = true;
    }
    return found ? true : not_found(a, value, e);
}

static bool random_take(Ask *a, const char *value, Error *e) {
    char *end;
    double share = strtod(value, &end);
    int64_t n = a->m->count, count = (int64_t)llround(share * (double)n);
    if (*end || end == value || !(share > 0 && share < 1))
        return error_set(e, ERROR_VALUE, "--forget %.200s: expected a share above 0 and below 1", a->spec);
    uint32_t *order = mem_get((size_t)n * sizeof *order);
    if (!order) return error_memory(e, (size_t)n * sizeof *order);
    for (int64_t i = 0; i < n; i++) order[i] = (uint32_t)i;
    Rng rng = rng_open(a->seed, RNG_UNLEARN, UINT32_MAX, 0);
    rng_shuffle(&rng, order, (size_t)n);
    for (int64_t i = 0; i < count; i++) take(a, order[i]);
    mem_free(order);
    a->r->drawn = true;
    return true;
}

static const Kind kinds[] = {
    {"identity", REQUEST_IDENTITY, identity_take, "there is no identity", identity_word},
    {"class", REQUEST_CLASS, identity_take, "there is no class", identity_word},
    {"sample", REQUEST_SAMPLE, sample_take, "there is no sample", id_word},
    {"file", REQUEST_FILE, file_take, "there is no sample like", path_word},
    {"path", REQUEST_PATH, path_take, "there is no path that ends in", path_word},
    {"random", REQUEST_RANDOM, random_take, "", path_word},
};
enum { PATH_KIND = 4 };

/* ---- a request ---- */

static void kind_note(Ask *a, CertificateRequest kind) {
    if (a->inside) return; /* the list is the kind */
    a->r->kind = a->asked && a->r->kind != kind ? REQUEST_MIXED : kind;
    a->asked = true;
}

static bool list_take(Ask *a, const char *path, Error *e);

static bool spec_take(Ask *a, const char *spec, bool bare, Error *e) {
    const char *equals = strchr(spec, '=');
    size_t n = equals ? (size_t)(equals - spec) : 0;
    a->spec = spec;
    if (spec[0] == '@' && !a->inside) {
        kind_note(a, REQUEST_LIST);
        return list_take(a, spec + 1, e);
    }
    for (int i = 0; i < COUNT(kinds) && equals; i++) {
        if (strlen(kinds[i].name) != n || strncmp(kinds[i].name, spec, n) != 0) continue;
        if (!equals[1]) return error_set(e, ERROR_VALUE, "--forget %.200s: names nothing", spec);
        a->kind = &kinds[i];
        kind_note(a, kinds[i].kind);
        return kinds[i].take(a, equals + 1, e);
    }
    a->kind = &kinds[PATH_KIND];
    if (bare) return path_take(a, spec, e);
    return error_set(e, ERROR_VALUE,
                     "--forget %.200s: expected identity=NAME, class=NAME, sample=ID, file=PATH, path=END, "
                     "random=SHARE or @LIST",
                     spec);
}

static bool list_take(Ask *a, const char *path, Error *e) {
    char *text, *next;
    size_t size;
    int64_t number = 0, named = 0;
    if (!file_read(path, LIST_CAP, &text, &size, e)) return error_prefix(e, "--forget @%.200s", path);
    bool fine = strlen(text) == size ||
                error_set(e, ERROR_FORMAT, "--forget @%.200s: holds a byte 0; is it a list?", path);
    a->inside = true;
    next = text;
    for (char *line; fine && (line = strsep(&next, "\n"));) {
        number++;
        size_t n = strlen(line);
        if (n && line[n - 1] == '\r') line[n - 1] = '\0'; /* a CR elsewhere is no end: much would be lost */
        if (!line[0] || line[0] == '#') continue;
        named++;
        fine = spec_take(a, line, true, e) || error_prefix(e, "%s, line %lld", path, (long long)number);
    }
    a->inside = false;
    mem_free(text);
    if (fine && !named) return error_set(e, ERROR_VALUE, "--forget @%.200s: the list names nothing", path);
    return fine;
}

/* Counts the different names among the forgotten. */
static bool identities_count(Request *r, const Manifest *m, Error *e) {
    const char **name = mem_get((size_t)r->count * sizeof *name);
    int64_t n = 0;
    if (!name) return error_memory(e, (size_t)r->count * sizeof *name);
    for (int64_t i = 0; i < m->count; i++)
        if (r->forget[i] && m->line[i].identity) name[n++] = m->line[i].identity;
    qsort(name, (size_t)n, sizeof *name, text_order);
    for (int64_t i = 0; i < n; i++) r->identities += i == 0 || strcmp(name[i - 1], name[i]) != 0;
    mem_free(name);
    return true;
}

static bool fill(Request *r, const Manifest *m, char *const *spec, int n, uint64_t seed, Error *e) {
    Ask a = {.r = r, .m = m, .seed = seed};
    for (int i = 0; i < n; i++)
        if (!spec_take(&a, spec[i], false, e)) return false;
    if (r->count == 0)
        return error_set(e, ERROR_VALUE, "--forget %.200s: that is none of %lld samples", n ? spec[0] : "",
                         (long long)m->count);
    if (r->count == m->count)
        return error_set(
            e, ERROR_VALUE,
            "--forget: that is every one of %lld samples: nothing is left to keep the model for; "
            "delete it instead",
            (long long)m->count);
    return identities_count(r, m, e);
}

/* Names come from outside: what would break the line, or steer a terminal, is not repeated. */
static void error_tame(Error *e) {
    for (char *c = e->text; *c; c++)
        if ((unsigned char)*c < 0x20 || *c == 0x7F) *c = '?';
}

bool request_open(Request *r, const Manifest *m, char *const *spec, int n, uint64_t seed, Error *e) {
    *r = (Request){.forget = mem_zero((size_t)m->count, 1)};
    if (!r->forget) return error_memory(e, (size_t)m->count);
    if (fill(r, m, spec, n, seed, e)) return true;
    error_tame(e);
    request_close(r);
    return false;
}

void request_close(Request *r) {
    mem_free(r->forget);
    *r = (Request){0};
}
