// The plugins that JupyterLab starts.

import { endSession, isGone, lastPage, watchConnection, why } from "./ending.js";
import { Facts } from "./facts.js";
import { showLeases, warnOfMissing } from "./leases.js";
import { saveAll, lookAfterSaves, unsaved } from "./saving.js";
import { statusItem } from "./statusbar.js";
import { texts } from "./texts.js";
import { SHOWN, warnOfIdleKernels, warnOfIdleness, warnOfTheEnd } from "./warnings.js";

/** The packages of JupyterLab that are used here. */
export const PACKAGES = {
  application: "@jupyterlab/application",
  apputils: "@jupyterlab/apputils",
  coreutils: "@jupyterlab/coreutils",
  docmanager: "@jupyterlab/docmanager",
  mainmenu: "@jupyterlab/mainmenu",
  notebook: "@jupyterlab/notebook",
  services: "@jupyterlab/services",
  statusbar: "@jupyterlab/statusbar",
  widgets: "@lumino/widgets",
};

const COMMAND = "davide-hub:end-session";
const LEASES = "davide-hub:gpus";

/** Return the plugins; `style` is the address of the stylesheet. */
export function plugins(lab, style) {
  // Set by the one, used by the other.
  const session = {};
  return [
    {
      id: "davide-hub:session",
      description: "Shows time left and use of the session, warns of its end, and ends it.",
      autoStart: true,
      requires: [lab.docmanager.IDocumentManager],
      optional: [lab.statusbar.IStatusBar, lab.apputils.ICommandPalette, lab.mainmenu.IMainMenu, lab.notebook.INotebookTracker],
      activate: (app, documents, statusBar, palette, menu, notebooks) => {
        addStyle(style);
        Object.assign(session, watched(lab, app, documents));
        const { facts, end } = session;
        app.commands.addCommand(COMMAND, { label: texts.endCommand, caption: texts.endCaption, execute: end });
        palette?.addItem({ command: COMMAND, category: texts.category });
        menu?.fileMenu.addGroup([{ command: COMMAND }], 200);
        const leases = () => showLeases(lab, facts, notebooks);
        app.commands.addCommand(LEASES, {
          label: texts.leaseCommand,
          caption: texts.leaseCaption,
          isEnabled: () => Boolean(facts.latest?.leases.gpus.length || facts.latest?.job_kernels.length),
          execute: leases,
        });
        palette?.addItem({ command: LEASES, category: texts.category });
        menu?.kernelMenu.addGroup([{ command: LEASES }], 200);
        statusBar?.registerStatusItem("davide-hub:session", {
          item: statusItem(lab, facts, end, leases),
          align: "right",
          rank: 1000,
        });
        facts.begin();
      },
    },
    {
      id: "davide-hub:connection-lost",
      description: "Says what became of a session that does not answer.",
      autoStart: true,
      provides: lab.application.IConnectionLost,
      activate: () => async () => {
        if (session.facts && (await isGone(session.facts))) session.showOver(why(session.facts));
      },
    },
  ];
}

function watched(lab, app, documents) {
  const { Notification } = lab.apputils;
  const facts = new Facts(lab, app);
  const showOver = lastPage(lab, facts, () => unsaved(app, documents).map((context) => context.path));
  const told = new Map();
  // Each once, for as long as it is so: near the end everything is saved again and again.
  const tell = (problems) => {
    for (const [problem, id] of told) {
      if (problems.includes(problem)) continue;
      Notification.dismiss(id);
      told.delete(problem);
    }
    for (const problem of problems) {
      if (Notification.manager.has(told.get(problem))) continue;
      told.set(problem, Notification.error(problem, { autoClose: false }));
    }
  };
  const save = async (asked) => {
    const { count, problems } = await saveAll(lab, app, documents);
    tell(problems);
    if (asked) Notification.success(count ? texts.saved(count - problems.length) : texts.nothingToSave, SHOWN);
  };
  facts.onNews(() => lookAfterSaves(app, documents));
  warnOfTheEnd(lab, facts, save);
  warnOfIdleness(lab, facts);
  warnOfIdleKernels(lab, facts);
  warnOfMissing(lab, facts);
  watchConnection(lab, facts, showOver);
  return { facts, showOver, end: () => endSession(lab, facts, save, showOver) };
}

function addStyle(address) {
  document.head.append(Object.assign(document.createElement("link"), { rel: "stylesheet", href: address }));
}
