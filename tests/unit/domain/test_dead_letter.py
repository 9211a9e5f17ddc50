"""Headers of dead letters."""

import hashlib
from datetime import UTC, datetime

from ems_streams.domain.dead_letter import KEPT_PREFIX_BYTES, MAX_KEPT_BYTES, Origin, dead_letter_headers, kept_value

FAILED_AT = datetime(2025, 10, 4, 10, 15, tzinfo=UTC)


def test_every_header_of_the_contract() -> None:
    headers = dead_letter_headers(Origin("sites/1/x", 5), "invalid_json", "line 1", stage="ingress", failed_at=FAILED_AT)
    assert dict(headers) == {
        "dlt-original-topic": b"sites/1/x",
        "dlt-original-partition": b"-1",
        "dlt-original-offset": b"-1",
        "dlt-original-timestamp": b"5",
        "dlt-error-class": b"invalid_json",
        "dlt-error-message": b"line 1",
        "dlt-stage": b"ingress",
        "dlt-attempts": b"1",
        "dlt-first-failed-at": b"2025-10-04T10:15:00Z",
        "dlt-replay-count": b"0",
    }


def test_what_cannot_be_encoded_or_is_long_does_no_harm() -> None:
    headers = dict(dead_letter_headers(Origin("t", 5), "x", "\ud800" + "y" * 10_000, stage="s", failed_at=FAILED_AT))
    assert headers["dlt-error-message"].startswith(b"\\ud800yyy")
    assert len(headers["dlt-error-message"]) < 600


def test_values_are_kept_whole_up_to_the_limit_and_described_beyond() -> None:
    largest = b"x" * MAX_KEPT_BYTES
    assert kept_value(largest) == (largest, [])
    kept, headers = kept_value(largest + b"y")
    assert kept == b"x" * KEPT_PREFIX_BYTES
    assert dict(headers) == {
        "dlt-payload-size": str(MAX_KEPT_BYTES + 1).encode(),
        "dlt-payload-sha256": hashlib.sha256(largest + b"y").hexdigest().encode(),
    }
