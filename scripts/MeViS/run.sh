# The scripts beside it source this file. They set `model`, and the paper's `settings` and `renoising` settings for it.
# Arguments: [sampling|renoising] [setting=value ...]. Settings in the arguments replace those of the scripts.
jobs=(sampling renoising)
case "${1:-}" in sampling | renoising) jobs=("$1") && shift ;; esac

common=(
  # a list of {"caption", "concepts", "object", "video_path"} with clips of MeViS (henghuiding.github.io/MeViS), which is
  # not part of this project; set input_json=FILE for a list in another place
  input_json=datasets/MeViS/mevis.json
  guidance_scale=6.0
  negative_prompt=
  seed=42
  height=480
  num_frames=49
  fps=8
  concept_option=st
  imap_sep_score=CHI
  softmax=false
  pictures=false # there are hundreds of samples; imap view draws pictures of a finished run
)

cd "$(dirname "${BASH_SOURCE[0]}")/../.."
status=0 # a failing sample does not stop the others
for job in "${jobs[@]}"; do
  clip_settings=()
  [ "$job" = renoising ] && clip_settings=("${renoising[@]}")
  python "main_${job^}.py" "${common[@]}" "${settings[@]}" "${clip_settings[@]}" "output_dir=outputs/MeViS/$model/$job" "$@" ||
    status=$?
done
exit "$status"
