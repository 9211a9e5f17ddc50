// How the pipeline does: what comes in, what waits, who works on which partitions, and what each process says of itself.

import { pipeline, readiness } from "../api.js";
import { Chart } from "../components/chart.js";
import { card, failure, loading, nothing, pageHead, tile } from "../components/panels.js";
import { make, put, rebuild } from "../dom.js";
import { count, duration, measure, plural } from "../format.js";
import { missingOf } from "../freshness.js";
import { keepFresh } from "../poll.js";

const EVERY_MS = 2000;
const SAMPLES_MAX = 900;

export const name = "pipeline-page";

// Kept while the page is away, so that coming back shows what was: bounded, and begun anew after a long gap.
const samples = { xs: [], rate: [], lag: [] };

export function take(into, atS, rate, lag, most = SAMPLES_MAX) {
  const gapS = atS - (into.xs.at(-1) ?? atS);
  // A hole in the line, where nobody looked.
  if (gapS > 30) {
    into.xs.push(atS - 0.001);
    into.rate.push(null);
    into.lag.push(null);
  }
  into.xs.push(atS);
  into.rate.push(rate);
  into.lag.push(lag);
  for (const each of [into.xs, into.rate, into.lag]) if (each.length > most) each.splice(0, each.length - most);
}

export function mount(root, { signal }) {
  const tiles = { rate: tile("Messages in"), lag: tile("Lag"), workers: tile("Workers"), partitions: tile("Partitions answering"), breaker: tile("Circuit breaker") };
  const rates = card("Messages in, and those that wait", { classes: "rates-card" });
  const owners = card("Partitions", { classes: "owners-card", body: make("div", { class: "pad" }, loading()) });
  const workers = card("Workers", { classes: "workers-card", body: make("div", {}, loading()) });
  const gateway = card("Gateway", { classes: "gateway-card", body: make("div", {}, loading()) });
  root.append(pageHead("Pipeline"), make("div", { class: "tiles" }, ...Object.values(tiles).map((each) => each.element)),
    make("div", { class: "pipeline-grid" }, rates.element, owners.element, workers.element, gateway.element));

  const chart = new Chart(rates.body, { label: "Messages per second, and messages that wait", height: 220, fromZero: true, leastSpanS: 120, signal });
  const map = make("ol", { class: "partitions" });
  const list = make("ul", { class: "rows" });
  const poll = keepFresh({
    name: "pipeline", everyMs: EVERY_MS, signal, load: pipeline, missing: (state) => missingOf(state, "devices"),
    show(state) {
      showTiles(tiles, state);
      take(samples, Date.parse(state.asOf) / 1000, state.eventsPerSecond, state.lag?.messages ?? null);
      const lines = [{ name: "In", unit: "/s", values: samples.rate }];
      if (state.lag) lines.push({ name: "Waiting", unit: "", values: samples.lag, say: count });
      chart.show(samples.xs, lines);
      showPartitions(owners.body, map, state);
      put(workers.body, state.workers.length ? list : nothing("No worker has been heard of. Telemetry waits in Kafka until one is there."));
      rebuild(list, state.workers, (each) => each.url, (each) => workerRow(each, state.workers.indexOf(each)));
    },
    onError: (error) => workers.body.querySelector(".loading") && [workers, owners].forEach((each) => put(each.body, failure(error, () => poll.refresh()))),
  });
  const checks = make("ul", { class: "rows" });
  keepFresh({
    name: "readiness", everyMs: 5000, signal, load: readiness,
    show(answer) {
      put(gateway.body, checks);
      rebuild(checks, Object.entries(answer.checks ?? {}), ([check]) => check, ([check, found]) => checkRow(check, found), (each) => JSON.stringify([each[0], each[1].ok, each[1].detail]));
    },
  });
}

function showTiles(tiles, state) {
  const alive = state.workers.filter((each) => each.live);
  tiles.rate.show(state.eventsPerSecond === null ? ["–"] : [measure(state.eventsPerSecond), "/s"], `${count(state.eventsTotal)} in all`);
  const lag = state.lag?.messages;
  tiles.lag.show([count(lag)], lag === undefined || lag === null ? "not known" : lag > 0 && state.eventsPerSecond ? `about ${duration(lag / state.eventsPerSecond)} of messages` : "everything is taken in");
  tiles.workers.show([count(alive.length)], alive.length === state.workers.length ? "all answer" : `of ${count(state.workers.length)} known`);
  tiles.workers.element.classList.toggle("bad", alive.length < state.workers.length || !alive.length);
  tiles.partitions.show([count(state.partitionsAnswered)], `of ${count(state.partitionsTotal)}`);
  tiles.partitions.element.classList.toggle("bad", state.partitionsAnswered < state.partitionsTotal);
  const open = alive.filter((each) => each.breaker && each.breaker !== "closed");
  const known = alive.some((each) => each.breaker);
  tiles.breaker.show([!known ? "–" : open.length ? "Open" : "Closed"], !known ? "not known" : open.length ? `at ${plural(open.length, "worker")}` : "Kafka takes what is written");
  tiles.breaker.element.classList.toggle("bad", open.length > 0);
}

// One cell for each partition: its number, its worker, and what waits in it.
function showPartitions(body, map, { partitionsTotal, workers, lag }) {
  if (!partitionsTotal) return put(body, nothing("No worker has said yet which partitions there are."));
  put(body, map);
  const cells = Array.from({ length: partitionsTotal }, (_, partition) => {
    const owner = workers.findIndex((each) => each.partitions.includes(partition));
    return { partition, owner, live: owner >= 0 && workers[owner].live, waiting: lag?.byPartition?.[partition] ?? null };
  });
  return rebuild(map, cells, (each) => each.partition, (each) => {
    const state = each.owner < 0 ? "nobody" : each.live ? "answers" : "away";
    const who = each.owner < 0 ? "no owner" : `worker ${each.owner + 1}`;
    return make("li", { class: `partition ${state} w${each.owner % 6}` }, make("b", {}, each.partition), make("span", {}, who), make("small", {}, state === "answers" ? (each.waiting === null ? "✓" : each.waiting ? `${count(each.waiting)} wait` : "✓ up to date") : `▲ ${state === "away" ? "away" : "recovering"}`));
  });
}

function workerRow(worker, at) {
  const checks = Object.entries(worker.checks ?? {});
  const badge = !worker.live ? ["poor", "▲ Away"] : worker.ready === false ? ["fair", "◆ Not ready"] : worker.ready ? ["good", "● Ready"] : ["good", "● Answers"];
  return make("li", {}, make("div", { class: "worker-head" }, make("strong", {}, `Worker ${at + 1}`), make("span", { class: "muted worker-url" }, worker.url), make("span", { class: `badge ${badge[0]}` }, badge[1])),
    make("p", { class: "muted" }, `${plural(worker.partitions.length, "partition")}: ${worker.partitions.join(", ") || "none"}`),
    checks.length ? make("ul", { class: "checks" }, ...checks.map(([check, found]) => checkRow(check, found))) : null);
}

function checkRow(check, found) {
  return make("li", { class: "check-row" }, make("span", { class: found.ok ? "t-ONLINE" : "t-ERROR", role: "img", "aria-label": found.ok ? "well" : "not well" }, found.ok ? "●" : "▲"),
    make("strong", {}, check), make("span", { class: "muted" }, found.detail || (found.ok ? "well" : "not well"), found.required === false && !found.ok && " (works without it)"));
}
