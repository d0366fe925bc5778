# Sourced, after sandbox.sh, by the tests that run several ranks: a small MAE on drawn faces in $work.
export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1
[ -z "${LETHE_QUICK:-}" ] || export ASAN_OPTIONS=${ASAN_OPTIONS:-}:detect_leaks=0 # of what MPI keeps to the end
export OMPI_MCA_rmaps_base_oversubscribe=1 # more ranks than processors
failed=0
complain() { echo "$(basename "$0" .sh): $*" >&2; failed=1; }

"$lethe" synth faces --out "$work/faces" --count 128 --identities 8 --size 32 --seed 5 >/dev/null || exit 1
cat >"$work/recipe.json" <<'JSON'
{"task": "mae", "seed": 7,
 "model": {"size": "micro", "image_size": 32, "patch": 8, "dim": 32, "depth": 2, "heads": 2,
           "decoder_dim": 32, "decoder_depth": 1, "decoder_heads": 2},
 "train": {"batch": 16, "eval_every": 3, "epochs": 1000, "steps": 20, "log_every": 1, "checkpoint_every": 10},
 "optim": {"blr": 0.01, "ema": 0.9}, "schedule": {"warmup_epochs": 2}}
JSON

# train RANKS OUT [ARGUMENT]...
train() {
    local n=$1 out=$2
    shift 2
    timeout -k 5 120 ${launch:-mpirun -np "$n"} "$lethe" train "$work/recipe.json" --set data.train="$work/faces/train" \
        --set data.test="$work/faces/test" --out "$out" "$@"
}
# the process of a rank
process_of() {
    local p
    for p in $(pgrep -f "$lethe train"); do
        tr '\0' '\n' 2>/dev/null <"/proc/$p/environ" | grep -qx "OMPI_COMM_WORLD_RANK=$1" && echo "$p" && return
    done
}
# the losses of a run, training and evaluation, one a line
losses() { sed -nE 's/.*"step": ([0-9]+),.*"loss": ([0-9.e+-]+).*/\1 \2/p' "$1/metrics.jsonl"; }
# same_curve A B LIMIT: the same steps, and losses within LIMIT of each other, relatively
same_curve() {
    paste -d ' ' <(losses "$1") <(losses "$2") | awk -v limit="$3" '
        { d = ($2 - $4) / $4; if (d < 0) d = -d; if ($1 != $3 || d > limit || !($4 > 0)) { print "step " $1 ": " $2 " and " $4; bad = 1 } n++ }
        END { exit bad || n < 20 }'
}
