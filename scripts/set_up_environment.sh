#!/usr/bin/env bash
# usage: . scripts/set_up_environment.sh      then "$PYTHON" train.py ...
# Creates the virtual environment for run_demo_cpu.sh and run_tests.sh and sets PYTHON to its Python; source it.
# Packages are installed only if their list has changed since the last time. The package centernet itself is
# installed from this checkout (pip install -e), with its command `centernet`.
#   CENTERNET_VENV  folder of the environment (default: .venv in the repository)
#   CENTERNET_LOCK  list of the packages with their versions (default: requirements/lock-3.11.txt for Python 3.11, ...)
#   PYTHON          a Python 3.10, 3.11 or 3.12 to create it with (default: the first one found)

repository=$(CDPATH='' cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
venv=${CENTERNET_VENV:-$repository/.venv}
[[ $venv == /* ]] || venv=$PWD/$venv # the scripts that source this one change the folder
# shellcheck source=scripts/disk_space.sh
. "$repository/scripts/disk_space.sh"
# shellcheck source=scripts/find_python.sh
. "$repository/scripts/find_python.sh"

# is_current: the environment is there, and its list of packages has not changed since.
is_current() {
    local lock locks=("$repository"/requirements/lock-*.txt)
    [ -z "${CENTERNET_LOCK:-}" ] || locks=("$CENTERNET_LOCK")
    for lock in "${locks[@]}"; do
        if [ -x "$venv/bin/python" ] && cmp -s "$lock" "$venv/installed.lock"; then
            return
        fi
    done
    return 1
}

make_environment() {
    local python lock
    if is_current; then
        return
    fi
    python=$(find_python) || return 1
    lock=${CENTERNET_LOCK:-$(lock_of "$python")} || return 1
    require_space_for_pip "$venv" 4000 CENTERNET_VENV || return 1
    echo "Setting up $venv with $("$python" --version) (about 2 minutes, 1 GB to download, 4 GB of disk)"
    if ! "$python" -m venv --clear "$venv"; then
        echo "error: $python cannot create virtual environments (Debian, Ubuntu: apt-get install python3-venv)" >&2
        return 1
    fi
    # The lock file has hashes, so pip refuses any other file, and any package that is not in it.
    "$venv/bin/python" -m pip install --quiet --disable-pip-version-check --requirement "$lock" \
        || { echo "error: the installation of $lock failed: see the message above" >&2; return 1; }
    cp "$lock" "$venv/installed.lock"
}

install_package() {
    local stamp=$venv/installed.package
    if [ "$(cat "$stamp" 2>/dev/null)" == "$repository" ] && [ "$stamp" -nt "$repository/pyproject.toml" ]; then
        return
    fi
    "$venv/bin/python" -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation \
        --editable "$repository" \
        || { echo "error: the installation of $repository failed: see the message above" >&2; return 1; }
    echo "$repository" >"$stamp"
}

if [[ ${BASH_SOURCE[0]} == "$0" ]]; then  # if it is sourced, the arguments belong to the other script
    # shellcheck source=scripts/common.sh
    . "$(dirname "$0")/common.sh"
    help_if_asked "$@"
fi

make_environment || exit 1
install_package || exit 1
PYTHON=$venv/bin/python
export PYTHON
