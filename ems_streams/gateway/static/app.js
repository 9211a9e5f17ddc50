// Puts the page together: asks for the devices about once a second, and shows what comes.

import { allDevices, pipeline } from "./api.js";
import { DeviceDetail } from "./detail.js";
import { byId, count, LABELS, make, MARKS, number, power, setAttribute, setText, STATUSES, statusOf, untold } from "./dom.js";
import { NotificationFeed } from "./feed.js";
import { DeviceTable } from "./table.js";

const REFRESH_MS = 1000;
// With many devices a refresh takes longer; it must not keep browser and gateway busy all the time.
const REST_PER_WORK = 3;

let devices = [];
let answered = true;

const table = new DeviceTable((serial, origin) => {
  table.select(serial);
  detail.open(serial, origin);
});
const detail = new DeviceDetail(() => table.select(null));
const feed = new NotificationFeed((state, text) => {
  setAttribute(byId("connection"), "data-state", state);
  setText(byId("connection-text"), text);
});

const tiles = buildTiles();

function buildTiles() {
  const parts = { power: make("b", {}, "–") };
  const group = byId("tiles");
  group.append(make("div", { class: "tile" }, parts.power, make("span", {}, "Power now")));
  for (const status of STATUSES) {
    parts[status] = make("b", {}, "–");
    const mark = make("span", { class: `mark t-${status}`, "aria-hidden": "true" }, MARKS[status]);
    const tile = make("button", { class: "tile", type: "button", "aria-pressed": "false", "data-status": status }, parts[status], make("span", {}, mark, LABELS[status]));
    tile.addEventListener("click", () => {
      byId("status").value = byId("status").value === status ? "" : status;
      showDevices();
    });
    group.append(tile);
  }
  return parts;
}

function showDevices() {
  const text = byId("filter").value.trim().toLowerCase();
  const wanted = byId("status").value;
  const matches = (device) =>
    !text || `${device.serialNumber} site ${device.siteId} ${device.deviceType} ${device.statusReason ?? ""} ${untold(device)}`.toLowerCase().includes(text);
  const shown = devices.filter((device) => (!wanted || statusOf(device) === wanted) && matches(device));
  table.show(shown);
  setText(byId("count"), shown.length === devices.length ? count(devices.length) : `${count(shown.length)} of ${count(devices.length)}`);
  byId("empty").hidden = shown.length > 0;
  setText(byId("empty"), devices.length ? "No device matches the filter." : answered ? "No device has been heard of yet." : "Waiting for the live tables.");
  document.querySelectorAll("[data-status]").forEach((tile) => setAttribute(tile, "aria-pressed", String(tile.dataset.status === wanted)));
}

function showTotals() {
  const counts = Object.fromEntries(STATUSES.map((status) => [status, 0]));
  let totalKw = 0;
  for (const device of devices) {
    const status = statusOf(device);
    counts[status] += 1;
    if (status !== "OFFLINE" && status !== "UNKNOWN") totalKw += device.latest?.powerKw ?? 0;
  }
  for (const status of STATUSES) setText(tiles[status], count(counts[status]));
  const [value, unit] = power(totalKw);
  tiles.power.replaceChildren(`${value} `, make("small", {}, unit));
}

function showTrouble(message) {
  setText(byId("banner"), message ?? "");
  byId("banner").hidden = !message;
}

async function refreshDevices() {
  const began = performance.now();
  try {
    const list = await allDevices();
    answered = true;
    devices = list.devices;
    showTrouble(list.answered < list.total ? `${list.answered} of ${list.total} partitions answer; devices of the others are missing for the moment.` : null);
  } catch (error) {
    answered = false;
    showTrouble(`Devices are not up to date: ${error.message}`);
  }
  showDevices();
  showTotals();
  return performance.now() - began;
}

async function refreshPipeline() {
  try {
    const state = await pipeline();
    setText(byId("rate"), state.eventsPerSecond === null ? "–" : number(state.eventsPerSecond, state.eventsPerSecond < 10 ? 1 : 0));
    setText(byId("workers"), `${state.workers.filter((worker) => worker.live).length} of ${state.workers.length}`);
    setText(byId("partitions"), `${state.partitionsAnswered} of ${state.partitionsTotal}`);
  } catch {
    for (const id of ["rate", "workers", "partitions"]) setText(byId(id), "–");
  }
}

async function keepFresh() {
  let tookMs = 0;
  if (!document.hidden) [tookMs] = await Promise.all([refreshDevices(), refreshPipeline()]);
  setTimeout(keepFresh, Math.max(REFRESH_MS - tookMs, REST_PER_WORK * tookMs, 200));
}

byId("filter").addEventListener("input", showDevices);
byId("status").addEventListener("change", showDevices);
keepFresh();
feed.connect();
