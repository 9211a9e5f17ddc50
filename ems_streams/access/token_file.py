"""Files of tokens: read with every mistake and its place, read again when they change, and written to."""

import fcntl
import os
import re
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import structlog
from pydantic import ValidationError

from ems_streams.access.token_entries import HASH_PATTERN, NAME_PATTERN, TOKENS_MAX, TokenEntry, TokensFile, entry_yaml
from ems_streams.errors import EmsError, UsageError
from ems_streams.yaml_files.document import Document, Problem, parse_document, read_document, words
from ems_streams.yaml_files.explain import Wording, explain, shown

log = structlog.get_logger(__name__)

LOOK_EVERY_S: Final = 1.0
_ELEMENT: Final = re.compile(r"^( *)- ", re.MULTILINE)

WORDING: Final = Wording(
    patterns={
        NAME_PATTERN: "a name: a letter or digit, then up to 63 of letters, digits and _.@-",
        HASH_PATTERN: "sha256: and 64 hexadecimal digits, as `ems-streams tokens create` prints them",
    },
    missing={
        "tokens": "expected a list of tokens",
        "name": "expected a name of its own",
        "hash": "expected the hash of the token, as `ems-streams tokens create` prints it",
        "role": "expected viewer, operator or admin",
        "sites": "expected all, or a list of site ids such as [1, 2]",
    },
    meant={"site": "sites", "siteIds": "sites", "expires_at": "expires", "expiresAt": "expires", "sha256": "hash", "user": "name"},
    # Somebody may have written the token itself.
    hidden=lambda place, _: place[-1] in {"hash", "token"},
)


class TokensFileError(UsageError):
    """A file of tokens that cannot be used; the text has a line for each mistake."""

    def __init__(self, path: Path, problems: list[Problem]) -> None:
        super().__init__("\n".join(problem.in_file(path) for problem in problems))
        self.problems = problems


def load_tokens(path: Path) -> tuple[TokenEntry, ...]:
    """The tokens of a file, in its order; raises `TokensFileError` with all mistakes."""
    document, problems = read_document(path, "a file of tokens")
    return _checked(path, document, problems)


def parse_tokens(path: Path, data: bytes) -> tuple[TokenEntry, ...]:
    """The same of the bytes of a file."""
    document, problems = parse_document(data)
    return _checked(path, document, problems)


def _checked(path: Path, document: Document | None, problems: list[Problem]) -> tuple[TokenEntry, ...]:
    if document is None:
        raise TokensFileError(path, problems)
    entries, found = _validated(document)
    every = [*problems, *found, *_twice(document, "name"), *_twice(document, "hash")]
    if every:
        raise TokensFileError(path, sorted(every, key=lambda each: each.mark or (0, 0)))
    return entries


def _validated(document: Document) -> tuple[tuple[TokenEntry, ...], list[Problem]]:
    content = document.content
    if not isinstance(content, dict):
        what = "is empty" if content is None else "is no mapping"
        return (), [Problem(None, "", f"{what}; expected the member tokens with a list")]
    try:
        return TokensFile.model_validate(content).tokens, []
    except ValidationError as error:
        return (), explain(error, TokensFile, document, WORDING)


def _twice(document: Document, member: str) -> Iterator[Problem]:
    tokens: Any = document.content.get("tokens") if isinstance(document.content, dict) else None
    first: dict[str, int] = {}
    for index, token in enumerate(tokens if isinstance(tokens, list) else ()):
        value = token.get(member) if isinstance(token, dict) else None
        if not isinstance(value, str):
            continue
        place = ("tokens", index, member)
        if value in first:
            there = document.mark_of(("tokens", first[value], member))
            on_line = "" if there is None else f" on line {there.line}"
            text = f"is the {member} of tokens[{first[value]}]{on_line} already; expected one of its own"
            yield Problem(document.mark_of(place, value=True), words(place), text, None if member == "hash" else shown(value))
        first.setdefault(value, index)


class WatchedTokens:
    """The tokens of a file as it is now, looked at no more than once a second.

    A file that cannot be used any more leaves the tokens as they were, and `trouble` says so: a typing error must not lock everybody out.

    Raises `TokensFileError` when it cannot be used from the beginning.
    """

    def __init__(self, path: Path, clock: Callable[[], float] = time.monotonic) -> None:
        self._path = path
        self._clock = clock
        self._seen = _stamp(path)
        self._entries = load_tokens(path)
        self._by_hash = {each.hash: each for each in self._entries}
        self._looked_s = clock()
        self.trouble = ""

    @property
    def entries(self) -> tuple[TokenEntry, ...]:
        """All tokens, also those that are over."""
        self._keep_up()
        return self._entries

    @property
    def by_hash(self) -> Mapping[str, TokenEntry]:
        """The same by their hashes."""
        self._keep_up()
        return self._by_hash

    def _keep_up(self) -> None:
        now_s = self._clock()
        if now_s - self._looked_s >= LOOK_EVERY_S:
            self._looked_s = now_s
            self._look()

    def _look(self) -> None:
        stamp = _stamp(self._path)
        if stamp == self._seen:
            return
        self._seen = stamp
        try:
            self._entries = load_tokens(self._path)
        except TokensFileError as error:
            self.trouble = str(error)
            log.error("tokens_file_unusable", error=self.trouble, detail="the tokens as they were before stay valid")
            return
        self._by_hash = {each.hash: each for each in self._entries}
        self.trouble = ""
        log.info("tokens_read", tokens=len(self._entries))


def _stamp(path: Path) -> tuple[int, ...] | None:
    try:
        stat = path.stat()
    except OSError:
        return None
    return stat.st_mtime_ns, stat.st_size, stat.st_ino


def add_token(path: Path, entry: TokenEntry) -> None:
    """Append a token to a file, which is made when there is none; only its owner can read it afterwards.

    Raises `UsageError` for a name that is there already or a file that is full, `TokensFileError` for one that cannot be used, and `EmsError`
    when it cannot be written, or is written in a way that nothing can be appended to.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        lock = os.open(path.parent / f".{path.name}.lock", os.O_CREAT | os.O_RDWR, 0o600)
    except OSError as error:
        raise EmsError(f"{path}: cannot be written ({error.strerror}); expected a directory that this user may write to") from None
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        text = path.read_text("utf-8-sig") if path.exists() else "tokens:\n"
        _replace(path, _with(path, text, entry))
    except OSError as error:
        raise EmsError(f"{path}: cannot be written ({error.strerror}); expected a file that this user may write to") from None
    finally:
        os.close(lock)


def _with(path: Path, text: str, entry: TokenEntry) -> str:
    known: tuple[TokenEntry, ...] = ()
    if text.strip() not in {"", "tokens:", "tokens: []"}:
        known = parse_tokens(path, text.encode())
    if not known:
        return "tokens:\n" + entry_yaml(entry)
    if any(each.name == entry.name for each in known):
        raise UsageError(
            f"--name {entry.name!r}: there is a token of this name in {path} already; take its entry out first, or use another name"
        )
    if len(known) >= TOKENS_MAX:
        raise UsageError(f"{path}: has {len(known)} tokens already; expected fewer than {TOKENS_MAX}")
    element = _ELEMENT.search(text)
    whole = text.rstrip("\n") + "\n" + entry_yaml(entry, element[1] if element else "  ")
    try:
        if parse_tokens(path, whole.encode()) == (*known, entry):
            return whole
    except TokensFileError:
        pass
    raise EmsError(f"{path}: nothing can be appended to the way it is written; add this by hand:\n{entry_yaml(entry)}")


def _replace(path: Path, text: str) -> None:
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")  # of mode 0600
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
