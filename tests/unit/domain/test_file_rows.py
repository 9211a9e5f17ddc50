"""Rows of files: where each begins, and that a broken one costs no other."""

import pytest

from ems_streams.domain.file_rows import Row, csv_rows, json_array_rows, json_line_rows
from ems_streams.errors import MalformedError


def split(text: str) -> list[str]:
    return text.splitlines(keepends=True)


def fields(rows: list[Row]) -> list[tuple[int, object]]:
    return [(row.line, row.fields.reason if isinstance(row.fields, MalformedError) else dict(row.fields)) for row in rows]


def test_cells_in_quotes_have_commas_quotes_and_line_ends_in_them() -> None:
    rows = list(csv_rows(split('\ufeffa, b\r\n1,"x, ""y""\nz"\r\n\r\n2,\r\n')))

    assert fields(rows) == [(2, {"a": "1", "b": 'x, "y"\nz'}), (5, {"a": "2", "b": ""})]
    assert rows[0].text == '1,"x, ""y""\nz"\r\n'


@pytest.mark.parametrize(
    ("broken", "reason"),
    [
        ('1,"never closed\n', "invalid_row"),
        ('1,"closed" and more\n', "invalid_row"),
        ("1\n", "invalid_row"),
        ("1,2,3\n", "invalid_row"),
        ("1,\udcff\n", "invalid_encoding"),
    ],
)
def test_a_broken_line_costs_no_other_wherever_it_stands(broken: str, reason: str) -> None:
    good = ['2,"b"\n', "3,c\n", '4,"d\nd"\n']

    for place in range(4):
        rows = fields(list(csv_rows(split("a,b\n" + "".join([*good[:place], broken, *good[place:]])))))

        assert [each["a"] for _, each in rows if isinstance(each, dict)] == ["2", "3", "4"]
        # The last good row has two lines.
        assert [(line, each) for line, each in rows if isinstance(each, str)] == [(place + 2 + (place == 3), reason)]


def test_a_quote_that_is_never_closed_costs_its_line_in_a_long_file_too() -> None:
    lines = ["a,b\n", *(f"{number},{'x' * 40}\n" for number in range(10_000))]
    lines[5] = '4,"open\n'

    rows = fields(list(csv_rows(lines)))

    assert [line for line, each in rows if isinstance(each, str)] == [6]
    assert len(rows) == 10_000


@pytest.mark.parametrize(
    ("header", "named"), [("", "empty"), ("a,b,a\n", "no name twice"), ("a,,b\n", "a name"), ('"a\n', "expected names")]
)
def test_a_header_without_a_name_for_each_column_is_refused(header: str, named: str) -> None:
    with pytest.raises(MalformedError, match=named):
        list(csv_rows(split(header)))


def test_lines_of_json_are_rows_and_what_is_none_is_named_by_its_line() -> None:
    rows = fields(list(json_line_rows(['\ufeff{"a":1}\r\n', "\n", "{a}\n", "[1]\n", '{"a":"\udcff"}\n', '{"a":2}'])))

    assert rows == [(1, {"a": 1}), (3, "invalid_json"), (4, "invalid_row"), (5, "invalid_json"), (6, {"a": 2})]


def test_objects_of_an_array_know_their_lines_whatever_the_layout() -> None:
    rows = list(json_array_rows('\ufeff[ {"a": 1},\n{\n "a": 2\n}\n,\n\n 3, {"a": [\n4]}]\n'))

    assert fields(rows) == [(1, {"a": 1}), (2, {"a": 2}), (7, "invalid_row"), (7, {"a": [4]})]
    assert rows[1].text == '{\n "a": 2\n}'
    assert list(json_array_rows(" [ ] ")) == []


def test_a_json_file_that_begins_with_an_object_has_one_in_each_line() -> None:
    assert fields(list(json_array_rows('{"a":1}\n{"a":2}\n'))) == [(1, {"a": 1}), (2, {"a": 2})]


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("", 1),
        ("\n\n7", 3),
        ('[{"a":1}\n{"a":2}]', 2),
        ('[\n{"a":1},\n{"a":}]', 3),
        ('[\n\n{"a":NaN}]', 3),
        ('[{"a":1},\n', 2),
        ("[" * 100_000, 1),
        ('[{"a":1}]\n\n[{"a":2}]', 3),
        ("[]\n7", 2),
        ('[{"a":1}] garbage', 1),
        ('[\n{"a":1e999}]', 2),
    ],
)
def test_what_is_no_json_is_refused_with_its_line(text: str, line: int) -> None:
    with pytest.raises(MalformedError, match=f"line {line}: "):
        list(json_array_rows(text))
