// Calls to the gateway: JSON with a deadline; an error carries the problem document's own words.

const DEADLINE_MS = 8000;
const PAGE = 500;

export async function getJson(path) {
  const response = await fetch(path, { signal: AbortSignal.timeout(DEADLINE_MS), headers: { Accept: "application/json" } });
  const body = await response.json().catch(() => null);
  if (!response.ok) {
    const error = new Error(body?.detail || body?.title || `status ${response.status}`);
    error.status = response.status;
    throw error;
  }
  return body;
}

export async function allDevices() {
  const devices = [];
  let cursor = null;
  let total = 0;
  let answered = Infinity;
  do {
    const query = new URLSearchParams({ limit: PAGE });
    if (cursor) query.set("cursor", cursor);
    const page = await getJson(`/api/v1/devices?${query}`);
    devices.push(...page.devices);
    total = page.partitionsTotal;
    answered = Math.min(answered, page.partitionsAnswered);
    cursor = page.nextCursor;
  } while (cursor);
  return { devices, total, answered };
}

export const device = (serial) => getJson(`/api/v1/devices/${encodeURIComponent(serial)}`);
export const aggregates = (serial) => getJson(`/api/v1/devices/${encodeURIComponent(serial)}/aggregates?window=1m&limit=30`);
export const pipeline = () => getJson("/api/v1/pipeline");
export const notifications = () => getJson("/api/v1/notifications?limit=100");
