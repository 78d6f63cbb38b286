#!/usr/bin/env bash
# Convert the training split of a COCO-format data set to MindRecord shards, in the background.
[ -n "${BASH_VERSION:-}" ] || exec bash "$0" "$@" # for: sh SCRIPT
set -euo pipefail

usage() {
    cat <<'TEXT'
usage: bash scripts/convert_dataset_to_mindrecord.sh [COCO_DATASET_DIR [MINDRECORD_DATASET_DIR]] [--foreground] [FLAGS]
  COCO_DATASET_DIR        annotations/instances_train2017.json and train2017/ (or annotations/train.json and images/train/)
  MINDRECORD_DATASET_DIR  folder for the shards; it is created if necessary. The log is convert_dataset.log in it
  --foreground            wait for the end, and exit with the conversion's status
  FLAGS                   flags of src/dataset.py, e.g. --keep_empty true --strict true --shard_num 16
Missing arguments come from the environment (COCO_DATA_DIR, MINDRECORD_DIR, PYTHON), then from the file of --config_path
or default_config.yaml (coco_data_dir, mindrecord_dir).
TEXT
}

# shellcheck source=scripts/common.sh
. "$(dirname "${BASH_SOURCE[0]}")/common.sh"
start_job convert "$@"
