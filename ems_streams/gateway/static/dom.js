// Elements are made of nodes and text only: what devices and people say is never read as markup.

const SVG = "http://www.w3.org/2000/svg";

export const byId = (id) => document.getElementById(id);

// Attributes that are functions are listeners (`onclick`), null and false are left out, true is an empty attribute.
export function make(tag, attributes = {}, ...children) {
  return fill(document.createElement(tag), attributes, children);
}

export function makeSvg(tag, attributes = {}, ...children) {
  return fill(document.createElementNS(SVG, tag), attributes, children);
}

function fill(element, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (typeof value === "function") element.addEventListener(name.slice(2), value);
    else if (value !== null && value !== undefined && value !== false) element.setAttribute(name, value === true ? "" : String(value));
  }
  element.append(...kept(children));
  return element;
}

const kept = (children) => children.flat().filter((child) => child !== null && child !== undefined && child !== false);

// Nodes that are there already are not put there again: that would take the focus from them.
export function put(element, ...children) {
  const wanted = kept(children);
  if (wanted.length === element.childNodes.length && wanted.every((child, at) => child === element.childNodes[at])) return;
  element.replaceChildren(...wanted);
}

export function setText(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

export function setAttribute(element, name, value) {
  if (value === null || value === undefined) element.removeAttribute(name);
  else if (element.getAttribute(name) !== String(value)) element.setAttribute(name, value);
}

// Makes the children of a parent those of the items, by key, and touches only what differs: focus, selection and scrolling stay.
export function reconcile(parent, items, keyOf, create, update) {
  const known = new Map([...parent.children].map((child) => [child.dataset.key, child]));
  let place = parent.firstElementChild;
  for (const item of items) {
    const key = String(keyOf(item));
    const found = known.get(key);
    const element = found ?? create(item);
    element.dataset.key = key;
    known.delete(key);
    update?.(element, item);
    if (element === place) place = place.nextElementSibling;
    else parent.insertBefore(element, place);
  }
  for (const left of known.values()) left.remove();
}

// As `reconcile`, for what is simply made anew when it says something else.
export function rebuild(parent, items, keyOf, create, fingerprint = JSON.stringify) {
  const before = new Map([...parent.children].map((child) => [child.dataset.key, child]));
  reconcile(parent, items, keyOf, create, (element, item) => {
    const says = fingerprint(item);
    if (element.says === says) return;
    if (before.get(element.dataset.key) === element && element.says !== undefined) {
      const fresh = create(item);
      const held = heldFocus(element);
      element.replaceChildren(...fresh.childNodes);
      for (const { name, value } of [...fresh.attributes]) setAttribute(element, name, value);
      if (held !== null) focusables(element)[held]?.focus();
    }
    element.says = says;
  });
}

const focusables = (element) => [...element.querySelectorAll("a, button, input, select, textarea, summary")];

function heldFocus(element) {
  const at = element.contains(document.activeElement) ? focusables(element).indexOf(document.activeElement) : -1;
  return at < 0 ? null : at;
}

let announcer = null;

// For screen readers, and seldom: the newest text wins, and nothing is said more than once in two seconds.
export function announce(text) {
  announcer ??= { element: byId("announcer"), timer: null, text: "" };
  announcer.text = text;
  announcer.timer ??= setTimeout(() => {
    announcer.timer = null;
    setText(announcer.element, announcer.text);
  }, 2000);
}
