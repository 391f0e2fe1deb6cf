// The list of files on the page: what needs a person, what is being sent, the rest; and what all of them come to.

const COUNTED = { refused: "will be refused", failed: "not uploaded", missing: "to be added again" };
const WORDS = {
  waiting: "waiting",
  done: "arrived",
  refused: "will be refused",
  failed: "not uploaded",
  missing: "add it again to go on",
};
const BAD = ["refused", "failed", "missing"];

export class FileList extends EventTarget {
  constructor(place) {
    super();
    this.place = place;
    const part = (name) => place.querySelector(`[data-${name}]`);
    Object.assign(this, { bad: part("bad"), active: part("active"), rest: part("rest"), sum: part("sum"), bar: part("bar"), line: part("line"), template: part("row"), notice: part("notice") });
    this.rows = new Map(); // item: its row's parts
    place.addEventListener("click", ({ target }) => this.clicked(target));
  }

  clicked(target) {
    const command = target.closest("[data-command]")?.dataset.command;
    if (!command) return;
    const row = target.closest("li");
    if (row) (row.nextElementSibling ?? row.previousElementSibling)?.querySelector("button").focus({ preventScroll: true });
    this.dispatchEvent(new CustomEvent(command, { detail: row?.item }));
  }

  // A sentence about the whole list; empty: none.
  tell(sentence, isBad = false) {
    this.notice.textContent = sentence;
    this.notice.classList.toggle("error", isBad);
    this.place.hidden &&= !sentence;
  }

  draw(item) {
    const row = this.rows.get(item) ?? this.insert(item);
    const percent = item.size ? Math.floor((100 * (item.sent ?? 0)) / item.size) : 100;
    if (row.state !== item.state) this.enter(row, item);
    if (row.percent !== percent) row.bar.value = row.percent = percent;
    const part = item.state === "sending" || (item.state === "missing" && percent) ? `${percent} %` : "";
    const words = [part, WORDS[item.state]].filter(Boolean).join(": ");
    if (row.word.textContent !== words) row.word.textContent = words;
  }

  insert(item) {
    const element = this.template.content.firstElementChild.cloneNode(true);
    const part = (name) => element.querySelector(name);
    element.item = item;
    part(".file").textContent = item.path;
    part(".bytes").textContent = sizeOf(item.size);
    part("button").setAttribute("aria-label", `Remove ${item.path}`);
    const row = { element, bar: part("progress"), word: part(".word"), reason: part(".reason") };
    row.bar.setAttribute("aria-label", item.path);
    this.rows.set(item, row);
    return row;
  }

  enter(row, item) {
    row.state = row.element.dataset.state = item.state;
    row.bar.hidden = !["sending", "waiting"].includes(item.state);
    row.reason.textContent = BAD.includes(item.state) ? item.reason ?? "" : "";
    this.move(row.element, BAD.includes(item.state) ? this.bad : item.state === "sending" ? this.active : this.rest);
  }

  // To the end of a list: so among the rest those that wait come first, and then what has arrived.
  move(element, place) {
    const focused = element.contains(document.activeElement) ? document.activeElement : null;
    place.append(element);
    focused?.focus({ preventScroll: true });
  }

  remove(item) {
    this.rows.get(item)?.element.remove();
    this.rows.delete(item);
  }

  summarise(items, { online, held }) {
    const count = (...states) => items.filter((item) => states.includes(item.state)).length;
    const bytes = items.reduce((sum, item) => sum + item.size, 0);
    const sent = items.reduce((sum, item) => sum + (ended(item) ? item.size : item.sent ?? 0), 0);
    const left = count("waiting", "sending");
    this.place.hidden &&= !items.length;
    this.bar.value = bytes ? sent / bytes : 1;
    this.bar.hidden = !left;
    const files = `${items.length} file${items.length === 1 ? "" : "s"}`;
    const told = [`${files}, ${sizeOf(bytes)}`, `${count("done", "refused")} arrived`];
    for (const state of BAD) if (count(state)) told.push(`${count(state)} ${COUNTED[state]}`);
    this.sum.textContent = `${told.join(" · ")}`;
    this.show("retry", held || items.some(({ state, final }) => state === "failed" && !final));
    this.show("remove-bad", count(...BAD));
    this.show("remove-all", items.length);
    const line = held || (online ? "" : "The connection is lost. The upload goes on by itself when it is back.");
    this.say(line || (items.length && !left && !count("failed", "missing") ? "Everything has arrived." : ""));
  }

  show(command, yes) {
    this.place.querySelector(`[data-command="${command}"]`).hidden = !yes;
  }

  // Read out by screen readers: only what changes seldom.
  say(line) {
    if (this.line.textContent !== line) this.line.textContent = line;
  }
}

function ended({ state }) {
  return ["done", "refused", "failed"].includes(state);
}

// As the server writes sizes, in powers of 1,024.
export function sizeOf(bytes) {
  const units = ["bytes", "KB", "MB", "GB", "TB"];
  let i = 0;
  for (; bytes >= 1024 && i < 4; i += 1) bytes /= 1024;
  return `${i ? bytes.toFixed(1) : bytes} ${units[i]}`;
}
