"""What a route says of itself, written at its handler: the OpenAPI document, the reference and the checks of parameters are made of it."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Final, Literal, TypeVar

from pydantic import BaseModel

H = TypeVar("H", bound=Callable[..., Any])

JSON: Final = "application/json"
_ATTRIBUTE: Final = "__openapi__"
_NOTHING: Final[Mapping[Any, Any]] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Parameter:
    """A parameter of a request.

    Attributes:
        schema: JSON Schema of its value, or of each of its values.
        repeated: Whether it may be given several times.
        commas: Whether one may also have several values separated by commas.
        example: A value that makes sense.
    """

    name: str
    text: str
    schema: Mapping[str, Any]
    place: Literal["query", "path", "header"] = "query"
    repeated: bool = False
    commas: bool = False
    example: Any = None


@dataclass(frozen=True, slots=True)
class Body:
    """The body that a request may have, in JSON.

    Attributes:
        max_bytes: A larger one is answered with 413.
        optional: Whether there may be none.
    """

    model: type[BaseModel]
    max_bytes: int
    example: Mapping[str, Any]
    optional: bool = False


@dataclass(frozen=True, slots=True)
class Says:
    """An answer that is no error.

    Attributes:
        models: What is in it, one of these; nothing for an answer that is no JSON.
        media_type: Of the body; None for one without.
        headers: Names of `parameters.RESPONSE_HEADERS`.
    """

    text: str
    models: tuple[type[BaseModel], ...] = ()
    media_type: str | None = JSON
    headers: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Description:
    """Of a route: what the handler's `describe` was given.

    Attributes:
        checked: Whether its parameters and headers are checked before its handler; not those of every process, which tools ask in ways of their own.
        query: Names of the parameters that may be in the query.
        single: Of them, those that may be given once.
    """

    summary: str
    tag: str
    answers: Mapping[int, Says]
    parameters: tuple[Parameter, ...] = ()
    body: Body | None = None
    problems: Mapping[int, str] = field(default_factory=dict)
    text: str = ""
    more: str = ""
    public: bool = False
    revalidated: bool = False
    hidden: bool = False
    checked: bool = True
    query: frozenset[str] = frozenset()
    single: frozenset[str] = frozenset()


def describe(
    summary: str,
    *,
    tag: str,
    answers: Mapping[int, Says] | None = None,
    parameters: tuple[Parameter, ...] = (),
    body: Body | None = None,
    problems: Mapping[int, str] = _NOTHING,
    text: str = "",
    more: str = "",
    public: bool = False,
    revalidated: bool = False,
    hidden: bool = False,
) -> Callable[[H], H]:
    """Say of a handler what it takes and answers.

    Args:
        summary: What it answers, in a few words.
        tag: Which routes it belongs to.
        answers: By status; what every route may answer besides, such as 401, is added.
        parameters: Query and headers; those in the path are known by their names.
        body: What it reads.
        problems: Statuses of problem documents that are its own, with when they come.
        text: More words, in Markdown.
        more: A page about it, as a link from docs/reference.
        public: Whether nobody is asked who they are.
        revalidated: Whether `ETag` and `If-None-Match` are of use to those who ask again.
        hidden: A page or file for browsers, which is in the reference and not in the document.
    """

    def mark(handler: H) -> H:
        query = tuple(each for each in parameters if each.place == "query")
        described = Description(
            summary, tag, answers or {}, parameters, body, problems, text, more, public, revalidated, hidden,
            query=frozenset(each.name for each in query), single=frozenset(each.name for each in query if not each.repeated),
        )  # fmt: skip
        setattr(handler, _ATTRIBUTE, described)
        return handler

    return mark


def description_of(handler: object) -> Description | None:
    """What a handler says of itself; of a bound method what its function does."""
    found: Description | None = getattr(handler, _ATTRIBUTE, None)
    return found
