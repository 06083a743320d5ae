"use strict";
{
  document.documentElement.classList.add("scripted");
  document.querySelector(".keys").hidden = false;

  // A field and its octets light up together, under the mouse and under the keyboard's focus.
  let lit = [];
  function light(event) {
    const part = event.target.closest("[data-f]");
    if (part === null) return;
    const message = part.closest("article");
    for (const one of lit) one.classList.remove("lit");
    lit = [...message.querySelectorAll(`[data-f="${part.dataset.f}"]`)];
    for (const one of lit) one.classList.add("lit");
    const pane = message.querySelector(".octets");
    if (pane.contains(part) || pane.scrollHeight <= pane.clientHeight) return;
    const above = partner(part).getBoundingClientRect().top - pane.getBoundingClientRect().top;
    const height = pane.clientHeight;
    if (above < 0 || above > height - 24) pane.scrollTop += above - height / 3;
  }
  document.addEventListener("mouseover", light);
  document.addEventListener("focusin", light);

  // The octets of a field, or the field of octets.
  function partner(part) {
    return document.getElementById(part.hash.slice(1));
  }

  // A click with the mouse moves nothing if the other part is in sight. Enter goes there always.
  document.addEventListener("click", (event) => {
    const part = event.target.closest("[data-f]");
    if (part === null || event.detail === 0) return;
    const other = partner(part);
    const { top, bottom } = other.getBoundingClientRect();
    if (other.checkVisibility() && top >= 0 && bottom <= innerHeight) event.preventDefault();
  });

  function among(stops, here, key) {
    if (key === "Home") return stops[0];
    if (key === "End") return stops.at(-1);
    return stops[stops.indexOf(here) + (key === "ArrowUp" || key === "ArrowLeft" ? -1 : 1)];
  }

  document.addEventListener("keydown", (event) => {
    const here = event.target.closest(".tree summary, .tree a, .dump a");
    if (here === null || event.altKey || event.ctrlKey || event.metaKey || event.shiftKey) return;
    const tree = here.closest(".tree");
    let next;
    if (tree !== null && ["ArrowUp", "ArrowDown", "Home", "End"].includes(event.key)) {
      const stops = [...tree.querySelectorAll("summary, a")];
      next = among(stops.filter((one) => one.checkVisibility()), here, event.key);
    } else if (tree === null && ["ArrowLeft", "ArrowRight", "Home", "End"].includes(event.key)) {
      const stops = [...here.closest(".dump").querySelectorAll("a[id]")];
      next = among(stops, partner(partner(here)), event.key);
    } else if (tree === null && event.key === "Escape") {
      next = partner(here);
      for (let box = next; (box = box.parentElement.closest("details")); ) box.open = true;
    } else return;
    event.preventDefault();
    next?.focus();
  });
}
