"""States as the release before wrote them: taken over with their totals, or refused."""

import base64
import struct
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ems_streams.domain import aggregates_codec, aggregates_v1
from ems_streams.domain.accumulators import LAST, statistics_view
from ems_streams.domain.aggregates import DeviceAggregates, fold, total
from ems_streams.domain.aggregates_codec import encode
from ems_streams.domain.fold_outcome import Outcome
from ems_streams.domain.section import add_samples, merge_section, new_section
from ems_streams.domain.state_codec import StateCodecError
from ems_streams.domain.timestamps import MINUTE_MS
from ems_streams.domain.windows import Window
from tests.unit.domain.builders import NOON_MS, POLICY, SERIAL, Device, identity, record
from tests.unit.domain.test_section import Events, events, samples_of

# Thirteen minutes from noon on with two messages in each, an event later than the ten kept windows, its repetition, and one from the future.
WRITTEN = zlib.decompress(
    base64.b85decode(
        "c-mvEW`F=jC@lk}8TKhN&tXLH8FA1sAj8DKr3R!u{lat&3=A0x^2<|;yvrHN@^eZO(^DCO{e2vR;(@ZRK_RX|l1-17?^Y2AO+Bm1)IZ~6#P6xgjr3y|ixjKe"
        "k*k|h^5IdZAXEMM2K#%rXD~9Hs4Lo<vZNzvj~6f7yNj$llv;nK`8(BQ>v+G?FtuXK5ZaV+A+yEht>p<Lh2X|Jt<lq~>dxwg>r9znGGT#n*O{+wrx-msR>)ql"
        "V7t!2t!V1_s^R_9%bO~{HK#4|mJQK)`{;IcQR?Sol4-&HIxR=6ytfrR`F_rapYzS%u0tDH{i=@4UUXAMZ`#-UYv!zN;>=<?^5Vs0?nC9W?^?K?%Ed|^VOVlK"
        "V!d&}$y$&9q3`1FsC|6{3l%1KKq)vFgFtYM1DNaZ+6FcJA|0UN=#T~kP0a^@{0G)X2P&N);v5bpApMQgpz0j<&YB4XjCBs^G~CDrt=S)ERXQomlv+QN5!o#a"
        "U^~*%B%o>!*ud;Kdj<p$^n8(Z?hmU<>=_y^tOS__QTM?f-7dmzf#`2&md0=kI9!Ys98kkU0P02r9Rznv*$&Fw0@42<R|bb$RM6Za0(Ap|Mz}@hIAv~u=y!;a"
        "#o-nWG`C2=;|@k6+;ZqDWp07!U*IH%!!0^!Zjphy0YM|&lJSHxw?Osl%44_%tX9$hs`kMil>B9kpx+3?+`{*nGPgkVCx|QHaElR|Ta=(~K+p)cY+?LFky{}8"
        "4=^g?aEl3=TU6j_8b%}B5+y*HTOj%s-r#bJ8Jb(vpl(3W2)8iEQ|1<k{)THxINV}^<`xZj{({j6w=C18%q<Z80G?<Xrv"
    )
)


def v1_bytes(parts: list[Events], device_type: str = "METER") -> tuple[bytes, DeviceAggregates]:
    """The stored form with a window of each part but the first, and a state with the same total."""
    state = DeviceAggregates(SERIAL, 123, 1, device_type)
    sections, names = [], dict[str, int]()
    for number, part in enumerate(parts):
        section = new_section(NOON_MS + number * MINUTE_MS)
        add_samples(section, samples_of(part, names))
        state.names = names.copy()
        sections.append(section)
        merge_section(state.base, section)
    text = "\0".join((SERIAL, *state.names, device_type)).encode()
    head = struct.pack("<B9qBHBI", 1, 123, 1, 41, NOON_MS, 42, 3, 4, 5, 6, 1, len(state.names), len(parts) - 1, len(text))
    return b"".join((head, text, identity(7), *sections)), state


def test_a_state_that_was_written_keeps_its_totals_and_counters() -> None:
    state = aggregates_codec.decode(WRITTEN)
    views = {name: statistics_view(accumulator) for name, accumulator in total(state).items()}
    assert views == {
        "powerKw": {
            "count": 28, "sum": 264.3, "min": 0.0, "max": 100.0, "mean": 264.3 / 28, "last": 7.0, "stddev": pytest.approx(17.798401599),
        },
        "voltage": {"count": 13, "sum": 6241.3, "min": 480.1, "max": 480.1, "mean": 6241.3 / 13, "last": 480.1, "stddev": 0.0},
    }  # fmt: skip
    assert (state.serial_number, state.device_id, state.site_id, state.device_type) == (SERIAL, 123, 1, "SOLAR_INVERTER")
    assert (state.revision, state.last_offset) == (28, 28)
    assert (state.late_events, state.duplicate_events, state.future_events, state.left_out_values) == (1, 1, 1, 0)


@given(st.lists(events, min_size=1, max_size=4), st.text())
def test_totals_over_base_and_windows_are_taken_over(parts: list[Events], device_type: str) -> None:
    data, expected = v1_bytes(parts, device_type)
    state = aggregates_codec.decode(data)
    assert total(state) == total(expected)
    assert (state.device_type, list(state.names)) == (device_type, list(expected.names))
    assert (state.last_offset, state.revision) == (41, 42)
    assert (state.late_events, state.duplicate_events, state.future_events, state.left_out_values) == (3, 4, 5, 6)


def test_what_was_taken_over_is_stored_in_the_form_of_today_and_goes_on() -> None:
    device = Device()
    device.state = aggregates_codec.decode(WRITTEN)
    assert encode(aggregates_codec.decode(encode(device.state))) == encode(device.state)
    device.send(*(record(NOON_MS + 60 * MINUTE_MS + step * 1000, {"powerKw": 1.0}) for step in range(3)))
    first = device.quiet(60 * MINUTE_MS)[0]
    assert (first.window, first.summary.events) == (Window.MINUTE, 3)
    view = statistics_view(total(device.state)["powerKw"])
    assert (view["count"], view["sum"]) == (31, 267.3)
    assert total(device.state)["powerKw"][LAST] == 7.0, "that message was from a day that is still to come"


def test_a_message_with_an_id_is_recognised_over_the_change_of_release() -> None:
    state = aggregates_codec.decode(WRITTEN)
    again = record(NOON_MS, {"powerKw": 100.0}, message_id="26")
    assert fold(state, again, identity(26), 29, NOON_MS, POLICY) is Outcome.REPEATED


def test_a_state_that_is_cut_short_or_too_long_is_refused() -> None:
    for length in range(1, len(WRITTEN)):
        with pytest.raises(StateCodecError):
            aggregates_codec.decode(WRITTEN[:length])
    with pytest.raises(StateCodecError, match="of version 1"):
        aggregates_codec.decode(WRITTEN + b"\x00")


@given(st.binary(max_size=600))
def test_garbage_raises_nothing_else(data: bytes) -> None:
    with pytest.raises(StateCodecError):
        aggregates_v1.decode(b"\x01" + data)
