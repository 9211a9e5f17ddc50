// Notifications over the WebSocket: resumed exactly from the last cursor, each shown once by its id.

import { notifications } from "./api.js";
import { SEVERITY_MARKS as MARKS, byId, clock, make, setText } from "./dom.js";

const MAX_SHOWN = 200;
const FIRST_RETRY_MS = 500;
const LAST_RETRY_MS = 10000;
// What is no single change of a status says what it is.
const KINDS = {
  FLAPPING_STARTED: "Flapping",
  FLAPPING_ENDED: "Flapping ended",
  ALARM_RAISED: "Alarm",
  ALARM_ESCALATED: "Alarm escalated",
  ALARM_ACKNOWLEDGED: "Alarm acknowledged",
  ALARM_CLEARED: "Alarm over",
  COMMAND_UPDATE: "Command",
};

export class NotificationFeed {
  constructor(onState) {
    this.onState = onState;
    this.list = byId("feed");
    this.items = new Map();
    this.cursor = null;
    this.failures = 0;
    this.arrived = 0;
  }

  async connect() {
    // A cursor that is refused looks like any failed connection: after two of those the list is fetched again.
    if (!this.cursor || this.failures >= 2) {
      try {
        const page = await notifications();
        page.notifications.reverse().forEach((each) => this.add(each, false));
        this.cursor = page.cursor;
      } catch {
        this.retry();
        return;
      }
    }
    const scheme = location.protocol === "https:" ? "wss:" : "ws:";
    const socket = new WebSocket(`${scheme}//${location.host}/ws/notifications?since=${encodeURIComponent(this.cursor)}`);
    socket.addEventListener("open", () => {
      this.failures = 0;
      this.onState("live", "Live");
    });
    socket.addEventListener("message", (event) => {
      const message = JSON.parse(event.data);
      this.cursor = message.cursor;
      this.add(message.notification, true);
    });
    socket.addEventListener("close", () => this.retry());
  }

  retry() {
    this.failures += 1;
    const wait = Math.min(LAST_RETRY_MS, FIRST_RETRY_MS * 2 ** (this.failures - 1)) * (0.75 + Math.random() / 2);
    this.onState("lost", "Disconnected, retrying");
    clearTimeout(this.timer);
    this.timer = setTimeout(() => this.connect(), wait);
  }

  add(notification, isNew) {
    const id = notification.notificationId;
    const item = this.item(notification, isNew);
    if (this.items.has(id)) {
      this.items.get(id).replaceWith(item);
    } else {
      this.list.prepend(item);
      if (isNew) this.arrived += 1;
    }
    this.items.set(id, item);
    for (const [oldest, element] of this.items) {
      if (this.items.size <= MAX_SHOWN) break;
      element.remove();
      this.items.delete(oldest);
    }
    byId("feed-empty").hidden = true;
    setText(byId("feed-count"), this.arrived ? `${this.arrived} new` : "");
  }

  item(notification, isNew) {
    const severity = notification.severity in MARKS ? notification.severity : "INFO";
    const kind = Object.hasOwn(KINDS, notification.kind) ? KINDS[notification.kind] : notification.data?.maintenanceWindowId && "After maintenance";
    const where = [notification.serialNumber, notification.siteId != null && `site ${notification.siteId}`];
    return make(
      "li",
      { class: isNew ? "new" : null, "data-id": notification.notificationId },
      make("span", { class: `sev v-${severity}`, role: "img", "aria-label": severity.toLowerCase() }, MARKS[severity]),
      make("strong", {}, notification.title || notification.serialNumber || "Notification"),
      make("time", { datetime: notification.timestamp }, clock(notification.timestamp)),
      make("p", {}, kind ? make("span", { class: "kind" }, kind) : null, notification.message || where.filter(Boolean).join(", ")),
    );
  }
}
