// Times as people read them, with the instant in UTC for who looks closer.

import { make, setText } from "../dom.js";
import { ago, clock, utc } from "../format.js";

export function timeOf(iso, withSeconds = true) {
  return make("time", { datetime: iso, title: utc(iso) }, clock(iso, withSeconds));
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

// One timer for all of them, and none of its work while nobody looks.
export function keepTimesFresh() {
  setInterval(() => {
    if (document.hidden) return;
    const now = Date.now();
    for (const element of document.querySelectorAll("time[data-ago]")) setText(element, ago(element.getAttribute("datetime"), now));
  }, 1000);
}
