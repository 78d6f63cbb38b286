#!/usr/bin/env bash
# Train on one device, in the background.
[ -n "${BASH_VERSION:-}" ] || exec bash "$0" "$@" # for: sh SCRIPT
set -euo pipefail

usage() {
    cat <<'TEXT'
usage: bash scripts/run_standalone_train_ascend.sh [DEVICE_ID [MINDRECORD_DIR [LOAD_CHECKPOINT_PATH]]] [--foreground] [FLAGS]
  DEVICE_ID             the device's number, from 0 among those that a process sees (docs/ascend.md: containers)
  MINDRECORD_DIR        the folder of the shards from scripts/convert_dataset_to_mindrecord.sh
  LOAD_CHECKPOINT_PATH  optional: a checkpoint to start from
  --foreground          wait for the end, show the log, and exit with the training's status
  --log_root DIR        folder for LOG<DEVICE_ID> (default: the current folder)
  FLAGS                 flags of train.py, e.g. --config_path configs/official_res18.yaml --epoch_size 140
Missing arguments come from the environment (DEVICE_ID, MINDRECORD_DIR, LOAD_CHECKPOINT_PATH, DEVICE_TARGET, LOG_ROOT,
PYTHON), then from the file of --config_path or default_config.yaml.
Output: LOG<DEVICE_ID>/training_log.txt, LOG<DEVICE_ID>/ms_log/ (MindSpore's own log), LOG<DEVICE_ID>/plog/ (CANN's),
LOG<DEVICE_ID>/ckpt_0/.
DEVICE_TARGET=CPU runs it without an Ascend device.
TEXT
}

# shellcheck source=scripts/common.sh
. "$(dirname "${BASH_SOURCE[0]}")/common.sh"
start_job train "$@"
