#!/usr/bin/env bash
# Compile a command for Ascend without a card, in MindSpore's dry run.
[ -n "${BASH_VERSION:-}" ] || exec bash "$0" "$@" # for: sh SCRIPT
set -euo pipefail

usage() {
    cat <<'TEXT'
usage: bash scripts/dry_run_ascend.sh train|eval|export [FLAGS]
       bash scripts/dry_run_ascend.sh [--devices N] step [FLAGS]
  train, eval, export   run train.py, eval.py or export.py with these flags for --device_target Ascend. A training ends
                        after 2 steps. Results go to a temporary folder: a dry run computes nothing, so they are zeros
  step                  compile one training step with the flags of train.py; it needs no data
  --devices N           compile the step of one of N devices
It prints the operators with the kinds of their kernels, and the simulated peak memory. The exit status is 1 if an
operator has no kernel for Ascend. What it proves, and what not: docs/ascend.md.
environment variables:
  PYTHON                                  this project's Python (default: python)
  ASCEND_HOME_PATH, ASCEND_TOOLKIT_HOME   folder of CANN, set by its set_env.sh. Without CANN a stand-in for its
                                          libraries is built, which needs g++ and binutils
TEXT
}

# shellcheck source=scripts/common.sh
. "$(dirname "${BASH_SOURCE[0]}")/common.sh"
run_tool dry_run "$@"
