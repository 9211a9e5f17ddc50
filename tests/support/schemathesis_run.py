"""schemathesis against a gateway, in a process of its own: its warnings are not ours."""

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

CHECKS = (
    "not_a_server_error,status_code_conformance,content_type_conformance,response_headers_conformance,response_schema_conformance,"
    "negative_data_rejection,missing_required_header,unsupported_method,allow_header_conformance"
)
"""All but those that need tokens, and those that a stream of devices cannot hold: what is valid may name nothing that is there."""


@dataclass(frozen=True, slots=True)
class Found:
    """What a run found.

    Attributes:
        ok: Whether nothing is wrong.
        cases: Requests that were made.
        text: What it said.
    """

    ok: bool
    cases: int
    text: str


HOOKS = """\
import schemathesis


@schemathesis.hook
def filter_case(context, case):
    headers = {name.lower(): str(value) for name, value in (case.headers or {}).items()}
    # HTTP has headers that nobody has described: they are no mistake of whoever sends them.
    if "x-schemathesis-unknown-property" in headers:
        return False
    # A deadline that cannot be kept is a 504, as it should be.
    try:
        return not 0.001 <= float(headers.get("request-timeout", "60")) < 5
    except ValueError:
        return True
"""
CONFIGURATION = """\
hooks = "ems_hooks"

[[operations]]
include-path = "/api/v1/devices/{{serial}}/commands"
parameters = {{ "path.serial" = "{device}" }}

[[operations]]
include-path = "/api/v1/devices/{{serial}}/aggregates"
parameters = {{ "path.serial" = "{device}" }}
"""


def run_schemathesis(
    url: str, directory: Path, *, device: str, phases: str, examples: int, seed: int = 1, timeout_s: float = 110.0
) -> Found:
    """Run it with a fixed seed; what is found is printed with the commands that show it again.

    Args:
        url: Of the gateway.
        directory: For its reports.
        device: That there is: most of what is made up names none.
        phases: Such as `examples,fuzzing`.
        examples: Of each operation in each phase.
        seed: The same one makes the same requests.
        timeout_s: For all of it.
    """
    report = directory / "events.ndjson"
    (directory / "ems_hooks.py").write_text(HOOKS)
    (directory / "schemathesis.toml").write_text(CONFIGURATION.format(device=device))
    program = Path(sys.executable).parent / "schemathesis"
    done = subprocess.run(
        [
            str(program), "--no-color", "run", f"{url}/openapi.json", f"--url={url}", f"--phases={phases}", f"--max-examples={examples}", f"--seed={seed}",
            f"--checks={CHECKS}", "--request-timeout=30", "--generation-database=none", "--report=ndjson", f"--report-ndjson-path={report}",
            "--suppress-health-check=all", "--continue-on-failure",
        ],
        cwd=directory, capture_output=True, text=True, timeout=timeout_s, check=False, env={**os.environ, "PYTHONWARNINGS": "ignore", "PYTHONPATH": str(directory)},
    )  # fmt: skip
    return Found(done.returncode == 0, _cases(report), f"{done.stdout}\n{done.stderr}")


def _cases(report: Path) -> int:
    if not report.exists():
        return 0
    count = 0
    for line in report.read_text().splitlines():
        event = json.loads(line)
        if "ScenarioFinished" in event:
            count += len(event["ScenarioFinished"]["recorder"]["cases"])
    return count
