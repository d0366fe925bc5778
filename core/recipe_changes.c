/* What differs between two complete recipes: those of one run, at two times. */
#include "core/json.h"
#include "core/recipe.h"

#include <stdio.h>
#include <string.h>

typedef struct Walk {
    RecipeChange change;
    bool (*each)(void *self, const RecipeChange *change, Error *e);
    void *self;
    Error *e;
} Walk;

/* A value as a recipe would have it; of an array the numbers, one after the other. */
static void value_text(Json j, char *out, size_t size) {
    Error ignored;
    const char *text;
    char number[32];
    double value;
    bool yes;
    out[0] = '\0';
    if (json_type(j) == JSON_ARRAY) {
        for (Json i = json_first(j); json_exists(i); i = json_next(i)) {
            size_t used = strlen(out);
            if (used + 2 >= size) return;
            if (used) out[used++] = ' ';
            value_text(i, out + used, size - used);
        }
    } else if (json_text(j, &text, &ignored)) {
        snprintf(out, size, "\"%s\"", text);
    } else if (json_bool(j, &yes, &ignored)) {
        snprintf(out, size, "%s", yes ? "true" : "false");
    } else if (json_number(j, -1e308, 1e308, &value, &ignored)) {
        snprintf(out, size, "%s", json_real_text(value, number));
    }
}

static bool walk(Walk *w, Json was, Json is, size_t used) {
    RecipeChange *c = &w->change;
    for (Json child = json_first(is); json_exists(child); child = json_next(child)) {
        Json before = json_get(was, json_key(child));
        int n = snprintf(c->path + used, sizeof c->path - used, "%s%s", used ? "." : "", json_key(child));
        if (!json_exists(before) || n < 0 || used + (size_t)n >= sizeof c->path) continue;
        if (json_type(child) == JSON_OBJECT) {
            if (!walk(w, before, child, used + (size_t)n)) return false;
            continue;
        }
        value_text(before, c->was, sizeof c->was);
        value_text(child, c->is, sizeof c->is);
        if (strcmp(c->was, c->is) != 0 && !w->each(w->self, c, w->e)) return false;
    }
    return true;
}

bool recipe_changes(const char *was, const char *is,
                    bool (*each)(void *self, const RecipeChange *change, Error *e), void *self, Error *e) {
    JsonFile *a = NULL, *b = NULL;
    Walk w = {.each = each, .self = self, .e = e};
    bool fine = json_open(&a, "the checkpoint's recipe", was, strlen(was), e) &&
                json_open(&b, "recipe", is, strlen(is), e);
    fine = fine && walk(&w, json_root(a), json_root(b), 0);
    json_close(a);
    json_close(b);
    return fine;
}
