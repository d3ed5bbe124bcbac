#!/usr/bin/env bash
# Maps of a word by noise level: on the embedded default, or with backbone=cogvideox_5b input_json=... on a real model.
# Paths in settings are taken from the repository's root.
cd "$(dirname "${BASH_SOURCE[0]}")/../.." && exec python -m imap.figures timesteps "$@"
