// What every page adds where scripts run: local times, running clocks, lists that renew themselves. Nothing depends on it.

const skew = Date.now() / 1000 - Number(document.body.dataset.now);

/** Seconds as the pages write them: "2 h 5 min". */
export function duration(seconds) {
  if (seconds < 60) return `${Math.max(0, Math.floor(seconds))} s`;
  const parts = [];
  let left = Math.floor(seconds);
  for (const [size, name] of [[86400, "d"], [3600, "h"], [60, "min"], [1, "s"]]) {
    if (left >= size) parts.push(`${Math.floor(left / size)} ${name}`);
    left %= size;
  }
  return parts.slice(0, 2).join(" ");
}

/** Show the times below `root` as this browser's person writes them. */
export function localTimes(root) {
  const today = new Date().toDateString();
  for (const element of root.querySelectorAll("time[datetime]")) {
    const at = new Date(element.dateTime);
    element.title ||= element.textContent;
    const clock = at.toLocaleTimeString([], { hour: "2-digit", minute: "2-digit", second: "2-digit" });
    const day = at.toLocaleDateString([], { day: "numeric", month: "short", year: "numeric" });
    element.textContent = at.toDateString() === today ? clock : `${day}, ${clock}`;
  }
}

function tick() {
  const now = Date.now() / 1000 - skew;
  for (const element of document.querySelectorAll("[data-since]")) element.textContent = duration(now - Number(element.dataset.since));
  for (const element of document.querySelectorAll("[data-until]")) {
    const left = Number(element.dataset.until) - now;
    element.textContent = left > 0 ? `(${duration(left)} left)` : "(over)";
  }
}

async function renew(elements) {
  const response = await fetch(location.href, { headers: { Accept: "text/html" } });
  if (!response.ok || response.redirected) return;
  const fresh = new DOMParser().parseFromString(await response.text(), "text/html");
  for (const element of elements) {
    const next = fresh.getElementById(element.id);
    if (!next || element.contains(document.activeElement)) continue;
    localTimes(next);
    element.replaceChildren(...next.childNodes);
  }
  tick();
}

localTimes(document);
tick();
setInterval(tick, 1000);

const renewed = [...document.querySelectorAll("[data-refresh]")];
if (renewed.length) {
  // Spread out, so that many open pages do not ask in step.
  const later = () => setTimeout(async () => {
    if (!document.hidden) await renew(renewed).catch(() => {});
    later();
  }, Number(renewed[0].dataset.refresh) * 1000 * (0.75 + Math.random() / 2));
  later();
}
