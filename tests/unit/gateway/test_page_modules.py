"""The dashboard's modules that are pure, run where they run for people: in a browser."""

import json
from typing import Any

import pytest
from playwright.async_api import Page

from tests.support.page_modules import run

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def test_numbers_and_times_are_for_people(page: Page) -> None:
    expected: dict[str, Any] = {
        "m.power(12.34)": ["12.3", "kW"],
        "m.power(12345.6)": ["12.3", "MW"],
        "m.power(null)": ["–", ""],
        "m.energy(1234.5)": ["1,235", "kWh"],
        "m.measure(0.1234)": "0.123",
        "m.measure(1234.5)": "1,235",
        "m.measure(NaN)": "–",
        "m.exact(1234.5678)": "1,234.5678",
        "m.exact(0.1)": "0.1",
        "m.percent(0)": "0 %",
        "m.percent(0.0004)": "< 0.1 %",
        "m.percent(0.022)": "2.2 %",
        "m.percent(0.87)": "87 %",
        "m.percent(0.997)": "99.7 %",
        "m.percent(0.9997)": "> 99.9 %",
        "m.percent(1)": "100 %",
        "m.duration(59)": "59 s",
        "m.duration(3600)": "1 h",
        "m.ago('2026-01-01T00:00:00Z', Date.parse('2026-01-01T00:05:00Z'))": "5 min ago",
        "m.ago('nonsense', 0)": "never",
        "m.ago(null, 0)": "never",
        "m.clock('2026-01-01T23:30:00Z', false, new Date('2026-01-02T10:00:00Z'))": "00:30",
        "m.clock('2025-12-31T10:00:00Z', false, new Date('2026-01-02T10:00:00Z'))": "31 Dec 2025, 11:00",
        "m.clock('<img>')": "–",
        "m.utc('2026-01-01T23:30:00+01:00')": "2026-01-01 22:30:00 UTC",
        "m.plural(1, 'site')": "1 site",
        "m.plural(1000, 'site')": "1,000 sites",
        "m.startOfToday(new Date('2026-01-01T23:30:00Z')).toISOString()": "2026-01-01T23:00:00.000Z",
    }
    found = {expression: await run(page, "format.js", expression) for expression in expected}
    assert found == expected


async def test_words_of_things_that_nobody_knows(page: Page) -> None:
    expected = {
        "m.statusOf({status: 'ONLINE'})": "ONLINE",
        "m.statusOf({status: 'constructor'})": "UNKNOWN",
        "m.statusOf(null)": "UNKNOWN",
        "m.knownSeverity('__proto__')": "INFO",
        "m.kindOf({kind: 'toString'})": "",
        "m.kindOf({kind: 'ALARM_RAISED'})": "Alarm",
        "m.kindOf({kind: 'STATUS_CHANGE', data: {maintenanceWindowId: 'mw-1'}})": "After maintenance",
        "m.metricName('chargeState')": "Charge state",
        "m.unitOf('gridPowerKw')": "kW",
        "m.unitOf('irradiance')": "W/m²",
        "m.typeName('EV_CHARGER')": "EV charger",
        "m.deviceHref('a/b?c')": "/devices/a%2Fb%3Fc",
        "m.beyondTitle('INV-1 is offline', 'INV-1 is offline (site 3): night. It was online before.')": "Site 3: night. It was online before.",
        "m.beyondTitle('GO for INV-1 failed', 'GO for INV-1 failed (site -1). Requested by Ann.')": "Site -1. Requested by Ann.",
        "m.beyondTitle('INV-1', 'INV-1 (site 3) is odd')": "INV-1 (site 3) is odd",
        "m.beyondTitle('INV-1', 'INV-10 (site 3): night')": "INV-10 (site 3): night",
        "m.beyondTitle('INV-1', null)": "",
    }
    assert {expression: await run(page, "words.js", expression) for expression in expected} == expected


async def test_instants_in_what_is_said_are_times_of_the_viewer(page: Page) -> None:
    told = """m.withTimes('since 2026-01-01T23:30:00.250Z, <b> not 2026-99-01T00:00:00Z').map((each) =>
        typeof each === 'string' ? each : [each.tagName, each.getAttribute('datetime'), each.title, each.textContent.endsWith('00:30:00')])"""
    time = ["TIME", "2026-01-01T23:30:00.250Z", "2026-01-01 23:30:00 UTC", True]
    assert await run(page, "components/time.js", told) == ["since ", time, ", <b> not ", "2026-99-01T00:00:00Z"]
    assert await run(page, "components/time.js", "m.withTimes(null)") == []


async def test_addresses_lead_to_pages_and_back(page: Page) -> None:
    match = "m.matcher([{path: '/'}, {path: '/devices'}, {path: '/devices/:serial'}])"
    expected = {
        f"{match}('/').route.path": "/",
        f"{match}('/devices/').route.path": "/devices",
        f"{match}('/devices/INV%2F1').parameters": {"serial": "INV/1"},
        f"{match}('/devices/a/b')": None,
        f"{match}('/devices/%E0%A4%A')": None,
        f"{match}('/api/v1/devices')": None,
    }
    assert {expression: await run(page, "router.js", expression) for expression in expected} == expected


async def test_notifications_are_held_once_and_never_too_many(page: Page) -> None:
    told = """(() => {
        const gone = [];
        const held = new m.Held(3, (each, cursor) => gone.push([each.notificationId, cursor]));
        const news = ['a', 'b', 'a', 'c', 'd'].map((id, at) => held.add({notificationId: id}, `c${at}`));
        return {news, held: held.newestFirst.map((each) => each.notificationId), gone};
    })()"""
    assert await run(page, "live.js", told) == {"news": [True, True, False, True, True], "held": ["d", "c", "b"], "gone": [["a", "c2"]]}


async def test_what_is_old_is_called_stale(page: Page) -> None:
    told = """(() => {
        let now = 0;
        const fresh = new m.Freshness(() => now);
        fresh.socket = 'live';
        const source = fresh.source('devices', 1000);
        const states = [];
        const say = () => states.push(fresh.state().state);
        source.ok(); say();
        now = 9000; say();
        now = 11000; say();
        source.failed('away'); states.push(fresh.state().banner);
        source.ok('3 of 4 partitions answer'); say(); states.push(fresh.state().banner);
        fresh.socket = 'lost'; say();
        now = 60000; fresh.resumed(); say();
        states.push(fresh.state(false).text);
        return states;
    })()"""
    assert await run(page, "freshness.js", told) == [
        "live", "live", "stale", "What is shown is old. away", "live", "3 of 4 partitions answer", "lost", "lost", "Offline",
    ]  # fmt: skip


async def test_what_an_answer_lacks_is_said(page: Page) -> None:
    assert await run(page, "freshness.js", "m.missingOf({partitionsAnswered: 3, partitionsTotal: 4}, 'devices')") == (
        "3 of 4 partitions answer: devices of the others are missing for the moment."
    )
    assert await run(page, "freshness.js", "m.missingOf({partitionsAnswered: 4, partitionsTotal: 4}, 'devices')") is None


async def test_failures_and_slow_answers_are_asked_for_less_often(page: Page) -> None:
    expected = {
        "m.pauseMs(1000, 100, 0)": 1000,
        "m.pauseMs(1000, 900, 0)": 2700,
        "m.pauseMs(1000, 100, 2)": 4000,
        "m.pauseMs(1000, 100, 50)": 30000,
        "m.pauseMs(1000, 100, 1, 7)": 7000,
    }
    assert {expression: await run(page, "poll.js", expression) for expression in expected} == expected


async def test_news_are_asked_for_soon_and_never_without_a_rest(page: Page) -> None:
    told = """new Promise((done) => {
        const leaving = new AbortController();
        const times = [];
        const poll = m.keepFresh({name: 'news', everyMs: 600000, signal: leaving.signal, show: () => {}, load: async () => {
            const began = performance.now();
            await new Promise((resolve) => setTimeout(resolve, 150));
            times.push([began, performance.now()]);
            if (times.length === 3) { leaving.abort(); clearInterval(storm); done(times); }
        }});
        const storm = setInterval(() => poll.told(), 5);
    })"""
    first, second, third = await run(page, "poll.js", told)
    for (began, ended), (next_began, _) in ((first, second), (second, third)):
        assert next_began - ended > 2.9 * (ended - began)


async def test_what_keeps_coming_is_shown_meanwhile(page: Page) -> None:
    told = """new Promise((done) => {
        let runs = 0;
        const call = m.throttled(() => { runs += 1; if (runs === 2) { clearInterval(storm); done(runs); } }, 50, new AbortController().signal);
        const storm = setInterval(call, 5);
    })"""
    assert await run(page, "poll.js", told) == 2


async def test_devices_are_chosen_by_words_and_sorted_with_the_unknown_last(page: Page) -> None:
    devices = json.dumps(
        [
            {"serialNumber": "INV-10", "siteId": 1, "status": "ONLINE", "deviceType": "METER", "latest": {"powerKw": 3}},
            {
                "serialNumber": "INV-9",
                "siteId": 2,
                "status": "OFFLINE",
                "deviceType": "BATTERY",
                "latest": {"powerKw": 9},
                "statusReason": "Night",
            },
            {"serialNumber": "INV-2", "siteId": 2, "status": "ERROR", "deviceType": "METER", "latest": {}},
        ]
    )
    serials = ".map((each) => each.serialNumber)"
    expected = {
        f"m.chosen({devices}, {{q: 'night inv'}}){serials}": ["INV-9"],
        f"m.chosen({devices}, {{site: '2', type: 'METER'}}){serials}": ["INV-2"],
        f"m.chosen({devices}, {{status: 'ONLINE'}}){serials}": ["INV-10"],
        f"m.sorted({devices}, 'serial'){serials}": ["INV-2", "INV-9", "INV-10"],
        f"m.sorted({devices}, '-power'){serials}": ["INV-10", "INV-2", "INV-9"],
        f"m.sorted({devices}, 'nonsense'){serials}": ["INV-2", "INV-9", "INV-10"],
        f"m.sorted({devices}, '__proto__'){serials}": ["INV-2", "INV-9", "INV-10"],
    }
    assert {expression: await run(page, "fleet.js", expression) for expression in expected} == expected


async def test_energy_of_today_counts_each_stretch_once(page: Page) -> None:
    told = """(() => {
        const window = (start, end, energyKwh, revision = 1) => ({windowStart: `2026-01-01T${start}:00Z`, windowEnd: `2026-01-01T${end}:00Z`, energyKwh, revision});
        const quarters = [window('00:15', '00:30', 2), window('00:00', '00:15', 1), window('00:30', '00:45', 9, 0)];
        const minutes = [window('00:29', '00:30', 7), window('00:30', '00:31', 0.5), window('00:31', '00:32', 0.25)];
        const found = m.today(quarters, minutes, Date.parse('2026-01-01T00:00:00Z'));
        return {kwh: found.kwh, end: new Date(found.endMs).toISOString(), none: m.today([], [], 0).kwh};
    })()"""
    assert await run(page, "energy-today.js", told) == {"kwh": 3.75, "end": "2026-01-01T00:32:00.000Z", "none": None}


async def test_power_ends_where_every_site_has_told(page: Page) -> None:
    told = "m.powerOf(new Map([[0, {kwh: 1, sites: 2}], [120, {kwh: 2, sites: 2}], [180, {kwh: 1, sites: 1}]]))"
    assert await run(page, "energy-today.js", told) == [[0, 60, 120], [60, None, 120]]
    assert await run(page, "energy-today.js", "m.powerOf(new Map())") == [[], []]


async def test_live_values_go_on_where_history_ends(page: Page) -> None:
    told = """(() => {
        const at = (minute, second = 0) => Date.parse('2026-01-01T00:00:00Z') + minute * 60000 + second * 1000;
        const window = (minute, mean) => ({windowStart: new Date(at(minute)).toISOString(), windowEnd: new Date(at(minute + 1)).toISOString(), metrics: {powerKw: {mean, min: mean - 1, max: mean + 1}}});
        const points = new m.LivePoints(2);
        const news = [[at(2, 5), 5], [at(2, 5), 6], [at(2, 4), 9], [at(2, 6), 7], [at(2, 7), 8]].map(([ms, powerKw]) => points.add(ms, {powerKw}));
        const [xs, {powerKw}] = m.lines([window(1, 2), window(0, 1), window(3, 99)], points.points, ['powerKw'], {withBand: false, fromMs: at(0)});
        return {news, xs: xs.map((x) => x - at(0) / 1000), values: powerKw.values};
    })()"""
    assert await run(page, "device/history.js", told) == {
        "news": [True, False, False, True, True], "xs": [30, 90, 126, 127], "values": [1, 2, 7, 8],
    }  # fmt: skip


async def test_who_may_do_what(page: Page) -> None:
    answers: list[Any] = [
        {"authentication": "open", "name": "anybody", "role": "admin", "sites": "*"},
        {"authentication": "token", "name": "ann", "role": "viewer", "sites": [1]},
        {"authentication": "token", "name": "bob", "role": "operator", "sites": "*"},
        {"authentication": "token", "name": "eve", "role": "constructor"},
    ]
    people = [await run(page, "session.js", f"m.understood({json.dumps(answer)})") for answer in answers]
    assert [(each["open"], each["name"], each["role"]) for each in people] == [
        (True, "", None), (False, "ann", "viewer"), (False, "bob", "operator"), (False, "eve", None),
    ]  # fmt: skip
    commands = [await run(page, "session.js", f"m.may('command', {json.dumps(who)})") for who in people]
    redrives = [await run(page, "session.js", f"m.may('redrive', {json.dumps(who)})") for who in people]
    assert (commands, redrives) == ([True, False, True, False], [True, False, False, False])
