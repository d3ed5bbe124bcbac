#!/usr/bin/env bash
# The paper's Table 2 on the embedded world, with exact truth in place of a judge: layers, motion heads, their number and
# score, steps, standardization, softmax, text target, surrogate. Minutes on two CPU cores; running it again continues.
# Usage: table2_ablation.sh [BACKBONE] [CLIPS]
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
backbone=${1:-shapes_cogvideox}
count=${2:-60}
out=outputs/tables/table2/$backbone
[ -f "$out/clips/clips.json" ] || imap shapes render "$out/clips" --count "$count" --seed 50000000

# name: settings that differ from the preset. GramCol is the mean of all heads, IMAP that of the motion heads; beside
# it, as many random heads in five draws.
variants=(
  "default:random_heads=5"
  "first two layers:imap_layer=[0,1]"
  "last two layers:imap_layer=[2,3]"
  "one head:imap_sep_topk=1"
  "three heads:imap_sep_topk=3"
  "DBI:imap_sep_score=DBI"
  "Silhouette:imap_sep_score=Silhouette"
  "Fisher:imap_sep_score=Fisher"
  "not standardized:standardize=none"
  "softmax:softmax=true"
  "target prompt:imap_qk_matching_target=prompt"
  "target concepts:imap_qk_matching_target=concepts"
  "consensus surrogate:surrogate=consensus"
  "early step:renoise_timestep=[5]"
  "middle step:renoise_timestep=[10]"
  "late step:renoise_timestep=[17]"
)
runs=()
for variant in "${variants[@]}"; do
  name=${variant%%:*}
  settings=${variant#*:}
  imap renoise "backbone=$backbone" "input_json=$out/clips/clips.json" "output_dir=$out/runs/$name" pictures=false ${settings:+"$settings"}
  runs+=("$out/runs/$name")
done
random=$(printf ",random_heads_%d_layers" 1 2 3 4 5)
imap score run --maps "imap_layers,sel_imap_layers$random" "${runs[@]}"
imap score table --kind motion --metrics ap,in_object_auc,temporal_correlation,pointing "${runs[@]}"
imap score table --kind concept --metrics ap,auc,j_best,pointing "${runs[@]}"
for kind in motion concept; do
  imap score table --kind "$kind" --format csv --output "$out/table2_$kind.csv" "${runs[@]}"
done
