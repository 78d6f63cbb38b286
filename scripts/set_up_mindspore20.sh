#!/usr/bin/env bash
# usage: bash scripts/set_up_mindspore20.sh DIR        prints the path of its Python
# Creates a virtual environment with MindSpore 2.0.0, which writes MINDIR files for MindSpore Lite 2.0.
#   PYTHON20   a Python 3.7, 3.8 or 3.9 to create it with (default: the first one found, also in pyenv)
[ -n "${BASH_VERSION:-}" ] || exec bash "$0" "$@" # for: sh SCRIPT
set -euo pipefail

# shellcheck source=scripts/common.sh
. "$(dirname "${BASH_SOURCE[0]}")/common.sh"
# shellcheck source=scripts/disk_space.sh
. "$(dirname "${BASH_SOURCE[0]}")/disk_space.sh"
help_if_asked "$@"
if [[ $# -ne 1 || $1 == -* || -z $1 ]]; then
    echo "usage: [PYTHON20=/path/to/python3.7] bash scripts/set_up_mindspore20.sh DIR" >&2
    exit 2
fi
environment=$1

find_python() {
    local candidate candidates
    shopt -s nullglob
    candidates=(python3.7 python3.8 python3.9 "${PYENV_ROOT:-$HOME/.pyenv}"/versions/3.{7,8,9}.*/bin/python)
    [ -z "${PYTHON20:-}" ] || candidates=("$PYTHON20")
    for candidate in "${candidates[@]}"; do
        if "$candidate" -c 'import sys, venv; sys.exit(not (3, 7) <= sys.version_info[:2] <= (3, 9))' 2>/dev/null; then
            command -v "$candidate"
            return
        fi
    done
    if [ -n "${PYTHON20:-}" ]; then
        echo "error: PYTHON20=$PYTHON20 must be a Python 3.7, 3.8 or 3.9: $("$PYTHON20" --version 2>&1 || true)" >&2
        return 2
    fi
    echo "error: MindSpore 2.0.0 needs Python 3.7, 3.8 or 3.9, and none was found: install one (pyenv, conda). If it" \
        "is not in PATH, set PYTHON20=/path/to/python3.7" >&2
    return 2
}

python=$environment/bin/python
if ! "$python" -c 'import mindspore; assert mindspore.__version__ == "2.0.0"' >/dev/null 2>&1; then
    base=$(find_python)
    require_space_for_pip "$environment" 3000 CENTERNET_LITE || exit 1
    echo "Setting up $environment with $("$base" --version) and MindSpore 2.0.0 (1 minute, 1 GB to download)" >&2
    "$base" -m venv --clear "$environment" >&2
    "$python" -m pip install -qq --disable-pip-version-check mindspore==2.0.0 'numpy<2' >&2 \
        || { echo "error: the installation of mindspore==2.0.0 failed: see the message above" >&2; exit 1; }
fi
CDPATH='' cd "$environment/bin" && echo "$PWD/python"
