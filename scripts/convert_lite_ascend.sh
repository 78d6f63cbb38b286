#!/usr/bin/env bash
# Convert an exported MINDIR for an Ascend chip with MindSpore Lite's converter_lite; see docs/deployment.md.
[ -n "${BASH_VERSION:-}" ] || exec bash "$0" "$@" # for: sh SCRIPT
set -euo pipefail

usage() {
    cat <<'TEXT'
usage: bash scripts/convert_lite_ascend.sh MODEL.mindir [SOC] [--aoe MODE] [--output NAME]
  MODEL.mindir    a model of export.py, with its manifest MODEL.json beside it
  SOC             the chip, e.g. Ascend310P3 (default: the chip of this host)
  --aoe MODE      measure kernels on the chip and choose the fastest: "subgraph tuning", "operator tuning" or
                  "subgraph tuning, operator tuning"
  --output NAME   name of the result (default: MODEL_ascend310p3.mindir; without SOC: MODEL_ascend.mindir)
Writes NAME.converter.cfg (input and precision of the model), NAME.mindir and NAME.json. The result loads faster than
MODEL.mindir, and runs only on this kind of chip.
environment variables:
  MS_LITE_HOME    folder of MindSpore Lite for servers, with tools/converter (not needed if converter_lite is in PATH);
                  LITE_HOME is its other name
  PYTHON          this project's Python (default: python)
On the host, source CANN's set_env.sh before.
TEXT
}

# shellcheck source=scripts/common.sh
. "$(dirname "${BASH_SOURCE[0]}")/common.sh"
run_tool convert_lite_ascend "$@"
