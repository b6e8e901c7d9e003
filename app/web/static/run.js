// A run's page while it is open: live output, status, questions. Forms go out without leaving the page; without this file they still work.

import { Log } from "./log.js";
import { localTimes } from "./page.js";
import { Stream } from "./stream.js";

const output = document.getElementById("output");
const connection = document.getElementById("connection");
const follow = document.getElementById("follow");
const wrap = document.getElementById("wrap");
const announce = document.getElementById("announce");
const box = document.getElementById("log");
const decoder = new TextDecoder();
const title = document.title;
const opened = Number(document.body.dataset.now);

const log = new Log(box, document.getElementById("dropped"), (on) => follow.setAttribute("aria-pressed", on));

function bytesOf(base64) {
  return Uint8Array.from(atob(base64), (character) => character.charCodeAt(0));
}

// For those who hear the page: news only, not the history that is read when it opens.
function tell(event, text) {
  if (event.time > opened - 5) announce.textContent = text;
}

const show = {
  output: (event) => log.write(event.stream, event.text ?? decoder.decode(bytesOf(event.base64))),
  notice: (event) => log.say(event.message),
  status: (event) => event.message && log.say(event.message),
  question: (event) => tell(event, `The program asks: ${event.question.text}`),
  end: (event) => tell(event, `The run has ended: ${event.message}`),
};

function states(name, seconds) {
  connection.className = `connection ${name === "live" ? "live" : name === "ended" ? "" : "lost"}`;
  connection.textContent = {
    live: "live",
    ended: "",
    lost: seconds > 1 ? "connection lost, trying again" : "connecting again",
    "signed out": "you are signed out: reload the page",
    gone: "this run is not there any more",
  }[name];
}

new Stream(output.dataset.stream, {
  hello: () => {},
  event: (event) => {
    show[event.kind]?.(event);
    if (event.kind !== "output" && event.kind !== "notice") refreshSoon();
  },
  reset: () => log.clear(),
  queue: (frame) => {
    const wait = document.getElementById("wait");
    if (wait) wait.textContent = frame.message;
    else refreshSoon();
  },
  state: states,
});

// The panel is drawn by the server only; its parts are exchanged when something happened.
let refreshing;
function refreshSoon() {
  refreshing ??= setTimeout(async () => {
    refreshing = undefined;
    await refresh().catch(() => {});
  }, 40 + Math.random() * 160);
}

async function refresh() {
  const response = await fetch(output.dataset.panel, { headers: { "X-Podwire-Live": "1" } });
  if (!response.ok) return;
  const fresh = new DOMParser().parseFromString(await response.text(), "text/html");
  localTimes(fresh);
  for (const id of ["part-head", "part-says", "part-use", "part-facts", "part-attempts", "part-artefacts"]) {
    // A replica of another version may not have all of them.
    document.getElementById(id)?.replaceChildren(...(fresh.getElementById(id)?.childNodes ?? []));
  }
  renewWhere("part-actions", fresh.getElementById("part-actions"));
  for (const card of fresh.querySelectorAll("#part-questions > article")) renewWhere(card.id, card);
  const final = fresh.getElementById("panel").dataset.final === "1";
  document.getElementById("panel").dataset.final = final ? "1" : "0";
  if (final) document.getElementById("stdin")?.remove();
  const open = document.querySelector(".question.open");
  const status = document.querySelector("#part-head .badge").textContent;
  document.title = (open ? "(?) " : "") + title.replace(/^[^·]+/, `${status} `);
}

// What the run uses at the moment: asked for while somebody looks. Spread out, so that many open pages do not ask in step.
function useLater() {
  setTimeout(async () => {
    if (document.getElementById("panel").dataset.final === "1") return;
    const runs = ["running", "waiting", "stopping"].includes(document.querySelector("#part-head .badge").textContent);
    if (runs && !document.hidden) await renewUse().catch(() => {});
    useLater();
  }, 5000 * (0.75 + Math.random() / 2));
}

async function renewUse() {
  const response = await fetch(output.dataset.use, { headers: { "X-Podwire-Live": "1" } });
  if (!response.ok || response.redirected) return;
  const fresh = new DOMParser().parseFromString(await response.text(), "text/html");
  // An answer that the end of the run has overtaken.
  if (document.getElementById("panel").dataset.final === "1") return;
  document.getElementById("part-use").replaceChildren(...fresh.body.childNodes);
}
useLater();

// What somebody may be typing into stays as it is until its state has changed.
function renewWhere(id, fresh) {
  const old = document.getElementById(id);
  if (!old) document.getElementById("part-questions").append(fresh);
  else if (old.dataset.state !== fresh.dataset.state) old.replaceWith(fresh);
}

document.addEventListener("submit", async (event) => {
  const form = event.target;
  if (!form.matches("form[data-live]")) return;
  event.preventDefault();
  const body = new FormData(form, event.submitter);
  const buttons = form.querySelectorAll("button");
  for (const button of buttons) button.disabled = true;
  const problem = form.querySelector(".problem");
  try {
    const response = await fetch(form.action, { method: "POST", body: new URLSearchParams(body), headers: { "X-Podwire-Live": "1" } });
    const said = response.ok ? "" : (await response.json()).message;
    problem.textContent = said;
    problem.hidden = response.ok;
    if (response.ok && "clear" in form.dataset) sent(form, event.submitter);
    refreshSoon();
  } catch {
    problem.textContent = "This could not be sent; try again.";
    problem.hidden = false;
  } finally {
    for (const button of buttons) button.disabled = false;
  }
});

function sent(form, button) {
  if (button?.name === "eof") return form.parentElement.remove();
  // A fresh id: the same one again would be taken for a repetition.
  form.elements.input_id.value = Array.from(crypto.getRandomValues(new Uint8Array(12)), (byte) => byte.toString(16).padStart(2, "0")).join("");
  form.elements.data.value = "";
  form.elements.data.focus();
}

follow.hidden = wrap.hidden = false;
follow.addEventListener("click", () => log.follow(!log.following));
wrap.addEventListener("click", () => wrap.setAttribute("aria-pressed", box.classList.toggle("wrap")));
