// The page: the door, the places inside, the composer. connection.js talks to the server, log.js shows the messages,
// recovery.js sees to it that none is missed without a word.

import { Connection, randomId } from "./connection.js";
import { showPeople, showPlaces } from "./lists.js";
import { $, Log } from "./log.js";

const NAME_SIZE = 32; // characters, as the server counts them
const BODY_SIZE = 8000;
const HINT = "Enter sends, Shift+Enter starts a new line, Alt+↑ and Alt+↓ change the room";
const ROOM = /^[a-z0-9][a-z0-9_.-]{0,63}$/;
const FIRST_ROOM = "lobby";
const STRANGERS = 50; // conversations with people to whom we never wrote

const names = (list) => (list.length > 5 ? `${list.slice(0, 5).join(", ")} and ${list.length - 5} more` : list.join(", "));

const missing = (count) =>
  count === null ? "Some messages may be missing here." : count === 1 ? "1 message is missing here." : `${count} messages are missing here.`;

// ---- the places ----

/** A room, or the conversation with one person. */
class Place {
  log = new Log();
  people = new Set();
  unread = 0;
  draft = "";
  answered = false; // we have written here

  constructor(name, direct) {
    this.name = name;
    this.direct = direct;
    this.label = direct ? name : `# ${name}`;
  }
}

/** What is shown while somebody is inside: told by the connection, and by the person at the keyboard. */
class Chat {
  #user;
  #rooms = new Map(); // name -> Place
  #directs = new Map();
  #here = null;
  #connection = null;
  #countdown = 0;
  #overrun = 0;

  enter(user, rooms, first) {
    this.#user = user;
    for (const room of rooms) this.#rooms.set(room, new Place(room, false));
    this.#connection = new Connection(user, this, rooms);
    this.#connection.open();
    this.go(this.#rooms.get(first));
  }

  leave() {
    clearInterval(this.#countdown);
    this.#connection?.close();
    this.#connection = null;
    this.#here?.log.hide();
    this.#here = null;
    this.#rooms.clear();
    this.#directs.clear();
  }

  say(body) {
    this.#say(this.#here, randomId(), body);
  }

  again() {
    this.#connection?.open();
  }

  online() {
    if ($("state").dataset.state === "waiting") this.again();
  }

  // Going from place to place.

  go(place) {
    if (!place || place === this.#here) return;
    if (this.#here) {
      this.#here.draft = text.value;
      this.#here.log.hide();
    }
    this.#here = place;
    place.log.show();
    text.value = place.draft;
    text.placeholder = $("text-label").textContent = `Message ${place.label}`;
    $("title").textContent = place.label;
    history.replaceState(null, "", place.direct ? location.pathname : `#${place.name}`);
    this.seen();
    this.#showPeople();
    composed();
  }

  /** Somebody has pointed at this place. */
  choose(place) {
    this.go(place);
    showDrawers("");
    ready();
  }

  /** The next place in the list, or the one before. */
  step(by) {
    const places = [...this.#rooms.values(), ...this.#directs.values()];
    this.go(places[(places.indexOf(this.#here) + by + places.length) % places.length]);
  }

  /** Enter a room; what is wrong with its name, if something is. */
  join(room) {
    if (!ROOM.test(room)) return "A room's name is 1 to 64 of a-z, 0-9, _ . and -, and begins with a letter or number.";
    if (!this.#rooms.has(room)) {
      this.#rooms.set(room, new Place(room, false));
      this.#connection.join(room);
      this.#remember();
    }
    this.go(this.#rooms.get(room));
    return "";
  }

  part(place) {
    (place.direct ? this.#directs : this.#rooms).delete(place.name);
    if (!place.direct) this.#connection.leave(place.name);
    this.#remember();
    if (place !== this.#here) return this.#showPlaces();
    const next = [...this.#rooms.values(), ...this.#directs.values()][0];
    if (next) this.go(next);
    else this.join(FIRST_ROOM); // nobody is nowhere
  }

  seen() {
    if (document.hidden || !this.#here) return;
    this.#here.unread = 0;
    this.#showPlaces();
  }

  earlier() {
    const { direct, name, log } = this.#here;
    if (!direct && log.oldest) this.#connection.past(name, log.oldest);
  }

  // What the connection tells.

  connecting() {
    this.#state("connecting", "Connecting…");
  }

  open() {
    this.#state("open", "Connected");
  }

  latency(milliseconds) {
    $("latency").textContent = `${Math.max(1, Math.round(milliseconds))} ms`;
  }

  joined(name, members, again) {
    const place = this.#rooms.get(name);
    if (!place) return;
    place.people = new Set(members.map(String));
    place.log.note(again ? "Connected again" : `You joined ${place.label} as ${this.#user}`);
    this.#showPeople();
  }

  message(name, message) {
    const place = this.#rooms.get(name);
    if (place) this.#heard(place, message);
  }

  direct({ from, body, ts }) {
    this.#heard(this.#direct(String(from)), { from, body, ts });
  }

  gap(name, { after, missed }) {
    this.#rooms.get(name)?.log.gap(missing(missed), this.#filler(name, after, missed));
  }

  #filler(name, after, missed) {
    return after && ((entry) => this.#connection.past(name, after, { entry, missed }));
  }

  past(name, messages, complete, gap) {
    const log = this.#rooms.get(name)?.log;
    const shown = log?.past(messages, complete, this.#user, gap?.entry);
    if (!log || !gap) return;
    const { off, ep } = messages.at(-1) ?? {};
    const unknown = complete ? 0 : null;
    const left = gap.missed === null ? unknown : Math.max(0, gap.missed - shown);
    if (!shown) log.filled(gap.entry, `${missing(gap.missed)} The server does not have them any more.`);
    else if (left === 0) log.filled(gap.entry);
    else log.filled(gap.entry, missing(left), this.#filler(name, { off, ep }, left));
  }

  presence(name, join, leave) {
    const place = this.#rooms.get(name);
    if (!place) return;
    for (const person of join) place.people.add(String(person));
    for (const person of leave) place.people.delete(String(person));
    if (join.length) place.log.note(`${names(join)} joined`);
    if (leave.length) place.log.note(`${names(leave)} left`);
    this.#showPeople();
  }

  sent(id) {
    for (const { log } of this.#places()) log.sent(id, this.#user);
  }

  failed(id, reason) {
    for (const place of this.#places())
      if (place.log.failed(id, this.#user, reason, (body) => this.#say(place, id, body))) return;
  }

  denied(name, reason) {
    const place = this.#rooms.get(name);
    place?.log.note(`You are not in ${place.label}: ${reason}`, "error");
    place?.people.clear();
    this.#showPeople();
  }

  problem(reason) {
    this.#here?.log.note(reason, "error");
  }

  waiting(seconds, reason) {
    this.#state("waiting", reason ? `Reconnecting… (${reason})` : "Reconnecting…");
    const until = Date.now() + seconds * 1000;
    const show = () => {
      const left = Math.ceil((until - Date.now()) / 1000);
      $("countdown").textContent = left > 1 ? `${left} s` : "";
    };
    show();
    this.#countdown = setInterval(show, 1000);
  }

  ended(reason, code) {
    this.#state("closed", "Disconnected");
    $("banner-text").textContent = `Disconnected: ${reason} (${code}).`;
    $("banner").hidden = false;
  }

  refused(reason) {
    this.leave();
    showDoor(reason);
  }

  // Inside.

  #places() {
    return [...this.#rooms.values(), ...this.#directs.values()];
  }

  #direct(name) {
    if (!this.#directs.has(name)) {
      const place = new Place(name, true);
      place.people = new Set([this.#user, name]);
      place.log.note(`Only ${name} sees what you write here. It is not kept.`);
      this.#directs.set(name, place);
      this.#forgetStrangers();
      this.#showPlaces();
    }
    return this.#directs.get(name);
  }

  /** Anybody can write to us, under ever new names: too many go, the oldest first. */
  #forgetStrangers() {
    const stranger = (place) => place !== this.#here && !place.answered && !place.draft;
    const over = [...this.#directs.values()].filter(stranger).slice(0, -STRANGERS);
    over.forEach(({ name }) => this.#directs.delete(name));
    if (over.length && !this.#overrun++) this.problem(`More than ${STRANGERS} people wrote to you: the oldest are closed.`);
  }

  #heard(place, message) {
    if (!place.log.message(message, this.#user) || message.from === this.#user) return;
    if (place === this.#here && !document.hidden) return;
    place.unread += 1;
    this.#showPlaces();
  }

  #say(place, id, body) {
    place.answered = true;
    place.log.pending(id, this.#user, body);
    if (!place.direct) this.#connection.say(place.name, id, body);
    else if (!this.#connection.tell(id, place.name, body)) this.failed(id, "there is no connection");
  }

  #remember() {
    sessionStorage.setItem("rooms", JSON.stringify([...this.#rooms.keys()]));
  }

  #state(state, words) {
    clearInterval(this.#countdown);
    $("countdown").textContent = "";
    if (state !== "open") $("latency").textContent = "";
    $("banner").hidden = true;
    $("state").dataset.state = state;
    $("state-text").textContent = $("state").title = words;
  }

  #showPlaces() {
    showPlaces($("rooms"), [...this.#rooms.values()], this.#here, this);
    showPlaces($("directs"), [...this.#directs.values()], this.#here, this);
    $("no-directs").hidden = this.#directs.size > 0;
    const unread = this.#places().reduce((sum, place) => sum + place.unread, 0);
    document.title = unread ? `(${unread}) gochan chat` : "gochan chat";
    $("elsewhere").textContent = unread ? String(unread) : "";
    $("elsewhere-text").textContent = unread ? `, ${unread} unread` : "";
  }

  #showPeople() {
    const people = this.#here?.people ?? [];
    showPeople($("people"), people, this.#user, (name) => this.choose(this.#direct(name)));
    $("count").textContent = $("total").textContent = String(people.size ?? 0);
  }

  /** The part of the page that shows the log has another size. */
  resized() {
    this.#here?.log.resized();
  }
}

// ---- the page ----

const text = $("text");
const chat = new Chat();

function showDoor(refusal = "") {
  sessionStorage.removeItem("inside");
  $("room").hidden = true;
  $("door").hidden = false;
  $("refusal").textContent = refusal;
  $("refusal").hidden = !refusal;
  $("name").select();
}

/** The rooms of before a reload, and the one that the address names. */
function rooms() {
  let stored = [];
  try {
    stored = JSON.parse(sessionStorage.getItem("rooms")) ?? [];
  } catch {
    // of another version
  }
  const asked = location.hash.slice(1);
  const all = new Set([...stored, asked].filter((room) => typeof room === "string" && ROOM.test(room)));
  if (!all.size) all.add(FIRST_ROOM);
  return [[...all], all.has(asked) ? asked : [...all][0]];
}

function showRoom(user) {
  localStorage.setItem("name", user);
  sessionStorage.setItem("inside", user); // a reload of this tab comes back in; a new tab asks for a name
  $("door").hidden = true;
  $("room").hidden = false;
  chat.enter(user, ...rooms());
  text.focus();
}

$("enter").onsubmit = (event) => {
  event.preventDefault();
  const user = $("name").value.trim();
  if (!user || [...user].length > NAME_SIZE) return showDoor(`A name has 1 to ${NAME_SIZE} characters.`);
  showRoom(user);
};

$("leave").onclick = () => {
  chat.leave();
  showDoor();
};
$("again").onclick = () => chat.again();
$("earlier").onclick = () => chat.earlier();

$("join").onsubmit = (event) => {
  event.preventDefault();
  const field = $("new-room");
  const wrong = chat.join(field.value.trim().replace(/^#\s*/, "").toLowerCase().replace(/\s+/g, "-"));
  $("join-error").textContent = wrong;
  $("join-error").hidden = !wrong;
  if (wrong) return field.select();
  field.value = "";
  showDrawers("");
  ready();
};

// The composer.

/** Where to type next; on a phone that would bring up the keyboard unasked. */
function ready() {
  if (matchMedia("(hover: hover), (min-width: 44rem)").matches) text.focus();
}

function composed() {
  const left = BODY_SIZE - [...text.value].length;
  $("send").disabled = !text.value.trim() || left < 0;
  $("hint").classList.toggle("error", left < 0);
  if (left < 0) $("hint").textContent = `${-left} ${left === -1 ? "character" : "characters"} too long`;
  else $("hint").textContent = left < 500 ? `${left} characters left` : HINT;
  text.style.height = "auto";
  text.style.height = `${text.scrollHeight + text.offsetHeight - text.clientHeight}px`;
}

text.oninput = composed;
text.onkeydown = (event) => {
  // While an input method composes a word, Enter takes the word.
  if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
  event.preventDefault();
  $("composer").requestSubmit();
};
$("composer").onsubmit = (event) => {
  event.preventDefault();
  composed();
  if ($("send").disabled) return;
  chat.say(text.value.trim());
  text.value = "";
  composed();
  text.focus();
};

// The two lists, which a phone has no place for, and the world outside.

const DRAWERS = { places: "show-places", aside: "show-people" };

function showDrawers(shown) {
  for (const [drawer, button] of Object.entries(DRAWERS)) {
    $(drawer).classList.toggle("shown", drawer === shown);
    $(button).ariaExpanded = String(drawer === shown);
  }
}

for (const [drawer, button] of Object.entries(DRAWERS))
  $(button).onclick = () => showDrawers($(drawer).classList.contains("shown") ? "" : drawer);
$("talk").onclick = () => showDrawers("");
document.addEventListener("keydown", (event) => {
  if (event.key === "Escape") {
    const open = Object.entries(DRAWERS).find(([drawer]) => $(drawer).classList.contains("shown"));
    showDrawers("");
    if (open) $(open[1]).focus();
  } else if (event.altKey && (event.key === "ArrowDown" || event.key === "ArrowUp") && !$("room").hidden) {
    event.preventDefault();
    chat.step(event.key === "ArrowDown" ? 1 : -1);
  }
});
document.addEventListener("visibilitychange", () => chat.seen());
window.addEventListener("online", () => chat.online());
new ResizeObserver(() => chat.resized()).observe($("scroll"));
// Others see at once who has gone. The browser may keep the page, and bring it back.
window.addEventListener("pagehide", () => chat.leave());
window.addEventListener("pageshow", (event) => event.persisted && location.reload());

$("name").value = sessionStorage.getItem("inside") ?? localStorage.getItem("name") ?? "";
if (sessionStorage.getItem("inside")) showRoom($("name").value);
else showDoor();
