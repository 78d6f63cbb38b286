#!/usr/bin/env bash
# usage: bash scripts/test_versions.sh [VERSION...] [-- pytest arguments]
# Run the tests with other versions of MindSpore, each in an environment of its own (3 GB), and print a table.
# Without a VERSION: the newest 2.7 and the newest release that the package registry has for this Python.
#   CENTERNET_VERSIONS   folder of the environments and logs (default: .venv-versions in the repository)
#   PYTHON               a Python 3.10, 3.11 or 3.12 to create them with (default: the first one found)
#   TEST_WORKERS, WITHOUT_LITE, CENTERNET_LITE   as for run_tests.sh
# A version with "-" in the table has no result: its log says why.
# Exit status: 0 all tests passed, 1 some failed or did not start, 2 wrong usage, or the registry does not answer.
[ -n "${BASH_VERSION:-}" ] || exec bash "$0" "$@" # for: sh SCRIPT
set -euo pipefail

# shellcheck source=scripts/common.sh
. "$(dirname "${BASH_SOURCE[0]}")/common.sh"
help_if_asked "$@"
# shellcheck source=scripts/find_python.sh
. "$repository/scripts/find_python.sh"
folder=${CENTERNET_VERSIONS:-$repository/.venv-versions}

# registry_versions: print the newest 2.7 and the newest release. pip names releases only, the newest one first.
registry_versions() {
    local python said listed
    python=$(find_python) || return 2
    said=$("$python" -m pip index versions mindspore --retries 1 --disable-pip-version-check 2>&1) || said+=$'\n'
    listed=$(sed -n 's/^Available versions: //p' <<<"$said" | tr -d , | tr ' ' '\n')
    if [[ -z $listed ]]; then
        echo "error: pip found no version of MindSpore in the package registry. It said: $(tail -n 1 <<<"${said%$'\n'}")" >&2
        echo "Is there a network? Name versions whose environments are there already, or repeat it with a network" >&2
        return 2
    fi
    { grep -m 1 '^2\.7\.' <<<"$listed" || true; head -n 1 <<<"$listed"; } | awk '!seen[$0]++'
}

# test_version VERSION WORDS: set up its environment and run the tests; what they print goes to its log.
test_version() {
    local lock=$folder/$1.lock
    # Without the hashes: pip wants one for every package or for none, and the lock file has none of this MindSpore.
    sed -e '/^ *--hash=/d' -e 's/ *\\$//' -e "s/^mindspore==.*/mindspore==$1/" "$locked" >"$lock"
    CENTERNET_VENV=$folder/$1 CENTERNET_LOCK=$lock WITHOUT_LINTERS=1 \
        CENTERNET_LITE=${CENTERNET_LITE:-$repository/.venv-lite} bash "$repository/scripts/run_tests.sh" "${@:2}" \
        >"$folder/$1.log" 2>&1 </dev/null
}

# summary LOG: print passed, failed (with errors), skipped and seconds from pytest's last line; "-" without such a line.
summary() {
    awk '/ in [0-9.]+s/ && /passed|failed|error|skipped|no tests ran/ { line = $0 }
        END {
            if (line == "") { print "- - - -"; exit }
            count = split(line, words, " ")
            for (i = 2; i <= count; i++) {
                if (words[i] ~ /^passed/) passed = words[i - 1]
                if (words[i] ~ /^(failed|errors?)/) failed += words[i - 1]
                if (words[i] ~ /^skipped/) skipped = words[i - 1]
                if (words[i - 1] == "in") seconds = words[i]
            }
            printf "%d %d %d %.0f\n", passed, failed, skipped, seconds
        }' "$1"
}

versions=()
while [[ $# -gt 0 && $1 != -- ]]; do
    if ! [[ $1 =~ ^[0-9]+(\.[0-9]+)+(rc[0-9]+|\.post[0-9]+)?$ ]]; then
        echo "error: '$1' is no version of MindSpore such as 2.7.2; words for pytest follow --" >&2
        exit 2
    fi
    versions+=("$1")
    shift
done
shift $(($# > 0))
if [[ ${#versions[@]} -eq 0 ]]; then
    listed=$(registry_versions) || exit 2
    mapfile -t versions <<<"$listed"
fi

mkdir -p "$folder"
folder=$(CDPATH='' cd "$folder" && pwd)
python=$(find_python) || exit 2
locked=$(lock_of "$python")
failed=0 rows=()
for version in "${versions[@]}"; do
    echo "MindSpore $version: $folder/$version.log"
    test_version "$version" "$@" || failed=1
    rows+=("$version $(summary "$folder/$version.log") $folder/$version.log")
done
{ echo "version passed failed skipped seconds log"; printf '%s\n' "${rows[@]}"; } \
    | while read -r version passed bad skipped seconds log; do
        printf '%-12s %7s %7s %8s %8s  %s\n' "$version" "$passed" "$bad" "$skipped" "$seconds" "$log"
    done
exit "$failed"
