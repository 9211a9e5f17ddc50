// The values of a device over time: closed windows as history, and what it says now appended to them; bounded however long it is open.

import { deviceWindows } from "../api.js";

export const LIVE_POINTS_MAX = 1800;

// Kind of the windows, how many of them, and how far back the chart goes.
export const RANGES = {
  live: { label: "Live", window: "1m", limit: 30, spanMs: 15 * 60_000 },
  hour: { label: "1 h", window: "1m", limit: 60, spanMs: 3_600_000 },
  day: { label: "24 h", window: "15m", limit: 96, spanMs: 86_400_000 },
  week: { label: "7 d", window: "1h", limit: 168, spanMs: 7 * 86_400_000 },
  month: { label: "30 d", window: "1d", limit: 30, spanMs: 30 * 86_400_000 },
};

export async function readHistory(serial, range, signal) {
  const { window, limit, spanMs } = RANGES[range];
  const from = new Date(Date.now() - spanMs).toISOString();
  return deviceWindows(serial, { window, limit, from }, signal);
}

// What a device has said since the page was opened, newest last: one point for each time of its own.
export class LivePoints {
  constructor(limit = LIVE_POINTS_MAX) {
    this.limit = limit;
    this.points = [];
  }

  add(atMs, latest) {
    if (!Number.isFinite(atMs)) return false;
    const last = this.points.at(-1);
    if (last && atMs <= last.atMs) {
      if (atMs === last.atMs) last.latest = latest;
      return false;
    }
    this.points.push({ atMs, latest });
    if (this.points.length > this.limit) this.points.splice(0, this.points.length - this.limit);
    return true;
  }
}

// A mean is of a whole window, so it stands in its middle.
const middleOf = (window) => (Date.parse(window.windowStart) + Date.parse(window.windowEnd ?? window.windowStart)) / 2;

// Lines for the chart: [seconds, {metric: {values, low, high}}] out of windows and, behind them, live points.
export function lines(windows, points, metrics, { withBand, fromMs }) {
  const history = [...windows].filter((each) => Date.parse(each.windowStart) >= fromMs).sort((one, two) => Date.parse(one.windowStart) - Date.parse(two.windowStart));
  // A minute that is still open is what the live points are of.
  const firstLiveMs = points[0]?.atMs ?? Infinity;
  const old = history.filter((each) => middleOf(each) < firstLiveMs);
  const fresh = points.filter((each) => each.atMs >= fromMs);
  const xs = [...old.map((each) => middleOf(each) / 1000), ...fresh.map((each) => each.atMs / 1000)];
  const byMetric = Object.fromEntries(metrics.map((metric) => {
    const of = (statistic) => [...old.map((each) => each.metrics?.[metric]?.[statistic] ?? null), ...fresh.map((each) => each.latest[metric] ?? null)];
    return [metric, withBand ? { values: of("mean"), low: of("min"), high: of("max") } : { values: of("mean") }];
  }));
  return [xs, byMetric];
}
