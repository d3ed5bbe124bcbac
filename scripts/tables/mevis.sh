#!/usr/bin/env bash
# Every map and baseline against the masks of MeViS' valid_u videos. It needs MeViS (docs/guide/datasets.md) and a GPU for
# the backbone. Running it again continues.
# Usage: mevis.sh MEVIS_ROOT [BACKBONE] [WORDS]
#   WORDS: a CSV of name or caption, concepts, object: which words of an expression to look for
set -euo pipefail
[ $# -ge 1 ] || { sed -n '2,5s/^# //p' "$0" >&2; exit 2; }
root=$(realpath "$1") backbone=${2:-cogvideox_5b} words=${3:+$(realpath "$3")}
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
out=outputs/tables/mevis/$backbone
imap score prepare mevis "$root" "$out/clips" --split valid_u ${words:+--words "$words"}
imap renoise "backbone=$backbone" "input_json=$out/clips/list.json" "output_dir=$out/run" pictures=false random_heads=5
imap score run --baselines "$out/run"
for kind in concept motion; do imap score table --kind "$kind" "$out/run"; done
