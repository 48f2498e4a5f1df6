#!/usr/bin/env bash
# Prints the Python to make models with: the first of several names that is 3.11 or later and has venv. Fails if none is.
set -euo pipefail

for name in ${PYTHON:-python3 python3.14 python3.13 python3.12 python3.11}; do
  if "$name" -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1; then
    echo "$name"
    exit 0
  fi
done
echo "[python] no Python 3.11 or later with venv among: ${PYTHON:-python3 python3.14 python3.13 python3.12 python3.11}" >&2
exit 1
