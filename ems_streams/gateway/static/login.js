// Logging in: the token goes to the gateway once, and a cookie that no script can read comes back.

const byId = (id) => document.getElementById(id);
const SESSION = "/api/v1/session";
const headers = { Accept: "application/json", "Content-Type": "application/json" };

// Only to a page of this gateway: what stands in the address may be anybody's.
function following() {
  const wanted = new URLSearchParams(location.search).get("next");
  if (!wanted) return "/";
  try {
    const url = new URL(wanted, location.origin);
    // The whole address: a path may begin with two slashes, and alone it would be that of another server.
    return url.origin === location.origin && !url.pathname.startsWith("/login") ? url.href : "/";
  } catch {
    return "/";
  }
}

function complain(text) {
  byId("error").textContent = text;
  byId("error").hidden = !text;
  byId("token").setAttribute("aria-invalid", text ? "true" : "false");
}

async function show() {
  const response = await fetch(SESSION, { headers: { Accept: "application/json" } }).catch(() => null);
  if (!response || !response.ok) return;
  const session = await response.json();
  if (session.authentication === "open") {
    byId("open-note").hidden = false;
    byId("login").hidden = true;
    return;
  }
  byId("who").textContent = `Logged in as ${session.name}, ${session.role}. Another token takes its place.`;
  byId("who").hidden = false;
  byId("logout").hidden = false;
}

byId("login").addEventListener("submit", async (event) => {
  event.preventDefault();
  complain("");
  byId("submit").disabled = true;
  try {
    const body = JSON.stringify({ token: byId("token").value.trim() });
    const response = await fetch(SESSION, { method: "POST", headers, body, signal: AbortSignal.timeout(8000) });
    if (response.ok) {
      byId("token").value = "";
      location.assign(following());
      return;
    }
    const problem = await response.json().catch(() => null);
    complain(problem?.detail || `The gateway answers ${response.status}.`);
  } catch {
    complain("The gateway does not answer.");
  }
  byId("submit").disabled = false;
  byId("token").focus();
});

byId("logout").addEventListener("click", async () => {
  await fetch(SESSION, { method: "DELETE" }).catch(() => null);
  location.reload();
});

show();
byId("token").focus();
