"""Jars: only what has the right sum gets into the cache, and what is there is not fetched again."""

import errno
import gc
import hashlib
import shutil
import threading
import warnings
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from ems_streams.dev import jars as jars_module
from ems_streams.dev.errors import JarError, JarUnreachableError
from ems_streams.dev.jars import Jar, JarCache, MavenFetch, load_jars, read_jars


def jar(name: str, content: bytes | None = None) -> Jar:
    return Jar("org.example", name, "jar", "", "1.0", hashlib.sha256(content or name.encode()).hexdigest())


class Repository:
    """Hands out the name of a jar as its content, unless told otherwise; remembers what was asked for."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.wrong: dict[str, int] = {}
        self.failure: OSError | None = None
        self.fails_for: frozenset[str] = frozenset()

    def __call__(self, wanted: Jar, directory: Path) -> Path:
        self.asked.append(wanted.artifact)
        if self.failure is not None and wanted.artifact in self.fails_for:
            raise self.failure
        directory.mkdir(parents=True, exist_ok=True)
        path = directory / wanted.artifact
        wrong = self.wrong.get(wanted.artifact, 0)
        self.wrong[wanted.artifact] = wrong - 1
        path.write_bytes(b"something else" if wrong > 0 else wanted.artifact.encode())
        return path


@pytest.fixture
def repository() -> Repository:
    return Repository()


@pytest.fixture
def cache(tmp_path: Path, repository: Repository) -> JarCache:
    return JarCache(tmp_path / "jars", fetch=repository)


def files_of(cache: JarCache) -> list[str]:
    return sorted(path.name for path in cache.directory.rglob("*") if path.is_file())


def test_missing_jars_are_fetched_once(cache: JarCache, repository: Repository) -> None:
    wanted = [jar("a"), jar("b"), jar("a")]
    seen: list[tuple[int, int]] = []
    assert cache.ensure(wanted, lambda done, total: seen.append((done, total))) == 2
    assert cache.ensure(wanted) == 0
    assert sorted(repository.asked) == ["a", "b"]
    assert seen == [(0, 2), (1, 2), (2, 2)]
    assert files_of(cache) == ["a-1.0.jar", "b-1.0.jar"]


def test_an_interrupted_download_resumes_with_what_is_missing(cache: JarCache, repository: Repository) -> None:
    cache.ensure([jar("a")])
    repository.failure, repository.fails_for = ConnectionError("reset"), frozenset({"c"})
    with pytest.raises(JarUnreachableError, match=r"org\.example:c"):
        cache.ensure([jar("a"), jar("c")])
    repository.failure = None
    cache.ensure([jar("a"), jar("c")])
    assert repository.asked == ["a", "c", "c"]


def test_a_damaged_jar_in_the_cache_is_fetched_again(cache: JarCache, repository: Repository) -> None:
    cache.ensure([jar("a")])
    cache.path(jar("a")).write_bytes(b"half")
    assert cache.ensure([jar("a")]) == 1
    assert cache.path(jar("a")).read_bytes() == b"a"


def test_a_wrong_sum_is_tried_a_second_time(cache: JarCache, repository: Repository) -> None:
    repository.wrong["a"] = 1
    assert cache.ensure([jar("a")]) == 1
    assert repository.asked == ["a", "a"]


def test_a_sum_wrong_twice_names_the_jar_and_keeps_nothing(cache: JarCache, repository: Repository) -> None:
    repository.wrong["a"] = 2
    with pytest.raises(JarError, match=r"org\.example:a:jar:1\.0 has SHA-256"):
        cache.ensure([jar("a")])
    assert files_of(cache) == []


def test_a_full_disk_is_said_to_be_one(cache: JarCache, repository: Repository) -> None:
    repository.failure, repository.fails_for = OSError(errno.ENOSPC, "No space left on device"), frozenset({"a"})
    with pytest.raises(JarError, match=r"no disk space left.*EMS_CACHE_DIR"):
        cache.ensure([jar("a")])


def test_too_little_room_is_noticed_before_anything_is_fetched(
    cache: JarCache, repository: Repository, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(jars_module.shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(10**9, 10**9, 1024))
    with pytest.raises(JarError, match="no disk space"):
        cache.ensure([jar("a")])
    assert repository.asked == []


def test_a_cache_that_cannot_be_made_is_said(tmp_path: Path, repository: Repository) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(JarError, match="EMS_CACHE_DIR"):
        JarCache(tmp_path / "file" / "jars", fetch=repository).ensure([jar("a")])


def test_the_list_has_two_class_paths_with_sums() -> None:
    sections = load_jars()
    assert set(sections) == {"kafka", "artemis"}
    everything = [entry for section in sections.values() for entry in section]
    assert len(everything) == 91
    assert all(len(entry.sha256) == 64 for entry in everything)
    assert {entry.version for entry in everything if entry.artifact == "caffeine"} == {"3.2.0", "3.2.2"}


def test_classifiers_are_read() -> None:
    found = read_jars("[x]\n# comment\na.b:c:jar:linux:1.0  00\na.b:c:jar:1.0  11\n")["x"]
    assert [entry.cache_name for entry in found] == ["a.b/c-1.0-linux.jar", "a.b/c-1.0.jar"]
    assert [entry.coordinate for entry in found] == ["a.b:c:jar:linux:1.0", "a.b:c:jar:1.0"]


class QuietHandler(SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def maven_url(tmp_path: Path) -> Iterator[str]:
    """A Maven repository with one artifact, `a`."""
    home = tmp_path / "repository" / "org" / "example" / "a" / "1.0"
    home.mkdir(parents=True)
    (home / "a-1.0.jar").write_bytes(b"a")
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(QuietHandler, directory=str(tmp_path / "repository")))
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/"
    server.shutdown()
    thread.join()
    server.server_close()


def test_a_jar_comes_from_the_repository_that_is_set(tmp_path: Path, maven_url: str) -> None:
    cache = JarCache(tmp_path / "jars", repository_url=maven_url)
    assert cache.ensure([jar("a")]) == 1
    assert cache.path(jar("a")).read_bytes() == b"a"


def test_a_jar_that_the_repository_does_not_have_is_named(tmp_path: Path, maven_url: str) -> None:
    with warnings.catch_warnings():
        # jgo leaves the answer with the error unread, and its connection to the garbage collector.
        warnings.simplefilter("ignore", ResourceWarning)
        with pytest.raises(JarUnreachableError, match=r"does not have org\.example:b:jar:1\.0"):
            JarCache(tmp_path / "jars", repository_url=maven_url).ensure([jar("b")])
        gc.collect()


def test_without_a_network_the_error_says_what_to_check(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jars_module, "_ATTEMPTS", 1)
    with pytest.raises(JarUnreachableError, match="check the network"):
        JarCache(tmp_path / "jars", fetch=MavenFetch("http://127.0.0.1:1/")).ensure([jar("a")])
