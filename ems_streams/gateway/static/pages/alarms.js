// Alarms: what is open, what was, and taking note of it.

import { alarms } from "../api.js";
import { alarmRow, alarmTable } from "../components/alarm-rows.js";
import { card, failure, field, loading, nothing, pageHead, select } from "../components/panels.js";
import { announce, make, put, rebuild, setText } from "../dom.js";
import { plural } from "../format.js";
import { missingOf } from "../freshness.js";
import { live } from "../live.js";
import { debounced, keepFresh } from "../poll.js";
import { SEVERITIES, SEVERITY_LABELS } from "../words.js";

const PAGE = 100;
const PAGES_MAX = 10;
const STATES = { open: "RAISED,ACKNOWLEDGED", RAISED: "RAISED", ACKNOWLEDGED: "ACKNOWLEDGED", CLEARED: "CLEARED", all: "" };
const STATE_WORDS = [["open", "Open"], ["RAISED", "Not acknowledged"], ["ACKNOWLEDGED", "Acknowledged"], ["CLEARED", "Over (24 h)"], ["all", "All"]];

export const name = "alarms-page";

export function mount(root, { query, setQuery, signal }) {
  const wanted = { state: Object.hasOwn(STATES, query.state ?? "") ? query.state : "open", severity: query.severity ?? "", site: query.site ?? "", serial: query.serial ?? "" };
  let pages = 1;
  const total = make("p", { class: "muted", id: "alarm-count" });
  const list = card("Alarms", { actions: [total], body: make("div", {}, loading()) });
  const { body: rows, element: table } = alarmTable();
  const more = make("button", { type: "button", class: "action", onclick: () => { pages += 1; poll.refresh(); } }, "Older alarms");
  const foot = make("p", { class: "more", hidden: true }, more);

  const changed = () => {
    pages = 1;
    setQuery({ ...wanted, state: wanted.state === "open" ? "" : wanted.state });
    put(list.body, loading());
    poll.refresh();
  };
  root.append(pageHead("Alarms"), filters(wanted, changed, signal), list.element);

  const poll = keepFresh({
    name: "alarms", everyMs: 3000, signal, missing: (answer) => missingOf(answer, "alarms"),
    load: (aborted) => firstPages({ ...wanted }, pages, aborted),
    show(answer) {
      // An answer to what was asked before the filter was changed.
      if (JSON.stringify(answer.wanted) !== JSON.stringify(wanted)) return;
      if (!answer.alarms.length) put(list.body, none(wanted, missingOf(answer, "alarms")));
      else if (!table.isConnected) put(list.body, table, foot);
      rebuild(rows, answer.alarms, (each) => each.alarmId, (each) => alarmRow(each, (known) => { announce(`Acknowledged: ${known.title}`); poll.refresh(); }));
      foot.hidden = !answer.nextCursor || pages >= PAGES_MAX;
      setText(total, answer.alarms.length ? `${plural(answer.alarms.length, "alarm")}${answer.nextCursor ? " and more" : ""}, newest first` : "");
    },
    onError: (error) => table.isConnected || put(list.body, failure(error, () => poll.refresh())),
  });
  live.listen(({ type, notification }) => type === "news" && String(notification.kind).startsWith("ALARM_") && poll.told(), signal);
}

// That all is well may be said only of all alarms, and only when everybody has answered.
function none({ state, severity, site, serial }, missing) {
  const all = make("a", { class: "action", href: "/alarms" }, "All that is open");
  if (state !== "open" || severity || site || serial) return nothing("No alarm matches the filters.", all);
  return nothing(missing ? "No alarm is open where it is known." : "No alarm is open. All is well.");
}

// Every page anew each time: what was cleared in between moves the others up, and none is shown twice.
async function firstPages(wanted, pages, signal) {
  const found = new Map();
  let answer = null;
  for (let at = 0; at < pages && (at === 0 || answer.nextCursor); at += 1) {
    const { state, severity, site, serial } = wanted;
    answer = await alarms({ state: STATES[state], severity, site, serial, limit: PAGE, cursor: answer?.nextCursor }, signal);
    for (const each of answer.alarms) found.set(each.alarmId, each);
  }
  return { ...answer, alarms: [...found.values()], wanted };
}

function filters(wanted, changed, signal) {
  const choose = (key) => (value) => { wanted[key] = value; changed(); };
  const text = (label, key, attributes) => {
    const input = make("input", { autocomplete: "off", spellcheck: "false", ...attributes });
    input.value = wanted[key];
    input.addEventListener("input", debounced(() => { wanted[key] = input.value.trim(); changed(); }, 400, signal));
    return field(label, input);
  };
  return make("div", { class: "filters", role: "search" },
    select("State", STATE_WORDS, wanted.state, choose("state")).field,
    select("Severity", [["", "All"], ...SEVERITIES.map((each) => [each, SEVERITY_LABELS[each]])], wanted.severity, choose("severity")).field,
    text("Site", "site", { inputmode: "numeric", size: 8, placeholder: "All" }), text("Device", "serial", { size: 18, placeholder: "Serial, exactly" }));
}
