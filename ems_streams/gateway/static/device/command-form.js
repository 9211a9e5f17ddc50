// The form of a command: its parameters as the catalogue says, with their units and limits; asked once more before it is sent.

import { newKey, sendCommand } from "../api.js";
import { askFor, textField } from "../components/dialog.js";
import { field } from "../components/panels.js";
import { make, put } from "../dom.js";
import { exact } from "../format.js";
import { personName, rememberName, session } from "../session.js";

const EXPIRIES = [["60", "1 minute"], ["300", "5 minutes"], ["3600", "1 hour"], ["86400", "1 day"]];

export const valuesInWords = (parameters) => Object.entries(parameters ?? {}).map(([name, value]) => `${name} = ${typeof value === "number" ? exact(value) : value}`).join(", ");

export class CommandForm {
  constructor(host, { serial, catalogue, onSent }) {
    Object.assign(this, { serial, catalogue, onSent });
    this.choice = make("select", { onchange: () => this.showParameters() }, ...catalogue.map((each) => make("option", { value: each.command }, each.command)));
    this.expiry = make("select", {}, ...EXPIRIES.map(([value, text]) => make("option", { value }, text)));
    this.expiry.value = "300";
    this.purpose = make("p", { class: "muted purpose" });
    this.fields = make("div", { class: "parameters" });
    this.send = make("button", { type: "submit", class: "action strong" }, "Send");
    const form = make("form", { class: "command-form" },
      field("Command", this.choice), this.fields, field("Expires after", this.expiry), this.send, this.purpose);
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      this.confirm();
    });
    put(host, catalogue.length ? form : make("p", { class: "muted" }, "This type of device takes no commands."));
    if (catalogue.length) this.showParameters();
  }

  get chosen() {
    return this.catalogue.find((each) => each.command === this.choice.value);
  }

  showParameters() {
    this.purpose.textContent = `${this.choice.value}: ${this.chosen.purpose}.`;
    this.inputs = this.chosen.parameters.map((parameter) => [parameter, inputOf(parameter)]);
    put(this.fields, ...this.inputs.map(([parameter, input]) => field(parameter.name + (parameter.unit ? `, ${parameter.unit}` : "") + (parameter.required ? "" : " (optional)"), input)));
  }

  parameters() {
    const given = this.inputs.filter(([, input]) => input.value !== "");
    return Object.fromEntries(given.map(([parameter, input]) => [parameter.name, parameter.type === "number" ? Number(input.value) : input.value]));
  }

  async confirm() {
    const command = this.choice.value;
    const parameters = this.parameters();
    // One key for all tries: sending it again after a failure is not sending it twice.
    const key = newKey();
    const who = session.name ? null : textField("Your name", { value: personName(), maxlength: 200 });
    const sent = await askFor({
      title: `Send ${command} to ${this.serial}?`,
      text: [valuesInWords(parameters), `It expires after ${this.expiry.selectedOptions[0].textContent}, if the device does not answer.`].filter(Boolean).join(". "),
      fields: [who?.field], confirm: "Send",
      act: () => {
        const by = who?.input.value.trim();
        if (by) rememberName(by);
        return sendCommand(this.serial, { command, parameters, expiresInS: Number(this.expiry.value), ...(by ? { requestedBy: by } : {}) }, key);
      },
    });
    if (sent) this.onSent(sent);
  }
}

function inputOf(parameter) {
  if (parameter.type === "choice") return make("select", { name: parameter.name }, !parameter.required && make("option", { value: "" }, "–"), ...parameter.allowed.map((each) => make("option", { value: each }, each)));
  return make("input", { type: "number", name: parameter.name, step: "any", min: parameter.minimum, max: parameter.maximum, required: parameter.required, placeholder: `${exact(parameter.minimum)} to ${exact(parameter.maximum)}` });
}
