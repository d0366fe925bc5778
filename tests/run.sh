#!/bin/bash
# Runs tests, builds nothing. Usage: tests/run.sh BUILD TEST...
# A TEST is a cmocka program, a program that ends in "N passed, N failed", a fuzz target (fuzz_*), or a shell
# script, which gets BUILD as its argument and may exit with 77 for "skipped". One line each; the whole output
# of one that fails. The last line sums up. LIMIT: most seconds a test may take. FUZZ: options of libFuzzer.
set -u
build=$1
shift
limit=${LIMIT:-300}
fuzz=${FUZZ:--runs=20000 -max_total_time=3}
passed=0 failed=0 skipped=0
out=$(mktemp)
trap 'rm -f "$out"' EXIT
export ASAN_OPTIONS=${ASAN_OPTIONS:-allocator_may_return_null=1:detect_stack_use_after_return=1}
export UBSAN_OPTIONS=${UBSAN_OPTIONS:-print_stacktrace=1}
# Beside other work on the machine, threads that wait must not hold their processor.
export OMP_WAIT_POLICY=${OMP_WAIT_POLICY:-passive}

# count PATTERN: the sum of the numbers in the lines of the output that match
count() { sed -nE "s/$1/\\1/p" "$out" | awk '{ n += $1 } END { print n + 0 }'; }

run() {
    case $(basename "$1") in
    *.sh) timeout -k 10 "$limit" bash "$1" "$build" ;;
    fuzz_*) timeout -k 10 "$limit" bash tests/fuzz.sh "$1" $fuzz ;;
    *) timeout -k 10 "$limit" "$1" ;;
    esac
}

for t in "$@"; do
    name=$(basename "$t")
    start=$(date +%s%N)
    run "$t" >"$out" 2>&1 </dev/null
    status=$?
    took=$((($(date +%s%N) - start) / 10000000))
    p=0 f=0 s=0 note=""
    case $name in
    *.sh | fuzz_*)
        case $status in
        0) p=1 ;;
        77) s=1 ;;
        esac
        ;;
    *)
        f=$(count '^\[  FAILED  \] ([0-9]+) test\(s\).*')
        s=$(count '^\[  SKIPPED \] ([0-9]+) test\(s\).*')
        p=$(count '^\[  PASSED  \] ([0-9]+) test\(s\).*')
        [ $((p + f + s)) != 0 ] || p=$(count '^([0-9]+) passed, [0-9]+ failed$') f=$(count '^[0-9]+ passed, ([0-9]+) failed$')
        ;;
    esac
    [ $((p + f + s)) != 0 ] || f=1 # it crashed, or ended before it counted
    [ $status = 0 ] || [ $f != 0 ] || [ $s != 0 ] || f=1
    case $status in
    124 | 137) note="  (over $limit s)" f=$((f + (f == 0))) ;;
    13[0-9] | 14[0-9]) note="  (signal $((status - 128)))" f=$((f + (f == 0))) ;;
    esac
    word=ok
    [ $p != 0 ] || word=skip
    [ $f = 0 ] || word=FAIL
    printf '  %-4s %3d.%02d s %5d  %s%s\n' $word $((took / 100)) $((took % 100)) $((p + f + s)) "$name" "$note"
    if [ $f != 0 ]; then
        sed 's/^/      | /' "$out"
    elif [ $s != 0 ]; then
        # say why, where the test says so
        grep -iE 'skip' "$out" | grep -v '^\[' | head -3 | sed 's/^/      | /'
    fi
    passed=$((passed + p)) failed=$((failed + f)) skipped=$((skipped + s))
done
tail=""
[ $skipped = 0 ] || tail=", $skipped skipped"
echo "$passed passed, $failed failed$tail"
[ $failed = 0 ] && [ $((passed + skipped)) != 0 ]
