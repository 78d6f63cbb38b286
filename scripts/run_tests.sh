#!/usr/bin/env bash
# usage: bash scripts/run_tests.sh [pytest arguments]     e.g.  bash scripts/run_tests.sh -m slow
# Set up everything, then run the linters and the tests.
#   WITHOUT_LITE=1   do not fetch MindSpore Lite and MindSpore 2.0; tests of the C++ program on them are skipped
set -euo pipefail

# shellcheck source=scripts/common.sh
. "$(dirname "${BASH_SOURCE[0]}")/common.sh"
help_if_asked "$@"

scripts=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=scripts/set_up_environment.sh
. "$scripts/set_up_environment.sh"
if ! "$PYTHON" -c 'import torch' 2>/dev/null; then
    "$PYTHON" -m pip install --quiet --disable-pip-version-check --retries 1 \
        --requirement "$scripts/../requirements-convert.txt" \
        || echo "note: PyTorch was not installed (requirements-convert.txt): the tests of .pth files will be skipped" >&2
fi
if [[ -z ${WITHOUT_LITE:-} ]]; then
    bash "$scripts/set_up_lite.sh"
fi
cd "$scripts/.."

"$PYTHON" -m tools.lint
if [[ " $* " != *" -m "* ]]; then
    set -- -m "not slow" "$@"
fi
exec "$PYTHON" -m pytest "$@"
