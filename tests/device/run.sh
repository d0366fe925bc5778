#!/bin/bash
# On a machine with a GPU, from build/device as tests/device/pack.sh made it (no compiler is needed): the tests on CUDA,
# the benchmarks, PyTorch beside them on the same card, in one call of under ten minutes; a short table comes last.
#     tests/device/run.sh [--demo] [STEP]...
# STEPs, all but demo unless some are named: version kernels gradcheck golden_mae golden_vit golden_ops golden_sam optim
# repeat graph like_cpu like_cpu_bf16 segment memcheck racecheck demo bench. Settings: LIMIT: seconds for all (570).
# BENCH: of these, seconds kept for the benchmarks (260). OUT: a folder for log.txt, table.txt and the JSON files.
# BATCH (256). PYTHON: one that has PyTorch. DRY=1: the same steps on the fake GPU of `make fake`, at tiny sizes, to try
# the script itself.
set -u
cd "$(dirname "$0")/../.."
self=$PWD/tests/device/run.sh
export LIMIT=${LIMIT:-570} BENCH=${BENCH:-260} BATCH=${BATCH:-256} DRY=${DRY:-} PYTHON=${PYTHON:-}
export PATH=$PATH:/usr/local/nvidia/bin:/usr/local/cuda/bin OMP_WAIT_POLICY=passive LC_ALL=C

# ---- small things ----

# say TEXT: where the caller of a step shows it, on the step's line
say() { echo "note: $*"; }
# number FILE KEY: the first number with that key in a file of JSON; nothing if there is none
number() { sed -nE "s/.*\"$2\": *(-?[0-9][0-9.eE+-]*).*/\1/p" "$1" 2>/dev/null | head -1; }
# mine PROGRAM [ARGUMENT]...: with the libraries that were found; Python must not see them
mine() {
    [ -z "$LIBRARIES" ] || local -x LD_LIBRARY_PATH=$LIBRARIES${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}
    "$@"
}
left() { echo $((LIMIT - ($(date +%s) - BEGAN))); }
# has PROGRAM: is it there, and made to run on CUDA?
has() {
    [ -x "$BIN/$1" ] || { say "$BIN/$1 is not there"; return 1; }
    [ -z "${2:-}" ] || grep -q "$2" "$BIN/$1" || { say "this $1 does not know $2"; return 1; }
}

# ---- what each step does; it ends with 0, or 77: left out, or 78: done in part ----

# cmocka PROGRAM: all of its tests, on CUDA; one that is skipped proves nothing
cmocka() {
    local status passed skipped
    mine "$BIN/$1" >"$WORK/cmocka" 2>&1
    status=$?
    cat "$WORK/cmocka"
    passed=$(sed -nE 's/^\[  PASSED  \] ([0-9]+) test.*/\1/p' "$WORK/cmocka" | awk '{ n += $1 } END { print n + 0 }')
    skipped=$(sed -nE 's/^\[  SKIPPED \] ([0-9]+) test.*/\1/p' "$WORK/cmocka" | awk '{ n += $1 } END { print n + 0 }')
    say "$passed tests passed, $skipped skipped"
    [ "$skipped" = 0 ] && [ "$passed" != 0 ] && return $status
    return 1
}

do_version() { mine "$LETHE" --version && say "$(mine "$LETHE" --version | tr '\n' ' ')"; }
do_kernels() { has test_kernels || return 77; LETHE_CUDA_MANAGED=1 cmocka test_kernels; }
do_gradcheck() {
    has gradcheck || return 77
    mine "$BIN/gradcheck" | tee "$WORK/gradcheck"
    local status=${PIPESTATUS[0]}
    say "$(tail -1 "$WORK/gradcheck")"
    return "$status"
}
golden() {
    has "$1" LETHE_TEST_BACKEND || return 77
    LETHE_TEST_BACKEND=cuda cmocka "$1"
}
do_golden_mae() { golden test_golden_mae; }
do_golden_vit() { golden test_golden_vit; }
do_golden_ops() { golden test_golden_ops; }
do_golden_sam() { golden test_golden_sam; }
do_optim() { has test_optim_cuda || return 77; mine "$BIN/test_optim_cuda"; }

# small_recipes: a small autoencoder on drawn faces (small.json), a small segmenter on drawn shapes (segment.json)
small_recipes() {
    (
        flock 9
        [ ! -d "$WORK/shapes" ] || exit 0
        mine "$LETHE" synth faces --out "$WORK/faces" --count 128 --identities 8 --size 32 --seed 5 >/dev/null &&
            mine "$LETHE" synth shapes --out "$WORK/shapes" --count 24 --size 64 --seed 3 >/dev/null
    ) 9>"$WORK/lock" || return 1
    cat >"$WORK/small.json" <<'JSON'
{"task": "mae", "seed": 7,
 "model": {"size": "micro", "image_size": 32, "patch": 8, "dim": 128, "depth": 3, "heads": 4,
           "decoder_dim": 64, "decoder_depth": 2, "decoder_heads": 2},
 "train": {"batch": 32, "epochs": 1000, "steps": 20, "log_every": 1, "checkpoint_every": 10},
 "optim": {"blr": 0.01, "ema": 0.9}, "schedule": {"warmup_epochs": 2}}
JSON
    cat >"$WORK/segment.json" <<'JSON'
{"task": "segment", "seed": 7, "model": {"size": "micro", "image_size": 64}, "segment": {"rounds": 2, "eval_clicks": 1},
 "data": {"geometry": "longest", "masks_per_image": 2, "eval_masks": 2},
 "train": {"batch": 2, "epochs": 1000, "steps": 20, "eval_every": 0, "log_every": 1},
 "optim": {"lr": 0.0005, "ema": 0.9}, "schedule": {"warmup_epochs": 1}}
JSON
}
# small OUT [SETTING]...: 20 updates of the autoencoder
small() {
    local out=$1
    shift
    small_recipes || return 1
    run_small "$WORK/small.json" "$out" data.train="$WORK/faces/train" data.test="$WORK/faces/test" "$@"
}
# run_small RECIPE OUT [SETTING]...
run_small() {
    local recipe=$1 out=$2 set=() threads s
    shift 2
    for s in "$@"; do set+=(--set "$s"); done
    threads=$(nproc)
    OMP_NUM_THREADS=$((threads < 8 ? threads : 8)) mine "$LETHE" train "$recipe" --out "$out" "${set[@]}" \
        >"$out.log" 2>&1 || { tail -5 "$out.log"; return 1; }
}
same_files() { # same_files A B: weights, moments and average, bit for bit
    local f
    for f in model optimizer ema; do
        cmp "$1/checkpoints/last/$f.safetensors" "$2/checkpoints/last/$f.safetensors" || return 1
    done
}
do_repeat() {
    local d
    for d in f32 bf16; do
        small "$WORK/one_$d" device=cuda dtype=$d && small "$WORK/two_$d" device=cuda dtype=$d || return 1
        same_files "$WORK/one_$d" "$WORK/two_$d" || { say "$d: two runs differ"; return 1; }
    done
    say "f32 and bf16: two runs end in the same bits"
}
do_graph() {
    small "$WORK/graph" device=cuda && small "$WORK/plain" device=cuda train.cuda_graph=false || return 1
    same_files "$WORK/graph" "$WORK/plain" && say "captured or not: the same bits"
}
losses() { sed -nE 's/.*"step": ([0-9]+),.*"loss": ([0-9.e+-]+).*/\1 \2/p' "$1/metrics.jsonl"; }
same_losses() { # same_losses A B LIMIT: relative, in each of 20 updates
    paste -d ' ' <(losses "$1") <(losses "$2") | awk -v limit="$3" '
        { d = ($2 - $4) / $4; if (d < 0) d = -d; if (d > most) most = d; n++; if ($1 != $3 || !($4 > 0)) bad = 1 }
        END {
            printf "note: %d losses, at most %.1e apart, allowed %s\n", n, most, limit
            exit bad || n < 20 || most > limit
        }'
}
like_cpu() { # like_cpu DTYPE LIMIT
    small "$WORK/gpu_$1" device=cuda dtype="$1" && small "$WORK/cpu_$1" device=cpu dtype="$1" || return 1
    same_losses "$WORK/gpu_$1" "$WORK/cpu_$1" "$2"
}
do_like_cpu() { like_cpu f32 1e-4; }
do_like_cpu_bf16() { like_cpu bf16 2e-2; }

# A small segmenter on drawn shapes, as the processor trains it, and twice the same bits. A click is a pixel: where
# rounding moves one, a loss jumps.
do_segment() {
    small_recipes || return 1
    local d data=(data.train="$WORK/shapes/train.json" data.test="$WORK/shapes/test.json")
    for d in cpu cuda; do run_small "$WORK/segment.json" "$WORK/segment_$d" device=$d "${data[@]}" || return 1; done
    run_small "$WORK/segment.json" "$WORK/segment_two" device=cuda "${data[@]}" || return 1
    same_losses "$WORK/segment_cuda" "$WORK/segment_cpu" 1e-2 || return 1
    same_files "$WORK/segment_cuda" "$WORK/segment_two" || { say "two runs differ"; return 1; }
}

# sanitize TOOL: the optimizer's kernels by themselves, then two updates of an autoencoder and of a segmenter. Not the
# kernels' tests: they take managed memory, which the tool bears badly.
sanitize() {
    local tool status=0 p log=$WORK/$1 part=""
    tool=$(command -v compute-sanitizer || ls /opt/nvidia/*/compute-sanitizer/compute-sanitizer \
        /usr/local/cuda*/compute-sanitizer/compute-sanitizer 2>/dev/null | head -1)
    [ -n "$tool" ] || { say "no compute-sanitizer here"; return 77; }
    small_recipes || return 1
    local options=(--tool "$1" --error-exitcode 9 --print-limit 20 --target-processes application-only)
    local train=("$LETHE" train --set device=cuda --set train.steps=2 --out)
    for p in optim:15 small:20 segment:25; do
        case $p in
        optim*) set -- "$BIN/test_optim_cuda" ;;
        small*) set -- "${train[@]}" "$log.small" "$WORK/small.json" --set data.train="$WORK/faces/train" \
            --set data.test="$WORK/faces/test" ;;
        segment*) set -- "${train[@]}" "$log.segment" "$WORK/segment.json" --set data.train="$WORK/shapes/train.json" \
            --set data.test="$WORK/shapes/test.json" ;;
        esac
        mine timeout -k 3 "${p#*:}" "$tool" "${options[@]}" "$@" >"$log" 2>&1
        case $? in
        0) ;;
        124 | 137) part="$part ${p%:*}" ;;
        *) status=1 ;;
        esac
        tail -40 "$log"
        grep -E '^=========.*(Invalid|Misaligned|hazard|Error:|error )' "$log" | grep -vq '0 errors' && status=1
        grep -q '^=========' "$log" || status=1 # the tool itself said nothing
    done
    [ $status = 0 ] || return 1
    [ -z "$part" ] || { say "stopped in time within$part; nothing was found so far"; return 78; }
}
do_memcheck() { sanitize memcheck; }
do_racecheck() { sanitize racecheck; }

do_demo() {
    cat >"$WORK/lethe" <<SH
#!/bin/sh
LD_LIBRARY_PATH="$LIBRARIES\${LD_LIBRARY_PATH:+:\$LD_LIBRARY_PATH}" exec "$LETHE" "\$@"
SH
    chmod +x "$WORK/lethe"
    LETHE=$WORK/lethe sh cli/demo.sh | tee "$WORK/demo"
    local status=${PIPESTATUS[0]}
    say "$(grep -E '^(Done|Test)' "$WORK/demo" | tr '\n' ' ')"
    return "$status"
}

# most_memory COMMAND...: runs it; the most MiB in use on the card meanwhile go to $WORK/card
most_memory() {
    local status watch=""
    if command -v nvidia-smi >/dev/null && [ -z "$DRY" ]; then
        nvidia-smi --query-gpu=memory.used --format=csv,noheader,nounits -lms 200 >"$WORK/used" 2>/dev/null &
        watch=$!
    fi
    "$@"
    status=$?
    [ -z "$watch" ] || { kill $watch; wait $watch 2>/dev/null; }
    sort -n "$WORK/used" 2>/dev/null | tail -1 >"$WORK/card"
    return $status
}
do_bench_lethe() { # do_bench_lethe base|large
    local size=$1 file=$KEEP/lethe_$1.json more=(--steps 20)
    [ -z "$DRY" ] || { size=micro more=(--steps 1 --set model.image_size=32); }
    most_memory mine "$LETHE" bench --task mae --preset $size --dtype bf16 --batch "$BATCH" --device cuda \
        "${more[@]}" --json "$file" || return 1
    cp "$WORK/card" "$WORK/card_lethe_$1"
    say "$(number "$file" images_per_second) images/s"
}
do_bench_torch() { # do_bench_torch base|large MODE
    local file=$KEEP/torch_$1_$2.json more=()
    [ -n "$PYTHON" ] || { say "no python3 here has PyTorch"; return 77; }
    [ -z "$DRY" ] || more=(--device cpu --warm 1 --steps 1)
    most_memory "$PYTHON" tests/device/bench_torch.py --preset "$([ -n "$DRY" ] && echo micro || echo "$1")" \
        --batch "$BATCH" --mode "$2" --json "$file" ${more[@]+"${more[@]}"} || return 1
    [ -s "$WORK/card_torch_$1" ] || cp "$WORK/card" "$WORK/card_torch_$1"
    say "$(number "$file" images_per_second) images/s"
}
do_bench_matmul() {
    [ -n "$PYTHON" ] || { say "no python3 here has PyTorch"; return 77; }
    [ -z "$DRY" ] || { say "not on the fake GPU"; return 77; }
    "$PYTHON" tests/device/bench_torch.py --matmul --json "$WORK/matmul.json" &&
        say "$(number "$WORK/matmul.json" matmul_flops) FLOP/s, 8192 cubed, bf16, in PyTorch"
}

# ---- called by itself, below a time limit: one step ----
if [ "${1:-}" = --do ]; then
    shift
    "do_$@"
    exit $?
fi

# ---- what the machine has ----

die() {
    echo "run.sh: $*" >&2
    exit 1
}

pythons() { # every python3 that may be found, a path a line
    { [ -z "$PYTHON" ] || echo "$PYTHON"; type -ap python3; ls /opt/*/.venv/bin/python3 /opt/*/bin/python3 \
        /root/*/bin/python3 2>/dev/null; } | awk '!seen[$0]++'
}

# Folders in which NVIDIA's libraries may lie, the machine's own before those of Python's packages.
folders() {
    ls -d /usr/local/cuda*/lib64 /usr/local/cuda*/targets/x86_64-linux/lib /usr/local/nvidia/lib64 \
        /usr/local/nvidia/lib /usr/lib/x86_64-linux-gnu 2>/dev/null
    local p
    while read -r p; do
        "$p" -c 'import glob, os, sys
for p in sys.path:
    for d in sorted(glob.glob(os.path.join(p or ".", "nvidia", "*", "lib"))):
        print(d)' 2>/dev/null
    done < <(pythons)
    ls -d "$WORK"/venv/lib/python3*/site-packages/nvidia/*/lib 2>/dev/null
}

missing=""
# find_libraries: adds to LIBRARIES the folders of those that the loader would not find by itself
find_libraries() {
    local name place list known
    list=$(folders)
    known=$(ldconfig -p 2>/dev/null || /sbin/ldconfig -p)
    missing=""
    for name in libcuda.so.1 libcudart.so.13 libcublasLt.so.13 libcudnn.so.9 libnccl.so.2 libnvrtc.so.13; do
        place=$(echo "$known" | sed -nE "s/^[[:space:]]*$name .*=> (.*)/\1/p" | head -1)
        if [ -z "$place" ] && [ ! -e "$BIN/lib/$name" ]; then
            place=$(echo "$list" | while read -r d; do [ ! -e "$d/$name" ] || echo "$d/$name"; done | head -1)
            [ -z "$place" ] || LIBRARIES=$LIBRARIES:$(dirname "$place")
        fi
        [ -n "$place" ] || [ ! -e "$BIN/lib/$name" ] || place=$BIN/lib/$name
        echo "  $name: ${place:-not found}"
        [ -n "$place" ] || missing="$missing $name"
    done
}

# Tries to fetch what is missing, where there is a network.
fetch_libraries() {
    local wheels="" name
    for name in $missing; do
        case $name in
        libcudart*) wheels="$wheels nvidia-cuda-runtime" ;;
        libcublasLt*) wheels="$wheels nvidia-cublas" ;;
        libcudnn*) wheels="$wheels nvidia-cudnn-cu13" ;;
        libnccl*) wheels="$wheels nvidia-nccl-cu13" ;;
        libnvrtc*) wheels="$wheels nvidia-cuda-nvrtc" ;;
        esac
    done
    [ -n "$wheels" ] || return 0
    echo "  trying pip install$wheels"
    python3 -m venv "$WORK/venv" && timeout 100 "$WORK/venv/bin/pip" install -q --no-deps --retries 1 $wheels &&
        find_libraries
}

prepare_dry() {
    LETHE=$PWD/build/fake/lethe
    [ -x "$LETHE" ] || die "$LETHE is not there: make fake"
    BATCH=4 LIMIT=3600
    mkdir "$WORK/bin"
    ln -s "$PWD"/build/tests/gradcheck "$PWD"/build/fake/tests/test_* "$WORK/bin/" 2>/dev/null
    rm -f "$WORK"/bin/*.d
    BIN=$WORK/bin
    echo "dry: the fake GPU, tiny sizes; no figure means anything"
}

unpack() {
    xz -dc build/device/packed.tar.xz ||
        python3 -c 'import lzma, shutil, sys
shutil.copyfileobj(lzma.open("build/device/packed.tar.xz"), sys.stdout.buffer)'
}

prepare() {
    [ -n "$(nvidia-smi -L 2>/dev/null)" ] ||
        die "no GPU here (nvidia-smi names none); DRY=1 goes through the steps on the fake GPU"
    [ -f build/device/packed.tar.xz ] || die "build/device/packed.tar.xz is not there: tests/device/pack.sh makes it"
    mkdir "$WORK/bin"
    unpack | tar -C "$WORK/bin" -xf - || die "build/device/packed.tar.xz cannot be unpacked"
    BIN=$WORK/bin LETHE=$WORK/bin/lethe LIBRARIES=$WORK/bin/lib
    card=$(nvidia-smi --query-gpu=name,driver_version,memory.total --format=csv,noheader | head -1)
    echo "$card, $(nproc) processors, $(sed -n 's/^model name[^:]*: //p' /proc/cpuinfo | head -1)"
    cat build/device/made.txt
    find_libraries
    [ -z "$missing" ] || fetch_libraries
    mine "$LETHE" help >/dev/null 2>&1 || LIBRARIES=$LIBRARIES:$BIN/lib/common
    mine "$LETHE" help >/dev/null || {
        mine ldd "$LETHE" | grep 'not found'
        die "lethe does not start here; tests/device/README.md says what it needs"
    }
}

find_torch() {
    local p
    while read -r p; do
        "$p" -c 'import importlib.util as u, sys; sys.exit(u.find_spec("torch") is None)' 2>/dev/null || continue
        PYTHON=$p
        echo "  PyTorch: $p"
        return
    done < <(pythons)
    PYTHON=""
    echo "  PyTorch: not found"
}

# ---- steps, a line each ----

passed=0 failed=0 skipped=0 part=0 failures=""

# step NAME CAP FUNCTION [ARGUMENT]...: at most CAP seconds, and never those that are kept for the benchmarks
step() {
    local name=$1 cap=$2 status word start took note room
    shift 2
    [ -z "$DRY" ] || cap=$((6 * cap))
    room=$(left)
    case $name in bench*) room=$((room - 5)) ;; *) room=$((room - (benches ? BENCH : 5))) ;; esac
    [ "$cap" -le "$room" ] || cap=$room
    start=$(date +%s%N)
    if [ "$cap" -lt 3 ]; then
        echo "note: no time is left for it" >"$WORK/out"
        status=77
    else
        timeout -k 5 "$cap" bash "$self" --do "$@" >"$WORK/out" 2>&1 </dev/null
        status=$?
    fi
    took=$((($(date +%s%N) - start) / 100000000))
    case $status in
    0) word=ok passed=$((passed + 1)) ;;
    77) word=skip skipped=$((skipped + 1)) ;;
    78) word=part part=$((part + 1)) ;;
    *) word=FAIL failed=$((failed + 1)) failures="$failures $name" ;;
    esac
    note=$(sed -n 's/^note: //p' "$WORK/out" | tail -1)
    case $status in 124 | 137) note="over $cap s" ;; esac
    printf '  %-4s %4d.%d s  %-22s %s\n' $word $((took / 10)) $((took % 10)) "$name" "$note"
    { echo "==== $name: $word"; cat "$WORK/out"; } >>"$KEEP/log.txt"
    [ $word != FAIL ] || grep -vE '^(note:|\[ *(RUN|OK|PASSED|SKIPPED|=*) *\]|$)' "$WORK/out" | tail -12 | cut -c1-200 |
        sed 's/^/      | /'
}
wanted() { case " $steps " in *" $1 "*) ;; *) return 1 ;; esac; }

# ---- the table ----

# better A B: is A the greater number?
better() { awk -v a="${1:-0}" -v b="${2:-0}" 'BEGIN { exit !(a + 0 > b + 0) }'; }
# mib BYTES
mib() { [ -z "${1:-}" ] || awk -v n="$1" 'BEGIN { printf "%d", n / 1048576 }'; }

# row SIZE: a model's figures beside those of PyTorch's faster mode; "-" where there is none
row() {
    local lethe=$KEEP/lethe_$1.json torch="" t mode="" card theirs
    for t in "$KEEP"/torch_"$1"_*.json; do
        [ -s "$t" ] || continue
        ! better "$(number "$t" images_per_second)" "$(number "$torch" images_per_second)" || torch=$t
    done
    [ -z "$torch" ] || mode=${torch##*_} mode=${mode%.json}
    card=$(cat "$WORK/card_lethe_$1" 2>/dev/null) theirs=$(cat "$WORK/card_torch_$1" 2>/dev/null)
    awk -v size="$1" -v lethe="$(number "$lethe" images_per_second)" -v batch="$(number "$lethe" batch)" \
        -v torch="$(number "$torch" images_per_second)" -v flop="$(number "$lethe" flop_per_step)" -v rate="$rate" \
        -v card="${card:-$(mib "$(number "$lethe" peak_bytes)")}" -v mode="${mode:--}" \
        -v theirs="${theirs:-$(mib "$(number "$torch" card_bytes)")}" \
        -v tensors="$(mib "$(number "$torch" peak_bytes)")" '
        function show(x, form) { return x == "" ? "-" : sprintf(form, x) }
        BEGIN {
            ratio = lethe != "" && torch != "" ? lethe / torch : ""
            part = lethe != "" && rate != "" ? 100 * flop * lethe / batch / rate : ""
            printf "%-6s %5s %10s %10s %6s %8s %10s %10s %10s  %s\n", size, show(batch, "%d"), show(lethe, "%.1f"),
                show(torch, "%.1f"), show(ratio, "%.2f"), show(part, "%.1f%%"), show(card, "%d"), show(theirs, "%d"),
                show(tensors, "%d"), mode
        }'
}
# targets FILE: a line for each, from the rows
targets() {
    awk '
        function line(what, yes) { print "target, " $1 ", " what ": " (yes ? "met" : "missed") }
        $5 != "-" { line("1.2 times PyTorch", $5 >= 1.2) }
        $6 != "-" && $1 == "large" { line("50 % of the matmul rate", $6 + 0 >= 50) }
        $7 != "-" && $8 != "-" { line("less memory than PyTorch", $7 + 0 < $8 + 0) }
    ' "$1"
}
table() {
    local rate="" own torch
    own=$(number "$KEEP/lethe_large.json" matmul_flops) torch=$(number "$WORK/matmul.json" matmul_flops)
    rate=${own:-$torch}
    ! better "$torch" "$own" || rate=$torch
    echo
    echo "$(date -u +%Y-%m-%d), ${card:-fake GPU}"
    head -1 build/device/made.txt 2>/dev/null
    echo "command: tests/device/run.sh${arguments:+ $arguments}"
    if wanted bench; then
        echo "MAE pretraining in bf16: images a second; memory: MiB in use on the card, and PyTorch's tensors alone"
        printf '%-6s %5s %10s %10s %6s %8s %10s %10s %10s  %s\n' model batch Lethe PyTorch ratio matmul Lethe PyTorch \
            tensors 'mode of PyTorch'
        row base >"$WORK/rows"
        row large >>"$WORK/rows"
        cat "$WORK/rows"
        awk -v own="$own" -v torch="$torch" 'function show(x) { return x == "" ? "-" : sprintf("%.0f", x / 1e12) }
            BEGIN { print "a large bf16 matmul: Lethe " show(own) ", PyTorch " show(torch) " TFLOP/s" }'
        [ -n "$DRY" ] || targets "$WORK/rows"
    fi
    echo "steps: $passed ok, $failed failed, $part in part, $skipped left out, $((LIMIT - $(left))) s"
    [ -z "$failures" ] || echo "failed:$failures"
}

# ---- all of it ----

main() {
    BEGAN=$(date +%s)
    WORK=$(mktemp -d)
    trap 'rm -rf "$WORK"' EXIT
    KEEP=${OUT:-$PWD/build/device_out}
    mkdir -p "$KEEP"
    rm -f "$KEEP"/lethe_*.json "$KEEP"/torch_*.json "$KEEP/table.txt" "$KEEP/log.txt"
    LIBRARIES=""
    benches=0 warm="" card=""
    ! wanted bench || benches=1
    if [ -n "$DRY" ]; then prepare_dry; else prepare; fi
    find_torch
    export BEGAN WORK KEEP LIBRARIES LETHE BIN PYTHON BATCH TORCHINDUCTOR_CACHE_DIR=$WORK/inductor
    # PyTorch compiles for a minute and more; it may do that beside the tests, on processors they leave idle.
    if [ $benches = 1 ] && [ -n "$PYTHON" ] && [ -z "$DRY" ]; then
        for size in large base; do
            timeout 300 "$PYTHON" tests/device/bench_torch.py --preset $size --batch "$BATCH" --warm 2 --warm-only
        done >"$WORK/warm" 2>&1 &
        warm=$!
    fi
    run_tests
    [ $benches = 0 ] || run_benches
    table | tee "$KEEP/table.txt"
    [ $failed = 0 ]
}

run_tests() {
    local pair
    for pair in version:20 kernels:120 gradcheck:60 golden_mae:90 golden_vit:60 golden_ops:60 golden_sam:60 optim:40 \
        repeat:60 graph:40 like_cpu:40 like_cpu_bf16:40 segment:60 memcheck:60 racecheck:60 demo:150; do
        ! wanted "${pair%:*}" || step "${pair%:*}" "${pair#*:}" "${pair%:*}"
    done
}

run_benches() {
    local size
    if [ -n "$warm" ]; then # nothing may run beside what is timed
        while kill -0 $warm 2>/dev/null && [ "$(left)" -gt 150 ]; do sleep 1; done
        ! kill -0 $warm 2>/dev/null || kill $warm $(pgrep -P $warm)
        wait $warm 2>/dev/null
        { echo "==== PyTorch, compiling"; tail -20 "$WORK/warm"; } >>"$KEEP/log.txt"
    fi
    step bench_matmul 40 bench_matmul
    for size in base large; do
        step "bench_lethe_$size" 60 bench_lethe $size
        step "bench_torch_$size" 110 bench_torch $size "$([ -n "$DRY" ] && echo eager || echo default)"
    done
    [ -z "$DRY" ] || return
    for size in base large; do # what is left of the time
        [ "$(left)" -lt 60 ] || [ -z "$PYTHON" ] ||
            step "bench_torch_${size}_tuned" 200 bench_torch $size max-autotune-no-cudagraphs
    done
}

arguments="$*"
steps="" more=""
for a in "$@"; do
    case $a in
    --demo) more=demo ;;
    -*) die "$a: not known; the head of $self says what it takes" ;;
    *) steps="$steps $a" ;;
    esac
done
all="version kernels gradcheck golden_mae golden_vit golden_ops golden_sam optim repeat graph like_cpu like_cpu_bf16"
all="$all segment memcheck racecheck bench"
for a in $steps; do case " $all demo " in *" $a "*) ;; *) die "$a: no such step" ;; esac; done
steps="${steps:-$all} $more"
main
