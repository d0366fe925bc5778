#!/bin/sh
# Training samples per second of one core: 500 x 375 JPEGs to 224 x 224 random resized crops, Lethe against Pillow.
# Both take the same files from memory, the same crops and the same core, in turns; seconds are of processor time, and
# the best of three rounds counts.
# Lethe's samples are normalised floats, Pillow's stay bytes. Fails below a ratio of 2.
#
#     tests/bench_data.sh build/tests/bench_data [SECONDS A ROUND]
set -eu
bench=$1
seconds=${2:-3}
here=$(dirname "$0")
photos=${LETHE_DATA:-../shared/data}/coco100/train
[ -d "$photos" ] || photos=$here/golden/photos
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT INT TERM

python=python3
if ! $python -c 'import PIL' 2>/dev/null; then
    venv=$(dirname "$bench")/venv
    [ -x "$venv/bin/python" ] || python3 -m venv "$venv"
    python=$venv/bin/python
    $python -c 'import PIL' 2>/dev/null || $python -m pip install -q pillow
fi

core=$(taskset -cp $$ | sed 's/.*[:, -]//')
"$bench" make "$photos" "$work" 100
ours=0
theirs=0
for round in 1 2 3; do
    r=$(taskset -c "$core" "$bench" run "$work" "$seconds")
    ours=$(echo "$ours $r" | awk '{ print ($1 > $2 ? $1 : $2) }')
    r=$(taskset -c "$core" "$python" "$here/bench_data.py" rate "$work" "$seconds")
    theirs=$(echo "$theirs $r" | awk '{ print ($1 > $2 ? $1 : $2) }')
done
echo "100 JPEGs of 500 x 375 from $photos, quality 90, $(du -k "$work"/*.jpg | awk '{ s += $1 } END { print s / NR }') KiB each"
echo "same bytes as Pillow: $($python "$here/bench_data.py" same "$work") samples"
echo "$ours $theirs $($python "$here/bench_data.py" version)" | awk '{
    printf "lethe          %8.1f images/s on one core\n", $1
    printf "Pillow %-7s %8.1f images/s on one core\n", $3, $2
    printf "ratio          %8.2f (at least 2)\n", $1 / $2
    exit $1 < 2 * $2 }'
