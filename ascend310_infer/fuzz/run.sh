#!/usr/bin/env bash
# Fuzz the readers of files of the C++ program. Usage: bash ascend310_infer/fuzz/run.sh [BUILD_DIR [RUNS]]
set -euo pipefail

if [[ ${1:-} == -* || $# -gt 2 ]]; then
    cat <<'TEXT'
usage: bash ascend310_infer/fuzz/run.sh [BUILD_DIR [RUNS]]
  BUILD_DIR   where the fuzzers are built (default: ascend310_infer/build-fuzz)
  RUNS        inputs for each reader: JSON, manifest, index of a prepared set, JPEG (default: 200000)
  CXX         the compiler (default: clang++ if there is one; its libFuzzer looks for new paths. With other compilers
              random mutations of the corpus are read)
  PYTHON, NLOHMANN_JSON_HOME   as for build.sh
The sanitizers of addresses and of undefined behaviour are on. Exit status: 0 if nothing was found; otherwise the last
lines are the report of the sanitizer.
TEXT
    [[ ${1:-} == -h || ${1:-} == --help ]] && exit 0
    exit 2
fi
source_dir=$(CDPATH='' cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
build_dir=${1:-$source_dir/build-fuzz}
runs=${2:-200000}
CXX=${CXX:-$(command -v clang++ || command -v g++ || command -v c++)}
export CXX
json=${NLOHMANN_JSON_HOME:-$("${PYTHON:-python3}" -c 'import importlib.util
spec = importlib.util.find_spec("nlohmann_json")
print(spec.submodule_search_locations[0] + "/include" if spec else "")')}
mkdir -p "$build_dir"
log=$build_dir/build.log
if ! { cmake -S "$source_dir" -B "$build_dir" -DCENTERNET_FUZZ=ON -DNLOHMANN_JSON_HOME="$json" \
         && cmake --build "$build_dir" -- -j2; } >"$log" 2>&1; then
    tail -20 "$log" >&2
    echo "error: the build failed; the whole log is $log" >&2
    exit 1
fi
# The limits of the readers are far below 1 GB: a larger allocation is a fault.
export ASAN_OPTIONS=max_allocation_size_mb=1024:allocator_may_return_null=0
for reader in json manifest index jpeg; do
    corpus=$source_dir/fuzz/corpus/$reader
    if "$CXX" --version | grep -q clang; then
        mkdir -p "$build_dir/found/$reader"
        "$build_dir/fuzz_$reader" -runs="$runs" -rss_limit_mb=1024 "$build_dir/found/$reader" "$corpus"
    else
        echo "$reader: $("$build_dir/fuzz_$reader" --mutations "$runs" "$corpus"/*)"
    fi
done
