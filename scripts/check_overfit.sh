#!/usr/bin/env bash
# usage: bash scripts/check_overfit.sh COCO_DIR WORK_DIR      (10 to 25 minutes on two cores; expected AP: above 0.80)
# Check that the detector can learn: overfit a ResNet-18 to eight images without augmentation, and evaluate on them.
[ -n "${BASH_VERSION:-}" ] || exec bash "$0" "$@" # for: sh SCRIPT
set -euo pipefail

# shellcheck source=scripts/common.sh
. "$(dirname "${BASH_SOURCE[0]}")/common.sh"
help_if_asked "$@"
if [[ $# -ne 2 || $1 == -* ]]; then
    echo "usage: bash scripts/check_overfit.sh COCO_DIR WORK_DIR" >&2
    exit 2
fi
if [[ ! -d $1 ]]; then
    echo "error: COCO_DIR $1 is not a folder" >&2
    exit 2
fi
scripts=$(CDPATH='' cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
coco_dir=$(CDPATH='' cd "$1" && pwd)
mkdir -p "$2"
work_dir=$(CDPATH='' cd "$2" && pwd)
# shellcheck source=scripts/set_up_environment.sh
. "$scripts/set_up_environment.sh"
cd "$scripts/.."

eight=$work_dir/eight.json
images=$("$PYTHON" -m tools.pick_images "$coco_dir" "$eight")
config=(--config_path configs/demo_cpu.yaml)
"$PYTHON" src/dataset.py "${config[@]}" --annotation_file "$eight" --image_dir "$images" \
    --mindrecord_dir "$work_dir/shards" --shard_num 1
"$PYTHON" train.py "${config[@]}" --mindrecord_dir "$work_dir/shards" --save_checkpoint_path "$work_dir/checkpoints" \
    --train_steps 400 --save_checkpoint_steps 400 \
    --dataset_config.input_res_train 256 256 --dataset_config.output_res 64 64 --dataset_config.rand_crop false \
    --dataset_config.scale 0 --dataset_config.shift 0 --dataset_config.flip_prop 0 --dataset_config.color_aug false \
    --net_config.wh_weight 0.5
"$PYTHON" eval.py "${config[@]}" --load_checkpoint_path "$work_dir/checkpoints/last.ckpt" --annotation_file "$eight" \
    --image_dir "$images" --dataset_config.input_res_test 256 256 --save_result_dir "$work_dir/results"
