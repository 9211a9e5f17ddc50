// Who is logged in, and what they may do; a server without authentication says so, and lets everybody do everything.

import { logIn, logOut as endSession, session as askSession } from "./api.js";

const RANKS = { viewer: 1, operator: 2, admin: 3 };
// What each deed needs. The server decides; here it is only not offered to who may not.
const NEEDS = { acknowledge: "operator", command: "operator", maintain: "operator", letters: "admin", redrive: "admin" };
const NAME_KEY = "ems.name";

// The answer of /api/v1/session in our own words.
export function understood(answer) {
  if (answer.authentication === "open") return { open: true, name: "", role: null, sites: null };
  const role = Object.hasOwn(RANKS, answer.role ?? "") ? answer.role : null;
  return { open: false, name: String(answer.name ?? ""), role, sites: Array.isArray(answer.sites) ? answer.sites : null };
}

export const session = { open: true, name: "", role: null, known: false };

export async function loadSession() {
  try {
    Object.assign(session, understood(await askSession()), { known: true });
  } catch (error) {
    // Anything else is shown where it matters, by the page that cannot be filled.
    if (error.status === 401) logIn();
  }
  return session;
}

export const may = (deed, who = session) => who.open || (RANKS[who.role] ?? 0) >= RANKS[NEEDS[deed]];

export const whyNot = (deed) => `The role ${session.role ?? "of this login"} may not do this; it needs ${NEEDS[deed]}.`;

// Whose name stands under what is done. With a login the server knows; without one people say it, once.
export const personName = () => session.name || localStorage.getItem(NAME_KEY) || "";
export const rememberName = (name) => localStorage.setItem(NAME_KEY, name);

export async function logOut() {
  await endSession();
  location.assign("/login.html");
}
