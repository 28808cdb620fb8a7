// The page of a session that starts: follows the hub's events, through restarts of the hub and the sleep of laptops.
"use strict";

const title = document.getElementById("session-title");
const news = document.getElementById("session-news");
const advice = document.getElementById("session-advice");
const lost = document.getElementById("session-lost");
const tellButton = document.getElementById("session-tell");
const told = document.getElementById("session-told");
const texts = JSON.parse(document.getElementById("session-texts").textContent);

// The hub says something every 15 s: after so long without, the connection is dead, whatever the browser thinks.
const SILENCE = 40_000;
const PAUSE = 1_000;
const SERIOUS = ["budget", "large", "account", "reservation", "held", "again"];
const fill = (name, values) => texts[name].replace(/\{(\w+)\}/g, (_, key) => values[key]);

let heard = Date.now();
let source = null;
let since = null;
let ahead = 0; // of the browser's clock before the hub's, in seconds

function duration(seconds) {
  const whole = Math.max(0, Math.floor(seconds));
  const [hours, minutes] = [Math.floor(whole / 3600), Math.floor(whole / 60) % 60];
  const two = (number) => String(number).padStart(2, "0");
  return hours ? `${hours}:${two(minutes)}:${two(whole % 60)}` : `${minutes}:${two(whole % 60)}`;
}

function moment(seconds) {
  const then = new Date(1000 * seconds);
  const today = then.toDateString() === new Date().toDateString();
  // As Slurm and the sentence above it write the time.
  const time = { timeStyle: "short", hourCycle: "h23" };
  return then.toLocaleString([], today ? time : { dateStyle: "medium", ...time });
}

function fact(name, shown, value) {
  const place = document.querySelector(`[data-fact=${name}]`);
  place.hidden = !shown;
  if (shown && value !== undefined) place.querySelector("dd code, dd span, dd").textContent = value;
}

function show(event) {
  // A site's own page may have no such heading.
  if (title) title.textContent = event.state === "waiting" ? texts.title_waiting : texts.title;
  // The same words again would be read out again.
  if (news.textContent !== event.message) news.textContent = event.message;
  advice.hidden = !event.advice;
  advice.textContent = event.advice;
  advice.classList.toggle("alert-warning", SERIOUS.includes(event.kind));
  advice.classList.toggle("alert-light", !SERIOUS.includes(event.kind));
  since = event.since;
  ahead = Date.now() / 1000 - event.now;
  fact("job", event.job, event.job);
  fact("starts", event.state === "waiting", event.starts ? moment(event.starts + ahead) : texts.not_planned);
  fact("place", event.place, fill("place_of", event));
  fact("reason", event.reason, event.reason);
  tick();
}

function tick() {
  fact("since", since, since ? duration(Date.now() / 1000 - ahead - since) : "");
}

function tell() {
  if (!("Notification" in window) || Notification.permission !== "granted" || !document.hidden) return;
  try {
    const note = new Notification(texts.is_up, { body: fill("is_up_open", { site: window.location.host }) });
    note.addEventListener("click", () => window.focus());
  } catch {
    // Chrome on Android has notifications only from service workers.
  }
}

function follow() {
  heard = Date.now();
  source = new EventSource(news.dataset.progressUrl);
  source.onmessage = (message) => {
    heard = Date.now();
    lost.hidden = true;
    const event = JSON.parse(message.data);
    if (event.ready) {
      tell();
      again(0);
    } else if (event.failed) {
      again(PAUSE);
    } else {
      show(event);
    }
  };
  source.onerror = () => again(PAUSE);
}

let trying = false;

// The hub leads on from here: to JupyterLab, or to the page that says what went wrong. But a hub that is being stopped
// may still say either of a start that it leaves off, and a reload at once would only find that it is away.
async function again(first) {
  if (trying) return;
  trying = true;
  source.close();
  for (let pause = first; ; pause = Math.min(Math.max(2 * pause, PAUSE), 15_000)) {
    await new Promise((resolve) => window.setTimeout(resolve, pause * (0.75 + Math.random() / 2)));
    // Nobody but the hub says yes to this. A reload shows what holds now: this page, JupyterLab, a failure, the log-in.
    const answer = await fetch(`${window.jhdata.base_url}health`, { cache: "no-store" }).catch(() => null);
    if (answer && answer.ok) {
      window.location.reload();
      return;
    }
    lost.hidden = false;
  }
}

async function ask() {
  const answer = await Notification.requestPermission();
  tellButton.hidden = answer !== "default";
  told.textContent = { granted: texts.told_then, denied: texts.told_never }[answer] || "";
}

show(JSON.parse(document.getElementById("session-event").textContent));
follow();
window.setInterval(tick, 1000);
window.setInterval(() => { if (Date.now() - heard > SILENCE) again(PAUSE); }, 5_000);
document.addEventListener("visibilitychange", () => { if (!document.hidden && Date.now() - heard > SILENCE) again(PAUSE); });
if ("Notification" in window && Notification.permission === "default") {
  tellButton.hidden = false;
  tellButton.addEventListener("click", ask);
}
