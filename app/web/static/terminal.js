// A program's output as lines of styled text: carriage returns, basic ANSI colours and cursor moves. No DOM here.

const MAX_COLUMNS = 8192;
const MAX_PENDING = 4096;
const CONTROL = /[\x00-\x08\x0a-\x1f\x7f]/g;
const CSI = /\x1b\[([0-?]*)[ -/]*([@-~])/y;
const OSC = /\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)/y;
const SHORT = /\x1b(?:[ -/]+[0-~]|[0-Z\\^_`a-~])/y;
const PLAIN = Object.freeze({ name: "", color: "", background: "" });

/** The last `maxLines` lines. Rows count from the very first line; `first` is the oldest one kept, `changed` the rows to draw. */
export class Terminal {
  constructor(maxLines) {
    this.maxLines = maxLines;
    this.clear();
  }

  clear() {
    this.lines = [{ spans: [], length: 0 }];
    this.first = 0;
    this.row = 0;
    this.column = 0;
    this.changed = new Set();
    this.streams = { stdout: newStream(""), stderr: newStream("err") };
  }

  /** Take more of a stream's text in. */
  write(name, text) {
    const stream = this.streams[name] ?? this.streams.stdout;
    text = stream.pending + text;
    stream.pending = "";
    let at = 0;
    while (at < text.length) {
      CONTROL.lastIndex = at;
      const found = CONTROL.exec(text);
      const end = found ? found.index : text.length;
      if (end > at) this.put(text.slice(at, end), stream.style);
      if (!found) break;
      at = found[0] === "\x1b" ? this.escape(stream, text, end) : this.control(found[0], end);
    }
  }

  /** Add a line that the program did not write. */
  say(text) {
    if (this.line().length) this.newline();
    this.line().says = true;
    this.put(text, PLAIN);
    this.newline();
  }

  line() {
    return this.lines[this.row - this.first];
  }

  control(character, at) {
    if (character === "\n") this.newline();
    else if (character === "\r") this.column = 0;
    else if (character === "\b") this.column = Math.max(0, this.column - 1);
    return at + 1;
  }

  newline() {
    this.changed.add(this.row);
    this.row += 1;
    this.column = 0;
    if (this.row - this.first < this.lines.length) return;
    this.lines.push({ spans: [], length: 0 });
    // In big steps: dropping line by line would move the whole array each time.
    if (this.lines.length > this.maxLines * 1.5) {
      const extra = this.lines.length - this.maxLines;
      this.lines.splice(0, extra);
      this.first += extra;
    }
  }

  put(text, style) {
    while (this.column + text.length > MAX_COLUMNS) {
      const room = MAX_COLUMNS - this.column;
      this.place(text.slice(0, room), style);
      text = text.slice(room);
      this.newline();
    }
    if (text) this.place(text, style);
  }

  place(text, style) {
    const line = this.line();
    this.changed.add(this.row);
    if (this.column > line.length) append(line, " ".repeat(this.column - line.length), PLAIN);
    if (this.column === line.length) append(line, text, style);
    else overwrite(line, this.column, text, style);
    this.column += text.length;
  }

  escape(stream, text, at) {
    for (const form of [CSI, OSC, SHORT]) {
      form.lastIndex = at;
      const found = form.exec(text);
      if (found) {
        if (form === CSI) this.command(stream, found[1], found[2]);
        return form.lastIndex;
      }
    }
    // The rest of it is in the next piece of output, unless it never was an escape sequence.
    if (text.length - at > MAX_PENDING) return at + 1;
    stream.pending = text.slice(at);
    return text.length;
  }

  command(stream, parameters, letter) {
    const numbers = parameters.split(/[;:]/).map((word) => Number.parseInt(word, 10));
    const count = Math.min(numbers[0] || 1, MAX_COLUMNS);
    if (letter === "m") stream.style = restyle(stream, numbers);
    else if (letter === "K") this.erase(numbers[0] || 0);
    else if (letter === "A") this.row = Math.max(this.first, this.row - count);
    else if (letter === "B") this.row = Math.min(this.first + this.lines.length - 1, this.row + count);
    else if (letter === "C") this.column = Math.min(MAX_COLUMNS, this.column + count);
    else if (letter === "D") this.column = Math.max(0, this.column - count);
    else if (letter === "G") this.column = count - 1;
  }

  erase(mode) {
    const line = this.line();
    this.changed.add(this.row);
    if (mode === 0) line.spans = cut(line.spans, 0, this.column);
    else if (mode === 2) line.spans = [];
    line.length = line.spans.reduce((sum, span) => sum + span.text.length, 0);
  }
}

function newStream(base) {
  const style = base ? { ...PLAIN, name: base } : PLAIN;
  return { base, look: {}, style, pending: "" };
}

function append(line, text, style) {
  const last = line.spans.at(-1);
  if (last && last.style === style) last.text += text;
  else line.spans.push({ text, style });
  line.length += text.length;
}

function overwrite(line, column, text, style) {
  const after = column + text.length;
  line.spans = [...cut(line.spans, 0, column), { text, style }, ...cut(line.spans, after, Infinity)];
  line.length = Math.max(line.length, after);
}

function cut(spans, from, to) {
  const kept = [];
  let at = 0;
  for (const { text, style } of spans) {
    const piece = text.slice(Math.max(0, from - at), Math.max(0, to - at));
    if (piece) kept.push({ text: piece, style });
    at += text.length;
  }
  return kept;
}

const FLAGS = { 1: "b", 2: "d", 3: "i", 4: "u", 7: "r", 9: "x" };
const UNSET = { 22: ["b", "d"], 23: ["i"], 24: ["u"], 27: ["r"], 29: ["x"] };

function restyle(stream, numbers) {
  for (let i = 0; i < numbers.length; i += 1) {
    const code = numbers[i] || 0;
    if (code === 0) stream.look = {};
    else if (FLAGS[code]) stream.look[FLAGS[code]] = true;
    else if (UNSET[code]) for (const flag of UNSET[code]) delete stream.look[flag];
    else if (code >= 30 && code <= 37) stream.look.color = code - 30;
    else if (code >= 90 && code <= 97) stream.look.color = code - 82;
    else if (code === 39) delete stream.look.color;
    else if (code >= 40 && code <= 47) stream.look.background = code - 40;
    else if (code >= 100 && code <= 107) stream.look.background = code - 92;
    else if (code === 49) delete stream.look.background;
    else if (code === 38 || code === 48) {
      const [color, used] = extended(numbers.slice(i + 1));
      if (color !== null) stream.look[code === 38 ? "color" : "background"] = color;
      i += used;
    }
  }
  return styleOf(stream);
}

function extended([kind, a, b, c]) {
  const byte = (n) => Math.min(255, Math.max(0, n || 0));
  if (kind === 2) return [`rgb(${byte(a)} ${byte(b)} ${byte(c)})`, 4];
  if (kind !== 5) return [null, 1];
  const n = byte(a);
  if (n < 16) return [n, 2];
  if (n >= 232) return [`rgb(${8 + (n - 232) * 10} ${8 + (n - 232) * 10} ${8 + (n - 232) * 10})`, 2];
  const level = (step) => (step ? 55 + 40 * step : 0);
  return [`rgb(${level(Math.floor((n - 16) / 36))} ${level(Math.floor((n - 16) / 6) % 6)} ${level((n - 16) % 6)})`, 2];
}

function styleOf({ base, look }) {
  const { color, background, ...flags } = look;
  const names = [...Object.keys(flags)];
  if (base) names.push(base);
  if (typeof color === "number") names.push(`f${color}`);
  if (typeof background === "number") names.push(`g${background}`);
  return {
    name: names.join(" "),
    color: typeof color === "string" ? color : "",
    background: typeof background === "string" ? background : "",
  };
}
