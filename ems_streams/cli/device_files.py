"""Files of devices: rows of CSV and JSON files as they come, rejected rows as a file to be mended, the registry as a file."""

import contextlib
import csv
import json
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import orjson

from ems_streams.domain.device_rows import FIELDS, BadRow, field_of
from ems_streams.domain.file_rows import Row, csv_rows, json_array_rows, json_line_rows
from ems_streams.errors import MalformedError, UsageError

if TYPE_CHECKING:
    from ems_streams.domain.registry import RegistryEntry

FORMATS = ("csv", "json", "jsonl")
STDIN = Path("-")
_SUFFIXES = {".csv": "csv", ".json": "json", ".jsonl": "jsonl", ".ndjson": "jsonl"}
_REJECTED = ("rejectedLine", "rejectedReason", "rejectedText")
_UTF16_MARKS = (b"\xff\xfe", b"\xfe\xff")


def format_of(path: Path, given: str | None) -> str:
    """The format that is asked for, or that the name of the file says; raises `UsageError`."""
    found = given or _SUFFIXES.get(path.suffix.lower())
    if found not in FORMATS:
        said = repr(given) if given else f"is needed for {path}"
        raise UsageError(f"--format {said}: expected {', '.join(FORMATS)}")
    return found


class DeviceFile:
    """A file of devices.

    Attributes:
        names: Names of the columns of a CSV file, once its rows are read.
        ignored: Names of columns that are no fields, once the rows are read.
    """

    def __init__(self, path: Path, file_format: str, renamed: Mapping[str, str]) -> None:
        self.path = path
        self.format = file_format
        self.renamed = renamed
        self.names: tuple[str, ...] = ()
        self.ignored: list[str] = []

    def rows(self) -> Iterator[Row]:
        """Rows of the file; raises `UsageError` when it cannot be read as what it is said to be."""
        try:
            with self._open() as lines:
                if self.format == "csv":
                    yield from csv_rows(lines, self._check_names)
                    return
                seen: dict[str, None] = {}
                rows = json_line_rows(lines) if self.format == "jsonl" else json_array_rows(lines.read())
                for row in rows:
                    if isinstance(row.fields, Mapping):
                        seen.update(dict.fromkeys(row.fields))
                    yield row
                self._note(tuple(seen))
        except (OSError, UnicodeError, MalformedError) as error:
            raise UsageError(f"{self.path}: cannot be read as {self.format}: {error}") from None

    def write_rejected(self, path: Path, rejected: Sequence[BadRow]) -> None:
        """Rows that are bad, with line and reason, in the format of the file, to be mended and imported; raises `UsageError`."""
        try:
            # What is broken stays as it is: bytes that are no UTF-8 in CSV, half characters in JSON as their escapes.
            errors = "surrogateescape" if self.format == "csv" else "backslashreplace"
            with path.open("w", encoding="utf-8", errors=errors, newline="") as file:
                if self.format == "csv":
                    names = [name for name in self.names if name not in _REJECTED]
                    writer = csv.writer(file, lineterminator="\n")
                    writer.writerow([*names, *_REJECTED])
                    writer.writerows(_rejected_cells(bad, names) for bad in rejected)
                    return
                lines = [json.dumps(_rejected_object(bad), ensure_ascii=False) for bad in rejected]
                file.write("".join(f"{line}\n" for line in lines) if self.format == "jsonl" else "[\n" + ",\n".join(lines) + "\n]\n")
        except OSError as error:
            raise UsageError(f"--rejected {path}: must be a file that can be written ({error.strerror})") from None

    @contextlib.contextmanager
    def _open(self) -> Iterator[IO[str]]:
        if self.path == STDIN:
            sys.stdin.reconfigure(encoding="utf-8-sig", errors="surrogateescape", newline="")  # type: ignore[union-attr]  # a TextIOWrapper, as a process has it
            yield sys.stdin
            return
        with self.path.open("rb") as file:
            encoding = "utf-16" if file.read(2) in _UTF16_MARKS else "utf-8-sig"
        with self.path.open(encoding=encoding, errors="surrogateescape" if encoding == "utf-8-sig" else "strict", newline="") as lines:
            yield lines

    def _check_names(self, names: Sequence[str]) -> None:
        self._note(names)
        fields = [field_of(name, self.renamed) for name in names]
        if "serialNumber" not in fields:
            raise MalformedError("invalid_header", f"{','.join(names)}: must have a column serialNumber, or one that --map says is it")
        twice = sorted({each for each in fields if each is not None and fields.count(each) > 1})
        if twice:
            raise MalformedError("invalid_header", f"{','.join(names)}: two columns are {twice[0]}")

    def _note(self, names: Sequence[str]) -> None:
        self.names = tuple(names)
        ignored = [name for name in names if field_of(name, self.renamed) is None and name not in _REJECTED]
        # Bytes that are no UTF-8, as escapes: these are to be printed.
        self.ignored = [name.encode(errors="backslashreplace").decode() for name in ignored]
        absent = sorted(self.renamed.keys() - set(names))
        if absent and names:
            raise MalformedError(
                "invalid_header",
                f"--map {absent[0]}={self.renamed[absent[0]]}: there is no such column; expected one of {', '.join(names)}",
            )


def export(entries: Iterable["RegistryEntry"], file_format: str, file: IO[str]) -> None:
    """Entries as a file that imports as just these."""
    views = (each.model_dump(mode="json", by_alias=True) for each in entries)
    if file_format == "csv":
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(FIELDS)
        writer.writerows(_cells(view) for view in views)
    elif file_format == "jsonl":
        file.writelines(orjson.dumps(view).decode() + "\n" for view in views)
    else:
        lines = [orjson.dumps(view).decode() for view in views]
        file.write("[\n" + ",\n".join(lines) + "\n]\n")


def _cells(view: Mapping[str, Any]) -> list[str]:
    limits = orjson.dumps(view["limits"], option=orjson.OPT_SORT_KEYS).decode() if view["limits"] else ""
    texts = {**view, "limits": limits, "provisioned": str(view["provisioned"]).lower(), "name": view["name"] or ""}
    return [str(texts[name]) for name in FIELDS]


def _reasons(bad: BadRow) -> str:
    return "; ".join(map(str, bad.problems))


def _rejected_cells(bad: BadRow, names: Sequence[str]) -> list[str]:
    fields = bad.row.fields
    if isinstance(fields, MalformedError):
        return ["" for _ in names] + [str(bad.row.line), _reasons(bad), bad.row.text.rstrip("\r\n")]
    return [*(fields[name] for name in names), str(bad.row.line), _reasons(bad), ""]


def _rejected_object(bad: BadRow) -> dict[str, Any]:
    line, reason, text = _REJECTED
    said = {line: bad.row.line, reason: _reasons(bad)}
    if isinstance(bad.row.fields, MalformedError):
        return {**said, text: bad.row.text.rstrip("\r\n")}
    return {**bad.row.fields, **said}
