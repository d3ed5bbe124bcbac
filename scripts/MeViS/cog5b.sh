#!/usr/bin/env bash
# CogVideoX-5B with the paper's settings: sample a list of prompts, then read a list of real clips.
# Every line can be overridden from the command line:
#   scripts/MeViS/cog5b.sh [sampling|renoising] [setting=value ...]
set -euo pipefail
cd "$(dirname "$0")/../.."

jobs=(sampling renoising)
case "${1:-}" in sampling | renoising) jobs=("$1") && shift ;; esac

settings=(
  backbone=cogvideox_5b
  input_json=datasets/MeViS/mevis.json # {"caption", "concepts", "object", "video_path"}
  num_inference_steps=50
  guidance_scale=6.0
  negative_prompt=
  seed=42
  height=480
  width=720
  num_frames=49
  fps=8
  concept_option=st
  imap_layer=[1,2,3,4,5,7,8,9,10,11,12,13,14,15,16,17,18,19,20,21,23]
  imap_sep_score=CHI
  imap_sep_topk=5
  imap_qk_matching_target=concepts
  softmax=false
)

status=0 # a sample that fails does not stop the rest
for job in "${jobs[@]}"; do
  case "$job" in
    sampling) python main_Sampling.py "${settings[@]}" output_dir=outputs/MeViS/cog5b/sampling "$@" || status=$? ;;
    renoising)
      python main_Renoising.py "${settings[@]}" output_dir=outputs/MeViS/cog5b/renoising \
        renoise_timestep=[30] test_full_denoise=false "$@" || status=$?
      ;;
  esac
done
exit "$status"
