#!/usr/bin/env bash
# Wan2.1-14B with the paper's settings: sample a list of prompts, then renoise a list of real clips.
# scripts/MeViS/wan14b.sh [sampling|renoising] [setting=value ...]
set -euo pipefail

model=wan14b
settings=(
  backbone=wan2_1_14b
  num_inference_steps=50
  width=832
  imap_layer=[5,6,7,8,9,10,11,12,13,14,15,16,17,18,19,20,21,22,23,24,25]
  imap_sep_topk=5
  imap_qk_matching_target=prompt
)
renoising=(renoise_timestep=[20] test_full_denoise=false)
. "$(dirname "$0")/run.sh"
