#!/bin/bash
# Rooms include only what lies below them, every file starts its includes at the root, and the list of ops names
# exactly the stems in core/op. Prints each breach; silent when the house is in order.
set -u

# breaches FILE...: includes that point up, or nowhere
breaches() {
    awk '
    BEGIN {
        below["core"] = "core"
        below["data"] = "core data"
        below["mim"] = "core data mim"
        below["detect"] = "core data mim detect"
        below["segment"] = "core data mim segment"
        below["unlearn"] = "core unlearn"
        below["cli"] = "core data mim detect segment unlearn cli"
        below["tests"] = below["cli"] " tests"
    }
    /^[ ]*#[ ]*include[ ]*["<]/ {
        split(FILENAME, from, "/")
        split($0, part, /[">]|.*</)
        slash = index(part[2], "/")
        to = substr(part[2], 1, slash - 1)
        if (!(to in below) && /</)
            next
        else if (!(to in below))
            print FILENAME ":" FNR ": \"" part[2] "\" does not start at the root"
        else if (index(" " below[from[1]] " ", " " to " ") == 0)
            print FILENAME ":" FNR ": " from[1] " must not include " part[2]
    }' "$@"
}

# That they would be seen: unlearning knows a model by core/task.h alone, and data by core/batch.h.
look=$(mktemp -d)
trap 'rm -rf "$look"' EXIT
mkdir "$look/unlearn"
for header in '"mim/mae.h"' '"detect/box.h"' '"segment/task.h"' '"data/loader.h"' '"cli/setup.h"' '<mim/mae.h>' '"../mim/mae.h"' '"task.h"'; do
    echo "#include $header // up" >"$look/unlearn/method.c"
    [ -n "$(cd "$look" && breaches unlearn/method.c)" ] || { echo "unlearn/ may include $header"; exit 1; }
done
printf '#include "core/task.h"\n#include <math.h>\n#include <sys/stat.h>\n' >"$look/unlearn/method.c"
[ -z "$(cd "$look" && breaches unlearn/method.c)" ] || { echo "unlearn/ may not include core/task.h"; exit 1; }

bad=$(
    # shellcheck disable=SC2046
    breaches $(git ls-files -co --exclude-standard -- '*.[ch]' '*.cu')

    # Each op of the list has its stem, and each stem that has a row is in the list, once.
    listed=$(sed -nE 's/^OP\(([a-z0-9_]+),.*/\1/p' core/ops.def | sort)
    stems=$(sed -nE 's/^const Op ([a-z0-9_]+)_row = .*/\1/p' core/op/*.c | sort)
    diff <(echo "$listed") <(echo "$stems") | sed -nE \
        -e 's|^< (.*)|core/ops.def lists \1, but no stem in core/op has its row|p' \
        -e 's|^> (.*)|core/op has the row of \1, but core/ops.def does not list it once|p'
    for op in $listed; do
        grep -q "^const Op ${op}_row = " "core/op/$op.c" 2>/dev/null || echo "core/op/$op.c does not hold the row of $op"
    done
    for cuda in core/op/*.cu; do
        [ ! -e "$cuda" ] || [ -e "${cuda%.cu}.c" ] || echo "$cuda has no reference in ${cuda%.cu}.c"
    done
)
[ -z "$bad" ] || { echo "$bad"; exit 1; }
