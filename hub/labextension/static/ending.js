// The end of a session: by its user, or found out; and the page that is left.

import { texts } from "./texts.js";

// Slurm ends a job up to half a minute after its time, and looks now and then.
const NEAR_SECONDS = 60;
// Two failures in a row are no hiccup.
const FAILURES = 2;

/** Ask whether the session is to be ended; if so, save all and end it. */
export async function endSession(lab, facts, save, showOver) {
  const { Dialog, showDialog, showErrorMessage } = lab.apputils;
  const answer = await showDialog({
    title: texts.endTitle,
    body: texts.endBody,
    buttons: [Dialog.cancelButton({ label: texts.endCancel }), Dialog.warnButton({ label: texts.end })],
    defaultButton: 0,
  });
  if (!answer.button.accept) return;
  try {
    await save(false);
    await facts.request("end", "POST");
  } catch (error) {
    if (!(await endedMeanwhile(lab, facts, error))) {
      await showErrorMessage(texts.endFailed, error);
      return;
    }
  }
  showOver("by-you");
}

// Slurm may end the session before it can answer: then the proxy answers in its place, and goes on to do so.
async function endedMeanwhile(lab, facts, error) {
  if (!(error instanceof lab.services.ServerConnection.ResponseError)) return false;
  return facts.request("facts").then(() => false, () => true);
}

/** Return why a session that is gone has ended, as far as this page can know. */
export function why(facts) {
  const { latest, left, idleLeft } = facts;
  if (latest?.walltime.saving || (left !== null && left < NEAR_SECONDS)) return "time-limit";
  if (idleLeft !== null && idleLeft < NEAR_SECONDS) return "idle";
  return "gone";
}

/**
 * Return a function that says whether the session is gone, and not only out of reach.
 *
 * Where it was, the proxy leads to the hub: to another address, which a page may not read, or to an answer that no
 * session gives. A network that is out answers nothing.
 */
export async function isGone(facts) {
  try {
    const answer = await fetch(`${facts.base}/facts`, { redirect: "manual", cache: "no-store" });
    return answer.type === "opaqueredirect" || [404, 424].includes(answer.status);
  } catch {
    return false;
  }
}

/** Look after the connection: say when it is out, and show the last page when the session is gone. */
export function watchConnection(lab, facts, showOver) {
  const { Notification } = lab.apputils;
  let notice = null;
  facts.onNews(async (_, failure) => {
    if (!failure) {
      if (notice && (facts.over || facts.failures === 0)) {
        Notification.dismiss(notice);
        notice = null;
      }
      return;
    }
    if (await isGone(facts)) {
      showOver(why(facts));
    } else if (facts.left !== null && facts.left < 0) {
      showOver("time-limit");
    } else if (facts.failures >= FAILURES && !notice) {
      notice = Notification.emit(texts.unreachable, "warning", { autoClose: false });
    }
  });
}

/** Return a function that shows the last page over everything, once. */
export function lastPage(lab, facts, unsavedPaths) {
  let shown = false;
  return (reason) => {
    if (shown) return;
    shown = true;
    facts.stop();
    const { title, body } = texts.over[reason];
    const page = document.createElement("dialog");
    page.className = "davide-over";
    page.dataset.reason = reason;
    page.setAttribute("aria-labelledby", "davide-over-title");
    page.setAttribute("aria-describedby", "davide-over-body");
    page.append(element("h1", title, { id: "davide-over-title" }), element("p", body, { id: "davide-over-body" }));
    const paths = unsavedPaths();
    if (paths.length) page.append(element("p", texts.overUnsaved(paths), { className: "davide-unsaved" }));
    const again = element("a", texts.again, { className: "davide-again", href: form(lab) });
    const look = element("button", texts.look, { className: "jp-mod-styled", type: "button" });
    look.addEventListener("click", () => page.close());
    const buttons = element("div", "", { className: "davide-buttons" });
    buttons.append(again, look);
    page.append(buttons);
    document.body.append(page);
    page.showModal();
    again.focus();
  };
}

/** Return where sessions are started: on the hub's own origin. */
function form(lab) {
  const { PageConfig, URLExt } = lab.coreutils;
  const [host, prefix, user, name] = ["hubHost", "hubPrefix", "hubUser", "hubServerName"].map((option) =>
    PageConfig.getOption(option)
  );
  return host + URLExt.join(prefix, "spawn", ...(name ? [user, name].map(encodeURIComponent) : []));
}

function element(kind, text, properties) {
  return Object.assign(document.createElement(kind), { textContent: text }, properties);
}
