#!/usr/bin/env bash
# Makes the second S3 server that the store's tests need, moto from PyPI, in ${XDG_CACHE_HOME:-~/.cache}/halfpipe/moto, and prints the
# path of its program. Does nothing where that version is there already. pip fetches from wherever this machine's pip is set up to.
set -euo pipefail

version=5.2.5
cache=${XDG_CACHE_HOME:-$HOME/.cache}/halfpipe
folder=$cache/moto
program=$folder/bin/moto_server
mark=$folder/version

if [[ -x $program && -f $mark && $(<"$mark") == "$version" ]]; then
  echo "$program"
  exit 0
fi

here=$(dirname "${BASH_SOURCE[0]}")
python=$("$here/python.sh")
mkdir -p "$cache"
# two runs at once would spoil each other's environment
exec 9>"$cache/moto.lock"
flock 9
if [[ ! -x $program || ! -f $mark || $(<"$mark") != "$version" ]]; then
  rm -rf "$folder"
  "$python" -m venv "$folder"
  if ! "$folder/bin/python" -m pip install --quiet --disable-pip-version-check "moto[server]==$version" >&2; then
    echo "[moto] pip could not install moto[server] $version; check that pip works here, then run infra/local/moto.sh again" >&2
    exit 1
  fi
  echo "$version" >"$mark"
fi
echo "$program"
