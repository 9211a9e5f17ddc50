"""What routes answer, as the OpenAPI document has it: their own answers, and the problems that they have in common."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final, NamedTuple

from ems_streams.gateway.answers.base import Problem
from ems_streams.gateway.openapi.describe import Description, Says
from ems_streams.schemas.models import Schema

PROBLEM: Final = "application/problem+json"
_RETRY: Final = ("Retry-After",)


class Common(NamedTuple):
    """A problem that many routes may answer with."""

    text: str
    headers: tuple[str, ...] = ()


COMMON: Final = {
    400: Common("A parameter, a header or the body has a value that it cannot have."),
    401: Common("No token, or none that is known. Only where tokens are asked for.", ("WWW-Authenticate",)),
    403: Common("The token's role or sites do not allow this, or a page of another origin asks."),
    413: Common("The body is too large."),
    415: Common("The body is no `application/json`."),
    429: Common("Too many requests.", _RETRY),
    500: Common("Failed inside the server; the log has more under `errorId`."),
    504: Common("Not answered within the deadline."),
}
"""By status; the one place for what comes from before the handlers."""


class ResponseWriter:
    """Writes answers, with references to the schemas of models.

    Args:
        references: By model.
    """

    def __init__(self, references: Mapping[Any, Schema]) -> None:
        self.references = references

    def shared(self) -> Schema:
        """The problems in common, for the components of the document."""
        return {_name(status): self._problem(*common) for status, common in COMMON.items()}

    def responses(self, said: Description, *, changes: bool) -> Schema:
        """The answers of a route by their status; one that `changes` something is not given up at a deadline."""
        answers = {status: self._answer(answer, said) for status, answer in said.answers.items()}
        if said.revalidated:
            answers[304] = {"description": "What `If-None-Match` names is still right.", "headers": _headers(("X-Request-Id", "ETag"))}
        for status, text in said.problems.items():
            answers[status] = self._problem(text, _RETRY if status in {409, 503} else ())
        for status in _common_of(said, changes):
            answers.setdefault(status, {"$ref": f"#/components/responses/{_name(status)}"})
        return {str(status): answer for status, answer in sorted(answers.items())}

    def _answer(self, answer: Says, said: Description) -> Schema:
        paged = any(each.name == "cursor" for each in said.parameters)
        names = ("X-Request-Id", *(("ETag",) if said.revalidated else ()), *(("Link",) if paged else ()), *answer.headers)
        written: Schema = {"description": answer.text, "headers": _headers(names)}
        if answer.media_type is not None:
            written["content"] = {answer.media_type: {"schema": self._schema(answer)}}
        return written

    def _schema(self, answer: Says) -> Schema:
        schemas = [self.references[model] for model in answer.models]
        if not schemas:
            return {"type": "object" if str(answer.media_type).endswith("json") else "string"}
        return schemas[0] if len(schemas) == 1 else {"oneOf": schemas}

    def _problem(self, text: str, headers: tuple[str, ...]) -> Schema:
        return {
            "description": text,
            "headers": _headers(("X-Request-Id", *headers)),
            "content": {PROBLEM: {"schema": self.references[Problem]}},
        }


def _common_of(said: Description, changes: bool) -> Iterator[int]:
    # Whoever sends a parameter that is not there, or a header that cannot be meant, is told so by every route.
    yield from (403, 429, 500)
    if not said.public:
        yield 401
    if not said.checked:
        return
    yield 400
    if said.body is not None:
        yield from (413, 415)
    if not changes:
        yield 504


def _name(status: int) -> str:
    return f"Problem{status}"


def _headers(names: Iterable[str]) -> Schema:
    return {name: {"$ref": f"#/components/headers/{name}"} for name in dict.fromkeys(names)}
