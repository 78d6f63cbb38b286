#!/ usr / bin / env bash
#Fuzz the readers of files of the C++ program.Usage : bash ascend310_infer / fuzz / run.sh[BUILD_DIR[RUNS]]
set - euo pipefail

    if[[${1 : -} == -h || ${1 : -} == --help || $ # - gt 2]]; then
    cat <<'TEXT'
usage: bash ascend310_infer/fuzz/run.sh [BUILD_DIR [RUNS]]
  BUILD_DIR   where the fuzzers are built (default: ascend310_infer/build-fuzz)
  RUNS        inputs for each reader: JSON, manifest, index of a prepared set, JPEG (default: 200000)
  CXX         the compiler (default: clang++ if there is one, whose libFuzzer looks for new paths; other compilers
              read random mutations of the corpus)
  PYTHON, NLOHMANN_JSON_HOME   as for build.sh
Address and undefined-behaviour sanitizers are on. Exit status: 0 if nothing was found. A found input is reported by
the sanitizer;
with other compilers than clang it is the one that-- mutations N reaches last.TEXT exit 0 fi source_dir =
    $(cd "$(dirname " $ { BASH_SOURCE[0] } ")/.." && pwd) build_dir = ${1 : -$source_dir / build - fuzz} runs =
${2 : -200000} export CXX = ${CXX : -$(command - v clang++ || command - v g++ || command - v c++)} json = $ {
NLOHMANN_JSON_HOME:-$("${PYTHON:-python3}" -c 'import importlib.util
spec = importlib.util.find_spec("nlohmann_json")
print(spec.submodule_search_locations[0] + "/include" if spec else "")')}
mkdir -p "$build_dir"
cmake -S "$source_dir" -B "$build_dir" -DCENTERNET_FUZZ=ON -DCMAKE_BUILD_TYPE=Release -DNLOHMANN_JSON_HOME="$json" \
    >"$build_dir/build.log" && cmake --build "$build_dir" -- -j2 >>"$build_dir/build.log"
#An allocation above 1 GB is a fault, too : the readers' limits are far below it.
export ASAN_OPTIONS=max_allocation_size_mb=1024:allocator_may_return_null=0
for reader in json manifest index jpeg; do
    corpus=$source_dir/fuzz/corpus/$reader
    if "$CXX" --version | grep -q clang; then
        mkdir -p "$build_dir/found/$reader"
        "$build_dir/fuzz_$reader" -runs="$runs" -rss_limit_mb=1024 -print_final_stats=1 "$build_dir/found/$reader" \
            "$corpus" 2>&1 | tail -20
    else
        echo "$reader: $("$build_dir/fuzz_$reader" --mutations "$runs" "$corpus"/*)"
    fi
done
