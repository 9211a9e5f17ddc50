"""Two schemas, of an old document and of a new one, compared for those who read such values and for those who write them; pure."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

Schema = Mapping[str, Any]
_LOWER: Final = ("minimum", "exclusiveMinimum", "minLength", "minItems", "minProperties")
_UPPER: Final = ("maximum", "exclusiveMaximum", "maxLength", "maxItems", "maxProperties")


@dataclass(slots=True)
class Pair:
    """Two documents, in which schemas refer to others; each pair of schemas is compared once."""

    old: Schema
    new: Schema
    seen: set[tuple[str, str, bool]] = field(default_factory=set)

    def read(self, where: str, before: Schema, after: Schema) -> Iterator[str]:
        """Of what programs read."""
        yield from self._compare(where, before, after, written=False)

    def written(self, where: str, before: Schema, after: Schema) -> Iterator[str]:
        """Of what programs write."""
        yield from self._compare(where, before, after, written=True)

    def _compare(self, where: str, before: Any, after: Any, *, written: bool) -> Iterator[str]:
        if "$ref" in before and "$ref" in after:
            pair = (str(before["$ref"]), str(after["$ref"]), written)
            if pair in self.seen:
                return
            self.seen.add(pair)
        olds, news = _alternatives(self.old, before), _alternatives(self.new, after)
        if any(not each for each in news.values()) and written:
            return  # anything is taken
        # Whatever may come must be known; whatever is known must be taken.
        needed, given = (olds, news) if written else (news, olds)
        for kind in needed:
            if kind not in given and kind.rpartition("#")[0] not in given and "any" not in given:
                yield f"{where}: {'is taken no more as' if written else 'may be'} {_shown(kind)}{'' if written else ' now'}"
        for kind, old in olds.items():
            if (new := news.get(kind)) is not None:
                yield from self._details(where, old, new, written=written)

    def _details(self, where: str, old: Schema, new: Schema, *, written: bool) -> Iterator[str]:
        yield from _values(where, old, new, written=written)
        if written:
            yield from _bounds(where, old, new)
        yield from self._members(where, old, new, written=written)
        for name, suffix in (("items", "[]"), ("additionalProperties", "{}")):
            before, after = old.get(name, True), new.get(name, True)
            # True is anything, as an empty schema is; what says nothing on either side is not compared.
            if (before, after) != (True, True) and before is not False and after is not False:
                yield from self._compare(where + suffix, {} if before is True else before, {} if after is True else after, written=written)

    def _members(self, where: str, old: Schema, new: Schema, *, written: bool) -> Iterator[str]:
        known, found = old.get("properties", {}), new.get("properties", {})
        was_required, is_required = set(old.get("required", ())), set(new.get("required", ()))
        for name, schema in known.items():
            place = f"{where}.{name}"
            if name not in found:
                # A member that is ignored, where others are too, can still be written.
                if not written or new.get("additionalProperties") is False:
                    yield f"{place}: the field is gone"
                continue
            if not written and name in was_required and name not in is_required:
                yield f"{place}: the field may be absent now"
            if isinstance(schema, Mapping) and isinstance(found[name], Mapping):
                yield from self._compare(place, schema, found[name], written=written)
        if written:
            for name in sorted(is_required - was_required):
                yield f"{where}.{name}: the field is {'required now' if name in known else 'new and required'}"


def _values(where: str, old: Schema, new: Schema, *, written: bool) -> Iterator[str]:
    before, after = _enumerated(old), _enumerated(new)
    if before is None:
        if after is not None and written:
            yield f"{where}: only {', '.join(map(str, after))} are taken now"
        return
    if after is None:
        if not written:
            yield f"{where}: may be any value now, and was one of {', '.join(map(str, before))}"
        return
    for value in before:
        if value not in after:
            yield f"{where}: the value {value!r} is gone"


def _bounds(where: str, old: Schema, new: Schema) -> Iterator[str]:
    for name in (*_LOWER, *_UPPER):
        before, after = old.get(name), new.get(name)
        if after is not None and (before is None or (after > before if name in _LOWER else after < before)):
            yield f"{where}: {name} is {after} now, and was {'not there' if before is None else before}"
    for name in ("pattern", "format", "propertyNames"):
        if new.get(name, old.get(name)) != old.get(name):
            yield f"{where}: {name} is {new[name]!r} now, and was {old.get(name, 'not there')!r}"
    if new.get("additionalProperties") is False and old.get("additionalProperties") is not False:
        yield f"{where}: fields that are not known are refused now"


def _enumerated(schema: Schema) -> list[Any] | None:
    if "const" in schema:
        return [schema["const"]]
    values = schema.get("enum")
    return None if values is None else list(values)


def _alternatives(document: Schema, schema: Any) -> dict[str, Schema]:
    """What a value may be: schemas by their type; several of one type by what tells them apart."""
    found: dict[str, Schema] = {}
    for each in _flat(document, schema):
        kinds = each.get("type", "any")
        for kind in [kinds] if isinstance(kinds, str) else kinds:
            name = kind if kind not in found or found[kind] == each else f"{kind}#{_distinguished(each)}"
            found[name] = each
    return found


def _flat(document: Schema, schema: Any) -> Iterator[Schema]:
    found = resolved(document, schema)
    inner = found.get("anyOf") or found.get("oneOf")
    if inner is None:
        yield found
        return
    # The type may stand beside the alternatives, for all of them.
    common = {"type": found["type"]} if "type" in found else {}
    for each in inner:
        yield from _flat(document, each if "$ref" in each else {**common, **each})


def _distinguished(schema: Schema) -> str:
    constants = [f"{name}={value['const']}" for name, value in schema.get("properties", {}).items() if "const" in value]
    return ",".join(constants) or str(schema.get("title", sorted(schema.get("properties", ()))))


def _shown(kind: str) -> str:
    name, _, what = kind.partition("#")
    return f"{name} ({what})" if what else name


def resolved(document: Schema, schema: Any) -> Schema:
    while isinstance(schema, Mapping) and "$ref" in schema:
        target: Any = document
        for part in str(schema["$ref"]).removeprefix("#/").split("/"):
            target = target[part.replace("~1", "/").replace("~0", "~")]
        schema = target
    return schema if isinstance(schema, Mapping) else {}
