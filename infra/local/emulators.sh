#!/usr/bin/env bash
# Makes the two emulators of AWS Lambda that the function's tests run on, and prints where they are as shell lines:
#
#   HALFPIPE_CARGO_LAMBDA=...   cargo-lambda, from PyPI's package of that name
#   HALFPIPE_RIE=...            AWS's own runtime interface emulator, out of PyPI's aws-sam-cli
#
# They go to ${XDG_CACHE_HOME:-~/.cache}/halfpipe/emulators-<versions>; the link `emulators` beside it is where the tests look.
# Fetches nothing where these versions are there already. pip fetches from wherever this machine's pip is set up to.
set -euo pipefail

cargo_lambda=1.9.2
sam=1.170.0
cache=${XDG_CACHE_HOME:-$HOME/.cache}/halfpipe
folder=$cache/emulators-$cargo_lambda-$sam
say() { echo "[emulators] $*" >&2; }
die() { say "$*" && exit 1; }

# Both are Linux programs, and only of these machines.
case "$(uname -s)-$(uname -m)" in
  Linux-x86_64) member=samcli/local/rapid/aws-lambda-rie-x86_64 ;;
  Linux-aarch64) member=samcli/local/rapid/aws-lambda-rie-arm64 ;;
  *) die "there is no emulator for $(uname -s) on $(uname -m); run the function's tests on Linux, x86_64 or aarch64" ;;
esac

complete() { [ -e "$folder/.complete" ] && [ -x "$folder/bin/cargo-lambda" ] && [ -x "$folder/bin/aws-lambda-rie" ]; }

mkdir -p "$cache"
# two runs at once would spoil each other's work
exec 9>"$cache/emulators.lock"
flock 9
if ! complete; then
  python=$("$(dirname "${BASH_SOURCE[0]}")/python.sh")
  rm -rf "$folder"
  "$python" -m venv "$folder"
  pip=("$folder/bin/python" -m pip --quiet --disable-pip-version-check)
  # what it depends on is a compiler for `cargo lambda build`, which is not used here
  "${pip[@]}" install --no-deps --only-binary=:all: "cargo-lambda==$cargo_lambda" >&2 \
    || die "pip could not install cargo-lambda $cargo_lambda; check that pip works here, then run infra/local/emulators.sh again"
  # one program is wanted, not all of sam: the wheel is fetched, and that file taken out of it
  "${pip[@]}" download --no-deps --only-binary=:all: --dest "$folder/wheels" "aws-sam-cli==$sam" >&2 \
    || die "pip could not fetch aws-sam-cli $sam; check that pip works here, then run infra/local/emulators.sh again"
  "$folder/bin/python" - "$folder"/wheels/*.whl "$member" "$folder/bin/aws-lambda-rie" <<'PYTHON'
import pathlib, sys, zipfile

wheel, member, program = sys.argv[1:]
pathlib.Path(program).write_bytes(zipfile.ZipFile(wheel).read(member))
PYTHON
  chmod +x "$folder/bin/aws-lambda-rie"
  rm -r "$folder/wheels"
  touch "$folder/.complete"
  complete || die "the emulators are not where they should be, in $folder/bin; remove that folder and run infra/local/emulators.sh again"
fi
ln -sfn "$(basename "$folder")" "$cache/emulators"
printf 'HALFPIPE_CARGO_LAMBDA=%q\nHALFPIPE_RIE=%q\n' "$folder/bin/cargo-lambda" "$folder/bin/aws-lambda-rie"
