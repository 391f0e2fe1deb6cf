// Brings a batch's snapshot and events to a page, in order and without a hole: by WebSocket, and by
// plain HTTP while no socket can be had. Knows nothing of what the page shows.

const FIRST_PAUSE = 500;
const LONGEST_PAUSE = 30_000;
const POLL_EVERY = 3_000;
const SILENCE = 40_000; // the server sends a frame at least every 15 s or so
const LOOK_EVERY = 5_000;
const NOT_SIGNED_IN = 4401;
const NOT_FOUND = 4404;
const TOO_MANY = 4429; // of this user's sockets

export class Connection {
  // handlers: snapshot(batch, seq), events(list), state("live" | "reconnecting" | "polling" | "signed out" | "gone")
  constructor({ id, seq, eventsUrl, handlers }) {
    this.id = id;
    this.seq = seq;
    this.eventsUrl = eventsUrl;
    this.handlers = handlers;
    this.failures = 0;
    this.over = false;
    addEventListener("online", () => this.retrySoon());
    addEventListener("offline", () => this.socket?.close());
    document.addEventListener("visibilitychange", () => document.hidden || this.wake());
    setInterval(() => this.dropIfSilent(), LOOK_EVERY);
    this.open();
  }

  open() {
    clearTimeout(this.retryTimer);
    const scheme = location.protocol === "https:" ? "wss" : "ws";
    const old = this.socket;
    const socket = new WebSocket(`${scheme}://${location.host}/ws/batches/${this.id}/?after=${this.seq}`);
    this.socket = socket;
    old?.close();
    socket.onmessage = (message) => socket === this.socket && this.receive(JSON.parse(message.data));
    socket.onclose = (event) => socket === this.socket && this.closed(event.code);
    this.heard = Date.now();
  }

  receive(frame) {
    this.failures = 0;
    this.stopPolling();
    this.handlers.state("live");
    this.heard = Date.now();
    if (frame.type === "snapshot") this.handlers.snapshot(frame.batch, frame.seq);
    if (frame.type === "events") this.take(frame.events);
  }

  // Only what follows what we have. A hole cannot come over a socket, but if it did, we would ask again.
  take(events) {
    const news = events.filter((event) => event.seq > this.seq);
    if (!news.length) return;
    if (news[0].seq !== this.seq + 1) return this.socket?.close();
    this.seq = news.at(-1).seq;
    this.handlers.events(news);
  }

  closed(code) {
    this.socket = null;
    if (code === NOT_SIGNED_IN || code === NOT_FOUND) {
      return this.end(code === NOT_SIGNED_IN ? "signed out" : "gone");
    }
    this.failures = code === TOO_MANY ? Infinity : this.failures + 1;
    if (this.failures > 2) this.startPolling();
    if (!this.polling) this.handlers.state("reconnecting");
    this.retryLater();
  }

  // Never at once, nor all browsers in the same moment: whatever cut one off has mostly cut off all.
  retryLater() {
    clearTimeout(this.retryTimer);
    const pause = Math.min(LONGEST_PAUSE, FIRST_PAUSE * 2 ** (this.failures - 1));
    this.retryTimer = setTimeout(() => this.open(), pause * (0.5 + Math.random()));
  }

  // Nothing more is to be had here: say so, and stop asking.
  end(state) {
    this.over = true;
    clearTimeout(this.retryTimer);
    this.stopPolling();
    const socket = this.socket;
    this.socket = null;
    socket?.close();
    this.handlers.state(state);
  }

  // The network is back, or somebody looks again: no need to wait out a long pause.
  retrySoon() {
    if (this.over || this.socket) return;
    this.failures = 1;
    this.retryLater();
  }

  // A line that fell silent is dead, though nobody has told the browser. By the clock, not by a timer of
  // the same length: timers sleep with the computer.
  dropIfSilent() {
    if (this.over || !this.socket || Date.now() - this.heard <= SILENCE) return;
    const socket = this.socket;
    this.closed(); // its close event may take minutes to come, or never
    socket.close();
  }

  wake() {
    this.dropIfSilent();
    this.retrySoon();
  }

  startPolling() {
    if (this.polling) return;
    this.polling = setInterval(() => this.poll(), POLL_EVERY);
    this.poll();
  }

  stopPolling() {
    clearInterval(this.polling);
    this.polling = null;
  }

  async poll() {
    try {
      const response = await fetch(`${this.eventsUrl}?after=${this.seq}`, { redirect: "manual" });
      if (response.type === "opaqueredirect") return this.end("signed out");
      if (response.status === 404) return this.end("gone");
      if (!response.ok || !this.polling) return;
      const { snapshot, events } = await response.json();
      if (!this.polling) return; // the socket came back meanwhile
      this.handlers.state("polling");
      this.handlers.snapshot(snapshot.batch, snapshot.seq);
      this.take(events);
    } catch {
      if (this.polling) this.handlers.state("reconnecting"); // no network: the next poll or socket will find it again
    }
  }
}
