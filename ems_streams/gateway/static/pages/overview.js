// The fleet at a glance: how it is, what it gives, what is wrong, and what has just happened.

import { alarms, pipeline, sites } from "../api.js";
import { alarmBadge, severityMark } from "../components/badges.js";
import { Chart } from "../components/chart.js";
import { notificationRow } from "../components/notification-row.js";
import { card, failure, loading, nothing, pageHead, tile } from "../components/panels.js";
import { shareBar } from "../components/share-bar.js";
import { SitesTable } from "../components/sites-table.js";
import { agoOf, withTimes } from "../components/time.js";
import { make, put, rebuild, setText } from "../dom.js";
import { energyToday } from "../energy-today.js";
import { clock, count, energy, measure, percent, plural, power } from "../format.js";
import { missingOf } from "../freshness.js";
import { live } from "../live.js";
import { keepFresh } from "../poll.js";
import { SEVERITIES, STATUSES, STATUS_LABELS, STATUS_MARKS, deviceHref, knownSeverity } from "../words.js";

const ALARMS_SHOWN = 6;
const NEWS_SHOWN = 8;
const ALARMS_COUNTED = 500;
const SILENT = new Set(["OFFLINE", "UNKNOWN"]);

export const name = "overview";

export function mount(root, { signal }) {
  const subtitle = make("p", { class: "muted" });
  const figures = figureTiles();
  const statuses = statusTiles();
  const share = shareBar();
  const table = new SitesTable();
  const chart = card("Power of the last hour", { classes: "power-card" });
  const sitesCard = card("Sites", { classes: "sites-card", body: make("div", {}, loading()) });
  const alarmsCard = card("Open alarms", { classes: "alarms-card", actions: [make("a", { href: "/alarms" }, "All alarms")], body: make("div", {}, loading()) });
  const newsCard = card("Recent notifications", { classes: "news-card", actions: [make("a", { href: "/notifications" }, "All notifications")], body: make("div", {}, loading()) });
  root.append(pageHead("Overview", subtitle), make("div", { class: "tiles figures" }, ...figures.elements),
    make("div", { class: "statuses" }, make("div", { class: "tiles", role: "group", "aria-label": "Devices by status" }, ...statuses.elements), share.element),
    make("div", { class: "overview-grid" }, make("div", { class: "stack" }, chart.element, sitesCard.element), make("div", { class: "stack" }, alarmsCard.element, newsCard.element)));

  const power = new PowerChart(chart.body, signal);
  let known = [];
  const fleet = keepFresh({
    name: "sites", everyMs: 3000, signal, load: sites, missing: (answer) => missingOf(answer, "devices"),
    show(answer) {
      known = answer.sites;
      setText(subtitle, `${plural(sum(known, (site) => site.devices), "device")} at ${plural(known.length, "site")}`);
      const counts = countsOf(known);
      statuses.show(counts);
      share.show(counts);
      figures.power(sum(known, (site) => site.powerKw), counts);
      if (!table.element.isConnected && known.length) put(sitesCard.body, table.element);
      if (known.length) table.show(known);
      else if (answer.partitionsAnswered < answer.partitionsTotal) put(sitesCard.body, nothing("No worker answers for the devices at the moment."));
      else put(sitesCard.body, nothing("No device has been heard of yet.", make("p", {}, "Devices appear here with their first message, or when they are imported into the registry.")));
      if (known.length && !askedForEnergy) startEnergy();
    },
    onError: (error) => known.length || put(sitesCard.body, failure(error, () => fleet.refresh())),
  });

  let askedForEnergy = false;
  function startEnergy() {
    askedForEnergy = true;
    keepFresh({
      name: "energy", everyMs: 60000, signal, load: (aborted) => energyToday(known, aborted),
      show(found) {
        figures.energy(found);
        table.showEnergy(found.bySite);
        power.show(found.power);
      },
    });
  }

  const alarmList = keepFresh({
    name: "alarms", everyMs: 5000, signal, missing: (answer) => missingOf(answer, "alarms"),
    load: openAlarms,
    show(answer) {
      figures.alarms(answer);
      showAlarms(alarmsCard.body, answer);
    },
    onError: (error) => alarmsCard.body.querySelector(".loading") && put(alarmsCard.body, failure(error, () => alarmList.refresh())),
  });
  keepFresh({ name: "pipeline", everyMs: 3000, signal, load: pipeline, show: figures.rate });

  const news = make("ol", { class: "rows" });
  const showNews = () => {
    if (!live.known) return;
    const newest = live.held.newestFirst.slice(0, NEWS_SHOWN);
    put(newsCard.body, newest.length ? news : nothing("Nothing has happened yet."));
    rebuild(news, newest, (each) => each.notificationId, (each) => notificationRow(each));
  };
  live.listen((event) => {
    if (event.type === "state") return;
    showNews();
    if (event.type === "news") for (const each of [fleet, alarmList]) each.told();
  }, signal);
  showNews();
}

// The newest, and if that is not all of them the critical ones however old they are.
async function openAlarms(aborted) {
  const wanted = { state: "RAISED,ACKNOWLEDGED", limit: ALARMS_COUNTED };
  const newest = await alarms(wanted, aborted);
  if (!newest.nextCursor) return newest;
  const critical = await alarms({ ...wanted, severity: "CRITICAL" }, aborted);
  const known = new Set(newest.alarms.map((each) => each.alarmId));
  return { ...newest, alarms: [...newest.alarms, ...critical.alarms.filter((each) => !known.has(each.alarmId))] };
}

const sum = (list, of) => list.reduce((total, each) => total + (of(each) ?? 0), 0);

export function countsOf(list) {
  return Object.fromEntries(STATUSES.map((status) => [status, sum(list, (site) => site.statuses[status])]));
}

function figureTiles() {
  const tiles = {
    power: tile("Power now"), energy: tile("Energy today"), alarms: tile("Open alarms", { href: "/alarms", classes: "open-alarms" }), rate: tile("Messages", { href: "/pipeline" }),
  };
  return {
    elements: Object.values(tiles).map((each) => each.element),
    power(kw, counts) {
      const silent = sum([...SILENT], (status) => counts[status]);
      tiles.power.show(power(kw), silent ? `without ${count(silent)} that are silent` : "of all devices");
    },
    energy({ bySite, failed, left }) {
      const told = [...bySite.values()].filter((each) => each.kwh !== null);
      const until = told.length ? Math.min(...told.map((each) => each.endMs)) : null;
      const lacking = failed + left;
      const note = lacking ? `without ${plural(lacking, "site")}` : until ? `up to ${clock(until, false)}` : "no window has closed yet";
      tiles.energy.show(told.length ? energy(sum(told, (each) => each.kwh)) : ["–"], note);
    },
    alarms(answer) {
      const { alarms: list, nextCursor } = answer;
      const critical = list.filter((each) => each.severity === "CRITICAL").length;
      const raised = list.filter((each) => each.state === "RAISED").length;
      const open = `${critical ? count(critical) : "none"} critical, ${raised ? count(raised) : "none"} unacknowledged`;
      tiles.alarms.show([`${count(list.length)}${nextCursor ? "+" : ""}`], list.length ? open : missingOf(answer, "alarms") ? "of those that answer" : "all is well");
      tiles.alarms.element.classList.toggle("bad", critical > 0);
    },
    rate(state) {
      const workers = `${state.workers.filter((each) => each.live).length} of ${plural(state.workers.length, "worker")}`;
      tiles.rate.show(state.eventsPerSecond === null ? ["–"] : [measure(state.eventsPerSecond), "/s"], workers);
    },
  };
}

function statusTiles() {
  const tiles = STATUSES.map((status) => {
    const found = tile(STATUS_LABELS[status], { href: `/devices?status=${status}`, classes: "status-tile" });
    found.element.querySelector(".label").prepend(make("span", { class: `mark t-${status}`, "aria-hidden": "true" }, STATUS_MARKS[status]));
    found.element.dataset.status = status;
    return found;
  });
  return {
    elements: tiles.map((each) => each.element),
    show(counts) {
      const total = sum(STATUSES, (status) => counts[status]);
      STATUSES.forEach((status, at) => tiles[at].show([count(counts[status])], total ? percent(counts[status] / total) : ""));
    },
  };
}

class PowerChart {
  constructor(body, signal) {
    this.body = body;
    this.signal = signal;
    put(body, loading());
  }

  show([xs, values]) {
    if (!xs.length) {
      if (!this.chart) put(this.body, nothing("No minute is complete yet. The first one is, about a minute after the first message."));
      return;
    }
    if (!this.chart) {
      put(this.body);
      this.chart = new Chart(this.body, { label: "Power of all sites, means of minutes", height: 220, leastSpanS: 600, signal: this.signal });
    }
    this.chart.show(xs, [{ name: "Power", unit: "kW", values }]);
  }
}

// What nobody has taken note of first, then by severity; among equals the newest, as they come.
export function mostUrgent(list) {
  const rank = (alarm) => (alarm.state === "RAISED" ? 0 : SEVERITIES.length) + SEVERITIES.indexOf(knownSeverity(alarm.severity));
  return [...list].sort((one, two) => rank(one) - rank(two));
}

function showAlarms(body, answer) {
  const { alarms: list } = answer;
  if (!list.length) return put(body, nothing(missingOf(answer, "alarms") ? "No alarm is open where it is known." : "No alarm is open."));
  const rows = body.querySelector("ol") ?? make("ol", { class: "rows" });
  if (!rows.isConnected) put(body, rows);
  return rebuild(rows, mostUrgent(list).slice(0, ALARMS_SHOWN), (each) => each.alarmId, (each) =>
    make("li", { class: "note-row" }, severityMark(each.severity), make("strong", {}, make("a", { href: deviceHref(each.serialNumber) }, each.serialNumber), ` ${each.title}`), agoOf(each.raisedAt),
      make("p", {}, alarmBadge(each.state), " ", withTimes(each.message))));
}
