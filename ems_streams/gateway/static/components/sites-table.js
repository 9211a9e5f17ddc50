// Sites with what they give and how their devices are.

import { make, reconcile, setAttribute, setText } from "../dom.js";
import { count, energy, power } from "../format.js";
import { STATUS_LABELS, siteHref, siteName } from "../words.js";
import { shareBar } from "./share-bar.js";

const FIRST_SHOWN = 25;

export class SitesTable {
  constructor() {
    this.body = make("tbody");
    this.energy = new Map();
    this.all = false;
    this.more = make("button", { type: "button", class: "action", onclick: () => this.showAll() });
    this.foot = make("p", { class: "more", hidden: true }, this.more);
    const head = [["Site", ""], ["Devices", "wide"], ["Power now", "num"], ["Energy today", "num"], ["Offline", "num"], ["Error", "num wide"]];
    const table = make("table", { class: "sites" }, make("thead", {}, make("tr", {}, ...head.map(([text, classes]) => make("th", { scope: "col", class: classes || null }, text)))), this.body);
    this.element = make("div", {}, table, this.foot);
  }

  show(sites) {
    this.sites = sites;
    const shown = this.all ? sites : sites.slice(0, FIRST_SHOWN);
    this.foot.hidden = shown.length === sites.length;
    setText(this.more, `Show all ${count(sites.length)} sites`);
    reconcile(this.body, shown, (site) => site.siteId, newRow, (row, site) => this.paint(row, site));
  }

  showEnergy(bySite) {
    this.energy = bySite;
    if (this.sites) this.show(this.sites);
  }

  showAll() {
    this.all = true;
    this.show(this.sites);
    this.body.rows[FIRST_SHOWN]?.querySelector("a").focus();
  }

  paint(row, site) {
    const { parts } = row;
    const { OFFLINE: offline = 0, ERROR: broken = 0 } = site.statuses;
    setText(parts.total, count(site.devices));
    parts.share.show(site.statuses);
    setText(parts.power, power(site.powerKw).join(" "));
    setText(parts.energy, energy(this.energy.get(site.siteId)?.kwh ?? null).join(" ").trim());
    setText(parts.offline, count(offline));
    parts.offline.className = offline ? "" : "muted";
    setText(parts.broken, broken ? `▲ ${count(broken)}` : "0");
    parts.broken.className = broken ? "t-ERROR" : "muted";
    leadTo(parts.offline, site, "OFFLINE", offline);
    leadTo(parts.broken, site, "ERROR", broken);
  }
}

// From a count to the devices that it is of; there is no way to none.
function leadTo(link, site, status, devices) {
  setAttribute(link, "href", devices ? `${siteHref(site.siteId)}&status=${status}` : null);
  setAttribute(link, "aria-label", devices ? `${count(devices)} ${STATUS_LABELS[status].toLowerCase()} at ${siteName(site.siteId)}` : null);
}

function newRow(site) {
  const parts = { total: make("span", { class: "num" }), share: shareBar(), power: make("td", { class: "num" }), energy: make("td", { class: "num" }), offline: make("a"), broken: make("a") };
  const devices = make("td", { class: "wide" }, make("div", { class: "site-devices" }, parts.total, parts.share.element));
  const row = make("tr", {}, make("th", { scope: "row" }, make("a", { href: siteHref(site.siteId) }, siteName(site.siteId))), devices, parts.power, parts.energy,
    make("td", { class: "num" }, parts.offline), make("td", { class: "num wide" }, parts.broken));
  row.parts = parts;
  return row;
}
