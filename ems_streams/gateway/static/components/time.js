// Times as people read them, with the instant in UTC for who looks closer.

import { make, setText } from "../dom.js";
import { ago, clock, utc } from "../format.js";

const INSTANT = /(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?(?:Z|[+-]\d\d:\d\d))/;

export function timeOf(iso, withSeconds = true) {
  return make("time", { datetime: iso, title: utc(iso), "data-clock": withSeconds ? "seconds" : "minutes" }, clock(iso, withSeconds));
}

// What the server or a device says, with the instants in it as times of the viewer.
export function withTimes(text) {
  return String(text ?? "").split(INSTANT).map((part, at) => (at % 2 && !Number.isNaN(Date.parse(part)) ? timeOf(part) : part)).filter((part) => part !== "");
}

// "3 min ago", and it goes on by itself.
export function agoOf(iso) {
  return make("time", { datetime: iso ?? "", title: utc(iso), "data-ago": true }, ago(iso, Date.now()));
}

export function setAgo(element, iso) {
  if (element.getAttribute("datetime") !== (iso ?? "")) {
    element.setAttribute("datetime", iso ?? "");
    element.title = utc(iso);
  }
  setText(element, ago(iso, Date.now()));
}

// One timer for all of them, and none of its work while nobody looks. At midnight what was of today gets its day.
export function keepTimesFresh() {
  let day = new Date().toDateString();
  setInterval(() => {
    if (document.hidden) return;
    const now = new Date();
    for (const element of document.querySelectorAll("time[data-ago]")) setText(element, ago(element.getAttribute("datetime"), now.getTime()));
    if (now.toDateString() === day) return;
    day = now.toDateString();
    for (const element of document.querySelectorAll("time[data-clock]")) setText(element, clock(element.getAttribute("datetime"), element.dataset.clock === "seconds", now));
  }, 1000);
}
