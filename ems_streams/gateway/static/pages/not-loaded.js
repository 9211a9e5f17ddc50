// A page whose files could not be fetched: the server is away, or is another release than this page.

import { nothing, pageHead } from "../components/panels.js";
import { make } from "../dom.js";

export function mount(root) {
  const again = make("button", { type: "button", class: "action strong", onclick: () => location.reload() }, "Load again");
  root.append(pageHead("This page could not be loaded"), make("div", { class: "card" }, nothing("The server cannot be reached, or has another release by now.", again)));
}
