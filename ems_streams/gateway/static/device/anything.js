// Whatever an answer has, in its order: plain values in pairs, lists of objects as tables, what is nested below its name.

import { timeOf } from "../components/time.js";
import { make } from "../dom.js";

const ISO = /^\d{4}-\d{2}-\d{2}T[\d:.]+(Z|[+-]\d\d:\d\d)$/;
const LIST_MAX = 50;
const COLUMNS_MAX = 7;

const words = (name) => {
  const text = name.replace(/([a-z0-9])([A-Z])/g, "$1 $2").toLowerCase();
  return text.charAt(0).toUpperCase() + text.slice(1);
};
const isPlain = (value) => value === null || typeof value !== "object";

export function shown(value, depth = 0) {
  if (isPlain(value)) return [make("p", {}, plain(value))];
  if (Array.isArray(value)) return [list(value, depth)];
  const entries = Object.entries(value);
  const simple = entries.filter(([, each]) => isPlain(each));
  const nested = entries.filter(([, each]) => !isPlain(each) && (Array.isArray(each) ? each.length : Object.keys(each).length));
  const pairs = simple.length ? make("dl", { class: "pairs" }, ...simple.flatMap(([name, each]) => [make("dt", {}, words(name)), make("dd", {}, plain(each))])) : null;
  const parts = nested.map(([name, each]) => {
    const heading = make("h3", {}, words(name) + (Array.isArray(each) ? ` (${each.length})` : ""));
    return make("section", { class: "explain-part" }, heading, ...shown(each, depth + 1));
  });
  return [pairs, ...parts].filter(Boolean);
}

function list(items, depth) {
  const some = items.slice(0, LIST_MAX);
  if (some.every(isPlain)) return make("ul", { class: "plain-list" }, ...some.map((each) => make("li", {}, plain(each))));
  const names = [...new Set(some.flatMap((each) => (isPlain(each) ? [] : Object.keys(each))))];
  if (some.some(isPlain) || names.length > COLUMNS_MAX || depth > 2) return make("ol", { class: "explain-list" }, ...some.map((each) => make("li", {}, ...shown(each, depth + 1))));
  const head = make("tr", {}, ...names.map((name) => make("th", { scope: "col" }, words(name))));
  const rows = some.map((each) => make("tr", {}, ...names.map((name) => make("td", {}, cell(each[name])))));
  return scrolled(make("table", { class: "explain-table" }, make("thead", {}, head), make("tbody", {}, ...rows)), "Table");
}

// What may be wider than its place can be scrolled, by keyboard too.
export const scrolled = (element, label) => make("div", { class: "scroll-x", tabindex: "0", role: "region", "aria-label": label }, element);

const cell = (value) => (value === undefined ? "" : isPlain(value) ? plain(value) : make("code", {}, JSON.stringify(value)));

export function plain(value) {
  if (value === null) return "–";
  if (typeof value === "boolean") return value ? "yes" : "no";
  return typeof value === "string" && ISO.test(value) ? timeOf(value) : String(value);
}
