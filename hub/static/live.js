// Lists of sessions: what changes by itself is looked up again while somebody looks; and "Choose all".
"use strict";

const LOOK_AGAIN = 30_000; // as often as a session tells its use
const part = document.querySelector("[data-live]");

function boxes() {
  return [...part.querySelectorAll("input[name=session][type=checkbox]")];
}

function offerAll() {
  const button = document.getElementById("overview-all");
  if (button) button.hidden = !boxes().length;
}

/** Make `old` what `news` is, in place: whoever reads or types there is not interrupted by what has not changed. */
function take(old, news) {
  if (old.nodeName !== news.nodeName || old.childNodes.length !== news.childNodes.length) {
    old.replaceWith(news);
  } else if (old.nodeType !== Node.ELEMENT_NODE) {
    if (old.data !== news.data) old.data = news.data;
  } else {
    for (const { name } of [...old.attributes]) if (!news.hasAttribute(name)) old.removeAttribute(name);
    for (const { name, value } of news.attributes) if (old.getAttribute(name) !== value) old.setAttribute(name, value);
    const [olds, others] = [[...old.childNodes], [...news.childNodes]];
    olds.forEach((child, place) => take(child, others[place]));
  }
}

function show(news) {
  // A box may now stand for another session: ticks and the keyboard go with the session, not with the place.
  const ticked = new Set(boxes().filter((box) => box.checked).map((box) => box.value));
  const focused = boxes().find((box) => box === document.activeElement)?.value;
  const [olds, others] = [[...part.childNodes], [...news.childNodes]];
  if (olds.length === others.length) olds.forEach((child, place) => take(child, others[place]));
  else part.replaceChildren(...others);
  for (const box of boxes()) {
    box.checked = ticked.has(box.value);
    if (box.value === focused) box.focus();
  }
  offerAll();
}

async function look() {
  // Not while an end is under way, or has failed: its button and its words stay.
  if (document.hidden || part.querySelector("button:disabled, .davide-complaint")) return;
  const answer = await fetch(window.location.href, { cache: "no-store" }).catch(() => null);
  if (!answer || !answer.ok) return;
  const page = new DOMParser().parseFromString(await answer.text(), "text/html");
  // A log-in page, for one, has none.
  const news = page.querySelector(`[data-live="${part.dataset.live}"]`);
  if (news) show(document.importNode(news, true));
}

if (part) {
  offerAll();
  part.addEventListener("click", (event) => {
    if (event.target.id !== "overview-all") return;
    const all = boxes().every((box) => box.checked);
    for (const box of boxes()) box.checked = !all;
  });
  window.setInterval(look, LOOK_AGAIN);
  document.addEventListener("visibilitychange", look);
}
