#!/usr/bin/env bash
# Functions of the scripts that create this project's environments; they source it.

# find_python: print the path of a Python 3.10, 3.11 or 3.12: $PYTHON, or else the first one found; without one, fail.
find_python() {
    local candidate candidates=(python3 python3.12 python3.11 python3.10)
    [ -z "${PYTHON:-}" ] || candidates=("$PYTHON")
    for candidate in "${candidates[@]}"; do
        if "$candidate" -c 'import sys; sys.exit(not (3, 10) <= sys.version_info[:2] <= (3, 12))' 2>/dev/null; then
            command -v "$candidate"
            return
        fi
    done
    if [ -n "${PYTHON:-}" ]; then
        echo "error: PYTHON=$PYTHON must be a Python 3.10, 3.11 or 3.12: $("$PYTHON" --version 2>&1 || true)" >&2
        return 1
    fi
    echo "error: Python 3.10, 3.11 or 3.12 is needed and none was found; python3 is: $(python3 --version 2>&1 || true)" >&2
    echo "Install one (Debian, Ubuntu: apt-get install python3 python3-venv) or set PYTHON=/path/to/python3.11" >&2
    return 1
}

# lock_of PYTHON: print the path of the lock file for this Python.
lock_of() {
    local version
    version=$("$1" -c 'import sys; print("%d.%d" % sys.version_info[:2])') || return 1
    echo "$(CDPATH='' cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)/requirements/lock-$version.txt"
}
