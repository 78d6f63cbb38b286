#!/usr/bin/env bash
# Train on several devices, of one server or of several, in the background.
set -euo pipefail

usage() {
    cat <<'TEXT'
usage: bash scripts/run_distributed_train_ascend.sh [MINDRECORD_DIR [RANK_TABLE_FILE [LOAD_CHECKPOINT_PATH]]]
                                                    [--foreground] [GROUP] [FLAGS]
  MINDRECORD_DIR        the folder of the shards, made by scripts/convert_dataset_to_mindrecord.sh
  RANK_TABLE_FILE       HCCL's rank table (hccl.json); left out or "": msrun forms the group
  LOAD_CHECKPOINT_PATH  optional: a checkpoint to start from
  --foreground          wait for the end, show the log of this server's first rank, and exit with the job's status
  --log_root DIR        where the LOG folders are made (default: the current folder)
GROUP, with a rank table of several servers (run the same command on each server):
  --server_id ID        which of its servers this one is (default: found by /etc/hccn.conf)
GROUP, without a rank table:
  --device_num N        devices of this server (default: all)
  --worker_num N --local_worker_num N --node_rank N --master_addr IP    with several servers: workers in all, workers on
                        each, the number of this one, the address of number 0
  --master_port PORT    of number 0 (default: 8118)
  --hyper_parameter_config_dir FILE   flags of train.py from an .ini file, as in scripts/ascend_distributed_launcher/
  FLAGS                 flags of train.py, e.g. --config_path configs/official_res18.yaml --epoch_size 140
What is left out comes from the environment (the same names in capitals, DEVICE_TARGET, PYTHON), else from
default_config.yaml or the file of --config_path.
Written for each rank: LOG<device>/training_log.txt, LOG<device>/ms_log/, LOG<device>/ckpt_<rank>/ (rank 0 saves).
DEVICE_TARGET=CPU runs it without Ascend devices, always by msrun: a rank table then tells only the number of ranks.
TEXT
}

# shellcheck source=scripts/common.sh
. "$(dirname "${BASH_SOURCE[0]}")/common.sh"
start_job distribute "$@"
