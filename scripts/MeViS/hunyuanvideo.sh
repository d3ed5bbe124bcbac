#!/usr/bin/env bash
# HunyuanVideo with the paper's settings: sample a list of prompts, then renoise a list of real clips.
# scripts/MeViS/hunyuanvideo.sh [sampling|renoising] [setting=value ...]
set -euo pipefail

model=hunyuanvideo
settings=(
  backbone=hunyuanvideo
  num_inference_steps=30
  width=720
  imap_layer=[1,2,4,5,6,9,10,13,15,16,17,18,19]
  imap_sep_topk=5
  imap_qk_matching_target=concepts
)
renoising=(renoise_timestep=[20] test_full_denoise=false)
. "$(dirname "$0")/run.sh"
