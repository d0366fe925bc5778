#!/bin/bash
# Two ranks on two hosts, here two network namespaces joined by a cable of their own: over TCP they learn to the bit what
# they learn through shared memory, and when the cable is pulled the job ends with a message instead of hanging.
# Usage: tests/test_network.sh [BUILD]. Needs root and network namespaces; else it is skipped.
set -u
[ "$(id -u)" = 0 ] && command -v ip >/dev/null && command -v unshare >/dev/null || { echo "skipped: needs root, ip and unshare"; exit 77; }
. tests/sandbox.sh
. tests/ranks.sh
a=lethe$$a b=lethe$$b
clean() {
    ip netns pids $a 2>/dev/null | xargs -r kill -9
    ip netns pids $b 2>/dev/null | xargs -r kill -9
    ip netns del $a 2>/dev/null
    ip netns del $b 2>/dev/null
}
ip netns add $a 2>/dev/null && ip netns add $b 2>/dev/null || { clean; echo "skipped: network namespaces are not allowed here"; exit 77; }
trap 'clean; wait; rm -rf "$work"' EXIT
ip -n $a link add cable type veth peer name cable netns $b || { clean; echo "skipped: no veth here"; exit 77; }
ip -n $a addr add 10.77.0.1/24 dev cable && ip -n $b addr add 10.77.0.2/24 dev cable || exit 1
for n in $a $b; do
    ip -n $n link set lo up
    ip -n $n link set cable up
done

# what mpirun calls instead of ssh: HOST COMMAND...
cat >"$work/shell" <<SH
#!/bin/bash
shift
exec ip netns exec $b unshare -u bash -c "hostname second; \$*"
SH
# the first host: a name of its own too, so that the two do not take each other for one machine
cat >"$work/first" <<SH
#!/bin/bash
exec ip netns exec $a unshare -u bash -c 'hostname first; exec "\$@"' - "\$@"
SH
chmod +x "$work/shell" "$work/first"
over_tcp="$work/first mpirun -np 2 -H first:1,10.77.0.2:1 --mca plm_rsh_agent $work/shell --mca btl tcp,self \
    --mca pml ob1 --mca oob_tcp_keepalive_time 2 --mca oob_tcp_keepalive_intvl 1 --mca oob_tcp_keepalive_probes 2 \
    --mca orte_keep_fqdn_hostnames 1 --mca btl_tcp_if_include cable --mca oob_tcp_if_include cable"

train 2 "$work/memory" >"$work/log" 2>&1 || complain "shared memory: $(tail -3 "$work/log")"
launch=$over_tcp train 2 "$work/tcp" --trace "$work/trace.json" >"$work/log" 2>&1 || complain "TCP: $(tail -20 "$work/log")"
cmp "$work/memory/checkpoints/last/model.safetensors" "$work/tcp/checkpoints/last/model.safetensors" || complain "TCP: other weights"
grep -q "rank 1 on second" "$work/trace.json" || complain "the ranks did not run on two hosts: $(head -3 "$work/trace.json")"

what="a cable pulled"
launch=$over_tcp train 2 "$work/cut" --set train.steps=100000 --set train.eval_every=0 --set train.log_every=1000 \
    --set train.comm_timeout=3 >"$work/log" 2>&1 &
job=$!
for _ in $(seq 600); do [ -e "$work/cut/checkpoints/last" ] && break; sleep 0.05; done
since=$(date +%s)
ip -n $a link set cable down
wait $job
status=$? took=$(($(date +%s) - since))
[ $status != 0 ] && [ $status != 124 ] && [ $took -le 20 ] || complain "$what: status $status after $took s: $(cat "$work/log")"
grep -q "rank 0 on first: waited .* for rank 1 on second" "$work/log" || complain "$what: no message: $(cat "$work/log")"
ip -n $a link set cable up
train 2 "$work/cut" --resume --set train.steps="$(($(readlink "$work/cut/checkpoints/last") + 20))" >"$work/log" 2>&1 || complain "$what, resumed: $(tail -3 "$work/log")"
exit $failed
