// Every device: searched, filtered, sorted, and always the newest that is known.

import { paintStatus } from "../components/badges.js";
import { card, field, loading, pageHead, select, setOptions } from "../components/panels.js";
import { setAgo } from "../components/time.js";
import { VirtualRows } from "../components/virtual-rows.js";
import { announce, make, put, setAttribute, setText } from "../dom.js";
import { count, power } from "../format.js";
import { DEVICES_MAX, allDevices, chosen, sorted } from "../fleet.js";
import { missingOf } from "../freshness.js";
import { live } from "../live.js";
import { debounced, keepFresh } from "../poll.js";
import { STATUSES, STATUS_LABELS, deviceHref, siteName, statusOf, typeName } from "../words.js";

const COLUMNS = [["serial", "Serial", ""], ["site", "Site", ""], ["type", "Type", ""], ["status", "Status", ""], ["power", "Power", "num"], ["seen", "Last seen", "num"]];

export const name = "devices-page";

export function mount(root, { query, setQuery, signal }) {
  const wanted = { q: query.q ?? "", site: query.site ?? "", status: query.status ?? "", type: query.type ?? "", sort: query.sort ?? "serial" };
  const parts = build(root, wanted, () => show(), signal);
  let devices = [];
  let whole = false;

  const show = () => {
    setQuery({ ...wanted, sort: wanted.sort === "serial" ? "" : wanted.sort });
    const shown = sorted(chosen(devices, wanted), wanted.sort);
    parts.rows.show(shown);
    const total = `${count(devices.length)}${whole ? "" : "…"}`;
    setText(parts.count, shown.length === devices.length ? `${total} devices` : `${count(shown.length)} of ${total} devices`);
    parts.empty.hidden = shown.length > 0 || !whole;
    setText(parts.why, devices.length ? "No device matches the filters." : parts.missing ? "No worker answers for the devices at the moment." : "No device has been heard of yet.");
    parts.all.hidden = !devices.length;
    parts.showSort(wanted.sort);
  };
  const read = (list) => {
    devices = list;
    setOptions(parts.site, [["", "All sites"], ...optionsOf(list, "siteId", siteName, wanted.site)]);
    setOptions(parts.type, [["", "All types"], ...optionsOf(list, "deviceType", typeName, wanted.type)]);
    parts.site.value = wanted.site;
    parts.type.value = wanted.type;
    show();
  };
  const list = keepFresh({
    name: "devices", everyMs: 1500, signal, missing: (answer) => missingOf(answer, "devices") ?? (answer.cut ? `Only the first ${count(DEVICES_MAX)} devices are shown.` : null),
    load: (aborted) => allDevices({}, aborted, (soFar) => whole || read([...soFar])),
    show(answer) {
      whole = true;
      parts.missing = answer.partitionsAnswered < answer.partitionsTotal;
      put(parts.loading);
      read(answer.devices);
    },
    onError: (error) => whole || put(parts.loading, make("p", { class: "empty trouble" }, error.message)),
  });
  live.listen(({ type, notification }) => type === "news" && notification.kind !== "COMMAND_UPDATE" && list.told(), signal);
  parts.search.addEventListener("change", () => announce(parts.count.textContent));
}

function optionsOf(list, field, wording, always) {
  const values = new Set(list.map((device) => device[field]).filter((each) => each !== null && each !== undefined).map(String));
  if (always) values.add(always);
  const order = new Intl.Collator(undefined, { numeric: true }).compare;
  return [...values].sort(order).map((value) => [value, wording(value)]);
}

function build(root, wanted, onChange, signal) {
  const search = make("input", { type: "search", id: "filter", placeholder: "Serial, site, type, reason", autocomplete: "off", spellcheck: "false" });
  search.value = wanted.q;
  search.addEventListener("input", debounced(() => { wanted.q = search.value.trim(); onChange(); }, 80, signal));
  const choose = (key) => (value) => { wanted[key] = value; onChange(); };
  const known = (key, wording) => (wanted[key] ? [[wanted[key], wording(wanted[key])]] : []);
  const site = select("Site", [["", "All sites"], ...known("site", siteName)], wanted.site, choose("site"));
  const status = select("Status", [["", "All statuses"], ...STATUSES.map((each) => [each, STATUS_LABELS[each]])], wanted.status, choose("status"));
  const type = select("Type", [["", "All types"], ...known("type", typeName)], wanted.type, choose("type"));
  const total = make("p", { class: "muted", id: "count" });
  const heads = COLUMNS.map(([key, text, classes]) => {
    const button = make("button", { type: "button", class: "sort", onclick: () => { wanted.sort = wanted.sort === key ? `-${key}` : key; onChange(); } }, text, make("span", { class: "arrow", "aria-hidden": "true" }));
    return make("th", { scope: "col", class: `c-${key} ${classes}`.trim(), "data-column": key }, button);
  });
  const body = make("tbody", { id: "rows" });
  const table = make("table", { id: "table", "aria-label": "Devices" }, make("thead", {}, make("tr", {}, ...heads)), body);
  const why = make("p");
  const all = make("a", { class: "action", href: "/devices" }, "Without filters");
  const empty = make("div", { class: "empty", id: "empty", hidden: true }, why, all);
  const waiting = make("div", {}, loading());
  const scroll = make("div", { class: "scroll", id: "scroll" }, table, empty, waiting);
  const rows = new VirtualRows({ scroll, table, body, newRow, paint, keyOf: (device) => device.serialNumber, signal });
  const list = card("All devices", { classes: "devices-card", actions: [total], body: scroll });
  const filters = make("div", { class: "filters", role: "search" }, field("Search", search, "grow"), site.field, status.field, type.field);
  root.append(pageHead("Devices"), filters, list.element);
  return { rows, search, site: site.element, type: type.element, count: total, empty, why, all, missing: false, loading: waiting, showSort: (order) => showSort(heads, order) };
}

function showSort(heads, order) {
  for (const head of heads) {
    const mine = head.dataset.column === order.replace("-", "");
    setAttribute(head, "aria-sort", mine ? (order.startsWith("-") ? "descending" : "ascending") : null);
    setText(head.querySelector(".arrow"), mine ? (order.startsWith("-") ? "▼" : "▲") : "");
  }
}

function newRow() {
  const row = { link: make("a", { class: "serial" }), label: make("span", { class: "muted device-name" }), below: make("span"), heard: make("time", { "data-ago": true }), badge: make("span"), time: make("time", { "data-ago": true }) };
  for (const key of ["site", "type", "power"]) row[key] = make("td", { class: `c-${key}` });
  row.power.classList.add("num");
  row.element = make("tr", { class: "device" }, make("th", { scope: "row", class: "c-serial" }, row.link, row.label, make("span", { class: "muted below" }, row.below, row.heard)), row.site, row.type,
    make("td", { class: "c-status" }, row.badge), row.power, make("td", { class: "c-seen num" }, row.time));
  return row;
}

function paint(row, device) {
  setAttribute(row.element, "data-serial", device.serialNumber);
  setAttribute(row.link, "href", deviceHref(device.serialNumber));
  setText(row.link, device.serialNumber);
  setText(row.label, device.name ?? "");
  setText(row.site, siteName(device.siteId));
  setText(row.type, typeName(device.deviceType));
  paintStatus(row.badge, device);
  // What an offline device said last is not what flows now.
  row.power.classList.toggle("stale", statusOf(device) === "OFFLINE");
  setText(row.power, power(device.latest?.powerKw).join(" ").trim());
  setAgo(row.time, device.lastSeen);
  // A narrow screen has no columns for these.
  setText(row.below, `${siteName(device.siteId)} · `);
  setAgo(row.heard, device.lastSeen);
}
