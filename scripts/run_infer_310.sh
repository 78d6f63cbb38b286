#!/usr/bin/env bash
# Run an exported model with the C++ program on a COCO validation set and evaluate the result.
[ -n "${BASH_VERSION:-}" ] || exec bash "$0" "$@" # for: sh SCRIPT
set -euo pipefail

usage() {
    cat <<'TEXT'
usage: bash scripts/run_infer_310.sh MINDIR_PATH DATASET_PATH PREPROCESS_IMAGES DEVICE_ID [DEVICE_TARGET]
  MINDIR_PATH         NAME.mindir with NAME.json beside it; or a checkpoint NAME.ckpt, which is exported first
  DATASET_PATH        COCO data set: annotations/instances_val2017.json and val2017/; or, for n, a prepared set
  PREPROCESS_IMAGES   y: prepare the images in ./preprocess_Result
                      n: use the set that an earlier run prepared there from DATASET_PATH (or DATASET_PATH itself, if
                      it is such a set)
  DEVICE_ID           number of the Ascend device (0 for CPU)
  DEVICE_TARGET       ASCEND or CPU (default: the variable DEVICE_TARGET, or ASCEND)
Output in the current folder: result_Files/ (detections), time_Result/test_perform_result.txt (times), acc.log (AP),
results_310/ (COCO results), and the log of each step.
environment variables:
  MS_LITE_HOME        MindSpore Lite, see ascend310_infer/build.sh
  NLOHMANN_JSON_HOME  the library nlohmann/json, if ascend310_infer/build.sh does not find it
  BUILD_DIR           build folder of the program (default: ascend310_infer/build)
  PYTHON              Python with this project's packages (default: python)
  INFER_FLAGS         more flags of the C++ program, e.g. "--warm_up 5"
  EXPORT_FLAGS        flags of export.py for a checkpoint, e.g. "--input_res 512 512 --export_deform gather"
  MINDIR_FORM         format of the file exported from a checkpoint: current (of this MindSpore; the default) or
                      lite20 (for MindSpore Lite 2.0, see scripts/export_mindir_lite20.sh; the default for CPU)
TEXT
}

fail() {
    echo "error: $*" >&2
    exit 2
}

if [[ ${1:-} == -h || ${1:-} == --help ]]; then
    usage
    exit 0
fi
if [[ $# -lt 4 || $# -gt 5 ]]; then
    usage >&2
    echo "error: 4 or 5 arguments are needed, found $#" >&2
    exit 2
fi
model=$1 dataset=$2 preprocess=$3 device_id=$4
device_target=${5:-${DEVICE_TARGET:-ASCEND}}
device_target=${device_target^^}
python=${PYTHON:-python}
# shellcheck source=scripts/common.sh
. "$(dirname "${BASH_SOURCE[0]}")/common.sh"
build_dir=${BUILD_DIR:-$repository/ascend310_infer/build}
prepared=preprocess_Result

check_arguments() {
    [[ $model == *.mindir || $model == *.ckpt ]] || fail "MINDIR_PATH $model must end in .mindir, or in .ckpt"
    [[ -f $model ]] || fail "MINDIR_PATH $model: there is no such file"
    if [[ $model == *.mindir && ! -f ${model%.mindir}.json ]]; then
        fail "${model%.mindir}.json is missing: export.py writes it beside the model; copy it too"
    fi
    [[ -d $dataset ]] || fail "DATASET_PATH $dataset is not a folder"
    [[ $preprocess == y || $preprocess == n ]] || fail "PREPROCESS_IMAGES must be y or n, found '$preprocess'"
    [[ $device_id =~ ^[0-9]+$ ]] || fail "DEVICE_ID must be a whole number, found '$device_id'"
    [[ $device_target == ASCEND || $device_target == CPU ]] \
        || fail "DEVICE_TARGET must be ASCEND or CPU, found '$device_target'"
    form=${MINDIR_FORM:-$([[ $device_target == CPU ]] && echo lite20 || echo current)}
    [[ $form == current || $form == lite20 ]] || fail "MINDIR_FORM must be current or lite20, found '$form'"
    [[ -n ${MS_LITE_HOME:-${LITE_HOME:-}} ]] || fail "MS_LITE_HOME is not set: see ascend310_infer/build.sh --help"
    require_python
    if [[ $preprocess == n ]]; then
        [[ ! -d $dataset/00_data ]] || prepared=$dataset
        [[ -f $prepared/meta/index.json ]] \
            || fail "PREPROCESS_IMAGES is n, but $PWD/$prepared is not a complete prepared set: use y"
        # The AP is that of the prepared set: it must not look like that of another data set.
        [[ $prepared == "$dataset" ]] \
            || "$python" "$repository/tools/check_prepared_set.py" "$prepared/meta/index.json" "$dataset"
    fi
}

# step NAME LOG COMMAND...: run it; if it fails, show the end of its log and stop with its status.
step() {
    local name=$1 log=$2 status=0
    shift 2
    echo "$name: log $PWD/$log"
    "$@" >"$log" 2>&1 || status=$?
    if [[ $status -ne 0 ]]; then
        tail -15 "$log" >&2
        echo "error: $name failed with status $status; the complete log is $PWD/$log" >&2
        exit "$status"
    fi
}

export_checkpoint() {
    local flags name
    read -ra flags <<<"${EXPORT_FLAGS:-}"
    name=exported_model/$(basename "${model%.ckpt}")
    flags=(--export_load_ckpt "$model" --export_name "$name" ${flags[@]+"${flags[@]}"})
    if [[ $form == lite20 ]]; then
        PYTHON=$python step "export" export.log bash "$repository/scripts/export_mindir_lite20.sh" "${flags[@]}"
    else
        step "export" export.log "$python" "$repository/export.py" --device_target CPU "${flags[@]}"
    fi
    model=$name.mindir
}

check_arguments
# Results of an earlier run must not look like those of this run.
rm -f acc.log time_Result/test_perform_result.txt results_310/{metrics,val_pred_eval,val_pred_result}.json
export GLOG_v=${GLOG_v:-3}  # the runtime's warnings do not help a user
[[ $model != *.ckpt ]] || export_checkpoint
if [[ $preprocess == y ]]; then
    step "preprocess" preprocess.log "$python" "$repository/preprocess.py" --model_path "$model" \
        --val_data_dir "$dataset" --predict_dir "$prepared"
fi
step "build" build.log bash "$repository/ascend310_infer/build.sh" "$build_dir"
read -ra infer_flags <<<"${INFER_FLAGS:-}"
step "infer" infer.log "$build_dir/centernet_infer" --model_path "$model" --input_path "$prepared" --output_path . \
    --device_target "$device_target" --device_id "$device_id" ${infer_flags[@]+"${infer_flags[@]}"}
step "postprocess" acc.log "$python" "$repository/postprocess.py" --model_path "$model" --result_path result_Files \
    --meta_path "$prepared/meta" --save_path results_310
head -1 time_Result/test_perform_result.txt
grep -m1 'Average Precision' acc.log
