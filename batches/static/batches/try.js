// Trials in hand: what has come of them is asked for every second, until all have ended.
// Without this module a reload shows the same.

const EVERY = 1000;
const PATIENCE = 10_000; // where the server cannot be reached
const place = document.querySelector("[data-results]");
let shown = "";
const state = () => place.querySelector("[data-state]").dataset.state;

async function refresh() {
  const before = state();
  let wait = EVERY;
  try {
    const response = await fetch(place.dataset.results, { redirect: "error" });
    if (response.status === 404) return location.reload(); // deleted meanwhile: say so
    if (!response.ok) throw new Error(response.statusText);
    show(await response.text());
  } catch {
    wait = PATIENCE;
  }
  if (before === "looking" && state() !== "looking") return location.reload(); // now pages can be chosen
  if (state() !== "done") setTimeout(refresh, wait);
}

function show(html) {
  if (html === shown) return; // what is selected or scrolled to stays so
  shown = html;
  const template = document.createElement("template");
  template.innerHTML = html; // our own server's, with every user's word escaped there
  const focused = place.contains(document.activeElement) ? document.activeElement.value : null;
  place.replaceChildren(template.content);
  if (focused) place.querySelector(`button[value="${focused}"]`)?.focus();
}

if (state() !== "done") setTimeout(refresh, EVERY);
