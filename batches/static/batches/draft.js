// The batch to be: which files it has, and when it may be started.

import { sizeOf } from "./filelist.js";

const ARRIVED = ["done", "refused"];
const ORDER = new Intl.Collator("en", { numeric: true }); // card-2 before card-10
const UNDER_WAY = ["waiting", "sending"];

export class Draft {
  constructor(form, list, sending) {
    Object.assign(this, { form, list, sending });
    this.items = new Map(); // by fingerprint
    this.removed = new Set();
    this.buttons = [...form.querySelectorAll("[data-submit]")];
    this.words = new Map(this.buttons.map((button) => [button, button.textContent]));
    this.pressed = null; // the button that waits for files
    this.limits = { files: Number(form.dataset.maxFiles), file: Number(form.dataset.maxFile), all: Number(form.dataset.maxAll) };
    sending.addEventListener("change", ({ detail }) => this.changed(detail));
    list.addEventListener("remove", ({ detail }) => this.remove(detail));
    list.addEventListener("remove-all", () => [...this.items.values()].forEach((item) => this.remove(item)));
    list.addEventListener("remove-bad", () => this.inState("failed", "refused", "missing").forEach((item) => this.remove(item)));
    list.addEventListener("retry", () => this.retry());
    form.addEventListener("submit", (event) => this.submit(event));
  }

  inState(...states) {
    return [...this.items.values()].filter((item) => states.includes(item.state));
  }

  // Files of people, as {file, path}. False: too many or too much, and nothing was added.
  add(found) {
    const fresh = found.map(itemOf).filter((item) => !this.isTaken(item));
    const news = fresh.filter((item) => !this.items.has(item.fingerprint));
    const all = [...this.items.values(), ...news].filter((item) => item.size <= this.limits.file);
    const bytes = all.reduce((sum, item) => sum + item.size, 0);
    if (this.items.size + news.length > this.limits.files) {
      return this.refuse(`These would be ${this.items.size + news.length} files, and a batch takes ${this.limits.files}. None of them was added: split them into several batches.`);
    }
    if (bytes > this.limits.all) {
      return this.refuse(`These would be ${sizeOf(bytes)}, and a batch takes ${sizeOf(this.limits.all)}. None of them was added: split them into several batches.`);
    }
    this.list.tell("");
    for (const item of fresh.sort((one, other) => ORDER.compare(one.path, other.path))) this.take(item);
    this.remember();
    return true;
  }

  isTaken(item) {
    return [...ARRIVED, ...UNDER_WAY].includes(this.items.get(item.fingerprint)?.state);
  }

  refuse(sentence) {
    this.list.tell(sentence, true);
    return false;
  }

  take(fresh) {
    const item = Object.assign(this.items.get(fresh.fingerprint) ?? fresh, { file: fresh.file });
    this.items.set(item.fingerprint, item);
    this.removed.delete(item.fingerprint);
    if (item.size > this.limits.file) {
      this.sending.set(item, "failed", { final: true, reason: `Larger than the ${sizeOf(this.limits.file)} that a file may have here. Split it, or leave it out.` });
    } else this.sending.add(item);
  }

  remove(item) {
    this.items.delete(item.fingerprint);
    this.removed.add(item.fingerprint);
    this.list.tell("");
    this.list.remove(item);
    this.sending.drop(item);
    this.changed();
  }

  retry() {
    for (const item of this.inState("failed")) {
      item.tries = 0;
      if (!item.final) this.sending.add(item);
    }
    this.sending.goOn();
  }

  // What the server has of this draft, which a page before this one has sent.
  async load() {
    try {
      this.merge(await this.sending.listed());
    } catch {
      this.list.tell("What has arrived so far cannot be told now. Reload the page.", true);
    }
  }

  merge(files) {
    const there = new Map(files.map((file) => [file.fingerprint, file]));
    for (const { fingerprint, name, size, url, offset, refused } of files) {
      if (this.removed.has(fingerprint)) continue;
      const item = this.items.get(fingerprint) ?? { fingerprint, path: name, size, file: null, url };
      this.items.set(fingerprint, item);
      if (UNDER_WAY.includes(item.state)) continue;
      const state = refused ? "refused" : offset === size ? "done" : "missing";
      this.sending.set(item, state, { sent: offset, reason: refused });
    }
    for (const item of this.inState(...ARRIVED)) {
      if (there.has(item.fingerprint)) continue;
      Object.assign(item, { url: null, sent: 0, reason: "" }); // removed there: after a day, or in another tab
      if (item.file) this.sending.add(item);
      else this.sending.set(item, "missing");
    }
    return there;
  }

  // A reload comes back to this draft.
  remember() {
    const address = new URL(location.href);
    address.searchParams.set("draft", this.sending.submission);
    history.replaceState(history.state, "", address);
  }

  changed(item) {
    if (item && this.items.has(item.fingerprint)) this.list.draw(item);
    if (this.scheduled) return;
    this.scheduled = requestAnimationFrame(() => this.show());
  }

  show() {
    this.scheduled = 0;
    const { sending, items } = this;
    this.list.summarise([...items.values()], { online: sending.online, held: sending.held });
    const left = this.inState(...UNDER_WAY).length;
    if (this.starting) return;
    if (this.pressed && !left) this.start();
    else for (const button of this.buttons) {
      const waits = button === this.pressed;
      button.textContent = waits ? `Waiting for ${left} file${left === 1 ? "" : "s"}…` : this.words.get(button);
    }
    this.form.querySelector("[data-pressed]").hidden = !this.pressed;
  }

  submit(event) {
    if (this.starting) return;
    event.preventDefault();
    const button = event.submitter ?? this.buttons[0];
    this.pressed = button === this.pressed ? null : button;
    this.changed();
  }

  // What the button would have sent: a form that is sent by a script sends none of its buttons.
  valueOf(button) {
    const field = document.createElement("input");
    Object.assign(field, { type: "hidden", name: button.name, value: button.value });
    return field;
  }

  // All has arrived: the server is asked whether it sees it so too, and then given the form.
  async start() {
    const button = this.pressed;
    this.pressed = null;
    this.starting = true;
    try {
      const there = this.merge(await this.sending.listed());
      const dropped = [...there.values()].filter((file) => this.removed.has(file.fingerprint));
      const gone = await Promise.all(dropped.map((file) => this.sending.forget(file.url)));
      if (!gone.every(Boolean)) throw new Error("Something that was removed is still there");
    } catch {
      this.starting = false;
      this.changed();
      return this.refuse("The server cannot be reached just now. Press “Start reading” again in a moment.");
    }
    const left = this.inState("failed", "missing").length;
    this.starting = !left && !this.inState(...UNDER_WAY).length && this.items.size > 0;
    if (!this.items.size) this.refuse("Add the files that are to be read first.");
    else if (left) this.refuse(notArrived(left));
    if (!this.starting) return this.changed();
    for (const other of this.buttons) other.disabled = true; // and not before: Pico takes busy ones from the mouse
    button.setAttribute("aria-busy", "true");
    button.textContent = "Starting…";
    if (button.name) this.form.append(this.valueOf(button));
    this.form.requestSubmit();
  }
}

function notArrived(files) {
  if (files === 1) return "1 file has not arrived: see the reason beside it. Try again, add it again, or remove it from the list.";
  return `${files} files have not arrived: see the reason beside each. Try again, add them again, or remove them from the list.`;
}

function itemOf({ file, path }) {
  return { file, path, size: file.size, fingerprint: `${file.size}-${file.lastModified}-${hash(path)}`, url: null, sent: 0 };
}

// FNV-1a, 64 bits: enough to tell the paths of one draft from each other.
function hash(text) {
  let value = 0xcbf29ce484222325n;
  for (const byte of new TextEncoder().encode(text)) value = BigInt.asUintN(64, (value ^ BigInt(byte)) * 0x100000001b3n);
  return value.toString(16);
}
