// Maintenance windows that a device is in, or will be; setting one, and ending it.

import { endMaintenance, maintenanceWindows, setMaintenance } from "../api.js";
import { askFor, textField } from "../components/dialog.js";
import { card, failure, loading, nothing } from "../components/panels.js";
import { timeOf } from "../components/time.js";
import { make, put, rebuild } from "../dom.js";
import { keepFresh } from "../poll.js";
import { may, personName, rememberName, session, whyNot } from "../session.js";
import { siteName, typeName } from "../words.js";

const LENGTHS = [["1", "1 hour"], ["2", "2 hours"], ["4", "4 hours"], ["8", "8 hours"], ["24", "1 day"], ["168", "1 week"]];

export const concerns = (window, { serialNumber, siteId, deviceType }) =>
  window.devices.includes(serialNumber) || window.sites.includes(siteId) || window.deviceTypes.includes(deviceType);

export class MaintenanceCard {
  constructor({ serial, signal }) {
    Object.assign(this, { serial, windows: [] });
    const allowed = may("maintain");
    const begin = make("button", { type: "button", class: "action small", disabled: !allowed, title: allowed ? null : whyNot("maintain"), onclick: () => this.begin() }, "Begin maintenance");
    this.place = make("div", {}, loading());
    this.list = make("ol", { class: "rows" });
    this.element = card("Maintenance", { classes: "maintenance-card", actions: [begin], body: this.place }).element;
    this.poll = keepFresh({
      name: "maintenance", everyMs: 15000, signal, load: maintenanceWindows, show: ({ windows }) => this.show(windows),
      onError: (error) => this.list.isConnected || put(this.place, failure(error, () => this.poll.refresh())),
    });
  }

  update(device) {
    this.device = device;
    if (this.known) this.show(this.known);
  }

  show(windows) {
    this.known = windows;
    const mine = windows.filter((each) => concerns(each, this.device ?? { serialNumber: this.serial }));
    put(this.place, mine.length ? this.list : nothing("No maintenance is planned. People are told of everything that matters."));
    rebuild(this.list, mine, (each) => each.windowId, (each) => this.row(each));
  }

  row(window) {
    const of = window.devices.includes(this.serial) ? "this device" : window.sites.includes(this.device?.siteId) ? siteName(this.device.siteId) : typeName(this.device?.deviceType);
    const end = may("maintain") ? make("button", { type: "button", class: "action small", onclick: () => this.end(window) }, "End") : null;
    return make("li", { class: "maintenance-row" }, make("span", { class: `badge ${window.active ? "fair" : "plain"}` }, window.active ? "◆ Now" : "Planned"),
      make("div", {}, make("strong", {}, window.reason), make("p", { class: "muted" }, timeOf(window.startsAt, false), " to ", timeOf(window.endsAt, false), `, ${of}, by ${window.createdBy}`)), end);
  }

  async begin() {
    const reason = textField("Reason", { required: true, maxlength: 500, value: "" });
    const who = session.name ? null : textField("Your name", { value: personName(), maxlength: 200 });
    const length = make("select", {}, ...LENGTHS.map(([value, text]) => make("option", { value }, text)));
    length.value = "2";
    const done = await askFor({
      title: `Maintenance of ${this.serial}`, text: "Until its end people are told nothing of this device. Its status and its alarms are recorded all the same.",
      fields: [reason.field, make("label", { class: "field" }, "For", length), who?.field], confirm: "Begin",
      act: () => {
        const by = who ? who.input.value.trim() : session.name;
        if (who && by) rememberName(by);
        const startsAt = new Date(Math.floor(Date.now() / 1000) * 1000);
        const endsAt = new Date(startsAt.getTime() + Number(length.value) * 3_600_000);
        return setMaintenance({ devices: [this.serial], startsAt: startsAt.toISOString(), endsAt: endsAt.toISOString(), reason: reason.input.value.trim(), ...(by ? { createdBy: by } : {}) });
      },
    });
    if (done) this.poll.refresh();
  }

  async end(window) {
    const done = await askFor({
      title: "End this maintenance now?", text: `${window.reason}. People are told how its devices stand, if that is not what they know.`, confirm: "End it", danger: true, act: () => endMaintenance(window.windowId),
    });
    if (done) this.poll.refresh();
  }
}
