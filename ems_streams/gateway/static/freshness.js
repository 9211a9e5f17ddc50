// How fresh what is on the screen is, from everybody who asks for something: said in words and by shape, in one place.

const STALE_MS = 10000;

// The sources of one page; each says when it was last answered, or why it was not.
export class Freshness {
  constructor(clock = () => Date.now()) {
    this.clock = clock;
    this.sources = new Map();
    this.socket = "connecting";
    this.resumedAtMs = clock();
  }

  source(name, everyMs) {
    const source = { everyMs, okAtMs: null, beganAtMs: this.clock(), error: null, missing: null };
    this.sources.set(name, source);
    return {
      ok: (missing = null) => Object.assign(source, { okAtMs: this.clock(), error: null, missing }),
      failed: (message) => Object.assign(source, { error: message }),
      end: () => this.sources.get(name) === source && this.sources.delete(name),
    };
  }

  // A page that was hidden asked for nothing: its data is old, and nobody is to blame.
  resumed() {
    this.resumedAtMs = this.clock();
  }

  // {state: live | waiting | lost | stale, text, banner: what to tell at length, or null}
  state(online = true) {
    const now = this.clock();
    const sources = [...this.sources.values()];
    const age = (each) => now - Math.max(each.okAtMs ?? each.beganAtMs, this.resumedAtMs);
    const stale = sources.filter((each) => age(each) > Math.max(STALE_MS, 3 * each.everyMs));
    const failed = sources.find((each) => each.error);
    const missing = sources.map((each) => each.missing).find(Boolean) ?? null;
    if (!online) return { state: "lost", text: "Offline", banner: "This computer is offline. What is shown is what was known before." };
    if (stale.length) {
      const oldest = Math.max(...stale.map((each) => now - (each.okAtMs ?? each.beganAtMs)));
      const seconds = Math.round(oldest / 1000);
      return { state: "stale", text: "Stale", ageS: seconds, banner: `What is shown is old. ${failed?.error ?? "The server is slow to answer."}` };
    }
    const trouble = failed ? `Not up to date: ${failed.error}` : missing;
    if (this.socket === "live") return { state: "live", text: "Live", banner: trouble };
    if (this.socket === "connecting") return { state: "waiting", text: "Connecting", banner: trouble };
    return { state: "lost", text: "Reconnecting", banner: trouble };
  }
}

export const freshness = new Freshness();

// What a list over many workers lacks, in words; null when nothing.
export function missingOf(answer, what) {
  const { partitionsAnswered: answered, partitionsTotal: total } = answer ?? {};
  if (!(answered < total)) return null;
  return `${answered} of ${total} partitions answer: ${what} of the others are missing for the moment.`;
}
