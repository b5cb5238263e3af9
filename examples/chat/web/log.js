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

/**
 * The messages and notes of one conversation. Those of ours that the server has not sent back yet stay at the end, in
 * order. Only one log is on the page at a time.
 */
export class Log {
  #list = element("ol", "log");
  #scroll = $("scroll");
  #newer = $("newer");
  #earlier = $("earlier");
  #shown = false;
  #following = true; // the end is in sight
  #top = 0; // where the last scrolling went
  #timer = 0;
  #unread = 0;
  #known = new Map(); // key of a message -> its entry
  oldest = null; // the position of the first message, if there may be earlier ones

  /** Put it on the page, where the reader left it. */
  show() {
    this.#shown = true;
    this.#list.id = "log";
    // All of it is not news.
    this.#scroll.ariaLive = "off";
    $("past").replaceChildren(this.#list);
    setTimeout(() => (this.#scroll.ariaLive = "polite"), 100);
    this.#newer.onclick = () => this.#follow();
    this.#scroll.onscroll = () => this.#look();
    this.#earlier.hidden = !this.oldest;
    this.#newer.hidden = !this.#unread;
    this.#newer.textContent = this.#unreadText();
    this.#scroll.scrollTop = this.#following ? this.#scroll.scrollHeight : this.#top;
    this.#top = this.#scroll.scrollTop;
  }

  hide() {
    this.#shown = false;
    this.#list.removeAttribute("id");
    this.#list.remove();
  }

  /** The size of what it is shown in has changed: the keyboard of a phone takes half of it away. */
  resized() {
    if (this.#shown) this.#tidy();
  }

  note(text, kind = "") {
    this.#add(element("li", `note ${kind}`, text));
  }

  /** Says that something is missing, with a way to get it. */
  gap(text, fill) {
    const entry = element("li", "note error");
    this.#missing(entry, text, fill);
    this.#add(entry);
  }

  #missing(entry, text, fill) {
    entry.textContent = `${text} `;
    if (!fill) return;
    const button = element("button", "inline", "Show what there is");
    button.onclick = () => fill(entry) && button.remove();
    entry.append(button);
  }

  /** What was missing is shown now; or a part of it, and `text` says that of the rest. */
  filled(entry, text = "", fill = null) {
    if (text) this.#missing(entry, text, fill);
    else entry.remove();
  }

  /** Shows what we say, before the server has seen it. */
  pending(id, user, body) {
    const key = keyOf(user, id);
    const entry = this.#known.get(key) ?? this.#message(key, { from: user, body, ts: Date.now() }, true);
    this.#fate(entry, "pending", "Sending…");
    this.#list.append(entry);
    this.#regroup(entry);
    this.#follow();
  }

  sent(id, user) {
    const entry = this.#known.get(keyOf(user, id));
    if (entry) this.#fate(entry, "", "");
    return Boolean(entry);
  }

  failed(id, user, reason, retry) {
    const entry = this.#known.get(keyOf(user, id));
    if (!entry) return false;
    const button = element("button", "inline", "Try again");
    button.onclick = () => retry(entry.querySelector(".body").textContent);
    this.#fate(entry, "failed", `Not sent: ${reason}. `, button);
    return true;
  }

  /** Shows what somebody said; whether that is news. */
  message(said, user) {
    const { from, id, off, ep } = said;
    const key = keyOf(from, id);
    const known = this.#known.get(key);
    if (!known) {
      const entry = this.#message(key, said, from === user);
      entry.dataset.placed = "yes";
      this.#add(entry);
      this.#begins(off, ep);
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

  /** Shows what was said earlier: at the beginning, or where there is a gap. What is shown stays where it is. */
  past(messages, complete, user, gap) {
    const below = this.#scroll.scrollHeight - this.#scroll.scrollTop;
    const before = gap ?? this.#list.firstElementChild;
    let next = gap;
    while (next && !next.dataset.off) next = next.nextElementSibling;
    let shown = 0;
    for (const said of messages) {
      if (next?.dataset.ep === said.ep && said.off >= Number(next?.dataset.off)) break;
      const key = keyOf(said.from, said.id);
      if (this.#known.has(key)) continue;
      shown += 1;
      const entry = this.#message(key, said, said.from === user);
      entry.dataset.placed = "yes";
      this.#list.insertBefore(entry, before);
      this.#regroup(entry);
    }
    this.#regroup(before);
    if (!gap) {
      const { off, ep } = messages[0] ?? {};
      this.oldest = complete || off === undefined ? null : { off, ep };
      this.#earlier.hidden = !this.oldest;
    }
    if (this.#shown) this.#scroll.scrollTop = this.#scroll.scrollHeight - below;
    return shown;
  }

  clear() {
    this.#list.replaceChildren();
    this.#known.clear();
    this.#follow();
  }

  #begins(off, ep) {
    if (this.oldest || this.#list.querySelectorAll(".message[data-placed]").length !== 1) return;
    this.oldest = off > 1 ? { off, ep } : null;
    if (this.#shown) this.#earlier.hidden = !this.oldest;
  }

  #fate(entry, state, ...content) {
    entry.classList.toggle("pending", state === "pending");
    entry.classList.toggle("failed", state === "failed");
    entry.querySelector(".fate").replaceChildren(...content);
  }

  #message(key, said, own) {
    const from = String(said.from);
    const when = new Date(Number.isFinite(said.ts) ? said.ts : Date.now());
    const entry = element("li", own ? "message own" : "message");
    entry.dataset.sender = from;
    entry.dataset.ms = String(when.getTime());
    entry.style.setProperty("--hue", hue(from));
    const time = element("time", "", clock.format(when));
    time.dateTime = when.toISOString();
    const about = element("div", "about");
    about.append(element("span", "sender", from), time);
    const text = element("div", "body", String(said.body));
    text.dir = "auto";
    text.title = calendar.format(when);
    entry.append(avatar(from), about, text);
    if (own) entry.append(element("div", "fate"));
    if (Number.isSafeInteger(said.off)) Object.assign(entry.dataset, { off: said.off, ep: said.ep });
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
    if (!this.#shown) return;
    this.#newer.textContent = this.#unreadText();
    this.#newer.hidden = false;
  }

  #unreadText() {
    return `${this.#unread} new ${this.#unread === 1 ? "message" : "messages"} ↓`;
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
    if (this.#shown) this.#newer.hidden = true;
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
    if (this.#shown) this.#look(); // the event of a scrolling may still be on its way
    this.#shorten();
    this.#regroup(this.#list.firstElementChild);
    if (!this.#shown) return;
    if (this.#following) this.#scroll.scrollTop = this.#scroll.scrollHeight;
    this.#top = this.#scroll.scrollTop;
  }

  #shorten() {
    const size = this.#following ? SIZE : 5 * SIZE; // what was asked for is not taken away while it is read
    if (this.#list.childElementCount <= size) return;
    while (this.#list.childElementCount > size) {
      const first = this.#list.firstElementChild;
      this.#known.delete(first.dataset.key);
      first.remove();
    }
    const { off, ep } = this.#list.querySelector(".message[data-off]")?.dataset ?? {};
    this.oldest = off === undefined ? null : { off: Number(off), ep };
    if (this.#shown) this.#earlier.hidden = !this.oldest;
  }
}
