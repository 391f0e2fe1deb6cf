// Sends files by tus, some at a time. What the line or the server interrupts goes on by itself where it stood.
//
// An item: {path, size, fingerprint, file, url, sent, state, reason}. States: "waiting", "sending", "done",
// "refused" (it will be, for its content), "failed" (it is not on the server; `final`: and cannot be), "missing" (of a page that was left:
// a part is on the server, its file is to be added again).

const PARALLEL = 3;
const FIRST_PIECE = 1 << 16; // of a large file: enough for the server to tell whether it is one that is read
const LONGEST_WAIT = 15_000; // ms between two tries while the line is down
const TRIES = 5; // of one file, at a server that answers with errors
const HOLDING = [401, 403, 429, 507]; // no file would be taken now

export class Sending extends EventTarget {
  constructor({ endpoint, piece, token, submission }) {
    super();
    Object.assign(this, { endpoint, piece, submission });
    this.headers = { "X-CSRFToken": token };
    this.waiting = [];
    this.busy = new Map(); // item: tus.Upload
    this.online = true;
    this.held = ""; // why nothing is sent until somebody says so
    this.delay = 1000;
    addEventListener("offline", () => this.isOnline(false));
    addEventListener("online", () => {
      this.isOnline(true);
      this.tryAgain();
    });
  }

  add(item) {
    this.set(item, "waiting");
    this.waiting.push(item);
    queueMicrotask(() => this.pump());
  }

  // Stop sending it. What of it is on the server is forgotten there.
  drop(item) {
    this.busy.get(item)?.abort();
    this.busy.delete(item);
    this.waiting = this.waiting.filter((other) => other !== item);
    if (item.url) this.forget(item.url);
    this.pump();
  }

  // Whether it is gone there.
  forget(url) {
    const headers = { ...this.headers, "Tus-Resumable": "1.0.0" };
    const answer = fetch(url, { method: "DELETE", headers });
    return answer.then(({ ok, status }) => ok || status === 404, () => false); // asked again before the start
  }

  async listed() {
    const answer = await fetch(`${this.endpoint}?submission=${this.submission}`);
    if (!answer.ok) throw new Error(answer.statusText);
    return (await answer.json()).files;
  }

  goOn() {
    this.held = "";
    this.tryAgain();
  }

  tryAgain() {
    clearTimeout(this.timer);
    this.timer = null;
    this.pump();
  }

  pump() {
    while (!this.held && !this.timer && this.busy.size < PARALLEL && this.waiting.length) {
      this.send(this.waiting.shift());
    }
    this.changed();
  }

  send(item) {
    const upload = new tus.Upload(item.file, {
      endpoint: this.endpoint,
      uploadUrl: item.url,
      chunkSize: item.size > this.piece && !item.url ? FIRST_PIECE : this.piece,
      headers: this.headers,
      metadata: { filename: item.path, submission: this.submission, fingerprint: item.fingerprint },
      uploadDataDuringCreation: true,
      storeFingerprintForResuming: false, // the server knows the draft's files
      retryDelays: null, // all files wait together while the line is down
      onUploadUrlAvailable: () => { item.url = upload.url; },
      onProgress: (sent) => this.busy.get(item) === upload && this.set(item, "sending", { sent }),
      onAfterResponse: (_, answer) => this.answered(item, upload, answer),
      onSuccess: () => this.ended(item, upload, item.reason ? "refused" : "done", { sent: item.size }),
      onError: (error) => this.busy.get(item) === upload && this.wentWrong(item, upload, error),
    });
    this.busy.set(item, upload);
    this.set(item, "sending");
    upload.start();
  }

  answered(item, upload, answer) {
    if (answer.getStatus() < 500) this.isOnline(true);
    upload.options.chunkSize = this.piece;
    const refused = answer.getHeader("Upload-Refused");
    if (!refused) return;
    item.reason = decodeURIComponent(refused);
    if (Number(answer.getHeader("Upload-Offset")) < item.size) { // the rest need not be sent
      upload.abort();
      this.ended(item, upload, "refused");
    }
  }

  ended(item, upload, state, fields) {
    if (this.busy.get(item) !== upload) return;
    this.busy.delete(item);
    this.set(item, state, fields);
    this.pump();
  }

  async wentWrong(item, upload, error) {
    const status = error.originalResponse?.getStatus() ?? 0;
    const told = sentenceOf(error.originalResponse);
    if (HOLDING.includes(status)) {
      this.held = told || "You are not signed in, or no longer. Sign in again, then reload this page: what has arrived is kept.";
      this.again(item, upload);
    } else if (status === 404) { // it was removed: from the beginning
      item.url = null;
      this.retry(item, upload, told);
    } else if ([408, 409, 423].includes(status) || status >= 500) {
      this.retry(item, upload, told);
    } else if (status) {
      this.ended(item, upload, "failed", { reason: told || `The server did not take this file (${status}).` });
    } else if (await isReadable(item.file)) {
      this.isOnline(false);
      this.again(item, upload);
    } else {
      this.ended(item, upload, "failed", { reason: "This file cannot be read on this computer any more. Add it again." });
    }
  }

  retry(item, upload, told) {
    item.tries = (item.tries ?? 0) + 1;
    if (item.tries < TRIES) this.again(item, upload);
    else this.ended(item, upload, "failed", { reason: told || "The server could not take this file. Try again later." });
  }

  // Back to the head of the queue; the next try, of all, comes a little later.
  again(item, upload) {
    if (this.busy.get(item) !== upload) return;
    this.busy.delete(item);
    this.waiting.unshift(item);
    this.set(item, "waiting");
    if (this.timer) return;
    this.timer = setTimeout(() => this.tryAgain(), this.delay);
    this.delay = Math.min(2 * this.delay, LONGEST_WAIT);
    this.changed();
  }

  isOnline(online) {
    if (online) this.delay = 1000;
    this.online = online;
    this.changed();
  }

  set(item, state, fields = {}) {
    Object.assign(item, { state }, fields);
    this.changed(item);
  }

  changed(item) {
    this.dispatchEvent(new CustomEvent("change", { detail: item }));
  }
}

// The server's sentence; a page of HTML is none.
function sentenceOf(answer) {
  return answer?.getHeader("Content-Type")?.startsWith("text/plain") ? answer.getBody() : "";
}

function isReadable(file) {
  return file.slice(0, 1).arrayBuffer().then(() => true, () => false);
}
