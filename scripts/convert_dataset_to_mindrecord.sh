#!/usr/bin/env bash
# Convert the training split of a COCO-format data set to MindRecord shards, in the background.
set -euo pipefail

usage() {
    cat <<'TEXT'
usage: bash scripts/convert_dataset_to_mindrecord.sh COCO_DATASET_DIR MINDRECORD_DATASET_DIR [--foreground] [FLAGS]
  COCO_DATASET_DIR        annotations/instances_train2017.json and train2017/ (or annotations/train.json and images/train/)
  MINDRECORD_DATASET_DIR  where the shards go; made if missing
  --foreground            wait for the end, and exit with the conversion's status
  FLAGS                   flags of src/dataset.py, e.g. --keep_empty true --strict true --shard_num 16
TEXT
}

if [[ ${1:-} == -h || ${1:-} == --help ]]; then
    usage
    exit 0
fi
if [[ $# -lt 2 || $1 == -* || $2 == -* || -z $2 ]]; then
    usage >&2
    exit 2
fi
coco_dir=$1
mindrecord_dir=$2
shift 2
if [[ ! -d $coco_dir ]]; then
    echo "error: COCO_DATASET_DIR $coco_dir is not a folder" >&2
    exit 2
fi

foreground=false
flags=()
for word in "$@"; do
    if [[ $word == --foreground ]]; then foreground=true; else flags+=("$word"); fi
done

# Paths stay relative to the caller's folder: dataset.py finds the project by its own place.
entry=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)/src/dataset.py
command=("${PYTHON:-python}" "$entry" --coco_data_dir "$coco_dir" --mindrecord_dir "$mindrecord_dir"
         ${flags[@]+"${flags[@]}"})
if ! command -v "${command[0]}" >/dev/null; then
    echo "error: there is no '${command[0]}': activate the project's environment, or set PYTHON" >&2
    exit 2
fi
if $foreground; then
    exec "${command[@]}"
fi

mkdir -p "$mindrecord_dir"
log_file=$(cd "$mindrecord_dir" && pwd)/convert_dataset.log
nohup "${command[@]}" >"$log_file" 2>&1 </dev/null &
echo "converting $coco_dir in the background: PID $!, log $log_file"
