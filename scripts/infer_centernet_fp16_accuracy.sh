#!/usr/bin/env bash
# COCO accuracy (AP at IoU 0.5 and 0.5:0.95) of a float16 CenterNet with batch size 32; see --help for data and model.
[ -n "${BASH_VERSION:-}" ] || exec bash "$0" "$@" # for: sh SCRIPT
set -euo pipefail

# shellcheck source=scripts/infer_centernet.sh
. "$(dirname "${BASH_SOURCE[0]}")/infer_centernet.sh"
infer_centernet fp16 accuracy "$@"
