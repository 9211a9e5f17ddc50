"""Health of a process as named checks behind `/livez`, `/readyz` and `/startupz`; no I/O, the clock is injected."""

import time
from collections.abc import Callable
from dataclasses import dataclass

Report = tuple[int, dict[str, object]]


@dataclass(frozen=True, slots=True)
class CheckResult:
    """What a check found: whether it is well, and one line for an operator."""

    ok: bool
    detail: str = ""


Check = Callable[[], CheckResult]
"""Called for every request of a probe: must answer from memory, at once, and never block."""


class _Watched:
    """A check that remembers since when it is in its present state."""

    def __init__(self, check: Check, required: bool = True) -> None:
        self._check = check
        self.required = required
        self._ok: bool | None = None
        self._since_s = 0.0

    def evaluate(self, now_s: float) -> tuple[bool, dict[str, object]]:
        try:
            result = self._check()
        except Exception as error:  # noqa: BLE001
            # A check that cannot even answer says nothing good about what it watches.
            result = CheckResult(False, f"{type(error).__name__}: {error}")
        if result.ok is not self._ok:
            self._ok = result.ok
            self._since_s = now_s
        for_s = round(max(0.0, now_s - self._since_s), 3)
        view: dict[str, object] = {"ok": result.ok, "detail": result.detail, "forS": for_s}
        if not self.required:
            view["required"] = False
        return result.ok or not self.required, view


class Health:
    """The checks of one process.

    Liveness answers "would a restart help?", readiness "can it do its work now?", startup "is it past its start?".
    A process is never ready before `mark_started`. A check that raises counts as failing, with its message.

    Args:
        clock: Monotonic seconds; `forS` of each check counts from the first evaluation that found its present state.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._started = False
        self._startup = {"started": _Watched(self._check_started)}
        self._liveness: dict[str, _Watched] = {}
        self._readiness: dict[str, _Watched] = {"started": _Watched(self._check_started)}
        self.startupz()
        self.readyz()

    def add_readiness(self, name: str, check: Check, *, required: bool = True) -> None:
        """Adds a check to `/readyz`; a name is used once. One that is not required is shown, and the answer does not go by it."""
        self._add(self._readiness, name, _Watched(check, required))

    def add_liveness(self, name: str, check: Check) -> None:
        """Adds a check to `/livez`; only what a restart would mend belongs here."""
        self._add(self._liveness, name, _Watched(check))

    def mark_started(self) -> None:
        """The start is over: `/startupz` is well from now on, and `/readyz` goes by its checks."""
        self._started = True

    def livez(self) -> Report:
        """Status code and JSON body of `/livez`."""
        return self._report(self._liveness)

    def readyz(self) -> Report:
        """Status code and JSON body of `/readyz`."""
        return self._report(self._readiness)

    def startupz(self) -> Report:
        """Status code and JSON body of `/startupz`."""
        return self._report(self._startup)

    def _check_started(self) -> CheckResult:
        return CheckResult(self._started, "started" if self._started else "starting")

    @staticmethod
    def _add(checks: dict[str, _Watched], name: str, check: _Watched) -> None:
        if name in checks:
            raise ValueError(f"there is already a check named {name!r}")
        checks[name] = check

    def _report(self, checks: dict[str, _Watched]) -> Report:
        now_s = self._clock()
        results = {name: check.evaluate(now_s) for name, check in checks.items()}
        ok = all(well for well, _ in results.values())
        body: dict[str, object] = {
            "status": "ok" if ok else "failing",
            "checks": {name: view for name, (_, view) in results.items()},
        }
        return (200 if ok else 503), body
