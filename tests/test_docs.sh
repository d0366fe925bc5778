#!/bin/bash
# docs/recipe.md is what the program itself says of its recipes; each recipe in recipes/ is read by it; links
# between the project's pages lead somewhere. Usage: tests/test_docs.sh [BUILD]
set -u
lethe=${1:-build}/lethe
bad=0
if ! "$lethe" help recipe --markdown | diff -q - docs/recipe.md >/dev/null; then
    echo "docs/recipe.md is not what lethe help recipe --markdown prints; run: make docs"
    bad=1
fi
for page in *.md docs/*.md; do
    for link in $(grep -oE '\]\([^)# ]+' "$page" | cut -c3- | grep -vE '^(https?|mailto):'); do
        [ -e "$(dirname "$page")/$link" ] || { echo "$page: $link is not there"; bad=1; }
    done
done
exit $bad
