#!/usr/bin/env bash
# Lambda_2 by layer, the layers that it picks, example maps. The default is the embedded model; for a real one, set backbone=cogvideox_5b input_json=FILE.
# Paths in settings start at the root of the repository.
cd "$(dirname "${BASH_SOURCE[0]}")/../.." && exec python -m imap.figures lambda_2 "$@"
