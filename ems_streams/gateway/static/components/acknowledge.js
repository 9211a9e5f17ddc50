// Taking note of an alarm: who, and what they have to say.

import { acknowledge } from "../api.js";
import { make } from "../dom.js";
import { may, personName, rememberName, session, whyNot } from "../session.js";
import { askFor, textField } from "./dialog.js";

export function acknowledgeButton(alarm, onDone) {
  if (alarm.state !== "RAISED") return null;
  const allowed = may("acknowledge");
  return make("button", { type: "button", class: "action small", disabled: !allowed, title: allowed ? null : whyNot("acknowledge"), "aria-label": `Acknowledge ${alarm.title} of ${alarm.serialNumber}`, onclick: () => ask(alarm, onDone) }, "Acknowledge");
}

async function ask(alarm, onDone) {
  const who = session.name ? null : textField("Your name", { value: personName(), maxlength: 200, hint: "Shown to everybody beside the alarm." });
  const note = textField("Note", { rows: 3, maxlength: 500, hint: "What you have found, or what you will do. May stay empty." });
  const done = await askFor({
    title: `Acknowledge: ${alarm.title}`,
    text: `${alarm.serialNumber}. ${alarm.message}`,
    fields: [note.field, who?.field],
    confirm: "Acknowledge",
    act: () => {
      const by = who ? who.input.value.trim() : session.name;
      if (who && by) rememberName(by);
      return acknowledge(alarm.alarmId, { ...(by ? { by } : {}), ...(note.input.value.trim() ? { comment: note.input.value.trim() } : {}) });
    },
  });
  if (done) onDone(done);
}
