#include "cli/cli.h"
#include "cli/options.h"
#include "core/checkpoint.h"

static const char usage[] =
    "usage: lethe inspect FILE|DIR\n\n"
    "Lists a run's last checkpoint, a checkpoint's folder or a file of weights (.safetensors, .pth): "
    "files with size and SHA-256 and\n"
    "whether they are whole, tensors with shape and dtype, the parameter count, the "
    "state and the recipe it came\n"
    "from. Exit status 1 if something is damaged.\n";

int cli_inspect(int argc, char **argv) {
    Error e = {0};
    const Option options[] = {{0}};
    OptionList rest = {0};
    int done = options_read(argc, argv, usage, options, &rest, &e);
    if (done >= 0) return done ? cli_fail(&e) : 0;
    if (rest.count != 1) {
        error_set(&e, ERROR_VALUE, "inspect takes one file or folder; see lethe inspect --help");
        return cli_fail(&e);
    }
    return checkpoint_describe(rest.item[0], stdout, &e) ? 0 : cli_fail(&e);
}
