#!/usr/bin/env bash
# Measure on a card what only a card can answer, and write one report with a recommended setting.
[ -n "${BASH_VERSION:-}" ] || exec bash "$0" "$@" # for: sh SCRIPT
set -euo pipefail

usage() {
    cat <<'TEXT'
usage: bash scripts/first_day_ascend.sh [--data COCO] [--minutes 30] [FLAGS]
  --data COCO           data set in COCO's layout; its first images are used (default: generated images)
  --minutes N           time for everything (default: 30). Each part has a share of it and is ended when that is over
  --out DIR             new folder for the report (default: first_day_DATE_TIME)
  --device_target T     Ascend or CPU (default: the variable DEVICE_TARGET, or Ascend)
  --device_id N         device for the parts that use one (default: 0)
  --size full|small     full: the default network at 512 x 512, batch size 32 (default on Ascend);
                        small: a network for a try (default on a CPU and in a dry run)
  --only PART ...       only these parts: environment prepare golden operators settings devices evaluation export
  --dry_run             compile everything for Ascend without a card, with scripts/dry_run_ascend.sh's means: nothing is
                        computed, so nothing is compared (the default if MS_SIMULATION_LEVEL is set)
It writes DIR/first_day.md and first_day.json, also after Ctrl-C, SIGTERM or SIGHUP, and the log of each command. The exit status is 1 if a
part failed or timed out. More: docs/ascend.md.
environment variables:
  PYTHON                        this project's Python (default: python)
  MS_LITE_HOME                  MindSpore Lite, for the C++ program; on a CPU CENTERNET_LITE, too
  ASCEND_RT_VISIBLE_DEVICES     the devices to use
TEXT
}

# shellcheck source=scripts/common.sh
. "$(dirname "${BASH_SOURCE[0]}")/common.sh"
[[ $# -gt 0 ]] || set -- --minutes 30  # run_tool takes no words for a question
run_tool first_day/run "$@"
