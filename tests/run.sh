#!/bin/bash
# Runs tests, builds nothing. Usage: tests/run.sh BUILD TEST...
# A TEST is a cmocka program, a program that ends in "N passed, N failed", a fuzz target (fuzz_*), or a shell
# script, which gets BUILD as its argument and may exit with 77 for "skipped". One line each, as they end; the whole
# output of one that fails. The last line sums up. LIMIT: most seconds a test may take. FUZZ: options of libFuzzer.
# JOBS: how many run at a time (2: most use one processor).
set -u
build=$1
shift
limit=${LIMIT:-300}
fuzz=${FUZZ:--runs=20000 -max_total_time=3}
jobs=${JOBS:-2}
dir=$(mktemp -d)
# What was interrupted leaves nothing behind: `timeout`, the child of each job, passes the signal on.
trap 'for j in $(jobs -p); do kill $(cat "/proc/$j/task/$j/children") "$j"; done 2>/dev/null; rm -rf "$dir"' EXIT
trap 'exit 130' INT TERM
export ASAN_OPTIONS=${ASAN_OPTIONS:-allocator_may_return_null=1:detect_stack_use_after_return=1}
export UBSAN_OPTIONS=${UBSAN_OPTIONS:-print_stacktrace=1}
# Beside other work on the machine, threads that wait must not hold their processor.
export OMP_WAIT_POLICY=${OMP_WAIT_POLICY:-passive}

run() {
    case $(basename "$1") in
    *.sh) timeout -k 10 "$limit" bash "$1" "$build" ;;
    fuzz_*) timeout -k 10 "$limit" bash tests/fuzz.sh "$1" $fuzz ;;
    *) timeout -k 10 "$limit" "$1" ;;
    esac
}

# count FILE PATTERN: the sum of the numbers in the lines that match
count() { sed -nE "s/$2/\\1/p" "$1" | awk '{ n += $1 } END { print n + 0 }'; }

# one TEST NUMBER: runs it; $dir/NUMBER.told gets what to print, $dir/NUMBER.count how many passed, failed, were skipped
one() {
    local name out=$dir/$2.out start status took p=0 f=0 s=0 note="" word=ok
    name=$(basename "$1")
    start=$(date +%s%N)
    run "$1" >"$out" 2>&1 </dev/null
    status=$?
    took=$((($(date +%s%N) - start) / 10000000))
    case $name in
    *.sh | fuzz_*)
        case $status in
        0) p=1 ;;
        77) s=1 ;;
        esac
        ;;
    *)
        f=$(count "$out" '^\[  FAILED  \] ([0-9]+) test\(s\).*')
        s=$(count "$out" '^\[  SKIPPED \] ([0-9]+) test\(s\).*')
        p=$(count "$out" '^\[  PASSED  \] ([0-9]+) test\(s\).*')
        [ $((p + f + s)) != 0 ] || p=$(count "$out" '^([0-9]+) passed, [0-9]+ failed$') f=$(count "$out" '^[0-9]+ passed, ([0-9]+) failed$')
        ;;
    esac
    [ $((p + f + s)) != 0 ] || f=1 # it crashed, or ended before it counted
    [ $status = 0 ] || [ $f != 0 ] || [ $s != 0 ] || f=1
    case $status in
    124 | 137) note="  (over $limit s)" f=$((f + (f == 0))) ;;
    13[0-9] | 14[0-9]) note="  (signal $((status - 128)))" f=$((f + (f == 0))) ;;
    esac
    [ $p != 0 ] || word=skip
    [ $f = 0 ] || word=FAIL
    {
        printf '  %-4s %3d.%02d s %5d  %s%s\n' $word $((took / 100)) $((took % 100)) $((p + f + s)) "$name" "$note"
        if [ $f != 0 ]; then
            sed 's/^/      | /' "$out"
        elif [ $s != 0 ]; then
            # say why, where the test says so
            grep -iE 'skip' "$out" | grep -v '^\[' | head -3 | sed 's/^/      | /'
        fi
    } >"$dir/$2.told"
    echo "$p $f $s" >"$dir/$2.count"
    rm -f "$out"
}

# tell: prints what ended since
tell() {
    local i
    for ((i = 0; i < begun; i++)); do
        [ -s "$dir/$i.count" ] && [ -e "$dir/$i.told" ] || continue
        cat "$dir/$i.told"
        rm "$dir/$i.told"
    done
}

begun=0
for t in "$@"; do
    while [ "$(jobs -pr | wc -l)" -ge "$jobs" ]; do
        wait -n
        tell
    done
    one "$t" $begun &
    begun=$((begun + 1))
done
wait
tell
read -r passed failed skipped < <(cat "$dir"/*.count | awk '{ p += $1; f += $2; s += $3 } END { print p + 0, f + 0, s + 0 }')
[ "$(ls "$dir" | grep -c count)" = $begun ] || failed=$((failed + 1)) # one of them left no word
tail=""
[ $skipped = 0 ] || tail=", $skipped skipped"
echo "$passed passed, $failed failed$tail"
[ $failed = 0 ] && [ $((passed + skipped)) != 0 ]
