// All devices, a page after the other, and choosing and sorting among them.

import { devices } from "./api.js";
import { statusOf, typeName } from "./words.js";
import { untold } from "./components/badges.js";

const PAGE = 500;
export const DEVICES_MAX = 20000;

// Calls `onPage(devices so far)` while they come; gives {devices, partitionsTotal, partitionsAnswered, cut}.
export async function allDevices({ site, status }, signal, onPage) {
  const found = [];
  let cursor = null;
  let total = 0;
  let answered = Infinity;
  do {
    const page = await devices({ limit: PAGE, site, status, cursor }, signal);
    found.push(...page.devices);
    total = page.partitionsTotal;
    answered = Math.min(answered, page.partitionsAnswered);
    cursor = page.nextCursor;
    if (cursor) onPage?.(found);
  } while (cursor && found.length < DEVICES_MAX);
  return { devices: found, partitionsTotal: total, partitionsAnswered: answered, cut: Boolean(cursor) };
}

const said = (device) => `${device.serialNumber} ${device.name ?? ""} site ${device.siteId} ${typeName(device.deviceType)} ${device.statusReason ?? ""} ${device.errorCode ?? ""} ${untold(device)}`.toLowerCase();

// Devices that have every word of the text, and are of the site, status and type.
export function chosen(list, { q = "", site = "", status = "", type = "" }) {
  const words = q.toLowerCase().split(/\s+/).filter(Boolean);
  return list.filter((device) =>
    (!status || statusOf(device) === status) && (!site || String(device.siteId) === site) && (!type || device.deviceType === type)
    && (!words.length || ((text) => words.every((word) => text.includes(word)))(said(device))));
}

const collator = new Intl.Collator(undefined, { numeric: true });
const KEYS = {
  serial: (device) => device.serialNumber,
  site: (device) => device.siteId ?? -1,
  type: (device) => device.deviceType ?? "",
  status: (device) => statusOf(device),
  power: (device) => (statusOf(device) === "OFFLINE" ? null : device.latest?.powerKw ?? null),
  seen: (device) => (device.lastSeen ? Date.parse(device.lastSeen) : null),
};

// `order` is the name of a column, with a minus for the greatest first. What is not known comes last either way.
export function sorted(list, order) {
  const down = order.startsWith("-");
  const column = down ? order.slice(1) : order;
  const key = Object.hasOwn(KEYS, column) ? KEYS[column] : KEYS.serial;
  const keyed = list.map((device) => [key(device), device]);
  keyed.sort(([one, first], [two, second]) => {
    if (one === null || two === null) return (one === null) - (two === null) || collator.compare(first.serialNumber, second.serialNumber);
    const by = typeof one === "number" ? one - two : collator.compare(one, two);
    return (down ? -by : by) || collator.compare(first.serialNumber, second.serialNumber);
  });
  return keyed.map(([, device]) => device);
}
