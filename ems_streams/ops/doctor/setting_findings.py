"""What is wrong with the settings, all of it at once; over variables that are passed in."""

from collections.abc import Container, Iterable, Iterator, Mapping
from difflib import get_close_matches

from ems_streams.errors import SettingError
from ems_streams.ops.doctor.findings import Finding, finding
from ems_streams.settings import PREFIX, Settings, environment_names

_NEAR = 0.85
# What is no setting of a process, but read by ours.
_OTHERS = frozenset({"EMS_CHAOS_SCALE"})


def invalid_settings(problems: Iterable[SettingError]) -> list[Finding]:
    """A finding for each setting that cannot be."""
    return [
        finding("setting-invalid", f"{each.setting} cannot be that", found=repr(each.value), expected=each.expected, setting=each.setting)
        for each in problems
    ]


def unknown_variables(names: Iterable[str], in_use: Iterable[str] = ()) -> Iterator[Finding]:
    """Variables that begin with EMS_ and set nothing; `in_use` are those that something else of ours reads, such as secrets of channels."""
    known = {variable for name, field in Settings.model_fields.items() for variable in environment_names(name, field)}
    spared = {*_OTHERS, *in_use}
    for name in sorted(names):
        if not name.startswith(PREFIX) or name in known or name in spared:
            continue
        near = get_close_matches(name, known, n=1, cutoff=_NEAR)
        if near:
            yield finding("setting-misspelt", f"{name} is no setting", found=name, expected=near[0], near=near[0])
        else:
            yield finding("setting-unknown", f"{name} is no setting", found=name, expected="a name that `ems-streams config show` lists")


def disagreeing_settings(settings: Settings) -> Iterator[Finding]:
    """Settings that are right by themselves and wrong together."""
    session_s, heartbeat_s = settings.kafka_session_timeout_s, settings.kafka_heartbeat_interval_s
    if heartbeat_s > session_s / 3:
        yield finding(
            "settings-disagree",
            "workers would lose their partitions by a single late heartbeat",
            found=f"EMS_KAFKA_HEARTBEAT_INTERVAL_S={heartbeat_s:g} with EMS_KAFKA_SESSION_TIMEOUT_S={session_s:g}",
            expected=f"at most {session_s / 3:g}, a third of the session timeout",
            setting="EMS_KAFKA_HEARTBEAT_INTERVAL_S",
        )
    timeouts = {"EMS_SILENCE_TIMEOUT_S": settings.silence_timeout_s}
    timeouts |= {f"EMS_SILENCE_TIMEOUTS ({name})": timeout_s for name, timeout_s in settings.silence_timeouts.items()}
    least_s = 4 * settings.heartbeat_interval_s
    for name, timeout_s in timeouts.items():
        if 0 < timeout_s < least_s:
            yield finding(
                "settings-disagree",
                "devices would be offline although nobody could know",
                found=f"{name}={timeout_s:g} with EMS_HEARTBEAT_INTERVAL_S={settings.heartbeat_interval_s:g}",
                expected=f"at least {least_s:g}, four intervals of heartbeats, or 0 for never",
                setting=name,
            )


def contradicting_names(environ: Mapping[str, str], in_environment: Container[str] | None = None) -> Iterator[Finding]:
    """Two names of one setting with different values.

    Args:
        environ: Variables, and lines of `.env` where there is no variable.
        in_environment: Names that are variables, which count before lines of `.env`; all of them when None.
    """
    for name, field in Settings.model_fields.items():
        given = [(variable, environ[variable]) for variable in environment_names(name, field)[::2] if environ.get(variable)]
        if len({value for _, value in given}) > 1:
            if in_environment is not None:
                given.sort(key=lambda each: each[0] not in in_environment)
            (first, _), (second, _) = given[:2]
            yield finding(
                "settings-disagree",
                f"{first} and {second} are the same setting and say different things",
                found=f"both are set, and {first} counts",
                expected="one of them",
                setting=second,
            )
