#!/usr/bin/env bash
# Maps of a word by noise level. The default is the embedded model; for a real one, set backbone=cogvideox_5b input_json=FILE.
# Paths in settings start at the root of the repository.
cd "$(dirname "${BASH_SOURCE[0]}")/../.." && exec python -m imap.figures timesteps "$@"
