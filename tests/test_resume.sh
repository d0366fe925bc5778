#!/bin/bash
# A run killed with SIGKILL at 20 moments, ten of them inside a checkpoint write, ends with the very bytes of a run
# that nobody disturbed. A full disk during a checkpoint leaves the one before usable and says so.
# Usage: tests/test_resume.sh [BUILD]. With LETHE_QUICK (sanitizers do not share a program with LD_PRELOAD) there are six
# kills, all by the clock, of a shorter run, and the full disk is left out.
set -u
quick=${LETHE_QUICK:-}
runs=${quick:+6} runs=${runs:-20} steps=${quick:+1500} steps=${steps:-5000}
. tests/sandbox.sh
faults=$PWD/$build/tests/faults.so

fail() { echo "test_resume: $*" >&2; exit 1; }

"$lethe" synth faces --out "$work/faces" --count 64 --identities 4 --size 32 --seed 5 >/dev/null || fail "synth"
cat >"$work/recipe.json" <<JSON
{"task": "mae", "seed": 7,
 "model": {"size": "micro", "image_size": 32, "patch": 8, "dim": 32, "depth": 2, "heads": 2,
           "decoder_dim": 32, "decoder_depth": 1, "decoder_heads": 2},
 "train": {"batch": 8, "eval_every": 20, "epochs": 1000, "steps": $steps, "log_every": 5, "checkpoint_every": 20, "keep": 2},
 "optim": {"blr": 0.01, "ema": 0.9}, "schedule": {"warmup_epochs": 2}}
JSON
command=("$lethe" train "$work/recipe.json" --set data.train="$work/faces/train" --set data.test="$work/faces/test")
train() { "${command[@]}" "$@"; }

began=$(date +%s%N)
train --out "$work/whole" >"$work/whole.log" 2>&1 || { cat "$work/whole.log"; fail "the undisturbed run failed"; }
whole=$((($(date +%s%N) - began) / 1000)) # in microseconds

# ten kills by the clock, ten before or in the middle of the n-th write, fsync, rename or link of a checkpoint
kills=0
RANDOM=4
for i in $(seq $runs); do
    if [ $((i % 2)) = 0 ] || [ -n "$quick" ]; then
        "${command[@]}" --out "$work/cut" --resume >"$work/cut.log" 2>&1 &
        pid=$!
        sleep "$(awk "BEGIN { print $whole * (5 + $((RANDOM % 30))) * 1e-9 }")" # 5 to 35 thousandths of the run
        kill -9 $pid 2>/dev/null && kills=$((kills + 1))
        wait $pid 2>/dev/null
    else
        kind=$(set -- any write sync rename link; shift $((RANDOM % 5)); echo "$1")
        action=KILL
        [ "$kind" = write ] && action=TEAR
        LETHE_FAULT=$kind:$((RANDOM % 90 + 5)):$action LD_PRELOAD=$faults train --out "$work/cut" --resume >"$work/cut.log" 2>&1
        [ $? -gt 128 ] && kills=$((kills + 1))
    fi
done
[ "$kills" = "$runs" ] || fail "only $kills of $runs kills met a running program"
train --out "$work/cut" --resume >"$work/cut.log" 2>&1 || { cat "$work/cut.log"; fail "the last resume failed"; }
for f in model optimizer ema; do
    cmp "$work/whole/checkpoints/last/$f.safetensors" "$work/cut/checkpoints/last/$f.safetensors" ||
        fail "$f.safetensors differs after $kills kills"
done
rows() { sed -E 's/, "images_per_second": [^,}]*//' "$1/metrics.jsonl"; }
cmp <(rows "$work/whole") <(rows "$work/cut") || fail "metrics.jsonl differs"

[ -n "$quick" ] && { echo "test_resume: $kills kills, the same bytes"; exit 0; }

# a disk that is full from the 10th write of the resumed run on
mkdir "$work/full"
cp -r "$work/cut/." "$work/full"
rm -rf "$work/full/checkpoints/$steps" "$work/full/checkpoints/last"
last=$(ls "$work/full/checkpoints" | grep -E '^[0-9]+$' | sort -n | tail -1)
ln -s "$last" "$work/full/checkpoints/last"
LETHE_FAULT=write:10:FULL LD_PRELOAD=$faults train --out "$work/full" --resume >"$work/full.log" 2>&1
[ $? = 1 ] || fail "a full disk must end the run with status 1"
grep -qi 'space' "$work/full.log" || { cat "$work/full.log"; fail "a full disk is not named"; }
"$lethe" inspect "$work/full" >/dev/null || fail "the checkpoint before the full disk is not usable"
train --out "$work/full" --resume >"$work/full.log" 2>&1 || fail "resuming after the full disk failed"
cmp "$work/whole/checkpoints/last/model.safetensors" "$work/full/checkpoints/last/model.safetensors" || fail "weights differ after a full disk"
echo "test_resume: $kills kills, the same bytes"
