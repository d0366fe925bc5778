#!/bin/bash
# Runs of a promptable segmenter on drawn shapes: two ranks learn what one learns, SAM's way and HQ-SAM's; a run killed in
# the middle of a checkpoint ends with the same bytes; evaluation gives the same figures on one rank and two; a SAM becomes
# an HQ-SAM whose training moves nothing of the SAM, and whose masks are judged apart; pictures and plans are made.
# Usage: tests/test_segment_runs.sh [BUILD]
set -u
quick=${LETHE_QUICK:-}
. tests/sandbox.sh
export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1 OMPI_MCA_rmaps_base_oversubscribe=1
[ -z "$quick" ] || export ASAN_OPTIONS=${ASAN_OPTIONS:-}:detect_leaks=0 # of what MPI keeps to the end
faults=$PWD/$build/tests/faults.so
failed=0
complain() { echo "test_segment_runs: $*" >&2; failed=1; }

"$lethe" synth shapes --out "$work/shapes" --count 20 --size 64 --seed 5 >/dev/null || exit 1
cat >"$work/recipe.json" <<JSON
{"task": "segment", "seed": 7,
 "model": {"size": "micro", "image_size": 64},
 "segment": {"rounds": 5, "points": 64, "eval_clicks": 3},
 "data": {"train": "$work/shapes/train.json", "test": "$work/shapes/test.json", "geometry": "longest",
          "masks_per_image": 2, "eval_masks": 4, "lsj_min": 0.5, "lsj_max": 1.5},
 "train": {"batch": 4, "eval_every": 0, "epochs": 1000, "steps": 8, "log_every": 1, "checkpoint_every": 4},
 "optim": {"lr": 0.0005}, "schedule": {"warmup_epochs": 1}}
JSON
# train RANKS OUT [ARGUMENT]...
train() {
    local n=$1 out=$2
    shift 2
    timeout -k 5 300 mpirun -np "$n" "$lethe" train "$work/recipe.json" --out "$out" "$@" >"$work/log" 2>&1 || complain "$out: $(tail -3 "$work/log")"
}
losses() { sed -nE 's/.*"step": ([0-9]+),.*"loss": ([0-9.e+-]+).*/\1 \2/p' "$1/metrics.jsonl"; }
# same_curve A B LIMIT
same_curve() {
    paste -d ' ' <(losses "$1") <(losses "$2") | awk -v limit="$3" '
        { d = ($2 - $4) / $4; if (d < 0) d = -d; if ($1 != $3 || d > limit || !($4 > 0)) { print "step " $1 ": " $2 " and " $4; bad = 1 } n++ }
        END { exit bad || n < 8 }'
}

for n in 1 2; do train $n "$work/r$n"; done
same_curve "$work/r2" "$work/r1" 1e-4 || complain "two ranks learn otherwise than one"

# killed in the middle of the second checkpoint, then taken up
if [ -z "$quick" ]; then
    { LETHE_FAULT=sync:8:KILL LD_PRELOAD=$faults "$lethe" train "$work/recipe.json" --out "$work/cut" >"$work/log" 2>&1; } 2>/dev/null
    [ $? -gt 128 ] || complain "the run was not killed: $(tail -3 "$work/log")"
    [ -e "$work/cut/checkpoints/8" ] && complain "the run was killed too late"
fi
train 1 "$work/cut" --resume
cmp "$work/r1/checkpoints/last/model.safetensors" "$work/cut/checkpoints/last/model.safetensors" || complain "a killed run ends otherwise"

# HQ on top: everything of SAM keeps its bits
hq=(--init "$work/r1" --set model.hq=true --set segment.train=hq --set optim.weight_decay=0)
for n in 1 2; do train $n "$work/hq$n" "${hq[@]}"; done
grep -q "fresh: mask_decoder.hf_token.weight" "$work/log" || complain "a SAM did not become an HQ-SAM: $(cat "$work/log")"
same_curve "$work/hq2" "$work/hq1" 1e-4 || complain "two ranks learn HQ otherwise than one"
"$lethe" inspect "$work/hq1" >"$work/inspect" 2>&1 || complain "inspect: $(cat "$work/inspect")"

# a masked autoencoder gives all but relative positions, neck, prompts and masks
cat >"$work/mae.json" <<JSON
{"task": "mae", "model": {"size": "micro", "image_size": 64, "patch": 16, "dim": 64, "depth": 4, "heads": 2},
 "data": {"train": "$work/shapes/train", "layout": "flat"}, "train": {"batch": 8, "epochs": 1}}
JSON
"$lethe" train "$work/mae.json" --out "$work/mae" >"$work/log" 2>&1 || complain "mae: $(tail -3 "$work/log")"
train 1 "$work/from_mae" --init "$work/mae" --set train.steps=1
grep -q "^51 of " "$work/log" || complain "what a masked autoencoder gives: $(head -2 "$work/log")"

# the same figures on any number of ranks
for run in r1 hq1; do
    for n in 1 2 3; do
        mpirun -np $n "$lethe" eval "$work/$run" --checkpoint "$work/$run" --json "$work/eval$n.json" >"$work/log" 2>&1 || complain "eval on $n ranks: $(cat "$work/log")"
    done
    for k in miou_box mbiou_box miou_1 miou_3; do
        grep -q "\"$k\": [01]" "$work/eval1.json" || complain "$run: no $k: $(cat "$work/eval1.json")"
    done
    for n in 2 3; do
        paste -d ' ' <(grep iou "$work/eval1.json") <(grep iou "$work/eval$n.json") | tr -d ',' | awk '
            { d = $2 - $4; if (d < 0) d = -d; if (d > 1e-4) { print; bad = 1 } n++ } END { exit bad || n < 4 }' ||
            complain "$run: eval on $n ranks differs"
    done
done

# SAM's mask, HQ's, and their sum are judged apart; at random weights none is empty
train 1 "$work/hq0" --set model.hq=true --set train.steps=1
for which in sum sam hq; do
    "$lethe" eval "$work/hq0" --checkpoint "$work/hq0" --set segment.eval_mask=$which --json "$work/$which.json" >"$work/log" 2>&1 || complain "eval of $which: $(cat "$work/log")"
done
[ "$(grep -h '"miou_box"' "$work"/{sum,sam,hq}.json | sort -u | wc -l)" = 3 ] || complain "eval_mask judges the same mask: $(cat "$work"/{sum,sam,hq}.json)"
"$lethe" eval "$work/r1" --checkpoint "$work/r1" --set segment.eval_mask=hq >"$work/log" 2>&1 && complain "HQ's mask of a SAM was judged"
grep -q 'eval_mask "hq".*model.hq' "$work/log" || complain "no HQ: $(cat "$work/log")"

"$lethe" predict "$work/hq1" --checkpoint "$work/hq1" --out "$work/pictures" "$work"/shapes/test/*.jpg >"$work/log" 2>&1 || complain "predict: $(cat "$work/log")"
[ "$(find "$work/pictures" -name '*.png' | wc -l)" = 4 ] || complain "pictures: $(ls "$work/pictures")"
[ "$(grep -c '"masks": ' "$work/pictures/predictions.jsonl")" = 4 ] || complain "predictions: $(cat "$work/pictures/predictions.jsonl")"
for more in "" "--set model.hq=true --set segment.train=hq" "--set segment.train=decoder"; do
    # shellcheck disable=SC2086
    "$lethe" plan "$work/recipe.json" --gpus 1,2 $more >"$work/log" 2>&1 || complain "plan $more: $(cat "$work/log")"
done
exit $failed
