// A run's events over a WebSocket: every one once and in order, over lost connections, draining replicas and new epochs.

const CLOSED = { ended: 1000, drains: 1012, busy: 1013, unauthenticated: 4401, unknown: 4404 };
const BASE_MS = 500;
const MAX_MS = 30000;

/** Follows one run. `on` has: hello(frame), event(event), reset(), queue(frame), state(name, seconds). */
export class Stream {
  constructor(path, on) {
    this.path = path;
    this.on = on;
    this.tries = 0;
    this.forget();
    this.connect();
  }

  forget() {
    this.epoch = 0;
    this.seq = 0;
  }

  connect() {
    const url = new URL(this.path, location.href);
    url.protocol = url.protocol === "https:" ? "wss:" : "ws:";
    url.searchParams.set("position", `${this.epoch}-${this.seq}`);
    const socket = new WebSocket(url);
    this.socket = socket;
    socket.onmessage = (message) => this.socket === socket && this.receive(JSON.parse(message.data));
    socket.onclose = (close) => this.socket === socket && this.closed(close.code);
  }

  receive(frame) {
    this.tries = 0;
    if (frame.type === "hello") {
      this.on.state("live");
      this.on.hello(frame);
    } else if (frame.type === "events") {
      for (const event of frame.events) if (!this.take(event)) return;
    } else if (frame.type === "reset") {
      this.again();
    } else if (frame.type === "queue") {
      this.on.queue(frame);
    }
  }

  take(event) {
    if (event.seq <= this.seq) return true;
    if (event.seq !== this.seq + 1) {
      // Never seen; but a gap must not be shown as if it were none.
      this.socket.close();
      return false;
    }
    this.epoch = event.epoch;
    this.seq = event.seq;
    this.on.event(event);
    return true;
  }

  /** Read everything anew: what was shown after some event is no longer what happened. */
  again() {
    const socket = this.socket;
    this.socket = null;
    socket.close();
    this.forget();
    this.on.reset();
    this.connect();
  }

  closed(code) {
    if (code === CLOSED.ended) return this.on.state("ended");
    if (code === CLOSED.unauthenticated) return this.on.state("signed out");
    if (code === CLOSED.unknown) return this.on.state("gone");
    // Full jitter: of many watchers of a lost replica, no two come back at the same moment.
    const wait = Math.random() * Math.min(MAX_MS, BASE_MS * 2 ** this.tries + (code === CLOSED.busy ? 5000 : 0));
    this.tries += 1;
    this.on.state("lost", wait / 1000);
    setTimeout(() => this.connect(), wait);
  }
}
