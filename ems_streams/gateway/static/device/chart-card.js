// Current values of a device, and the chart of those that are chosen.

import { Chart } from "../components/chart.js";
import { card, loading, nothing } from "../components/panels.js";
import { segments } from "../components/segments.js";
import { setAgo } from "../components/time.js";
import { make, put, reconcile, setAttribute, setText } from "../dom.js";
import { measure } from "../format.js";
import { keepFresh } from "../poll.js";
import { metricName, unitOf } from "../words.js";
import { LivePoints, RANGES, lines, readHistory } from "./history.js";

const CHOSEN_MAX = 4;
const OLD_MS = 60_000;

export class ChartCard {
  constructor({ serial, signal, onMetric }) {
    Object.assign(this, { serial, signal, onMetric });
    this.range = "live";
    this.metrics = [];
    this.points = new LivePoints();
    this.windows = [];
    this.latest = {};
    this.tiles = make("div", { class: "metrics", role: "group", "aria-label": "Current values; those that are pressed are in the chart" });
    this.spoke = make("time", { "data-ago": true });
    this.age = make("p", { class: "muted values-age", hidden: true }, "These are of ", this.spoke, " by the clock of the device.");
    this.figure = make("figure", {}, loading());
    const ranges = segments("Time shown", Object.entries(RANGES).map(([key, each]) => [key, each.label]), this.range, (range) => this.show({ range }));
    this.card = card("Values", { classes: "chart-card", actions: [ranges], body: make("div", { class: "pad" }, this.age, this.tiles, this.figure) });
    this.element = this.card.element;
    this.history = keepFresh({
      name: "history", everyMs: 20000, signal, load: async (aborted) => {
        const { range } = this;
        // Without telemetry there are no windows, and nobody need be asked.
        return { range, answer: this.metrics.length ? await readHistory(serial, range, aborted) : { windows: [] } };
      },
      show: ({ range, answer }) => {
        if (range !== this.range) return this.history.refresh();
        this.windows = answer.windows;
        return this.draw();
      },
      onError: (error) => {
        if (error.status !== 404) return null;
        // A device that is registered and has never said anything has no windows.
        this.windows = [];
        this.draw();
        return "fine";
      },
    });
  }

  show(change) {
    Object.assign(this, change);
    this.windows = [];
    this.history.refresh();
    this.draw();
  }

  // What the device says now.
  update(device) {
    this.latest = device.latest ?? {};
    this.age.hidden = !(Date.now() - Date.parse(device.latestTimestamp ?? "") > OLD_MS);
    setAgo(this.spoke, device.latestTimestamp);
    const names = Object.keys(this.latest).sort((one, two) => (two === "powerKw") - (one === "powerKw") || one.localeCompare(two));
    if (!this.metrics.length && names.length) this.choose(names[0]);
    this.points.add(Date.parse(device.latestTimestamp ?? ""), this.latest);
    reconcile(this.tiles, names, (name) => name, (name) => this.tile(name), (element, name) => this.paintTile(element, name));
    if (this.range === "live") this.draw();
    if (!names.length && !this.windows.length) put(this.figure, nothing("No telemetry yet."));
  }

  tile(name) {
    const value = make("b");
    const button = make("button", { type: "button", class: "metric", "data-metric": name, onclick: () => this.toggle(name) },
      make("span", { title: metricName(name) }, metricName(name)), value, make("small", {}, unitOf(name) && ` ${unitOf(name)}`));
    button.value_ = value;
    return button;
  }

  paintTile(element, name) {
    setText(element.value_, measure(this.latest[name]));
    const at = this.metrics.indexOf(name);
    setAttribute(element, "aria-pressed", String(at >= 0));
    element.className = `metric ${at >= 0 ? `k${at + 1}` : ""}`.trim();
  }

  toggle(name) {
    const chosen = this.metrics.includes(name) ? this.metrics.filter((each) => each !== name) : [...this.metrics, name].slice(-CHOSEN_MAX);
    if (!chosen.length) return;
    this.metrics = chosen;
    for (const element of this.tiles.children) this.paintTile(element, element.dataset.metric);
    this.onMetric(chosen[0]);
    this.draw();
  }

  choose(name) {
    this.metrics = [name];
    this.history.refresh();
    this.onMetric(name);
  }

  draw() {
    if (!this.metrics.length) return;
    const { spanMs } = RANGES[this.range];
    const live = this.range === "live";
    const withBand = this.metrics.length === 1 && !live;
    const [xs, byMetric] = lines(this.windows, live ? this.points.points : [], this.metrics, { withBand, fromMs: Date.now() - spanMs });
    if (!xs.length) {
      put(this.figure, nothing(live ? "Waiting for the first value." : "No window of this time is known."));
      this.chart?.end();
      this.chart = null;
      return;
    }
    if (!this.chart) {
      put(this.figure);
      this.chart = new Chart(this.figure, { label: `Values of ${this.serial}`, height: 280, leastSpanS: 60, signal: this.signal });
    }
    this.chart.show(xs, this.metrics.map((metric) => ({ name: metricName(metric), unit: unitOf(metric), ...byMetric[metric] })));
  }
}
