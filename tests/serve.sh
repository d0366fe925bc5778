# Sourced by the tests of `lethe serve`, after sandbox.sh: a model, and servers.

# make_model SIDE: a micro model that has learnt nothing much, at $work/model; drawn images in $work/shapes
make_model() {
    "$lethe" synth shapes --out "$work/shapes" --count 10 --size 128 --seed 1 >"$work/log" 2>&1 || { cat "$work/log"; exit 1; }
    printf '{"task": "segment", "model": {"size": "micro", "image_size": %d}, "segment": {"rounds": 1}, "data": {"geometry": "longest", "train": "shapes/train.json"}, "optim": {"lr": 0.01}, "train": {"batch": 2, "steps": 2}}' "$1" >"$work/model.json"
    (cd "$work" && "$lethe" train model.json --out model) >"$work/log" 2>&1 || { cat "$work/log"; exit 1; }
}

# start OPTION...: sets server (its process) and url
start() {
    rm -f "$work/serve.out" # of the server before: its address would be read
    "$lethe" serve --checkpoint "$work/model" --port 0 "$@" >"$work/serve.out" 2>"$work/serve.err" &
    server=$!
    for _ in $(seq 300); do
        url=$(grep -so 'http://[^ ]*' "$work/serve.out") && return
        kill -0 $server 2>/dev/null || break
        sleep 0.1
    done
    echo "the server does not start:" >&2
    cat "$work/serve.out" "$work/serve.err" >&2
    exit 1
}

# stop: Ctrl-C; the server must end by itself, with status 0 and nothing to complain of
stop() {
    kill -INT $server
    for _ in $(seq 300); do
        kill -0 $server 2>/dev/null || break
        sleep 0.1
    done
    kill -9 $server 2>/dev/null && { echo "the server does not end" >&2; return 1; }
    wait $server && [ ! -s "$work/serve.err" ] || { cat "$work/serve.err" >&2; return 1; }
}
