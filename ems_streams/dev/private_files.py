"""Files that nobody else may read: directories 0700, files 0600, each written in one go; and secrets that are made once."""

import os
import secrets
from pathlib import Path

_DIRECTORY_MODE, _FILE_MODE = 0o700, 0o600
_SECRET_BYTES = 24


def private_directory(path: Path) -> Path:
    """The directory, made when it is missing, and closed to others either way."""
    path.mkdir(parents=True, exist_ok=True)
    path.chmod(_DIRECTORY_MODE)
    return path


def write_private(path: Path, content: bytes, owner: tuple[int, int] | None = None) -> Path:
    """Replace the file; whoever reads it finds the old content or the new one, and nobody but the owner finds any.

    Args:
        owner: User and group id that the file is to belong to; ours when None.
    """
    part = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, _FILE_MODE)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
        if owner is not None:
            os.chown(part, *owner)
        part.replace(path)
    except BaseException:
        part.unlink(missing_ok=True)
        raise
    return path


class SecretFiles:
    """Random secrets by name, one file each; what is there already is kept."""

    def __init__(self, directory: Path) -> None:
        self.directory = private_directory(directory)

    def path(self, name: str) -> Path:
        """File of the secret, for a `*_FILE` variable; made when it is missing."""
        path = self.directory / name
        if not path.exists():
            write_private(path, secrets.token_urlsafe(_SECRET_BYTES).encode())
        return path

    def value(self, name: str) -> str:
        """The secret itself; only URL-safe characters."""
        return self.path(name).read_text()

    def put(self, name: str, value: str) -> Path:
        """A file with something that a secret is part of, such as a URL; replaced each time."""
        return write_private(self.directory / name, value.encode())
