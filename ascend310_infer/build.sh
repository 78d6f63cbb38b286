#!/usr/bin/env bash
# Build the C++ program. Usage: MS_LITE_HOME=/path/to/mindspore-lite bash ascend310_infer/build.sh [BUILD_DIR]
[ -n "${BASH_VERSION:-}" ] || exec bash "$0" "$@" # for: sh SCRIPT
set -euo pipefail

usage() {
    cat <<'TEXT'
usage: MS_LITE_HOME=DIR bash ascend310_infer/build.sh [BUILD_DIR]
  BUILD_DIR            where the program centernet_infer is built (default: ascend310_infer/build)
  MS_LITE_HOME         MindSpore Lite: an unpacked archive of it (LITE_HOME in its documents; taken if MS_LITE_HOME is
                       not set), or what scripts/get_mindspore_lite.sh fetched
  NLOHMANN_JSON_HOME   the folder that has nlohmann/json.hpp or include/nlohmann/json.hpp (default: the package
                       nlohmann-json of PYTHON, python or python3; if there is none, where CMake looks for headers)
  CXX                  the C++17 compiler (default: the one that CMake finds)
TEXT
}

if [[ ${1:-} == -h || ${1:-} == --help ]]; then
    usage
    exit 0
fi
if [[ $# -gt 1 || ${1:-} == -* ]]; then
    usage >&2
    exit 2
fi
source_dir=$(CDPATH='' cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
build_dir=${1:-$source_dir/build}
lite=${MS_LITE_HOME:-${LITE_HOME:-}}

fail() {
    echo "error: $*" >&2
    exit 2
}

[[ -n $lite ]] || fail "MS_LITE_HOME is not set: the folder of MindSpore Lite. On an Ascend host unpack the archive that" \
    "fits its CANN; for CPU: bash scripts/get_mindspore_lite.sh DIR"
[[ -d $lite ]] || fail "MS_LITE_HOME $lite is not a folder"
command -v cmake >/dev/null || fail "there is no cmake (3.13 or newer): apt-get install cmake, or yum install cmake"
if [[ -n ${CXX:-} ]]; then
    command -v "$CXX" >/dev/null || fail "CXX $CXX: there is no such compiler"
else
    command -v c++ >/dev/null || command -v g++ >/dev/null \
        || fail "there is no C++ compiler: apt-get install g++, or yum install gcc-c++"
fi

# The folder of the header in the Python package nlohmann-json; nothing if no Python has it. The package is not
# imported, because its code needs a further package.
find_json() {
    local python
    for python in ${PYTHON:+"$PYTHON"} python python3; do
        "$python" -c 'import importlib.util, sys
spec = importlib.util.find_spec("nlohmann_json")
print(spec.submodule_search_locations[0] + "/include" if spec else sys.exit(1))' 2>/dev/null && return
    done
    return 0
}

json=${NLOHMANN_JSON_HOME:-$(find_json)}
[[ -z $json || -d $json ]] || fail "NLOHMANN_JSON_HOME $json is not a folder"
lite=$(CDPATH='' cd "$lite" && pwd)
[[ -z $json ]] || json=$(CDPATH='' cd "$json" && pwd)
mkdir -p "$build_dir"
log=$build_dir/build.log
# Changed folders must not meet what an earlier configuration found.
if ! { cmake -S "$source_dir" -B "$build_dir" -U 'LITE_*' -U 'NLOHMANN_JSON_*' -DMS_LITE_HOME="$lite" \
         -DNLOHMANN_JSON_HOME="$json" && cmake --build "$build_dir" -- -j2
     } >"$log" 2>&1; then
    grep -iE -A8 'error|fatal' "$log" >&2 || tail -20 "$log" >&2
    echo "error: the build failed; the whole log is $log" >&2
    exit 1
fi
grep -A3 'CMake Warning' "$log" >&2 || true
echo "built $build_dir/centernet_infer with $lite"
