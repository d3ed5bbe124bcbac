#!/usr/bin/env bash
# CogVideoX-2B with the paper's settings: sample a list of prompts, then renoise a list of real clips.
# scripts/MeViS/cog2b.sh [sampling|renoising] [setting=value ...]
set -euo pipefail

model=cog2b
settings=(
  backbone=cogvideox_2b
  num_inference_steps=50
  width=720
  imap_layer=[4,6,7,10,11,12,13,14,15,16,17,18,19,20,21,22,23]
  imap_sep_topk=5
  imap_qk_matching_target=concepts
)
renoising=(renoise_timestep=[30] test_full_denoise=false)
. "$(dirname "$0")/run.sh"
