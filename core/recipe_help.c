#include "core/json.h"
#include "core/recipe.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

/* Text is laid out twice: once without a buffer to learn its length, once into it. */
typedef struct Sheet {
    char *text; /* NULL: measuring */
    size_t size, used;
} Sheet;

PRINTF_LIKE(2, 3) static void say(Sheet *s, const char *format, ...) {
    va_list args;
    va_start(args, format);
    int n = vsnprintf(s->text ? s->text + s->used : NULL, s->text ? s->size - s->used : 0, format, args);
    va_end(args);
    s->used += (size_t)n;
}

static void range_text(char out[96], const RecipeField *f) {
    char lo[32], hi[32];
    const double bound = f->type == FIELD_INT ? (double)JSON_MAX_INT : 1e300;
    json_real_text(f->lo, lo);
    json_real_text(f->hi, hi);
    if (f->lo > -bound && f->hi < bound)
        snprintf(out, 96, ", %s to %s", lo, hi);
    else if (f->lo > -bound)
        snprintf(out, 96, ", at least %s", lo);
    else if (f->hi < bound)
        snprintf(out, 96, ", at most %s", hi);
    else
        out[0] = 0;
}

/* "whole number, 1 to 65536"; choices joined by `or`. */
static void type_text(char out[512], const RecipeField *f, const char * or) {
    static const char *const name[] = {
        [FIELD_BOOL] = "true or false", [FIELD_INT] = "whole number", [FIELD_REAL] = "number",
        [FIELD_TEXT] = "text",          [FIELD_CHOICE] = "",          [FIELD_REAL3] = "three numbers",
    };
    char range[96] = "";
    size_t used = 0;
    if (f->type == FIELD_INT || f->type == FIELD_REAL || f->type == FIELD_REAL3) range_text(range, f);
    snprintf(out, 512, "%s%s", name[f->type], range);
    if (f->type != FIELD_CHOICE) return;
    for (const char *c = f->choices; *c && used < 480; c++) {
        int n = *c == '|' ? snprintf(out + used, 512 - used, "%s", or)
                          : snprintf(out + used, 512 - used, "%c", *c);
        used += (size_t)n;
    }
}

/* The default without quotes; "required" where there is none. */
static void standard_text(char out[RECIPE_TEXT + 8], const RecipeField *f) {
    const char *s = f->standard ? f->standard : "required";
    size_t n = strlen(s);
    bool quoted = n >= 2 && s[0] == '"' && s[n - 1] == '"';
    snprintf(out, RECIPE_TEXT + 8, "%.*s", (int)(quoted ? n - 2 : n), s + quoted);
}

static void write_columns(Sheet *s, const RecipeTable *const *tables, int n) {
    char type[512], standard[RECIPE_TEXT + 8];
    int path_width = 0;
    for (int t = 0; t < n; t++)
        for (int i = 0; i < tables[t]->count; i++) {
            int width = (int)strlen(tables[t]->field[i].path);
            if (width > path_width) path_width = width;
        }
    for (int t = 0; t < n; t++) {
        say(s, "%s%s\n", t ? "\n" : "", tables[t]->title);
        for (int i = 0; i < tables[t]->count; i++) {
            const RecipeField *f = &tables[t]->field[i];
            type_text(type, f, " | ");
            standard_text(standard, f);
            say(s, "  %-*s  %s\n", path_width, f->path, f->doc);
            say(s, "  %-*s    %s", path_width, "", type);
            say(s, f->standard ? standard[0] ? "; default %s\n" : "; default empty%s\n" : "; %s\n", standard);
        }
    }
}

/* A cell of a Markdown table: a bar would end it. */
static void say_cell(Sheet *s, const char *text) {
    for (; *text; text++) say(s, *text == '|' ? "\\%c" : "%c", *text);
}

static void write_markdown(Sheet *s, const RecipeTable *const *tables, int n) {
    char type[512], standard[RECIPE_TEXT + 8];
    say(s,
        "# Recipe keys\n\nWritten by `lethe help recipe --markdown` from the tables in the source; do not "
        "edit.\n"
        "A dotted key is a nested object: `train.batch` is `{\"train\": {\"batch\": ...}}` in the file and\n"
        "`--set train.batch=...` on the command line.\n");
    for (int t = 0; t < n; t++) {
        say(s, "\n## %s\n\n| Key | Value | Default | Meaning |\n| --- | --- | --- | --- |\n",
            tables[t]->title);
        for (int i = 0; i < tables[t]->count; i++) {
            const RecipeField *f = &tables[t]->field[i];
            type_text(type, f, ", ");
            standard_text(standard, f);
            say(s, "| `%s` | ", f->path);
            say_cell(s, type);
            say(s, f->standard && standard[0] ? " | `" : " | ");
            say_cell(s, standard);
            say(s, f->standard && standard[0] ? "` | " : " | ");
            say_cell(s, f->doc);
            say(s, " |\n");
        }
    }
}

char *recipe_help(const RecipeTable *const *tables, int n, bool markdown, Error *e) {
    Sheet s = {0};
    void (*const write)(Sheet *, const RecipeTable *const *, int) = markdown ? write_markdown : write_columns;
    write(&s, tables, n);
    s.size = s.used + 1;
    s.text = mem_get(s.size);
    if (!s.text) {
        error_memory(e, s.size);
        return NULL;
    }
    s.text[0] = 0;
    s.used = 0;
    write(&s, tables, n);
    return s.text;
}
