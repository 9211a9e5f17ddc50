"""Where in a file a mistake that pydantic has found stands, and what may stand there, by the models that the file is checked with."""

from collections.abc import Iterator
from dataclasses import dataclass
from types import NoneType, UnionType
from typing import Annotated, Any, Union, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from ems_streams.yaml_files.document import Place


@dataclass(frozen=True, slots=True)
class Spot:
    """A place, and what is expected around it.

    Attributes:
        place: As it is in the file: without what pydantic puts in, the tags of unions, and with names as they are written.
        owners: The models that the place is in, the outermost first.
        expected: Type of the value at the place; `object` when nothing is expected there.
    """

    place: Place
    owners: tuple[type[BaseModel], ...]
    expected: Any

    @property
    def owner(self) -> type[BaseModel]:
        """The model whose member it is."""
        return self.owners[-1]


def spot_of(model: type[BaseModel], location: Place) -> Spot:
    """The place of an error's location."""
    place: list[Any] = []
    owners = [model]
    expected: Any = model
    for part in location:
        if part == "[key]":
            continue
        kind, members = _unfolded(expected)
        if members:
            expected = next((each for each in members if part in tags_of(each)), object)
        elif _is_model(kind):
            owners.append(kind) if owners[-1] is not kind else None
            name, field = _member(kind, part)
            place.append(name)
            expected = object if field is None else _type_of(field)
        else:
            place.append(part)
            arguments = get_args(kind)
            expected = arguments[-1 if get_origin(kind) is dict else 0] if arguments else object
    kind, members = _unfolded(expected)
    return Spot(tuple(place), tuple(owners), expected)


def names_of(model: type[BaseModel]) -> list[str]:
    """Names that members of a model are written with."""
    return [field.alias or name for name, field in model.model_fields.items()]


def models_below(model: type[BaseModel]) -> Iterator[tuple[str, type[BaseModel]]]:
    """Models of a model's members, with the name of the member."""
    for name, field in model.model_fields.items():
        kind, members = _unfolded(_type_of(field))
        for each in members or (kind,):
            if _is_model(each):
                yield field.alias or name, each


def models_of(expected: Any) -> tuple[type[BaseModel], ...]:
    """The model of a type, or all those of a union."""
    kind, members = _unfolded(expected)
    return tuple(each for each in members or (kind,) if _is_model(each))


def tags_of(model: Any) -> tuple[Any, ...]:
    """What a model of a union is told by: the values of its members that may have one value only."""
    if not _is_model(model):
        return ()
    return tuple(value for field in model.model_fields.values() if field.is_required() for value in _only(field.annotation))


def _only(annotation: Any) -> tuple[Any, ...]:
    arguments = get_args(annotation)
    return arguments if len(arguments) == 1 and isinstance(arguments[0], str) else ()


def _unfolded(expected: Any) -> tuple[Any, tuple[Any, ...]]:
    """A type without what is said about it, and the models of a union of several."""
    while get_origin(expected) is Annotated:
        expected = get_args(expected)[0]
    if get_origin(expected) in {Union, UnionType}:
        members = tuple(each for each in get_args(expected) if each is not NoneType)
        if len(members) == 1:
            return _unfolded(members[0])
        return expected, members if all(_is_model(each) for each in members) else ()
    return expected, ()


def _member(model: type[BaseModel], part: Any) -> tuple[Any, FieldInfo | None]:
    for name, field in model.model_fields.items():
        if part in {name, field.alias}:
            return field.alias or name, field
    return part, None


def _type_of(field: FieldInfo) -> Any:
    return field.annotation


def _is_model(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, BaseModel)
