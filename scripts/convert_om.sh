#!/usr/bin/env bash
# Convert a checkpoint or an exported ONNX file to an .om for an Ascend chip, with CANN's ATC; see docs/deployment.md.
[ -n "${BASH_VERSION:-}" ] || exec bash "$0" "$@" # for: sh SCRIPT
set -euo pipefail

usage() {
    cat <<'TEXT'
usage: bash scripts/convert_om.sh MODEL SOC [--aipp] [--checkpoint CKPT] [--output NAME] [flags of export.py]
  MODEL               a checkpoint NAME.ckpt, which is exported first (deformable layers as gathers); or NAME.onnx of
                      export.py with its manifest NAME.onnx.json beside it
  SOC                 the chip, e.g. Ascend310, Ascend310P3, Ascend310B4: the name in `npu-smi info`
  --aipp              the .om takes uint8 BGR images, and the chip's AIPP normalises them; prepare the images with
                      preprocess.py --aipp true. Without it, the .om has the input of the ONNX file
  --checkpoint CKPT   for NAME.onnx: compare its detections with those of this checkpoint
  --output NAME       name of the results (default: MODEL without its suffix)
  flags of export.py  e.g. --config_path configs/official_res18.yaml --input_res 512 512 --export_input uint8
Writes NAME.onnx and NAME.onnx.json (from a checkpoint), NAME.aipp.cfg (not for --export_input uint8), and
NAME_ascend310p3.om. The detections of the ONNX file in onnxruntime must equal those of the checkpoint within 1e-4.
Without atc (CANN's set_env.sh is not sourced, or this is another machine), all but the .om is written, and the command
for a host with CANN is printed; the exit status is then 2.
environment variables:
  PYTHON              this project's Python, with the packages of requirements-onnx.txt (default: python)
TEXT
}

# shellcheck source=scripts/common.sh
. "$(dirname "${BASH_SOURCE[0]}")/common.sh"
run_tool convert_om "$@"
