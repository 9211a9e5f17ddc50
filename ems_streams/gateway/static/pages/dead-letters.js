// Dead letters: groups, the letters of one, and one in full.

import { deadLetters, deadLetterTopics, redriveLetters } from "../api.js";
import { askFor } from "../components/dialog.js";
import { card, loading, nothing, pageHead } from "../components/panels.js";
import { agoOf, setAgo } from "../components/time.js";
import { make, put, setText } from "../dom.js";
import { count, plural } from "../format.js";
import { LetterDetail } from "../letters/letter.js";
import { outcomeText, showResult, untilFinished } from "../letters/redrives.js";
import { keepFresh } from "../poll.js";
import { may, whyNot } from "../session.js";

const PAGE = 50;
const REFRESH_MS = 30000;
const QUARANTINE = "dead-letter-quarantine";

export const name = "letters-page";

const sameGroup = (one, other) => one && other && one.topic === other.topic && one.errorClass === other.errorClass && one.stage === other.stage;
// Beyond so many groups the rest are counted together: no filter says which letters those are.
const isRest = (group) => group.errorClass === "(others)";

export function mount(root, { signal }) {
  if (may("letters")) new DeadLetters(root, signal);
  else root.append(pageHead("Dead letters"), make("div", { class: "card" }, nothing(whyNot("letters"))));
}

class DeadLetters {
  constructor(root, signal) {
    Object.assign(this, { signal, group: null, cursor: null, letters: [], asked: 0 });
    this.detail = new LetterDetail({ onClose: () => this.select(null), onDone: () => this.poll.refresh(), signal });
    this.openTotal = make("b", { id: "open-total" }, "–");
    this.quarantined = make("b", { id: "quarantined-total" }, "–");
    const totals = make("p", { class: "muted totals push" }, this.openTotal, " open · ", this.quarantined, " quarantined");
    root.append(pageHead("Dead letters", totals), make("div", { class: "letters-grid" }, this.groupsCard(), this.lettersCard(), this.detail.element));
    this.poll = keepFresh({
      name: "dead letters", everyMs: REFRESH_MS, signal, load: deadLetterTopics, show: ({ topics }) => this.showTopics(topics),
      onError: () => put(this.groupsWaiting),
    });
  }

  groupsCard() {
    this.groupsNote = make("p", { class: "muted", id: "groups-note", role: "status" });
    this.readAt = make("time", { "data-ago": true });
    this.age = make("p", { class: "muted wide", hidden: true }, "Read ", this.readAt);
    this.withDone = make("input", { id: "with-done", type: "checkbox", onchange: () => this.poll.refresh() });
    this.groups = make("tbody", { id: "groups" });
    this.groupsEmpty = make("p", { class: "empty", id: "groups-empty", hidden: true });
    this.groupsWaiting = make("div", {}, loading("Reading the dead letters"));
    const heads = [["Error", ""], ["Stage", "wide"], ["Topic", "wide"], ["Open", "num"], ["All", "num wide"], ["First", "num wide"], ["Last", "num"]];
    const refresh = make("button", { id: "refresh", type: "button", class: "action", onclick: () => this.poll.refresh() }, "Refresh");
    const done = make("label", { class: "check" }, this.withDone, make("span", {}, "With redriven ones"));
    return card("Groups", { classes: "groups", actions: [this.groupsNote, this.age, done, refresh], body: make("div", {}, table("Groups of dead letters", heads, this.groups), this.groupsEmpty, this.groupsWaiting) }).element;
  }

  lettersCard() {
    this.note = make("p", { class: "muted", id: "letters-note", role: "status" });
    const allowed = may("redrive");
    const button = (id, text, classes, act) => make("button", { id, type: "button", class: classes, disabled: !allowed, title: allowed ? null : whyNot("redrive"), onclick: act }, text);
    this.buttons = [button("group-dry-run", "Dry run of all", "action", () => this.redrive(true)), button("group-redrive", "Redrive all", "action strong", () => this.confirm())];
    this.actions = make("div", { class: "actions", id: "group-actions", hidden: true }, ...this.buttons);
    this.result = make("div", { id: "group-result", class: "result", role: "status", hidden: true });
    this.rows = make("tbody", { id: "letters" });
    this.empty = make("p", { class: "empty", id: "letters-empty" }, "Choose a group to see its letters.");
    this.more = make("button", { id: "more", type: "button", class: "action", onclick: () => this.load(this.cursor) }, "Older letters");
    this.foot = make("p", { class: "more", hidden: true }, this.more);
    const heads = [["Key", ""], ["Reason", ""], ["Replays", "num third"], ["State", "second"], ["Put aside", "num"]];
    const made = card("Letters", { classes: "letters", actions: [this.note, this.actions], body: make("div", {}, this.result, table("Letters of the group", heads, this.rows), this.empty, this.foot) });
    this.heading = made.heading;
    return made.element;
  }

  showTopics(topics) {
    put(this.groupsWaiting);
    setAgo(this.readAt, new Date().toISOString());
    this.age.hidden = false;
    const groups = topics.flatMap((topic) => topic.groups.map((group) => ({ ...group, topic: topic.topic })));
    const shown = groups.filter((group) => this.withDone.checked || group.open > 0).sort((one, two) => two.open - one.open || two.lastSeen.localeCompare(one.lastSeen));
    const partly = topics.filter((topic) => !topic.complete).map((topic) => `${topic.topic} (newest ${count(topic.scanned)} of about ${count(topic.letters)})`);
    setText(this.groupsNote, partly.length ? `Counted in part: ${partly.join(", ")}` : "");
    setText(this.openTotal, count(topics.filter((topic) => topic.topic !== QUARANTINE).reduce((sum, topic) => sum + topic.open, 0)));
    setText(this.quarantined, count(topics.find((topic) => topic.topic === QUARANTINE)?.open ?? 0));
    this.groupsEmpty.hidden = shown.length > 0;
    setText(this.groupsEmpty, groups.length ? "Every letter was dealt with." : "There are no dead letters. Whatever cannot be processed comes here, with its bytes and the reason.");
    putRows(this.groups, "group", shown.map((group) => this.groupRow(group)));
    // Most people come for the largest group.
    if (!this.group && shown.length) this.choose(shown[0], this.groups.rows[0]);
    else if (this.group) this.load();
  }

  groupRow(group) {
    const open = make("button", { type: "button", class: "link" }, group.errorClass);
    const row = make("tr", { class: "row", "data-group": `${group.topic} ${group.stage} ${group.errorClass}`, "data-chosen": String(Boolean(sameGroup(group, this.group))), title: group.exampleMessage },
      make("td", {}, open), make("td", { class: "wide" }, group.stage), make("td", { class: "wide", title: group.topic }, group.topic), make("td", { class: "num" }, count(group.open)),
      make("td", { class: "num wide" }, count(group.count)), make("td", { class: "num wide" }, agoOf(group.firstSeen)), make("td", { class: "num" }, agoOf(group.lastSeen)));
    row.addEventListener("click", () => this.choose(group, row));
    return row;
  }

  choose(group, row) {
    this.group = group;
    for (const each of this.groups.rows) each.dataset.chosen = String(each === row);
    showResult(this.result, null);
    this.load();
  }

  query(cursor) {
    const { group } = this;
    const filter = isRest(group) ? {} : { errorClass: group.errorClass, stage: group.stage };
    return { limit: PAGE, ...filter, state: this.withDone.checked ? null : "open", cursor };
  }

  async load(cursor = null) {
    const asked = ++this.asked;
    const { group } = this;
    try {
      const page = await deadLetters(group.topic, this.query(cursor), this.signal);
      if (asked !== this.asked) return;
      this.letters = cursor ? [...this.letters, ...page.letters] : page.letters;
      this.cursor = page.nextCursor;
      this.showLetters();
    } catch (error) {
      if (!this.signal.aborted) showResult(this.result, `The letters of ${group.topic} cannot be read: ${error.message}`, "bad");
    }
  }

  showLetters() {
    const { group, letters, cursor } = this;
    setText(this.heading, group.errorClass);
    setText(this.note, `${group.stage}, ${group.topic}, newest first`);
    this.actions.hidden = !letters.length || isRest(group);
    this.empty.hidden = letters.length > 0;
    setText(this.empty, cursor ? "None among the newest; older ones may be there." : "No letter of this group is open.");
    this.foot.hidden = !cursor;
    putRows(this.rows, "id", letters.map((letter) => this.letterRow(letter)));
  }

  letterRow(letter) {
    const open = make("button", { type: "button", class: "link" }, letter.key ?? "no key");
    const row = make("tr", { class: "row", "data-id": letter.id, "data-chosen": String(this.detail.shows(letter)) },
      make("td", {}, open), make("td", { class: "reason-cell", title: letter.errorMessage }, make("span", {}, letter.errorMessage ?? letter.preview ?? "")),
      make("td", { class: "num third" }, count(letter.replayCount)), make("td", { class: "second" }, make("span", { class: `tag ${letter.state}` }, letter.state)), make("td", { class: "num" }, agoOf(letter.at)));
    row.addEventListener("click", () => {
      this.select(letter.id);
      this.detail.open(letter, open);
    });
    return row;
  }

  select(id) {
    for (const row of this.rows.rows) row.dataset.chosen = String(row.dataset.id === id);
  }

  async confirm() {
    const { group } = this;
    const sure = await askFor({
      title: "Redrive all of this group?", text: `${plural(group.open, "letter")} of ${group.errorClass}, from ${group.topic}, as they are. A dry run says before what would become of them.`,
      confirm: "Redrive all", act: () => true,
    });
    if (sure) await this.redrive(false);
  }

  async redrive(dryRun) {
    const { group } = this;
    const filter = { errorClass: group.errorClass, stage: group.stage };
    for (const each of this.buttons) each.disabled = true;
    showResult(this.result, dryRun ? "Looking at every letter of the group" : "Redriving");
    try {
      const answer = await redriveLetters(group.topic, { filter, dryRun });
      if (dryRun) showResult(this.result, `Dry run: ${outcomeText(answer)}. Nothing was written.`, Object.keys(answer.refusals).length ? "bad" : "");
      else await this.follow(answer);
    } catch (error) {
      showResult(this.result, error.message, "bad");
    } finally {
      for (const each of this.buttons) each.disabled = false;
    }
  }

  async follow(answer) {
    const done = await untilFinished(answer, (now) => showResult(this.result, `Redrive ${now.redriveId}: ${count(now.offsetsDone)} of ${count(now.offsetsTotal)} looked at`), this.signal);
    if (this.signal.aborted) return;
    showResult(this.result, `Redrive ${done.redriveId} ${done.state}: ${outcomeText(done)}.`, done.error || Object.keys(done.refusals).length ? "bad" : "good");
    await this.poll.refresh();
  }
}

// Rows in place of those that are there; the one of the same thing keeps the focus.
function putRows(body, name, rows) {
  const focused = body.contains(document.activeElement) ? document.activeElement.closest("tr").dataset[name] : null;
  put(body, ...rows);
  if (focused) rows.find((row) => row.dataset[name] === focused)?.querySelector("button").focus();
}

function table(label, heads, body) {
  return make("table", { "aria-label": label }, make("thead", {}, make("tr", {}, ...heads.map(([text, classes]) => make("th", { scope: "col", class: classes || null }, text)))), body);
}
