// Asking before doing: a dialog of the browser's own, which keeps the focus and gives it back.

import { make, setText } from "../dom.js";

let dialogs = 0;

/** Shows what is about to be done; gives what `act` gives, or null when nothing was done.
 *
 * title, text: in words; fields: elements to fill in; confirm: name of the button; act: async () => result, whose error is shown and can be tried again.
 */
export function askFor({ title, text = "", fields = [], confirm, danger = false, act }) {
  const id = `dialog-${++dialogs}`;
  return new Promise((resolve) => {
    let result = null;
    const trouble = make("p", { class: "result bad", role: "alert", hidden: true });
    const send = make("button", { type: "submit", class: `action ${danger ? "danger" : "strong"}` }, confirm);
    const back = make("button", { type: "button", class: "action", onclick: () => dialog.close() }, "Back");
    const form = make("form", { method: "dialog" }, make("h2", { id }, title), text && make("p", {}, text), ...fields, trouble, make("div", { class: "actions end" }, back, send));
    const dialog = make("dialog", { class: "dialog", "aria-labelledby": id, onclose: () => { dialog.remove(); resolve(result); } }, form);
    form.addEventListener("submit", async (event) => {
      event.preventDefault();
      send.disabled = true;
      trouble.hidden = true;
      try {
        result = await act();
        dialog.close();
      } catch (error) {
        setText(trouble, error.message);
        trouble.hidden = false;
        send.disabled = false;
      }
    });
    document.body.append(dialog);
    dialog.showModal();
  });
}

export function textField(label, { value = "", required = false, maxlength = 500, rows = 0, hint = "" } = {}) {
  const input = rows ? make("textarea", { rows, maxlength, required, autocomplete: "off" }) : make("input", { type: "text", maxlength, required, autocomplete: "off" });
  input.value = value;
  return { input, field: make("label", { class: "field" }, label, input, hint && make("small", {}, hint)) };
}
