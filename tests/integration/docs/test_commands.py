"""Every command of every page is run here, in the order of its page, or stands in a list with the reason why not."""

import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.documented import ROOT, Shell, commands, words
from tests.support.mqtt_publish import publish
from tests.support.processes import Deployment, eventually, get

pytestmark = [pytest.mark.integration, pytest.mark.timeout(300)]

NOT_RUN = {
    r"make .*|\.ci/run|\.venv/bin/pytest .*|pytest .*": "is what runs this test, or runs for long",
    r"export .*|FROM=.*|EMS_\w+=\S+|set -a.*": "changes the shell only",
    r"docker(/| compose| run) ?.*|docker .*|kubectl .*|systemctl .*|systemd-.*": "needs an engine, a cluster or an init system; tests/unit/docker, kubernetes and systemd hold it against the code",
    r"(/opt/ems-streams|python3 -m venv /opt|cp .*systemd|cp -r systemd|install -D).*": "installs into the system; release/check.sh does the same in an empty environment",
    r"kafka-.*": "Kafka's own tools, where they are installed",
    r"mosquitto_sub .*": "prints until it is stopped",
    r"ems-streams (worker|ingress|sink|gateway|notifier|dev)\b.*": "runs until it is stopped; this test runs on such processes",
    r"ems-streams command send .* --wait": "waits for a device that answers; tests/integration/commands has one",
    r"ems-streams simulate .*": "runs for long; tests/integration/dev/simulator runs it with these options",
    r"ems-streams rules check .*--(recorded|from-topic|plot).*": "tests/integration/rules and tests/unit/rules run it",
    r"ems-streams channels (test|status).*": "needs a receiver; tests/integration/notifier has one",
    r"ems-streams replay (start|promote).*|ems-streams backfill .*--into .*": "tests/integration/replay runs it on telemetry of that range",
    r"ems-streams dlt redrive (?!.*--(dry-run|resume)).*|ems-streams dlt purge .*": "changes letters for good; tests/integration/dead_letters runs it on letters of its own",
    r"ems-streams dlt redrive --id .*--editor": "opens an editor",
    r"ems-streams acls .*": "needs a Kafka that gives rights; tests/integration/secure_servers has one",
    r"ems-streams db (maintain|forget-offsets).*": "tests/integration/sink runs it beside a sink",
    r"python - <<.*": "mends what is damaged here nowhere",
    r"ems-streams topics tail ingress-heartbeats|ems-streams topics tail device-status": "prints until it is stopped",
    r"curl .*(docker/secrets|https://gateway\.example).*": "asks a gateway that is nowhere here; tests/integration/containers and gateway have one with tokens",
    r"cp docs/.*|curl -s localhost:6061/.*": "needs what is set up there",
}
"""Why a command is not run, by a pattern of the whole of it."""

ENDS_OTHERWISE = {
    r"ems-streams (command (show|cancel)|dlt show|dlt redrive --(id|resume)|maintenance end|replay (status|diff|delete)|rules show RULE).*": 1,
    r"ems-streams dlt redrive [\w-]+ --where .*--dry-run": 0,
    r"ems-streams topics plan --check": 0,
    r"ems-streams doctor.*": 1,
}
"""Exit codes other than 0: of what is named in an example and is not there, and of `doctor`, which has something to say of this machine."""


NOT_MEANT = ("400", "405", "415", "422")
"""What is answered to a request that cannot be meant so; curl itself takes any answer for a success."""


def reason(text: str) -> str | None:
    """Why a command is not run."""
    return next((why for pattern, why in NOT_RUN.items() if re.fullmatch(pattern, text)), None)


_FIRST = {each.text: each for each in reversed(commands())}
RUN = [each for each in commands() if _FIRST[each.text] == each and reason(each.text) is None]
"""The rest, each where it stands first."""


@pytest.fixture
def shell(deployment: Deployment, tmp_path: Path) -> Iterator[Shell]:
    """In a directory with the files that pages name."""
    here = tmp_path / "here"
    here.mkdir()
    (here / "docs").symlink_to(ROOT / "docs")
    (here / "rules.yaml").write_text(re.findall(r"```yaml\n(.*?)```", (ROOT / "docs/tutorial/first-rule.md").read_text(), re.DOTALL)[0])
    shutil.copy(ROOT / "docs/howto/channels.example.yaml", here / "channels.yaml")
    (here / "devices.csv").write_text("serialNumber,siteId,deviceId,deviceType,name\nINV-001,1,5001,SOLAR_INVERTER,roof\n")
    (here / "history.csv").write_text("serialNumber,siteId,timestamp,powerKw\nINV-001,1,2026-01-05T10:00:00Z,3.5\n")
    (here / "value.json").write_text("{}")
    started = Shell(
        here,
        deployment.environment(
            EMS_OPS_WEBHOOK_SECRET="whsec_" + "A" * 44, EMS_SMTP_PASSWORD="x", EMS_GATEWAY_TOKENS_FILE="tokens.yaml", **ports(deployment)
        ),
    )
    yield started
    started.close()


def ports(deployment: Deployment) -> dict[str, str]:
    return {f"EMS_{name.upper()}_PORT": str(getattr(deployment.ports, name)) for name in ("ingress", "worker", "sink", "gateway")}


async def test_every_command_that_is_not_left_out_works(deployment: Deployment, shell: Shell) -> None:
    for process in (deployment.ingress(), deployment.worker(), deployment.gateway()):
        process.wait_until_ready()
    gateway = deployment.running[-1].url
    # As `dev` does at its first start.
    assert shell.ems_streams(["rules", "apply", "--builtin"]).code == 0
    assert shell.ems_streams(["db", "migrate"]).code == 0
    unlike: list[str] = []
    for each in RUN:
        text = each.text
        if text.startswith("mosquitto_pub "):
            await published(deployment, text)
            continue
        if "ALARM_ID" in text:
            text = text.replace("ALARM_ID", eventually(lambda: alarm(gateway), 30, "the alarm of the page"))
        code, out = run(deployment, shell, text)
        if code != expected(text):
            unlike.append(f"{each}: exit {code}, expected {expected(text)}: {out[-300:]}")
    assert unlike == []


def test_a_reason_is_given_for_commands_that_there_are() -> None:
    everything = [each.text for each in commands()]

    assert [pattern for pattern in NOT_RUN if not any(re.fullmatch(pattern, each) for each in everything)] == []
    assert len(RUN) > 60


def expected(text: str) -> int:
    """The exit code of a command."""
    return next((code for pattern, code in ENDS_OTHERWISE.items() if re.fullmatch(pattern, text)), 0)


def run(deployment: Deployment, shell: Shell, text: str) -> tuple[int, str]:
    """Exit code of a command, and what it said."""
    program, *arguments = words(text)
    if program == "ems-streams":
        if arguments[:2] == ["topics", "tail"] and "--no-follow" not in arguments:
            arguments.append("--no-follow")  # what is there, instead of what comes
        done = shell.ems_streams(arguments)
        if into := re.search(r" > (\S+)$", text):
            (shell.directory / into[1]).write_text(done.out)
        return done.code, done.errors or done.out
    if program in {"curl", "echo"}:
        for name, port in {"6060": deployment.ports.ingress, "6066": deployment.ports.worker, "8080": deployment.ports.gateway}.items():
            text = text.replace(f"localhost:{name}", f"127.0.0.1:{port}")
        text = re.sub(r"^curl ", r"curl -w '\\n%{http_code}' ", text)
        done_ = subprocess.run(["bash", "-c", text], cwd=shell.directory, capture_output=True, text=True, timeout=30, check=False)
        refused = program == "curl" and done_.stdout.rpartition("\n")[2] in NOT_MEANT
        return 22 if refused else done_.returncode, done_.stdout + done_.stderr
    raise AssertionError(f"{text}: neither run here nor in the list of what is not")


async def published(deployment: Deployment, text: str) -> None:
    """What `mosquitto_pub` does, which a fresh machine does not have."""
    arguments = words(text)[1:]
    told = dict(zip(arguments[::2], arguments[1::2], strict=True))
    assert told.keys() <= {"-h", "-t", "-m", "-q"}, text
    await publish(deployment.stack.mqtt_url, told["-t"], told["-m"].encode(), qos=int(told.get("-q", "0")))


def alarm(gateway: str) -> str | None:
    """Id of the alarm that the page has raised, once it is there."""
    status, body = get(f"{gateway}/api/v1/alarms?serial=BAT-900")
    return body["alarms"][0]["alarmId"] if status == 200 and body["alarms"] else None
