// What comes of a redrive, in words, and waiting for its end.

import { redrive } from "../api.js";
import { count } from "../format.js";

const ASK_EVERY_MS = 500;
const WORDS = { sent: "sent back", failedAgain: "malformed again", quarantined: "quarantined", refused: "refused", doneBefore: "dealt with before" };
const UNTIL_MS = 15 * 60 * 1000;

export function outcomeText(view) {
  const parts = Object.entries(WORDS).filter(([name]) => view.outcomes[name]).map(([name, words]) => `${count(view.outcomes[name])} ${words}`);
  const refusals = Object.entries(view.refusals).map(([reason, number]) => `${count(number)} ${reason}`);
  let text = parts.join(", ") || "no letters";
  if (refusals.length) text += ` (${refusals.join(", ")})`;
  if (view.stillMalformed) text += `; ${count(view.stillMalformed)} of those sent would still be malformed`;
  if (view.complete === false) text += "; not all were looked at";
  if (view.error) text += `; ${view.error}`;
  return text;
}

export async function untilFinished(view, onProgress, signal) {
  const began = performance.now();
  let now = view;
  while (now.state === "running" && !signal.aborted && performance.now() - began < UNTIL_MS) {
    onProgress(now);
    await new Promise((resolve) => setTimeout(resolve, ASK_EVERY_MS));
    now = await redrive(view.redriveId);
  }
  return now;
}

export function showResult(element, text, kind = "") {
  element.hidden = !text;
  element.textContent = text ?? "";
  element.className = `result ${kind}`.trim();
}
