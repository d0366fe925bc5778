/* recipe: one JSON file says everything about a run. A struct of settings is declared by one list of fields;
 * from that list come the struct itself, its defaults, parsing, validation, `lethe help recipe`, the complete
 * recipe.json of a run and docs/recipe.md.
 *
 *     #define SCHEDULE_FIELDS(X)                                                                       \
 *         X(REAL, warmup_epochs, "schedule.warmup_epochs", "40", 0, 1e6, "", "epochs of linear warm-up")
 *     typedef struct ScheduleSettings { RECIPE_MEMBERS(SCHEDULE_FIELDS) } ScheduleSettings;
 *     extern const RecipeTable schedule_table;                                              // in the header
 *     RECIPE_TABLE(schedule_table, "Schedule", ScheduleSettings, SCHEDULE_FIELDS);          // in the .c file
 *
 *     X(type, member, JSON path, default as JSON text, lowest, highest, choices, one-line doc)
 *
 * Types: BOOL bool, INT int64_t, REAL double, TEXT char[RECIPE_TEXT], CHOICE int (the index into choices,
 * "adamw|sgd|lars"; in JSON it is the word). REAL3 double[3] (a JSON array of three numbers). For TEXT,
 * lowest and highest bound the length in bytes; highest 0 means as long as fits. A default of NULL makes a
 * field required. Keys that begin with _ are remarks: skipped, and gone from recipe_text. */
#ifndef LETHE_RECIPE_H
#define LETHE_RECIPE_H

#include "core/base.h"

enum { RECIPE_TEXT = 512 };

typedef enum { FIELD_BOOL, FIELD_INT, FIELD_REAL, FIELD_TEXT, FIELD_CHOICE, FIELD_REAL3 } FieldType;

typedef struct RecipeField {
    FieldType type;
    size_t offset;
    const char *path, *standard;
    double lo, hi;
    const char *choices, *doc;
} RecipeField;

typedef struct RecipeTable {
    const char *title;
    const RecipeField *field;
    int count;
    size_t size; /* of the settings struct */
} RecipeTable;

#define RECIPE_C_BOOL(m)                                                  bool m;
#define RECIPE_C_INT(m)                                                   int64_t m;
#define RECIPE_C_REAL(m)                                                  double m;
#define RECIPE_C_TEXT(m)                                                  char m[RECIPE_TEXT];
#define RECIPE_C_CHOICE(m)                                                int m;
#define RECIPE_C_REAL3(m)                                                 double m[3];
#define RECIPE_MEMBER(type, member, path, standard, lo, hi, choices, doc) RECIPE_C_##type(member)
#define RECIPE_MEMBERS(FIELDS)                                            FIELDS(RECIPE_MEMBER)

#define RECIPE_ROW(type, member, path, standard, lo, hi, choices, doc)                                       \
    {FIELD_##type, offsetof(RECIPE_STRUCT, member), path, standard, lo, hi, choices, doc},
#define RECIPE_TABLE(name, title, struct_type, FIELDS)                                                       \
    typedef struct_type RECIPE_STRUCT;                                                                       \
    static const RecipeField name##_rows[] = {FIELDS(RECIPE_ROW)};                                           \
    const RecipeTable name = {title, name##_rows, COUNT(name##_rows), sizeof(struct_type)}

typedef struct Recipe Recipe;

/* Reads and parses `path`, then applies `set` ("key.path=value", n of them; the value is JSON, or else taken
 * as text). Errors name the file with line and column, or the --set argument. */
bool recipe_open(Recipe **out, const char *path, char *const *set, int n, Error *e);
/* The same from text already in memory (a checkpoint's recipe); `name` is for messages. */
bool recipe_parse(Recipe **out, const char *name, const char *text, size_t size, char *const *set, int n,
                  Error *e);
void recipe_close(Recipe *r); /* NULL is fine */

/* What the recipe is silent on is taken from another, whose text this is (a checkpoint's); before the first
 * bind. `name` is for messages. */
bool recipe_base(Recipe *r, const char *name, const char *text, Error *e);

/* Does the recipe, a --set or its base speak of this key or section? */
bool recipe_says(const Recipe *r, const char *path);

/* Fills a settings struct (table->size bytes at `settings`) from the recipe, defaults where it is silent;
 * checks type, range and choice of every field. Remembers the table and a copy of the values for
 * recipe_finish and recipe_text. On error `settings` is untouched. */
bool recipe_bind(Recipe *r, const RecipeTable *table, void *settings, Error *e);

/* What became of the settings of a bound table (a preset's numbers in the place of zeros): recipe_text says
 * these instead. */
void recipe_amend(Recipe *r, const RecipeTable *table, const void *settings);

/* After the last bind: every key of the file must have been in some table. Else an error that names the key,
 * where it stands, and the nearest known one ("did you mean"). */
bool recipe_finish(const Recipe *r, Error *e);

/* The complete recipe, every field of every bound table with its value, as indented JSON in table order:
 * parsed and written again it is the same text. mem_free it. NULL on error. */
char *recipe_text(const Recipe *r, Error *e);

/* A key whose value differs: "train.batch", "8", "4". */
typedef struct RecipeChange {
    char path[128], was[600], is[600];
} RecipeChange;

/* Calls `each` for every key that both texts of recipe_text have and that differs, until one call is false;
 * that is then returned. */
bool recipe_changes(const char *was, const char *is,
                    bool (*each)(void *self, const RecipeChange *change, Error *e), void *self, Error *e);

/* Reference of the fields of some tables: plain columns for a terminal, or Markdown. mem_free it. */
char *recipe_help(const RecipeTable *const *tables, int n, bool markdown, Error *e);

#endif
