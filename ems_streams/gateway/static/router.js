// Addresses of pages, and going from one to the other without loading the shell again; back and forward work, and so do bookmarks.

export function matcher(routes) {
  const known = routes.map(({ path, ...rest }) => {
    const names = [...path.matchAll(/:(\w+)/g)].map(([, name]) => name);
    return { ...rest, path, names, pattern: new RegExp(`^${path.replace(/:\w+/g, "([^/]+)")}/?$`) };
  });
  return (pathname) => {
    for (const route of known) {
      const found = route.pattern.exec(pathname);
      if (!found) continue;
      try {
        return { route, parameters: Object.fromEntries(route.names.map((name, at) => [name, decodeURIComponent(found[at + 1])])) };
      } catch {
        return null;
      }
    }
    return null;
  };
}

export class Router {
  constructor(routes, { outlet, onShow }) {
    this.match = matcher(routes);
    this.outlet = outlet;
    this.onShow = onShow;
    this.leaving = null;
  }

  start() {
    // A jump within a page, as to skip the navigation, is one too; it must not make the page anew.
    addEventListener("popstate", () => location.pathname + location.search !== this.shown && this.show(false));
    document.addEventListener("click", (event) => this.onClick(event));
    this.show(false, true);
  }

  go(href) {
    history.pushState(null, "", href);
    this.show(true);
  }

  onClick(event) {
    const link = event.target.closest?.("a[href]");
    const plain = event.button === 0 && !event.metaKey && !event.ctrlKey && !event.shiftKey && !event.altKey;
    if (!link || !plain || event.defaultPrevented || link.target || link.origin !== location.origin) return;
    if (!this.match(link.pathname) || (link.hash && link.pathname === location.pathname)) return;
    event.preventDefault();
    this.go(link.pathname + link.search);
  }

  // What is asked for in the address is changed in place: a filter is no step of its own for "back".
  setQuery(parameters) {
    const kept = Object.entries(parameters).filter(([, value]) => value);
    const search = kept.length ? `?${new URLSearchParams(kept)}` : "";
    if (search !== location.search) history.replaceState(null, "", location.pathname + search);
    this.shown = location.pathname + location.search;
  }

  async show(isNew, isFirst = false) {
    this.leaving?.abort();
    const leaving = new AbortController();
    this.leaving = leaving;
    this.shown = location.pathname + location.search;
    const found = this.match(location.pathname);
    const route = found?.route ?? { load: () => import("./pages/not-found.js"), path: null };
    const page = await this.load(route);
    if (leaving.signal.aborted) return;
    const root = document.createElement("div");
    root.className = `page ${page.name ?? ""}`.trim();
    this.outlet.replaceChildren(root);
    this.onShow(route);
    page.mount(root, {
      parameters: found?.parameters ?? {},
      query: Object.fromEntries(new URLSearchParams(location.search)),
      signal: leaving.signal,
      setQuery: (parameters) => leaving.signal.aborted || this.setQuery(parameters),
      go: (href) => this.go(href),
    });
    if (isNew) scrollTo(0, 0);
    if (!isFirst) root.querySelector("h1")?.focus({ preventScroll: true });
  }

  async load(route) {
    try {
      return await route.load();
    } catch {
      return import("./pages/not-loaded.js");
    }
  }
}
