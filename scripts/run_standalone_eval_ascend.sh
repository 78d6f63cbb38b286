#!/usr/bin/env bash
# Evaluate a checkpoint on one device, in the background.
[ -n "${BASH_VERSION:-}" ] || exec bash "$0" "$@" # for: sh SCRIPT
set -euo pipefail

usage() {
    cat <<'TEXT'
usage: bash scripts/run_standalone_eval_ascend.sh [DEVICE_ID] [val|test] [DATA_DIR [LOAD_CHECKPOINT_PATH]] [--foreground] [FLAGS]
  DEVICE_ID             the device's number, from 0 among those that a process sees (docs/ascend.md: containers)
  val|test              val: COCO AP of val2017; test: a results file of test2017 for upload
  DATA_DIR              the COCO-format data set
  LOAD_CHECKPOINT_PATH  the checkpoint to evaluate
  --foreground          wait for the end, show the log, and exit with the evaluation's status
  --log_root DIR        folder for LOG<DEVICE_ID> (default: the current folder)
  FLAGS                 flags of eval.py, e.g. --config_path configs/official_res18.yaml --save_result_dir results
Missing arguments come from the environment (DEVICE_ID, RUN_MODE, DATA_DIR, LOAD_CHECKPOINT_PATH, DEVICE_TARGET,
LOG_ROOT, PYTHON), then from the file of --config_path or default_config.yaml.
Output: LOG<DEVICE_ID>/eval_log.txt with the COCO metrics, LOG<DEVICE_ID>/ms_log/ (MindSpore's own log),
LOG<DEVICE_ID>/plog/ (CANN's), and the results (--save_result_dir).
DEVICE_TARGET=CPU runs it without an Ascend device.
TEXT
}

# shellcheck source=scripts/common.sh
. "$(dirname "${BASH_SOURCE[0]}")/common.sh"
start_job eval "$@"
