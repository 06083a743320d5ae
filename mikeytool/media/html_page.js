"use strict";
// A field and its octets light up together, under the mouse and under the keyboard's focus.
for (const message of document.querySelectorAll("article")) {
  const parts = new Map();
  for (const part of message.querySelectorAll("[data-f]")) {
    const key = part.dataset.f;
    parts.set(key, [...(parts.get(key) ?? []), part]);
  }
  const pane = message.querySelector(".octets");
  let lit = [];
  const light = (event) => {
    const part = event.target.closest("[data-f]");
    if (part === null) return;
    for (const one of lit) one.classList.remove("lit");
    lit = parts.get(part.dataset.f);
    for (const one of lit) one.classList.add("lit");
    if (pane.contains(part)) return;
    const octets = lit.find((one) => pane.contains(one));
    if (octets === undefined || pane.scrollHeight <= pane.clientHeight) return;
    const above = octets.getBoundingClientRect().top - pane.getBoundingClientRect().top;
    if (above < 0 || above > pane.clientHeight - 24) {
      pane.scrollTop += above - pane.clientHeight / 3;
    }
  };
  message.addEventListener("mouseover", light);
  message.addEventListener("focusin", light);
  // A click with the mouse shows the octets where they are; Enter goes to them.
  message.addEventListener("click", (event) => {
    if (event.detail > 0 && event.target.closest("[data-f]")) event.preventDefault();
  });
}
