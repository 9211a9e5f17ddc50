// One dead letter in full: why it is here, its bytes and headers; changed, tried and sent back.

import { deadLetter, redriveLetters } from "../api.js";
import { loading } from "../components/panels.js";
import { timeOf } from "../components/time.js";
import { make, put, setText } from "../dom.js";
import { bytes } from "../format.js";
import { may, whyNot } from "../session.js";
import { outcomeText, showResult, untilFinished } from "./redrives.js";

const HEX_BYTES = 2048;

export class LetterDetail {
  constructor({ onClose, onDone, signal }) {
    this.onClose = onClose;
    this.onDone = onDone;
    this.signal = signal;
    this.title = make("h2", { id: "letter-title", tabindex: "-1" }, "Letter");
    this.closer = make("button", { id: "letter-close", type: "button", class: "icon", hidden: true, "aria-label": "Close the letter", onclick: () => this.close() }, "✕");
    this.empty = make("p", { class: "empty" }, "Open a letter to see its bytes, its headers and why it is here, to change it, and to send it back.");
    this.body = make("div", { id: "letter-body", class: "pad" }, this.empty);
    this.element = make("section", { id: "letter", class: "card letter", "aria-labelledby": "letter-title" }, make("div", { class: "bar" }, this.title, this.closer), this.body);
    // Not over what is being typed: the cross closes it all the same.
    document.addEventListener("keydown", (event) => event.key === "Escape" && this.letter && !document.querySelector("dialog[open]") && !this.isUnsent() && this.close(), { signal });
  }

  // Whether something was changed that has not been sent back.
  isUnsent() {
    const edits = this.edits();
    return edits.length > 0 && JSON.stringify(edits) !== this.sent;
  }

  shows(letter) {
    return this.letter?.id === letter.id;
  }

  async open(letter, origin) {
    this.letter = letter;
    this.full = null;
    this.sent = null;
    this.origin = origin;
    setText(this.title, letter.id);
    this.closer.hidden = false;
    put(this.body, loading());
    this.title.focus();
    try {
      const full = await deadLetter(letter);
      if (this.shows(letter)) this.render(full);
    } catch (error) {
      if (this.shows(letter)) put(this.body, make("p", { class: "empty trouble" }, error.message));
    }
  }

  close() {
    this.letter = null;
    setText(this.title, "Letter");
    this.closer.hidden = true;
    put(this.body, this.empty);
    this.origin?.focus?.();
    this.onClose();
  }

  render(full) {
    this.full = full;
    put(
      this.body,
      make("div", { class: "reason" }, make("b", {}, full.errorClass ?? "No error class"), full.errorMessage ?? "The headers do not say why."),
      facts(full),
      ...this.editor(full),
      make("details", {}, make("summary", {}, `Headers (${full.headers.length})`), headers(full.headers)),
      make("details", {}, make("summary", {}, "Bytes"), make("pre", { tabindex: "0", role: "region", "aria-label": "Bytes of the value" }, hexDump(full.valueBase64))),
      ...(full.stackTrace ? [make("details", {}, make("summary", {}, "Stack trace"), make("pre", { tabindex: "0", role: "region", "aria-label": "Stack trace" }, full.stackTrace))] : []),
    );
  }

  editor(full) {
    const isText = full.valueText !== null;
    const text = full.valueText ?? "";
    const shown = laidOut(text);
    this.isLaidOut = shown !== text;
    this.value = make("textarea", { id: "letter-value", spellcheck: "false", autocomplete: "off" });
    this.value.value = shown;
    // As the field has it: it keeps no carriage returns, and that is no change that somebody has made.
    this.original = this.value.value;
    this.value.disabled = !isText && full.valueBase64 !== null;
    const isMqtt = full.original?.topic?.includes("/");
    this.mqttTopic = isMqtt ? make("input", { id: "letter-mqtt-topic", spellcheck: "false" }) : null;
    if (this.mqttTopic) this.mqttTopic.value = full.original.topic;
    this.key = isMqtt ? null : make("input", { id: "letter-key", spellcheck: "false" });
    if (this.key) this.key.value = full.key ?? "";
    this.result = make("p", { class: "result", id: "letter-result", role: "status", hidden: "" });
    this.dryRunButton = this.button("letter-dry-run", "Dry run", "action", true);
    this.redriveButton = this.button("letter-redrive", "Redrive", "action strong", false);
    const label = this.value.disabled ? "Value: not text, so it cannot be changed here; its bytes are below" : `Value, ${bytes(full.sizeBytes)}; what you change is sent instead`;
    return [
      make("label", { class: "field", for: "letter-value" }, label), this.value,
      ...(this.mqttTopic ? [make("label", { class: "field" }, "MQTT topic", this.mqttTopic)] : []),
      ...(this.key ? [make("label", { class: "field" }, "Key", this.key)] : []),
      make("div", { class: "actions" }, this.dryRunButton, this.redriveButton), this.result,
    ];
  }

  button(id, text, classes, dryRun) {
    const button = make("button", { id, type: "button", class: classes }, text);
    button.addEventListener("click", () => this.send(dryRun));
    button.disabled = !may("redrive");
    if (button.disabled) button.title = whyNot("redrive");
    return button;
  }

  // Only what was changed; bytes that nobody touched go back as they are.
  edits() {
    if (!this.full) return [];
    const edit = { id: this.full.id };
    if (!this.value.disabled && this.value.value !== this.original) edit.valueText = this.isLaidOut ? compact(this.value.value) : this.value.value;
    if (this.mqttTopic && this.mqttTopic.value !== this.full.original.topic) edit.mqttTopic = this.mqttTopic.value;
    if (this.key && this.key.value !== (this.full.key ?? "")) edit.key = this.key.value;
    return Object.keys(edit).length > 1 ? [edit] : [];
  }

  async send(dryRun) {
    const { full } = this;
    const buttons = [this.dryRunButton, this.redriveButton];
    buttons.forEach((button) => { button.disabled = true; });
    showResult(this.result, dryRun ? "Trying" : "Redriving");
    try {
      const body = { ids: [full.id], edits: this.edits(), dryRun, again: full.state !== "open" };
      const answer = await redriveLetters(full.topic, body);
      if (dryRun) this.showDryRun(answer);
      else await this.showRedrive(answer, body.edits);
    } catch (error) {
      showResult(this.result, error.message, "bad");
    } finally {
      buttons.forEach((button) => { button.disabled = false; });
    }
  }

  showDryRun(answer) {
    const [letter] = answer.letters;
    const where = letter?.target ? ` to ${letter.target}` : "";
    const detail = letter?.detail ? `: ${letter.detail}` : "";
    const well = letter?.outcome === "sent" && !letter.detail;
    showResult(this.result, `Dry run: ${outcomeText({ ...answer, refusals: {} })}${where}${detail}. Nothing was written.`, well ? "good" : "bad");
  }

  async showRedrive(answer, edits) {
    const done = await untilFinished(answer, (now) => showResult(this.result, `Redrive ${now.redriveId} is under way`), this.signal);
    if (this.signal.aborted) return;
    const well = done.state === "finished" && done.outcomes.sent > 0;
    if (well) this.sent = JSON.stringify(edits);
    showResult(this.result, `Redrive ${done.redriveId} ${done.state}: ${outcomeText(done)}.`, well ? "good" : "bad");
    this.onDone();
  }
}

const withoutLayout = (text) => text.replace(/("(?:[^"\\]|\\.)*")|\s+/g, "$1");

// JSON on lines of its own, as long as that changes nothing: numbers that JavaScript cannot hold, or would write otherwise, stay as they came.
function laidOut(text) {
  try {
    const document = JSON.parse(text);
    return JSON.stringify(document) === withoutLayout(text) ? JSON.stringify(document, null, 2) : text;
  } catch {
    return text;
  }
}

// What was laid out for reading goes back without the layout; what is no JSON as it was typed: without its spaces "4 5" would be 45.
export function compact(text) {
  try {
    JSON.parse(text);
    return withoutLayout(text);
  } catch {
    return text;
  }
}

function facts(full) {
  const { original } = full;
  const place = original ? original.topic + (original.offset === null ? "" : `, partition ${original.partition}, offset ${original.offset}`) : "it does not say";
  const pairs = [
    ["Came from", place],
    ["Stage", [full.stage, full.channel].filter(Boolean).join(", ") || "–"],
    ["First failed", full.firstFailedAt ? timeOf(full.firstFailedAt) : "–"],
    ["Attempts", full.attempts ?? "–"],
    ["Replays", full.replayCount],
    ["State", full.done ? `${full.state}, by ${full.done.redriveId}` : full.state],
    ["Redrive", redriveText(full.redrive)],
  ];
  if (full.cutFromBytes) pairs.push(["Cut", `only the beginning of ${full.cutFromBytes} bytes was kept`]);
  return make("dl", { class: "pairs" }, ...pairs.flatMap(([name, text]) => [make("dt", {}, name), make("dd", {}, text instanceof Node ? text : String(text))]));
}

// What would become of it as it is.
function redriveText({ outcome, target, detail }) {
  if (outcome === "sent") return `goes to ${target}${detail ? `, where it is malformed still: ${detail}` : ""}`;
  if (outcome === "failedAgain") return `malformed still, and would be a letter again: ${detail}`;
  return `${outcome}: ${detail}`;
}

function headers(list) {
  return make("dl", { class: "pairs headers" }, ...list.flatMap((each) => [make("dt", {}, each.name), make("dd", {}, each.text ?? `base64 ${each.base64}`)]));
}

function hexDump(base64) {
  if (base64 === null) return "no value";
  const bytes = Uint8Array.from(atob(base64), (letter) => letter.charCodeAt(0));
  const lines = [];
  for (let at = 0; at < Math.min(bytes.length, HEX_BYTES); at += 16) {
    const piece = [...bytes.subarray(at, at + 16)];
    const digits = piece.map((byte) => byte.toString(16).padStart(2, "0")).join(" ").padEnd(47);
    lines.push(`${at.toString(16).padStart(8, "0")}  ${digits}  ${piece.map((byte) => (byte > 31 && byte < 127 ? String.fromCharCode(byte) : ".")).join("")}`);
  }
  if (bytes.length > HEX_BYTES) lines.push(`and ${bytes.length - HEX_BYTES} more bytes`);
  return lines.join("\n") || "empty";
}
