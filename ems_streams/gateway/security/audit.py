"""Who has changed, or was denied, what: one line of JSON each, in a file that only its owner reads, or in the log."""

import os
from pathlib import Path
from typing import Any, Final

import structlog

from ems_streams.domain.json_text import write_json
from ems_streams.errors import SettingError

log = structlog.get_logger(__name__)

SETTING: Final = "EMS_GATEWAY_AUDIT_FILE"


class AuditLog:
    """Appends lines; each is written at once, and as a whole.

    A file that was moved away, as by logrotate, is made anew.

    Args:
        path: Of the file; None for the log.

    Raises `SettingError` when the file cannot be written to from the beginning.
    """

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self._file: int | None = None
        self._identity: tuple[int, int] | None = None
        self.trouble = ""
        if path is not None:
            try:
                self._open(path)
            except OSError as error:
                raise SettingError(SETTING, str(path), f"must be a file that can be appended to ({error.strerror})") from None

    def write(self, line: dict[str, Any]) -> None:
        """Append a line; when that fails, the log has it, and the failure."""
        if self._path is None:
            log.info("audit", **line)
            return
        try:
            if self._file is None or _identity_of(self._path) != self._identity:
                self._open(self._path)
            assert self._file is not None
            os.write(self._file, write_json(line) + b"\n")
            self.trouble = ""
        except OSError as error:
            self.trouble = f"{self._path}: {error.strerror}"
            log.error("audit_file_failed", error=self.trouble, **line)

    def close(self) -> None:
        """Close the file."""
        if self._file is not None:
            os.close(self._file)
            self._file = None

    def _open(self, path: Path) -> None:
        self.close()
        path.parent.mkdir(parents=True, exist_ok=True)
        self._file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
        self._identity = _identity_of(path)


def _identity_of(path: Path) -> tuple[int, int] | None:
    try:
        stat = path.stat()
    except OSError:
        return None
    return stat.st_dev, stat.st_ino
