"""The manifests are what Kubernetes accepts, and agree with settings, ports, commands and deadlines of the code."""

import copy
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from ems_streams import __version__
from tests.support.container_facts import PORTS, SECONDS_TO_STOP, USER, command_faults, image_environment, settings_faults
from tests.support.kustomize import Manifest, build, containers, pod
from tests.support.schemas import kubernetes_faults

ROOT = Path(__file__).parents[3]
KUBERNETES = ROOT / "kubernetes"
OVERLAYS = {name: build(KUBERNETES / "overlays" / name) for name in ("dev", "prod", "secure")}
EVERYTHING = [(name, manifest) for name, manifests in OVERLAYS.items() for manifest in manifests]
OURS = [(name, each) for name, each in EVERYTHING if any(c["image"].startswith("ems-streams:") for c in containers(each))]
PROCESSES = [(name, each) for name, each in OURS if each["kind"] != "Job"]


def named(value: tuple[str, Manifest]) -> str:
    return f"{value[0]}-{value[1]['kind']}-{value[1]['metadata']['name']}"


@pytest.mark.parametrize("found", EVERYTHING, ids=named)
def test_a_manifest_is_what_kubernetes_accepts(found: tuple[str, Manifest]) -> None:
    _, manifest = found
    if manifest["apiVersion"].startswith("monitoring.coreos.com/"):
        assert manifest["spec"].keys() == {"jobLabel", "selector", "endpoints"}
    else:
        assert kubernetes_faults(manifest) == []


def test_a_field_that_does_not_exist_is_noticed() -> None:
    manifest = copy.deepcopy(next(each for _, each in PROCESSES if each["kind"] == "StatefulSet"))
    pod(manifest)["containers"][0]["readynessProbe"] = {}
    manifest["spec"]["replicas"] = "three"

    assert len(kubernetes_faults(manifest)) == 2


@pytest.mark.skipif(shutil.which("kubectl") is None, reason="no kubectl here to compare with")
@pytest.mark.parametrize("overlay", OVERLAYS)
def test_kubectl_makes_the_same_of_it(overlay: str) -> None:
    made = subprocess.run(
        ["kubectl", "kustomize", str(KUBERNETES / "overlays" / overlay)], capture_output=True, text=True, check=True, timeout=60
    )

    def order(manifest: Manifest) -> tuple[str, str]:
        return manifest["kind"], manifest["metadata"]["name"]

    assert sorted(OVERLAYS[overlay], key=order) == sorted(yaml.safe_load_all(made.stdout), key=order)


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_every_process_is_there_once(overlay: str) -> None:
    assert sorted(each["metadata"]["name"] for name, each in PROCESSES if name == overlay) == sorted(PORTS)


@pytest.mark.parametrize("found", OURS, ids=named)
def test_a_pod_of_ours_has_nobodys_rights_and_writes_where_it_may(found: tuple[str, Manifest]) -> None:
    _, manifest = found
    spec = pod(manifest)
    (container,) = containers(manifest)

    assert spec["securityContext"] | {"fsGroupChangePolicy": "OnRootMismatch"} == {
        "runAsNonRoot": True, "runAsUser": USER, "runAsGroup": USER, "fsGroup": USER,
        "fsGroupChangePolicy": "OnRootMismatch", "seccompProfile": {"type": "RuntimeDefault"},
    }  # fmt: skip
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False, "readOnlyRootFilesystem": True, "capabilities": {"drop": ["ALL"]}
    }  # fmt: skip
    assert spec["automountServiceAccountToken"] is False
    assert container["resources"]["limits"]["memory"]
    assert container["resources"]["requests"].keys() == {"cpu", "memory"}
    assert container["image"] == f"ems-streams:{__version__}"
    writable = {mount["mountPath"] for mount in container["volumeMounts"] if not mount.get("readOnly")}
    assert writable == ({"/tmp", "/var/lib/ems"} if manifest["metadata"]["name"] == "worker" else {"/tmp"})
    volumes = {each["name"] for each in spec["volumes"]} | {
        each["metadata"]["name"] for each in manifest["spec"].get("volumeClaimTemplates", ())
    }
    assert volumes == {mount["name"] for mount in container["volumeMounts"]}


@pytest.mark.parametrize("found", OURS, ids=named)
def test_commands_and_settings_of_a_pod_are_those_of_the_code(
    found: tuple[str, Manifest], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    overlay, manifest = found
    (container,) = containers(manifest)
    environment = image_environment() | environment_of(overlay, container)

    assert command_faults(container["args"]) == []
    assert (
        settings_faults(
            container["args"][0],
            environment,
            mounts=[each["mountPath"] for each in container["volumeMounts"]],
            tmp_path=tmp_path,
            monkeypatch=monkeypatch,
        )
        == []
    )


@pytest.mark.parametrize("found", PROCESSES, ids=named)
def test_ports_probes_and_deadlines_are_those_of_the_code(found: tuple[str, Manifest]) -> None:
    overlay, manifest = found
    name = manifest["metadata"]["name"]
    (container,) = containers(manifest)

    assert container["ports"] == [{"name": "http", "containerPort": PORTS[name]}]
    for probe, path in (("startupProbe", "/startupz"), ("livenessProbe", "/livez"), ("readinessProbe", "/readyz")):
        asked = container[probe]["httpGet"]
        assert (asked["path"], asked["port"]) == (path, "http")
        https = any(each["name"] == "EMS_GATEWAY_CERT_FILE" for each in container.get("env", ()))
        assert asked.get("scheme", "HTTP") == ("HTTPS" if https else "HTTP")
    assert https == (overlay == "secure" and name == "gateway")
    assert container["livenessProbe"]["failureThreshold"] >= 3
    before_s = int(container["lifecycle"]["preStop"]["exec"]["command"][1]) if "lifecycle" in container else 0
    assert pod(manifest)["terminationGracePeriodSeconds"] >= before_s + SECONDS_TO_STOP[name] + 5


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_names_lead_where_they_should(overlay: str) -> None:
    manifests = OVERLAYS[overlay]
    services = {each["metadata"]["name"]: each for each in manifests if each["kind"] == "Service"}
    for name, port in PORTS.items():
        assert services[name]["spec"]["selector"] == {"app.kubernetes.io/name": name}
        assert services[name]["spec"]["ports"] == [{"name": "http", "port": port, "targetPort": "http"}]
    for each in manifests:
        if each["kind"] == "StatefulSet":
            assert services[each["spec"]["serviceName"]]["spec"]["selector"] == each["spec"]["selector"]["matchLabels"]
        if each["kind"] in {"StatefulSet", "Deployment"}:
            assert each["spec"]["selector"]["matchLabels"].items() <= each["spec"]["template"]["metadata"]["labels"].items()
    budgets = {
        each["metadata"]["name"]: each["spec"]["selector"]["matchLabels"] for each in manifests if each["kind"] == "PodDisruptionBudget"
    }
    assert budgets == {name: {"app.kubernetes.io/name": name} for name in PORTS}
    (settings,) = (each["data"] for each in manifests if each["metadata"]["name"] == "ems-streams" and each["kind"] == "ConfigMap")
    assert settings["EMS_WORKER_URLS"] == f"http://worker:{PORTS['worker']}"
    if overlay == "dev":
        for variable, service in (("EMS_KAFKA_BOOTSTRAP_SERVERS", "kafka"), ("EMS_MQTT_URL", "mosquitto")):
            host, _, port = settings[variable].rpartition("//")[2].partition(":")
            assert (host, int(port)) == (service, services[service]["spec"]["ports"][0]["port"])


def test_a_worker_is_named_and_reached_by_its_pod() -> None:
    for overlay, manifest in PROCESSES:
        if manifest["metadata"]["name"] != "worker":
            continue
        environment = environment_of(overlay, containers(manifest)[0], pod="worker-2")
        assert environment["EMS_WORKER_ID"] == "worker-2"
        assert environment["EMS_WORKER_ADVERTISED_URL"] == f"http://worker-2.{manifest['spec']['serviceName']}:{PORTS['worker']}"
        assert int(environment["EMS_STANDBY_REPLICAS"]) == 1
        (claim,) = manifest["spec"]["volumeClaimTemplates"]
        assert claim["metadata"]["name"] == "state"


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_the_gateway_alone_is_open_to_everybody(overlay: str) -> None:
    policies = [each["spec"] for each in OVERLAYS[overlay] if each["kind"] == "NetworkPolicy" and "Ingress" in each["spec"]["policyTypes"]]
    open_ones = [each for each in policies for rule in each.get("ingress", ()) if not rule.get("from")]
    assert [each["podSelector"]["matchLabels"]["app.kubernetes.io/name"] for each in open_ones] == ["gateway"]
    closed = {"podSelector": {"matchLabels": {"app.kubernetes.io/part-of": "ems-streams"}}, "policyTypes": ["Ingress"]}
    assert closed in policies
    for each in OVERLAYS[overlay]:
        if each["kind"] == "NetworkPolicy":
            for rule in (*each["spec"].get("ingress", ()), *each["spec"].get("egress", ())):
                assert rule["ports"], "a rule without ports is one for all of them"


def test_monitoring_finds_every_service_under_the_job_of_the_alert_rules() -> None:
    (monitor,) = (each for each in OVERLAYS["prod"] if each["kind"] == "ServiceMonitor")
    scraped = yaml.safe_load((ROOT / "docker/prometheus/prometheus.yml").read_text())["scrape_configs"]
    label = monitor["spec"]["jobLabel"]
    jobs = {each["metadata"]["labels"].get(label) for each in OVERLAYS["prod"] if each["kind"] == "Service"}
    assert jobs == {each["job_name"] for each in scraped}
    assert [each["port"] for each in monitor["spec"]["endpoints"]] == ["http"]


def test_the_broker_of_the_dev_overlay_is_that_of_compose() -> None:
    (settings,) = (each["data"] for each in OVERLAYS["dev"] if each["metadata"]["name"] == "mosquitto" and each["kind"] == "ConfigMap")
    assert settings["mosquitto.conf"] == (ROOT / "docker/mosquitto/mosquitto.conf").read_text()
    compose = yaml.safe_load((ROOT / "docker/compose.yaml").read_text())["services"]
    images = {c["image"] for each in OVERLAYS["dev"] for c in containers(each) if not c["image"].startswith("ems-streams")}
    assert images == {re.sub(r"\$\{\w+:-(.+)\}", r"\1", compose[name]["image"]) for name in ("kafka", "mosquitto", "postgres")}


def test_no_manifest_holds_a_secret() -> None:
    assert [named(each) for each in EVERYTHING if each[1]["kind"] == "Secret"] == []
    for overlay, manifest in EVERYTHING:
        for container in containers(manifest):
            for each in container.get("env", ()):
                assert (
                    not re.search("PASSWORD|TOKEN|DATABASE_URL", each["name"]) or each["name"].endswith("_FILE") or "valueFrom" in each
                ), overlay


def environment_of(overlay: str, container: dict[str, Any], pod: str = "pod-0") -> dict[str, str]:
    """Of a container in a pod of that name, in the order in which Kubernetes sets it."""
    return dict(_variables(overlay, container, pod))


def _variables(overlay: str, container: dict[str, Any], pod: str) -> Iterator[tuple[str, str]]:
    known: dict[str, str] = {}
    for source in container.get("envFrom", ()):
        for each in OVERLAYS[overlay]:
            if each["kind"] == "ConfigMap" and each["metadata"]["name"] == source["configMapRef"]["name"]:
                known |= each["data"]
    for each in container.get("env", ()):
        value = pod if each.get("valueFrom", {}).get("fieldRef", {}).get("fieldPath") == "metadata.name" else each["value"]
        known[each["name"]] = re.sub(r"\$\((\w+)\)", lambda match: known[match[1]], value)
    yield from known.items()
