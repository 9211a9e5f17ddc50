// One device in full: latest metrics, and its last minutes as a line and a table.

import { aggregates, device } from "./api.js";
import { SEVERITY_MARKS, ago, byId, clock, make, makeSvg, number, paintBadge, setText, typeName, untold } from "./dom.js";

const REFRESH_MS = 2000;
const ROWS = 8;
const UNITS = { powerKw: "kW", voltage: "V", current: "A", temperature: "°C", efficiency: "%", energyKwh: "kWh", soc: "%", frequency: "Hz" };
const NAMES = { powerKw: "Power", energyKwh: "Energy", soc: "State of charge" };

const nameOf = (metric) => {
  if (NAMES[metric]) return NAMES[metric];
  const words = metric.replace(/([a-z0-9])([A-Z])/g, "$1 $2").replaceAll("_", " ").toLowerCase();
  return words.charAt(0).toUpperCase() + words.slice(1);
};

export class DeviceDetail {
  constructor(onClose) {
    this.onClose = onClose;
    this.panel = byId("detail");
    this.body = byId("detail-body");
    byId("detail-close").addEventListener("click", () => this.close());
    document.addEventListener("keydown", (event) => {
      if (event.key === "Escape" && !this.panel.hidden) this.close();
    });
  }

  open(serial, origin) {
    this.serial = serial;
    this.origin = origin;
    this.metric = "powerKw";
    this.known = null;
    this.windows = [];
    setText(byId("detail-title"), serial);
    this.body.replaceChildren(make("p", { class: "empty" }, "Loading"));
    this.panel.hidden = false;
    byId("detail-title").focus({ preventScroll: true });
    this.refresh();
  }

  close() {
    this.panel.hidden = true;
    clearTimeout(this.timer);
    this.serial = null;
    this.origin?.focus?.();
    this.onClose();
  }

  async refresh() {
    clearTimeout(this.timer);
    const serial = this.serial;
    const [view, history] = await Promise.allSettled([device(serial), aggregates(serial)]);
    if (serial !== this.serial) return;
    if (view.status === "fulfilled") this.known = view.value;
    if (history.status === "fulfilled") this.windows = history.value.windows ?? [];
    this.trouble = view.status === "rejected" ? view.reason.message : null;
    this.render();
    this.timer = setTimeout(() => this.refresh(), REFRESH_MS);
  }

  render() {
    if (!this.known) {
      this.body.replaceChildren(make("p", { class: "empty" }, this.trouble ?? "Nothing is known of this device."));
      return;
    }
    const focused = document.activeElement?.dataset?.metric;
    const scrolled = this.body.scrollTop;
    const latest = this.known.latest ?? {};
    if (!(this.metric in latest) && Object.keys(latest).length) this.metric = Object.keys(latest)[0];
    this.body.replaceChildren(
      ...[this.trouble && make("p", { class: "facts" }, `Not fresh: ${this.trouble}`), this.facts(), this.alarms(), this.metrics(latest), ...this.history()].filter(Boolean),
    );
    this.body.scrollTop = scrolled;
    if (focused) [...this.body.querySelectorAll("[data-metric]")].find((each) => each.dataset.metric === focused)?.focus();
  }

  facts() {
    const badge = make("span");
    paintBadge(badge, this.known);
    const since = this.known.statusSince ? `since ${clock(this.known.statusSince)}` : null;
    const reason = this.known.statusReason ? make("span", {}, `“${this.known.statusReason}”`) : null;
    const what = `${typeName(this.known.deviceType)}, site ${this.known.siteId ?? "–"}, seen ${ago(this.known.lastSeen, Date.now())}`;
    const why = untold(this.known);
    const note = why ? make("p", { class: "note" }, why) : null;
    return make("div", { class: "facts" }, badge, since && make("span", {}, since), make("span", {}, what), reason, note);
  }

  alarms() {
    const alarms = this.known.alarms ?? [];
    if (!alarms.length) return null;
    const items = alarms.map((each) => {
      const severity = each.severity in SEVERITY_MARKS ? each.severity : "INFO";
      const mark = make("span", { class: `sev v-${severity}`, role: "img", "aria-label": severity.toLowerCase() }, SEVERITY_MARKS[severity]);
      const noted = each.acknowledgedBy ? `Acknowledged by ${each.acknowledgedBy}. ` : "";
      return make("li", {}, mark, " ", make("strong", {}, each.title), ` since ${clock(each.raisedAt)}`, make("p", {}, noted + each.message));
    });
    return make("div", { class: "alarms" }, make("h3", {}, "Alarms"), make("ul", {}, ...items));
  }

  metrics(latest) {
    const names = Object.keys(latest).sort((one, two) => (two === "powerKw") - (one === "powerKw") || one.localeCompare(two));
    if (!names.length) return make("p", { class: "empty" }, "No telemetry yet.");
    const tiles = names.map((name) => {
      const value = make("b", {}, number(latest[name], Math.abs(latest[name]) >= 1000 ? 0 : 1), " ", make("small", {}, UNITS[name] ?? ""));
      const tile = make("button", { class: "metric", type: "button", "aria-pressed": name === this.metric, "data-metric": name }, make("span", {}, nameOf(name)), value);
      tile.addEventListener("click", () => {
        this.metric = name;
        this.render();
      });
      return tile;
    });
    return make("div", {}, make("h3", {}, "Latest"), make("div", { class: "metrics", role: "group", "aria-label": "Latest metrics; choose one for the chart" }, ...tiles));
  }

  history() {
    const points = this.windows
      .filter((each) => each.metrics?.[this.metric])
      .map((each) => ({ start: each.windowStart, ...each.metrics[this.metric] }))
      .sort((one, two) => one.start.localeCompare(two.start));
    const unit = UNITS[this.metric] ? ` in ${UNITS[this.metric]}` : "";
    const title = make("h3", {}, `${nameOf(this.metric)} per minute${unit}`);
    if (!points.length) return [title, make("p", { class: "muted" }, "No minute is complete yet.")];
    return [title, ...(points.length > 1 ? this.spark(points) : []), this.table(points.slice(-ROWS).reverse())];
  }

  spark(points) {
    const low = Math.min(...points.map((each) => each.min));
    const high = Math.max(...points.map((each) => each.max));
    const x = (at) => (at / (points.length - 1)) * 300;
    const y = (value) => (high === low ? 40 : 76 - ((value - low) / (high - low)) * 72);
    const path = (values) => values.map(([across, value]) => `${x(across).toFixed(1)},${y(value).toFixed(1)}`).join(" ");
    const tops = points.map((each, at) => [at, each.max]);
    const bottoms = points.map((each, at) => [at, each.min]).reverse();
    const label = `${nameOf(this.metric)}, means of ${points.length} minutes, from ${number(low)} to ${number(high)}`;
    const svg = makeSvg("svg", { class: "spark", viewBox: "0 0 300 80", preserveAspectRatio: "none", role: "img", "aria-label": label },
      makeSvg("line", { class: "dotted", x1: 0, x2: 300, y1: 79, y2: 79 }),
      makeSvg("polygon", { class: "band", points: path([...tops, ...bottoms]) }),
      makeSvg("polyline", { class: "line", points: path(points.map((each, at) => [at, each.mean])) }));
    const range = make("div", { class: "spark-range", "aria-hidden": "true" },
      make("span", {}, clock(points[0].start, false)), make("span", {}, `${number(low)} to ${number(high)}`), make("span", {}, clock(points.at(-1).start, false)));
    return [svg, range];
  }

  table(points) {
    const head = ["Minute", "Mean", "Min", "Max", "Count"].map((name, at) => make("th", { scope: "col", class: at ? "num" : null }, name));
    const rows = points.map((each) => make("tr", {}, make("td", {}, clock(each.start, false)),
      ...[number(each.mean), number(each.min), number(each.max), String(each.count)].map((text) => make("td", { class: "num" }, text))));
    return make("table", { class: "windows" }, make("thead", {}, make("tr", {}, ...head)), make("tbody", {}, ...rows));
  }
}
