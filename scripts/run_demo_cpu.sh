#!/usr/bin/env bash
# usage: bash scripts/run_demo_cpu.sh [WORK_DIR]                 (default: work_demo in the repository)
#        COCO_DIR=/path/to/coco bash scripts/run_demo_cpu.sh     (your data set instead of generated images)
# Set up the environment, then run all stages on CPU: images -> shards -> training -> COCO AP -> MINDIR -> COCO AP.
[ -n "${BASH_VERSION:-}" ] || exec bash "$0" "$@" # for: sh SCRIPT
set -euo pipefail

# shellcheck source=scripts/common.sh
. "$(dirname "${BASH_SOURCE[0]}")/common.sh"
help_if_asked "$@"
if [ $# -gt 1 ] || [[ ${1:-} == -* ]]; then
    echo "usage: [COCO_DIR=/path/to/coco] bash scripts/run_demo_cpu.sh [WORK_DIR]" >&2
    exit 2
fi
scripts=$(CDPATH='' cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
mkdir -p "${1:-$scripts/../work_demo}"
work_dir=$(CDPATH='' cd "${1:-$scripts/../work_demo}" && pwd)
coco_dir=${COCO_DIR:+$(CDPATH='' cd "$COCO_DIR" && pwd)}
# shellcheck source=scripts/set_up_environment.sh
. "$scripts/set_up_environment.sh"
cd "$scripts/.."
exec "$PYTHON" -m tools.demo_stages "$work_dir" ${coco_dir:+--coco_dir "$coco_dir"}
