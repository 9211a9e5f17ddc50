"""Running checks: at once, each with its deadline, in the order of their needs."""

import asyncio

from ems_streams.ops.doctor.checks import Check, Outcome, Report, examine
from ems_streams.ops.doctor.findings import finding


async def test_checks_run_at_the_same_time_and_keep_their_order() -> None:
    started: list[str] = []
    both = asyncio.Event()

    def check(name: str) -> Check[None]:
        async def run(_: None) -> Report:
            started.append(name)
            if len(started) == 2:
                both.set()
            await both.wait()
            return Report(facts={"name": name})

        return Check(name, run)

    results = await examine([check("a"), check("b")], None)

    assert [(each.name, each.outcome, each.report.facts) for each in results] == [
        ("a", Outcome.WELL, {"name": "a"}),
        ("b", Outcome.WELL, {"name": "b"}),
    ]


async def test_a_check_that_fails_or_hangs_is_a_finding_and_stops_no_other() -> None:
    async def fail(_: None) -> Report:
        raise KeyError("gone")

    async def hang(_: None) -> Report:
        await asyncio.sleep(60)
        return Report()

    async def well(_: None) -> Report:
        return Report()

    failed, late, fine = await examine([Check("fail", fail), Check("hang", hang, timeout_s=0.05), Check("well", well)], None)

    assert [each.code for each in failed.report.findings] == ["check-failed"]
    assert "KeyError: 'gone'" in failed.report.findings[0].found
    assert [each.code for each in late.report.findings] == ["check-late"]
    assert fine.outcome is Outcome.WELL


async def test_a_check_whose_server_cannot_be_used_is_skipped_with_all_that_need_it() -> None:
    ran: list[str] = []

    async def away(_: None) -> Report:
        await asyncio.sleep(0.01)
        return Report([finding("postgres-unreachable", "away", found="nothing", expected="something")], usable=False)

    async def never(_: None) -> Report:
        ran.append("never")
        return Report()

    results = await examine(
        [Check("server", away), Check("inside", never, needs=("server",)), Check("deeper", never, needs=("inside",))], None
    )

    assert ran == []
    assert [each.outcome for each in results] == [Outcome.FOUND, Outcome.SKIPPED, Outcome.SKIPPED]
    assert [each.why_skipped for each in results] == ["", "needs server", "needs inside"]
