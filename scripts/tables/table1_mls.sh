#!/usr/bin/env bash
# The paper's Table 1: the Motion Localization Score of motion words on MeViS clips, beside the published values.
# It needs MeViS (docs/guide/datasets.md), a GPU for the backbone, and an endpoint with OpenAI's protocol. The judge is
# paid for: see the estimate of `imap score judge RUN --dry-run` first. Running it again continues.
# Usage: table1_mls.sh MEVIS_ROOT ENDPOINT MODEL [BACKBONE] [LIST]
#   LIST: a JSON list of caption, concepts, object and video_path with the words of the clips
set -euo pipefail
[ $# -ge 3 ] || { sed -n '2,6s/^# //p' "$0" >&2; exit 2; }
root=$(realpath "$1") endpoint=$2 model=$3 backbone=${4:-cogvideox_5b} words=${5:+$(realpath "$5")}
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
out=outputs/tables/table1/$backbone
imap score prepare mevis "$root" "$out/clips" --split train ${words:+--words "$words"}
imap renoise "backbone=$backbone" "input_json=$out/clips/list.json" "output_dir=$out/run" pictures=false
imap score judge "$out/run" --endpoint "$endpoint" --model "$model" --protocol published \
  --maps cross_attention_maps_layers,concept_attention_maps_layers,imap,imap_layers,sel_imap,sel_imap_layers
imap score table "$out/run" --kind motion --metrics mls,sl,tl,pr,ss,obj --published
