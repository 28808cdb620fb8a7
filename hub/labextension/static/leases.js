// Which notebook holds which of the session's GPUs; and how a notebook asks for more, fewer, or a shared one.

import { texts } from "./texts.js";

// Where a notebook's wish stands: in its metadata, so that it goes where the notebook goes (davide_session/wishes.py).
const KEY = "davide";
const SHARE = "share";

/** Return for each GPU of the session its number and who holds it; empty where there is nothing to lease. */
export function rows(leases) {
  return (leases?.gpus ?? []).map((gpu) => {
    const holders = leases.held.filter((one) => one.gpus.includes(gpu));
    return { gpu, holders: holders.map((one) => texts.holder(one.path, one.title)) };
  });
}

/** Show who holds what; with a notebook open, let it ask for something else. */
export async function showLeases(lab, facts, tracker) {
  const { Dialog, showDialog } = lab.apputils;
  await facts.ask();
  const leases = facts.latest?.leases;
  const book = tracker?.currentWidget;
  const jobs = facts.latest?.job_kernels ?? [];
  const node = element("div", { className: "davide-leases-body" }, [table(leases)]);
  if (jobs.length) node.append(element("h3", { textContent: texts.jobKernels }), jobTable(jobs));
  let choice = null;
  // A kernel with a job of its own has that job's GPUs.
  const leased = book && leases?.gpus.length && !jobs.some((one) => one.path === book.context.path);
  if (leased) {
    choice = choices(book, leases);
    const label = element("label", { textContent: texts.leaseOf(book.context.path), className: "davide-wish" }, [choice]);
    node.append(label, element("p", { textContent: texts.leaseNote }));
  }
  const buttons = [Dialog.cancelButton({ label: texts.leaseClose })];
  if (leased) buttons.push(Dialog.okButton({ label: texts.leaseApply }));
  const answer = await showDialog({
    title: texts.leaseTitle,
    body: new lab.widgets.Widget({ node }),
    buttons,
    focusNodeSelector: leased ? "select" : undefined,
  });
  if (answer.button.accept && !book.isDisposed) await apply(book, choice.value);
}

/** Say which kernels restarted with fewer GPUs than they asked for: Jupyter has no place to say so. */
export function warnOfMissing(lab, facts) {
  let told = new Set();
  facts.onNews(({ latest }) => {
    const lacking = (latest?.leases?.held ?? []).filter((one) => one.asked !== SHARE && one.gpus.length < one.asked);
    const now = new Set(lacking.map((one) => `${one.kernel} ${one.gpus}`));
    for (const one of lacking) {
      if (told.has(`${one.kernel} ${one.gpus}`)) continue;
      lab.apputils.Notification.warning(texts.lacking(one.path, one.gpus.length, one.asked), {
        autoClose: false,
      });
    }
    told = now;
  });
}

function table(leases) {
  const body = rows(leases).map(({ gpu, holders }) =>
    element("tr", {}, [
      element("th", { textContent: texts.gpuNumber(gpu), scope: "row" }),
      element("td", { textContent: holders.join(", ") || texts.free }),
    ])
  );
  return element("table", {}, [element("tbody", {}, body)]);
}

function jobTable(jobs) {
  const body = jobs.map((one) =>
    element("tr", {}, [
      element("th", { textContent: texts.holder(one.path, one.title), scope: "row" }),
      element("td", { textContent: texts.jobKernel(one.job, one.state, one.gpus) }),
    ])
  );
  return element("table", {}, [element("tbody", {}, body)]);
}

function choices(book, leases) {
  const said = book.model.getMetadata(KEY)?.gpus ?? 1;
  const others = leases.held.filter((one) => one.path !== book.context.path);
  const free = leases.gpus.filter((gpu) => !others.some((one) => one.gpus.includes(gpu))).length;
  const counts = [...Array(leases.gpus.length + 1).keys()];
  const one = (value, text, disabled) =>
    element("option", { value: String(value), textContent: text, disabled, selected: value === said });
  return element("select", {}, [
    ...counts.map((count) => one(count, texts.wish(count, free), count > free)),
    one(SHARE, texts.wishShare, false),
  ]);
}

async function apply(book, value) {
  const { gpus: _, ...others } = book.model.getMetadata(KEY) ?? {};
  const wish = value === SHARE ? SHARE : Number(value);
  // One GPU is what a notebook gets that says nothing: then nothing stands in it.
  const next = wish === 1 ? others : { ...others, gpus: wish };
  if (Object.keys(next).length) book.model.setMetadata(KEY, next);
  else book.model.deleteMetadata(KEY);
  await book.context.save();
  const session = book.sessionContext;
  // A start that was refused has left no kernel. If it is refused again, JupyterLab says so.
  if (session.session?.kernel) await session.restartKernel();
  else await session.changeKernel({ name: book.model.defaultKernelName || session.specsManager.specs?.default });
}

function element(kind, properties, children = []) {
  const node = Object.assign(document.createElement(kind), properties);
  node.append(...children);
  return node;
}
