#!/usr/bin/env bash
# Runs make targets one after another, stops at the first that fails, and says at the end how long each took.
#
#   infra/local/phases.sh packages models guests
#   infra/local/phases.sh guests test-unit+lint-infra,test-models
#
# What `+` joins runs side by side: first what is before it, with its output as it comes, beside it the targets after it (one after another
# where `,` joins them), whose output is shown when all of them have ended.
set -euo pipefail

scratch=$(mktemp -d)
beside=()
down() {
  local status=$?
  trap - EXIT INT TERM
  for pid in "${beside[@]}"; do kill -- "-$pid" 2>/dev/null || true; done
  rm -rf "$scratch"
  exit "$status"
}
trap down EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

# phase TARGET: makes it, and notes the time
phase() {
  local start=$SECONDS status=0
  echo "==> $1"
  "${MAKE:-make}" --no-print-directory "$1" || status=$?
  printf '%-14s %5d s\n' "$1" $((SECONDS - start)) >>"$scratch/summary"
  [ $status -eq 0 ] || echo "failed in: $1" >>"$scratch/summary"
  return "$status"
}
# sequence TARGET,TARGET...: up to the first that fails
sequence() {
  local target
  for target in ${1//,/ }; do phase "$target" || return; done
}

status=0
for step in "$@"; do
  IFS=+ read -ra lanes <<<"$step"
  for ((i = 1; i < ${#lanes[@]}; i++)); do
    # a process group of its own, so that it can be ended with all that it started
    set -m
    sequence "${lanes[i]}" >"$scratch/lane$i" 2>&1 </dev/null &
    set +m
    beside+=($!)
  done
  sequence "${lanes[0]}" || status=$?
  for ((i = 1; i < ${#lanes[@]}; i++)); do
    if [ $status -eq 0 ]; then wait "${beside[i - 1]}" || status=$?; fi
    cat "$scratch/lane$i"
  done
  [ $status -eq 0 ] || break
  beside=()
done

echo
sed 's/^/    /' "$scratch/summary"
[ "$status" -eq 0 ] || false
