#!/usr/bin/env bash
# Common functions of the scripts in this folder; they source it.

repository=$(CDPATH='' cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
# Every Python that a script starts can import this checkout's package, and tools/.
export PYTHONPATH=$repository/src:$repository${PYTHONPATH:+:$PYTHONPATH}

# help_if_asked WORDS: if the first word is -h or --help, print the first comment of the calling script and exit.
help_if_asked() {
    if [[ ${1:-} == -h || ${1:-} == --help ]]; then
        sed -n '2,/^[^#]/{/^#/s/^# \{0,1\}//p}' "${BASH_SOURCE[1]}"
        exit 0
    fi
}

# require_python: exit with a message if PYTHON (default: python) is no program, or lacks this project's packages.
require_python() {
    local python=${PYTHON:-python}
    if ! command -v "$python" >/dev/null; then
        echo "error: there is no '$python': activate the project's environment, or set PYTHON" >&2
        exit 2
    fi
    if ! "$python" -c 'import cv2, numpy, tqdm, yaml' 2>/dev/null; then
        echo "error: '$python' lacks this project's packages: activate its environment, or set PYTHON; to install them:" \
            "pip install -r requirements.txt" >&2
        exit 2
    fi
}

# start_job KIND ARGUMENTS: check them and start the job (src/centernet/jobs/start_job.py), in the caller's folder.
# Callers of this function and the next ones define usage().
start_job() {
    local word python=${PYTHON:-python}
    for word in "${@:2}"; do
        if [[ $word == -h || $word == --help ]]; then
            usage
            exit 0
        fi
    done
    require_python
    exec "$python" "$repository/src/centernet/jobs/start_job.py" "$@"
}

# check_call ARGUMENTS: print the caller's usage() and exit if there are none, or if help is asked; then require_python.
check_call() {
    if [[ ${1:-} == -h || ${1:-} == --help ]]; then
        usage
        exit 0
    fi
    if [[ $# -eq 0 ]]; then
        usage >&2
        exit 2
    fi
    require_python
}

# run_tool NAME ARGUMENTS: check_call, then run tools/NAME.py in the caller's folder.
run_tool() {
    check_call "${@:2}"
    exec "${PYTHON:-python}" "$repository/tools/$1.py" "${@:2}"
}
