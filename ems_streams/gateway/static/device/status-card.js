// How the status of a device went: a bar over time, and the changes with their reasons.

import { statusEvents } from "../api.js";
import { plainStatus } from "../components/badges.js";
import { card, failure, loading, nothing } from "../components/panels.js";
import { segments } from "../components/segments.js";
import { timeOf, withTimes } from "../components/time.js";
import { make, makeSvg, put, rebuild, setText } from "../dom.js";
import { clock, duration, percent } from "../format.js";
import { keepFresh } from "../poll.js";
import { STATUSES, STATUS_LABELS, knownStatus } from "../words.js";

const LIMIT = 200;
const LISTED = 12;
const SPANS = { hour: ["1 h", 3_600_000], day: ["24 h", 86_400_000], week: ["7 d", 7 * 86_400_000] };

// Stretches of one status each, oldest first, from `fromMs` to `toMs`. What was before the oldest change that is known is its previous status.
export function stretches(events, device, fromMs, toMs) {
  const changes = events.map((each) => ({ atMs: Date.parse(each.timestamp), status: knownStatus(each.newStatus), before: knownStatus(each.previousStatus) }));
  const sinceMs = Date.parse(device?.statusSince ?? "");
  const now = knownStatus(device?.status);
  // The live table is ahead of the history: what it says last is a change of its own.
  if (device && Number.isFinite(sinceMs) && !changes.some((each) => each.atMs >= sinceMs)) changes.push({ atMs: sinceMs, status: now, before: knownStatus(device.previousStatus) });
  changes.sort((one, two) => one.atMs - two.atMs);
  const found = [];
  let status = changes.findLast((each) => each.atMs <= fromMs)?.status ?? changes[0]?.before ?? now;
  let beganMs = fromMs;
  for (const each of changes.filter((change) => change.atMs > fromMs && change.atMs < toMs)) {
    found.push({ status, fromMs: beganMs, toMs: each.atMs });
    status = each.status;
    beganMs = each.atMs;
  }
  found.push({ status, fromMs: beganMs, toMs });
  return found.reduce((joined, each) => {
    if (joined.at(-1)?.status === each.status) joined.at(-1).toMs = each.toMs;
    else joined.push(each);
    return joined;
  }, []);
}

export class StatusCard {
  constructor({ serial, signal }) {
    this.span = "day";
    this.events = [];
    this.bar = makeSvg("svg", { class: "timeline", role: "img", viewBox: "0 0 1000 28", preserveAspectRatio: "none" });
    this.from = make("span");
    this.words = make("p", { class: "muted timeline-words" });
    this.list = make("ol", { class: "changes" });
    this.note = make("p", { class: "muted" });
    const spans = segments("Time shown", Object.entries(SPANS).map(([key, [text]]) => [key, text]), this.span, (span) => { this.span = span; put(this.place, loading()); this.poll.refresh(); });
    this.place = make("div", { class: "pad" }, loading());
    this.whole = [this.bar, make("p", { class: "timeline-ends muted", "aria-hidden": "true" }, this.from, make("span", {}, "now")), this.words, this.note, this.list];
    this.element = card("Status", { classes: "status-card", actions: [spans], body: this.place }).element;
    this.poll = keepFresh({
      name: "status events", everyMs: 10000, signal, load: (aborted) => statusEvents(serial, { from: this.start().toISOString(), limit: LIMIT }, aborted),
      show: (answer) => this.show(answer),
      onError: (error) => this.failed(error),
    });
  }

  start() {
    return new Date(Date.now() - SPANS[this.span][1]);
  }

  update(device) {
    this.device = device;
    if (this.answered) this.draw();
  }

  show({ events, historyAvailable, more }) {
    this.answered = true;
    this.events = events;
    const lacking = historyAvailable === false ? "History is away: only the present status is known." : more ? `Only the newest ${LIMIT} changes are shown.` : "";
    setText(this.note, lacking);
    this.note.hidden = !lacking;
    this.draw();
  }

  failed(error) {
    if (error.status === 404) this.show({ events: [], historyAvailable: true });
    else if (!this.answered) put(this.place, failure(error, () => this.poll.refresh()));
    return error.status === 404 ? "fine" : null;
  }

  draw() {
    const [fromMs, toMs] = [this.start().getTime(), Date.now()];
    if (!this.device && !this.events.length) return put(this.place, nothing("No status is known yet."));
    const found = stretches(this.events, this.device, fromMs, toMs);
    const x = (ms) => ((ms - fromMs) / (toMs - fromMs)) * 1000;
    put(this.bar, ...found.map((each) => {
      const part = makeSvg("rect", { class: `f-${each.status}`, x: x(each.fromMs).toFixed(2), y: each.status === "ONLINE" ? 8 : 0, width: Math.max(1.5, x(each.toMs) - x(each.fromMs)).toFixed(2), height: each.status === "ONLINE" ? 20 : 28 });
      part.append(makeSvg("title", {}, `${STATUS_LABELS[each.status]} from ${clock(each.fromMs)} to ${clock(each.toMs)}`));
      return part;
    }));
    const words = sharesInWords(found, toMs - fromMs);
    this.bar.setAttribute("aria-label", `Status over ${duration((toMs - fromMs) / 1000)}: ${words}`);
    setText(this.words, words);
    setText(this.from, clock(fromMs, false));
    put(this.place, ...this.whole);
    return rebuild(this.list, this.events.slice(0, LISTED), (each) => each.eventId, change);
  }
}

function sharesInWords(found, spanMs) {
  const shares = STATUSES.map((status) => [status, found.filter((each) => each.status === status).reduce((sum, each) => sum + each.toMs - each.fromMs, 0)]);
  return shares.filter(([, ms]) => ms > 0).map(([status, ms]) => `${STATUS_LABELS[status]} ${percent(ms / spanMs)} (${duration(ms / 1000)})`).join(", ");
}

function change(event) {
  return make("li", {}, timeOf(event.timestamp), plainStatus(event.newStatus), make("span", { class: "muted" }, withTimes(event.reason)));
}
