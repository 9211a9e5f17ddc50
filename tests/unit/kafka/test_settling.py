from ems_streams.kafka.settling import settles


def test_what_is_there_needs_no_time() -> None:
    assert settles(lambda: True, 0.0)


def test_it_looks_until_it_is_there() -> None:
    looks = iter([False, False, True])

    assert settles(lambda: next(looks), 60.0)
    assert list(looks) == []


def test_what_does_not_come_is_said() -> None:
    assert not settles(lambda: False, 0.0)
