#!/bin/sh
# One target for some seconds: fuzz/run.sh TARGET SECONDS
#
# New inputs go to $CARGO_TARGET_DIR/fuzz/corpus, a finding to .../fuzz/findings,
# and the figures of the run to .../fuzz/log.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
target=$1
seconds=$2
out=${CARGO_TARGET_DIR:?}/fuzz
first=$out/first/$target
case $target in
wire | flight | values | gate | contract) binary=comity-fuzz-node ;;
*) binary=comity-fuzz-pure ;;
esac
case $target in
gate) options="-max_len=66000 -len_control=20 -dict=$here/sql.dict" ;;
contract) options="-max_len=8192 -dict=$first/odcs.dict" ;;
wire | flight | values) options="-max_len=4096" ;;
*) options="-max_len=8192 -dict=$first/json.dict" ;;
esac
mkdir -p "$out/corpus/$target" "$out/findings" "$out/log" "$first/$target"
python3 "$here/seeds.py" "$first"
# A slow unit is a finding as well: nothing that a stranger sends may take this long.
# shellcheck disable=SC2086
if COMITY_FUZZ=$target "$CARGO_TARGET_DIR/debug/$binary" $options \
    -max_total_time="$seconds" -timeout=20 -rss_limit_mb=2048 -print_final_stats=1 \
    -artifact_prefix="$out/findings/$target-" \
    "$out/corpus/$target" "$here/seeds/$target" "$first/$target" >"$out/log/$target" 2>&1; then
    grep -E '^stat::number_of_executed_units|DONE' "$out/log/$target" | tail -2 | sed "s/^/$target: /"
else
    tail -40 "$out/log/$target" >&2
    echo "$target: a finding; the input is in $out/findings" >&2
    exit 1
fi
