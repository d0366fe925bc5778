# Sourced by the shell tests, with their arguments: the program of BUILD (default: build), a folder that goes when
# the test ends, and one thread.
build=${1:-build}
lethe=$PWD/$build/lethe
work=$(mktemp -d)
trap 'wait; rm -rf "$work"' EXIT
export OMP_NUM_THREADS=1
