#!/usr/bin/env bash
# Common function of the infer_centernet_*.sh scripts; source it.

# shellcheck source=scripts/common.sh
. "$(dirname "${BASH_SOURCE[0]}")/common.sh"

# infer_centernet PRECISION KIND ARGUMENTS: check them and measure (tools/infer_centernet.py), in the caller's folder.
infer_centernet() {
    local precision=$1 kind=$2
    shift 2
    if [[ ${1:-} == -h || ${1:-} == --help ]]; then
        cat <<TEXT
usage: DATASETS_DIR=/path/to/coco CHECKPOINT=NAME.ckpt bash scripts/infer_centernet_${precision}_${kind}.sh
Measure the $kind of an ONNX model in $precision with onnxruntime on the CPU, and print one row of a results table.
  DATASETS_DIR        the COCO-format data set: annotations/instances_val2017.json and val2017/
  MODEL_PATH          the model: NAME.onnx of export.py --precision $precision, with NAME.onnx.json beside it
  CHECKPOINT          without MODEL_PATH: the checkpoint to export first
  CONFIG_PATH         its preset, such as configs/mmdet_res18.yaml; also the test settings (default: default_config.yaml)
  OUTPUT_DIR          folder for the exported model (default: results_onnx in the current folder)
  CALIBRATION_DATA    int8: folder of calibration images (default: train2017 of DATASETS_DIR, or val2017)
  CALIBRATION_METHOD  int8: kl, minmax, percentile (default: kl, as in published results)
  BATCH_SIZE          batch size (default: 32)
  PYTHON              the Python of the project's environment (default: python)
TEXT
        exit 0
    fi
    if [[ $# -gt 0 ]]; then
        echo "error: unexpected argument '$1': all settings are environment variables, see --help" >&2
        exit 2
    fi
    require_python
    exec "${PYTHON:-python}" "$repository/tools/infer_centernet.py" "$precision" "$kind"
}
