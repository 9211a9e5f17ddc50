// Energy since midnight, and power of the last hour, from the closed windows of the sites: asked for one site after another, and not often.

import { siteWindows } from "./api.js";
import { startOfToday } from "./format.js";

const AT_ONCE = 4;
export const SITES_MAX = 100;
const MINUTES = 60;
// A day may have 25 hours, and the newest quarter is open.
const QUARTERS = 25 * 4 + 1;
const MINUTE_S = 60;
const COVERED_LEAST = 0.5;
const RECENT = 5;

// Sum and end of closed windows that lie back to back from a time on; null when there is none.
export function sumOf(windows, fromMs) {
  let kwh = null;
  let endMs = fromMs;
  const closed = windows.filter((each) => each.revision > 0 && Date.parse(each.windowStart) >= fromMs);
  for (const each of closed) {
    if (typeof each.energyKwh === "number") kwh = (kwh ?? 0) + each.energyKwh;
    endMs = Math.max(endMs, Date.parse(each.windowEnd));
  }
  return { kwh, endMs };
}

// Quarters of an hour since midnight, and minutes after the last of them.
export function today(quarters, minutes, fromMs) {
  const whole = sumOf(quarters, fromMs);
  const rest = sumOf(minutes, whole.endMs);
  const kwh = whole.kwh === null && rest.kwh === null ? null : (whole.kwh ?? 0) + (rest.kwh ?? 0);
  return { kwh, endMs: Math.max(whole.endMs, rest.endMs) };
}

async function energyOfSite(id, signal) {
  const from = startOfToday();
  const [quarters, minutes] = await Promise.all([
    siteWindows(id, { window: "15m", from: from.toISOString(), limit: QUARTERS }, signal),
    siteWindows(id, { window: "1m", limit: MINUTES + 2 }, signal),
  ]);
  return { ...today(quarters.windows, minutes.windows, from.getTime()), minutes: minutes.windows.filter((each) => each.revision > 0) };
}

/** {bySite: Map of id to {kwh, endMs}, failed: how many sites did not answer, left: how many were not asked, power: [[seconds], [kW]]}. */
export async function energyToday(sites, signal) {
  const asked = [...sites].sort((one, two) => two.devices - one.devices).slice(0, SITES_MAX).map((site) => site.siteId);
  const bySite = new Map();
  const minutes = new Map();
  let failed = 0;
  const waiting = [...asked];
  const work = async () => {
    for (let id = waiting.shift(); id !== undefined; id = waiting.shift()) {
      try {
        const found = await energyOfSite(id, signal);
        bySite.set(id, { kwh: found.kwh, endMs: found.endMs });
        for (const each of found.minutes) addMinute(minutes, each);
      } catch (error) {
        if (signal.aborted) throw error;
        // 404: a site of which no window is closed yet.
        if (error.status !== 404) failed += 1;
      }
    }
  };
  await Promise.all(Array.from({ length: AT_ONCE }, work));
  return { bySite, failed, left: sites.length - asked.length, power: powerOf(minutes) };
}

function addMinute(minutes, window) {
  // Of a minute that was mostly not measured, the energy says nothing about the power.
  if (typeof window.energyKwh !== "number" || window.energyCoveredShare < COVERED_LEAST) return;
  const at = Date.parse(window.windowStart) / 1000;
  const known = minutes.get(at) ?? { kwh: 0, sites: 0 };
  minutes.set(at, { kwh: known.kwh + window.energyKwh, sites: known.sites + 1 });
}

// Mean power per minute, in kW, with gaps where no minute was closed.
export function powerOf(minutes) {
  const known = [...minutes.keys()].sort((one, two) => one - two).slice(-MINUTES);
  // The newest minutes are not closed at every site yet: without them it would look as if the fleet gave less.
  const sites = Math.max(...known.slice(-RECENT).map((at) => minutes.get(at).sites));
  while (known.length && minutes.get(known.at(-1)).sites < sites) known.pop();
  if (!known.length) return [[], []];
  const xs = [];
  for (let at = known[0]; at <= known.at(-1); at += MINUTE_S) xs.push(at);
  return [xs, xs.map((at) => (minutes.has(at) ? minutes.get(at).kwh * MINUTES : null))];
}
