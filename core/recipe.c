#include "core/recipe.h"

#include "core/file.h"
#include "core/json.h"
#include "core/nearest.h"

#include <limits.h>
#include <stdio.h>
#include <string.h>

enum { RECIPE_BYTES = 1 << 20, TABLES = 64, PATH = 256 };

/* One --set. A TEXT or CHOICE takes the word as it stands, so that a folder may be called 2024. */
typedef struct Override {
    char path[PATH];
    const char *word; /* what follows '='; inside `argument` */
    char *argument;
    JsonFile *value;
} Override;

typedef struct Bound {
    const RecipeTable *table;
    void *settings; /* a copy of what was filled in */
} Bound;

struct Recipe {
    char *text, *base_text;
    JsonFile *file, *base; /* base: NULL, or what the file is silent on */
    Override *set;
    int sets;
    Bound bound[TABLES];
    int bounds;
};

static bool override_open(Override *o, const char *argument, Error *e) {
    char name[160];
    snprintf(name, sizeof name, "--set %s", argument);
    const char *equals = strchr(argument, '=');
    if (!equals || equals == argument)
        return error_set(e, ERROR_VALUE, "%s: expected key=value, such as train.batch=64", name);
    if (equals - argument >= PATH) return error_set(e, ERROR_VALUE, "%s: the key is too long", name);
    memcpy(o->path, argument, (size_t)(equals - argument));
    o->argument = mem_string(argument);
    if (!o->argument) return error_memory(e, strlen(argument) + 1);
    o->word = o->argument + (equals - argument) + 1;
    return json_open_word(&o->value, name, o->word, e);
}

bool recipe_parse(Recipe **out, const char *name, const char *text, size_t size, char *const *set, int n,
                  Error *e) {
    *out = NULL;
    if (size > RECIPE_BYTES)
        return error_set(e, ERROR_LIMIT, "%s: larger than the limit of %d bytes", name, RECIPE_BYTES);
    Recipe *r = mem_zero(1, sizeof *r);
    if (!r) return error_memory(e, sizeof *r);
    r->text = mem_get(size);
    r->set = mem_zero((size_t)n, sizeof *r->set);
    if (!r->text || !r->set) {
        error_memory(e, size);
        goto fail;
    }
    memcpy(r->text, text, size);
    if (!json_open(&r->file, name, r->text, size, e)) goto fail;
    if (!json_expect(json_root(r->file), JSON_OBJECT, e)) goto fail;
    for (; r->sets < n; r->sets++)
        if (!override_open(&r->set[r->sets], set[r->sets], e)) {
            r->sets++; /* so that recipe_close frees the half-made one too */
            goto fail;
        }
    *out = r;
    return true;
fail:
    recipe_close(r);
    return false;
}

bool recipe_open(Recipe **out, const char *path, char *const *set, int n, Error *e) {
    char *text;
    size_t size;
    *out = NULL;
    if (!file_read(path, RECIPE_BYTES, &text, &size, e)) return false;
    bool ok = recipe_parse(out, path, text, size, set, n, e);
    mem_free(text);
    return ok;
}

void recipe_close(Recipe *r) {
    if (!r) return;
    for (int i = 0; i < r->sets; i++) {
        json_close(r->set[i].value);
        mem_free(r->set[i].argument);
    }
    for (int i = 0; i < r->bounds; i++) mem_free(r->bound[i].settings);
    json_close(r->file);
    json_close(r->base);
    mem_free(r->set);
    mem_free(r->text);
    mem_free(r->base_text);
    mem_free(r);
}

/* Length of the first part of a dotted path. */
static size_t part_length(const char *path) {
    return strcspn(path, ".");
}

/* What follows `prefix` and its dot in `path`; NULL if path is not below it. All is below NULL. */
static const char *below(const char *path, const char *prefix) {
    if (!prefix) return path;
    size_t n = strlen(prefix);
    return strncmp(path, prefix, n) == 0 && path[n] == '.' ? path + n + 1 : NULL;
}

static Json walk(Json j, const char *path) {
    char part[PATH];
    while (json_exists(j)) {
        size_t n = part_length(path);
        snprintf(part, sizeof part, "%.*s", (int)n, path);
        Json child = json_get(j, part);
        child.key = NULL; /* it would point at `part` */
        if (path[n] == 0) return child;
        path += n + 1;
        j = child;
    }
    return j;
}

/* The value of a path: of the last --set that speaks of it, else of the file, else of its base. *word: the
 * raw word of a --set of this very path, else NULL. */
static Json find(const Recipe *r, const char *path, const char **word) {
    *word = NULL;
    for (int i = r->sets - 1; i >= 0; i--) {
        const Override *o = &r->set[i];
        if (strcmp(path, o->path) == 0) {
            *word = o->word;
            return json_root(o->value);
        }
        const char *rest = below(path, o->path);
        Json inside = rest ? walk(json_root(o->value), rest) : (Json){0};
        if (json_exists(inside)) return inside;
    }
    Json own = walk(json_root(r->file), path);
    return json_exists(own) || !r->base ? own : walk(json_root(r->base), path);
}

bool recipe_base(Recipe *r, const char *name, const char *text, Error *e) {
    if (!(r->base_text = mem_string(text))) return error_memory(e, strlen(text));
    return json_open(&r->base, name, r->base_text, strlen(text), e) &&
           json_expect(json_root(r->base), JSON_OBJECT, e);
}

bool recipe_says(const Recipe *r, const char *path) {
    const char *word;
    for (int i = 0; i < r->sets; i++)
        if (below(r->set[i].path, path)) return true;
    return json_exists(find(r, path, &word));
}

static int64_t bound_int(double v) {
    if (v >= (double)JSON_MAX_INT) return JSON_MAX_INT;
    return v <= -(double)JSON_MAX_INT ? -JSON_MAX_INT : (int64_t)v;
}

static bool read_text(Json j, const char *word, const RecipeField *f, char *to, Error *e) {
    const char *text = word;
    if ((json_type(j) == JSON_TEXT || !word) && !json_text(j, &text, e)) return false;
    size_t n = strlen(text), lo = f->lo > 0 ? (size_t)f->lo : 0;
    size_t hi = f->hi > 0 && f->hi < RECIPE_TEXT - 1 ? (size_t)f->hi : RECIPE_TEXT - 1;
    if (n < lo || n > hi)
        return json_error(j, e, "expected a text of %zu to %zu bytes, found %zu bytes", lo, hi, n);
    memcpy(to, text, n + 1);
    return true;
}

/* The choice number i of "a|b|c" into `word`; false after the last. */
static bool choice_at(const char *choices, int i, char word[PATH]) {
    for (; i > 0; i--) {
        choices += strcspn(choices, "|");
        if (*choices == 0) return false;
        choices++;
    }
    snprintf(word, PATH, "%.*s", (int)strcspn(choices, "|"), choices);
    return true;
}

static bool read_choice(Json j, const char *word, const RecipeField *f, int *to, Error *e) {
    char one[PATH], list[400] = "", close[PATH] = "";
    const char *text = word ? word : "";
    int best = INT_MAX;
    size_t used = 0;
    if (json_type(j) == JSON_TEXT && !json_text(j, &text, e)) return false;
    for (int i = 0; choice_at(f->choices, i, one); i++) {
        int distance = nearest_distance(text, one);
        if (strcmp(text, one) == 0) {
            *to = i;
            return true;
        }
        if (distance < best) {
            best = distance;
            memcpy(close, one, sizeof close);
        }
        int n = snprintf(list + used, sizeof list - used, "%s\"%s\"", i ? ", " : "", one);
        used += (size_t)n < sizeof list - used ? (size_t)n : sizeof list - used - 1;
    }
    if (text[0] && best <= nearest_limit(text))
        return json_error(j, e, "expected one of %s, found \"%.60s\"; did you mean \"%s\"?", list, text,
                          close);
    if (json_type(j) == JSON_TEXT || word)
        return json_error(j, e, "expected one of %s, found \"%.60s\"", list, text);
    return json_error(j, e, "expected one of %s, found %s", list, json_type_text(json_type(j)));
}

static bool read_real3(Json j, const RecipeField *f, double to[3], Error *e) {
    double v[3];
    int i = 0;
    if (!json_expect(j, JSON_ARRAY, e)) return false;
    if (json_count(j) != 3)
        return json_error(j, e, "expected an array of three numbers, found %lld", (long long)json_count(j));
    for (Json c = json_first(j); json_exists(c); c = json_next(c), i++)
        if (!json_number(c, f->lo, f->hi, &v[i], e)) return false;
    memcpy(to, v, sizeof v);
    return true;
}

static bool read_field(Json j, const char *word, const RecipeField *f, void *to, Error *e) {
    switch (f->type) {
    case FIELD_BOOL:
        return json_bool(j, to, e);
    case FIELD_INT:
        return json_int(j, bound_int(f->lo), bound_int(f->hi), to, e);
    case FIELD_REAL:
        return json_number(j, f->lo, f->hi, to, e);
    case FIELD_TEXT:
        return read_text(j, word, f, to, e);
    case FIELD_CHOICE:
        return read_choice(j, word, f, to, e);
    case FIELD_REAL3:
        return read_real3(j, f, to, e);
    }
    die("recipe: field %s has no type", f->path);
}

/* A default that its own field refuses is a mistake in the table. */
static bool read_standard(const Recipe *r, const RecipeTable *table, const RecipeField *f, void *to,
                          Error *e) {
    JsonFile *value;
    if (!f->standard)
        return json_error(json_root(r->file), e, "\"%s\" is missing: give it here or with --set %s=...",
                          f->path, f->path);
    if (!json_open_word(&value, f->path, f->standard, e)) return false;
    if (!read_field(json_root(value), f->standard, f, to, e))
        die("recipe table %s: the default of %s is refused: %s", table->title, f->path, e->text);
    json_close(value);
    return true;
}

static Bound *bound_slot(Recipe *r, const RecipeTable *table) {
    for (int i = 0; i < r->bounds; i++) {
        const RecipeTable *other = r->bound[i].table;
        if (other == table) return &r->bound[i];
        for (int a = 0; a < table->count; a++)
            for (int b = 0; b < other->count; b++)
                if (strcmp(table->field[a].path, other->field[b].path) == 0)
                    die("recipe tables %s and %s both have a field %s", table->title, other->title,
                        table->field[a].path);
    }
    if (r->bounds == TABLES) die("recipe: more than %d tables are bound", TABLES);
    return &r->bound[r->bounds];
}

bool recipe_bind(Recipe *r, const RecipeTable *table, void *settings, Error *e) {
    Bound *slot = bound_slot(r, table);
    void *copy = mem_zero(1, table->size); /* zeroed: padding and text tails print the same every time */
    if (!copy) return error_memory(e, table->size);
    for (int i = 0; i < table->count; i++) {
        const RecipeField *f = &table->field[i];
        const char *word;
        Json j = find(r, f->path, &word);
        void *to = (char *)copy + f->offset;
        if (json_exists(j) ? !read_field(j, word, f, to, e) : !read_standard(r, table, f, to, e)) {
            mem_free(copy);
            return false;
        }
    }
    memcpy(settings, copy, table->size);
    if (slot == &r->bound[r->bounds]) r->bounds++;
    mem_free(slot->settings);
    *slot = (Bound){table, copy};
    return true;
}

void recipe_amend(Recipe *r, const RecipeTable *table, const void *settings) {
    for (int i = 0; i < r->bounds; i++)
        if (r->bound[i].table == table) memcpy(r->bound[i].settings, settings, table->size);
}

/* All fields of all bound tables, numbered through; NULL after the last. */
static const RecipeField *field_at(const Recipe *r, int n, const void **value) {
    for (int t = 0; t < r->bounds; t++) {
        const RecipeTable *table = r->bound[t].table;
        if (n < table->count) {
            if (value) *value = (const char *)r->bound[t].settings + table->field[n].offset;
            return &table->field[n];
        }
        n -= table->count;
    }
    return NULL;
}

static const char *last_part(const char *path) {
    const char *dot = strrchr(path, '.');
    return dot ? dot + 1 : path;
}

/* How far a known path is from an unknown one: a misspelt path, else the right key in the wrong section, else
 * a key of which one holds the other ("warmup", "warmup_epochs"); INT_MAX where no hint would help. */
static int path_distance(const char *unknown, const char *known_path) {
    const char *u = last_part(unknown), *k = last_part(known_path);
    int whole = nearest_distance(unknown, known_path), key = nearest_distance(u, k), limit = nearest_limit(u);
    if (whole <= limit) return whole;
    if (key <= limit) return key + 1;
    bool holds = (strlen(u) >= 3 && strstr(k, u)) || (strlen(k) >= 3 && strstr(u, k));
    return holds ? limit + 2 + whole : INT_MAX;
}

static bool fail_unknown(const Recipe *r, Json j, const char *path, Error *e) {
    char close[PATH] = "", candidate[PATH];
    int best = INT_MAX;
    bool section = json_type(j) == JSON_OBJECT;
    const RecipeField *f;
    for (int i = 0; (f = field_at(r, i, NULL)); i++) {
        snprintf(candidate, sizeof candidate, "%s", f->path);
        if (section) candidate[last_part(f->path) == f->path ? 0 : last_part(f->path) - f->path - 1] = 0;
        int distance = path_distance(path, candidate);
        if (candidate[0] && distance < best) {
            best = distance;
            memcpy(close, candidate, sizeof close);
        }
    }
    if (best < INT_MAX) return json_error(j, e, "unknown key; did you mean \"%s\"?", close);
    return json_error(j, e, "unknown key; `lethe help recipe` lists the known ones");
}

/* Is `path` a field, a section that holds fields, or neither? */
typedef enum { KNOWN_NOT, KNOWN_FIELD, KNOWN_SECTION } Known;

static Known known(const Recipe *r, const char *path, const char **example) {
    const RecipeField *f;
    for (int i = 0; (f = field_at(r, i, NULL)); i++) {
        if (strcmp(f->path, path) == 0) return KNOWN_FIELD;
        *example = f->path;
        if (below(f->path, path)) return KNOWN_SECTION;
    }
    return KNOWN_NOT;
}

/* Every key below j, which stands at `path` (NULL: the top). A key that begins with _ is a remark. */
static bool check_known(const Recipe *r, Json j, const char *path, Error *e) {
    const char *example = "";
    Known k = path ? known(r, path, &example) : KNOWN_SECTION;
    if (k == KNOWN_FIELD) return true;
    if (k == KNOWN_NOT) return fail_unknown(r, j, path, e);
    if (json_type(j) != JSON_OBJECT)
        return json_error(j, e, "expected an object, as it is a section: give one of its keys, such as %s",
                          example);
    for (Json c = json_first(j); json_exists(c); c = json_next(c)) {
        char inner[PATH];
        const char *key = json_key(c);
        if (key[0] == '_') continue;
        if (strchr(key, '.')) return json_error(c, e, "write a dotted key nested: {\"a\": {\"b\": ...}}");
        snprintf(inner, sizeof inner, "%s%s%s", path ? path : "", path ? "." : "", key);
        if (!check_known(r, c, inner, e)) return false;
    }
    return true;
}

bool recipe_finish(const Recipe *r, Error *e) {
    for (int i = 0; i < r->sets; i++)
        if (!check_known(r, json_root(r->set[i].value), r->set[i].path, e)) return false;
    return check_known(r, json_root(r->file), NULL, e);
}

static void put_field(JsonWriter *w, const RecipeField *f, const void *value) {
    const char *key = last_part(f->path);
    char word[PATH];
    switch (f->type) {
    case FIELD_BOOL:
        json_put_bool(w, key, *(const bool *)value);
        break;
    case FIELD_INT:
        json_put_int(w, key, *(const int64_t *)value);
        break;
    case FIELD_REAL:
        json_put_real(w, key, *(const double *)value);
        break;
    case FIELD_TEXT:
        json_put_text(w, key, value);
        break;
    case FIELD_CHOICE:
        choice_at(f->choices, *(const int *)value, word);
        json_put_text(w, key, word);
        break;
    case FIELD_REAL3:
        json_put_open(w, key, '[');
        for (int i = 0; i < 3; i++) json_put_real(w, NULL, ((const double *)value)[i]);
        json_put_close(w, ']');
    }
}

/* The fields below `section`, in table order; an inner section stands where its first field does. */
static void put_section(JsonWriter *w, const Recipe *r, const char *section) {
    const RecipeField *f, *g;
    const void *value;
    for (int i = 0; (f = field_at(r, i, &value)); i++) {
        char inner[PATH], key[PATH];
        const char *rest = below(f->path, section);
        bool first = true;
        if (!rest) continue;
        size_t n = part_length(rest);
        if (rest[n] == 0) {
            put_field(w, f, value);
            continue;
        }
        snprintf(inner, sizeof inner, "%.*s", (int)(rest - f->path + (long)n), f->path);
        snprintf(key, sizeof key, "%.*s", (int)n, rest);
        for (int k = 0; first && k < i && (g = field_at(r, k, NULL)); k++) first = !below(g->path, inner);
        if (!first) continue;
        json_put_open(w, key, '{');
        put_section(w, r, inner);
        json_put_close(w, '}');
    }
}

char *recipe_text(const Recipe *r, Error *e) {
    for (size_t room = 1 << 13;; room *= 2) {
        char *text = mem_get(room);
        if (!text) {
            error_memory(e, room);
            return NULL;
        }
        JsonWriter w = json_writer(text, room - 1, 2);
        json_put_open(&w, NULL, '{');
        put_section(&w, r, NULL);
        json_put_close(&w, '}');
        if (!w.full) {
            memcpy(text + w.used, "\n", 2);
            return text;
        }
        mem_free(text);
    }
}
