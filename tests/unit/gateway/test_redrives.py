"""What the gateway says of redrives, which go on while their topic is read."""

from datetime import UTC, datetime
from pathlib import Path

import pytest
from pydantic import ValidationError

from ems_streams.domain.redrives import Redrive, RedriveDefinition, RedriveProgress
from ems_streams.gateway.redrive_bodies import FilterBody
from ems_streams.gateway.redrives import views
from tests.support.guarded_gateway import guarded

RD = "rd-0001"


def redrive(redrive_id: str = RD, *, done: int = 0, hour: int = 10) -> Redrive:
    definition = RedriveDefinition(
        redrive_id=redrive_id, topic="device-telemetry-dlt", ranges={0: (0, 5)}, created_at=datetime(2026, 1, 5, hour, tzinfo=UTC)
    )
    return Redrive(definition, {0: RedriveProgress(next_offset=done)} if done else {})


BEGUN, HALF, WHOLE = redrive(), redrive(done=3), redrive(done=5)


@pytest.mark.parametrize(
    ("stored", "ran", "runs", "failed", "state"),
    [
        (None, True, True, False, "running"),
        (HALF, True, True, False, "running"),
        # It was over while the topic was read, after the place that the reading got to.
        (HALF, True, False, False, "running"),
        (None, True, False, False, "running"),
        # It was begun meanwhile, or is gone on with after a failure.
        (None, False, True, False, "running"),
        (HALF, False, True, True, "running"),
        (WHOLE, True, False, False, "finished"),
        (WHOLE, False, False, False, "finished"),
        # It has failed here, and somebody has gone on with it on the command line.
        (WHOLE, False, False, True, "finished"),
        (HALF, True, False, True, "failed"),
        (HALF, False, False, True, "failed"),
        (HALF, False, False, False, "unfinished"),
    ],
)
def test_a_redrive_is_in_one_state_whenever_it_is_looked_at(
    stored: Redrive | None, ran: bool, runs: bool, failed: bool, state: str
) -> None:
    (view,) = views(
        {} if stored is None else {RD: stored},
        {RD: BEGUN} if ran else {},
        {RD: BEGUN} if runs else {},
        {RD: "Kafka is away"} if failed else {},
    )
    assert (view["redriveId"], view["state"], view["error"]) == (RD, state, "Kafka is away" if failed else None)
    assert view["offsetsDone"] == (BEGUN if stored is None else stored).offsets_done, "how far it is says the topic"


def test_the_newest_comes_first_wherever_it_is_known_from() -> None:
    found = views({"rd-0002": redrive("rd-0002", hour=9), RD: HALF}, {"rd-0003": redrive("rd-0003", hour=12)}, {}, {})
    assert [each["redriveId"] for each in found] == ["rd-0003", RD, "rd-0002"]


def test_a_filter_is_what_it_says() -> None:
    body = FilterBody.model_validate({"errorClass": ["a", "-"], "stage": "sink", "since": "2026-01-05T10:00:00Z"})
    assert body.chosen().where == {"error-class": ("a", "-"), "stage": ("sink",)}
    assert body.chosen().since_ms is not None
    assert FilterBody().chosen().empty


@pytest.mark.parametrize("field", ["errorClass", "stage", "serial", "origin", "channel", "message"])
@pytest.mark.parametrize("nothing", ["", [], [""]])
def test_a_condition_that_holds_nothing_does_not_mean_every_letter(field: str, nothing: object) -> None:
    with pytest.raises(ValidationError, match=field):
        FilterBody.model_validate({field: nothing})


@pytest.mark.parametrize(
    ("value", "status"),
    [
        (b"9" * 40, 503),  # as far as it gets without Kafka
        (b"NaN", 400),
        (b"[" * 300 + b"]" * 300, 400),
    ],
)
async def test_a_new_value_is_what_json_can_say(tmp_path: Path, value: bytes, status: int) -> None:
    body = b'{"ids":["0/0"],"edits":[{"id":"0/0","valueJson":' + value + b'}],"dryRun":true}'
    async with guarded(tmp_path) as place:
        assert (await place.ask("POST", "/api/v1/dlt/device-telemetry-dlt/redrive", place.token("admin"), body))[0] == status
