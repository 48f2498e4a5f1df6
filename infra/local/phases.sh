#!/usr/bin/env bash
# Runs make targets one after another, stops at the first that fails, and says at the end how long each took.
#
#   infra/local/phases.sh packages models guests
set -euo pipefail

summary=()
status=0
for phase in "$@"; do
  echo "==> $phase"
  start=$SECONDS
  "${MAKE:-make}" --no-print-directory "$phase" || status=$?
  summary+=("$(printf '%-14s %5d s' "$phase" $((SECONDS - start)))")
  if [ $status -ne 0 ]; then
    summary+=("failed in: $phase")
    break
  fi
done

echo
printf '    %s\n' "${summary[@]}"
exit $status
