// The devices as a table that holds only the rows in sight, so that thousands of devices cost what a screenful does.

import { ago, byId, make, paintBadge, power, setAttribute, setText, statusOf, typeName } from "./dom.js";

const OVERSCAN = 8;

export class DeviceTable {
  constructor(onOpen) {
    this.onOpen = onOpen;
    this.scroll = byId("scroll");
    this.body = byId("rows");
    this.above = this.spacer();
    this.below = this.spacer();
    this.body.append(this.above, this.below);
    this.rows = [];
    this.devices = [];
    this.selected = null;
    this.scroll.addEventListener("scroll", () => this.schedule(), { passive: true });
    new ResizeObserver(() => this.schedule()).observe(this.scroll);
    this.body.addEventListener("click", (event) => {
      const row = event.target.closest("tr.device");
      if (row) this.onOpen(row.dataset.serial, row.querySelector("button"));
    });
    this.body.addEventListener("keydown", (event) => this.onKey(event));
  }

  show(devices) {
    this.devices = devices;
    setAttribute(byId("table"), "aria-rowcount", String(devices.length + 1));
    this.render();
  }

  select(serial) {
    this.selected = serial;
    this.render();
  }

  spacer() {
    return make("tr", { class: "spacer", "aria-hidden": "true" }, make("td"));
  }

  schedule() {
    if (this.frame) return;
    this.frame = requestAnimationFrame(() => {
      this.frame = null;
      this.render();
    });
  }

  rowHeight() {
    return parseFloat(getComputedStyle(document.documentElement).getPropertyValue("--row")) + 1;
  }

  render() {
    const height = this.rowHeight();
    const inSight = Math.ceil(this.scroll.clientHeight / height) + 2 * OVERSCAN;
    const last = Math.max(0, this.devices.length - inSight);
    const first = Math.min(last, Math.max(0, Math.floor(this.scroll.scrollTop / height) - OVERSCAN));
    const shown = this.devices.slice(first, first + inSight);
    this.resize(shown.length);
    this.above.firstChild.style.height = `${first * height}px`;
    this.below.firstChild.style.height = `${(this.devices.length - first - shown.length) * height}px`;
    const now = Date.now();
    shown.forEach((device, at) => this.paint(this.rows[at], device, first + at, now));
  }

  resize(wanted) {
    while (this.rows.length < wanted) {
      const row = this.newRow();
      this.rows.push(row);
      this.below.before(row.element);
    }
    while (this.rows.length > wanted) this.rows.pop().element.remove();
  }

  newRow() {
    const row = { serial: make("button", { class: "serial", type: "button" }), badge: make("span") };
    for (const name of ["site", "type", "power", "seen"]) row[name] = make("td", { class: `c-${name}` });
    row.power.classList.add("num");
    row.seen.classList.add("num");
    const first = make("td", { class: "c-serial" }, row.serial);
    const status = make("td", { class: "c-status" }, row.badge);
    row.element = make("tr", { class: "device" }, first, row.site, row.type, status, row.power, row.seen);
    return row;
  }

  paint(row, device, index, now) {
    const serial = device.serialNumber;
    setAttribute(row.element, "aria-rowindex", String(index + 2));
    setAttribute(row.element, "data-serial", serial);
    setAttribute(row.element, "aria-selected", String(serial === this.selected));
    setText(row.serial, serial);
    setText(row.site, `Site ${device.siteId ?? "–"}`);
    setText(row.type, typeName(device.deviceType));
    const status = statusOf(device);
    paintBadge(row.badge, device);
    // What an offline device said last is not what flows now.
    row.power.classList.toggle("stale", status === "OFFLINE");
    setText(row.power, power(device.latest?.powerKw).join(" "));
    setText(row.seen, ago(device.lastSeen, now));
  }

  onKey(event) {
    const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    const row = event.target.closest("tr.device");
    if (!step || !row) return;
    event.preventDefault();
    const wanted = Number(row.getAttribute("aria-rowindex")) - 2 + step;
    if (wanted < 0 || wanted >= this.devices.length) return;
    this.reveal(wanted);
    this.rows.find((each) => each.element.getAttribute("aria-rowindex") === String(wanted + 2))?.serial.focus();
  }

  reveal(index) {
    const height = this.rowHeight();
    const head = byId("table").tHead.offsetHeight;
    const top = index * height;
    if (top < this.scroll.scrollTop) this.scroll.scrollTop = top;
    const bottom = top + height + head - this.scroll.clientHeight;
    if (bottom > this.scroll.scrollTop) this.scroll.scrollTop = bottom;
    this.render();
  }
}
