"""The ring: order, bounds, duplicates, and points of the feed."""

from hypothesis import given
from hypothesis import strategies as st

from ems_streams.gateway.ring import Ring


def held(ring: Ring) -> list[tuple[int, int]]:
    return [(entry.partition, entry.offset) for entry in map(ring.at, range(ring.start, ring.end))]


def test_keeps_the_last_in_order_of_arrival() -> None:
    ring = Ring(3, [0, 0])
    for partition, offset in [(0, 0), (1, 0), (0, 1), (0, 2)]:
        ring.add(partition, offset, f"{partition}-{offset}", b"{}")
    assert held(ring) == [(1, 0), (0, 1), (0, 2)]
    assert ring.after == (3, 1)
    assert ring.floor == (1, 0)
    assert (ring.start, ring.end) == (1, 4)


def test_a_duplicate_replaces_and_does_not_arrive_again() -> None:
    ring = Ring(10, [0])
    assert ring.add(0, 0, "a", b"1")
    assert ring.add(0, 1, "b", b"2")
    assert not ring.add(0, 2, "a", b"3")
    assert [ring.at(position).payload for position in range(ring.start, ring.end)] == [b"3", b"2"]
    assert ring.after == (3,)


def test_a_duplicate_of_what_has_left_the_ring_does_not_arrive_again() -> None:
    ring = Ring(2, [0])
    for offset, name in enumerate("abcd"):
        ring.add(0, offset, name, b"")
    assert not ring.add(0, 4, "a", b"")
    assert held(ring) == [(0, 2), (0, 3)]


def test_before_a_point_is_newest_first_and_bounded() -> None:
    ring = Ring(10, [0, 0])
    for offset in range(3):
        ring.add(0, offset, f"0-{offset}", b"")
        ring.add(1, offset, f"1-{offset}", b"")
    assert [(entry.partition, entry.offset) for entry in ring.before((2, 1), 10)] == [(0, 1), (1, 0), (0, 0)]
    assert [(entry.partition, entry.offset) for entry in ring.before(ring.after, 1)] == [(1, 2)]


@given(st.lists(st.tuples(st.integers(0, 2), st.integers(0, 12)), max_size=60), st.integers(1, 8))
def test_nothing_is_missing_above_the_floor(arrivals: list[tuple[int, int]], capacity: int) -> None:
    ring = Ring(capacity, [0, 0, 0])
    following = [0, 0, 0]
    ids: list[tuple[int, int, int]] = []
    for partition, identifier in arrivals:
        ring.add(partition, following[partition], str(identifier), b"")
        ids.append((partition, following[partition], identifier))
        following[partition] += 1
    seen: set[int] = set()
    firsts = [(partition, offset) for partition, offset, identifier in ids if not (identifier in seen or seen.add(identifier))]  # type: ignore[func-returns-value]
    if len({identifier for *_, identifier in ids}) <= capacity * 4:
        assert held(ring) == [each for each in firsts if each[1] >= ring.floor[each[0]]][-capacity:]
    assert ring.end - ring.start <= capacity
