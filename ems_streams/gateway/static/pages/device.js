// One device in full.

import { device as askDevice } from "../api.js";
import { paintStatus, untold } from "../components/badges.js";
import { failure, loading, nothing } from "../components/panels.js";
import { agoOf, setAgo, timeOf, withTimes } from "../components/time.js";
import { AlarmsCard } from "../device/alarms-card.js";
import { ChartCard } from "../device/chart-card.js";
import { CommandsCard } from "../device/commands-card.js";
import { ExplainCard } from "../device/explain-card.js";
import { MaintenanceCard } from "../device/maintenance-card.js";
import { StatusCard } from "../device/status-card.js";
import { WindowsCard } from "../device/windows-card.js";
import { make, put } from "../dom.js";
import { live } from "../live.js";
import { keepFresh } from "../poll.js";
import { STATUS_LABELS, siteHref, siteName, statusOf, typeName } from "../words.js";

export const name = "device-page";

export function mount(root, { parameters: { serial }, signal }) {
  document.title = `${serial} · EMS Streams`;
  const badge = make("span", { id: "device-status" });
  const facts = make("p", { class: "facts muted" });
  const heard = agoOf(null);
  const note = make("p", { class: "device-note", hidden: true });
  const place = make("div", {}, loading());
  const back = make("a", { href: "/devices", class: "muted crumb" }, "Devices");
  root.append(back, make("div", { class: "page-head" }, make("h1", { tabindex: "-1" }, serial), badge), facts, note, place);
  let cards = null;

  const show = (device) => {
    paintStatus(badge, device);
    setAgo(heard, device.lastSeen);
    const says = JSON.stringify([device.name, device.deviceType, device.siteId, device.status, device.statusSince, device.statusReason]);
    // Made anew only when they say something else: who has tabbed to the link of the site stays there.
    if (facts.says !== says) put(facts, ...factsOf(device, heard));
    facts.says = says;
    const why = [untold(device), device.errorCode && !String(device.statusReason).includes(device.errorCode) && `Error code ${device.errorCode}`].filter(Boolean).join(". ");
    note.textContent = why;
    note.hidden = !why;
    if (!cards) {
      cards = build(serial, signal);
      put(place, cards.grid);
    }
    for (const each of [cards.chart, cards.status, cards.commands, cards.maintenance]) each.update(device);
  };
  const poll = keepFresh({
    name: "device", everyMs: 1500, signal, load: (aborted) => askDevice(serial, aborted), show,
    onError: (error) => {
      if (cards) return;
      if (error.status === 404) put(place, make("div", { class: "card" }, nothing(`Nothing is known of a device ${serial}.`, make("a", { class: "action", href: "/devices" }, "To the devices"))));
      else put(place, make("div", { class: "card" }, failure(error, () => poll.refresh())));
      return error.status === 404 ? "fine" : undefined;
    },
  });
  live.listen(({ type, notification }) => {
    if (type !== "news" || notification.serialNumber !== serial) return;
    for (const each of [poll, cards?.status.poll, cards?.alarms.poll, cards?.commands.poll]) each?.told();
  }, signal);
}

function factsOf(device, heard) {
  return [
    device.name && make("strong", {}, device.name), device.name && " · ", typeName(device.deviceType), " · ", make("a", { href: siteHref(device.siteId) }, siteName(device.siteId)),
    " · last heard ", heard, device.statusSince ? " · " : null, device.statusSince ? make("span", {}, `${STATUS_LABELS[statusOf(device)].toLowerCase()} since `, timeOf(device.statusSince)) : null,
    ...(device.statusReason ? [": ", ...withTimes(device.statusReason)] : []),
  ].filter(Boolean);
}

function build(serial, signal) {
  const windows = new WindowsCard({ serial, signal });
  const cards = {
    chart: new ChartCard({ serial, signal, onMetric: (metric) => windows.setMetric(metric) }), status: new StatusCard({ serial, signal }), alarms: new AlarmsCard({ serial, signal }),
    commands: new CommandsCard({ serial, signal }), maintenance: new MaintenanceCard({ serial, signal }), windows, explain: new ExplainCard({ serial, signal }),
  };
  const left = make("div", { class: "stack" }, cards.chart.element, cards.windows.element);
  const right = make("div", { class: "stack" }, cards.status.element, cards.alarms.element, cards.commands.element);
  const last = make("div", { class: "stack" }, cards.maintenance.element, cards.explain.element);
  return { ...cards, grid: make("div", { class: "device-grid" }, left, right, last) };
}
