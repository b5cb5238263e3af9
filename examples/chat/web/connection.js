// One user's place in the room, over as many WebSockets as it takes.
//
// A message of ours is pending until the server has acknowledged it, and is sent again under the same id after a new
// connection.

const ROOM = "lobby";
const PROTOCOL = "gochat.json";

// Seconds. Full jitter: after a restart of the server its clients must not come back all at once.
const BACKOFF = { first: 0.2, limit: 20, healthyAfter: 30 };
// A browser does not show WebSocket's own pings, so a dead line is only found by asking.
const WELCOME_WITHIN = 10;
const PING_EVERY = 25;
const PONG_WITHIN = 10;

const LOST = 1006;
const NOT_JSON = 1007;
const FATAL = new Set([1000, 1002, 1003, NOT_JSON, 1009]);

/** Whether it makes sense to connect again: after 45xx, or an error of ours, the same would happen. */
const comesBack = (code) => !FATAL.has(code) && !(code >= 4500 && code < 4600);

export const randomId = () =>
  Array.from(crypto.getRandomValues(new Uint8Array(12)), (byte) => byte.toString(16).padStart(2, "0")).join("");

/** `room` is told what happens: connecting, joined, message, presence, sent, failed, problem, waiting, ended, refused. */
export class Connection {
  #user;
  #room;
  #socket = null;
  #ready = false; // the room is joined
  #readyAt = 0;
  #joinedBefore = false;
  #unacked = new Map(); // id -> body, in the order in which they were said
  #failures = 0;
  #goaway = null;
  #timers = [];
  #heartbeat = { asked: 0, number: 0 };

  constructor(user, room) {
    this.#user = user;
    this.#room = room;
  }

  open() {
    this.#forgetSocket();
    const socket = new WebSocket(`${location.protocol === "https:" ? "wss" : "ws"}://${location.host}/ws`, PROTOCOL);
    this.#socket = socket;
    this.#room.connecting();
    // A socket that was given up may still speak.
    const current = (handle) => (event) => this.#socket === socket && handle(event);
    socket.onopen = current(() => this.#send({ t: "hello", v: 1, user: this.#user }));
    socket.onmessage = current((event) => this.#receive(event.data));
    socket.onclose = current((event) => this.#lost(event.code, event.reason));
    this.#after(WELCOME_WITHIN, () => this.#ready || this.#lost(LOST, "the server does not answer"));
  }

  close() {
    if (this.#socket?.readyState === WebSocket.OPEN) this.#send({ t: "bye" });
    this.#forgetSocket();
  }

  say(id, body) {
    this.#unacked.set(id, body);
    if (this.#ready && !this.#goaway) this.#send({ t: "say", id, room: ROOM, body });
  }

  #receive(data) {
    let message;
    try {
      message = JSON.parse(data);
    } catch {
      return this.#lost(NOT_JSON, "the server sent something that is not JSON");
    }
    switch (message?.t) {
      case "welcome":
        return this.#send({ t: "join", id: randomId(), room: ROOM });
      case "joined":
        return this.#joined(message.members ?? []);
      case "msg":
        return this.#room.message(message);
      case "ack":
        if (this.#unacked.delete(message.id)) this.#room.sent(message.id);
        return;
      case "pres":
        return this.#room.presence(message.join ?? [], message.leave ?? []);
      case "ping":
        return this.#send({ t: "pong", n: message.n });
      case "pong":
        this.#heartbeat.asked = 0;
        return;
      case "goaway":
        this.#goaway = message; // the server closes; what is said from now on waits for the next connection
        return;
      case "err":
        return this.#error(message);
    }
  }

  #joined(members) {
    this.#ready = true;
    this.#readyAt = Date.now();
    this.#room.joined(members, this.#joinedBefore);
    this.#joinedBefore = true;
    for (const [id, body] of this.#unacked) this.#send({ t: "say", id, room: ROOM, body });
    this.#heartbeat.asked = 0;
    this.#every(PING_EVERY, () => this.#ask());
  }

  #ask() {
    // Looked at with each ping, not by a timer of its own: hidden pages have their timers held back.
    if (this.#heartbeat.asked && Date.now() - this.#heartbeat.asked > PONG_WITHIN * 1000)
      return this.#lost(LOST, "the server does not answer");
    this.#heartbeat.asked ||= Date.now();
    this.#send({ t: "ping", n: ++this.#heartbeat.number });
  }

  #error({ id, code, msg, temp }) {
    const body = this.#unacked.get(id);
    if (this.#unacked.delete(id)) return this.#room.failed(id, body, String(msg));
    if (this.#ready) return this.#room.problem(String(msg));
    if (temp) return this.#lost(LOST, String(msg));
    this.#forgetSocket();
    this.#room.refused(`${msg} (${code})`);
  }

  #lost(code, reason) {
    const away = this.#goaway;
    const wasHealthy = this.#ready && Date.now() - this.#readyAt > BACKOFF.healthyAfter * 1000;
    this.#forgetSocket();
    if (away && code < 4000) [code, reason] = [away.code, away.reason];
    if (!comesBack(code)) return this.#room.ended(reason || "the connection was closed", code);
    if (wasHealthy) this.#failures = 0;
    const window = Math.min(BACKOFF.limit, BACKOFF.first * 2 ** this.#failures++);
    const seconds = (away?.after_ms ?? 0) / 1000 + Math.random() * window;
    this.#room.waiting(seconds, reason);
    this.#after(seconds, () => this.open());
  }

  #send(message) {
    if (this.#socket?.readyState === WebSocket.OPEN) this.#socket.send(JSON.stringify(message));
  }

  #forgetSocket() {
    const socket = this.#socket;
    this.#socket = this.#goaway = null;
    this.#ready = false;
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
