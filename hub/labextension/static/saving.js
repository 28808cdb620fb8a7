// Saving everything that is open, also where nobody is there to answer a question.

import { texts } from "./texts.js";

const AREAS = ["main", "left", "right", "down"];
const PATIENCE = 15_000;

/** Return the documents that are open. */
function open(app, documents) {
  const contexts = new Set();
  for (const area of AREAS) {
    for (const widget of app.shell.widgets(area)) {
      const context = documents.contextForWidget(widget);
      if (context) contexts.add(context);
    }
  }
  return [...contexts];
}

/** Return the documents that hold something unsaved. */
export function unsaved(app, documents) {
  return open(app, documents).filter(({ model }) => model.dirty && !model.readOnly);
}

/**
 * Look after the saves of each open document, whoever asks for them: we, JupyterLab by its clock, the user.
 *
 * They follow each other: JupyterLab runs them side by side. Where the second looks at the file after the first has
 * written it and before that one knows what it wrote, JupyterLab takes it for the change of somebody else, and a
 * question covers the page.
 *
 * What is typed while one runs stays unsaved: at its end, JupyterLab takes all for saved, and nothing would save the
 * rest until the next key.
 */
export function lookAfterSaves(app, documents) {
  for (const context of open(app, documents)) {
    if (lookedAfter.has(context)) continue;
    lookedAfter.add(context);
    takeTurns(context);
    keepWhatCameLater(context);
  }
}

const lookedAfter = new WeakSet();

function keepWhatCameLater({ model, saveState }) {
  let later = false;
  model.contentChanged.connect(() => {
    later = true;
  });
  saveState.connect((_, state) => {
    // JupyterLab takes the content in the same breath, after it has told everybody.
    if (state === "started") queueMicrotask(() => (later = false));
    else if (state === "completed" && later) model.dirty = true;
  });
}

function takeTurns(context) {
  const save = context.save.bind(context);
  let running = Promise.resolve();
  let next = null;
  // One that waits its turn saves what there is then: it is enough for all who ask meanwhile.
  context.save = () => {
    next ??= running.then(() => {
      next = null;
      const mine = save();
      running = mine.catch(() => {});
      return mine;
    });
    return next;
  };
}

/**
 * Save all open documents.
 *
 * @returns Sentences about those that could not be saved under their own name, and how many were saved.
 */
export async function saveAll(lab, app, documents) {
  lookAfterSaves(app, documents);
  const contexts = unsaved(app, documents);
  const problems = await Promise.all(contexts.map((context) => save(lab, app, context)));
  return { count: contexts.length, problems: problems.filter(Boolean) };
}

async function save(lab, app, context) {
  try {
    // A file that changed on the disk makes JupyterLab ask what to do, and wait.
    await within(PATIENCE, context.save());
    return ""; // what came meanwhile is saved by the next
  } catch (error) {
    console.warn(`${context.path} was not saved`, error);
  }
  return rescue(lab, app, context);
}

// Where what could not be saved lies: one copy of each document, however often a slow server makes it necessary.
const copies = new WeakMap();

function copyOf(lab, context) {
  if (!copies.has(context)) {
    const extension = lab.coreutils.PathExt.extname(context.path);
    const now = new Date().toISOString().slice(0, 19).replaceAll(":", "-");
    copies.set(context, `${context.path.slice(0, context.path.length - extension.length)}.unsaved-${now}${extension}`);
  }
  return copies.get(context);
}

async function rescue(lab, app, context) {
  const copy = copyOf(lab, context);
  const book = context.contentsModel?.type === "notebook";
  const what = book
    ? { type: "notebook", format: "json", content: context.model.toJSON() }
    : { type: "file", format: "text", content: context.model.toString() };
  try {
    await within(PATIENCE, app.serviceManager.contents.save(copy, what));
    return texts.rescued(context.path, copy);
  } catch (error) {
    console.warn(`${copy} was not saved`, error);
    return texts.lost(context.path);
  }
}

function within(milliseconds, promise) {
  const late = new Promise((_, reject) => {
    window.setTimeout(() => reject(new Error("it took too long")), milliseconds);
  });
  return Promise.race([promise, late]);
}
