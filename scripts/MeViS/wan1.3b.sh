#!/usr/bin/env bash
# Wan2.1-1.3B with the paper's settings: sample a list of prompts, then renoise a list of real clips.
# scripts/MeViS/wan1.3b.sh [sampling|renoising] [setting=value ...]
set -euo pipefail

model=wan1.3b
settings=(
  backbone=wan2_1_1_3b
  num_inference_steps=50
  width=832
  imap_layer=[5,6,7,8,9,10,11,12,13,14,15,16,17,18,19]
  imap_sep_topk=3
  imap_qk_matching_target=prompt
)
renoising=(renoise_timestep=[20] test_full_denoise=false)
. "$(dirname "$0")/run.sh"
