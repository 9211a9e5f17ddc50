"""Where everything in a YAML file stands, and what is meant by names that are nearly right."""

from typing import Annotated, Literal

import pytest
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from ems_streams.yaml_files.document import Mark, parse_document, words
from ems_streams.yaml_files.explain import Wording, did_you_mean, explain
from ems_streams.yaml_files.shape import spot_of

TEXT = b"""\
first: 1
list:
  - name: a
    "in quotes": {deep: [x,
      y]}
"""


def test_each_place_knows_where_its_name_and_its_value_stand() -> None:
    document, problems = parse_document(TEXT)

    assert problems == []
    assert document is not None
    assert document.keys[("first",)] == Mark(1, 1)
    assert document.values[("first",)] == Mark(1, 8)
    assert document.keys[("list", 0)] == Mark(3, 5)
    assert document.values[("list", 0, "in quotes", "deep", 1)] == Mark(5, 7)


def test_what_is_not_in_the_file_stands_where_it_would_be() -> None:
    document, _ = parse_document(TEXT)
    assert document is not None

    assert document.mark_of(("list", 0, "missing")) == Mark(3, 5)
    assert document.mark_of(("list", 0, "in quotes", "deep", 7), value=True) == Mark(4, 19)
    assert document.mark_of(("nothing",)) is None


def test_places_in_words() -> None:
    assert words(("rules", 2, "condition", "above")) == "rules[2].condition.above"
    assert words(()) == ""


class Cat(BaseModel):
    model_config = ConfigDict(extra="forbid")
    kind: Literal["cat"]
    lives_left: Annotated[int, Field(alias="livesLeft", le=9)]


class Dog(BaseModel):
    model_config = ConfigDict(extra="forbid")
    kind: Literal["dog"]


class Home(BaseModel):
    model_config = ConfigDict(extra="forbid")
    pets: dict[str, Annotated[Cat | Dog, Field(discriminator="kind")]]
    best: Annotated[Cat | Dog, Field(discriminator="kind")] | None = None


@pytest.mark.parametrize(
    ("location", "place", "owner"),
    [
        (("pets", "tom", "cat", "livesLeft"), ("pets", "tom", "livesLeft"), Cat),
        (("pets", "tom", "cat", "lives_left"), ("pets", "tom", "livesLeft"), Cat),
        (("pets", "tom", "[key]"), ("pets", "tom"), Home),
        (("best", "dog", "kind"), ("best", "kind"), Dog),
        (("zoo",), ("zoo",), Home),
    ],
)
def test_places_are_those_of_the_file_and_not_those_of_the_models(
    location: tuple[str, ...], place: tuple[str, ...], owner: type[BaseModel]
) -> None:
    spot = spot_of(Home, location)

    assert (spot.place, spot.owner) == (place, owner)


def test_mistakes_are_said_in_the_order_of_the_file() -> None:
    text = b"zoo: 1\npets:\n  tom: {kind: cat, livesLeft: 10}\n  rex: {kind: dgo}\n  max: {kind: dog, livesLeft: 1}\nbest: {}\n"
    document, _ = parse_document(text)
    assert document is not None
    with pytest.raises(ValidationError) as caught:
        Home.model_validate(document.content)

    said = [str(problem) for problem in explain(caught.value, Home, document, Wording())]

    assert said == [
        "line 1: zoo: there is no such member; expected some of best, pets",
        "line 3: pets.tom.livesLeft=10: expected at most 9",
        "line 4: pets.rex.kind='dgo': expected cat or dog",
        "line 5: pets.max.livesLeft: there is no such member; expected some of kind",
        "line 6: best.kind: is missing; expected cat or dog",
    ]


@pytest.mark.parametrize(
    ("given", "meant"), [("severty", "severity"), ("SEVERITY", "severity"), ("clear_at", "clearAt"), ("zzz", None), (7, None), ("", None)]
)
def test_names_that_are_nearly_right_are_known(given: object, meant: str | None) -> None:
    assert did_you_mean(given, ["severity", "clearAt", "above"]) == meant
