#!/bin/bash
# Runs under mpirun on this machine: 1, 2 and 4 ranks learn the same, to rounding, with and without sharding, also
# where batch statistics and mixing cross the ranks; two runs are equal to the bit; a checkpoint of four ranks goes
# on with two; evaluation counts every sample once; traces hold every rank. Usage: tests/test_ranks.sh [BUILD]
set -u
. tests/sandbox.sh
. tests/ranks.sh

for n in 1 2 4; do
    train "$n" "$work/r$n" --trace "$work/trace$n.json" >"$work/log" 2>&1 || complain "$n ranks: $(tail -3 "$work/log")"
done
for n in 2 4; do
    same_curve "$work/r$n" "$work/r1" 1e-5 || complain "$n ranks learn otherwise than one"
done
train 2 "$work/again" >/dev/null 2>&1
cmp -s "$work/r2/checkpoints/last/model.safetensors" "$work/again/checkpoints/last/model.safetensors" || complain "two runs of two ranks differ"
[ "$(grep -c '"grad_norm"' "$work/r2/metrics.jsonl")" = 20 ] && [ "$(grep -c '"grad_norm"' "$work/r4/metrics.jsonl")" = 20 ] || complain "rows of metrics.jsonl"

# sharded: the same bits as unsharded; three ranks divide unevenly; the moments travel into the checkpoint whole
train 2 "$work/shard" --set train.shard=optimizer >"$work/log" 2>&1 || complain "sharded: $(tail -3 "$work/log")"
for f in model optimizer ema; do
    cmp "$work/r2/checkpoints/last/$f.safetensors" "$work/shard/checkpoints/last/$f.safetensors" || complain "sharded: $f differs"
done
train 3 "$work/three" --set train.shard=optimizer --set train.batch=15 --set train.bucket_mb=1 >"$work/log" 2>&1 || complain "three ranks: $(tail -3 "$work/log")"
train 1 "$work/fifteen" --set train.batch=15 >"$work/log" 2>&1
same_curve "$work/three" "$work/fifteen" 1e-5 || complain "three sharded ranks learn otherwise than one"

# four ranks stop half way, two go on, unsharded and sharded
train 4 "$work/half" --set train.steps=10 --set train.shard=optimizer >/dev/null 2>&1 || complain "half a run"
train 2 "$work/half" --resume >"$work/log" 2>&1 || complain "going on with two ranks: $(tail -3 "$work/log")"
sed -i '/"step": 10,.*"eval"/d' "$work/half/metrics.jsonl" # the end of a run evaluates
same_curve "$work/half" "$work/r1" 1e-5 || complain "two ranks go on otherwise than four began"
train 1 "$work/one" --set train.steps=10 >/dev/null 2>&1
train 3 "$work/one" --resume --set train.shard=optimizer >"$work/log" 2>&1 && complain "a batch of 16 was shared by three"
grep -q "3 ranks cannot share" "$work/log" || complain "an uneven batch: $(cat "$work/log")"
[ "$(grep -c "^lethe:" "$work/log")" = 1 ] || complain "the error is told more than once: $(cat "$work/log")"

# batch statistics, mixing, accumulation, segments run again, short last batches
for more in "--set task=classify --set model.train=probe --set optim.name=lars --set optim.lr=0.1" \
    "--set task=classify --set data.mixup=0.8 --set data.cutmix=1 --set model.drop_path=0.2 --set optim.layer_decay=0.7" \
    "--set train.accumulate=2 --set model.recompute=true --set optim.clip=0.3 --set data.drop_last=false --set train.batch=20"; do
    sed -E 's/"heads": 2,/"heads": 2},/; /decoder_dim/d' "$work/recipe.json" >"$work/plain.json"
    for n in 1 2; do
        case $more in *classify*) from=$work/plain.json ;; *) from=$work/recipe.json ;; esac
        # shellcheck disable=SC2086
        timeout 120 mpirun -np $n "$lethe" train "$from" --set data.train="$work/faces/train" --set data.test="$work/faces/test" \
            --out "$work/more$n" $more >"$work/log" 2>&1 || complain "$n ranks, $more: $(tail -3 "$work/log")"
    done
    same_curve "$work/more2" "$work/more1" 1e-5 || complain "two ranks learn otherwise than one: $more"
    rm -rf "$work/more1" "$work/more2"
done

# evaluation: every sample once, on any number of ranks
for n in 1 2 3; do
    mpirun -np $n "$lethe" eval "$work/r2" --checkpoint "$work/r2" --json "$work/eval$n.json" >"$work/log" 2>&1 || complain "eval on $n ranks: $(cat "$work/log")"
    [ "$(grep -c " samples: " "$work/log")" = 1 ] || complain "eval on $n ranks speaks more than once: $(cat "$work/log")"
done
for n in 2 3; do
    cmp <(sed -E 's/("loss": [0-9]\.[0-9]{5})[0-9]*/\1/' "$work/eval$n.json") <(sed -E 's/("loss": [0-9]\.[0-9]{5})[0-9]*/\1/' "$work/eval1.json") ||
        complain "eval on $n ranks: $(cat "$work/eval$n.json")"
done
mpirun -np 2 "$lethe" inspect "$work/r2" >"$work/log" 2>&1 && complain "inspect ran on two ranks"
[ "$(grep -c "runs as one process" "$work/log")" = 1 ] || complain "inspect on two ranks: $(cat "$work/log")"

# the trace: every rank, every phase; a sum of gradients that began before backward ended
for n in 2 4; do
    for ((r = 0; r < n; r++)); do
        for phase in load forward backward reduce all-reduce optimizer checkpoint evaluate; do
            grep -q "\"name\": \"$phase\", \"ph\": \"X\", \"pid\": $r," "$work/trace$n.json" || complain "trace of $n ranks: rank $r has no $phase"
        done
    done
done
train 2 "$work/large" --set model.dim=192 --set model.depth=4 --set train.batch=64 --set train.steps=5 --set train.bucket_mb=1 --set train.eval_every=0 \
    --trace "$work/large.json" >"$work/log" 2>&1 || complain "a larger model: $(tail -3 "$work/log")"
awk -F'[:,] ' '/"all-reduce"/ { n++ }
    /"(backward|all-reduce)"/ { gsub(/[,}]/, "", $12)
        if ($2 ~ /backward/) { end[$6] = $10 + $12 } else if ($10 < end[$6]) { early++ } }
    END { exit !(n >= 60 && early > n / 4) }' "$work/large.json" || complain "too few sums of gradients began while backward ran"

# mpirun binds two ranks or fewer to a processor each: said once, and only where it wastes processors
if [ "$(nproc)" -gt 1 ]; then
    train 1 "$work/bound" >"$work/log" 2>&1
    grep -q "mpirun bound each of 1 ranks" "$work/log" || complain "one bound rank is not told: $(head -3 "$work/log")"
    launch="mpirun --bind-to none -np 1" train 1 "$work/free" >"$work/log" 2>&1
    grep -q "mpirun bound" "$work/log" && complain "an unbound rank is told it is bound"
fi
exit $failed
