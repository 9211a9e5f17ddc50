// Alarms as rows of a table.

import { make } from "../dom.js";
import { deviceHref, siteHref, siteName } from "../words.js";
import { acknowledgeButton } from "./acknowledge.js";
import { alarmBadge, severityBadge } from "./badges.js";
import { agoOf, timeOf, withTimes } from "./time.js";

export function alarmTable({ withDevice = true } = {}) {
  const heads = [["Severity", ""], ["Alarm", ""], ...(withDevice ? [["Device", "wide"]] : []), ["State", ""], ["Raised", "num wide"], ["", "num"]];
  const body = make("tbody");
  const head = make("thead", {}, make("tr", {}, ...heads.map(([text, classes]) => (text ? make("th", { scope: "col", class: classes || null }, text) : make("th", { scope: "col", class: classes }, make("span", { class: "sr" }, "Action"))))));
  return { body, element: make("table", { class: "alarm-table", "aria-label": "Alarms" }, head, body) };
}

export function alarmRow(alarm, onDone, { withDevice = true } = {}) {
  const noted = alarm.acknowledgedBy ? make("p", { class: "muted noted" }, `${alarm.acknowledgedBy}`, alarm.acknowledgedComment && `: “${alarm.acknowledgedComment}”`, " · ", agoOf(alarm.acknowledgedAt)) : null;
  const over = alarm.clearedAt ? make("p", { class: "muted" }, "Over ", agoOf(alarm.clearedAt), alarm.clearedBecause && [": ", ...withTimes(alarm.clearedBecause)]) : null;
  const device = make("a", { href: deviceHref(alarm.serialNumber) }, alarm.serialNumber);
  const where = withDevice ? make("td", { class: "wide" }, device, make("br"), make("a", { class: "muted", href: siteHref(alarm.siteId) }, siteName(alarm.siteId))) : null;
  const narrow = withDevice ? make("p", { class: "narrow" }, make("a", { href: deviceHref(alarm.serialNumber) }, alarm.serialNumber), `, ${siteName(alarm.siteId)}, `, agoOf(alarm.raisedAt)) : make("p", { class: "narrow" }, agoOf(alarm.raisedAt));
  return make("tr", { "data-alarm": alarm.alarmId }, make("td", {}, severityBadge(alarm.severity)),
    make("td", { class: "alarm-what" }, make("strong", {}, alarm.title), make("p", { class: "muted" }, withTimes(alarm.message)), narrow, noted, over),
    where, make("td", {}, alarmBadge(alarm.state)), make("td", { class: "num wide" }, agoOf(alarm.raisedAt), make("br"), make("span", { class: "muted" }, timeOf(alarm.raisedAt))),
    make("td", { class: "num" }, acknowledgeButton(alarm, onDone)));
}
