// Alarms of a device: those that are open, and those of the last day.

import { alarms } from "../api.js";
import { alarmRow, alarmTable } from "../components/alarm-rows.js";
import { card, failure, loading, nothing } from "../components/panels.js";
import { make, put, rebuild } from "../dom.js";
import { missingOf } from "../freshness.js";
import { keepFresh } from "../poll.js";

const LIMIT = 20;

export class AlarmsCard {
  constructor({ serial, signal }) {
    const body = make("div", {}, loading());
    const table = alarmTable({ withDevice: false });
    this.element = card("Alarms", { classes: "device-alarms", body }).element;
    this.poll = keepFresh({
      name: "device alarms", everyMs: 5000, signal, missing: (answer) => missingOf(answer, "alarms"), load: (aborted) => alarms({ serial, limit: LIMIT }, aborted),
      show: (answer) => {
        put(body, answer.alarms.length ? table.element : nothing("No alarm in the last 24 hours."));
        rebuild(table.body, answer.alarms, (each) => each.alarmId, (each) => alarmRow(each, () => this.poll.refresh(), { withDevice: false }));
      },
      onError: (error) => table.element.isConnected || put(body, failure(error, () => this.poll.refresh())),
    });
  }
}
