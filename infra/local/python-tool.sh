#!/usr/bin/env bash
# Makes a Python program from PyPI that the tests need, in an environment of its own under ${XDG_CACHE_HOME:-~/.cache}/halfpipe/NAME, and
# prints the path of PROGRAM in it. Does nothing where that version is there already. pip fetches from wherever this machine's pip is
# set up to.
#
#   python-tool.sh NAME REQUIREMENT PROGRAM      e.g. python-tool.sh moto 'moto[server]==5.2.5' moto_server
set -euo pipefail

[[ $# -eq 3 ]] || { echo "usage: $0 NAME REQUIREMENT PROGRAM" >&2; exit 2; }
name=$1 requirement=$2
cache=${XDG_CACHE_HOME:-$HOME/.cache}/halfpipe
folder=$cache/$name
program=$folder/bin/$3
mark=$folder/requirement

made() { [[ -x $program && -f $mark && $(<"$mark") == "$requirement" ]]; }

if ! made; then
  python=$("$(dirname "${BASH_SOURCE[0]}")/python.sh")
  mkdir -p "$cache"
  # two runs at once would spoil each other's environment
  exec 9>"$cache/$name.lock"
  flock 9
  if ! made; then
    rm -rf "$folder"
    "$python" -m venv "$folder"
    if ! "$folder/bin/python" -m pip install --quiet --disable-pip-version-check "$requirement" >&2; then
      echo "[$name] pip could not install $requirement; check that pip works here, then run this again" >&2
      exit 1
    fi
    echo "$requirement" >"$mark"
  fi
fi
echo "$program"
