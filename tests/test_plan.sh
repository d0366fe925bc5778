#!/bin/bash
# What lethe plan predicts is what happens: FLOPs are those of lethe bench to the last one, and the peak of a real
# process is within 10 % of the predicted one, whether weights, activations or both make it. Then, that more GPUs
# and sharding do what they should. Usage: tests/test_plan.sh [BUILD]
set -u
. tests/sandbox.sh
failed=0
complain() { echo "test_plan: $*" >&2; failed=1; }
json() { sed -nE "s/.*\"$2\": ([0-9.e+-]+).*/\\1/p" "$1" | head -1; }
# each FILE KEY: of all rows of GPUs, in their order
each() { grep -oE "\"$2\": [0-9.e+-]+" "$1" | cut -d' ' -f2 | xargs; }
# near NAME PREDICTED MEASURED; a sanitizer's own memory is no part of the prediction
near() {
    [ -n "${LETHE_QUICK:-}" ] && return
    awk -v p="$2" -v m="$3" 'BEGIN { exit !(p > 0.9 * m && p < 1.1 * m) }' ||
        complain "$1: predicted a peak of $2 bytes, measured $3"
    awk -v n="$1" -v p="$2" -v m="$3" 'BEGIN { printf "%-40s predicted %7.1f MiB, measured %7.1f, %+.1f %%\n",
        n, p / 1048576, m / 1048576, 100 * (p / m - 1) }'
}

# against TASK SIZE DTYPE BATCH [KEY=VALUE]...: the plan of a recipe against lethe bench with the same settings
against() {
    local name="$*" classes="" set=() kv
    [ "$1" = classify ] && classes=', "classes": 1000'
    printf '{"task": "%s", "dtype": "%s", "model": {"size": "%s"%s}, "train": {"batch": %s}}' \
        "$1" "$3" "$2" "$classes" "$4" >"$work/r.json"
    for kv in "${@:5}"; do set+=(--set "$kv"); done
    "$lethe" plan "$work/r.json" --gpus 1 --json "$work/plan.json" "${set[@]}" >/dev/null || complain "$name: plan"
    "$lethe" bench --task "$1" --preset "$2" --dtype "$3" --batch "$4" --steps 1 --json "$work/bench.json" \
        "${set[@]}" >/dev/null || complain "$name: bench"
    awk -v p="$(json "$work/plan.json" flop_per_step)" -v m="$(json "$work/bench.json" flop_per_step)" \
        'BEGIN { exit !(p > 0 && sprintf("%.9g", p) == sprintf("%.9g", m)) }' ||
        complain "$name: FLOP $(json "$work/plan.json" flop_per_step), bench $(json "$work/bench.json" flop_per_step)"
    for kv in kept_bytes parameters; do
        [ "$(json "$work/plan.json" $kv)" = "$(json "$work/bench.json" $kv)" ] || complain "$name: $kv"
    done
    # bench has one batch of images, where the loader fills two in turn
    near "$name" $(($(json "$work/plan.json" peak_bytes) - $(json "$work/plan.json" images) / 2)) \
        "$(json "$work/bench.json" peak_bytes)"
}

if [ -n "${LETHE_QUICK:-}" ]; then
    against mae micro f32 2 model.recompute=true
    against classify tiny bf16 1
else
    against mae micro f32 16
    against mae tiny bf16 16
    against mae tiny bf16 32 model.recompute=true
    against mae tiny f32 8 optim.name=sgd
    against mae small bf16 4
    against classify tiny f32 8
    against classify tiny bf16 16 optim.ema=0.99
    against classify tiny f32 16 model.train=probe
fi

# a real run, with its loader, checkpoint and log
"$lethe" synth faces --out "$work/faces" --count 96 --identities 4 --size 96 --seed 1 >/dev/null || exit 1
cat >"$work/run.json" <<JSON
{"task": "classify", "dtype": "bf16", "model": {"size": "tiny", "image_size": 96, "patch": 8},
 "data": {"train": "$work/faces/train", "cache_mb": 0}, "train": {"batch": 24, "epochs": 1, "steps": 1, "accumulate": 2}}
JSON
"$lethe" plan "$work/run.json" --gpus 1,2,8 --json "$work/plan.json" >"$work/log" || complain "plan of a run"
grep -qE ' min ' "$work/log" || complain "the data is there, and no epoch was timed: $(cat "$work/log")"
peak=0
"$lethe" train "$work/run.json" --out "$work/run" >/dev/null &
while kill -0 $! 2>/dev/null; do
    now=$(sed -nE 's/^VmHWM:[^0-9]*([0-9]+) kB/\1/p' "/proc/$!/status" 2>/dev/null)
    peak=${now:-$peak}
    sleep 0.02
done
wait $! || complain "the run"
near "lethe train" "$(json "$work/plan.json" peak_bytes)" $((peak * 1024))
"$lethe" plan "$work/run" --gpus 1 >/dev/null || complain "a run's folder as the recipe"

# many GPUs
large=recipes/mae/pretrain_vit_large.json
"$lethe" plan $large --gpus 8,64,512 --link 300 --json "$work/none.json" >"$work/log" || complain "plan of ViT-L"
"$lethe" plan $large --gpus 8,64,512 --link 300 --json "$work/shard.json" --set train.shard=optimizer >/dev/null
read -r a b c <<<"$(each "$work/none.json" images_per_second)"
awk -v a="$a" -v b="$b" -v c="$c" 'BEGIN { exit !(a > 0 && b > a && c > b && b <= 8 * a && c <= 64 * a) }' ||
    complain "images a second on 8, 64, 512 GPUs: $a $b $c"
# bytes: of the processor, then for each row whole and sharded
set -- $(each "$work/none.json" bytes)
for pair in "$2 $3" "$4 $5" "$6 $7"; do
    read -r whole sharded <<<"$pair"
    [ "$sharded" -lt "$whole" ] || complain "sharding saves nothing: $whole to $sharded bytes"
done
set -- $(each "$work/none.json" optimizer)
[ "$3" = $((($2 + 7) / 8)) ] || complain "an eighth of the moments is $3 of $2 bytes"
# 64 GPUs, 2 (n - 1) / n of 4 bytes a gradient at 300 GB/s; sharded as much, weights instead of sums
read -r _ t _ <<<"$(each "$work/none.json" communication_seconds)"
read -r _ s _ <<<"$(each "$work/shard.json" communication_seconds)"
awk -v t="$t" -v s="$s" -v n="$(json "$work/none.json" parameters)" \
    'BEGIN { w = 2 * 63 / 64 * 4 * n / 300e9; exit !(t > 0.999 * w && t < 1.001 * w && s > 0.999 * w && s < 1.001 * w) }' ||
    complain "communication: $t s, sharded $s s"
read -r slow _ <<<"$("$lethe" plan $large --gpus 8 --rate 100 --json "$work/slow.json" >/dev/null; each "$work/slow.json" images_per_second)"
awk -v a="$a" -v b="$slow" 'BEGIN { exit !(b > a / 8 && b < a / 6) }' || complain "at a rate of 100 in place of 650: $slow, not $a"

# mistakes: one line each
refused() { # refused PATTERN ARGUMENTS...
    local pattern=$1 out status
    shift
    out=$("$lethe" plan "$@" 2>&1 >/dev/null)
    status=$?
    [ $status = 1 ] && [ "$(printf '%s\n' "$out" | wc -l)" = 1 ] && printf '%s' "$out" | grep -qE -- "$pattern" ||
        complain "plan $*: status $status, wanted /$pattern/, got: $out"
}
refused 'one recipe'
refused 'nothere' "$work/nothere.json"
refused '--gpus.*8,64' $large --gpus 8,x
refused '--gpus' $large --gpus 0
refused '--gpus' $large --gpus 8,
refused '--gpus' $large --gpus ''
refused 'train\.batch is 4096.* 3 GPUs' $large --gpus 8,3
refused '--rate.*fast' $large --rate fast
refused '--link' $large --link -1
refused '--fraction' $large --fraction 2
refused '--memory' $large --memory nan
refused 'model\.classes' recipes/mae/finetune_vit_base.json
refused 'train\.bacth.*train\.batch' $large --set train.bacth=8
refused 'unknown option' $large --gpu 8
"$lethe" plan recipes/mae/finetune_vit_base.json --set model.classes=1000 >/dev/null || complain "model.classes on the command line"
"$lethe" plan recipes/mae/linprobe_vit_base.json --set model.classes=1000 --set train.shard=optimizer >"$work/log" || complain "lars"
exit $failed
