#!/usr/bin/env bash
# CogVideoX-5B with the paper's settings: sample a list of prompts, then renoise a list of real clips.
# scripts/MeViS/cog5b.sh [sampling|renoising] [setting=value ...]
set -euo pipefail

model=cog5b
settings=(
  backbone=cogvideox_5b
  num_inference_steps=50
  width=720
  imap_layer=[1,2,3,4,5,7,8,9,10,11,12,13,14,15,16,17,18,19,20,21,23]
  imap_sep_topk=5
  imap_qk_matching_target=concepts
)
renoising=(renoise_timestep=[30] test_full_denoise=false)
. "$(dirname "$0")/run.sh"
