// Cards, tiles, and what stands where there is nothing, not yet, or not any more.

import { make, put } from "../dom.js";

export function pageHead(title, ...beside) {
  return make("div", { class: "page-head" }, make("h1", { tabindex: "-1" }, title), ...beside);
}

let cards = 0;

// A section with a heading; `body` is where its contents go.
export function card(title, { classes = "", actions = [], body = make("div", { class: "pad" }) } = {}) {
  const id = `card-${++cards}`;
  const heading = make("h2", { id }, title);
  const element = make("section", { class: `card ${classes}`.trim(), "aria-labelledby": id }, make("div", { class: "bar" }, heading, ...actions), body);
  return { element, body, heading };
}

export const loading = (text = "Loading") => make("p", { class: "empty loading" }, make("span", { class: "spinner", "aria-hidden": "true" }), text);
export const nothing = (text, ...more) => make("div", { class: "empty" }, make("p", {}, text), ...more);

export function failure(error, onRetry) {
  const retry = onRetry ? make("button", { type: "button", class: "action", onclick: onRetry }, "Try again") : null;
  return make("div", { class: "empty" }, make("p", { class: "trouble" }, error.message), retry);
}

// A figure with its name, and a word on it: [value, unit].
export function tile(label, { href, classes = "" } = {}) {
  const value = make("b", {}, "–");
  const note = make("span", { class: "note" });
  const parts = [make("span", { class: "label" }, label), value, note];
  const element = href ? make("a", { class: `tile ${classes}`, href }, ...parts) : make("div", { class: `tile ${classes}` }, ...parts);
  return {
    element,
    show([text, unit = ""], said = "") {
      const wanted = `${text} ${unit}|${said}`;
      if (element.shown === wanted) return;
      element.shown = wanted;
      put(value, text, unit && make("small", {}, ` ${unit}`));
      put(note, said);
    },
  };
}

let fields = 0;

// A control with its name above it.
export function field(label, control, classes = "") {
  control.id ||= `field-${++fields}`;
  return make("div", { class: `field-inline ${classes}`.trim() }, make("label", { for: control.id }, label), control);
}

export function select(label, options, value, onChange) {
  const element = make("select", { onchange: () => onChange(element.value) }, ...options.map(([name, text]) => make("option", { value: name }, text)));
  element.value = value;
  return { element, field: field(label, element) };
}

export function setOptions(element, options) {
  const says = JSON.stringify(options);
  if (element.says === says) return;
  element.says = says;
  const { value } = element;
  put(element, ...options.map(([name, text]) => make("option", { value: name }, text)));
  element.value = value;
}
