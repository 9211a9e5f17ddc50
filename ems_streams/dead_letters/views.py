"""Dead letters as JSON, the same on the command line and over HTTP."""

import base64
from collections.abc import Iterable
from typing import Any, Final

from ems_streams.dead_letters.decoding import as_json
from ems_streams.domain.letter import Letter, is_time
from ems_streams.domain.redrives import Done, Outcome, Redrive
from ems_streams.domain.timestamps import format_epoch_ms

PREVIEW_CHARS: Final = 200
OPEN: Final = "open"
_STATES: Final = {Outcome.SENT: "redriven", Outcome.FAILED_AGAIN: "redriven", Outcome.QUARANTINED: "quarantined"}
STATES: Final = (OPEN, "redriven", "quarantined")


def state_of(done: Done | None) -> str:
    """What has become of a letter, in a word: `open`, `redriven` or `quarantined`."""
    return OPEN if done is None else _STATES[done.outcome]


def summary_view(letter: Letter, done: Done | None) -> dict[str, Any]:
    """A letter as one of many."""
    failure = letter.failure
    origin = failure.origin
    return {
        "id": str(letter.letter_id),
        "topic": letter.letter_id.topic,
        "partition": letter.letter_id.partition,
        "offset": letter.letter_id.offset,
        "at": format_epoch_ms(letter.timestamp_ms),
        "key": letter.serial,
        "errorClass": failure.error_class,
        "errorMessage": failure.error_message,
        "stage": failure.stage,
        "channel": failure.channel,
        "attempts": failure.attempts,
        "firstFailedAt": failure.first_failed_at,
        "replayCount": failure.replay_count,
        "state": state_of(done),
        "original": None
        if origin is None
        else {
            "topic": origin.topic,
            "partition": None if origin.partition < 0 else origin.partition,
            "offset": None if origin.offset < 0 else origin.offset,
            "timestamp": format_epoch_ms(origin.timestamp_ms) if is_time(origin.timestamp_ms) else None,
        },
        "sizeBytes": letter.size,
        "preview": _preview(letter.value),
    }


def detail_view(letter: Letter, done: Done | None) -> dict[str, Any]:
    """All of a letter: its bytes, as text if they are text, as JSON if they are that, and its headers."""
    value = letter.value
    return {
        **summary_view(letter, done),
        "stackTrace": letter.failure.stack_trace,
        "cutFromBytes": letter.failure.cut_from,
        "done": None if done is None else {"redriveId": done.redrive_id, "outcome": done.outcome, "at": format_epoch_ms(done.at_ms)},
        "valueText": _text(value),
        "valueBase64": None if value is None else base64.b64encode(value).decode(),
        "valueJson": as_json(value),
        "keyBase64": None if letter.key is None else base64.b64encode(letter.key).decode(),
        "headers": [
            {"name": name, "text": _text(content), "base64": base64.b64encode(content).decode()} for name, content in letter.headers
        ],
    }


def redrive_view(redrive: Redrive) -> dict[str, Any]:
    """A redrive with how far it is."""
    definition = redrive.definition
    outcomes = redrive.outcomes
    return {
        "redriveId": definition.redrive_id,
        "topic": definition.topic,
        "createdAt": definition.model_dump(mode="json", by_alias=True)["createdAt"],
        "where": {field: list(values) for field, values in definition.chosen.where.items()},
        "ids": None if definition.ids is None else [f"{definition.topic}/{partition}/{offset}" for partition, offset in definition.ids],
        "maxReplays": definition.max_replays,
        "ratePerS": definition.rate_per_s,
        "finished": redrive.finished,
        "offsetsDone": redrive.offsets_done,
        "offsetsTotal": definition.offsets_total,
        "outcomes": {outcome.value: outcomes.get(outcome, 0) for outcome in Outcome},
        "refusals": dict(sorted(redrive.reasons.items())),
    }


def hex_dump(value: bytes, limit: int = 4096) -> Iterable[str]:
    """Lines of offset, sixteen bytes and what of them is printable, as other tools show bytes."""
    for at in range(0, min(len(value), limit), 16):
        piece = value[at : at + 16]
        digits = " ".join(f"{byte:02x}" for byte in piece)
        shown = "".join(chr(byte) if 0x20 <= byte < 0x7F else "." for byte in piece)
        yield f"{at:08x}  {digits:<47}  |{shown}|"
    if len(value) > limit:
        yield f"... {len(value) - limit} more bytes"


def _preview(value: bytes | None) -> str | None:
    if value is None:
        return None
    text = value[: PREVIEW_CHARS * 4].decode(errors="backslashreplace")
    return text if len(text) <= PREVIEW_CHARS else text[: PREVIEW_CHARS - 3] + "..."


def _text(content: bytes | None) -> str | None:
    try:
        return None if content is None else content.decode()
    except UnicodeDecodeError:
        return None
