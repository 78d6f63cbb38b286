#!/usr/bin/env bash
# What the scripts for conversion, training and evaluation share; source it after defining usage().

# start_job KIND ARGUMENTS: check them and start the job (scripts/start_job.py), in the caller's folder.
start_job() {
    local word python=${PYTHON:-python}
    for word in "${@:2}"; do
        if [[ $word == -h || $word == --help ]]; then
            usage
            exit 0
        fi
    done
    if ! command -v "$python" >/dev/null; then
        echo "error: there is no '$python': activate the project's environment, or set PYTHON" >&2
        exit 2
    fi
    if ! "$python" -c 'import cv2, numpy, tqdm, yaml' 2>/dev/null; then
        echo "error: '$python' lacks this project's packages: activate its environment, or set PYTHON; to install them:" \
            "pip install -r requirements.txt" >&2
        exit 2
    fi
    exec "$python" "$(dirname "${BASH_SOURCE[0]}")/start_job.py" "$@"
}
