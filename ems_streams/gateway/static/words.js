// What statuses, severities, kinds and metrics are called, and the shapes that stand beside their colours.

export const STATUSES = ["ONLINE", "OFFLINE", "MAINTENANCE", "ERROR", "UNKNOWN"];
export const STATUS_MARKS = { ONLINE: "●", OFFLINE: "○", MAINTENANCE: "◆", ERROR: "▲", UNKNOWN: "?" };
export const STATUS_LABELS = { ONLINE: "Online", OFFLINE: "Offline", MAINTENANCE: "Maintenance", ERROR: "Error", UNKNOWN: "Unknown" };

export const SEVERITIES = ["CRITICAL", "WARNING", "INFO"];
export const SEVERITY_MARKS = { INFO: "ℹ", WARNING: "◆", CRITICAL: "▲" };
export const SEVERITY_LABELS = { INFO: "Info", WARNING: "Warning", CRITICAL: "Critical" };

export const ALARM_MARKS = { RAISED: "▲", ACKNOWLEDGED: "✓", CLEARED: "○" };
export const ALARM_LABELS = { RAISED: "Raised", ACKNOWLEDGED: "Acknowledged", CLEARED: "Over" };

export const KINDS = {
  STATUS_CHANGE: "Status",
  FLAPPING_STARTED: "Flapping",
  FLAPPING_ENDED: "Flapping ended",
  ALARM_RAISED: "Alarm",
  ALARM_ESCALATED: "Alarm escalated",
  ALARM_ACKNOWLEDGED: "Alarm acknowledged",
  ALARM_CLEARED: "Alarm over",
  COMMAND_UPDATE: "Command",
};

const oneOf = (known, otherwise) => (value) => (typeof value === "string" && Object.hasOwn(known, value) ? value : otherwise);
export const statusOf = (device) => oneOf(STATUS_LABELS, "UNKNOWN")(device?.status);
export const knownStatus = oneOf(STATUS_LABELS, "UNKNOWN");
export const knownSeverity = oneOf(SEVERITY_LABELS, "INFO");
export const knownAlarmState = oneOf(ALARM_LABELS, "RAISED");

// What a notification is of; one of a kind that this page does not know is shown by its title alone.
export function kindOf(notification) {
  if (notification.data?.maintenanceWindowId) return "After maintenance";
  return typeof notification.kind === "string" && Object.hasOwn(KINDS, notification.kind) ? KINDS[notification.kind] : "";
}

// What a message says beyond its title, which stands above it. One that does not begin as ours do is left whole.
export function beyondTitle(title, message) {
  const text = String(message ?? "");
  const rest = text.startsWith(`${title} (site `) ? text.slice(title.length) : "";
  const where = /^ \(site (-?\d+)\)(?=[:.])/.exec(rest);
  return where ? siteName(where[1]) + rest.slice(where[0].length) : text;
}

const METRIC_NAMES = { powerKw: "Power", energyKwh: "Energy", soc: "State of charge", stateOfCharge: "State of charge", rssi: "Signal" };
const UNITS = {
  powerKw: "kW", voltage: "V", current: "A", temperature: "°C", efficiency: "%", energyKwh: "kWh", soc: "%", stateOfCharge: "%", frequency: "Hz", rssi: "dBm", irradiance: "W/m²",
};
const SUFFIXES = [["Kwh", "kWh"], ["Kw", "kW"], ["Percent", "%"], ["Hz", "Hz"], ["Celsius", "°C"]];

export function unitOf(metric) {
  if (Object.hasOwn(UNITS, metric)) return UNITS[metric];
  return SUFFIXES.find(([suffix]) => metric.endsWith(suffix))?.[1] ?? "";
}

// chargeState -> Charge state.
export function metricName(metric) {
  if (Object.hasOwn(METRIC_NAMES, metric)) return METRIC_NAMES[metric];
  const suffix = SUFFIXES.find(([each]) => metric.endsWith(each) && metric !== each)?.[0] ?? "";
  const words = metric.slice(0, metric.length - suffix.length).replace(/([a-z0-9])([A-Z])/g, "$1 $2").replaceAll("_", " ").toLowerCase();
  return words.charAt(0).toUpperCase() + words.slice(1);
}

// SOLAR_INVERTER -> Solar inverter, EV_CHARGER -> EV charger.
export function typeName(type) {
  if (typeof type !== "string" || !type) return "–";
  const words = type.split("_").map((word) => (word.length <= 2 ? word : word.toLowerCase()));
  words[0] = words[0].charAt(0).toUpperCase() + words[0].slice(1);
  return words.join(" ");
}

export const siteName = (id) => (id === null || id === undefined ? "No site" : `Site ${id}`);
export const deviceHref = (serial) => `/devices/${encodeURIComponent(serial)}`;
export const siteHref = (id) => `/devices?site=${encodeURIComponent(id)}`;
