// What people were told, as it comes; older ones a page at a time.

import { notifications } from "../api.js";
import { notificationRow } from "../components/notification-row.js";
import { card, field, loading, nothing, pageHead, select } from "../components/panels.js";
import { announce, make, put, rebuild, setText } from "../dom.js";
import { count, plural } from "../format.js";
import { live } from "../live.js";
import { debounced, throttled } from "../poll.js";
import { KINDS, SEVERITIES, SEVERITY_LABELS, knownSeverity } from "../words.js";

const OLDER_PAGE = 200;
const OLDER_MAX = 2000;
const NEW_MARKED = 500;

export const name = "notifications-page";

// Whether a notification has what is asked for; the text may be anywhere in it.
export function matches(notification, { severity, kind, site, q }) {
  const text = () => `${notification.title ?? ""} ${notification.message ?? ""} ${notification.serialNumber ?? ""}`.toLowerCase();
  return (!severity || knownSeverity(notification.severity) === severity) && (!kind || notification.kind === kind)
    && (!site || String(notification.siteId) === site) && (!q || text().includes(q.toLowerCase()));
}

export function mount(root, { query, setQuery, signal }) {
  const wanted = { severity: query.severity ?? "", kind: query.kind ?? "", site: query.site ?? "", q: query.q ?? "" };
  const older = { list: [], cursor: null, reading: false };
  const arrived = new Set();
  const total = make("p", { class: "muted", id: "feed-count" });
  const rows = make("ol", { class: "rows", id: "feed" });
  const list = card("Newest first", { classes: "feed", actions: [total], body: make("div", {}, loading()) });
  const more = make("button", { type: "button", class: "action", onclick: () => readOlder() }, "Older notifications");
  const trouble = make("p", { class: "trouble", role: "alert" });
  const foot = make("div", { class: "more" }, trouble, more);
  root.append(pageHead("Notifications"), filters(wanted, () => { setQuery(wanted); show(); }, signal), list.element);

  // Each once: of what went from there to here, and of pages that were asked for from an earlier place, some come twice.
  function all() {
    return [...new Map([...live.held.newestFirst, ...older.list].map((each) => [each.notificationId, each])).values()];
  }

  function show() {
    if (!live.known) return;
    const everything = all();
    const shown = everything.filter((each) => matches(each, wanted));
    put(list.body, shown.length ? rows : everything.length ? nothing("None of those that were read matches the filters.", make("a", { class: "action", href: "/notifications" }, "Without filters")) : nothing("Nothing has happened yet. Changes of devices, alarms and commands appear here as they happen."), foot);
    rebuild(rows, shown, (each) => each.notificationId, (each) => notificationRow(each, { isNew: arrived.has(each.notificationId) }));
    setText(total, shown.length === everything.length ? plural(shown.length, "notification") : `${count(shown.length)} of ${count(everything.length)} that were read`);
    more.hidden = !(older.cursor ?? live.older) || older.list.length >= OLDER_MAX;
  }

  async function readOlder() {
    more.disabled = true;
    setText(trouble, "");
    try {
      const page = await notifications({ limit: OLDER_PAGE, cursor: older.cursor ?? live.older }, signal);
      older.list.push(...page.notifications);
      older.cursor = page.nextCursor;
      if (!page.nextCursor) live.older = null;
    } catch (error) {
      if (!signal.aborted) setText(trouble, error.message);
    } finally {
      more.disabled = false;
    }
    if (!signal.aborted) show();
  }

  const soon = throttled(show, 100, signal);
  live.listen(({ type, notification }) => {
    // What is not held any more goes on being shown, as long as older ones are; too many of them are given up together.
    if (type === "gone" && older.list.length) older.list.unshift(notification);
    if (type === "reset" || older.list.length > 2 * OLDER_MAX) {
      older.list = [];
      older.cursor = null;
    }
    if (type === "news") {
      if (arrived.size > NEW_MARKED) arrived.clear();
      arrived.add(notification.notificationId);
      // Only what must not wait is spoken; the rest can be read.
      if (notification.severity === "CRITICAL") announce(`Critical: ${notification.title}`);
    }
    soon();
  }, signal);
  show();
}

function filters(wanted, changed, signal) {
  const choose = (key) => (value) => { wanted[key] = value; changed(); };
  const input = (label, key, attributes, classes = "") => {
    const element = make("input", { autocomplete: "off", spellcheck: "false", ...attributes });
    element.value = wanted[key];
    element.addEventListener("input", debounced(() => { wanted[key] = element.value.trim(); changed(); }, 150, signal));
    return field(label, element, classes);
  };
  return make("div", { class: "filters", role: "search" },
    input("Search", "q", { type: "search", placeholder: "Device or words" }, "grow"),
    select("Severity", [["", "All"], ...SEVERITIES.map((each) => [each, SEVERITY_LABELS[each]])], wanted.severity, choose("severity")).field,
    select("Kind", [["", "All"], ...Object.entries(KINDS)], wanted.kind, choose("kind")).field,
    input("Site", "site", { inputmode: "numeric", size: 8, placeholder: "All" }));
}
