// Asking again and again, cheaply: never while the page is hidden, slower while answers take long or fail, sooner when something has happened.

import { freshness } from "./freshness.js";

const REST_PER_WORK = 3;
const LONGEST_PAUSE_MS = 30000;
// What happens within so long is asked for together.
const NEWS_MS = 300;

// How long to wait before asking again.
export function pauseMs(everyMs, tookMs, failures, retryAfterS = null) {
  const backedOff = failures ? Math.min(LONGEST_PAUSE_MS, everyMs * 2 ** Math.min(failures, 6)) : everyMs;
  return Math.max(backedOff, REST_PER_WORK * tookMs, (retryAfterS ?? 0) * 1000);
}

/** Calls `load` and shows what it gives until the signal says that the page was left.
 *
 * name: of the source, once in a page; load: async (signal) => data; show: (data) => void; onError: (error) => void, optional;
 * missing: (data) => words for what the answer lacks, or null.
 * Gives `refresh()` for what people do: it asks at once, or once more when asking already; and `told()` for what may happen many times a second:
 * it asks soon, but never without the rest after the last answer.
 */
export function keepFresh({ name, everyMs, load, show, onError, missing, signal }) {
  const source = freshness.source(name, everyMs);
  let timer = null;
  let dueMs = 0;
  let running = false;
  let again = false;
  let news = false;
  let failures = 0;
  let restedAtMs = 0;

  function askIn(waitMs) {
    clearTimeout(timer);
    dueMs = performance.now() + waitMs;
    timer = setTimeout(round, waitMs);
  }

  async function round() {
    if (signal.aborted || document.hidden) return;
    if (running) {
      again = true;
      return;
    }
    running = true;
    again = false;
    news = false;
    clearTimeout(timer);
    const began = performance.now();
    let retryAfterS = null;
    try {
      const data = await load(signal);
      if (signal.aborted) return;
      failures = 0;
      source.ok(missing?.(data) ?? null);
      show(data);
    } catch (error) {
      if (signal.aborted) return;
      failures += 1;
      retryAfterS = error.retryAfterS ?? null;
      if (!(error.status > 0 || error.status === 0)) console.error(error);
      if (onError?.(error) === "fine") source.ok();
      else source.failed(error.message);
    } finally {
      running = false;
      const tookMs = performance.now() - began;
      restedAtMs = began + tookMs + pauseMs(failures ? everyMs : 0, tookMs, failures, retryAfterS);
      if (!signal.aborted) askIn(again ? 0 : pauseMs(news && !failures ? NEWS_MS : everyMs, tookMs, failures, retryAfterS));
    }
  }

  function told() {
    if (running) news = true;
    if (running || signal.aborted || document.hidden) return;
    const waitMs = Math.max(NEWS_MS, restedAtMs - performance.now());
    if (performance.now() + waitMs < dueMs) askIn(waitMs);
  }

  document.addEventListener("visibilitychange", () => !document.hidden && round(), { signal });
  addEventListener("online", round, { signal });
  signal.addEventListener("abort", () => {
    clearTimeout(timer);
    source.end();
  });
  round();
  return { refresh: round, told };
}

// Runs at most once in a while, also while calls keep coming, and always after the last one.
export function throttled(call, waitMs, signal) {
  let timer = null;
  signal.addEventListener("abort", () => clearTimeout(timer));
  return () => {
    if (signal.aborted) return;
    timer ??= setTimeout(() => {
      timer = null;
      call();
    }, waitMs);
  };
}

// Runs when no call has come for a while: for what is being typed.
export function debounced(call, waitMs, signal) {
  let timer = null;
  signal?.addEventListener("abort", () => clearTimeout(timer));
  return (...given) => {
    if (signal?.aborted) return;
    clearTimeout(timer);
    timer = setTimeout(() => call(...given), waitMs);
  };
}
