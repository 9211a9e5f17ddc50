"""Records of quarters of an hour as bytes, as devices leave them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ems_streams.domain import quarter
from ems_streams.domain.quarter import Edges, Published, Quarter
from ems_streams.domain.state_codec import StateCodecError
from ems_streams.domain.timestamps import MINUTE_MS
from ems_streams.domain.windows import QUARTER_MS
from tables.device_aggregates import decode as decode_record
from tests.unit.domain.builders import NOON_MS, Device, record


def kept_quarters(days: int = 1) -> list[Quarter]:
    """Of a device with power and a register; after more than a day the samples of the first ones are given up."""
    device = Device()
    for step in range(days * 96):
        at_ms = NOON_MS + step * QUARTER_MS
        device.send(*(record(at_ms + part * MINUTE_MS, {"powerKw": 4.0, "energyTotalKwh": 100 + step + part / 15}) for part in range(2)))
    return [quarter.decode(data) for data in device.quarters.stored.values()]


QUARTERS = kept_quarters(days=2)
WHOLE = next(kept for kept in QUARTERS if kept.samples and kept.summary and kept.published)
SETTLED = next(kept for kept in QUARTERS if kept.settled)


def test_what_devices_leave_survives_as_bytes() -> None:
    for kept in QUARTERS:
        assert quarter.decode(quarter.encode(kept)) == kept
        assert decode_record(quarter.encode(kept)) == kept, "the table tells it from the state of a device"


def test_without_samples_its_summary_and_its_edges_are_left() -> None:
    assert (SETTLED.samples, SETTLED.settled) == (b"", True)
    assert SETTLED.summary is not None
    assert SETTLED.summary.events == 2
    assert None not in SETTLED.edges


points = st.none() | st.tuples(st.integers(0, 2**62), st.floats(allow_nan=False))
published = st.dictionaries(st.integers(0, 18), st.builds(Published, st.integers(1, 2**32 - 1), st.binary(min_size=8, max_size=8)))


@given(
    st.integers(0, 2**40).map(lambda number: number * QUARTER_MS),
    st.booleans(),
    st.builds(Edges, points, points, points, points),
    published,
)
def test_any_quarter_survives_as_bytes(start_ms: int, settled: bool, edges: Edges, known: dict[int, Published]) -> None:
    for summary in (None, WHOLE.summary):
        kept = Quarter(start_ms, b"" if settled else WHOLE.samples, settled, summary, edges, known)
        assert quarter.decode(quarter.encode(kept)) == kept


@pytest.mark.parametrize("kept", [WHOLE, SETTLED, Quarter(NOON_MS)], ids=["whole", "settled", "empty"])
def test_a_quarter_that_is_cut_short_or_too_long_is_refused(kept: Quarter) -> None:
    data = quarter.encode(kept)
    for length in range(len(data)):
        with pytest.raises(StateCodecError, match="quarter of an hour"):
            quarter.decode(data[:length])
    with pytest.raises(StateCodecError, match="quarter of an hour"):
        quarter.decode(data + b"\x00")


def test_another_version_is_named() -> None:
    with pytest.raises(StateCodecError, match="version 82, expected 81"):
        quarter.decode(b"\x52" + quarter.encode(WHOLE)[1:])


@given(st.binary(max_size=400))
def test_garbage_raises_nothing_else(data: bytes) -> None:
    with pytest.raises(StateCodecError):
        quarter.decode(bytes((quarter.VERSION,)) + data)


def test_a_record_takes_no_more_than_its_samples_and_a_kilobyte() -> None:
    assert all(len(quarter.encode(kept)) <= len(kept.samples) + 1_000 for kept in QUARTERS)
