"""The jars of the embedded servers: fetched one by one, checked against their SHA-256, kept in a cache.

A jar is in the cache under its final name only after its sum was found right, so an interrupted download resumes with the jars
that are still missing.
"""

import errno
import hashlib
import os
import shutil
import tempfile
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

import stamina

from ems_streams.dev.errors import JarError, JarUnreachableError

DOWNLOAD_THREADS = 8
_NEEDED_BYTES = 100 * 1024 * 1024
_TIMEOUT_S = 30
_ATTEMPTS = 3
_NO_SPACE = frozenset({errno.ENOSPC, errno.EDQUOT})


@dataclass(frozen=True, slots=True)
class Jar:
    """One artifact, and the only content it may have."""

    group: str
    artifact: str
    packaging: str
    classifier: str
    version: str
    sha256: str

    @property
    def coordinate(self) -> str:
        """As it stands in the list."""
        return ":".join(part for part in (self.group, self.artifact, self.packaging, self.classifier, self.version) if part)

    @property
    def cache_name(self) -> str:
        """Path below the cache directory; it has the version in it, so that versions of the product share a cache."""
        classifier = f"-{self.classifier}" if self.classifier else ""
        return f"{self.group}/{self.artifact}-{self.version}{classifier}.{self.packaging}"


Fetch = Callable[[Jar, Path], Path]
"""Brings a jar into a directory and returns its path; raises `OSError` when the network or the disk fails."""
OnProgress = Callable[[int, int], None]
"""Gets (jars here, jars in all) after each jar."""


def read_jars(text: str) -> dict[str, tuple[Jar, ...]]:
    """Class path of each server from the text of the list."""
    sections: dict[str, list[Jar]] = {}
    current: list[Jar] = []
    for line in (raw.strip() for raw in text.splitlines()):
        if line.startswith("["):
            current = sections.setdefault(line.strip("[]"), [])
        elif line and not line.startswith("#"):
            coordinate, sha256 = line.split()
            group, artifact, packaging, *classifier, version = coordinate.split(":")
            current.append(Jar(group, artifact, packaging, "".join(classifier), version, sha256))
    return {name: tuple(jars) for name, jars in sections.items()}


def load_jars() -> dict[str, tuple[Jar, ...]]:
    """The list that ships with the package: `kafka` and `artemis`."""
    return read_jars(files("ems_streams.dev.resources").joinpath("jars.txt").read_text(encoding="utf-8"))


class JarCache:
    """Jars on disk, verified; safe to be used by several processes at once.

    Args:
        directory: Where they are kept.
        fetch: How one jar is brought here; by default through jgo from `repository_url`.
        repository_url: A Maven repository; the public one by default.
    """

    def __init__(self, directory: Path, *, fetch: Fetch | None = None, repository_url: str | None = None) -> None:
        self.directory = directory
        self._fetch = fetch or MavenFetch(repository_url)

    def path(self, jar: Jar) -> Path:
        """Where the jar is once it is here."""
        return self.directory / jar.cache_name

    def class_path(self, jars: Iterable[Jar]) -> str:
        """As `java -cp` wants it."""
        return os.pathsep.join(str(self.path(jar)) for jar in jars)

    def ensure(self, jars: Iterable[Jar], on_progress: OnProgress = lambda _done, _all: None) -> int:
        """Make all jars present and verified; returns how many were fetched. Blocks.

        Raises:
            JarUnreachableError: A jar cannot be fetched; what is here already is kept.
            JarError: No disk space, no rights, or a jar has a wrong sum even when fetched a second time.
        """
        wanted = list(dict.fromkeys(jars))
        missing = self._missing(wanted)
        here = len(wanted) - len(missing)
        on_progress(here, len(wanted))
        if not missing:
            return 0
        try:
            self.directory.mkdir(parents=True, exist_ok=True)
            self._check_space(len(missing))
            with tempfile.TemporaryDirectory(prefix=".fetching-", dir=self.directory, ignore_cleanup_errors=True) as staging:
                self._fetch_all(missing, Path(staging), lambda done: on_progress(here + done, len(wanted)))
        except OSError as error:
            raise JarError(_disk_message(self.directory, error)) from error
        return len(missing)

    def _missing(self, wanted: list[Jar]) -> list[Jar]:
        with ThreadPoolExecutor(DOWNLOAD_THREADS, thread_name_prefix="jar-sums") as pool:
            verified = list(pool.map(self._verified, wanted))
        return [jar for jar, present in zip(wanted, verified, strict=True) if not present]

    def _verified(self, jar: Jar) -> bool:
        path = self.path(jar)
        try:
            return sha256_of(path) == jar.sha256
        except OSError:
            return False

    def _check_space(self, missing: int) -> None:
        free = shutil.disk_usage(self.directory).free
        if free < _NEEDED_BYTES:
            raise JarError(
                f"no disk space for {missing} jars in {self.directory}: {free >> 20} MB free, {_NEEDED_BYTES >> 20} MB needed; "
                "make room, or choose another place with EMS_CACHE_DIR"
            )

    def _fetch_all(self, missing: list[Jar], staging: Path, on_done: Callable[[int], None]) -> None:
        with ThreadPoolExecutor(DOWNLOAD_THREADS, thread_name_prefix="jar-fetch") as pool:
            futures = [pool.submit(self._fetch_verified, jar, staging) for jar in missing]
            try:
                for done, future in enumerate(as_completed(futures), start=1):
                    future.result()
                    on_done(done)
            except BaseException:
                pool.shutdown(wait=False, cancel_futures=True)
                raise

    def _fetch_verified(self, jar: Jar, staging: Path) -> None:
        found = ""
        for attempt in ("first", "second"):
            try:
                path = self._fetch(jar, staging / attempt)
            except OSError as error:
                if error.errno in _NO_SPACE:
                    raise
                raise JarUnreachableError(_network_message(jar, error)) from error
            found = sha256_of(path)
            if found == jar.sha256:
                target = self.path(jar)
                target.parent.mkdir(parents=True, exist_ok=True)
                path.replace(target)
                return
            path.unlink()
        raise JarError(
            f"{jar.coordinate} has SHA-256 {found} and must have {jar.sha256}, also when fetched a second time; it was not kept. "
            "Something between here and the jar repository changes what is downloaded"
        )


class MavenFetch:
    """Fetches with jgo, each artifact by itself: resolving whole POMs fails on Artemis' and splits Kafka's class path."""

    def __init__(self, repository_url: str | None = None) -> None:
        self._remotes = {"repository": repository_url.rstrip("/")} if repository_url else None

    def __call__(self, jar: Jar, directory: Path) -> Path:
        from jgo.maven import MavenContext

        context = MavenContext(repo_cache=directory, remote_repos=self._remotes, timeout=_TIMEOUT_S)
        artifact = context.project(jar.group, jar.artifact).at_version(jar.version).artifact(jar.classifier, jar.packaging)
        # Errors of the network are `OSError`s too; a full disk does not get emptier by trying again.
        for attempt in stamina.retry_context(on=_is_passing, attempts=_ATTEMPTS, timeout=90, wait_initial=0.5):
            with attempt:
                try:
                    return Path(artifact.resolve())
                except RuntimeError as error:
                    raise JarUnreachableError(f"the jar repository does not have {jar.coordinate} ({_first_line(error)})") from error
                except OSError:
                    # jgo would take what is left of a broken download for the artifact.
                    if artifact.cached_path is not None:
                        artifact.cached_path.unlink(missing_ok=True)
                    raise
        raise AssertionError("a retry ends with a result or an error")


def sha256_of(path: Path) -> str:
    """Hexadecimal SHA-256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def default_cache_dir() -> Path:
    """`ems-streams` in the user's cache directory."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "ems-streams"


def _is_passing(error: Exception) -> bool:
    return isinstance(error, OSError) and error.errno not in _NO_SPACE


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0][:200]


def _network_message(jar: Jar, error: OSError) -> str:
    return (
        f"cannot download {jar.coordinate} ({type(error).__name__}: {_first_line(error)}); the first start fetches about 60 MB: check the "
        "network and HTTPS_PROXY, or name a reachable Maven repository with EMS_JAR_REPOSITORY. The jars that are here already are kept"
    )


def _disk_message(directory: Path, error: OSError) -> str:
    reason = "no disk space left" if error.errno in _NO_SPACE else (error.strerror or str(error))
    return f"cannot keep jars in {directory}: {reason}; make room or rights there, or choose another place with EMS_CACHE_DIR"
