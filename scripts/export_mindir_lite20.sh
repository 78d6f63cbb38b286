#!/usr/bin/env bash
# Export a checkpoint as a MINDIR for MindSpore Lite 2.0; see docs/deployment.md.
[ -n "${BASH_VERSION:-}" ] || exec bash "$0" "$@" # for: sh SCRIPT
set -euo pipefail

usage() {
    cat <<'TEXT'
usage: bash scripts/export_mindir_lite20.sh --export_load_ckpt CKPT --export_name NAME [flags of export.py]
  Writes NAME.mindir and NAME.json. MindSpore 2.0.0 writes the file in its own environment, which is created once
  (1 GB to download). This project's Python prepares and checks the file. Networks with deformable layers need
  --export_deform gather.
environment variables:
  PYTHON            this project's Python (default: python)
  CENTERNET_LITE    folder for that environment (default: .venv-lite in the repository)
  PYTHON20          a Python 3.7, 3.8 or 3.9 to create it with (default: the first one found)
TEXT
}

# shellcheck source=scripts/common.sh
. "$(dirname "${BASH_SOURCE[0]}")/common.sh"
run_tool export_mindir_lite20 "$@"
