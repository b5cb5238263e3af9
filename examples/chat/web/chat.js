// The page: the door, the room, the composer. connection.js talks to the server, log.js shows the messages.

import { Connection, randomId } from "./connection.js";
import { $, Log, avatar, element, hue } from "./log.js";

const NAME_SIZE = 32; // characters, as the server counts them
const BODY_SIZE = 8000;
const HINT = "Enter sends, Shift+Enter starts a new line";

const names = (list) => (list.length > 5 ? `${list.slice(0, 5).join(", ")} and ${list.length - 5} more` : list.join(", "));

// ---- the room ----

/** What is shown while somebody is inside: told by the connection, and by the person at the keyboard. */
class Room {
  #user;
  #log = new Log();
  #people = new Set();
  #connection;
  #countdown = 0;
  #unseen = 0;

  enter(user) {
    this.#user = user;
    this.#log.clear();
    this.#connection = new Connection(user, this);
    this.#connection.open();
  }

  leave() {
    clearInterval(this.#countdown);
    this.#connection?.close();
    this.#connection = null;
    this.#setPeople([]);
  }

  say(body) {
    this.#send(randomId(), body);
  }

  again() {
    this.#connection?.open();
  }

  online() {
    if ($("state").dataset.state === "waiting") this.again();
  }

  seen() {
    this.#unseen = 0;
    document.title = "gochan chat";
  }

  // What the connection tells.

  connecting() {
    this.#state("connecting", "Connecting…");
  }

  joined(members, again) {
    this.#state("open", "Connected");
    this.#setPeople(members);
    this.#log.note(again ? "Connected again. What was said meanwhile is not shown." : `You joined as ${this.#user}`);
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

  message(message) {
    if (this.#log.message(message, this.#user) && document.hidden) document.title = `(${++this.#unseen}) gochan chat`;
  }

  sent(id) {
    this.#log.sent(id, this.#user);
  }

  failed(id, body, reason) {
    this.#log.failed(id, this.#user, reason, () => this.#send(id, body));
  }

  problem(reason) {
    this.#log.note(reason, "error");
  }

  presence(join, leave) {
    for (const name of join) this.#people.add(name);
    for (const name of leave) this.#people.delete(name);
    if (join.length) this.#log.note(`${names(join)} joined`);
    if (leave.length) this.#log.note(`${names(leave)} left`);
    this.#showPeople();
  }

  // Inside.

  #send(id, body) {
    this.#log.pending(id, this.#user, body);
    this.#connection.say(id, body);
  }

  #state(state, text) {
    clearInterval(this.#countdown);
    $("countdown").textContent = "";
    $("banner").hidden = true;
    $("state").dataset.state = state;
    $("state-text").textContent = $("state").title = text;
  }

  #setPeople(members) {
    this.#people = new Set(members);
    this.#showPeople();
  }

  #showPeople() {
    const sorted = [...this.#people].sort((a, b) => a.localeCompare(b));
    $("people").replaceChildren(
      ...sorted.map((name) => {
        const entry = element("li", "");
        entry.style.setProperty("--hue", hue(name));
        entry.append(avatar(name), element("span", "name", name));
        if (name === this.#user) entry.append(element("span", "you", "you"));
        return entry;
      }),
    );
    $("count").textContent = $("total").textContent = String(sorted.length);
  }
}

// ---- the page ----

const room = new Room();

function showDoor(refusal = "") {
  sessionStorage.removeItem("inside");
  $("room").hidden = true;
  $("door").hidden = false;
  $("refusal").textContent = refusal;
  $("refusal").hidden = !refusal;
  $("name").select();
}

function showRoom(user) {
  localStorage.setItem("name", user);
  sessionStorage.setItem("inside", user); // a reload of this tab comes back in; a new tab asks for a name
  $("door").hidden = true;
  $("room").hidden = false;
  room.enter(user);
  $("text").focus();
}

$("enter").onsubmit = (event) => {
  event.preventDefault();
  const user = $("name").value.trim();
  if (!user || [...user].length > NAME_SIZE) return showDoor(`A name has 1 to ${NAME_SIZE} characters.`);
  showRoom(user);
};

$("leave").onclick = () => {
  room.leave();
  showDoor();
};
$("again").onclick = () => room.again();

// The composer.

const text = $("text");

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
  room.say(text.value.trim());
  text.value = "";
  composed();
  text.focus();
};

// The list of people, which a phone has no place for, and the world outside.

function showPeople(shown) {
  $("aside").classList.toggle("shown", shown);
  $("show-people").ariaExpanded = String(shown);
}

$("show-people").onclick = () => showPeople(!$("aside").classList.contains("shown"));
$("talk").onclick = () => showPeople(false);
document.addEventListener("keydown", (event) => event.key === "Escape" && showPeople(false));
document.addEventListener("visibilitychange", () => document.hidden || room.seen());
window.addEventListener("online", () => room.online());
// Others see at once who has gone. The browser may keep the page, and bring it back.
window.addEventListener("pagehide", () => room.leave());
window.addEventListener("pageshow", (event) => event.persisted && location.reload());

$("name").value = sessionStorage.getItem("inside") ?? localStorage.getItem("name") ?? "";
if (sessionStorage.getItem("inside")) showRoom($("name").value);
else showDoor();
