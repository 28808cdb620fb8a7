// The buttons of a session's pages. Every element is optional: a page has what it needs.
"use strict";

const reload = document.querySelector("[data-reload-seconds]");

function complain(button) {
  const row = button.closest(".davide-row, .davide-buttons") || button;
  const box = row.nextElementSibling?.matches(".davide-complaint") ? row.nextElementSibling : document.createElement("p");
  box.className = "davide-complaint alert alert-danger mt-3";
  box.setAttribute("role", "alert");
  box.textContent = button.dataset.failed;
  row.after(box);
}

async function stop(button) {
  button.disabled = true;
  const url = `${button.dataset.stopUrl}?_xsrf=${window.jhdata.xsrf_token}`;
  const answer = await fetch(url, { method: "DELETE" }).catch(() => null);
  if (answer && (answer.ok || answer.status === 404)) {
    window.location.assign(button.dataset.next);
    return;
  }
  button.disabled = false;
  complain(button);
}

// At the document: buttons come and go with what is looked up anew.
document.addEventListener("click", (event) => {
  const button = event.target.closest("[data-stop-url]");
  if (button) stop(button);
});
if (reload) window.setTimeout(() => window.location.reload(), 1000 * Number(reload.dataset.reloadSeconds));

document.addEventListener("submit", (event) => {
  const button = event.target.querySelector("button[type=submit]");
  if (!button || event.defaultPrevented) return;
  button.disabled = true;
  if (button.dataset.busy) button.textContent = button.dataset.busy;
});

// A page from the browser's memory (the "back" button) must not keep a button disabled.
window.addEventListener("pageshow", (event) => {
  if (event.persisted) window.location.reload();
});
