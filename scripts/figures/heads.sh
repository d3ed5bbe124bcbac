#!/usr/bin/env bash
# CHI against localization, head by head. The default is the embedded model; for a real one, set backbone=cogvideox_5b input_json=FILE.
# The clips need ground truth beside them, as imap shapes render writes it.
# Paths in settings start at the root of the repository.
cd "$(dirname "${BASH_SOURCE[0]}")/../.." && exec python -m imap.figures heads "$@"
