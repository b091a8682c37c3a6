#!/usr/bin/env bash
# Fail a build when a network's initialisation is not critical, or so deep for its width that seeds differ much.
#
#     examples/ci_check.sh [OPTIONS of repflow report]      for example: examples/ci_check.sh --width 64 --depth 10
#
# Exit status: 0 fine, 1 a check failed, 2 a wrong argument, or no repflow on the PATH. The report is
# written in each case but the last.
set -euo pipefail
if ! command -v repflow >/dev/null; then
    echo "repflow is not on the PATH: activate the environment it is installed in (. .venv/bin/activate)" >&2
    exit 2
fi
exec repflow report --data digits --depth 5 --width 256 --activation gelu --networks 2000 --out report --no-progress \
    --fail-if untrusted,not-critical "$@"
