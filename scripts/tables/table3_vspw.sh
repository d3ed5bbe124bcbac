#!/usr/bin/env bash
# The paper's Table 3: zero-shot video semantic segmentation of VSPW's validation videos, beside the published values.
# It needs VSPW (docs/guide/datasets.md) and a GPU for the backbone. Running it again continues.
# Usage: table3_vspw.sh VSPW_ROOT [BACKBONE]
set -euo pipefail
[ $# -ge 1 ] || { sed -n '2,4s/^# //p' "$0" >&2; exit 2; }
root=$(realpath "$1") backbone=${2:-cogvideox_5b}
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
out=outputs/tables/table3/$backbone
imap score prepare vspw "$root" "$out/clips" --split val
imap renoise "backbone=$backbone" "input_json=$out/clips/list.json" "output_dir=$out/run" pictures=false
imap score segment "$out/run" --map cross_attention_maps_layers,concept_attention_maps_layers,imap_layers,video_col_layers
imap score table "$out/run" --kind concept --metrics miou,mvc8_public,mvc16_public --published
