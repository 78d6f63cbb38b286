#!/usr/bin/env bash
# usage: bash scripts/set_up_lite.sh
# Download the requirements of the C++ program's tests besides a compiler: MindSpore Lite 2.0.0 and an environment with
# MindSpore 2.0.0 (1.2 GB to download, once). It never fails: it prints a note for each missing part, and the tests that
# need this part are skipped.
#   CENTERNET_LITE   folder for both (default: beside the virtual environment, with -lite added to its name)
#   PYTHON           this project's Python
[ -n "${BASH_VERSION:-}" ] || exec bash "$0" "$@" # for: sh SCRIPT
set -euo pipefail

# shellcheck source=scripts/common.sh
. "$(dirname "${BASH_SOURCE[0]}")/common.sh"
help_if_asked "$@"

scripts=$(CDPATH='' cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
python=${PYTHON:-python3}
folder=${CENTERNET_LITE:-$("$python" -c 'import sys; print(sys.prefix)')-lite}
mkdir -p "$folder"
exec 9>"$folder/set_up.lock" # held until this script ends
if command -v flock >/dev/null && ! flock --nonblock 9; then
    echo "note: another set-up of $folder is running: waiting for its end"
    flock 9
fi
PYTHON=$python bash "$scripts/get_mindspore_lite.sh" "$folder" \
    || echo "note: the tests that build the C++ program will be skipped"
bash "$scripts/set_up_mindspore20.sh" "$folder/mindspore20" \
    || echo "note: the tests that run a model in the C++ program will be skipped"
