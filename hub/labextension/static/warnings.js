// Warnings: of the time limit, and of the end for lack of use.

import { texts } from "./texts.js";

const SAVE_AGAIN = 10_000;
// Without a time, JupyterLab only counts a notification and shows none.
export const SHOWN = { autoClose: 10_000 };

/** A notification that is shown, changed and taken away as often as wanted. */
class Notice {
  constructor(Notification) {
    this.Notification = Notification;
    this.id = null;
    this.text = "";
  }

  show(kind, text, actions) {
    if (text === this.text && this.id) return;
    this.text = text;
    if (this.id && this.Notification.update({ id: this.id, message: text, type: kind, actions })) return;
    this.id = this.Notification.emit(text, kind, { autoClose: false, actions });
  }

  hide() {
    if (this.id) this.Notification.dismiss(this.id);
    this.id = null;
    this.text = "";
  }
}

/** Warn of the time limit, and save everything at each warning and from the last moments on. */
export function warnOfTheEnd(lab, facts, save) {
  const { Notification } = lab.apputils;
  const notice = new Notice(Notification);
  let reached = Infinity;
  let savedLast = 0;
  const saveAll = { label: texts.saveAll, callback: () => save(true), displayType: "accent" };

  facts.onNews(({ latest, left, over }) => {
    if (over) notice.hide();
    if (over || !latest) return;
    const { warn_seconds: times, saving } = latest.walltime;
    if (saving) {
      // Slurm's own signal: nothing that is said later takes the place of this, and it needs no known end.
      if (!savedLast) {
        notice.hide();
        notice.show("error", texts.saving(left), [saveAll]);
      }
      if (Date.now() - savedLast > SAVE_AGAIN) {
        savedLast = Date.now();
        save(false);
      }
      return;
    }
    if (left === null) return;
    const due = Math.min(...times.filter((one) => left <= one));
    if (due === Infinity) {
      notice.hide(); // the limit was raised
      reached = Infinity;
    }
    if (due < reached) {
      reached = due;
      notice.hide();
      notice.show(due === Math.min(...times) ? "error" : "warning", texts.warned(left), [saveAll]);
      save(false);
    }
  });
}

/** Warn that the session is about to end for lack of use; a button says that somebody is there. */
export function warnOfIdleness(lab, facts) {
  const { Notification } = lab.apputils;
  const notice = new Notice(Notification);
  const here = {
    label: texts.here,
    displayType: "accent",
    callback: async (event) => {
      event.preventDefault(); // it goes when the session has heard
      try {
        facts.take(await facts.request("here", "POST"));
        notice.hide();
      } catch {
        Notification.error(texts.hereFailed, SHOWN);
      }
    },
  };

  facts.onNews(({ latest, idleLeft, over }) => {
    if (over) notice.hide();
    if (over || !latest || idleLeft === null) return;
    if (idleLeft > latest.idle.warn_seconds) notice.hide();
    else notice.show("warning", texts.idle(latest.idle.limit_seconds - idleLeft, roundedUp(idleLeft)), [here]);
  });
}

/** Warn that the job of a notebook's kernel is about to end for lack of use; a button keeps it. */
export function warnOfIdleKernels(lab, facts) {
  const { Notification } = lab.apputils;
  const notices = new Map();
  const keep = (kernel) => ({
    label: texts.keepKernel,
    displayType: "accent",
    callback: async (event) => {
      event.preventDefault(); // it goes when the kernel's job has heard
      try {
        facts.take(await facts.request("keep", "POST", { kernel }));
        facts.tell(null);
      } catch {
        Notification.error(texts.keepFailed, SHOWN);
      }
    },
  });

  facts.onNews(({ latest, over }) => {
    const near = over ? [] : (latest?.job_kernels ?? []).filter((one) => one.idle_left_seconds !== null);
    for (const [kernel, notice] of notices) {
      if (near.some((one) => one.kernel === kernel)) continue;
      notice.hide();
      notices.delete(kernel);
    }
    for (const one of near) {
      if (!notices.has(one.kernel)) notices.set(one.kernel, new Notice(Notification));
      const left = facts.counted(one.idle_left_seconds);
      const text = texts.idleKernel(one.path, 60 * one.idle_minutes - left, roundedUp(left));
      notices.get(one.kernel).show("warning", text, [keep(one.kernel)]);
    }
  });
}

// In minutes, so that a screen reader does not count seconds aloud.
function roundedUp(seconds) {
  return 60 * Math.max(1, Math.ceil(seconds / 60));
}
