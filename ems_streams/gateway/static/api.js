// Calls to the gateway: JSON with a deadline; an error carries the problem document's own words.

const DEADLINE_MS = 8000;
const PAGE = 500;

export const getJson = (path, deadlineMs = DEADLINE_MS) => ask(path, { headers: { Accept: "application/json" } }, deadlineMs);

export function postJson(path, body, deadlineMs = DEADLINE_MS) {
  const headers = { Accept: "application/json", "Content-Type": "application/json" };
  return ask(path, { method: "POST", headers, body: JSON.stringify(body) }, deadlineMs);
}

async function ask(path, options, deadlineMs) {
  const response = await fetch(path, { ...options, signal: AbortSignal.timeout(deadlineMs) });
  const body = await response.json().catch(() => null);
  if (response.status === 401) location.assign(`/login.html?next=${encodeURIComponent(location.pathname + location.search)}`);
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

// Dead letters may be many: the gateway bounds what it reads, and says when a page is not the last.
const LETTERS_DEADLINE_MS = 25000;
export const deadLetterTopics = () => getJson("/api/v1/dlt", LETTERS_DEADLINE_MS);
export const deadLetters = (topic, query) => getJson(`/api/v1/dlt/${encodeURIComponent(topic)}?${query}`, LETTERS_DEADLINE_MS);
export const deadLetter = (letter) => getJson(`/api/v1/dlt/${encodeURIComponent(letter.topic)}/${letter.partition}/${letter.offset}`, LETTERS_DEADLINE_MS);
export const redriveLetters = (topic, body) => postJson(`/api/v1/dlt/${encodeURIComponent(topic)}/redrive`, body, LETTERS_DEADLINE_MS);
export const redrive = (id) => getJson(`/api/v1/redrives/${encodeURIComponent(id)}`, LETTERS_DEADLINE_MS);
