// Renders a batch's progress from its snapshot and events. All text goes in as text, never as HTML.

import { Connection } from "./connection.js";

const RECENT_PAGES = 20;
const STATUS = {
  queued: "Queued", preparing: "Preparing", running: "Running", cancelling: "Cancelling",
  completed: "Completed", failed: "Failed", cancelled: "Cancelled",
};
const CONNECTION = {
  live: "live", reconnecting: "reconnecting…", polling: "polling",
  "signed out": "signed out: reload to sign in", gone: "this batch is no longer there",
};

function duration(seconds) {
  if (seconds < 60) return "less than a minute";
  const minutes = Math.round(seconds / 60);
  if (minutes < 60) return minutes === 1 ? "about a minute" : `about ${minutes} minutes`;
  const hours = Math.round(minutes / 6) / 10;
  return hours === 1 ? "about an hour" : `about ${hours} hours`;
}

function sentence(batch) {
  switch (batch.status) {
    case "queued": return "Waiting for a free worker.";
    case "preparing": return "Looking at the files.";
    case "running":
      return `Reading: ${batch.current} of ${batch.total}` +
        (batch.eta_seconds === null ? ", estimating the time left." : `, ${duration(batch.eta_seconds)} left.`);
    case "cancelling": return "Cancelling: the pages in hand are being stopped.";
    case "completed":
      return batch.failed + batch.cancelled
        ? `Finished: ${batch.succeeded} read, ${batch.failed} failed, ${batch.cancelled} not read.`
        : `Finished: all ${batch.total} pages read.`;
    case "cancelled": return `Cancelled: ${batch.succeeded} kept, ${batch.total - batch.succeeded} not read.`;
    default: return "Nothing could be read.";
  }
}

class LivePage {
  constructor(root) {
    this.root = root;
    this.title = document.title;
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
  }

  showEvent(event) {
    if (event.type === "batch.retried") this.forgetFailures();
    if (event.type === "page.succeeded") this.addRead(event.page);
    if (event.type === "page.failed") this.addFailure(`page:${event.page.number}`, event.page);
    if (event.type === "file.rejected") this.addFailure(this.fileKey(event.file), event.file);
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
    this.set("eta", batch.eta_seconds === null ? "–" : duration(batch.eta_seconds));
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
  }

  addRead(page) {
    const list = document.querySelector('[data-list="recent"] .recent');
    if (!list) return;
    const sure = page.confidence === null ? "no text" : `${Math.round(page.confidence)} % sure`;
    list.prepend(this.item(`page:${page.number}`, list, [
      this.pageLink(page.number), this.span("file", page.filename), this.span("confidence", sure),
    ]));
    while (list.children.length > RECENT_PAGES) list.lastElementChild.remove();
    document.querySelector("[data-empty]").hidden = true;
  }

  // A page has a file's name and a page to go to; a file that was refused has only a name.
  addFailure(key, { number, filename, name, error }) {
    const section = document.querySelector('[data-list="failures"]');
    if (!section) return;
    const list = section.querySelector(".failures");
    const file = document.createElement("strong");
    file.textContent = filename ?? name;
    const link = filename === undefined ? [] : [this.pageLink(number)];
    list.append(this.item(key, list, [...link, file, this.span("reason", error.message)]));
    section.hidden = false;
  }

  // A file that came in an archive has the archive's number, and one of its own within.
  fileKey({ number, member }) {
    return `file:${number}.${member ?? 0}`;
  }

  addHint(file) {
    const section = document.querySelector('[data-list="hints"]');
    if (!section) return;
    const list = section.querySelector(".hints");
    const name = document.createElement("strong");
    name.textContent = file.name;
    list.append(this.item(this.fileKey(file), list, [name, this.span("reason", file.note)]));
    section.hidden = false;
  }

  forgetFailures() {
    const section = document.querySelector('[data-list="failures"]');
    section?.querySelectorAll('[data-key^="page:"]').forEach((item) => item.remove());
    if (section) section.hidden = !section.querySelector("li");
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
