#!/bin/bash
# Runs one fuzz target from its seeds and from what earlier runs found. Usage: tests/fuzz.sh TARGET [OPTION...]
# Seeds: tests/fuzz/corpus/NAME, a few small files; what a run adds stays in the build folder. A finding is
# kept in a file, whose path is printed.
set -u
target=$1
shift
name=$(basename "$target")
name=${name#fuzz_}
found=$(dirname "$target")/found_$name
grown=$(dirname "$target")/corpus_$name
mkdir -p "$found" "$grown"
seeds=tests/fuzz/corpus/$name
[ -d "$seeds" ] || seeds=
export OMP_NUM_THREADS=1
if "$target" "$@" -max_len=65536 -timeout=20 -rss_limit_mb=2048 -print_final_stats=1 -verbosity=0 \
    -artifact_prefix="$found/" "$grown" $seeds; then
    exit 0
fi
echo "fuzz_$name: a finding; run it again with: $target FILE; the input is in $found/:"
ls -t "$found" | head -3
exit 1
