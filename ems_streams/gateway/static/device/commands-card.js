// Commands of a device: asking for one by the catalogue, and following each to its end.

import { cancelCommand, commandCatalogue, commands } from "../api.js";
import { askFor } from "../components/dialog.js";
import { card, failure, loading, nothing } from "../components/panels.js";
import { agoOf, timeOf } from "../components/time.js";
import { announce, make, put, rebuild } from "../dom.js";
import { keepFresh } from "../poll.js";
import { may, personName, session, whyNot } from "../session.js";
import { CommandForm, valuesInWords } from "./command-form.js";

const LIMIT = 15;
const GOOD_WAY = ["REQUESTED", "PUBLISHED", "DELIVERED", "ACCEPTED", "COMPLETED"];
const WORDS = {
  REQUESTED: "Requested", PUBLISHED: "Sent", DELIVERED: "At the broker", ACCEPTED: "Accepted", COMPLETED: "Completed", REJECTED: "Rejected", FAILED: "Failed", EXPIRED: "Expired", CANCELLED: "Cancelled",
};
const KINDS = { COMPLETED: "good", REJECTED: "poor", FAILED: "poor", EXPIRED: "fair", CANCELLED: "plain" };

export class CommandsCard {
  constructor({ serial, signal }) {
    this.serial = serial;
    this.form = make("div", { class: "pad" });
    this.list = make("ol", { class: "rows commands" });
    this.place = make("div", {}, loading());
    this.element = card("Commands", { classes: "commands-card", body: make("div", {}, this.form, this.place) }).element;
    this.signal = signal;
    this.poll = keepFresh({
      name: "commands", everyMs: 2000, signal, load: (aborted) => commands(serial, LIMIT, aborted), show: (answer) => this.show(answer.commands),
      onError: (error) => {
        if (error.status === 404) put(this.place, nothing("This device has had no command."));
        else if (!this.list.isConnected) put(this.place, failure(error, () => this.poll.refresh()));
        return error.status === 404 ? "fine" : null;
      },
    });
  }

  // The catalogue is asked for when the type is known, once.
  async update({ deviceType }) {
    if (this.type === deviceType) return;
    this.type = deviceType;
    if (!may("command")) {
      put(this.form, make("p", { class: "muted" }, whyNot("command")));
      return;
    }
    try {
      const { deviceTypes } = await commandCatalogue(this.signal);
      // A type that the catalogue does not name takes what nearly every device does.
      const catalogue = deviceTypes[deviceType] ?? deviceTypes.UNKNOWN ?? [];
      new CommandForm(this.form, { serial: this.serial, catalogue, onSent: () => this.poll.refresh() });
    } catch (error) {
      if (this.signal.aborted) return;
      this.type = undefined;
      put(this.form, make("p", { class: "trouble" }, `The catalogue of commands cannot be read: ${error.message}`));
    }
  }

  show(list) {
    put(this.place, list.length ? this.list : nothing("This device has had no command."));
    const before = this.last ?? new Map();
    this.last = new Map(list.map((each) => [each.commandId, each.status]));
    for (const each of list) if (before.has(each.commandId) && before.get(each.commandId) !== each.status && each.final) announce(`${each.command}: ${WORDS[each.status] ?? each.status}`);
    rebuild(this.list, list, (each) => each.commandId, (each) => this.row(each));
  }

  row(command) {
    const cancel = command.status === "REQUESTED" && may("command") ? make("button", { type: "button", class: "action small", onclick: () => this.cancel(command) }, "Cancel") : null;
    const last = command.steps?.at(-1);
    const steps = (command.steps ?? []).map((step) => make("li", {}, timeOf(step.timestamp), make("span", {}, WORDS[step.status] ?? step.status), make("span", { class: "muted" }, step.detail ?? "")));
    return make("li", { "data-command": command.commandId, "data-status": command.status },
      make("div", { class: "command-head" }, make("strong", {}, command.command), make("span", {}, valuesInWords(command.parameters)),
        make("span", { class: `badge ${KINDS[command.status] ?? "v-INFO"}` }, WORDS[command.status] ?? command.status), cancel),
      progress(command), make("p", { class: "muted" }, "By ", command.requestedBy ?? "–", " ", agoOf(command.requestedAt), last?.detail && `. ${last.detail}`, command.executed === "unknown" && command.final && ". Whether the device did it is not known."),
      make("details", {}, make("summary", {}, "Steps"), make("ol", { class: "changes" }, ...steps)));
  }

  async cancel(command) {
    await askFor({
      title: `Cancel ${command.command}?`, text: "Only what is not sent yet can be cancelled.", confirm: "Cancel the command", danger: true,
      act: () => cancelCommand(command.commandId, session.name || !personName() ? {} : { requestedBy: personName() }),
    });
    this.poll.refresh();
  }
}

// The way that a command goes when all is well, as far as it has come.
function progress({ status, steps = [] }) {
  const reached = new Set(steps.map((each) => each.status));
  const furthest = Math.max(...GOOD_WAY.map((each, at) => (reached.has(each) || status === each ? at : -1)));
  const ended = !GOOD_WAY.includes(status);
  const parts = GOOD_WAY.map((each, at) => make("span", { class: at <= furthest ? "done" : ended ? "never" : null }, at <= furthest ? "● " : "○ ", WORDS[each]));
  return make("p", { class: "progress", "aria-label": `Progress: ${WORDS[status] ?? status}` }, ...parts, ended && make("span", { class: "ended" }, `▲ ${WORDS[status] ?? status}`));
}
