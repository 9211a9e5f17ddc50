// Puts the shell together: colours, who is logged in, the live feed, the pages.

import { byId, setAttribute, setText } from "./dom.js";
import { freshness } from "./freshness.js";
import { live } from "./live.js";
import { Router } from "./router.js";
import { loadSession, logOut, may } from "./session.js";
import { startTheme } from "./theme.js";
import { keepTimesFresh } from "./components/time.js";
import { duration } from "./format.js";

const ROUTES = [
  { path: "/", title: "Overview", load: () => import("./pages/overview.js") },
  { path: "/devices", title: "Devices", load: () => import("./pages/devices.js") },
  { path: "/devices/:serial", title: "Device", load: () => import("./pages/device.js") },
  { path: "/alarms", title: "Alarms", load: () => import("./pages/alarms.js") },
  { path: "/notifications", title: "Notifications", load: () => import("./pages/notifications.js") },
  { path: "/dead-letters", title: "Dead letters", load: () => import("./pages/dead-letters.js") },
  { path: "/pipeline", title: "Pipeline", load: () => import("./pages/pipeline.js") },
];

function showFreshness() {
  const now = freshness.state(navigator.onLine);
  setAttribute(byId("connection"), "data-state", now.state);
  setText(byId("connection-text"), now.text);
  setText(byId("connection-age"), now.ageS ? duration(now.ageS) : "");
  const banner = byId("banner");
  setText(banner, now.banner ?? "");
  banner.hidden = !now.banner;
}

function showWho(session) {
  const who = byId("who");
  if (!session.known) setText(who, "");
  else if (session.open) setText(who, "Open: no authentication");
  else setText(who, [session.name, session.role].filter(Boolean).join(" · "));
  byId("log-out").hidden = session.open;
  byId("who").title = session.sites ? `Sites: ${session.sites.join(", ")}` : "";
  for (const link of byId("nav").querySelectorAll("[data-needs]")) link.hidden = !may(link.dataset.needs);
}

function startMenu() {
  const button = byId("menu");
  const set = (open) => {
    button.setAttribute("aria-expanded", String(open));
    document.body.classList.toggle("menu-open", open);
    // What the menu covers cannot be reached by Tab.
    document.querySelector(".column").inert = open;
  };
  // A window that is made wide has the menu beside the page, and no button to close it.
  matchMedia("(min-width: 900px)").addEventListener("change", () => set(false));
  button.addEventListener("click", () => set(button.getAttribute("aria-expanded") !== "true"));
  document.addEventListener("keydown", (event) => {
    if (event.key !== "Escape" || button.getAttribute("aria-expanded") !== "true") return;
    set(false);
    button.focus();
  });
  byId("nav").addEventListener("click", (event) => event.target.closest("a") && set(false));
}

function onShow(route) {
  document.title = route.title ? `${route.title} · EMS Streams` : "EMS Streams";
  const section = location.pathname.split("/")[1] ?? "";
  for (const link of byId("nav").querySelectorAll("a:not([data-outside])")) {
    setAttribute(link, "aria-current", link.pathname.split("/")[1] === section ? "page" : null);
  }
  showFreshness();
}

async function start() {
  startTheme(byId("theme"));
  startMenu();
  byId("log-out").addEventListener("click", () => logOut().catch((error) => setText(byId("who"), error.message)));
  showWho(await loadSession());
  new Router(ROUTES, { outlet: byId("main"), onShow }).start();
  live.listen(({ type }) => type === "state" && showFreshness());
  live.connect();
  keepTimesFresh();
  setInterval(() => document.hidden || showFreshness(), 1000);
  addEventListener("online", () => live.hurry());
  document.addEventListener("visibilitychange", () => {
    if (document.hidden) return;
    freshness.resumed();
    live.hurry();
    showFreshness();
  });
}

start();
