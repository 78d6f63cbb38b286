#!/usr/bin/env bash
# Functions that look for free disk space before a long download. Other scripts source it.

# require_space FOLDER MEGABYTES SUBJECT ADVICE: fail with a message if FOLDER's disk has less. FOLDER need not exist.
require_space() {
    local place=$1 free
    while [[ ! -d $place ]]; do
        place=$(dirname "$place")
    done
    { read -r && read -r _ _ _ free _; } < <(df -Pm "$place")
    if ((free < $2)); then
        echo "error: $2 MB are needed for $3, but only $free MB are free on the disk of $place: delete files" \
            "there, or $4" >&2
        return 1
    fi
}

# require_space_for_pip FOLDER MEGABYTES VARIABLE: the same for an environment in FOLDER, and for pip's temporary files.
require_space_for_pip() {
    local replaced=0
    if [[ -d $1 ]]; then
        read -r replaced _ < <(du -sm "$1")
    fi
    require_space "$1" $(($2 - replaced)) "the environment $1" "set $3 to a folder on another disk" \
        && require_space "${TMPDIR:-/tmp}" 1500 "pip's temporary files" "set TMPDIR to a folder on another disk"
}
