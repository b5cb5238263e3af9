// The messages on the page. What people write reaches it through textContent only.

const SIZE = 1000; // entries kept on the page
const GROUP_MS = 3 * 60_000; // messages this close together share one heading

export const $ = (id) => document.getElementById(id);

export function element(tag, className, text) {
  const made = document.createElement(tag);
  made.className = className;
  if (text !== undefined) made.textContent = text;
  return made;
}

export function avatar(name) {
  const initials = name.match(/(?<![\p{L}\p{N}])[\p{L}\p{N}]/gu)?.slice(0, 2).join("") ?? [...name][0] ?? "";
  const made = element("span", "avatar", initials.toUpperCase());
  made.ariaHidden = "true";
  return made;
}

/** A colour for a name, the same on everybody's page. */
export function hue(name) {
  let hash = 7;
  for (const character of name) hash = (hash * 31 + character.codePointAt(0)) % 360_360;
  return hash % 360;
}

const clock = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit" });
const calendar = new Intl.DateTimeFormat(undefined, { dateStyle: "full", timeStyle: "medium" });

const isPending = (entry) => entry.classList.contains("pending");

/** What makes a message the same as another one. Short ids are typed by people, and may come again. */
const keyOf = (from, id) => (typeof id === "string" && id.length >= 16 ? `${id} ${from}` : null);

/** The messages and notes. Those of ours that the server has not sent back yet stay at the end, in order. */
export class Log {
  #list = $("log");
  #scroll = $("scroll");
  #newer = $("newer");
  #following = true; // the end is in sight
  #top = 0; // where the last scrolling went
  #timer = 0;
  #unread = 0;
  #known = new Map(); // key of a message -> its entry

  constructor() {
    this.#newer.onclick = () => this.#follow();
    this.#scroll.onscroll = () => this.#look();
    // The keyboard of a phone takes half of the log away.
    new ResizeObserver(() => this.#tidy()).observe(this.#scroll);
  }

  note(text, kind = "") {
    this.#add(element("li", `note ${kind}`, text));
  }

  /** Shows what we say, before the server has seen it. */
  pending(id, user, body) {
    const key = keyOf(user, id);
    const entry = this.#known.get(key) ?? this.#message(key, user, body, Date.now(), true);
    this.#fate(entry, "pending", "Sending…");
    this.#list.append(entry);
    this.#regroup(entry);
    this.#follow();
  }

  sent(id, user) {
    const entry = this.#known.get(keyOf(user, id));
    if (entry) this.#fate(entry, "", "");
  }

  failed(id, user, reason, retry) {
    const entry = this.#known.get(keyOf(user, id));
    const button = element("button", "inline", "Try again");
    button.onclick = retry;
    this.#fate(entry, "failed", `Not sent: ${reason}. `, button);
  }

  /** Shows what somebody said; whether that is news. */
  message({ from, body, ts, id }, user) {
    const key = keyOf(from, id);
    const known = this.#known.get(key);
    if (!known) {
      const entry = this.#message(key, String(from), String(body), Number(ts), from === user);
      entry.dataset.placed = "yes";
      this.#add(entry);
      return true;
    }
    // Sent again because its ack was lost, it comes twice; the first one counts.
    if (known.dataset.placed) return false;
    known.dataset.placed = "yes";
    if (from === user) this.sent(id, user);
    // Everybody sees the same order: ours goes where the server put it.
    if (known.nextElementSibling && !isPending(known.nextElementSibling)) this.#insert(known);
    return false;
  }

  clear() {
    this.#list.replaceChildren();
    this.#known.clear();
    this.#follow();
  }

  #fate(entry, state, ...content) {
    entry.classList.toggle("pending", state === "pending");
    entry.classList.toggle("failed", state === "failed");
    entry.querySelector(".fate").replaceChildren(...content);
  }

  #message(key, from, body, ms, own) {
    const when = new Date(Number.isFinite(ms) ? ms : Date.now());
    const entry = element("li", own ? "message own" : "message");
    entry.dataset.sender = from;
    entry.dataset.ms = String(when.getTime());
    entry.style.setProperty("--hue", hue(from));
    const time = element("time", "", clock.format(when));
    time.dateTime = when.toISOString();
    const about = element("div", "about");
    about.append(element("span", "sender", from), time);
    const text = element("div", "body", body);
    text.dir = "auto";
    text.title = calendar.format(when);
    entry.append(avatar(from), about, text);
    if (own) entry.append(element("div", "fate"));
    if (key) {
      entry.dataset.key = key;
      this.#known.set(key, entry);
    }
    return entry;
  }

  #insert(entry) {
    const before = entry.nextElementSibling;
    let last = this.#list.lastElementChild;
    while (last && (last === entry || isPending(last))) last = last.previousElementSibling;
    this.#list.insertBefore(entry, last ? last.nextElementSibling : this.#list.firstElementChild);
    this.#regroup(before, entry, entry.nextElementSibling);
  }

  #add(entry) {
    this.#insert(entry);
    this.#tidySoon();
    if (this.#following || !entry.classList.contains("message")) return;
    this.#unread += 1;
    this.#newer.textContent = `${this.#unread} new ${this.#unread === 1 ? "message" : "messages"} ↓`;
    this.#newer.hidden = false;
  }

  #regroup(...entries) {
    for (const entry of entries) {
      const before = entry?.previousElementSibling;
      const near = before && entry.dataset.ms - before.dataset.ms < GROUP_MS;
      entry?.classList.toggle("follows", Boolean(near) && before.dataset.sender === entry.dataset.sender);
    }
  }

  #atEnd() {
    return this.#scroll.scrollHeight - this.#scroll.scrollTop - this.#scroll.clientHeight < 40;
  }

  #follow() {
    this.#read();
    this.#tidySoon();
  }

  #read() {
    this.#following = true;
    this.#unread = 0;
    this.#newer.hidden = true;
  }

  /** Where the reader has scrolled to. Only going up leaves the end: it also runs away when something is added. */
  #look() {
    if (this.#atEnd()) this.#read();
    else if (this.#scroll.scrollTop < this.#top) this.#following = false;
    this.#top = this.#scroll.scrollTop;
  }

  // Once for many messages, because scrolling lays the page out. Not by animation frames: a hidden page has none.
  #tidySoon() {
    this.#timer ||= setTimeout(() => this.#tidy(), 15);
  }

  #tidy() {
    clearTimeout(this.#timer);
    this.#timer = 0;
    this.#look(); // the event of a scrolling may still be on its way
    while (this.#list.childElementCount > SIZE) {
      const oldest = this.#list.firstElementChild;
      this.#known.delete(oldest.dataset.key);
      oldest.remove();
    }
    this.#regroup(this.#list.firstElementChild);
    if (this.#following) this.#scroll.scrollTop = this.#scroll.scrollHeight;
    this.#top = this.#scroll.scrollTop;
  }
}
