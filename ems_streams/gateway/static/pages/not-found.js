// An address that no page has.

import { nothing, pageHead } from "../components/panels.js";
import { make } from "../dom.js";

export function mount(root) {
  root.append(pageHead("There is no such page"), make("div", { class: "card" }, nothing(`Nothing is at ${location.pathname}.`, make("a", { class: "action", href: "/" }, "To the overview"))));
}
