// Dead letters: groups, the letters of one, and one in full.

import { deadLetters, deadLetterTopics, redriveLetters } from "./api.js";
import { ago, byId, count, make, setText } from "./dom.js";
import { LetterDetail } from "./letter.js";
import { outcomeText, showResult, untilFinished } from "./redrives.js";

const PAGE = 50;

const state = { group: null, cursor: null, letters: [], asked: 0 };
const detail = new LetterDetail({ onClose: () => select(null), onDone: () => refresh() });

const withDone = () => byId("with-done").checked;
const sameGroup = (one, other) => one && other && one.topic === other.topic && one.errorClass === other.errorClass && one.stage === other.stage;
// Beyond so many groups the rest are counted together: no filter says which letters those are.
const isRest = (group) => group.errorClass === "(others)";

function showTrouble(message) {
  setText(byId("banner"), message ?? "");
  byId("banner").hidden = !message;
}

async function refresh() {
  byId("refresh").disabled = true;
  try {
    const list = await deadLetterTopics();
    showTrouble(null);
    showGroups(list.topics);
    if (state.group) await loadLetters();
  } catch (error) {
    showTrouble(`Dead letters cannot be read: ${error.message}`);
  } finally {
    byId("refresh").disabled = false;
  }
}

function showGroups(topics) {
  const groups = topics.flatMap((topic) => topic.groups.map((group) => ({ ...group, topic: topic.topic })));
  const shown = groups.filter((group) => withDone() || group.open > 0).sort((one, two) => two.open - one.open || two.lastSeen.localeCompare(one.lastSeen));
  const partly = topics.filter((topic) => !topic.complete).map((topic) => `${topic.topic} (newest ${count(topic.scanned)} of about ${count(topic.letters)})`);
  setText(byId("groups-note"), partly.length ? `Counted in part: ${partly.join(", ")}` : "");
  setText(byId("open-total"), count(topics.filter((topic) => topic.topic !== "dead-letter-quarantine").reduce((sum, topic) => sum + topic.open, 0)));
  setText(byId("quarantined-total"), count(topics.find((topic) => topic.topic === "dead-letter-quarantine")?.open ?? 0));
  byId("groups-empty").hidden = shown.length > 0;
  setText(byId("groups-empty"), groups.length ? "Every letter was dealt with." : "There are no dead letters.");
  byId("groups").replaceChildren(...shown.map(groupRow));
}

function groupRow(group) {
  const open = make("button", { type: "button", class: "link" }, group.errorClass);
  const row = make("tr", { class: "row", "aria-selected": String(Boolean(sameGroup(group, state.group))), title: group.exampleMessage },
    make("td", {}, open), make("td", {}, group.stage), make("td", { class: "wide" }, group.topic),
    make("td", { class: "num" }, count(group.open)), make("td", { class: "num wide" }, count(group.count)),
    make("td", { class: "num wide" }, ago(group.firstSeen, Date.now())), make("td", { class: "num" }, ago(group.lastSeen, Date.now())));
  row.addEventListener("click", () => {
    state.group = group;
    byId("groups").querySelectorAll("tr").forEach((each) => each.setAttribute("aria-selected", String(each === row)));
    showResult(byId("group-result"), null);
    loadLetters();
  });
  return row;
}

function query(cursor) {
  const { group } = state;
  const asked = new URLSearchParams({ limit: PAGE });
  if (!isRest(group)) {
    asked.set("errorClass", group.errorClass);
    asked.set("stage", group.stage);
  }
  if (!withDone()) asked.set("state", "open");
  if (cursor) asked.set("cursor", cursor);
  return asked;
}

async function loadLetters(cursor = null) {
  const asked = ++state.asked;
  const { group } = state;
  try {
    const page = await deadLetters(group.topic, query(cursor));
    if (asked !== state.asked) return;
    state.letters = cursor ? [...state.letters, ...page.letters] : page.letters;
    state.cursor = page.nextCursor;
    showLetters();
  } catch (error) {
    showTrouble(`The letters of ${group.topic} cannot be read: ${error.message}`);
  }
}

function showLetters() {
  const { group, letters, cursor } = state;
  setText(byId("letters-title"), group.errorClass);
  setText(byId("letters-note"), `${group.stage}, ${group.topic}, newest first`);
  byId("group-actions").hidden = !letters.length || isRest(group);
  byId("letters-empty").hidden = letters.length > 0;
  setText(byId("letters-empty"), cursor ? "None among the newest; older ones may be there." : "No letter of this group is open.");
  byId("more").hidden = !cursor;
  byId("letters").replaceChildren(...letters.map(letterRow));
}

function letterRow(letter) {
  const open = make("button", { type: "button", class: "link" }, letter.key ?? "no key");
  const row = make("tr", { class: "row", "data-id": letter.id, "aria-selected": String(detail.shows(letter)) },
    make("td", {}, open), make("td", { title: letter.errorMessage }, letter.errorMessage ?? letter.preview ?? ""),
    make("td", { class: "num wide" }, count(letter.replayCount)), make("td", { class: "wide state" }, make("span", { class: `tag ${letter.state}` }, letter.state)),
    make("td", { class: "num" }, ago(letter.at, Date.now())));
  row.addEventListener("click", () => {
    select(letter.id);
    detail.open(letter, open);
  });
  return row;
}

function select(id) {
  byId("letters").querySelectorAll("tr").forEach((row) => row.setAttribute("aria-selected", String(row.dataset.id === id)));
}

async function redriveGroup(dryRun) {
  const { group } = state;
  const filter = { errorClass: group.errorClass, stage: group.stage };
  const buttons = [byId("group-dry-run"), byId("group-redrive")];
  buttons.forEach((button) => { button.disabled = true; });
  showResult(byId("group-result"), dryRun ? "Looking at every letter of the group" : "Redriving");
  try {
    const answer = await redriveLetters(group.topic, { filter, dryRun });
    if (dryRun) showResult(byId("group-result"), `Dry run: ${outcomeText(answer)}. Nothing was written.`, Object.keys(answer.refusals).length ? "bad" : "");
    else {
      const done = await untilFinished(answer, (now) => showResult(byId("group-result"), `Redrive ${now.redriveId}: ${count(now.offsetsDone)} of ${count(now.offsetsTotal)} looked at`));
      showResult(byId("group-result"), `Redrive ${done.redriveId} ${done.state}: ${outcomeText(done)}.`, done.error || Object.keys(done.refusals).length ? "bad" : "good");
      await refresh();
    }
  } catch (error) {
    showResult(byId("group-result"), error.message, "bad");
  } finally {
    buttons.forEach((button) => { button.disabled = false; });
  }
}

byId("refresh").addEventListener("click", refresh);
byId("with-done").addEventListener("change", refresh);
byId("more").addEventListener("click", () => loadLetters(state.cursor));
byId("group-dry-run").addEventListener("click", () => redriveGroup(true));
byId("group-redrive").addEventListener("click", () => redriveGroup(false));
refresh();
