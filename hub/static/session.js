// The buttons and the news of a session's pages. Every element is optional: a page has what it needs.
"use strict";

const stopButton = document.getElementById("session-stop");
const news = document.getElementById("session-news");
const reload = document.querySelector("[data-reload-seconds]");

function complain(sentence) {
  const box = document.getElementById("session-complaint") || document.createElement("p");
  box.id = "session-complaint";
  box.className = "alert alert-danger mt-3";
  box.setAttribute("role", "alert");
  box.textContent = sentence;
  stopButton.after(box);
}

async function stop() {
  stopButton.disabled = true;
  const url = `${stopButton.dataset.stopUrl}?_xsrf=${window.jhdata.xsrf_token}`;
  const answer = await fetch(url, { method: "DELETE" }).catch(() => null);
  if (answer && (answer.ok || answer.status === 404)) {
    window.location.assign(stopButton.dataset.next);
    return;
  }
  stopButton.disabled = false;
  complain("The hub could not end the session just now. Try again in a moment.");
}

function follow() {
  const source = new EventSource(news.dataset.progressUrl);
  source.onmessage = (message) => {
    const event = JSON.parse(message.data);
    if (event.ready || event.failed) {
      source.close();
      // The hub leads on from here: to JupyterLab, or to the page that says what went wrong.
      window.location.reload();
    } else if (event.message) {
      news.textContent = event.message;
    }
  };
  source.onerror = () => {
    // The hub restarts, or the laptop slept. A reload shows what holds now.
    source.close();
    window.setTimeout(() => window.location.reload(), 3000);
  };
}

if (stopButton) stopButton.addEventListener("click", stop);
if (news) follow();
if (reload) window.setTimeout(() => window.location.reload(), 1000 * Number(reload.dataset.reloadSeconds));

for (const form of document.querySelectorAll("form")) {
  form.addEventListener("submit", () => {
    const button = form.querySelector("button[type=submit]");
    if (button) {
      button.disabled = true;
      button.textContent = "Starting …";
    }
  });
}
