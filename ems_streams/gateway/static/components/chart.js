// Lines over time, drawn by uPlot on a canvas; what they show is also said in words, since a canvas says nothing.

import { make, put, setText } from "../dom.js";
import { clock, measure, number } from "../format.js";

const VENDOR = "/static/vendor/uplot";
const INKS = ["k1", "k2", "k3", "k4"];
let loaded = null;

// Not before there is a chart: most pages have none.
function loadPlot() {
  loaded ??= new Promise((resolve, reject) => {
    document.head.append(make("link", { rel: "stylesheet", href: `${VENDOR}/uPlot.min.css` }));
    const script = make("script", { src: `${VENDOR}/uPlot.iife.min.js`, onload: () => resolve(window.uPlot) });
    script.addEventListener("error", () => {
      // The next chart tries again: the gateway may have been away.
      loaded = null;
      script.remove();
      reject(new Error("The chart could not be loaded."));
    });
    document.head.append(script);
  });
  return loaded;
}

// The colour that a class gives, as a canvas needs it.
function inkOf(host, name, alpha = 1) {
  const probe = make("span", { class: name });
  host.append(probe);
  const [red, green, blue] = getComputedStyle(probe).color.match(/[\d.]+/g);
  probe.remove();
  return `rgba(${red}, ${green}, ${blue}, ${alpha})`;
}

// As many digits as it takes to tell the marks of an axis apart that are so far from each other.
export function digitsOf(step) {
  return step.toFixed(6).replace(/0+$/, "").split(".")[1].length;
}

// "Power: from 1.2 to 3.4 kW, mean 2.1, last 2.5 at 12:30" for each line.
export function inWords(xs, series) {
  const known = series.flatMap((each) => {
    const values = each.values.filter((value) => value !== null && value !== undefined);
    if (!values.length) return [];
    const mean = values.reduce((sum, value) => sum + value, 0) / values.length;
    const at = each.values.findLastIndex((value) => value !== null && value !== undefined);
    const [low, high] = [Math.min(...values), Math.max(...values)];
    const say = each.say ?? measure;
    return [`${each.name}: from ${say(low)} to ${say(high)} ${each.unit}`.trim() + `, mean ${measure(mean)}, last ${say(values.at(-1))} at ${clock(xs[at] * 1000, false)}`];
  });
  return known.length ? `${known.join(". ")}.` : "No values yet.";
}

/** A chart in `host`: `show(xs, series)` with seconds and lines `{name, unit, values, low, high, say}`; low and high, if given, are drawn as a band; `say` puts a value in words. */
export class Chart {
  constructor(host, { label, height = 240, fromZero = false, leastSpanS = 0, signal }) {
    Object.assign(this, { label, height, fromZero, leastSpanS, ending: new AbortController() });
    this.canvas = make("div", { class: "chart", role: "img" });
    this.legend = make("p", { class: "chart-legend", "aria-hidden": "true" });
    host.append(this.canvas, this.legend);
    this.watcher = new ResizeObserver(() => this.resize());
    this.watcher.observe(this.canvas);
    addEventListener("themechange", () => this.draw(true), { signal: this.ending.signal });
    signal.addEventListener("abort", () => this.end(), { signal: this.ending.signal });
  }

  async show(xs, series) {
    this.xs = xs;
    this.series = series;
    this.canvas.setAttribute("aria-label", `${this.label}. ${inWords(xs, series)}`);
    try {
      this.Plot ??= await loadPlot();
    } catch (error) {
      setText(this.legend, error.message);
      return;
    }
    if (!this.ending.signal.aborted) this.draw(false);
  }

  get data() {
    return [this.xs, ...this.series.flatMap((each) => (each.low ? [each.values, each.high, each.low] : [each.values]))];
  }

  draw(anew) {
    if (!this.Plot || !this.xs) return;
    const shape = JSON.stringify(this.series.map((each) => [each.name, each.unit, Boolean(each.low)]));
    if (this.plot && !anew && shape === this.shape) {
      this.plot.setData(this.data);
    } else {
      this.plot?.destroy();
      this.shape = shape;
      this.plot = new this.Plot(this.options(), this.data, this.canvas);
    }
    this.showLegend(null);
  }

  options() {
    const units = [...new Set(this.series.map((each) => each.unit))];
    const axisInk = inkOf(this.canvas, "axis-ink");
    const grid = { stroke: inkOf(this.canvas, "grid-ink"), width: 1 };
    const font = `12px ${getComputedStyle(document.body).fontFamily}`;
    const axis = { stroke: axisInk, grid, ticks: grid, font };
    const sides = units.slice(0, 2).map((unit, at) => ({
      ...axis, scale: `y:${unit}`, side: at ? 1 : 3, size: (_, marks) => 22 + 7 * Math.max(4, ...(marks ?? []).map((mark) => mark.length)), grid: at ? { show: false } : grid, values: (_, marks, __, ___, step) => marks.map((mark) => `${number(mark, digitsOf(step))} ${unit}`.trim()),
    }));
    return {
      width: this.width(), height: this.height, legend: { show: false }, padding: [12, units.length > 1 ? 8 : 26, 0, 0],
      cursor: { y: false, points: { size: 7 } }, series: [{}, ...this.lines()], bands: this.bands(),
      scales: { x: { time: true, range: (_, low, high) => [Math.min(low, high - this.leastSpanS), high] }, ...Object.fromEntries(units.map((unit) => [`y:${unit}`, { range: (_, low, high) => roomy(low, high, this.fromZero) }])) },
      axes: [{ ...axis, space: 70, values: (_, marks, __, ___, step) => marks.map((mark) => (step >= 86400 ? new Date(mark * 1000).toLocaleDateString([], { month: "short", day: "numeric" }) : clock(mark * 1000, step < 60).split(", ").at(-1))) }, ...sides],
      hooks: { setCursor: [(plot) => this.showLegend(plot.cursor.idx ?? null)] },
    };
  }

  lines() {
    return this.series.flatMap((each, at) => {
      const stroke = inkOf(this.canvas, INKS[at % INKS.length]);
      const line = { label: each.name, scale: `y:${each.unit}`, stroke, width: 2, points: { show: (plot, line) => plot.data[line].length < 3 }, spanGaps: false };
      const edge = { scale: `y:${each.unit}`, stroke: "transparent", width: 0, points: { show: false } };
      return each.low ? [line, edge, edge] : [line];
    });
  }

  bands() {
    const bands = [];
    let at = 1;
    this.series.forEach((each, index) => {
      if (each.low) bands.push({ series: [at + 1, at + 2], fill: inkOf(this.canvas, INKS[index % INKS.length], 0.16) });
      at += each.low ? 3 : 1;
    });
    return bands;
  }

  showLegend(index) {
    const at = index ?? this.xs.length - 1;
    if (!this.xs.length) return setText(this.legend, "");
    const lines = this.series.map((each, number) => make("span", {}, make("span", { class: `swatch ${INKS[number % INKS.length]}` }), `${each.name} `,
      make("b", {}, `${(each.say ?? measure)(each.values[at])} ${each.unit}`.trim()), each.low ? ` (${measure(each.low[at])} to ${measure(each.high[at])})` : null));
    return put(this.legend, make("span", {}, clock(this.xs[at] * 1000)), ...lines);
  }

  width() {
    return Math.max(120, Math.floor(this.canvas.clientWidth));
  }

  resize() {
    const width = this.width();
    if (this.plot && Math.abs(this.plot.width - width) > 1) this.plot.setSize({ width, height: this.height });
  }

  end() {
    this.ending.abort();
    this.watcher.disconnect();
    this.plot?.destroy();
    this.plot = null;
  }
}

// Some room above and below, but none below zero where that is the least.
function roomy(low, high, onZero) {
  if (low === null || high === null) return [0, 1];
  const [from, to] = onZero ? [Math.min(0, low), Math.max(0, high)] : [low, high];
  const room = (to - from || Math.abs(to) || 1) * 0.08;
  return [onZero && from === 0 ? 0 : from - room, to + room];
}
