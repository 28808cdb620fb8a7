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

for (const button of document.querySelectorAll("[data-stop-url]")) {
  button.addEventListener("click", () => stop(button));
}
if (reload) window.setTimeout(() => window.location.reload(), 1000 * Number(reload.dataset.reloadSeconds));

for (const form of document.querySelectorAll("form")) {
  form.addEventListener("submit", () => {
    const button = form.querySelector("button[type=submit]");
    if (button) {
      button.disabled = true;
      if (button.dataset.busy) button.textContent = button.dataset.busy;
    }
  });
}

const chooseAll = document.getElementById("overview-all");
if (chooseAll) {
  const boxes = [...document.querySelectorAll("input[name=session][type=checkbox]")];
  chooseAll.hidden = !boxes.length;
  chooseAll.addEventListener("click", () => {
    const all = boxes.every((box) => box.checked);
    for (const box of boxes) box.checked = !all;
  });
}

// A page from the browser's memory (the "back" button) must not keep a button disabled.
window.addEventListener("pageshow", (event) => {
  if (event.persisted) window.location.reload();
});
