#!/usr/bin/env bash
# Checks the files of infra/ without a network: `make lint-infra`. Every check runs; those that fail are printed with what they found.
set -euo pipefail

cd "$(dirname "${BASH_SOURCE[0]}")/../.."
tools=$(infra/lint/tools.sh)
eval "$tools"
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
export SAM_CLI_TELEMETRY=0 AWS_DEFAULT_REGION=eu-central-1 AWS_ACCESS_KEY_ID=none AWS_SECRET_ACCESS_KEY=none
templates=(infra/lambda/*.yaml)
overlays=(infra/kubernetes/overlays/*/)
dockerfiles=(infra/docker/Dockerfile.cpu infra/docker/Dockerfile.cuda infra/docker/Dockerfile.lambda)

# checkov's findings that are no faults here:
#   CKV_K8S_43  digests of images are set by who pushes them; registry.example is a name to replace
#   CKV_K8S_15  an image named by its digest need not be pulled again
#   CKV_K8S_35  the program takes its API keys from its environment, as a function does; there is no option for a file
# Those of the AWS templates and the Dockerfiles stand beside what they are about.
checkov() { "$CHECKOV_BIN/checkov" --skip-download --compact --quiet "$@"; }

scripts() { git ls-files -co --exclude-standard -- '*.sh' .ci/run | xargs "$LINT_BIN/shellcheck" --external-sources; }
dockerfiles() { "$LINT_BIN/hadolint" "${dockerfiles[@]}"; }
images() { checkov -d infra/docker --framework dockerfile; }
template() { "$LINT_BIN/cfn-lint" "$1"; }
sam() { "$LINT_BIN/sam" validate --lint --template "$1" --region eu-central-1; }
rights() { checkov -d infra/lambda --framework cloudformation; }
states() { "$ASL_BIN/asl-validator" --json-path "$1"; }
manifests() {
  "$LINT_BIN/kubernetes-validate" --strict --no-warn --quiet "$1"
  "$LINT_BIN/python" infra/lint/kinds.py "$1"
}
pods() { checkov -d "$scratch/rendered" --framework kubernetes --skip-check CKV_K8S_43,CKV_K8S_15,CKV_K8S_35; }

mkdir "$scratch/rendered"
for overlay in "${overlays[@]}"; do
  "$KUBECTL" kustomize "$overlay" >"$scratch/rendered/$(basename "$overlay").yaml"
done
cp infra/kubernetes/knative/service.yaml "$scratch/rendered/knative.yaml"

names=() pids=()
# check NAME COMMAND...: two at a time, as there are at least two cores
check() {
  while [ "$(jobs -rp | wc -l)" -ge 2 ]; do wait -n || true; done
  local name=$1
  shift
  ("$@" >"$scratch/$name.log" 2>&1) &
  names+=("$name") pids+=($!)
}
check rights rights
check pods pods
check images images
for file in "${templates[@]}"; do
  check "cfn-lint-$(basename "$file")" template "$file"
  check "sam-$(basename "$file")" sam "$file"
done
for file in infra/lambda/*.asl.json; do check "states-$(basename "$file")" states "$file"; done
for file in "$scratch"/rendered/*.yaml; do check "manifests-$(basename "$file")" manifests "$file"; done
check scripts scripts
check dockerfiles dockerfiles

failed=0
for i in "${!names[@]}"; do
  if ! wait "${pids[i]}"; then
    failed=$((failed + 1))
    printf '\n[lint-infra] %s\n' "${names[i]}" >&2
    cat "$scratch/${names[i]}.log" >&2
  fi
done
[ $failed -eq 0 ] || { echo "[lint-infra] $failed of ${#names[@]} checks failed" >&2; exit 1; }
echo "[lint-infra] ${#names[@]} checks passed"
