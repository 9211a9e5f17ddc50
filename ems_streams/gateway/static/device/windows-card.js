// Closed windows of a device as a table: every statistic of the metric that the chart shows first.

import { deviceWindows } from "../api.js";
import { card, failure, loading, nothing } from "../components/panels.js";
import { segments } from "../components/segments.js";
import { timeOf } from "../components/time.js";
import { make, put, rebuild, setText } from "../dom.js";
import { count, measure, percent } from "../format.js";
import { keepFresh } from "../poll.js";
import { metricName, unitOf } from "../words.js";

const PAGE = 12;
const PAGES_MAX = 20;
const KINDS = [["1m", "1 min"], ["15m", "15 min"], ["1h", "1 h"], ["1d", "1 d"], ["1d-local", "Local day"]];
const QUALITY = { MEASURED: "good", INTEGRATED: "good", ESTIMATED: "fair", GAP: "poor" };

export class WindowsCard {
  constructor({ serial, signal }) {
    Object.assign(this, { serial, signal, kind: "1m", pages: 1, metric: null, windows: [] });
    this.note = make("p", { class: "muted" });
    this.rows = make("tbody");
    this.heads = ["Begins", "Messages", "Mean", "Least", "Greatest", "p95", "Energy", "Quality", "Revision"].map((text, at) =>
      make("th", { scope: "col", class: ["", "num second", "num", "num first", "num", "num second", "num", "third", "num third"][at] || null }, text));
    this.table = make("table", { class: "windows", "aria-label": "Windows" }, make("thead", {}, make("tr", {}, ...this.heads)), this.rows);
    this.more = make("button", { type: "button", class: "action", onclick: () => { this.pages += 1; this.poll.refresh(); } }, "Older windows");
    this.foot = make("p", { class: "more", hidden: true }, this.more);
    const kinds = segments("Length of the windows", KINDS, this.kind, (kind) => this.choose(kind));
    this.card = card("Windows", { classes: "windows-card", actions: [this.note, kinds], body: make("div", {}, loading()) });
    this.element = this.card.element;
    this.poll = keepFresh({
      name: "windows", everyMs: 15000, signal, load: (aborted) => this.load(aborted), show: (answer) => this.show(answer),
      onError: (error) => this.failed(error),
    });
  }

  choose(kind) {
    Object.assign(this, { kind, pages: 1, windows: [] });
    put(this.card.body, loading());
    this.poll.refresh();
  }

  setMetric(metric) {
    const isFirst = this.metric === null;
    this.metric = metric;
    if (isFirst) this.poll.refresh();
    if (this.windows.length) this.paint();
  }

  async load(signal) {
    const { kind } = this;
    // Without telemetry there are no windows, and nobody need be asked.
    if (!this.metric) return { kind, windows: [], more: false, whole: true };
    const windows = new Map();
    let answer = null;
    for (let at = 0; at < this.pages && (at === 0 || answer.nextCursor); at += 1) {
      answer = await deviceWindows(this.serial, { window: kind, limit: PAGE, cursor: answer?.nextCursor }, signal);
      for (const each of answer.windows) windows.set(`${each.windowStart} ${each.timeZone ?? ""}`, each);
    }
    return { kind, windows: [...windows.values()], more: Boolean(answer.nextCursor), whole: answer.historyAvailable !== false };
  }

  show({ kind, windows, more, whole }) {
    if (kind !== this.kind) return this.poll.refresh();
    this.windows = windows;
    this.foot.hidden = !more || this.pages >= PAGES_MAX;
    this.note.hidden = whole;
    setText(this.note, whole ? "" : "History is away: older windows may be missing.");
    if (!windows.length) return put(this.card.body, nothing("No window of this length yet."));
    put(this.card.body, this.table, this.foot);
    return this.paint();
  }

  failed(error) {
    if (error.status === 404) {
      put(this.card.body, nothing("No window of this length yet."));
      return "fine";
    }
    if (!this.table.isConnected) put(this.card.body, failure(error, () => this.poll.refresh()));
    return null;
  }

  paint() {
    const { metric } = this;
    const unit = metric && unitOf(metric) ? `, ${unitOf(metric)}` : "";
    setText(this.heads[2], `Mean${unit}`);
    setText(this.card.heading, metric ? `Windows: ${metricName(metric).toLowerCase()}` : "Windows");
    rebuild(this.rows, this.windows, (each) => `${each.windowStart} ${each.timeZone ?? ""}`, (each) => row(each, metric), (each) => JSON.stringify([each, metric]));
  }
}

function row(window, metric) {
  const statistics = window.metrics?.[metric] ?? {};
  const open = window.revision === 0;
  const number = (value, classes = "num") => make("td", { class: classes }, measure(value));
  const quality = String(window.energyQuality ?? "–").toLowerCase();
  const share = typeof window.energyCoveredShare === "number" && window.energyCoveredShare < 1 ? ` ${percent(window.energyCoveredShare)}` : "";
  return make("tr", { class: open ? "open" : null }, make("th", { scope: "row" }, timeOf(window.windowStart, false), open && make("span", { class: "muted" }, " open")),
    make("td", { class: "num second" }, count(window.eventCount)), number(statistics.mean), number(statistics.min, "num first"), number(statistics.max), number(statistics.p95, "num second"),
    make("td", { class: "num" }, typeof window.energyKwh === "number" ? `${measure(window.energyKwh)} kWh` : "–"),
    make("td", { class: "third" }, make("span", { class: `badge ${QUALITY[window.energyQuality] ?? "plain"}` }, `${quality}${share}`)), make("td", { class: "num third" }, open ? "–" : count(window.revision)));
}
