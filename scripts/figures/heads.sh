#!/usr/bin/env bash
# CHI against localization, head by head: on the embedded default, or with backbone=cogvideox_5b input_json=... on a real model,
# with clips that have their truth beside them (python -m imap.shapes.render).
# Paths in settings are taken from the repository's root.
cd "$(dirname "${BASH_SOURCE[0]}")/../.." && exec python -m imap.figures heads "$@"
