// The one place that talks to the gateway: JSON with a deadline; an error carries the words of the problem document.

const DEADLINE_MS = 8000;
// Dead letters may be many: the gateway bounds what it reads, and says when a page is not the last.
const LETTERS_DEADLINE_MS = 25000;
const LOGIN = "/login.html";

export class ApiError extends Error {
  constructor(status, problem, retryAfterS) {
    super(problem?.detail || problem?.title || `The server answered with status ${status}.`);
    this.name = "ApiError";
    this.status = status;
    this.problem = problem;
    this.retryAfterS = retryAfterS;
  }
}

const segment = encodeURIComponent;

export function query(parameters) {
  const wanted = Object.entries(parameters).filter(([, value]) => value !== null && value !== undefined && value !== "");
  return wanted.length ? `?${new URLSearchParams(wanted)}` : "";
}

async function ask(path, { method = "GET", body, headers = {}, signal, deadlineMs = DEADLINE_MS, accepted = [] } = {}) {
  const deadline = AbortSignal.timeout(deadlineMs);
  const options = {
    method,
    headers: { Accept: "application/json", ...(body === undefined ? {} : { "Content-Type": "application/json" }), ...headers },
    body: body === undefined ? undefined : JSON.stringify(body),
    signal: signal ? AbortSignal.any([signal, deadline]) : deadline,
  };
  const response = await sent(path, options, deadline, deadlineMs);
  const answer = response.status === 204 ? null : await response.json().catch(() => null);
  if (response.status === 401 && path !== "/api/v1/session") logIn();
  if (!response.ok && !accepted.includes(response.status)) throw new ApiError(response.status, answer, Number(response.headers.get("Retry-After")) || null);
  return answer;
}

async function sent(path, options, deadline, deadlineMs) {
  try {
    return await fetch(path, options);
  } catch (error) {
    if (deadline.aborted) throw new ApiError(0, { detail: `The server has not answered within ${deadlineMs / 1000} s.` });
    if (error.name === "AbortError") throw error;
    throw new ApiError(0, { detail: "The server cannot be reached." });
  }
}

// Only when an answer says so: a server without authentication has no page to log in.
export function logIn() {
  const back = location.pathname + location.search;
  location.assign(`${LOGIN}?next=${segment(back)}`);
}

const get = (path, options) => ask(path, options);
const post = (path, body, options) => ask(path, { method: "POST", body, ...options });

// A plain random name for a request, so that sending it twice is doing it once; `randomUUID` exists on HTTPS and localhost alone.
export function newKey() {
  return [...crypto.getRandomValues(new Uint8Array(16))].map((byte) => byte.toString(16).padStart(2, "0")).join("");
}

export const session = () => get("/api/v1/session");
export const logOut = () => ask("/api/v1/session", { method: "DELETE" });

export const sites = (signal) => get("/api/v1/sites", { signal });
export const siteWindows = (id, parameters, signal) => get(`/api/v1/sites/${segment(id)}/aggregates${query(parameters)}`, { signal });
export const devices = (parameters, signal) => get(`/api/v1/devices${query(parameters)}`, { signal });
export const device = (serial, signal) => get(`/api/v1/devices/${segment(serial)}`, { signal });
export const deviceWindows = (serial, parameters, signal) => get(`/api/v1/devices/${segment(serial)}/aggregates${query(parameters)}`, { signal });
export const statusEvents = (serial, parameters, signal) => get(`/api/v1/devices/${segment(serial)}/status-events${query(parameters)}`, { signal });
export const explanation = (serial, signal) => get(`/api/v1/devices/${segment(serial)}/explain`, { signal });

export const alarms = (parameters, signal) => get(`/api/v1/alarms${query(parameters)}`, { signal });
export const acknowledge = (id, body) => post(`/api/v1/alarms/${segment(id)}/ack`, body);
export const notifications = (parameters, signal) => get(`/api/v1/notifications${query(parameters)}`, { signal });

export const commandCatalogue = (signal) => get("/api/v1/command-catalogue", { signal });
export const commands = (serial, limit, signal) => get(`/api/v1/devices/${segment(serial)}/commands${query({ limit })}`, { signal });
export const sendCommand = (serial, body, key) => post(`/api/v1/devices/${segment(serial)}/commands`, body, { headers: { "Idempotency-Key": key } });
export const cancelCommand = (id, body) => post(`/api/v1/commands/${segment(id)}/cancel`, body);

export const maintenanceWindows = (signal) => get("/api/v1/maintenance-windows", { signal });
export const setMaintenance = (body) => post("/api/v1/maintenance-windows", body);
export const endMaintenance = (id) => ask(`/api/v1/maintenance-windows/${segment(id)}`, { method: "DELETE" });

export const pipeline = (signal) => get("/api/v1/pipeline", { signal });
// A gateway that is not ready answers 503, and says what is amiss all the same.
export const readiness = (signal) => get("/readyz", { signal, accepted: [503] });

const letters = { deadlineMs: LETTERS_DEADLINE_MS };
export const deadLetterTopics = (signal) => get("/api/v1/dlt", { ...letters, signal });
export const deadLetters = (topic, parameters, signal) => get(`/api/v1/dlt/${segment(topic)}${query(parameters)}`, { ...letters, signal });
export const deadLetter = (letter) => get(`/api/v1/dlt/${segment(letter.topic)}/${letter.partition}/${letter.offset}`, letters);
export const redriveLetters = (topic, body) => post(`/api/v1/dlt/${segment(topic)}/redrive`, body, letters);
export const redrive = (id) => get(`/api/v1/redrives/${segment(id)}`, letters);
