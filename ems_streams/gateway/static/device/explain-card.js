// Why a device is in the state that it is in, as the server explains it; asked for when somebody wants to know.

import { explanation } from "../api.js";
import { card, failure, loading, nothing } from "../components/panels.js";
import { timeOf, withTimes } from "../components/time.js";
import { make, put } from "../dom.js";
import { plural } from "../format.js";
import { plain, scrolled, shown } from "./anything.js";

const DROPPED = { duplicate: "plain", late: "fair", malformed: "poor" };
const SHOWN_APART = new Set(["serialNumber", "narrative", "nextChanges", "timeline", "missing", "asOf", "since", "status"]);

export class ExplainCard {
  constructor({ serial, signal }) {
    Object.assign(this, { serial, signal });
    this.button = make("button", { type: "button", class: "action small", onclick: () => this.ask() }, "Explain");
    this.place = make("div", { class: "explain" }, nothing("Which messages and rules brought this device to its state, and what was dropped as duplicate or late."));
    this.element = card("Why is it so?", { classes: "explain-card", actions: [this.button], body: this.place }).element;
  }

  async ask() {
    this.button.disabled = true;
    put(this.place, loading("Looking through the last events"));
    try {
      const answer = await explanation(this.serial, this.signal);
      put(this.place, make("div", { class: "pad" }, ...explained(answer)));
    } catch (error) {
      if (this.signal.aborted) return;
      put(this.place, error.status === 404 ? nothing("This server has no explanation of this device.") : failure(error, () => this.ask()));
    } finally {
      this.button.disabled = false;
      this.button.textContent = "Explain again";
    }
  }
}

// First for people: why, and what would change it; then the records; then all that it rests on.
export function explained(answer) {
  const { narrative = [], nextChanges = [], timeline = [], missing = [] } = answer;
  const rest = Object.fromEntries(Object.entries(answer).filter(([name]) => !SHOWN_APART.has(name)));
  return [
    ...missing.map((each) => make("p", { class: "device-note" }, `Not known: ${each.fact}: ${each.why}`)),
    ...narrative.map((line, at) => make("p", { class: at ? "why" : "why first-why" }, withTimes(line))),
    nextChanges.length ? make("section", { class: "explain-part" }, make("h3", {}, "What would change it"), make("ul", { class: "plain-list" }, ...nextChanges.map((line) => make("li", {}, withTimes(line))))) : null,
    timeline.length ? make("section", { class: "explain-part" }, make("h3", {}, `Its last ${plural(timeline.length, "record")}, newest first`), records([...timeline].reverse())) : null,
    Object.keys(rest).length ? make("details", { class: "explain-part" }, make("summary", {}, "All that this rests on"), ...shown(rest)) : null,
  ].filter(Boolean);
}

function records(entries) {
  const heads = ["Arrived", "What", "Says", "Record"].map((text) => make("th", { scope: "col" }, text));
  const rows = entries.map((each) => make("tr", {}, make("td", { class: "nowrap" }, each.at ? timeOf(each.at) : "–"), make("td", {}, plain(each.what ?? null)),
    make("td", {}, each.dropped && make("span", { class: `badge ${DROPPED[each.dropped] ?? "plain"}` }, each.dropped), " ", each.said ?? "", each.because && make("p", { class: "muted" }, each.because)),
    make("td", {}, placeOf(each.place))));
  return scrolled(make("table", { class: "explain-table" }, make("thead", {}, make("tr", {}, ...heads)), make("tbody", {}, ...rows)), "Records of the device");
}

const placeOf = (place) => (place ? make("code", {}, [place.topic, place.partition, place.offset].join("/")) : "–");
