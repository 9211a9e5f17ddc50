"""Files of tokens: what they say, every mistake with its line, reading again, appending."""

import os
import stat
from datetime import UTC, datetime
from pathlib import Path

import pytest

from ems_streams.access.roles import Role
from ems_streams.access.token_entries import TokenEntry, entry_of, entry_yaml, hash_of, new_token
from ems_streams.access.token_file import LOOK_EVERY_S, TokensFileError, WatchedTokens, add_token, load_tokens
from ems_streams.errors import EmsError, UsageError

TOKEN = new_token()
HASH = hash_of(TOKEN)


def entry(name: str = "noc", **fields: object) -> TokenEntry:
    return TokenEntry.model_validate({"name": name, "hash": hash_of(new_token()), "role": "viewer", "sites": "all", **fields})


def file(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "tokens.yaml"
    path.write_text(text)
    return path


def mistakes(path: Path) -> str:
    with pytest.raises(TokensFileError) as raised:
        load_tokens(path)
    return str(raised.value)


def test_a_file_says_who_may_do_what(tmp_path: Path) -> None:
    text = f"tokens:\n- name: noc\n  hash: {HASH}\n  role: operator\n  sites: [1, 2]\n  expires: 2027-01-31T12:00:00+02:00\n"
    (only,) = load_tokens(file(tmp_path, text))
    assert (only.role, only.sites) == (Role.OPERATOR, frozenset({1, 2}))
    assert only.expires == datetime(2027, 1, 31, 10, tzinfo=UTC)
    assert entry_of([only], TOKEN) is only
    assert entry_of([only], TOKEN + "x") is None
    assert entry_of([only], HASH) is None


@pytest.mark.parametrize("expires", ["2027-01-31", '"2027-01-31T00:00:00Z"', "2027-01-31T00:00:00Z"])
def test_a_time_may_be_a_day_a_text_or_what_yaml_takes_for_a_time(tmp_path: Path, expires: str) -> None:
    text = f"tokens:\n- name: noc\n  hash: {HASH}\n  role: viewer\n  sites: all\n  expires: {expires}\n"
    assert load_tokens(file(tmp_path, text))[0].expires == datetime(2027, 1, 31, tzinfo=UTC)


@pytest.mark.parametrize(
    ("replaced", "by", "said"),
    [
        ("role: viewer", "role: boss", ":4:9: tokens[0].role='boss': expected 'viewer', 'operator' or 'admin'"),
        ("sites: all", "sites: 7", ":5:10: tokens[0].sites=7: expected all, or a list of site ids such as [1, 2]"),
        ("sites: all", "sites: []", ":5:3: tokens[0].sites=[]: expected all, or a list"),
        ("sites: all", "sites: [1, -2]", ":5:3: tokens[0].sites=[1, -2]: expected all, or a list"),
        ("sites: all", "sites: [true]", "expected all, or a list"),
        ("sites: all", "site: all", ":5:3: tokens[0].site: there is no such member"),
        ("sites: all", "expires: 2027-01-31T12:00:00", "expected a time with its zone"),
        ("name: noc", "name: no c", "tokens[0].name='no c': expected a name: a letter or digit"),
        (f"hash: {HASH}", "hash: ems_myToken", ":3:9: tokens[0].hash: expected sha256: and 64 hexadecimal digits"),
        (f"hash: {HASH}", "token: ems_myToken", "tokens[0].token: there is no such member"),
    ],
)
def test_each_mistake_is_told_with_its_line_and_never_with_a_token(tmp_path: Path, replaced: str, by: str, said: str) -> None:
    text = f"tokens:\n- name: noc\n  hash: {HASH}\n  role: viewer\n  sites: all\n"
    assert replaced in text
    told = mistakes(file(tmp_path, text.replace(replaced, by)))
    assert said in told
    assert "myToken" not in told


def test_names_and_hashes_are_there_once(tmp_path: Path) -> None:
    one = f"- name: noc\n  hash: {HASH}\n  role: viewer\n  sites: all\n"
    told = mistakes(file(tmp_path, "tokens:\n" + one + one))
    assert ":6:9: tokens[1].name='noc': is the name of tokens[0] on line 2 already" in told
    assert "tokens[1].hash: is the hash of tokens[0] on line 3 already" in told
    assert HASH not in told


@pytest.mark.parametrize("text", ["", "[]", "tokens", "{", "tokens: 5\n"])
def test_what_is_no_list_of_tokens_is_told(tmp_path: Path, text: str) -> None:
    assert "expected" in mistakes(file(tmp_path, text))


def test_a_file_that_is_not_there_is_told(tmp_path: Path) -> None:
    assert "cannot be read (No such file or directory); expected a file of tokens" in mistakes(tmp_path / "none.yaml")


def test_appended_entries_are_read_back_and_only_the_owner_reads_the_file(tmp_path: Path) -> None:
    path = tmp_path / "new" / "tokens.yaml"
    first, second = entry("a", sites=[3, 1]), entry("b", role="admin", expires="2030-01-01")
    add_token(path, first)
    add_token(path, second)
    assert load_tokens(path) == (first, second)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


@pytest.mark.parametrize("indent", ["", "  ", "    "])
def test_appending_keeps_comments_and_indentation(tmp_path: Path, indent: str) -> None:
    first = entry("a")
    path = file(tmp_path, f"# who may\ntokens:\n{entry_yaml(first, indent)}{indent}# more to come")
    add_token(path, entry("b"))
    assert [each.name for each in load_tokens(path)] == ["a", "b"]
    assert path.read_text().startswith("# who may\n")


def test_a_name_that_is_taken_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "tokens.yaml"
    add_token(path, entry("a"))
    with pytest.raises(UsageError, match="there is a token of this name"):
        add_token(path, entry("a"))


def test_a_file_that_nothing_can_be_appended_to_says_what_to_add(tmp_path: Path) -> None:
    text = f"tokens: [{{name: a, hash: '{HASH}', role: viewer, sites: all}}]\n"
    path = file(tmp_path, text)
    with pytest.raises(EmsError, match="add this by hand") as raised:
        add_token(path, entry("b"))
    assert '- name: "b"' in str(raised.value)
    assert path.read_text() == text


def test_a_changed_file_is_read_again_and_a_broken_one_changes_nothing(tmp_path: Path) -> None:
    path = tmp_path / "tokens.yaml"
    add_token(path, entry("a"))
    now_s = 0.0
    watched = WatchedTokens(path, lambda: now_s)
    add_token(path, entry("b"))
    assert [each.name for each in watched.entries] == ["a"]  # looked at a moment ago
    now_s += LOOK_EVERY_S
    assert [each.name for each in watched.entries] == ["a", "b"]
    path.write_text("tokens: {")
    now_s += LOOK_EVERY_S
    assert [each.name for each in watched.entries] == ["a", "b"]
    assert "tokens.yaml:1:" in watched.trouble
    path.write_text("tokens: []\n")
    now_s += LOOK_EVERY_S
    assert watched.entries == ()
    assert not watched.trouble


def test_a_file_that_is_gone_leaves_the_tokens_as_they_were(tmp_path: Path) -> None:
    path = tmp_path / "tokens.yaml"
    add_token(path, entry("a"))
    now_s = 0.0
    watched = WatchedTokens(path, lambda: now_s)
    path.unlink()
    now_s += LOOK_EVERY_S
    assert len(watched.entries) == 1
    assert "cannot be read" in watched.trouble


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_directory_that_cannot_be_written_to_is_told(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    try:
        with pytest.raises(EmsError, match="cannot be written"):
            add_token(tmp_path / "tokens.yaml", entry("a"))
    finally:
        tmp_path.chmod(0o700)
