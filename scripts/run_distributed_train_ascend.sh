#!/usr/bin/env bash
# Train on several devices of one or several servers, in the background.
[ -n "${BASH_VERSION:-}" ] || exec bash "$0" "$@" # for: sh SCRIPT
set -euo pipefail

usage() {
    cat <<'TEXT'
usage: bash scripts/run_distributed_train_ascend.sh [MINDRECORD_DIR [RANK_TABLE_FILE [LOAD_CHECKPOINT_PATH]]]
                                                    [--foreground] [GROUP] [FLAGS]
  MINDRECORD_DIR        the folder of the shards from scripts/convert_dataset_to_mindrecord.sh
  RANK_TABLE_FILE       HCCL's rank table (hccl.json); if it is missing or "", msrun forms the group
  LOAD_CHECKPOINT_PATH  optional: a checkpoint to start from
  --foreground          wait for the end, show the log of this server's first rank, and exit with the job's status
  --log_root DIR        folder for the LOG folders (default: the current folder)
GROUP, with a rank table of several servers (run the same command on each server):
  --server_id ID        id of this server in the table (default: found with /etc/hccn.conf). The variable SERVER_ID may
                        also be its index: 0 for the server of rank 0
GROUP, without a rank table:
  --device_num N        number of devices of this server (default: all, or those of ASCEND_RT_VISIBLE_DEVICES)
  --worker_num N --local_worker_num N --node_rank N --master_addr IP    for several servers: total number of workers,
                        number of workers on each server, number of this server, address of server 0
  --master_port PORT    port of server 0 (default: 8118)
  --hyper_parameter_config_dir FILE   flags of train.py from an .ini file, as in scripts/ascend_distributed_launcher/
  FLAGS                 flags of train.py, e.g. --config_path configs/official_res18.yaml --epoch_size 140
Missing arguments come from the environment (the same names in capitals, DEVICE_TARGET, PYTHON), then from the file of
--config_path or default_config.yaml.
Output of each rank: LOG<device>/training_log.txt, LOG<device>/ms_log/ (MindSpore's log), LOG<device>/plog/ (CANN's),
LOG<device>/ckpt_<rank>/ (only rank 0 saves).
DEVICE_TARGET=CPU runs it without Ascend devices, always with msrun: a rank table then gives only the number of ranks.
TEXT
}

# shellcheck source=scripts/common.sh
. "$(dirname "${BASH_SOURCE[0]}")/common.sh"
start_job distribute "$@"
