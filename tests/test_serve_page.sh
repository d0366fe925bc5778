#!/bin/bash
# The page of `lethe serve`, used in a headless Chromium: its masks are the command line's, pixel by pixel.
# Usage: tests/test_serve_page.sh [BUILD]; SHOTS=folder keeps screenshots.
set -u
. tests/sandbox.sh
. tests/serve.sh
browser=$(command -v chromium || command -v chromium-browser || command -v google-chrome) || { echo "SKIP: no Chromium (apt-get install chromium)"; exit 77; }
command -v python3 >/dev/null || { echo "SKIP: no python3"; exit 77; }
make_model 128
photo=../shared/data/photos/groceries.jpg
[ -e "$photo" ] || { photo=$work/shapes/train/000001.jpg && echo "no photograph at ../shared/data: a drawn image instead"; }
start
PYTHONDONTWRITEBYTECODE=1 python3 tests/serve_page.py "$browser" "$lethe" "$work/model" "$url" "$photo" "$work"
status=$?
[ -z "${SHOTS:-}" ] || { mkdir -p "$SHOTS" && cp "$work"/*.png "$SHOTS"; }
stop && [ $status = 0 ]
