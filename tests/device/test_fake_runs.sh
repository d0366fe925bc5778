#!/bin/bash
# Whole runs on the fake GPU (tests/device/fake): they learn what the processor learns, to rounding; captured or not,
# killed and resumed, they end in the same bits; two ranks with a GPU each learn what one does, with and without
# sharding; evaluation, traces and errors are as on the processor. Usage: tests/device/test_fake_runs.sh [BUILD]
set -u
. tests/sandbox.sh
fake=$PWD/$build/fake/lethe
. tests/ranks.sh
lethe_cpu=$lethe
steps=20
gpu() { # gpu OUT [ARGUMENT]...: one rank on the fake
    lethe=$fake train 1 "$@" --device cuda
}
cp "$work/recipe.json" "$work/mae.json"
sed -E 's/"heads": 2,/"heads": 2},/; /decoder_dim/d' "$work/mae.json" >"$work/classify.json"

launch="env" train 1 "$work/cpu" >"$work/log" 2>&1 || complain "processor: $(tail -3 "$work/log")"
for kind in true false; do
    launch="env" gpu "$work/graph_$kind" --set train.cuda_graph=$kind >"$work/log" 2>&1 || complain "GPU, cuda_graph $kind: $(tail -3 "$work/log")"
done
same_curve "$work/graph_true" "$work/cpu" 1e-5 || complain "the GPU learns otherwise than the processor"
for f in model optimizer ema; do
    cmp "$work/graph_true/checkpoints/last/$f.safetensors" "$work/graph_false/checkpoints/last/$f.safetensors" || complain "captured or not: $f differs"
done

# half a run, and on; on the processor, too
launch="env" gpu "$work/half" --set train.steps=10 >/dev/null 2>&1
cp -r "$work/half" "$work/half_cpu"
launch="env" gpu "$work/half" --resume >"$work/log" 2>&1 || complain "resuming: $(tail -3 "$work/log")"
for f in model optimizer ema; do
    cmp "$work/graph_true/checkpoints/last/$f.safetensors" "$work/half/checkpoints/last/$f.safetensors" || complain "resumed: $f differs"
done
launch="env" train 1 "$work/half_cpu" --resume --set device=cpu >"$work/log" 2>&1 || complain "resuming on the processor: $(tail -3 "$work/log")"
sed -i '/"step": 10,.*"eval"/d' "$work/half_cpu/metrics.jsonl"
same_curve "$work/half_cpu" "$work/cpu" 1e-5 || complain "the processor goes on otherwise"

# two ranks, a GPU each
export LETHE_FAKE_GPUS=2
for shard in none optimizer; do
    lethe=$fake train 2 "$work/two_$shard" --device cuda --set train.shard=$shard --set train.bucket_mb=1 >"$work/log" 2>&1 || complain "two ranks, shard $shard: $(tail -3 "$work/log")"
    same_curve "$work/two_$shard" "$work/cpu" 1e-5 || complain "two ranks, shard $shard, learn otherwise"
done
for f in model optimizer ema; do
    cmp "$work/two_none/checkpoints/last/$f.safetensors" "$work/two_optimizer/checkpoints/last/$f.safetensors" || complain "sharded: $f differs"
done
lethe=$fake train 2 "$work/two_none" --resume --device cuda --set train.steps=24 --set train.shard=optimizer >"$work/log" 2>&1 || complain "two ranks resumed: $(tail -3 "$work/log")"
lethe=$fake train 4 "$work/many" --device cuda >"$work/log" 2>&1 && complain "four ranks on two GPUs"
[ "$(grep -c "^lethe:.*4 ranks on .* 2 GPUs" "$work/log")" = 1 ] || complain "four ranks on two GPUs: $(cat "$work/log")"

# other kinds of training: against the processor, one rank and two
compare() { # compare NAME RECIPE LIMIT [ARGUMENT]...
    local name=$1 limit=$3
    cp "$work/$2.json" "$work/recipe.json"
    shift 3
    lethe=$lethe_cpu launch="env" train 1 "$work/$name.cpu" "$@" >"$work/log" 2>&1 || complain "$name, processor: $(tail -3 "$work/log")"
    for n in 1 2; do
        lethe=$fake train $n "$work/$name.$n" --device cuda "$@" >"$work/log" 2>&1 || complain "$name, $n GPUs: $(tail -3 "$work/log")"
        same_curve "$work/$name.$n" "$work/$name.cpu" "$limit" || complain "$name: $n GPUs learn otherwise"
    done
}
compare probe classify 2e-5 --set task=classify --set model.train=probe --set optim.name=lars --set optim.lr=0.1
compare mixed classify 2e-5 --set task=classify --set data.mixup=0.8 --set data.cutmix=1 --set model.drop_path=0.2 --set optim.layer_decay=0.7
compare small classify 2e-2 --set task=classify --set dtype=bf16 --set optim.name=sgd --set optim.lr=0.01
compare parts mae 1e-5 --set train.accumulate=2 --set model.recompute=true --set optim.clip=0.3 --set data.drop_last=false --set train.batch=20
compare half mae 2e-2 --set dtype=bf16 --set optim.name=sgd --set optim.lr=0.01
"$lethe_cpu" synth shapes --out "$work/shapes" --count 10 --size 64 --seed 5 >/dev/null || exit 1
cat >"$work/segment.json" <<'JSON'
{"task": "segment", "seed": 7, "model": {"size": "micro", "image_size": 64, "hq": false},
 "segment": {"rounds": 2, "points": 64, "eval_clicks": 1},
 "data": {"geometry": "longest", "masks_per_image": 1, "eval_masks": 2},
 "train": {"batch": 2, "epochs": 1000, "steps": 20, "eval_every": 0, "log_every": 1},
 "optim": {"lr": 0.0005}, "schedule": {"warmup_epochs": 1}}
JSON
shapes=(--set data.train="$work/shapes/train.json" --set data.test="$work/shapes/test.json")
# a click is a pixel: where rounding moves one, a loss jumps
compare sam segment 1e-2 "${shapes[@]}"
compare hq segment 1e-3 "${shapes[@]}" --set model.hq=true --set segment.train=hq
cp "$work/mae.json" "$work/recipe.json"

# evaluation, a trace, a loss that is not finite
"$fake" eval "$work/cpu" --checkpoint "$work/graph_true" --json "$work/gpu.json" --device cuda >"$work/log" 2>&1 || complain "eval: $(cat "$work/log")"
"$lethe" eval "$work/cpu" --checkpoint "$work/graph_true" --json "$work/cpu.json" >/dev/null 2>&1
cmp <(sed -E 's/("loss": [0-9]\.[0-9]{5})[0-9]*/\1/' "$work/gpu.json") <(sed -E 's/("loss": [0-9]\.[0-9]{5})[0-9]*/\1/' "$work/cpu.json") || complain "eval: $(cat "$work/gpu.json")"
launch="env" gpu "$work/traced" --set train.steps=3 --trace "$work/trace.json" >"$work/log" 2>&1 || complain "trace: $(tail -3 "$work/log")"
for phase in upload forward backward reduce optimizer; do
    grep -q "\"name\": \"$phase\", \"ph\": \"X\", \"pid\": 0, \"tid\": 2" "$work/trace.json" || complain "the trace has no $phase"
done
launch="env" gpu "$work/wild" --set optim.lr=1000 --set schedule.warmup_epochs=0 >"$work/log" 2>&1 && complain "a loss that is not finite: status 0"
grep -q "is not finite; the first tensor that went bad: the " "$work/log" || complain "a loss that is not finite: $(cat "$work/log")"
LETHE_FAKE_GPUS=0 "$fake" train "$work/recipe.json" --device cuda --set data.train="$work/faces/train" --out "$work/none" >"$work/log" 2>&1 && complain "no GPU: status 0"
[ "$(grep -c "^lethe:" "$work/log")" = 1 ] || complain "no GPU: $(cat "$work/log")"
exit $failed
