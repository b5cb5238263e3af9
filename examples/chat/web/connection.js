// One user's place in the chat, over as many WebSockets as it takes.
//
// What we say in a room is pending until the server has acknowledged it, and is sent again under the same id after a new
// connection. A direct message is sent once: it would be said twice. In which rooms we are, and what was heard last
// there, outlives the connection, and brings what was missed.

import { Recovery } from "./recovery.js";

const PROTOCOL = "gochat.json";
const RECENT = 50; // messages to begin with
const RETURNS = 8; // rooms that are entered at the same time
const SLOWER = 0.05; // seconds
const RATE_LIMITED = 429;

// Seconds. Full jitter: after a restart of the server its clients must not come back all at once.
const BACKOFF = { first: 0.2, limit: 20, healthyAfter: 30 };
// A browser does not show WebSocket's own pings, so a dead line is only found by asking.
const WELCOME_WITHIN = 10;
const PING_EVERY = 10;
const SILENCE = 20;

const LOST = 1006;
const NOT_JSON = 1007;
const FATAL = new Set([1000, 1002, 1003, NOT_JSON, 1009]);

/** Whether it makes sense to connect again: after 45xx, or an error of ours, the same would happen. */
const comesBack = (code) => !FATAL.has(code) && !(code >= 4500 && code < 4600);

export const randomId = () =>
  Array.from(crypto.getRandomValues(new Uint8Array(12)), (byte) => byte.toString(16).padStart(2, "0")).join("");

/**
 * `page` is told what happens: connecting, open, latency, joined, message, gap, presence, direct, sent, failed, past,
 * denied, problem, waiting, ended, refused.
 */
export class Connection {
  #user;
  #page;
  #rooms = new Map(); // name -> Recovery
  #socket = null;
  #welcome = false;
  #openedAt = 0;
  #session = {};
  #says = new Map(); // id -> what was said and not acknowledged, in order
  #asked = new Map(); // id -> what this connection was asked for: joins, leaves, direct messages, the past
  #toEnter = []; // rooms that wait for their turn
  #entering = new Set(); // ids of the joins without an answer
  #inside = new Set(); // rooms that this connection has entered
  #atOnce = RETURNS;
  #paused = false;
  #failures = 0;
  #goaway = null;
  #timers = [];
  #heardAt = 0;
  #beat = null;
  #number = 0;

  constructor(user, page, rooms = []) {
    this.#user = user;
    this.#page = page;
    for (const room of rooms) this.#rooms.set(room, new Recovery());
  }

  open() {
    this.#forgetSocket();
    const socket = new WebSocket(`${location.protocol === "https:" ? "wss" : "ws"}://${location.host}/ws`, PROTOCOL);
    this.#socket = socket;
    this.#page.connecting();
    // A socket that was given up may still speak.
    const current = (handle) => (event) => this.#socket === socket && handle(event);
    socket.onopen = current(() => this.#send({ t: "hello", v: 1, user: this.#user, ...this.#session }));
    socket.onmessage = current((event) => this.#receive(event.data));
    socket.onclose = current((event) => this.#lost(event.code, event.reason));
    this.#after(WELCOME_WITHIN, () => this.#welcome || this.#lost(LOST, "the server does not answer"));
  }

  close() {
    if (this.#socket?.readyState === WebSocket.OPEN) this.#send({ t: "bye" });
    this.#forgetSocket();
  }

  join(room) {
    if (this.#rooms.has(room)) return;
    this.#rooms.set(room, new Recovery());
    if (this.#ready) this.#enter(room);
  }

  leave(room) {
    this.#rooms.delete(room);
    this.#inside.delete(room);
    this.#toEnter = this.#toEnter.filter((each) => each !== room);
    for (const [id, say] of this.#says) if (say.room === room) this.#says.delete(id);
    if (this.#ready) this.#ask({ t: "leave", room });
  }

  say(room, id, body) {
    const say = { t: "say", id, room, body };
    this.#says.set(id, say);
    if (this.#ready && this.#inside.has(room)) this.#send(say);
  }

  /** Whether it was sent at all. */
  tell(id, to, body) {
    if (this.#ready) this.#ask({ t: "dm", id, to, body });
    return this.#ready;
  }

  /** What was said before a position, the newest first; or from it on, if there is a gap behind it. */
  past(room, since, gap = null) {
    if (this.#ready) this.#ask({ t: "history", room, since, limit: gap ? 300 : RECENT, rev: !gap }, gap);
    return this.#ready;
  }

  get #ready() {
    return this.#welcome && !this.#goaway;
  }

  #receive(data) {
    let message;
    try {
      message = JSON.parse(data);
    } catch {
      return this.#lost(NOT_JSON, "the server sent something that is not JSON");
    }
    this.#heardAt = Date.now();
    const room = this.#rooms.get(message?.room);
    switch (message?.t) {
      case "welcome":
        return this.#welcomed(message);
      case "joined":
        return this.#joined(message, room);
      case "msg":
        return room && this.#tell(message.room, room.live(message));
      case "lag":
        return room && this.#tell(message.room, room.lagged(message.n));
      case "resync":
        return room && this.#tell(message.room, room.lost());
      case "dm":
        return this.#page.direct(message);
      case "ack":
        return this.#acknowledged(message);
      case "history":
        return this.#answered(message);
      case "pres":
        return room && this.#page.presence(message.room, message.join ?? [], message.leave ?? []);
      case "ping":
        return this.#send({ t: "pong", n: message.n });
      case "pong":
        return this.#pong(message.n);
      case "goaway":
        this.#goaway = message; // the server closes; what is said from now on waits for the next connection
        return;
      case "err":
        return this.#error(message);
    }
  }

  #welcomed({ sid, secret, resumed }) {
    this.#welcome = true;
    this.#openedAt = this.#heardAt = Date.now();
    this.#session = secret ? { sid, secret } : {};
    this.#page.open(resumed === true);
    this.#enter(...this.#rooms.keys());
    this.#ping();
    this.#every(PING_EVERY, () => this.#ping());
  }

  /** A few at a time, as fast as the server takes them. */
  #enter(...rooms) {
    this.#toEnter.push(...rooms);
    while (this.#ready && !this.#paused && this.#toEnter.length && this.#entering.size < this.#atOnce) {
      const room = this.#toEnter.shift();
      const { last } = this.#rooms.get(room);
      this.#entering.add(this.#ask({ t: "join", room, ...(last ? { since: last } : { limit: RECENT }) }));
    }
  }

  /** Later, and from now on one by one: another connection would be just as fast, and be refused as this one. */
  #enterSlower(room, retry) {
    this.#atOnce = 1;
    const asked = [...this.#asked.values()].some((each) => each.t === "join" && each.room === room);
    if (this.#rooms.has(room) && !asked && !this.#toEnter.includes(room)) this.#toEnter.unshift(room);
    if (this.#paused) return;
    this.#paused = true;
    this.#after(Math.max(retry / 1000, SLOWER), () => {
      this.#paused = false;
      this.#enter();
    });
  }

  #joined(message, room) {
    this.#asked.delete(message.id);
    this.#entering.delete(message.id);
    this.#enter();
    if (!room) return; // left meanwhile
    this.#inside.add(message.room);
    const again = room.member;
    const steps = room.joined(message);
    this.#page.joined(message.room, message.members ?? [], again);
    this.#tell(message.room, steps);
    for (const say of this.#says.values()) if (say.room === message.room) this.#send(say);
  }

  #tell(room, steps) {
    for (const { message, gap } of steps) message ? this.#page.message(room, message) : this.#page.gap(room, gap);
  }

  #acknowledged({ id, delivered }) {
    const asked = this.#asked.get(id);
    this.#asked.delete(id);
    if (this.#says.delete(id)) this.#page.sent(id);
    else if (asked?.t === "dm")
      delivered === 0 ? this.#page.failed(id, `${asked.to} is not here`) : this.#page.sent(id);
  }

  #answered({ id, room, msgs, complete }) {
    const asked = this.#asked.get(id);
    this.#asked.delete(id);
    if (asked) this.#page.past(room, asked.rev ? [...msgs].reverse() : msgs, complete === true, asked.gap);
  }

  #error({ id, code, msg, temp, retry_ms: retry = 0 }) {
    const reason = String(msg);
    const asked = this.#asked.get(id);
    this.#asked.delete(id);
    if (this.#says.delete(id) || asked?.t === "dm") return this.#page.failed(id, reason);
    if (!this.#welcome) return temp ? this.#lost(LOST, reason, retry) : this.#refused(`${reason} (${code})`);
    if (asked?.t === "leave") return; // it was none any more
    if (asked?.t !== "join") return this.#page.problem(reason);
    this.#entering.delete(id);
    if (temp && code === RATE_LIMITED) return this.#enterSlower(asked.room, retry);
    // For now we are not let in: another connection will try again. It is no way to stay without what is said.
    if (temp) return this.#lost(LOST, `${asked.room}: ${reason}`, retry);
    this.#rooms.delete(asked.room);
    this.#page.denied(asked.room, reason);
    this.#enter();
  }

  #refused(reason) {
    this.#forgetSocket();
    this.#page.refused(reason);
  }

  // Signs of life.

  #ping() {
    // Looked at with each ping, not by a timer of its own: hidden pages have their timers held back.
    if (Date.now() - this.#heardAt > SILENCE * 1000) return this.#lost(LOST, "the server does not answer");
    this.#beat ??= { n: ++this.#number, at: performance.now() };
    this.#send({ t: "ping", n: this.#beat.n });
  }

  #pong(n) {
    if (this.#beat?.n !== n) return;
    const took = performance.now() - this.#beat.at;
    this.#beat = null;
    this.#page.latency(took);
  }

  // The socket.

  #lost(code, reason, retry = 0) {
    const away = this.#goaway;
    const lasted = this.#welcome ? Date.now() - this.#openedAt : 0;
    const direct = [...this.#asked.values()].filter(({ t }) => t === "dm");
    this.#forgetSocket();
    for (const { id } of direct) this.#page.failed(id, "the connection was lost, it may have arrived");
    if (away && code < 4000) [code, reason] = [away.code, away.reason];
    if (!comesBack(code)) return this.#page.ended(reason || "the connection was closed", code);
    if (lasted > BACKOFF.healthyAfter * 1000) this.#failures = 0;
    const window = Math.min(BACKOFF.limit, BACKOFF.first * 2 ** this.#failures++);
    const seconds = Math.max(away?.after_ms ?? 0, retry) / 1000 + Math.random() * window;
    this.#page.waiting(seconds, reason);
    this.#after(seconds, () => this.open());
  }

  #ask(message, gap = null) {
    const asked = { id: randomId(), ...message };
    this.#asked.set(asked.id, { ...asked, gap });
    this.#send(asked);
    return asked.id;
  }

  #send(message) {
    if (this.#socket?.readyState === WebSocket.OPEN) this.#socket.send(JSON.stringify(message));
  }

  #forgetSocket() {
    const socket = this.#socket;
    this.#socket = this.#goaway = this.#beat = null;
    this.#welcome = false;
    for (const each of [this.#asked, this.#entering, this.#inside]) each.clear();
    this.#toEnter = [];
    this.#atOnce = RETURNS;
    this.#paused = false;
    this.#timers.splice(0).forEach(clearTimeout);
    socket?.close();
  }

  #after(seconds, act) {
    this.#timers.push(setTimeout(act, seconds * 1000));
  }

  #every(seconds, act) {
    this.#timers.push(setInterval(act, seconds * 1000)); // clearTimeout ends it, too
  }
}
