"""What of a new document breaks programs that were written by the old one; pure.

Who reads must find what was promised: no member may go, become optional or null, or be of another type. Who writes must be taken as before: no member
may become required or be refused, no value be taken no more. Values that are added to an enumeration, and members that are added to what is read, are
no break: the documents say that they may come.
"""

from collections.abc import Iterator
from typing import Final

from ems_streams.schemas.schema_pair import Pair, Schema, resolved

_METHODS: Final = ("get", "post", "put", "patch", "delete")


def openapi_breaks(old: Schema, new: Schema) -> list[str]:
    """Each break of an OpenAPI document in a line that names the operation, the place and what has changed."""
    return list(dict.fromkeys(_operations(old, new)))


def asyncapi_breaks(old: Schema, new: Schema) -> list[str]:
    """The same of an AsyncAPI document."""
    return list(dict.fromkeys(_channels(old, new)))


def _operations(old: Schema, new: Schema) -> Iterator[str]:
    for path, methods in old["paths"].items():
        if path not in new["paths"]:
            yield f"{path}: the path is gone"
            continue
        for method, before in methods.items():
            if method not in _METHODS:
                continue
            where = f"{method.upper()} {path}"
            after = new["paths"][path].get(method)
            if after is None:
                yield f"{where}: the method is gone"
                continue
            yield from _parameters(where, Pair(old, new), before, after)
            yield from _body(where, Pair(old, new), before, after)
            yield from _answers(where, Pair(old, new), before, after)


def _parameters(where: str, pair: Pair, before: Schema, after: Schema) -> Iterator[str]:
    def by_name(document: Schema, operation: Schema) -> dict[tuple[str, str], Schema]:
        parameters = [resolved(document, each) for each in operation.get("parameters", ())]
        return {(each["in"], each["name"]): each for each in parameters}

    known, found = by_name(pair.old, before), by_name(pair.new, after)
    for (place, name), parameter in known.items():
        now = found.get((place, name))
        if now is None:
            yield f"{where}: the {place} parameter {name} is gone"
            continue
        if now.get("required") and not parameter.get("required"):
            yield f"{where}: the {place} parameter {name} is required now"
        yield from pair.written(f"{where}: {place} parameter {name}", parameter["schema"], now["schema"])
    for (place, name), parameter in found.items():
        if (place, name) not in known and parameter.get("required"):
            yield f"{where}: the {place} parameter {name} is new and required"


def _body(where: str, pair: Pair, before: Schema, after: Schema) -> Iterator[str]:
    known, found = before.get("requestBody"), after.get("requestBody")
    if known is None:
        if found is not None and found.get("required"):
            yield f"{where}: a body is required now"
        return
    if found is None:
        yield f"{where}: a body is taken no more"
        return
    if found.get("required") and not known.get("required"):
        yield f"{where}: the body is required now"
    for media, content in known["content"].items():
        if media not in found["content"]:
            yield f"{where}: a body of {media} is taken no more"
        else:
            yield from pair.written(f"{where}: body", content["schema"], found["content"][media]["schema"])


def _answers(where: str, pair: Pair, before: Schema, after: Schema) -> Iterator[str]:
    for status, known in before["responses"].items():
        answer, now = resolved(pair.old, known), resolved(pair.new, after["responses"].get(status))
        if not now:
            # An error that cannot happen any more is no loss.
            if status.startswith("2"):
                yield f"{where}: the answer {status} is gone"
            continue
        for name in answer.get("headers", ()):
            if name not in now.get("headers", ()):
                yield f"{where}: answer {status}: the header {name} is gone"
        for media, content in answer.get("content", {}).items():
            if media not in now.get("content", {}):
                yield f"{where}: answer {status}: {media} is gone"
            else:
                yield from pair.read(f"{where}: answer {status}", content["schema"], now["content"][media]["schema"])


def _channels(old: Schema, new: Schema) -> Iterator[str]:
    directions = {
        channel: {each["action"] for each in old["operations"].values() if each["channel"]["$ref"] == f"#/channels/{channel}"}
        for channel in old["channels"]
    }
    for name, channel in old["channels"].items():
        now = new["channels"].get(name)
        if now is None:
            yield f"{name}: the channel is gone"
            continue
        if now["address"] != channel["address"]:
            yield f"{name}: the address was {channel['address']} and is {now['address']}"
        for message in channel["messages"]:
            if message not in now["messages"]:
                yield f"{name}: the message {message} is gone"
                continue
            pair = Pair(old, new)
            before, after = old["components"]["messages"][message], new["components"]["messages"][message]
            for part in ("payload", "headers"):
                if part in before:
                    yield from _in_both(f"{name}: {message}", pair, before[part], after.get(part, {}), directions[name])
    for name in old["operations"]:
        if name not in new["operations"]:
            yield f"{name}: the operation is gone"


def _in_both(where: str, pair: Pair, before: Schema, after: Schema, directions: set[str]) -> Iterator[str]:
    if "send" in directions:
        yield from pair.read(where, before, after)
    if "receive" in directions:
        yield from Pair(pair.old, pair.new).written(where, before, after)
