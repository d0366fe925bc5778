#!/bin/bash
# report.html as the verbs write it: of a classifier and of a model that draws, with pictures and without, the
# same of two ranks, and of lethe audit.
# Usage: tests/test_unlearn_report.sh [BUILD]
set -u
. tests/sandbox.sh
export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1 OMPI_MCA_rmaps_base_oversubscribe=1
[ -z "${LETHE_QUICK:-}" ] || export ASAN_OPTIONS=${ASAN_OPTIONS:-}:detect_leaks=0 # of what MPI keeps to the end
export XDG_CONFIG_HOME=$work/config # the key that signs records
umask 022
failed=0
complain() { echo "test_unlearn_report: $*" >&2; failed=1; }

"$lethe" synth faces --out "$work/faces" --count 60 --identities 4 --size 32 --seed 1 >/dev/null || exit 1
cat >"$work/c.json" <<'JSON'
{"task": "classify", "dtype": "f32", "model": {"image_size": 32, "patch": 8, "dim": 32, "depth": 1, "heads": 2},
 "data": {"eval_crop": 1}, "train": {"batch": 8, "epochs": 3}, "optim": {"lr": 0.002}}
JSON
cat >"$work/m.json" <<'JSON'
{"task": "mae", "dtype": "f32", "model": {"image_size": 32, "patch": 8, "dim": 32, "depth": 1, "heads": 2, "decoder_dim": 32,
 "decoder_depth": 1, "decoder_heads": 2}, "train": {"batch": 8, "epochs": 2}, "optim": {"lr": 0.001}}
JSON
echo '{"unlearn": {"method": "fine_tune", "fine_tune": {"epochs": 1}}, "audit": {"relearn_steps": 5, "probe_folds": 2}}' >"$work/u.json"
for task in c m; do
    "$lethe" train "$work/$task.json" --set data.train="$work/faces/train" --set data.test="$work/faces/test" \
        --out "$work/$task" >/dev/null 2>&1 || { complain "training $task"; exit 1; }
done
forget() { # forget OUT TASK [OPTIONS]
    local out=$1 task=$2
    shift 2
    "$lethe" unlearn "$work/u.json" --checkpoint "$work/$task" --forget identity=person_0002 --out "$work/$out" "$@" \
        >"$work/log" 2>&1 || { complain "$out: $(tail -1 "$work/log")"; return 1; }
    [ -s "$work/$out/report.html" ] || complain "$out: no report.html"
}
pictures() { grep -so '<img ' "$work/$1" | wc -l; } # pictures PAGE

forget one c && [ "$(pictures one.report.html)" -gt 0 ] || complain "a classifier's report has no pictures"
grep -q person_0002 "$work/one.report.html" || complain "the page beside the output does not say who"
[ "$(pictures one/report.html)" = 0 ] && ! grep -q person_0002 "$work/one/report.html" || complain "the page in the output shows who"
grep -q 'No reference was given' "$work/one/report.html" || complain "a reference that nobody gave"
mode() { stat -c %a "$work/$1"; }
[ "$(mode one.report.html)" = 600 ] && [ "$(mode one.opening.json)" = 600 ] || complain "what says who has modes $(mode one.report.html) $(mode one.opening.json)"
[ "$(mode one/report.html)" = 644 ] || complain "the page in the output has mode $(mode one/report.html)"
echo "of an output that is gone" >"$work/bare.report.html"
forget bare c --no-pictures && [ ! -e "$work/bare.report.html" ] || complain "--no-pictures leaves pictures"
forget beside c --reference "$work/one" && grep -q 'as if never seen' "$work/beside/report.html" || complain "no reference"
grep -q '"rte": {"value": [1-9]' "$work/beside/audit.json" || complain "no time ratio beside a reference that lethe unlearn made"
forget drawn m && [ "$(pictures drawn.report.html)" -gt 1 ] && grep -q psnr "$work/drawn.report.html" || complain "a drawn report"

# the weights that were written are those of before the audit and its pictures
cmp -s "$work/one/checkpoints/last/model.safetensors" "$work/bare/checkpoints/last/model.safetensors" || complain "weights differ"

mkdir "$work/audit" && touch "$work/audit/report.html" # it stays private where it replaces one that is not
"$lethe" audit "$work/u.json" --before "$work/c" --after "$work/one" --after "$work/bare" --reference "$work/one" --forget identity=person_0002 \
    --out "$work/audit" --no-pictures >"$work/log" 2>&1 || complain "audit: $(tail -1 "$work/log")"
[ "$(pictures audit/report.html)" = 0 ] && grep -q 'Means over 2 models' "$work/audit/report.html" || complain "the audit's report"
[ "$(mode audit/report.html)" = 600 ] || complain "the audit's page, which says who, has mode $(mode audit/report.html)"
grep -q '"rte": {"value": [1-9]' "$work/audit/audit.json" || complain "lethe audit: no time ratio"

# shadows that have all the same weights (nothing is learnt, all begin with one model) are told apart by nothing that is drawn
cat >"$work/still.json" <<JSON
{"unlearn": {"method": "fine_tune", "fine_tune": {"epochs": 1, "lr": 0, "weight_decay": 0}, "retrain": {"init": "$work/m"}},
 "audit": {"relearn_steps": 0, "quantise": false, "probe": false}}
JSON
"$lethe" audit "$work/still.json" --before "$work/m" --after "$work/m" --forget identity=person_0002 --set optim.lr=1e-30 --set train.epochs=1 \
    --shadows 6 --no-pictures --out "$work/shadows" >"$work/log" 2>&1 || complain "shadows: $(tail -1 "$work/log")"
grep -q '"lira_auc": {"value": 0.5}' "$work/shadows/audit.json" || complain "equal shadows differ: $(grep -o '"lira_auc[^}]*}' "$work/shadows/audit.json")"
# it judges the recipe's method, and says so where the model after is another's work; a seed makes no other method
shadows() { # shadows OUT AFTER [OPTIONS]
    "$lethe" audit "$work/u.json" --before "$work/c" --after "$work/$2" --forget identity=person_0002 --set audit.relearn_steps=0 \
        --set audit.quantise=false --shadows 6 --no-pictures --out "$work/$1" "${@:3}" >"$work/log" 2>&1 || complain "$1: $(tail -1 "$work/log")"
}
shadows same one --set unlearn.seed=3
grep -q 'warning: .*U-LiRA' "$work/log" && complain "a warning of the same method: $(grep warning "$work/log")"
shadows slower one --set unlearn.fine_tune.lr=0.02
grep -q 'warning: .*/one: U-LiRA judges .*unlearn.fine_tune.lr is 0.01 .*0.02 here' "$work/log" || complain "other settings: $(head -2 "$work/log")"
shadows scrub one --set unlearn.method=scrub --set unlearn.scrub.epochs=1
grep -q 'warning: .*unlearn.method is "fine_tune" in its recipe, and "scrub" here' "$work/log" || complain "another method: $(head -2 "$work/log")"
shadows none c
grep -q 'warning: .*/c: .*names no method' "$work/log" || complain "no method: $(head -2 "$work/log")"

timeout -k 5 120 mpirun -np 2 "$lethe" unlearn "$work/u.json" --checkpoint "$work/m" --forget identity=person_0002 --out "$work/two" >"$work/log" 2>&1 ||
    complain "two ranks: $(tail -1 "$work/log")"
[ "$(pictures two.report.html)" = "$(pictures drawn.report.html)" ] || complain "two ranks have other pictures than one"
exit $failed
