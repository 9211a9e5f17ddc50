// One notification as a row of a list.

import { make } from "../dom.js";
import { beyondTitle, deviceHref, kindOf, siteName } from "../words.js";
import { severityMark } from "./badges.js";
import { agoOf, withTimes } from "./time.js";

export function notificationRow(notification, { isNew = false, withDevice = true } = {}) {
  const { serialNumber: serial, siteId } = notification;
  const kind = kindOf(notification);
  const title = notification.title || serial || "Notification";
  const where = [serial, siteId !== null && siteId !== undefined && siteName(siteId)].filter(Boolean).join(", ");
  const known = typeof serial === "string" && serial !== "";
  const told = beyondTitle(title, notification.message) || where;
  const heading = withDevice && known ? make("a", { class: "titled", href: deviceHref(serial) }, title) : title;
  return make("li", { class: `note-row ${isNew ? "new" : ""}`.trim(), "data-id": notification.notificationId },
    severityMark(notification.severity), make("strong", {}, heading), agoOf(notification.timestamp),
    make("p", {}, kind && make("span", { class: "kind" }, kind), withTimes(told)));
}
