// The notifications as they come: one WebSocket for all pages, resumed exactly from the last cursor; each is held once, by its id.

import { notifications } from "./api.js";
import { freshness } from "./freshness.js";

const HELD = 500;
const FIRST_PAGE = 200;
const HEARTBEAT_S = 10;
const SILENCE_MS = 35000;
const FIRST_RETRY_MS = 500;
const LAST_RETRY_MS = 15000;

// Notifications with the cursors that go on from them: each once, and never more than `limit`: the oldest go, and `onGone` is told of them.
export class Held {
  constructor(limit, onGone = () => {}) {
    this.limit = limit;
    this.onGone = onGone;
    this.byId = new Map();
  }

  // Whether it is news.
  add(notification, cursor = null) {
    const id = notification.notificationId;
    const isNew = !this.byId.has(id);
    this.byId.set(id, { notification, cursor });
    for (const [oldest, gone] of this.byId) {
      if (this.byId.size <= this.limit) break;
      this.byId.delete(oldest);
      this.onGone(gone.notification, gone.cursor);
    }
    return isNew;
  }

  replace(newestFirst) {
    this.byId.clear();
    for (const each of newestFirst.slice(0, this.limit).reverse()) this.byId.set(each.notificationId, { notification: each, cursor: null });
  }

  get newestFirst() {
    return [...this.byId.values()].reverse().map((each) => each.notification);
  }
}

export class LiveFeed {
  constructor() {
    this.held = new Held(HELD, (notification, cursor) => this.forget(notification, cursor));
    this.listeners = new Set();
    this.cursor = null;
    this.older = null;
    this.failures = 0;
    this.turn = 0;
    this.known = false;
  }

  // `listener({type: "news" | "reset" | "state" | "gone", notification})`; ends with the signal.
  listen(listener, signal) {
    this.listeners.add(listener);
    signal?.addEventListener("abort", () => this.listeners.delete(listener));
  }

  // Older ones are asked for from here on. Those of the first page came without cursors of their own: from its cursor some come once more.
  forget(notification, cursor) {
    this.older = cursor ?? this.began;
    this.tell({ type: "gone", notification });
  }

  tell(event) {
    for (const listener of [...this.listeners]) listener(event);
  }

  async connect() {
    clearTimeout(this.timer);
    const turn = ++this.turn;
    this.drop();
    // A cursor that is refused looks like any failed connection: after two of those the list is fetched again.
    if ((!this.cursor || this.failures >= 2) && !(await this.begin(turn))) return;
    const scheme = location.protocol === "https:" ? "wss:" : "ws:";
    const parameters = new URLSearchParams({ since: this.cursor, heartbeat: HEARTBEAT_S });
    const socket = new WebSocket(`${scheme}//${location.host}/ws/notifications?${parameters}`);
    this.socket = socket;
    socket.addEventListener("open", () => {
      this.failures = 0;
      this.heard(socket);
      this.become("live");
    });
    socket.addEventListener("message", (event) => this.onMessage(socket, event));
    socket.addEventListener("close", (event) => {
      if (socket !== this.socket) return;
      // 1012: the feed begins anew, and no cursor of it holds any more.
      if (event.code === 1012) this.cursor = null;
      this.retry();
    });
  }

  // One connection at a time: whatever an older one still says is not heard.
  drop() {
    const { socket } = this;
    this.socket = null;
    socket?.close();
  }

  async begin(turn) {
    try {
      const page = await notifications({ limit: FIRST_PAGE });
      if (turn !== this.turn) return false;
      this.held.replace(page.notifications);
      this.cursor = page.cursor;
      this.began = page.cursor;
      this.older = page.nextCursor;
      this.known = true;
      this.tell({ type: "reset" });
      return true;
    } catch (error) {
      if (turn === this.turn) this.retry(error.retryAfterS);
      return false;
    }
  }

  onMessage(socket, event) {
    if (socket !== this.socket) return;
    this.heard(socket);
    const message = JSON.parse(event.data);
    this.cursor = message.cursor;
    if (message.notification && this.held.add(message.notification, message.cursor)) this.tell({ type: "news", notification: message.notification });
  }

  // The server says something every few seconds, whatever happens: a connection that is silent is none.
  heard(socket) {
    clearTimeout(this.silence);
    this.silence = setTimeout(() => {
      if (socket !== this.socket) return;
      this.drop();
      this.retry();
    }, SILENCE_MS);
  }

  become(state) {
    if (freshness.socket === state) return;
    freshness.socket = state;
    this.tell({ type: "state" });
  }

  retry(retryAfterS = 0) {
    clearTimeout(this.silence);
    clearTimeout(this.timer);
    this.failures += 1;
    this.become("lost");
    const wait = Math.min(LAST_RETRY_MS, FIRST_RETRY_MS * 2 ** (this.failures - 1)) * (0.75 + Math.random() / 2);
    this.timer = setTimeout(() => this.connect(), Math.max(wait, (retryAfterS ?? 0) * 1000));
  }

  // At once instead of when its time has come: the network is back, or somebody looks again.
  hurry() {
    if (freshness.socket !== "lost") return;
    this.failures = Math.min(this.failures, 1);
    this.connect();
  }
}

export const live = new LiveFeed();
