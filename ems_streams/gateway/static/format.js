// Numbers and times for people, in the viewer's language and zone. What is not known is a dash.

const DASH = "–";
const formats = new Map();

function numberFormat(least, most) {
  const key = `${least}:${most}`;
  if (!formats.has(key)) formats.set(key, new Intl.NumberFormat(undefined, { minimumFractionDigits: least, maximumFractionDigits: most }));
  return formats.get(key);
}

const isNumber = (value) => typeof value === "number" && Number.isFinite(value);

export const number = (value, digits = 1) => (isNumber(value) ? numberFormat(digits, digits).format(value) : DASH);
// All its digits, for what is about to be sent.
export const exact = (value) => (isNumber(value) ? numberFormat(0, 20).format(value) : DASH);
export const count = (value) => (isNumber(value) ? numberFormat(0, 0).format(value) : DASH);

// Digits that fit the size of a value: 0.123, 4.56, 78.9, 1,234.
export function measure(value) {
  if (!isNumber(value)) return DASH;
  const size = Math.abs(value);
  const digits = size >= 1000 ? 0 : size >= 10 || size === 0 ? 1 : size >= 1 ? 2 : 3;
  return numberFormat(size >= 10 && size < 1000 ? 1 : 0, digits).format(value);
}

function scaled(value, small, large) {
  if (!isNumber(value)) return [DASH, ""];
  return Math.abs(value) >= 10000 ? [number(value / 1000, 1), large] : [number(value, Math.abs(value) < 1000 ? 1 : 0), small];
}

export const power = (kw) => scaled(kw, "kW", "MW");
export const energy = (kwh) => scaled(kwh, "kWh", "MWh");

// Neither 0 % nor 100 % is said of what is only nearly so.
export function percent(share) {
  if (!isNumber(share)) return DASH;
  if (share > 0 && share < 0.001) return `< ${number(0.1)} %`;
  if (share > 0.999 && share < 1) return `> ${number(99.9)} %`;
  const nearly = (share > 0 && share < 0.1) || (share > 0.99 && share < 1);
  return `${number(share * 100, nearly ? 1 : 0)} %`;
}

export function ago(iso, nowMs) {
  const at = Date.parse(iso ?? "");
  if (Number.isNaN(at)) return "never";
  const seconds = Math.round((nowMs - at) / 1000);
  if (seconds < -60) return `in ${duration(-seconds)}`;
  return seconds < 2 ? "now" : `${duration(seconds)} ago`;
}

// The greatest unit alone: 45 s, 12 min, 3 h, 2 d.
export function duration(seconds) {
  if (!isNumber(seconds)) return DASH;
  const whole = Math.max(0, Math.floor(seconds));
  if (whole < 60) return `${whole} s`;
  if (whole < 3600) return `${Math.floor(whole / 60)} min`;
  if (whole < 86400) return `${Math.floor(whole / 3600)} h`;
  return `${Math.floor(whole / 86400)} d`;
}

const clocks = {
  time: new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit", second: "2-digit", hourCycle: "h23" }),
  short: new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit", hourCycle: "h23" }),
  day: new Intl.DateTimeFormat(undefined, { month: "short", day: "numeric" }),
  year: new Intl.DateTimeFormat(undefined, { year: "numeric", month: "short", day: "numeric" }),
};

// A time of today by its clock, another one with its day.
export function clock(iso, withSeconds = true, now = new Date()) {
  const at = new Date(iso ?? NaN);
  if (Number.isNaN(at.getTime())) return DASH;
  const time = (withSeconds ? clocks.time : clocks.short).format(at);
  if (at.toDateString() === now.toDateString()) return time;
  return `${(at.getFullYear() === now.getFullYear() ? clocks.day : clocks.year).format(at)}, ${time}`;
}

// For titles: the instant in UTC.
export function utc(iso) {
  const at = new Date(iso ?? NaN);
  return Number.isNaN(at.getTime()) ? "" : `${at.toISOString().slice(0, 19).replace("T", " ")} UTC`;
}

// Midnight of the viewer's day, as an instant.
export function startOfToday(now = new Date()) {
  return new Date(now.getFullYear(), now.getMonth(), now.getDate());
}

export const plural = (value, one, many = `${one}s`) => `${count(value)} ${value === 1 ? one : many}`;

export function bytes(value) {
  if (!isNumber(value)) return DASH;
  if (value < 1024) return `${value} B`;
  return value < 1024 * 1024 ? `${number(value / 1024)} KiB` : `${number(value / 1024 / 1024)} MiB`;
}
