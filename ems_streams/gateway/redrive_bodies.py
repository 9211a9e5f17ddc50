"""What a POST of a redrive has in its body."""

import base64
from datetime import datetime
from typing import Annotated, Any, Final

import orjson
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field
from pydantic.alias_generators import to_camel

from ems_streams.domain.events import Time
from ems_streams.domain.letter_edit import Edit
from ems_streams.domain.letter_filter import LetterFilter
from ems_streams.domain.redrives import REPLAYS_MAX
from ems_streams.domain.timestamps import to_epoch_ms

IDS_MAX: Final = 1000


def _text(value: object) -> object:
    if not isinstance(value, str):
        raise ValueError("expected an ISO-8601 time with its zone")  # noqa: TRY004 - what pydantic makes a refusal of
    return value


_Text = Annotated[str, Field(min_length=1)]
# A number could be seconds or milliseconds.
_TextOfTime = Annotated[Time, Field(strict=False), BeforeValidator(_text)]
_Texts = Annotated[list[_Text], Field(min_length=1, max_length=100)]


class _Body(BaseModel):
    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=True, extra="forbid", strict=True)


class FilterBody(_Body):
    """Which letters; of several values of one field any will do, and `-` is what a letter does not say."""

    error_class: _Text | _Texts | None = None
    stage: _Text | _Texts | None = None
    serial: _Text | _Texts | None = None
    origin: _Text | _Texts | None = None
    channel: _Text | _Texts | None = None
    message: _Text | _Texts | None = None
    since: _TextOfTime | None = None
    until: _TextOfTime | None = None

    def chosen(self) -> LetterFilter:
        """The filter."""
        fields = {
            "error-class": self.error_class, "stage": self.stage, "serial": self.serial, "origin": self.origin,
            "channel": self.channel, "message": self.message,
        }  # fmt: skip
        where = {name: (value,) if isinstance(value, str) else tuple(value) for name, value in fields.items() if value}
        return LetterFilter(where=where, since_ms=_ms(self.since), until_ms=_ms(self.until))


class ResumeBody(BaseModel):
    """Nothing has to be said."""


class EditBody(_Body):
    """What is changed of a letter, or of all; the value is given as text, as base64 or as JSON."""

    id: str | None = None
    set: dict[str, Any] = Field(default_factory=dict)
    unset: list[str] = Field(default_factory=list)
    value_text: str | None = None
    value_base64: str | None = None
    value_json: Any = None
    key: str | None = None
    mqtt_topic: str | None = None

    def edit(self) -> Edit:
        """The edit."""
        value = self.value_base64
        if self.value_text is not None:
            value = base64.b64encode(self.value_text.encode()).decode()
        elif "value_json" in self.model_fields_set:
            value = base64.b64encode(orjson.dumps(self.value_json)).decode()
        return Edit(sets=self.set, unsets=tuple(self.unset), value=value, key=self.key, mqtt_topic=self.mqtt_topic)


class RedriveBody(_Body):
    """What a POST asks for: letters by their ids or by a filter, `{}` for all."""

    ids: Annotated[list[str], Field(min_length=1, max_length=IDS_MAX)] | None = None
    filter: FilterBody | None = None
    edit: EditBody | None = None
    edits: Annotated[list[EditBody], Field(max_length=IDS_MAX)] = Field(default_factory=list)
    dry_run: bool = False
    rate_per_s: Annotated[float, Field(gt=0, allow_inf_nan=False)] | None = None
    max_replays: Annotated[int, Field(ge=1, le=1000)] = REPLAYS_MAX
    again: bool = False


def _ms(moment: datetime | None) -> int | None:
    return None if moment is None else to_epoch_ms(moment)
