// Elements are made of nodes and text only: what devices say is never read as markup.

export const byId = (id) => document.getElementById(id);

export function make(tag, attributes = {}, ...children) {
  return fill(document.createElement(tag), attributes, children);
}

export function makeSvg(tag, attributes = {}, ...children) {
  return fill(document.createElementNS("http://www.w3.org/2000/svg", tag), attributes, children);
}

function fill(element, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (value !== null && value !== undefined) element.setAttribute(name, String(value));
  }
  element.append(...children.filter((child) => child !== null && child !== undefined));
  return element;
}

export function setText(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

export function setAttribute(element, name, value) {
  if (element.getAttribute(name) !== value) element.setAttribute(name, value);
}

export const STATUSES = ["ONLINE", "OFFLINE", "MAINTENANCE", "ERROR", "UNKNOWN"];
// A shape beside the colour, for those who do not tell colours apart.
export const MARKS = { ONLINE: "●", OFFLINE: "○", MAINTENANCE: "◆", ERROR: "▲", UNKNOWN: "?" };
export const SEVERITY_MARKS = { INFO: "ℹ", WARNING: "◆", CRITICAL: "▲" };
export const LABELS = { ONLINE: "Online", OFFLINE: "Offline", MAINTENANCE: "Maintenance", ERROR: "Error", UNKNOWN: "Unknown" };

export const statusOf = (device) => (STATUSES.includes(device.status) ? device.status : "UNKNOWN");

// Why people are not told of a device's changes one by one, in words; empty when they are.
export function untold(device) {
  const { maintenance, flapping } = device;
  const window = maintenance ? `Maintenance window until ${clock(maintenance.until, false)}: ${maintenance.reason}` : "";
  const often = flapping ? `Flapping: ${count(flapping.changes)} changes since ${clock(flapping.since)}` : "";
  return [window, often].filter(Boolean).join(". ");
}

// A dashed badge is that of a device whose changes are not told one by one.
export function paintBadge(badge, device) {
  const status = statusOf(device);
  const why = untold(device);
  setAttribute(badge, "class", `badge s-${status}${why && " untold"}`);
  if (!badge.firstChild) badge.append(make("span", { class: "mark", "aria-hidden": "true" }), make("span"), make("span", { class: "sr" }));
  const [mark, label, note] = badge.children;
  setText(mark, MARKS[status]);
  setText(label, LABELS[status]);
  setText(note, why);
  setAttribute(badge, "title", why);
}

// SOLAR_INVERTER -> Solar inverter, EV_CHARGER -> EV charger.
export function typeName(type) {
  if (!type) return "–";
  const words = type.split("_").map((word) => (word.length <= 2 ? word : word.toLowerCase()));
  words[0] = words[0].charAt(0).toUpperCase() + words[0].slice(1);
  return words.join(" ");
}

const numbers = [0, 1, 2, 3].map((digits) => new Intl.NumberFormat("en", { minimumFractionDigits: digits, maximumFractionDigits: digits }));
const whole = new Intl.NumberFormat("en", { maximumFractionDigits: 0 });

export function number(value, digits = 1) {
  return typeof value === "number" && Number.isFinite(value) ? numbers[digits].format(value) : "–";
}

export const count = (value) => (typeof value === "number" ? whole.format(value) : "–");

export function power(kw) {
  if (typeof kw !== "number") return ["–", ""];
  return Math.abs(kw) >= 10000 ? [number(kw / 1000, 1), "MW"] : [number(kw, Math.abs(kw) < 1000 ? 1 : 0), "kW"];
}

export function ago(iso, now) {
  const at = Date.parse(iso ?? "");
  if (Number.isNaN(at)) return "never";
  const seconds = Math.max(0, Math.round((now - at) / 1000));
  if (seconds < 2) return "now";
  if (seconds < 60) return `${seconds} s ago`;
  if (seconds < 3600) return `${Math.floor(seconds / 60)} min ago`;
  if (seconds < 86400) return `${Math.floor(seconds / 3600)} h ago`;
  return `${Math.floor(seconds / 86400)} d ago`;
}

export function clock(iso, withSeconds = true) {
  const at = new Date(iso);
  if (Number.isNaN(at.getTime())) return "";
  const time = at.toLocaleTimeString([], { hour: "2-digit", minute: "2-digit", second: withSeconds ? "2-digit" : undefined, hourCycle: "h23" });
  return at.toDateString() === new Date().toDateString() ? time : `${at.toLocaleDateString([], { month: "short", day: "numeric" })} ${time}`;
}
