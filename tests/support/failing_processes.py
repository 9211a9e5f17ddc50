"""`python -m tests.support.failing_processes ARGUMENT...` is `python -m ems_streams ARGUMENT...`, failing at some well-formed messages.

The worker never gets 666 kW folded, and has changed half of a state before it fails; the ingress never gets 444 kW translated. At 555 kW
and 333 kW they fail the first three times for each device and process, as at something that is away for a moment.
"""

import json
from collections import Counter
from collections.abc import Iterable
from typing import Any

import agents.aggregates
from agents.ingress import Translator
from ems_streams.cli.main import run

FOLD_NEVER_KW, FOLD_LATER_KW = 666.0, 555.0
TRANSLATE_NEVER_KW, TRANSLATE_LATER_KW = 444.0, 333.0
FAILURES = 3

_failures: Counter[tuple[str, float]] = Counter()


def _fail(who: str, power_kw: Any, never_kw: float, later_kw: float) -> None:
    if power_kw == never_kw:
        raise ValueError("no such power")
    if power_kw == later_kw and _failures[who, power_kw] < FAILURES:
        _failures[who, power_kw] += 1
        raise ConnectionError("not now")


def _install() -> None:
    fold, translate = agents.aggregates.fold, Translator.translate

    def failing_fold(state: Any, telemetry: Any, *rest: Any) -> None:
        fold(state, telemetry, *rest)
        _fail(telemetry.serial_number, dict(telemetry.metrics).get("powerKw"), FOLD_NEVER_KW, FOLD_LATER_KW)

    def failing_translate(self: Translator, messages: Iterable[Any]) -> Any:
        messages = list(messages)
        for message in messages:
            if b'"powerKw": 444' in message.payload or b'"powerKw": 333' in message.payload:
                _fail(message.topic, json.loads(message.payload)["powerKw"], TRANSLATE_NEVER_KW, TRANSLATE_LATER_KW)
        return translate(self, messages)

    agents.aggregates.fold = failing_fold
    # Every message through `fold`: the loop over usual messages has a compiled one of its own.
    agents.aggregates.fold_usual = lambda records, events, at, *_: at
    Translator.translate = failing_translate  # type: ignore[method-assign]


if __name__ == "__main__":
    _install()
    run()
