#!/bin/bash
# A rank that dies, stops or fails ends the whole job within ten seconds, with one message that names it, and the last
# checkpoint goes on to the same bytes. SIGTERM and SIGUSR1 end in a checkpoint. Usage: tests/test_rank_faults.sh [BUILD]
set -u
[ -z "${LETHE_QUICK:-}" ] || { echo "skipped: sanitizers do not share a program with LD_PRELOAD"; exit 77; }
. tests/sandbox.sh
. tests/ranks.sh
faults=$PWD/$build/tests/faults.so
steps=200
fast="--set train.steps=$steps --set train.checkpoint_every=20 --set train.eval_every=0 --set train.log_every=1000"

# one rank alone gets an environment: as RANK NAME=VALUE...
cat >"$work/as" <<'SH'
#!/bin/bash
rank=$1
shift
while [[ $1 == *=* ]]; do
    [ "$OMPI_COMM_WORLD_RANK" = "$rank" ] && export "${1?}"
    shift
done
exec "$@"
SH
chmod +x "$work/as"

# shellcheck disable=SC2086
train 4 "$work/whole" $fast >"$work/log" 2>&1 || complain "undisturbed: $(tail -3 "$work/log")"

# ended RANK SINCE STATUS [MORE]: what must hold of a job that lost a rank. MORE seconds are allowed where SINCE is the
# start of the job: finding the machine's own name can take mpirun long.
ended() {
    local took=$(($(date +%s) - $2))
    [ "$3" != 0 ] || complain "$what: status 0"
    [ "$3" -lt 124 ] || [ "$3" -gt 124 ] || complain "$what: hangs"
    [ "$took" -le $((10 + ${4:-0})) ] || complain "$what: ended after $took s"
    [ "$(grep -c "rank $1" "$work/log")" = 1 ] || complain "$what: rank $1 is not named once: $(cat "$work/log")"
}
# goes_on: the job's folder, resumed by four ranks, ends as if nothing had been
goes_on() {
    # shellcheck disable=SC2086
    train 4 "$work/cut" --resume $fast >"$work/log" 2>&1 || complain "$what, resumed: $(tail -3 "$work/log")"
    grep -q "resuming .* after update" "$work/log" || complain "$what: began anew"
    cmp "$work/whole/checkpoints/last/model.safetensors" "$work/cut/checkpoints/last/model.safetensors" || complain "$what: other weights"
    rm -rf "$work/cut"
}
# begin [ARGUMENT]...: a long job in the background, until it has a checkpoint
begin() {
    train 4 "$work/cut" $fast --set train.steps=100000 "$@" >"$work/log" 2>&1 &
    job=$!
    for _ in $(seq 600); do [ -e "$work/cut/checkpoints/last" ] && return; sleep 0.05; done
    complain "$what: no checkpoint after 30 s: $(tail -3 "$work/log")"
}

what="SIGKILL in a step"
begin
since=$(date +%s)
kill -9 "$(process_of 2)"
wait $job
ended 2 "$since" $?
goes_on

what="SIGKILL while gradients travel"
since=$(date +%s)
launch="mpirun -np 4 $work/as 1 LETHE_FAULT_REDUCE=50 LD_PRELOAD=$faults" train 4 "$work/cut" $fast >"$work/log" 2>&1
ended 1 "$since" $? 15
goes_on

what="SIGKILL while a checkpoint is written"
since=$(date +%s)
launch="mpirun -np 4 $work/as 0 LETHE_FAULT=write:110:TEAR LD_PRELOAD=$faults" train 4 "$work/cut" $fast >"$work/log" 2>&1
ended 0 "$since" $? 15
goes_on

what="a rank that hangs"
begin --set train.comm_timeout=2
since=$(date +%s)
kill -STOP "$(process_of 3)"
wait $job
ended 3 "$since" $?
grep -q "waited [2-9] s in .* for rank 3 on" "$work/log" || complain "$what: $(cat "$work/log")"
goes_on

for signal in TERM USR1; do
    what="SIG$signal to one rank"
    begin
    kill -$signal "$(process_of 1)"
    wait $job || complain "$what: status $?"
    grep -q "stopped by SIG$signal after update" "$work/log" || complain "$what: $(cat "$work/log")"
    at=$(sed -nE 's/.*stopped by .* after update ([0-9]+);.*/\1/p' "$work/log")
    [ "$(readlink "$work/cut/checkpoints/last")" = "$at" ] || complain "$what: no checkpoint of update $at"
    steps_before=$steps
    # the undisturbed run may be over by now: go on to a later end, both
    steps=$((at + 20))
    fast="--set train.steps=$steps --set train.checkpoint_every=20 --set train.eval_every=0 --set train.log_every=1000"
    rm -rf "$work/whole"
    # shellcheck disable=SC2086
    train 4 "$work/whole" $fast >/dev/null 2>&1
    goes_on
    steps=$steps_before
    fast="--set train.steps=$steps --set train.checkpoint_every=20 --set train.eval_every=0 --set train.log_every=1000"
done

what="SIGTERM to one process without mpirun"
"$lethe" train "$work/recipe.json" --set data.train="$work/faces/train" --out "$work/alone" --set train.steps=100000 --set train.eval_every=0 >"$work/log" 2>&1 &
job=$!
for _ in $(seq 200); do [ -e "$work/alone/checkpoints/last" ] && break; sleep 0.05; done
kill -TERM $job
wait $job || complain "$what: status $?"
grep -q "stopped by SIGTERM" "$work/log" || complain "$what: $(cat "$work/log")"

# an error of one rank, and one that all have
what="an image that one rank cannot read"
cp -r "$work/faces" "$work/hurt"
head -c 300 "$work/faces/train/person_0003/0002.jpg" >"$work/hurt/train/person_0003/0002.jpg"
since=$(date +%s)
train 4 "$work/hurtrun" --set data.train="$work/hurt/train" --set data.corrupt=stop >"$work/log" 2>&1
status=$?
[ $status = 1 ] && [ $(($(date +%s) - since)) -le 25 ] || complain "$what: status $status"
[ "$(grep -c "^lethe: rank [0-3] on .*person_0003/0002.jpg" "$work/log")" = 1 ] && [ "$(grep -c "^lethe:" "$work/log")" = 1 ] || complain "$what: $(cat "$work/log")"
what="a loss that is not finite"
train 4 "$work/wild" --set optim.lr=1000 --set schedule.warmup_epochs=0 >"$work/log" 2>&1
status=$?
[ $status = 1 ] && [ "$(grep -c "is not finite" "$work/log")" = 1 ] || complain "$what: status $status: $(cat "$work/log")"
what="a misspelt key"
train 4 "$work/key" --set train.bacth=4 >"$work/log" 2>&1 && complain "$what: status 0"
[ "$(grep -c "^lethe:" "$work/log")" = 1 ] && ! grep -q "^lethe: rank" "$work/log" || complain "$what: $(cat "$work/log")"
exit $failed
