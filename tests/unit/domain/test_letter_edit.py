"""What a person changes of a dead letter."""

import base64
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ems_streams.domain.letter_edit import Edit, parse_path, parse_set
from ems_streams.errors import MalformedError, UsageError


def edited(document: Any, **edit: Any) -> Any:
    value = Edit(**edit).apply(b"k", orjson.dumps(document)).value
    return orjson.loads(value or b"")


def test_fields_are_set_at_any_depth_and_what_is_missing_on_the_way_is_made() -> None:
    document = {"telemetryData": {"powerKw": "high"}, "list": [{"a": 1}, 2]}
    assert edited(document, sets={"telemetryData.powerKw": 45.2, "list[0].a": None, "list[2]": "new", "new.deep": True}) == {
        "telemetryData": {"powerKw": 45.2},
        "list": [{"a": None}, 2, "new"],
        "new": {"deep": True},
    }


def test_fields_are_taken_out() -> None:
    assert edited({"a": {"b": 1, "c": 2}, "l": [1, 2, 3]}, unsets=("a.b", "l[1]")) == {"a": {"c": 2}, "l": [1, 3]}


def test_names_that_are_no_words_stand_in_brackets_and_a_dollar_is_the_whole() -> None:
    assert parse_path('$["a.b"].c[0]') == ("a.b", "c", 0)
    assert parse_path("$.a") == ("a",)
    assert parse_path("a-b.c_d") == ("a-b", "c_d")


@pytest.mark.parametrize("text", ["", "$", ".", "a..b", "a.", "a[", "a[x]", "a b", ".a", "a[-1]", 'a["x]'])
def test_what_is_no_path_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="expected a path"):
        parse_path(text)


@pytest.mark.parametrize(
    ("text", "wanted"),
    [("a=1.5", 1.5), ("a=true", True), ("a=null", None), ('a="1"', "1"), ("a=ONLINE", "ONLINE"), ("a=x=y", "x=y"), ("a=", "")],
)
def test_a_new_value_is_json_or_else_a_text(text: str, wanted: Any) -> None:
    assert parse_set(text) == ("a", wanted)


@pytest.mark.parametrize(
    ("document", "edit"),
    [
        ({"a": 1}, {"sets": {"a.b": 1}}),
        ({"a": []}, {"sets": {"a[1]": 1}}),
        ({"a": []}, {"sets": {"a[0].b": 1}}),
        ({"a": 1}, {"unsets": ("b",)}),
        ([1], {"unsets": ("a",)}),
        ({"a": 1}, {"sets": {"a[0]": 1}}),
    ],
)
def test_a_path_that_leads_nowhere_is_an_error_that_names_it(document: Any, edit: dict[str, Any]) -> None:
    with pytest.raises(MalformedError, match=r"cannot_edit: [ab]"):
        edited(document, **edit)


def test_a_field_of_what_is_no_json_cannot_be_set() -> None:
    with pytest.raises(MalformedError, match="no JSON"):
        Edit(sets={"a": 1}).apply(None, b"powerKw=45.2")


def test_all_of_the_value_the_key_and_the_topic_can_be_replaced() -> None:
    edit = Edit(value=base64.b64encode(b'{"a": 1}').decode(), sets={"a": 2}, key="INV-002", mqtt_topic="sites/1/devices/X/status")
    assert edit.apply(b"INV-001", b"\xff") == (b"INV-002", b'{"a":2}', "sites/1/devices/X/status")
    assert Edit().apply(None, b"\xff") == (None, b"\xff", None)
    with pytest.raises(UsageError, match="base64"):
        Edit(value="%").check()


@given(st.dictionaries(st.sampled_from(["a", "b", "a.b", "x[0]"]), st.none() | st.booleans() | st.integers(-9, 9) | st.text(max_size=5)))
def test_an_edit_survives_being_stored(sets: dict[str, Any]) -> None:
    edit = Edit(sets=sets, unsets=("q",))
    assert Edit.model_validate_json(edit.encode()) == edit
