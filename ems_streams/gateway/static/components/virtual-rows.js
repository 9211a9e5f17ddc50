// A table that holds only the rows in sight, so that ten thousand rows cost what a screenful does.

import { make, setAttribute } from "../dom.js";

const OVERSCAN = 8;
const STEPS = { ArrowDown: 1, ArrowUp: -1 };

/** Keeps the rows of `body` inside of the scrolling `scroll`.
 *
 * newRow: () => {element, link, ...}; paint: (row, item) => void; keyOf: (item) => what it is known by, whatever row it is in. Rows have the height of the token `--row`. Arrow keys, Page Up and Down, Home and End go through them.
 */
export class VirtualRows {
  constructor({ scroll, table, body, newRow, paint, keyOf, signal }) {
    Object.assign(this, { scroll, table, body, newRow, paint, keyOf });
    this.items = [];
    this.rows = [];
    this.above = spacer();
    this.below = spacer();
    body.append(this.above, this.below);
    scroll.addEventListener("scroll", () => this.schedule(), { passive: true, signal });
    body.addEventListener("keydown", (event) => this.onKey(event), { signal });
    const watcher = new ResizeObserver(() => this.schedule());
    watcher.observe(scroll);
    signal.addEventListener("abort", () => watcher.disconnect());
  }

  show(items) {
    const held = this.rows.find((row) => row.element.contains(document.activeElement));
    const key = held && this.keyOf(held.item);
    this.items = items;
    setAttribute(this.table, "aria-rowcount", items.length + 1);
    this.render();
    if (held) this.follow(held, key);
  }

  // The focus stays on what it was on, and not where that was: Enter would open something else than what was read out.
  follow(held, key) {
    if (held.element.isConnected && this.keyOf(held.item) === key) return;
    const index = this.items.findIndex((item) => this.keyOf(item) === key);
    if (index >= 0) this.focus(index);
    else document.activeElement?.blur();
  }

  schedule() {
    this.frame ??= requestAnimationFrame(() => {
      this.frame = null;
      this.render();
    });
  }

  get rowHeight() {
    return parseFloat(getComputedStyle(document.documentElement).getPropertyValue("--row"));
  }

  render() {
    const height = this.rowHeight;
    const inSight = Math.ceil(this.scroll.clientHeight / height) + 2 * OVERSCAN;
    const last = Math.max(0, this.items.length - inSight);
    const first = Math.min(last, Math.max(0, Math.floor(this.scroll.scrollTop / height) - OVERSCAN));
    const shown = this.items.slice(first, first + inSight);
    this.resize(shown.length);
    setHeight(this.above, first * height);
    setHeight(this.below, (this.items.length - first - shown.length) * height);
    shown.forEach((item, at) => {
      const row = this.rows[at];
      row.item = item;
      setAttribute(row.element, "aria-rowindex", first + at + 2);
      this.paint(row, item);
    });
  }

  resize(wanted) {
    while (this.rows.length < wanted) {
      const row = this.newRow();
      this.rows.push(row);
      this.below.before(row.element);
    }
    while (this.rows.length > wanted) this.rows.pop().element.remove();
  }

  onKey(event) {
    const row = event.target.closest("tr[aria-rowindex]");
    if (!row || event.ctrlKey || event.metaKey || event.altKey) return;
    const at = Number(row.getAttribute("aria-rowindex")) - 2;
    const page = Math.max(1, Math.floor(this.scroll.clientHeight / this.rowHeight) - 2);
    const wanted = { ...STEPS, PageDown: page, PageUp: -page, Home: -at, End: this.items.length - 1 - at }[event.key];
    if (wanted === undefined) return;
    event.preventDefault();
    this.focus(Math.min(this.items.length - 1, Math.max(0, at + wanted)));
  }

  focus(index) {
    const height = this.rowHeight;
    const head = this.table.tHead.offsetHeight;
    const { scrollTop, clientHeight } = this.scroll;
    const top = index * height;
    if (top < scrollTop) this.scroll.scrollTop = top;
    else if (top + height + head > scrollTop + clientHeight) this.scroll.scrollTop = top + height + head - clientHeight;
    this.render();
    this.rows.find((each) => each.element.getAttribute("aria-rowindex") === String(index + 2))?.link.focus({ preventScroll: true });
  }
}

const spacer = () => make("tr", { class: "spacer", "aria-hidden": "true" }, make("td", { colspan: 20 }));

function setHeight(row, px) {
  row.hidden = px <= 0;
  row.firstChild.style.height = `${px}px`;
}
