"""What `kubectl kustomize` makes of our overlays: as much of it as they use, so that tests need no kubectl. One test compares where there is one."""

import copy
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

Manifest = dict[str, Any]

KNOWN = {"apiVersion", "kind", "namespace", "resources", "components", "labels", "patches", "images", "replicas"}
MERGED_BY = {"containers": "name", "env": "name", "volumes": "name", "volumeMounts": "mountPath", "ports": "containerPort"}
"""Lists that strategic merging joins by a key; any other one is replaced."""


def build(directory: Path) -> list[Manifest]:
    """The manifests of a kustomization."""
    kustomization = yaml.safe_load((directory / "kustomization.yaml").read_text())
    assert kustomization.keys() <= KNOWN, f"{directory}: not understood here: {kustomization.keys() - KNOWN}"
    manifests = [manifest for name in kustomization.get("resources", ()) for manifest in _resource(directory / name)]
    for name in kustomization.get("components", ()):
        manifests += build(directory / name)
    for patch in kustomization.get("patches", ()):
        _patch(manifests, patch, yaml.safe_load((directory / patch["path"]).read_text()))
    for manifest in manifests:
        _finish(manifest, kustomization)
    return manifests


def _resource(path: Path) -> list[Manifest]:
    return build(path) if path.is_dir() else [each for each in yaml.safe_load_all(path.read_text()) if each]


def _patch(manifests: list[Manifest], patch: dict[str, Any], change: Manifest) -> None:
    target = patch.get("target")
    found = [each for each in manifests if _is_target(each, target, change)]
    assert found, f"{patch['path']}: nothing to change"
    for manifest in found:
        # A target says what is meant; the kind and name in the file then say nothing.
        merged = _merge(manifest, {key: value for key, value in change.items() if key == "spec"} if target else change)
        manifest.clear()
        manifest.update(merged)


def _is_target(manifest: Manifest, target: dict[str, str] | None, change: Manifest) -> bool:
    if target is None:
        return (manifest["kind"], manifest["metadata"]["name"]) == (change["kind"], change["metadata"]["name"])
    labels = manifest["metadata"].get("labels", {})
    wanted = dict(each.split("=") for each in target.get("labelSelector", "").split(",") if each)
    return bool(re.fullmatch(target["kind"], manifest["kind"])) and all(labels.get(key) == value for key, value in wanted.items())


def _merge(old: Any, new: Any, key: str = "") -> Any:
    if isinstance(old, dict) and isinstance(new, dict):
        return old | {name: _merge(old[name], value, name) if name in old else copy.deepcopy(value) for name, value in new.items()}
    by = MERGED_BY.get(key)
    if isinstance(old, list) and isinstance(new, list) and by:
        before = {each[by]: each for each in old}
        changed = {each[by]: _merge(before[each[by]], each) if each[by] in before else copy.deepcopy(each) for each in new}
        return [*changed.values(), *(each for each in old if each[by] not in changed)]
    return copy.deepcopy(new)


def _finish(manifest: Manifest, kustomization: dict[str, Any]) -> None:
    if "namespace" in kustomization and manifest["kind"] != "Namespace":
        manifest["metadata"]["namespace"] = kustomization["namespace"]
    for each in kustomization.get("labels", ()):
        for metadata in (manifest["metadata"], *_templates(manifest)):
            metadata["labels"] = {**metadata.get("labels", {}), **each["pairs"]}
    for each in kustomization.get("replicas", ()):
        if manifest["kind"] in {"StatefulSet", "Deployment"} and manifest["metadata"]["name"] == each["name"]:
            manifest["spec"]["replicas"] = each["count"]
    for container in containers(manifest):
        for each in kustomization.get("images", ()):
            if container["image"].split(":")[0] == each["name"]:
                container["image"] = f"{each['name']}:{each['newTag']}"


def _templates(manifest: Manifest) -> Iterator[dict[str, Any]]:
    if "template" in manifest.get("spec", {}):
        yield manifest["spec"]["template"].setdefault("metadata", {})
    # kustomize labels the claims of a stateful set too.
    for claim in manifest.get("spec", {}).get("volumeClaimTemplates", ()):
        yield claim["metadata"]


def pod(manifest: Manifest) -> dict[str, Any]:
    """The specification of the pods that something makes; empty of anything else."""
    found: dict[str, Any] = manifest.get("spec", {}).get("template", {}).get("spec", {}) if manifest["kind"] != "Namespace" else {}
    return found


def containers(manifest: Manifest) -> list[dict[str, Any]]:
    """Of such pods."""
    return list(pod(manifest).get("containers", ()))
