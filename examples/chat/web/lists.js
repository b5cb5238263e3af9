// The lists beside the messages: the rooms and conversations, and who is here.

import { avatar, element, hue } from "./log.js";

/** Fill a list anew; who was in it with the keyboard stays where he was. */
function refill(list, items) {
  const { key } = list.contains(document.activeElement) ? document.activeElement.dataset : {};
  list.replaceChildren(...items);
  if (key) [...list.querySelectorAll("button")].find((button) => button.dataset.key === key)?.focus();
}

/** `chat` is told what is chosen, and what is closed. */
export function showPlaces(list, places, here, chat) {
  refill(
    list,
    places.map((place) => {
      const button = element("button", "place");
      if (place.direct) button.append(avatar(place.name));
      button.style.setProperty("--hue", hue(place.name));
      button.append(element("span", "name", place.label));
      if (place.unread) button.append(element("span", "badge", String(place.unread)), element("span", "unseen", " unread"));
      if (place === here) button.ariaCurrent = "page";
      button.dataset.key = place.label;
      button.onclick = () => chat.choose(place);
      const close = element("button", "close", "×");
      close.ariaLabel = close.title = place.direct ? `Close ${place.label}` : `Leave ${place.label}`;
      close.dataset.key = close.title;
      close.onclick = () => chat.part(place);
      const item = element("li", "");
      item.append(button, close);
      return item;
    }),
  );
}

/** `choose` is told whom to write to. */
export function showPeople(list, people, user, choose) {
  const sorted = [...people].sort((a, b) => a.localeCompare(b));
  refill(
    list,
    sorted.map((name) => {
      const own = name === user;
      const person = element(own ? "div" : "button", "person");
      person.style.setProperty("--hue", hue(name));
      person.append(avatar(name), element("span", "name", name));
      if (own) person.append(element("span", "you", "you"));
      else {
        person.dataset.key = name;
        person.title = `Message ${name}`;
        person.onclick = () => choose(name);
      }
      const item = element("li", "");
      item.append(person);
      return item;
    }),
  );
}
