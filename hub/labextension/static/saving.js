// Saving everything that is open, also where nobody is there to answer a question.

import { texts } from "./texts.js";

const AREAS = ["main", "left", "right", "down"];
const PATIENCE = 15_000;

/** Return the documents that hold something unsaved. */
export function unsaved(app, documents) {
  const contexts = new Set();
  for (const area of AREAS) {
    for (const widget of app.shell.widgets(area)) {
      const context = documents.contextForWidget(widget);
      if (context?.model.dirty && !context.model.readOnly) contexts.add(context);
    }
  }
  return [...contexts];
}

/**
 * Save all open documents.
 *
 * @returns Sentences about those that could not be saved under their own name, and how many were saved.
 */
export async function saveAll(lab, app, documents) {
  const contexts = unsaved(app, documents);
  const problems = await Promise.all(contexts.map((context) => save(lab, app, context)));
  return { count: contexts.length, problems: problems.filter(Boolean) };
}

async function save(lab, app, context) {
  try {
    // A file that changed on the disk makes JupyterLab ask what to do, and wait.
    await within(PATIENCE, context.save());
    if (!context.model.dirty) return "";
  } catch (error) {
    console.warn(`${context.path} was not saved`, error);
  }
  return rescue(lab, app, context);
}

async function rescue(lab, app, context) {
  const extension = lab.coreutils.PathExt.extname(context.path);
  const now = new Date().toISOString().slice(0, 19).replaceAll(":", "-");
  const copy = `${context.path.slice(0, context.path.length - extension.length)}.unsaved-${now}${extension}`;
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
