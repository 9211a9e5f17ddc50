"""What pydantic finds wrong with a file, in the words of those who wrote it: place, value, what is expected, and what was probably meant."""

import math
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from difflib import get_close_matches
from typing import Any, Final

from pydantic import BaseModel, ValidationError

from ems_streams.yaml_files.document import Document, Place, Problem, words
from ems_streams.yaml_files.shape import Spot, models_below, models_of, names_of, spot_of, tags_of

_SHOWN_CHARS: Final = 80
_LONG: Final = 1e20
_LISTED: Final = 10
_LIKE_FROM_CHARS: Final = 4
_UNITS_S: Final = {
    "ms": 0.001, "s": 1, "sec": 1, "second": 1, "m": 60, "min": 60, "minute": 60, "h": 3600, "hour": 3600, "d": 86_400, "day": 86_400,
}  # fmt: skip
_DURATION: Final = re.compile(r"\s*(\d+(?:\.\d+)?)\s*(ms|s|sec|second|m|min|minute|h|hour|d|day)s?\s*")
_DECIMAL_COMMA: Final = re.compile(r"\s*([-+]?\d+),(\d+)\s*")
_LEADING_NUMBER: Final = re.compile(r"\s*[-+]?\d+(?:[.,]\d+)?\s*\S")


@dataclass(frozen=True, slots=True)
class Wording:
    """What is said in the words of a kind of file.

    Attributes:
        patterns: What regular expressions of the models mean.
        missing: What is expected of members that are missing, by name.
        meant: What people write who mean a member of another name, or another word of a few.
        hidden: Whether a value at a place may not be shown.
    """

    patterns: Mapping[str, str] = field(default_factory=dict)
    missing: Mapping[str, str] = field(default_factory=dict)
    meant: Mapping[str, str] = field(default_factory=dict)
    hidden: Callable[[Place, Any], bool] = lambda _place, _value: False


def explain(error: ValidationError, model: type[BaseModel], document: Document, wording: Wording) -> list[Problem]:
    """All mistakes, in the order in which they stand in the file."""
    found = error.errors(include_url=False)
    # A list whose only element is wrong is called too short as well.
    # Names that are no text have been told of when the file was read.
    whole = [
        each for each in found if each["type"] != "invalid_key" and (each["type"] != "too_short" or not _has_parts(each["loc"], found))
    ]
    problems = [_problem(each, spot_of(model, each["loc"]), document, wording) for each in whole]
    return sorted(problems, key=lambda each: each.mark or (0, 0))


def shown(value: Any) -> str:
    """A value as it is shown in a message."""
    text = str(value).lower() if isinstance(value, bool) else value.isoformat() if isinstance(value, date) else repr(value)
    return text if len(text) <= _SHOWN_CHARS else text[: _SHOWN_CHARS - 3] + "..."


def did_you_mean(given: Any, names: Iterable[str]) -> str | None:
    """The name that was probably meant: the same but for case and signs, or a similar one."""
    if not isinstance(given, str):
        return None
    plain = {_plain(name): name for name in names}
    near = get_close_matches(_plain(given), plain, 1, cutoff=0.7)
    return plain[near[0]] if near else None


def _plain(name: str) -> str:
    return re.sub(r"[^a-z0-9]", "", name.lower())


def _has_parts(place: Place, found: Sequence[Any]) -> bool:
    return any(len(each["loc"]) > len(place) and each["loc"][: len(place)] == place for each in found)


def _problem(found: Any, spot: Spot, document: Document, wording: Wording) -> Problem:
    kind, place = found["type"], spot.place
    if kind == "extra_forbidden":
        return _of_unknown((*place[:-1], found["loc"][-1]), spot, document, wording)
    if kind.startswith("union_tag"):
        return _of_tag(found, spot, document, wording)
    if kind == "missing" or kind.startswith("missing_"):
        text = found["msg"] if kind != "missing" else "is missing; " + wording.missing.get(place[-1], "it must be given")
        return Problem(document.mark_of(place), words(place), text)
    if kind == "exactly_one":
        return Problem(document.mark_of(place[:-1]), words(place[:-1]), found["msg"])
    text = _text(found, spot, wording)
    return _of_value(found, place, document, text, wording) if place else Problem(None, "", text)


def _of_value(found: Any, place: Place, document: Document, text: str, wording: Wording) -> Problem:
    value = found["input"]
    if value is None:
        return Problem(document.mark_of(place), words(place), f"has no value; {text}")
    # Of a part with many members its place says enough.
    hidden = isinstance(value, dict) or (isinstance(value, list) and len(value) > _LISTED) or wording.hidden(place, value)
    scalar = not isinstance(value, dict | list) and "[key]" not in found["loc"]
    return Problem(document.mark_of(place, value=scalar), words(place), text, None if hidden else shown(value))


def _of_unknown(place: Place, spot: Spot, document: Document, wording: Wording) -> Problem:
    name, names = place[-1], sorted(names_of(spot.owner))
    near = wording.meant.get(str(name))
    meant = near if near in names else did_you_mean(name, names)
    if meant is None:
        within = [member for member, model in models_below(spot.owner) if name in names_of(model)]
        outside = [owner for owner in spot.owners[:-1] if name in names_of(owner)]
        meant = f"{within[0]}.{name}" if within else f"{name} one level further out" if outside else None
    hint = f"; did you mean {meant}?" if meant else ""
    return Problem(document.mark_of(place), words(place), f"there is no such member; expected some of {', '.join(names)}{hint}")


def _of_tag(found: Any, spot: Spot, document: Document, wording: Wording) -> Problem:
    name = found["ctx"]["discriminator"].strip("'")
    tags = [tag for model in models_of(spot.expected) for tag in tags_of(model)]
    place = (*spot.place, name)
    expected = f"expected {_either(tags)}"
    if found["type"] == "union_tag_not_found":
        return Problem(document.mark_of(place), words(place), f"is missing; {expected}")
    given = found["input"].get(name)
    if given is None:
        return Problem(document.mark_of(place), words(place), f"has no value; {expected}")
    return Problem(document.mark_of(place, value=True), words(place), expected + _hint(given, tags, wording), shown(given))


_PLAINLY: Final = {"finite_number": "expected a finite number", "bool_type": "expected true or false"}


def _text(found: Any, spot: Spot, wording: Wording) -> str:
    value, context = found["input"], found.get("ctx", {})
    match found["type"]:
        case "string_pattern_mismatch":
            text = f"expected {wording.patterns.get(context['pattern'], 'what matches ' + context['pattern'])}"
        case "too_short" | "too_long":
            text = f"expected at least {context['min_length']}" if "min_length" in context else f"expected at most {context['max_length']}"
        case "less_than_equal" | "greater_than_equal" if abs(limit := context.get("le", context.get("ge"))) >= _LONG:
            text = f"expected at {'most' if 'le' in context else 'least'} {limit:g}"
        case "float_type" | "float_parsing":
            text = _no_number(value, spot.place[-1])
        case "int_type" | "int_parsing" | "int_from_float":
            text = "expected a whole number" + (f": write {value} without quotes" if str(value).isdecimal() else "")
        case "tuple_type":
            text = "expected a list" + (f": write [{value}]" if isinstance(value, str | int | float) else "")
        case "string_type":
            text = _no_text(value)
        case "enum" | "literal_error":
            text = f"expected {context['expected']}" + _hint(value, re.findall(r"'([^']*)'", context["expected"]), wording)
        case "model_type" | "model_attributes_type":
            text = _members(spot)
        case kind:
            text = _PLAINLY.get(kind) or _message(found["msg"])
    return text


def _members(spot: Spot) -> str:
    models = models_of(spot.expected)
    common = [name for name in names_of(models[0]) if all(name in names_of(model) for model in models)]
    return f"expected the members {', '.join(common)}{' and others' if len(models) > 1 else ''}"


def _message(message: str) -> str:
    text = (
        message.removeprefix("Value error, ")
        .replace("Input should be", "expected")
        .replace("greater than or equal to", "at least")
        .replace("less than or equal to", "at most")
        .replace("a valid dictionary", "members by name")
        .replace("String should have", "expected")
    )
    return text[0].lower() + text[1:] if text[1:2].islower() else text


def _no_number(value: Any, name: Any) -> str:
    if isinstance(value, int) and not isinstance(value, bool):
        return "expected a number within the range of a float"
    # A limit such as abovePerS is no duration.
    seconds = " of seconds" if str(name).endswith(("S", "_s")) and not str(name).endswith("PerS") else ""
    if not isinstance(value, str):
        return f"expected a number{seconds}"
    duration = _DURATION.fullmatch(value)
    if duration and seconds:
        return f"expected a number of seconds: {value.strip()} is {float(duration[1]) * _UNITS_S[duration[2]]:g}"
    try:
        number = float(value)
    except ValueError:
        if comma := _DECIMAL_COMMA.fullmatch(value):
            return f"expected a number{seconds} with a point: write {comma[1]}.{comma[2]}"
        return f"expected a number{seconds}" + (" without a unit" if _LEADING_NUMBER.match(value) else "")
    if not math.isfinite(number):
        return "expected a finite number"
    return f"expected a number, and YAML reads this as text: write {number!r}, without quotes"


def _no_text(value: Any) -> str:
    if isinstance(value, bool | int | float | date):
        read_as = "true or false" if isinstance(value, bool) else "a date" if isinstance(value, date) else "a number"
        return f"expected text, and YAML reads this as {read_as}: put it into quotes"
    return "expected text" + ("; one that begins with { must be in quotes" if isinstance(value, dict) else "")


def _hint(given: Any, names: Sequence[str], wording: Wording) -> str:
    meant = wording.meant.get(str(given))
    if meant not in names:
        # Of short words, such as 5m and 15m, every one is like another.
        meant = did_you_mean(given, names) if len(str(given)) >= _LIKE_FROM_CHARS else None
    return f"; did you mean {meant}?" if meant else ""


def _either(names: Sequence[str]) -> str:
    return " or ".join(filter(None, (", ".join(names[:-1]), names[-1])))
