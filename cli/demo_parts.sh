# What the demos share; sourced by them after `lethe` is set. All that they write lies in demo/.

fail() {
    echo "demo: $*" >&2
    exit 1
}

# Long work: with a bar on a terminal; else quietly, its lines in demo/log.txt.
work() {
    if [ -t 1 ]; then
        "$@" || fail "this went wrong: $*"
        return
    fi
    echo "+ $*" >> demo/log.txt
    "$@" >> demo/log.txt 2>&1 || {
        tail -n 3 demo/log.txt >&2
        fail "this went wrong: $* (see demo/log.txt)"
    }
}

# begin NAME...: demo/ without these, which an earlier run left. A demo/ that no demo made is left alone.
begin() {
    [ -x "$lethe" ] || fail "$lethe is not built: run make"
    if [ -e demo ] && [ ! -f demo/.made-by-lethe ] && [ -n "$(ls -A demo)" ]; then
        fail "there is a folder demo/ that make demo did not write; move it away first"
    fi
    mkdir -p demo
    : > demo/.made-by-lethe
    (cd demo && rm -rf "$@" log.txt)
    began=$(date +%s)
}

# Says how long it took.
finish() {
    seconds=$(($(date +%s) - began))
    echo "Done in $((seconds / 60)) min $((seconds % 60)) s."
}

# threads MOST: how many to use.
threads() {
    n=$(nproc)
    [ "$n" -le "$1" ] || n=$1
    echo "$n"
}

# Beside other work on the machine, threads that wait must not hold their processor.
export OMP_WAIT_POLICY="${OMP_WAIT_POLICY:-passive}"
