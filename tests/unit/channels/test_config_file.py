"""Files of channels: what is accepted, and what is said of each mistake."""

from pathlib import Path

import pytest

from ems_streams.channels.config_file import ChannelsFileError, load_channels, read_channels
from ems_streams.channels.secrets import environment
from ems_streams.domain.channel_config import EmailChannel
from ems_streams.domain.events import Notification
from tests.support.sink import notification_of

EXAMPLE = Path(__file__).parents[3] / "docs" / "howto" / "channels.example.yaml"
SECRET = "whsec_" + "c2VjcmV0IG9mIHRoZSB0ZXN0cywgMzIgYnl0ZXMgbG9uZyE="

GOOD = """\
channels:
  ops:
    type: webhook
    url: https://hooks.example.com/ems
    secret_env: OPS_SECRET
  on-call:
    type: email
    host: smtp.example.com
    from: EMS <ems@example.com>
    to: [ops@example.com]
routes:
  - channels: [ops]
  - channels: [on-call]
    severity_at_least: CRITICAL
    sites: [7]
    kinds: [STATUS_CHANGE]
"""


def problems_of(text: str, tmp_path: Path) -> list[str]:
    path = tmp_path / "channels.yaml"
    path.write_text(text)
    return [str(problem) for problem in read_channels(path)[1]]


def test_the_example_of_the_documentation_is_right() -> None:
    config = load_channels(EXAMPLE, {"EMS_OPS_WEBHOOK_SECRET": f"{SECRET} {SECRET}", "EMS_SMTP_PASSWORD": "x"})

    assert list(config.channels) == ["ops-webhook", "on-call", "daily-mail"]


def test_ports_follow_from_the_security_unless_they_are_given(tmp_path: Path) -> None:
    ports = []
    for line in ("security: tls", "security: starttls", "security: none", "port: 2525"):
        path = tmp_path / "channels.yaml"
        path.write_text(GOOD.replace("    host: smtp", f"    {line}\n    host: smtp"))
        channel = load_channels(path).channels["on-call"]
        assert isinstance(channel, EmailChannel)
        ports.append(channel.smtp_port)

    assert ports == [465, 587, 25, 2525]


MISTAKES = {
    "no YAML": ("channels: [", "", "line 1: is no YAML: "),
    "not a mapping": (GOOD, "- 1\n", "is [1]; expected the members channels and routes"),
    "empty": (GOOD, "", "is None; expected the members channels and routes"),
    "no routes": (GOOD[GOOD.index("routes") :], "", "routes: is missing; expected a list of routes"),
    "unknown member": ("    secret_env", "    timeout: 3\n    secret_env", "line 5: channels.ops.timeout: there is no such member; expected some of"),
    "unknown member of all": ("routes:", "rules: []\nroutes:", "line 11: rules: there is no such member; expected some of channels, routes"),
    "unknown member of a route": ("    sites: [7]", "    site: 7", "routes[1].site: there is no such member; expected some of channels, kinds"),
    "name": ("  ops:", "  Ops:", "line 2: channels.Ops='Ops': expected small letters, digits and hyphens"),
    "no type": ("    type: webhook\n", "", "channels.ops.type: is missing; expected webhook or email"),
    "type": ("type: webhook", "type: pager", "line 3: channels.ops.type='pager': expected webhook or email"),
    "no secret": ("    secret_env: OPS_SECRET\n", "", "line 2: channels.ops.secret_env: is missing; expected the name of a variable"),
    "secret in the file": ("OPS_SECRET", SECRET, "expected the name of an environment variable"),
    "scheme": ("https:", "ftp:", "line 4: channels.ops.url='ftp://hooks.example.com/ems': URL scheme should be 'http' or 'https'"),
    "password in the URL": ("https://", "https://me:hunter2@", "line 4: channels.ops.url: must be a URL without user and password"),
    "timeout": ("    secret_env", "    timeout_s: 0\n    secret_env", "line 5: channels.ops.timeout_s=0: expected greater than 0"),
    "rate": ("    secret_env", "    rate: {messages: 0, per_s: 1}\n    secret_env", "line 5: channels.ops.rate.messages=0: expected at least 1"),
    "rate in part": ("    secret_env", "    rate: {messages: 1}\n    secret_env", "line 5: channels.ops.rate.per_s: is missing"),
    "attempts": ("    secret_env", "    retry: {attempts: 2.5}\n    secret_env", "channels.ops.retry.attempts=2.5: expected a whole number"),
    "sender": ("EMS <ems@example.com>", "EMS", "line 9: channels.on-call.from='EMS': expected an address such as"),
    "recipient": ("ops@example.com", "ops", "line 10: channels.on-call.to[0]='ops': expected an address such as ops@example.com"),
    "recipient that mail cannot carry": ("ops@example.com", "ü@example.com", "line 10: channels.on-call.to[0]='ü@example.com': expected an address"),
    "sender with more in it": ("EMS <ems@example.com>", "'a@b.c, EMS <ems@example.com>'", "line 9: channels.on-call.from="),
    "no recipient": ("[ops@example.com]", "[]", "line 10: channels.on-call.to=[]: expected at least 1"),
    "user without password": ("    host: smtp", "    username: me\n    host: smtp", "must have both username and password_env, or neither"),
    "password in the clear": (
        "    host: smtp", "    username: me\n    password_env: P\n    security: none\n    host: smtp", "a password is not sent in the clear",
    ),
    "severity": ("CRITICAL", "HIGH", "line 14: routes[1].severity_at_least='HIGH': expected 'INFO', 'WARNING' or 'CRITICAL'"),
    "kind": ("STATUS_CHANGE", "ALARM", "line 16: routes[1].kinds[0]='ALARM': expected 'STATUS_CHANGE', 'ALARM_RAISED'"),
    "site": ("[7]", '["7"]', "line 15: routes[1].sites[0]='7': expected a whole number: write 7 without quotes"),
    "unknown channel": ("channels: [ops]", "channels: [ops, opps]", "routes name 'opps': must be one of the channels: on-call, ops"),
    "channel in no route": ("  - channels: [ops]\n", "", "channel 'ops' is in no route: must be named by at least one"),
    "twice": ("  on-call:", "  ops:", "line 6: channels.ops: is there already on line 2; expected once"),
}  # fmt: skip


@pytest.mark.parametrize("name", MISTAKES)
def test_each_mistake_is_said_with_place_value_and_expectation(name: str, tmp_path: Path) -> None:
    old, new, expected = MISTAKES[name]
    assert old == "channels: [" or old in GOOD

    problems = problems_of("channels: [" if old == "channels: [" else GOOD.replace(old, new, 1), tmp_path)

    assert any(expected in problem for problem in problems), problems
    assert "hunter2" not in str(problems)
    assert "pydantic" not in str(problems).lower()


def test_all_mistakes_are_said_at_once(tmp_path: Path) -> None:
    text = GOOD.replace("https:", "ftp:").replace("CRITICAL", "HIGH").replace("ops@example.com", "ops")

    assert len(problems_of(text, tmp_path)) == 3


@pytest.mark.parametrize("data", [b"\xff\xfe\x00", b"a: &a [*a]", b"\x00", b"x" * 2_000_000])
def test_what_is_no_text_is_said_so(data: bytes, tmp_path: Path) -> None:
    path = tmp_path / "channels.yaml"
    path.write_bytes(data)

    assert read_channels(path)[1]


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(
        ChannelsFileError, match=r"nowhere\.yaml: cannot be read \(No such file or directory\); expected a file of channels"
    ):
        load_channels(tmp_path / "nowhere.yaml")


@pytest.mark.parametrize(("secret", "expected"), [("", "is not set"), ("short", "24 to 64 bytes"), ("whsec_c2hvcnQ=", "24 to 64 bytes")])
def test_secrets_must_be_there_and_are_not_shown(secret: str, expected: str, tmp_path: Path) -> None:
    path = tmp_path / "channels.yaml"
    path.write_text(GOOD)

    with pytest.raises(ChannelsFileError) as caught:
        load_channels(path, {"OPS_SECRET": secret})

    assert expected in str(caught.value)
    assert "channels.ops.secret_env='OPS_SECRET'" in str(caught.value)
    assert not secret or secret not in str(caught.value)
    assert load_channels(path, {"OPS_SECRET": SECRET})


def test_a_number_that_yaml_reads_otherwise_is_named_and_not_shown(tmp_path: Path) -> None:
    problems = problems_of(GOOD.replace("    host:", "    password: 01234567\n    host:"), tmp_path)

    assert any(each.startswith("line 8: channels.on-call.password: YAML reads this as another number") for each in problems), problems
    assert not any(shown in str(problems) for shown in ("01234567", str(0o1234567)))


def test_a_secret_may_be_in_a_file_or_in_dotenv(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("OPS_SECRET", raising=False)
    (tmp_path / "secret").write_text(SECRET + "\n")
    (tmp_path / ".env").write_text(f"OPS_SECRET={SECRET}\n")
    path = tmp_path / "channels.yaml"
    path.write_text(GOOD)

    assert load_channels(path, {"OPS_SECRET_FILE": str(tmp_path / "secret")})
    assert load_channels(path, environment())
    with pytest.raises(ChannelsFileError, match=r"OPS_SECRET_FILE='nowhere': must be a readable file"):
        load_channels(path, {"OPS_SECRET_FILE": "nowhere"})


def test_routes_match_all_that_is_given_and_a_channel_is_told_once(tmp_path: Path) -> None:
    path = tmp_path / "channels.yaml"
    path.write_text(GOOD + "  - channels: [ops]\n")
    config = load_channels(path)

    def channels_of(**changes: object) -> list[str]:
        notification = Notification.model_validate(notification_of("INV-001") | changes)
        return [name for name in config.channels if config.wanted_by(name, notification)]

    assert channels_of(severity="INFO") == ["ops"]
    assert channels_of(severity="CRITICAL") == ["ops", "on-call"]
    assert channels_of(severity="CRITICAL", siteId=8) == ["ops"]
    assert channels_of(severity="CRITICAL", kind="ALARM_RAISED") == ["ops"]
