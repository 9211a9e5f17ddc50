"""A command as a device reads it off the wire."""

from dataclasses import dataclass
from typing import Any

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, ValidationError
from pydantic.alias_generators import to_camel


@dataclass(frozen=True, slots=True)
class Command:
    """What a device is told to do.

    Attributes:
        expires_at_ms: From when on it must not be executed, in ms since 1970; None for never.
    """

    command_id: str
    command: str
    parameters: dict[str, Any]
    expires_at_ms: int | None

    def expired(self, now_ms: int) -> bool:
        """Whether it is too late to execute it."""
        return self.expires_at_ms is not None and now_ms >= self.expires_at_ms


class _Message(BaseModel):
    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=True, extra="ignore")

    command_id: str = Field(min_length=1)
    command: str = Field(min_length=1)
    parameters: dict[str, Any] | None = None
    expires_at: AwareDatetime | None = None


def parse_command(payload: bytes) -> Command:
    """Read a command; raises `ValueError` that says what is wrong with it."""
    try:
        message = _Message.model_validate_json(payload)
    except ValidationError as error:
        problem = error.errors(include_url=False, include_context=False)[0]
        raise ValueError(f"{'.'.join(map(str, problem['loc']))}: {problem['msg']}") from None
    expires_at_ms = None if message.expires_at is None else int(message.expires_at.timestamp() * 1000)
    return Command(message.command_id, message.command, message.parameters or {}, expires_at_ms)
