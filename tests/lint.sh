#!/bin/bash
# Layout, plain-text rules and shell syntax; clang-tidy runs from the Makefile, file by file. Prints what is
# wrong, one line each, and fails if anything is.
set -u
bad=0
complain() { # complain TEXT LINES
    [ -z "$2" ] && return
    printf '%s\n' "$2" | sed "s|^|lint: $1: |"
    bad=1
}
mapfile -t code < <(git ls-files -co --exclude-standard -- '*.c' '*.h' '*.cu' '*.cuh' '*.cpp')
mapfile -t text < <(git ls-files -co --exclude-standard -- '*.c' '*.h' '*.cu' '*.cuh' '*.cpp' '*.def' '*.sh' '*.md' '*.json' '.ci/run')
mapfile -t shell < <(git ls-files -co --exclude-standard -- '*.sh' '.ci/run')

complain "clang-format -i" "$(clang-format --dry-run -Werror "${code[@]}" 2>&1 | grep -E 'error:' | cut -d: -f1,2 | sort -u)"
complain "unfinished" "$(grep -nE '\b(TODO|FIXME|XXX|HACK)\b' "${code[@]}" "${shell[@]}" | grep -v '^tests/lint.sh:')"
complain "a tab" "$(grep -nP '\t' "${code[@]}" core/ops.def)"
complain "blanks at the end" "$(grep -nE '[[:blank:]]+$' "${text[@]}" Makefile | cut -d: -f1,2)"
for f in "${text[@]}"; do
    [ ! -s "$f" ] || [ -z "$(tail -c 1 "$f")" ] || complain "no newline at the end" "$f"
done
for f in "${shell[@]}"; do
    complain "syntax" "$(bash -n "$f" 2>&1)"
done
complain "rooms" "$(bash tests/test_layers.sh 2>&1)"
exit $bad
