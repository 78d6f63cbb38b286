#!/usr/bin/env bash
# usage: bash scripts/get_mindspore_lite.sh DIR      then build with MS_LITE_HOME=DIR
# Download MindSpore Lite 2.0.0 for x86 CPUs from the package registry and unpack it, for tests and hosts without Ascend.
# The registry has it as a wheel for Python 3.7. Its C++ headers and libraries need no Python, so any pip works.
[ -n "${BASH_VERSION:-}" ] || exec bash "$0" "$@" # for: sh SCRIPT
set -euo pipefail

# shellcheck source=scripts/common.sh
. "$(dirname "${BASH_SOURCE[0]}")/common.sh"
# shellcheck source=scripts/disk_space.sh
. "$(dirname "${BASH_SOURCE[0]}")/disk_space.sh"
help_if_asked "$@"
if [[ $# -ne 1 || $1 == -* || -z $1 ]]; then
    echo "usage: [PYTHON=python3] bash scripts/get_mindspore_lite.sh DIR" >&2
    exit 2
fi
folder=$1
python=${PYTHON:-python3}
if [[ -f $folder/mindspore_lite/include/api/model.h ]]; then
    echo "MindSpore Lite is already in $folder"
    exit 0
fi
if ! command -v "$python" >/dev/null; then
    echo "error: there is no '$python': install Python 3, or set PYTHON" >&2
    exit 2
fi
if [[ $(uname -sm) != "Linux x86_64" ]]; then
    echo "error: the registry has MindSpore Lite 2.0.0 only for Linux on x86_64; this is $(uname -sm). Use an archive" \
        "from MindSpore's download page, and set MS_LITE_HOME to the unpacked folder" >&2
    exit 2
fi

require_space "$folder" 900 "MindSpore Lite in $folder" "use a folder on another disk" || exit 1
mkdir -p "$folder"
partial=$(mktemp -d "$folder/.fetch.XXXXXX")
trap 'rm -rf "$partial"' EXIT
"$python" -m pip download -qq --disable-pip-version-check --no-deps --only-binary=:all: --python-version 3.7 \
    --implementation cp --abi cp37m --platform manylinux1_x86_64 --dest "$partial" \
    --requirement "$repository/requirements/mindspore-lite-2.0.txt" \
    || { echo "error: the download of mindspore-lite==2.0.0 failed: see the message above" >&2; exit 1; }
"$python" -m zipfile -e "$partial"/mindspore_lite-2.0.0-*.whl "$partial/unpacked"
rm -rf "$folder/mindspore_lite"
mv "$partial/unpacked/mindspore_lite" "$folder/mindspore_lite"
echo "MindSpore Lite 2.0.0 is in $folder: build with MS_LITE_HOME=$folder"
