// Statuses, severities and states: colour, shape and word together.

import { make, setAttribute, setText } from "../dom.js";
import { clock, count } from "../format.js";
import {
  ALARM_LABELS, ALARM_MARKS, SEVERITY_LABELS, SEVERITY_MARKS, STATUS_LABELS, STATUS_MARKS, knownAlarmState, knownSeverity, knownStatus, statusOf,
} from "../words.js";

// Why people are not told of a device's changes one by one, in words; empty when they are.
export function untold(device) {
  const { maintenance, flapping } = device;
  const window = maintenance ? `Maintenance window until ${clock(maintenance.until, false)}: ${maintenance.reason}` : "";
  const often = flapping ? `Flapping: ${count(flapping.changes)} changes since ${clock(flapping.since)}` : "";
  return [window, often].filter(Boolean).join(". ");
}

// A dashed badge is that of a device whose changes are not told one by one.
export function paintStatus(badge, device) {
  const status = statusOf(device);
  const why = untold(device);
  setAttribute(badge, "class", `badge s-${status}${why && " untold"}`);
  if (!badge.firstChild) badge.append(make("span", { class: "mark", "aria-hidden": "true" }), make("span"), make("span", { class: "sr" }));
  const [mark, label, note] = badge.children;
  setText(mark, STATUS_MARKS[status]);
  setText(label, STATUS_LABELS[status]);
  setText(note, why && ` ${why}`);
  setAttribute(badge, "title", why || null);
}

export function plainStatus(name) {
  const status = knownStatus(name);
  return make("span", { class: `badge s-${status}` }, make("span", { class: "mark", "aria-hidden": "true" }, STATUS_MARKS[status]), STATUS_LABELS[status]);
}

export function severityBadge(name) {
  const severity = knownSeverity(name);
  const mark = make("span", { class: "mark", "aria-hidden": "true" }, SEVERITY_MARKS[severity]);
  return make("span", { class: `badge v-${severity}` }, mark, SEVERITY_LABELS[severity]);
}

// The shape alone, where the words stand beside it.
export function severityMark(name) {
  const severity = knownSeverity(name);
  return make("span", { class: `sev v-${severity}`, role: "img", "aria-label": SEVERITY_LABELS[severity] }, SEVERITY_MARKS[severity]);
}

export function alarmBadge(name) {
  const state = knownAlarmState(name);
  return make("span", { class: `badge a-${state}` }, make("span", { class: "mark", "aria-hidden": "true" }, ALARM_MARKS[state]), ALARM_LABELS[state]);
}
