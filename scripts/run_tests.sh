#!/usr/bin/env bash
# Set up everything, then run the linter and the tests.
# Usage: bash scripts/run_tests.sh [pytest arguments]     e.g.  bash scripts/run_tests.sh -m slow
set -euo pipefail

scripts=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=scripts/set_up_environment.sh
. "$scripts/set_up_environment.sh"
cd "$scripts/.."

"$PYTHON" -m ruff check .
if [[ " $* " != *" -m "* ]]; then
    set -- -m "not slow" "$@"
fi
exec "$PYTHON" -m pytest "$@"
