"""A real Prometheus with the rules of `docker/`, in a hurry, on processes of ours; needs its binary (`EMS_PROMETHEUS`, or `prometheus` on the path)."""

import json
import os
import re
import shutil
import subprocess
import time
import urllib.parse
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from tests.support.metric_use import ALERTS
from tests.support.processes import get

_UNITS_S = {"s": 1, "m": 60, "h": 3600, "d": 86400}
_LOOKED_BACK = re.compile(r"(\[|\boffset )(\d+[smhd])")
READY_TIMEOUT_S = 60.0
HOLDS_DIVISOR = 60.0
HOLDS_LEAST_S = 2.0
"""More than one scrape that fails."""
LOOKS_BACK_DIVISOR = 5.0
LOOKS_BACK_LEAST_S = 60.0


def binary() -> str | None:
    """Where Prometheus is; None when it is not installed."""
    return os.environ.get("EMS_PROMETHEUS") or shutil.which("prometheus")


def seconds(duration: str) -> float:
    """Of a duration such as `2m`."""
    found = re.fullmatch(r"(\d+)([smhd])", duration)
    assert found is not None, duration
    return int(found[1]) * _UNITS_S[found[2]]


def in_a_hurry(rule: dict[str, Any]) -> dict[str, Any]:
    """An alert rule whose expression has to hold, and looks back, for a shorter time; thresholds are as they were."""

    def shorter(found: re.Match[str]) -> str:
        return f"{found[1]}{round(max(LOOKS_BACK_LEAST_S, seconds(found[2]) / LOOKS_BACK_DIVISOR))}s"

    hurried = rule | {"expr": _LOOKED_BACK.sub(shorter, rule["expr"])}
    if "for" in rule:
        hurried["for"] = f"{round(max(HOLDS_LEAST_S, seconds(rule['for']) / HOLDS_DIVISOR))}s"
    return hurried


@dataclass
class Prometheus:
    """Scrapes and evaluates every second, by the rules of `docker/` as `in_a_hurry` makes them.

    Attributes:
        targets: `host:port` by job, which may change at any time (`retarget`).
    """

    directory: Path
    port: int
    targets: dict[str, list[str]] = field(default_factory=dict)
    _process: "subprocess.Popen[bytes] | None" = None

    def start(self) -> None:
        """Return when it answers."""
        self.directory.mkdir(parents=True, exist_ok=True)
        (self.directory / "alerts.yml").write_text(yaml.safe_dump(self._rules()))
        jobs = [
            {"job_name": job, "file_sd_configs": [{"files": [str(self.directory / f"{job}.json")], "refresh_interval": "1s"}]}
            for job in ("ems-ingress", "ems-worker", "ems-sink", "ems-notifier", "ems-gateway")
        ]
        config = {
            "global": {"scrape_interval": "1s", "evaluation_interval": "1s"},
            "rule_files": ["alerts.yml"],
            "scrape_configs": jobs,
        }
        (self.directory / "prometheus.yml").write_text(yaml.safe_dump(config))
        self.retarget(self.targets)
        program = binary()
        assert program is not None
        with (self.directory / "prometheus.log").open("ab") as log:
            self._process = subprocess.Popen(
                [
                    program,
                    f"--config.file={self.directory / 'prometheus.yml'}",
                    f"--storage.tsdb.path={self.directory / 'tsdb'}",
                    f"--web.listen-address=127.0.0.1:{self.port}",
                ],
                stdout=log,
                stderr=log,
            )
        deadline_s = time.monotonic() + READY_TIMEOUT_S
        while not self._ready():
            assert time.monotonic() < deadline_s, "Prometheus does not answer"
            time.sleep(0.1)

    def _ready(self) -> bool:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/-/ready", timeout=5):
                return True
        except OSError:
            return False

    def stop(self) -> None:
        if self._process is not None:
            self._process.terminate()
            self._process.wait(20)

    def retarget(self, targets: Mapping[str, list[str]]) -> None:
        """Scrape these from now on."""
        self.targets = dict(targets)
        for job in ("ems-ingress", "ems-worker", "ems-sink", "ems-notifier", "ems-gateway"):
            partial = self.directory / f"{job}.part"
            partial.write_text(json.dumps([{"targets": self.targets.get(job, [])}]))
            partial.replace(self.directory / f"{job}.json")

    def alerts(self) -> dict[str, str]:
        """The summary of every alert that fires now."""
        firing = [each for each in self._ask("alerts")["alerts"] if each["state"] == "firing"]
        return {each["labels"]["alertname"]: each["annotations"]["summary"] for each in firing}

    def last_fired_s(self) -> dict[str, float]:
        """When each alert that has fired within the last two hours fired last, in seconds since 1970, to the second."""
        query = 'max by (alertname) (max_over_time(timestamp(ALERTS{alertstate="firing"})[2h:1s]))'
        found = self._ask(f"query?{urllib.parse.urlencode({'query': query})}")["result"]
        return {each["metric"]["alertname"]: float(each["value"][1]) for each in found}

    def _ask(self, what: str) -> Any:
        # The machine may be as busy as the processes that are rehearsed make it.
        status, body = get(f"http://127.0.0.1:{self.port}/api/v1/{what}", timeout_s=30.0)
        assert status == 200, f"Prometheus answers {status} to {what}: {body}"
        return body["data"]

    def _rules(self) -> Any:
        rules = yaml.safe_load(ALERTS.read_text())
        for group in rules["groups"]:
            group["rules"] = [in_a_hurry(rule) for rule in group["rules"]]
        return rules
