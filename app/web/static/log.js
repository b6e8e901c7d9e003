// Draws a terminal's lines: in slices of time, in chunks that the browser skips while they are out of sight, up to a cap.

import { Terminal } from "./terminal.js";

const MAX_LINES = 10000;
const CHUNK = 250;
const SLICE_MS = 12;
const DRAW_MS = 250;

/** Shows output in `box`. `dropped` is shown once lines fell out at the top. */
export class Log {
  constructor(box, dropped, onFollow) {
    this.box = box;
    this.dropped = dropped;
    this.onFollow = onFollow;
    this.terminal = new Terminal(MAX_LINES);
    this.following = true;
    box.addEventListener("wheel", (event) => event.deltaY < 0 && this.follow(false), { passive: true });
    box.addEventListener("touchmove", () => this.follow(false), { passive: true });
    box.addEventListener("pointerdown", () => this.follow(false));
    // Chunks out of sight have an estimated height, which changes when they come into view.
    this.watcher = new ResizeObserver(() => this.bottom());
    this.watcher.observe(box);
    this.clear();
    box.addEventListener("keydown", (event) => {
      if (["ArrowUp", "PageUp", "Home"].includes(event.key)) this.follow(false);
      if (event.key === "End") this.follow(true);
    });
  }

  clear() {
    this.terminal.clear();
    this.waiting = [];
    this.rows = new Map();
    this.drawnAt = 0;
    if (this.body) this.watcher.unobserve(this.body);
    this.body = document.createElement("div");
    this.watcher.observe(this.body);
    this.box.replaceChildren(this.body);
    this.dropped.hidden = true;
  }

  /** Add output of a stream. */
  write(stream, text) {
    this.later(() => this.terminal.write(stream, text));
  }

  /** Add a line that the program did not write. */
  say(text) {
    this.later(() => this.terminal.say(text));
  }

  follow(on) {
    if (this.following === on) return;
    this.following = on;
    this.onFollow(on);
    this.bottom();
  }

  bottom() {
    if (this.following) this.box.scrollTop = this.box.scrollHeight;
  }

  later(step) {
    this.waiting.push(step);
    if (this.scheduled) return;
    this.scheduled = true;
    // A hidden page gets no frames, and its log must not pile up unread.
    if (document.hidden) setTimeout(() => this.work(), 200);
    else requestAnimationFrame(() => this.work());
  }

  work() {
    this.scheduled = false;
    const start = performance.now();
    let done = 0;
    while (done < this.waiting.length && performance.now() - start < SLICE_MS) this.waiting[done++]();
    this.waiting.splice(0, done);
    if (!this.waiting.length || start - this.drawnAt > DRAW_MS) this.draw();
    if (this.waiting.length) this.later(() => {});
  }

  draw() {
    this.drawnAt = performance.now();
    const { terminal } = this;
    const oldest = Math.max(terminal.first, terminal.first + terminal.lines.length - MAX_LINES);
    for (const row of [...terminal.changed].sort((a, b) => a - b)) if (row >= oldest) this.drawRow(row);
    terminal.changed.clear();
    this.trim(oldest);
    this.bottom();
  }

  drawRow(row) {
    let element = this.rows.get(row);
    if (!element) {
      element = document.createElement("div");
      this.rows.set(row, element);
      this.chunkOf(row).append(element);
    }
    const line = this.terminal.lines[row - this.terminal.first];
    element.className = line.says ? "line says" : "line";
    element.replaceChildren(...line.spans.map(draw));
  }

  chunkOf(row) {
    const last = this.body.lastElementChild;
    const number = Math.floor(row / CHUNK);
    if (last && Number(last.dataset.number) === number) return last;
    const chunk = document.createElement("div");
    chunk.className = "chunk";
    chunk.dataset.number = number;
    this.body.append(chunk);
    return chunk;
  }

  trim(oldest) {
    const number = Math.floor(oldest / CHUNK);
    let first = this.body.firstElementChild;
    while (first && Number(first.dataset.number) < number) {
      const base = Number(first.dataset.number) * CHUNK;
      for (let row = base; row < base + CHUNK; row += 1) this.rows.delete(row);
      first.remove();
      first = this.body.firstElementChild;
    }
    if (number > 0) {
      this.dropped.hidden = false;
      this.dropped.textContent = `The first ${(number * CHUNK).toLocaleString()} lines are not shown here; the download has everything.`;
    }
  }
}

function draw({ text, style }) {
  if (!style.name && !style.color && !style.background) return document.createTextNode(text);
  const span = document.createElement("span");
  span.className = style.name;
  if (style.color) span.style.color = style.color;
  if (style.background) span.style.backgroundColor = style.background;
  span.textContent = text;
  return span;
}
