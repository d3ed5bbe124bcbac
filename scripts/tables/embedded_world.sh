#!/usr/bin/env bash
# Every map and every baseline on clips of the embedded world, with exact truth. Minutes on two CPU cores; running it
# again continues.
# Usage: embedded_world.sh [BACKBONE] [CLIPS]
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
backbone=${1:-shapes_wan}
count=${2:-60}
out=outputs/tables/embedded_world/$backbone
[ -f "$out/clips/clips.json" ] || imap shapes render "$out/clips" --count "$count" --seed 50000000
imap renoise "backbone=$backbone" "input_json=$out/clips/clips.json" "output_dir=$out/run" pictures=false random_heads=5 effect=true
imap score run --baselines "$out/run"
for kind in concept motion; do
  imap score table --kind "$kind" --format csv --output "$out/scores_$kind.csv" "$out/run"
  imap score table --kind "$kind" "$out/run"
done
