"""Checks what kubernetes-validate knows no schema for: the kinds of KEDA and Knative that infra/kubernetes uses, against the schemas in
kinds.json. Those are written for this purpose and stricter than the makers': they allow the fields that are in use here and no others, so
a misspelt one is found. A kind that neither program knows is an error.

    python kinds.py MANIFESTS.yaml
"""

import json
import pathlib
import sys

import jsonschema
import kubernetes_validate
import yaml

SCHEMAS = json.loads(pathlib.Path(__file__).with_name("kinds.json").read_text())
OTHERS = {"keda.sh/v1alpha1", "serving.knative.dev/v1"}


def complaints(document: dict) -> list[str]:
    """What is wrong with one manifest; nothing for kinds of Kubernetes itself."""
    kind = f"{document.get('apiVersion')}/{document.get('kind')}"
    if document.get("apiVersion") not in OTHERS:
        return []
    if kind not in SCHEMAS["kinds"]:
        return [f"{kind} has no schema in infra/lint/kinds.json; add one"]
    validator = jsonschema.Draft202012Validator({**SCHEMAS["kinds"][kind], "$defs": SCHEMAS["$defs"]})
    found = [f"{kind} {document['metadata']['name']}: {error.json_path}: {error.message}" for error in validator.iter_errors(document)]
    return found + pod_complaints(document)


def pod_of(document: dict) -> dict | None:
    """The pod within a Knative service or a KEDA job; None in other kinds."""
    spec = document["spec"]
    if document["kind"] == "ScaledJob":
        return spec["jobTargetRef"]["template"].get("spec")
    if document["kind"] != "Service":
        return None
    # Knative adds these two to a pod
    own = ("containerConcurrency", "timeoutSeconds")
    pod = {key: value for key, value in spec["template"]["spec"].items() if key not in own}
    pod["containers"] = [{"name": "user-container", **container} for container in pod["containers"]]
    return pod


def pod_complaints(document: dict) -> list[str]:
    """The pod within another kind, checked as a pod of Kubernetes."""
    pod = pod_of(document)
    if pod is None:
        return []
    plain = {"apiVersion": "v1", "kind": "Pod", "metadata": document["metadata"], "spec": pod}
    try:
        kubernetes_validate.validate(plain, kubernetes_validate.latest_version(), strict=True)
    except kubernetes_validate.ValidationError as error:
        return [f"{document['kind']} {document['metadata']['name']}: {'.'.join(map(str, error.path))}: {error.message}"]
    return []


def main(path: str) -> int:
    """1 if anything in the file is wrong."""
    documents = [d for d in yaml.safe_load_all(pathlib.Path(path).read_text()) if d]
    found = [c for document in documents for c in complaints(document)]
    for complaint in found:
        print(complaint, file=sys.stderr)
    return 1 if found or not documents else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
