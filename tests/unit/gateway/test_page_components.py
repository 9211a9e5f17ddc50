"""What the dashboard's components and pages put on the screen, in a browser that is given their data."""

import pytest
from playwright.async_api import Page

from tests.support.dashboard import misplaced, serious_findings
from tests.support.page_modules import ORIGIN, run

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def test_older_notifications_that_come_twice_are_shown_once(page: Page) -> None:
    told = """(async () => {
        const {live} = await import('/static/live.js');
        const ask = window.fetch;
        const page = {notifications: ['b', 'c'].map((id) => ({notificationId: id, title: id})), nextCursor: 'older'};
        window.fetch = async () => Response.json(page);
        Object.assign(live, {known: true, older: 'old'});
        for (const id of ['b', 'a']) live.held.add({notificationId: id, title: id});
        const root = document.body.appendChild(document.createElement('div'));
        const leaving = new AbortController();
        m.mount(root, {query: {}, setQuery: () => {}, signal: leaving.signal});
        const more = root.querySelector('.more button');
        for (let times = 0; times < 3; times += 1) {
            more.click();
            while (more.disabled) await new Promise((resolve) => setTimeout(resolve, 5));
        }
        leaving.abort();
        root.remove();
        window.fetch = ask;
        return [...root.querySelectorAll('#feed li')].map((each) => each.dataset.id);
    })()"""
    assert await run(page, "pages/notifications.js", told) == ["a", "b", "c"]


async def test_all_is_well_is_said_of_all_alarms_of_everybody_alone(page: Page) -> None:
    told = """(async (query, partitionsAnswered) => {
        const ask = window.fetch;
        window.fetch = async () => Response.json({alarms: [], nextCursor: null, partitionsTotal: 4, partitionsAnswered});
        const root = document.body.appendChild(document.createElement('div'));
        const leaving = new AbortController();
        m.mount(root, {query, setQuery: () => {}, signal: leaving.signal});
        while (!root.querySelector('.empty:not(.loading)')) await new Promise((resolve) => setTimeout(resolve, 5));
        leaving.abort();
        root.remove();
        window.fetch = ask;
        return root.querySelector('.empty').textContent;
    })"""
    expected = {
        "({}, 4)": "No alarm is open. All is well.",
        "({}, 3)": "No alarm is open where it is known.",
        "({site: '7'}, 4)": "No alarm matches the filters.All that is open",
    }
    assert {given: await run(page, "pages/alarms.js", told + given) for given in expected} == expected


async def test_the_most_urgent_alarms_come_first(page: Page) -> None:
    told = """(() => {
        const alarm = (id, state, severity) => ({id, state, severity});
        const list = [alarm('a', 'ACKNOWLEDGED', 'CRITICAL'), alarm('b', 'RAISED', 'INFO'), alarm('c', 'RAISED', 'CRITICAL'), alarm('d', 'RAISED', 'CRITICAL')];
        return m.mostUrgent(list).map((each) => each.id);
    })()"""
    assert await run(page, "pages/overview.js", told) == ["c", "d", "b", "a"]


async def test_the_facts_of_a_device_keep_the_focus_while_it_goes_on_sending(page: Page) -> None:
    told = """(async () => {
        const ask = window.fetch;
        let answers = 0;
        const device = () => ({serialNumber: 'D', siteId: 3, deviceType: 'METER', status: 'ONLINE', statusSince: '2026-01-01T00:00:00Z', statusReason: '',
            lastSeen: new Date(Date.UTC(2026, 0, 1) + (answers += 1) * 1000).toISOString(), latest: {}});
        window.fetch = async (path) => (path === '/api/v1/devices/D' ? Response.json(device()) : Response.json({}, {status: 404}));
        const root = document.body.appendChild(document.createElement('div'));
        const leaving = new AbortController();
        m.mount(root, {parameters: {serial: 'D'}, signal: leaving.signal});
        const heard = () => root.querySelector('.facts time')?.getAttribute('datetime');
        const until = async (is) => { while (!is()) await new Promise((resolve) => setTimeout(resolve, 5)); };
        await until(heard);
        const first = heard();
        root.querySelector('.facts a').focus();
        dispatchEvent(new Event('online'));
        await until(() => heard() !== first);
        const focused = document.activeElement.textContent;
        leaving.abort();
        root.remove();
        window.fetch = ask;
        return focused;
    })()"""
    assert await run(page, "pages/device.js", told) == "Site 3"


async def test_escape_keeps_what_was_typed_into_a_letter_and_a_letter_that_nobody_touched_has_no_change(page: Page) -> None:
    told = """(async () => {
        const ask = window.fetch;
        const full = {id: 'a-dlt/0/1', topic: 'a-dlt', key: 'k', valueText: 'a\\r\\nb', valueBase64: 'YQ0KYg==', headers: [], replayCount: 0, state: 'open', redrive: {outcome: 'sent', target: 'a'}};
        window.fetch = async () => Response.json(full);
        const leaving = new AbortController();
        const detail = new m.LetterDetail({onClose: () => {}, onDone: () => {}, signal: leaving.signal});
        document.body.append(detail.element);
        const escape = () => document.dispatchEvent(new KeyboardEvent('keydown', {key: 'Escape'}));
        await detail.open({id: full.id, topic: 'a-dlt', partition: 0, offset: 1}, null);
        const untouched = detail.edits();
        detail.value.value = 'typed';
        escape();
        const kept = detail.shows(full);
        detail.value.value = detail.original;
        escape();
        const closed = !detail.shows(full);
        leaving.abort();
        detail.element.remove();
        window.fetch = ask;
        return {untouched, kept, closed};
    })()"""
    assert await run(page, "letters/letter.js", told) == {"untouched": [], "kept": True, "closed": True}


async def test_a_letter_keeps_the_focus_when_the_list_is_read_again(page: Page) -> None:
    told = """(async () => {
        const ask = window.fetch;
        const group = {errorClass: 'bad', stage: 'ingress', open: 2, count: 2, firstSeen: '', lastSeen: '', exampleMessage: ''};
        const topics = {topics: [{topic: 'a-dlt', complete: true, open: 2, groups: [group]}]};
        const letters = ['one', 'two'].map((key) => ({id: `a-dlt/0/${key}`, key, state: 'open', replayCount: 0, errorMessage: ''}));
        window.fetch = async (path) => Response.json(path.includes('/a-dlt') ? {letters, nextCursor: null} : topics);
        const root = document.body.appendChild(document.createElement('div'));
        const leaving = new AbortController();
        m.mount(root, {signal: leaving.signal});
        const button = () => root.querySelectorAll('#letters button')[1];
        const until = async (is) => { while (!is()) await new Promise((resolve) => setTimeout(resolve, 5)); };
        await until(button);
        const first = button();
        first.focus();
        dispatchEvent(new Event('online'));
        await until(() => button() !== first);
        const focused = document.activeElement === button();
        leaving.abort();
        root.remove();
        window.fetch = ask;
        return focused;
    })()"""
    assert await run(page, "pages/dead-letters.js", told) is True


async def test_a_chart_is_tried_again_and_draws_nothing_after_its_end(page: Page) -> None:
    await page.route("**/uPlot.iife.min.js", lambda route: route.abort(), times=1)
    told = """(async () => {
        const host = document.body.appendChild(document.createElement('div'));
        const chart = new m.Chart(host, {label: 'x', signal: new AbortController().signal});
        const draw = () => chart.show([1, 2, 3], [{name: 'Power', unit: 'kW', values: [1, 2, 3]}]);
        const said = [];
        await draw();
        said.push(chart.legend.textContent);
        await draw();
        said.push(host.querySelectorAll('canvas').length);
        chart.end();
        dispatchEvent(new Event('themechange'));
        said.push(host.querySelectorAll('canvas').length);
        host.remove();
        return said;
    })()"""
    assert await run(page, "components/chart.js", told) == ["The chart could not be loaded.", 1, 0]


async def test_what_was_typed_into_a_letter_is_not_made_another_value(page: Page) -> None:
    expected = {
        """m.compact('{\\n  "a b": [1, 2]\\n}')""": '{"a b":[1,2]}',
        """m.compact('{\\n  "powerKw": 4 5\\n}')""": '{\n  "powerKw": 4 5\n}',
    }
    assert {expression: await run(page, "letters/letter.js", expression) for expression in expected} == expected


async def test_the_status_bar_has_every_stretch_once(page: Page) -> None:
    told = """(() => {
        const at = (minute) => Date.parse('2026-01-01T00:00:00Z') + minute * 60000;
        const event = (minute, previousStatus, newStatus) => ({timestamp: new Date(at(minute)).toISOString(), previousStatus, newStatus});
        const device = {status: 'ERROR', previousStatus: 'ONLINE', statusSince: new Date(at(50)).toISOString()};
        const events = [event(20, 'OFFLINE', 'ONLINE'), event(10, 'ONLINE', 'OFFLINE')];
        return m.stretches(events, device, at(0), at(60)).map((each) => [each.status, (each.toMs - each.fromMs) / 60000]);
    })()"""
    assert await run(page, "device/status-card.js", told) == [["ONLINE", 10], ["OFFLINE", 10], ["ONLINE", 30], ["ERROR", 10]]


async def test_a_chart_is_told_in_words(page: Page) -> None:
    told = (
        "m.inWords([1767225600, 1767225660], [{name: 'Power', unit: 'kW', values: [1, 3]}, {name: 'None', unit: '', values: [null, null]}])"
    )
    assert (await run(page, "components/chart.js", told)).startswith("Power: from 1 to 3 kW, mean 2, last 3 at ")


async def test_marks_of_an_axis_have_the_digits_that_tell_them_apart(page: Page) -> None:
    expected = {"m.digitsOf(20)": 0, "m.digitsOf(2.5)": 1, "m.digitsOf(0.25)": 2, "m.digitsOf(0.1 + 0.2)": 1, "m.digitsOf(1e-5)": 5}
    assert {expression: await run(page, "components/chart.js", expression) for expression in expected} == expected


async def test_rows_keep_their_place_and_focus(page: Page) -> None:
    told = """(() => {
        const parent = m.make('ul');
        document.body.append(parent);
        const show = (items) => m.rebuild(parent, items, (each) => each.id, (each) => m.make('li', {}, m.make('button', {}, each.text)));
        show([{id: 1, text: 'one'}, {id: 2, text: 'two'}]);
        const second = parent.children[1];
        second.querySelector('button').focus();
        show([{id: 3, text: 'new'}, {id: 1, text: 'one'}, {id: 2, text: 'changed'}]);
        return {texts: [...parent.children].map((each) => each.textContent), same: second === parent.children[2], focus: document.activeElement.textContent};
    })()"""
    assert await run(page, "dom.js", told) == {"texts": ["new", "one", "changed"], "same": True, "focus": "changed"}


async def test_the_measure_of_pages_finds_what_it_is_for(page: Page) -> None:
    """What the whole dashboard is measured by must not be blind."""
    await page.goto("about:blank")  # where styles may stand in the document
    await page.set_viewport_size({"width": 400, "height": 800})
    await page.set_content("<style>p{position:absolute;left:20px;top:20px}div{width:900px}</style><p>one</p><p>two</p><div>three</div>")
    found = await misplaced(page)
    assert any("the page is 9" in each for each in found)
    assert any('"one" and "two" overlap' in each for each in found)
    await page.set_content("<style>p{margin:20px}</style><p>one</p><p>two <b>three</b></p><button>four</button>")
    assert await misplaced(page) == []
    await page.set_content("<html lang=en><title>t</title><main><input><p style='color:#eee;background:#fff'>pale</p></main>")
    assert {each.partition(":")[0] for each in await serious_findings(page)} == {"label", "color-contrast"}
    await page.goto(f"{ORIGIN}/blank")


async def test_markup_stays_text(page: Page) -> None:
    told = "m.make('p', {title: '\"><img src=x onerror=alert(1)>'}, '<img src=x onerror=alert(1)>').querySelectorAll('*').length"
    assert await run(page, "dom.js", told) == 0


async def test_the_focus_stays_on_a_device_when_the_list_is_in_another_order(page: Page) -> None:
    told = """(async () => {
        document.documentElement.style.setProperty('--row', '20px');
        const scroll = document.body.appendChild(document.createElement('div'));
        scroll.style.cssText = 'height: 100px; overflow: auto';
        const table = scroll.appendChild(document.createElement('table'));
        table.createTHead();
        const body = table.createTBody();
        const leaving = new AbortController();
        const newRow = () => {
            const element = document.createElement('tr');
            const link = element.insertCell().appendChild(document.createElement('a'));
            link.href = '#';
            return {element, link};
        };
        const paint = (row, item) => { row.link.textContent = item; };
        const rows = new m.VirtualRows({scroll, table, body, newRow, paint, keyOf: (item) => item, signal: leaving.signal});
        const items = [...Array(60).keys()].map((number) => `D${number}`);
        rows.show(items);
        rows.rows.find((each) => each.item === 'D2').link.focus();
        const focused = [];
        for (const order of [[...items.slice(1)], items, [...items].reverse()]) {
            rows.show(order);
            focused.push(document.activeElement.textContent);
        }
        leaving.abort();
        scroll.remove();
        return focused;
    })()"""
    assert await run(page, "components/virtual-rows.js", told) == ["D2", "D2", "D2"]


async def test_critical_alarms_are_told_of_however_many_newer_ones_there_are(page: Page) -> None:
    told = """(async () => {
        const ask = window.fetch;
        const alarm = (id, severity) => ({alarmId: id, severity, state: 'RAISED', serialNumber: id, title: id, message: id, raisedAt: '2026-01-05T10:00:00Z'});
        const newest = [...Array(500).keys()].map((number) => alarm(`w${number}`, 'WARNING'));
        const covered = {partitionsTotal: 4, partitionsAnswered: 4};
        window.fetch = async (url) => {
            if (!String(url).includes('/api/v1/alarms')) return Response.json({}, {status: 503});
            const critical = String(url).includes('severity=CRITICAL');
            return Response.json({...covered, alarms: critical ? [alarm('old', 'CRITICAL')] : newest, nextCursor: critical ? null : 'more'});
        };
        const root = document.body.appendChild(document.createElement('div'));
        const leaving = new AbortController();
        m.mount(root, {query: {}, setQuery: () => {}, signal: leaving.signal});
        while (!root.querySelector('.alarms-card li')) await new Promise((resolve) => setTimeout(resolve, 10));
        const tile = [...root.querySelectorAll('.figures .tile')].find((each) => each.textContent.includes('critical'));
        const shown = [root.querySelector('.alarms-card li').textContent.includes('old'), tile.textContent.includes('1 critical'), tile.classList.contains('bad')];
        leaving.abort();
        root.remove();
        window.fetch = ask;
        return shown;
    })()"""
    assert await run(page, "pages/overview.js", told) == [True, True, True]
