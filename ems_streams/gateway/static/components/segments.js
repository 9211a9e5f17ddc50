// A row of buttons of which one is pressed.

import { make } from "../dom.js";

export function segments(label, options, value, onChange) {
  const buttons = options.map(([key, text]) => make("button", { type: "button", "aria-pressed": String(key === value), onclick: () => choose(key) }, text));
  const choose = (key) => {
    options.forEach(([each], at) => buttons[at].setAttribute("aria-pressed", String(each === key)));
    onChange(key);
  };
  return make("div", { class: "segments", role: "group", "aria-label": label }, ...buttons);
}
