"""Sessions of browsers."""

from typing import Annotated, Literal

from pydantic import ConfigDict, Field

from ems_streams.gateway.answers.base import Answer, Moment


class SessionView(Answer):
    """Who asks, and what they may.

    Attributes:
        authentication: `open` where nobody is asked who they are.
        sites: Those that may be seen.
        expires_at: When the session or token ends; null when it does not.
    """

    authentication: Literal["open", "token"]
    name: str
    role: str
    sites: Literal["all"] | list[int]
    expires_at: Moment | None


class LoginBody(Answer):
    """A token to log in with."""

    model_config = ConfigDict(extra="forbid")

    token: Annotated[str, Field(min_length=1)]
