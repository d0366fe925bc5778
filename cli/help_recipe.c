#include "cli/cli.h"
#include "cli/options.h"
#include "cli/setup.h"

#include <stdio.h>

static const char usage[] = "usage: lethe help recipe [--markdown]\n\n"
                            "Every key of a recipe: type, default, range and what it means.\n";

int cli_help_recipe(int argc, char **argv) {
    Error e = {0};
    bool markdown = false;
    const Option options[] = {{"markdown", OPTION_FLAG, &markdown}, {0}};
    OptionList rest = {0};
    int done = options_read(argc, argv, usage, options, &rest, &e);
    if (done >= 0) return done ? cli_fail(&e) : 0;
    const RecipeTable *tables[SETUP_TABLES];
    char *text = recipe_help(tables, setup_tables(tables), markdown, &e);
    if (!text) return cli_fail(&e);
    fputs(text, stdout);
    mem_free(text);
    return 0;
}
