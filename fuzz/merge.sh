#!/bin/sh
# Keeps the best of a target's inputs as its seeds: fuzz/merge.sh TARGET
#
# libFuzzer takes the smallest files that together reach everything; of those
# the smallest are kept, so that the repository stays small: 20 files and 24 KiB
# for each target.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
target=$1
out=${CARGO_TARGET_DIR:?}/fuzz
case $target in
wire | flight | values | gate | contract) binary=comity-fuzz-node ;;
*) binary=comity-fuzz-pure ;;
esac
merged=$(mktemp -d)
trap 'rm -rf "$merged"' EXIT
mkdir -p "$out/corpus/$target"
# -set_cover_merge prefers what reaches most, and stops when all is reached.
COMITY_FUZZ=$target "$CARGO_TARGET_DIR/debug/$binary" -set_cover_merge=1 -max_len=66000 \
    "$merged" "$here/seeds/$target" "$out/corpus/$target" >"$out/log/$target-merge" 2>&1
python3 "$here/keep.py" "$merged" "$here/seeds/$target"
