#!/usr/bin/env bash
# usage: bash scripts/lock_requirements.sh [--upgrade]
# Write requirements/lock-3.10.txt, lock-3.11.txt and lock-3.12.txt anew from requirements-test.txt: exact versions, and
# the SHA-256 of every file that the package registry has for them. Versions that still fit stay; --upgrade takes the
# newest ones. It needs a network and any Python 3; the resolver (uv) is installed into a folder that is deleted again.
#   PYTHON   a Python 3.10, 3.11 or 3.12 (default: the first one found)
[ -n "${BASH_VERSION:-}" ] || exec bash "$0" "$@" # for: sh SCRIPT
set -euo pipefail

# shellcheck source=scripts/common.sh
. "$(dirname "${BASH_SOURCE[0]}")/common.sh"
help_if_asked "$@"
# shellcheck source=scripts/find_python.sh
. "$repository/scripts/find_python.sh"
if [[ $# -gt 1 || ${1:---upgrade} != --upgrade ]]; then
    echo "usage: bash scripts/lock_requirements.sh [--upgrade]" >&2
    exit 2
fi

python=$(find_python) || exit 2
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
"$python" -m venv "$work/uv"
"$work/uv/bin/python" -m pip install --quiet --disable-pip-version-check uv==0.13.9 \
    || { echo "error: the installation of uv failed: see the message above" >&2; exit 1; }

cd "$repository"
for version in 3.10 3.11 3.12; do
    lock=requirements/lock-$version.txt
    # uv reads neither pip's settings nor wheels on this machine: the hashes are those of the registry. The platform
    # decides only which packages are needed; the hashes of all platforms are written.
    "$work/uv/bin/uv" pip compile --quiet --no-config --generate-hashes --python-version "$version" \
        --python-platform x86_64-manylinux_2_28 --custom-compile-command "bash scripts/lock_requirements.sh" \
        --output-file "$lock" "$@" requirements-test.txt
    echo "$lock: $(grep -c == "$lock") packages"
done
