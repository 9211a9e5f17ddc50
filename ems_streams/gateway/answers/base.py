"""What answers have in common."""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, WithJsonSchema
from pydantic.alias_generators import to_camel

Moment = Annotated[str, WithJsonSchema({"type": "string", "format": "date-time", "examples": ["2026-01-31T12:00:00Z"]})]
"""A time in UTC, with a `Z`."""
Count = Annotated[int, Field(ge=0)]
Figure = float | None
"""None where a figure is beyond the range of a float."""


class Answer(BaseModel):
    """Base of the answers; programs should expect members that are not here yet."""

    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=True)


class Covered(Answer):
    """What every list over many workers says of itself.

    Attributes:
        as_of: When the workers were asked.
        partitions_total: Partitions there are.
        partitions_answered: How many of them the list is of; fewer than all says that devices are missing, because their worker is away or recovering.
    """

    as_of: Moment
    partitions_total: Count
    partitions_answered: Count


NextCursor = Annotated[
    str | None, Field(description="Give it as `cursor` for the next page; null on the last one. `Link` has the whole address.")
]


class Problem(Answer):
    """What went wrong, by RFC 9457; members beside these name what it is about, such as `parameter` or `field`.

    Attributes:
        type: `about:blank`: the status says the kind.
        title: The kind, in words.
        status: The HTTP status.
        detail: Names the parameter or field, the value and what was expected.
        instance: The path that was asked for; not there when the request could not be read.
        request_id: Id of the request, which the logs have too.
    """

    model_config = ConfigDict(extra="allow")

    type: str
    title: str
    status: Annotated[int, Field(ge=400, le=599)]
    detail: str
    instance: str = ""
    request_id: str
