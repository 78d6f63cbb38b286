#!/usr/bin/env bash
# usage: bash scripts/run_tests.sh [pytest arguments]     e.g.  bash scripts/run_tests.sh -m slow
# Set up the environment, then run the linters and the tests.
#   TEST_WORKERS=3   number of test processes (default: 3; with pytest arguments 1)
#   WITHOUT_LITE=1   do not download MindSpore Lite and MindSpore 2.0; tests of the C++ program with them are skipped
#   WITHOUT_LINTERS=1  run the tests only
[ -n "${BASH_VERSION:-}" ] || exec bash "$0" "$@" # for: sh SCRIPT
set -euo pipefail

# shellcheck source=scripts/common.sh
. "$(dirname "${BASH_SOURCE[0]}")/common.sh"
help_if_asked "$@"

scripts=$(CDPATH='' cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
for variable in CENTERNET_LITE CENTERNET_SHARED; do # the tests run in another folder
    [[ -z ${!variable:-} || ${!variable} == /* ]] || export "$variable=$PWD/${!variable}"
done
# shellcheck source=scripts/set_up_environment.sh
. "$scripts/set_up_environment.sh"
if [[ -z ${WITHOUT_LITE:-} ]]; then
    # In the background, because it downloads 1.2 GB. The tests that need it wait for the last line of this log.
    export LITE_SET_UP_LOG=$venv/set_up_lite.log
    : >"$LITE_SET_UP_LOG"
    { bash "$scripts/set_up_lite.sh" && status=0 || status=$?; echo "exit status: $status"; } \
        >>"$LITE_SET_UP_LOG" 2>&1 </dev/null &
fi
if ! "$PYTHON" -c 'import torch' 2>/dev/null; then
    "$PYTHON" -m pip install --quiet --disable-pip-version-check --retries 1 \
        --requirement "$scripts/../requirements-convert.txt" \
        || echo "note: PyTorch was not installed (requirements-convert.txt): the tests of .pth files will be skipped" >&2
fi
cd "$scripts/.."

[[ -n ${WITHOUT_LINTERS:-} ]] || "$PYTHON" -m tools.lint
# Some tests wait for processes that they start: with three processes, two cores are seldom idle.
workers=${TEST_WORKERS:-$(($# ? 1 : 3))}
if ((workers > 1)); then
    # tests/conftest.py determines which tests run in one process, and their order.
    set -- --numprocesses "$workers" --dist loadfile --no-loadscope-reorder "$@"
fi
if [[ " $* " != *" -m "* ]]; then
    set -- -m "not slow" "$@"
fi
status=0
unset CENTERNET_LOCK WITHOUT_LINTERS # tests start this script, too
"$PYTHON" -m pytest "$@" || status=$?
wait # for the set-up, if no test has waited for it
exit "$status"
