# Sourced by the scripts beside it, which name `model` and the paper's `settings` and `renoising` settings for it.
# Arguments: [sampling|renoising] [setting=value ...]; a setting given there comes last, and so wins.
jobs=(sampling renoising)
case "${1:-}" in sampling | renoising) jobs=("$1") && shift ;; esac

common=(
  # not part of this project: a list of {"caption", "concepts", "object", "video_path"} over clips cut from MeViS
  # (henghuiding.github.io/MeViS); for one elsewhere give input_json=FILE
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
  pictures=false # of hundreds of samples; python -m imap.view makes them of a finished run
)

cd "$(dirname "${BASH_SOURCE[0]}")/../.."
status=0 # a sample that fails does not stop the rest
for job in "${jobs[@]}"; do
  own=()
  [ "$job" = renoising ] && own=("${renoising[@]}")
  python "main_${job^}.py" "${common[@]}" "${settings[@]}" "${own[@]}" "output_dir=outputs/MeViS/$model/$job" "$@" ||
    status=$?
done
exit "$status"
