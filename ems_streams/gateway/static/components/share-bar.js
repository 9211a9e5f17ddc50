// How many of all: a bar of parts, each with its colour, and all of it in words.

import { make, makeSvg, put } from "../dom.js";
import { count } from "../format.js";
import { STATUSES, STATUS_LABELS } from "../words.js";

export function shareBar() {
  const svg = makeSvg("svg", { class: "share", role: "img", preserveAspectRatio: "none", viewBox: "0 0 1000 10" });
  return {
    element: svg,
    show(counts) {
      const total = STATUSES.reduce((sum, status) => sum + (counts[status] ?? 0), 0);
      const present = STATUSES.filter((status) => counts[status]);
      const words = present.map((status) => `${count(counts[status])} ${STATUS_LABELS[status].toLowerCase()}`);
      svg.setAttribute("aria-label", words.join(", ") || "no devices");
      let x = 0;
      const parts = present.map((status) => {
        const width = (counts[status] / total) * 1000;
        const gap = status === present.at(-1) ? 0 : 4;
        const part = makeSvg("rect", { class: `f-${status}`, x, y: 0, width: Math.max(width - gap, 3), height: 10 });
        x += width;
        return part;
      });
      put(svg, ...parts);
    },
  };
}

export const swatch = (status) => make("span", { class: `mark t-${status}`, "aria-hidden": "true" });
