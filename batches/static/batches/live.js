// Renders a batch's progress from its snapshot and events. All text goes in as text, never as HTML.

import { Connection } from "./connection.js";
import { Problems } from "./problems.js";

const RECENT_PAGES = 20;
const PROBLEMS = ["page.failed", "file.rejected", "batch.retried"]; // events that change the list of them
const STATUS = {
  queued: "Queued", preparing: "Preparing", running: "Running", paused: "Paused", cancelling: "Cancelling",
  completed: "Completed", failed: "Failed", cancelled: "Cancelled",
};
const CONNECTION = {
  live: "live", reconnecting: "reconnecting…", polling: "polling",
  "signed out": "signed out: reload to sign in", gone: "this batch is no longer there",
};

// A range in the words people use: "4 to 6 minutes", "about an hour".
function duration([from, to]) {
  if (to < 60) return "less than a minute";
  const [size, unit, one] = to < 5400 ? [60, "minutes", "about a minute"] : [3600, "hours", "about an hour"];
  const [low, high] = [from, to].map((seconds) => Math.max(1, Math.round(seconds / size)));
  if (low < high) return `${low} to ${high} ${unit}`;
  return high === 1 ? one : `about ${high} ${unit}`;
}

function sentence(batch) {
  switch (batch.status) {
    case "queued": return "Waiting for a free worker.";
    case "preparing": return "Looking at the files.";
    case "running":
      return `Reading: ${batch.current} of ${batch.total}` +
        (batch.eta_range === null ? ", estimating the time left." : `, ${duration(batch.eta_range)} left.`);
    case "paused": return `Paused: ${batch.current} of ${batch.total}. No page is begun until you resume.`;
    case "cancelling": return "Cancelling: the pages in hand are being stopped.";
    case "completed":
      return batch.failed + batch.cancelled
        ? `Finished: ${batch.succeeded} read, ${batch.failed} failed, ${batch.cancelled} not read.`
        : `Finished: all ${batch.total} pages read.`;
    case "cancelled": return `Cancelled: ${batch.succeeded} kept, ${batch.total - batch.succeeded} not read.`;
    default: return batch.succeeded ? `Failed: ${batch.succeeded} read before.` : "Nothing could be read.";
  }
}

class LivePage {
  constructor(root) {
    this.root = root;
    this.title = document.title;
    const problems = document.querySelector("[data-problems]");
    this.problems = problems && new Problems(problems);
    this.stateSeq = Number(root.dataset.seq);
    new Connection({
      id: root.dataset.live,
      seq: this.stateSeq,
      eventsUrl: root.dataset.eventsUrl,
      handlers: {
        snapshot: (batch, seq) => this.showBatch(batch, seq),
        events: (events) => events.forEach((event) => this.showEvent(event)),
        state: (state) => this.showConnection(state),
      },
    });
  }

  set(name, text) {
    const place = this.root.querySelector(`[data-field="${name}"]`);
    if (place.textContent !== text) place.textContent = text;
    return place;
  }

  showConnection(state) {
    this.set("connection", CONNECTION[state]).dataset.state = state;
    if (state === "live" || state === "polling") this.problems?.lineIsBack();
  }

  showEvent(event) {
    if (event.type === "page.succeeded") this.addRead(event.page);
    if (PROBLEMS.includes(event.type)) this.problems?.changed();
    if (event.type === "file.accepted" && event.file.note) this.addHint(event.file);
    this.showBatch(event.batch, event.seq);
  }

  // A snapshot may be newer than the events that are still to come: counts only go forward.
  showBatch(batch, seq) {
    if (seq < this.stateSeq) return;
    this.stateSeq = seq;
    this.set("status", STATUS[batch.status]).className = `status ${batch.status}`;
    this.set("sentence", sentence(batch));
    this.set("count", `${batch.current} of ${batch.total}`);
    this.set("percentage", `${batch.percentage} %`);
    const left = batch.eta_range === null ? "estimating" : duration(batch.eta_range);
    this.set("eta", batch.status === "running" ? left : "–");
    this.set("rate", batch.pages_per_minute === null ? "–" : String(batch.pages_per_minute));
    for (const name of ["succeeded", "failed", "cancelled"]) this.set(name, String(batch[name]));
    const bar = this.root.querySelector('[data-field="bar"]');
    bar.max = batch.total || 1;
    bar.value = batch.current;
    this.set("error", batch.error?.message ?? "").hidden = !batch.error;
    this.showCommands(batch);
    const busy = batch.status === "running" || batch.status === "cancelling";
    document.title = busy ? `${Math.floor(batch.percentage)} % · ${this.title}` : this.title;
  }

  showCommands(batch) {
    for (const element of document.querySelectorAll("[data-show-if]")) {
      const allRead = "showIfUnread" in element.dataset && batch.total > 0 && batch.succeeded === batch.total;
      element.hidden = allRead || !element.dataset.showIf.split(" ").includes(batch.status);
    }
    for (const element of document.querySelectorAll("[data-show-if-read]")) element.hidden = !batch.succeeded;
    for (const element of document.querySelectorAll("[data-show-if-pages]")) element.hidden = !batch.total;
  }

  addRead(page) {
    const list = document.querySelector('[data-list="recent"] .recent');
    if (!list) return;
    const before = page.recognised_before ? ", recognised before" : "";
    const sure = (page.confidence === null ? "no text" : `${Math.round(page.confidence)} % sure`) + before;
    list.prepend(this.item(`page:${page.number}`, list, [
      this.pageLink(page.number), this.span("file", page.filename), this.span("confidence", sure),
    ]));
    while (list.children.length > RECENT_PAGES) list.lastElementChild.remove();
    document.querySelector("[data-empty]").hidden = true;
  }

  // A file that came in an archive has the archive's number, and one of its own within.
  addHint(file) {
    const section = document.querySelector('[data-list="hints"]');
    if (!section) return;
    const list = section.querySelector(".hints");
    const name = document.createElement("strong");
    name.textContent = file.name;
    list.append(this.item(`file:${file.number}.${file.member}`, list, [name, this.span("reason", file.note)]));
    section.hidden = false;
  }

  // One row a key: an event that tells what the page shows already replaces its row.
  item(key, list, parts) {
    [...list.children].find((row) => row.dataset.key === key)?.remove();
    const row = document.createElement("li");
    row.dataset.key = key;
    parts.forEach((part, i) => row.append(...(i ? [" ", part] : [part])));
    return row;
  }

  pageLink(number) {
    const link = document.createElement("a");
    link.href = this.root.dataset.pageUrl.replace("/pages/0/", `/pages/${number}/`);
    link.textContent = `Page ${number}`;
    return link;
  }

  span(className, text) {
    const span = document.createElement("span");
    span.className = className;
    span.textContent = text;
    return span;
  }
}

for (const root of document.querySelectorAll("[data-live]")) new LivePage(root);

for (const form of document.querySelectorAll("form[data-confirm]")) {
  form.addEventListener("submit", (event) => {
    if (!confirm(form.dataset.confirm)) event.preventDefault();
  });
}
