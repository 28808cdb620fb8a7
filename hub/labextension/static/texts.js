// Every text that people see, in one place, ready for translation.

const GIB = 2 ** 30;

function amount(number, one, many) {
  return `${number} ${number === 1 ? one : many}`;
}

/** A time in words: "1 h 25 min", "4 min", "40 s". */
export function duration(seconds) {
  if (seconds < 100) return `${Math.max(0, Math.round(seconds))} s`;
  const minutes = Math.round(seconds / 60);
  const [hours, rest] = [Math.floor(minutes / 60), minutes % 60];
  return [hours && `${hours} h`, rest && `${rest} min`].filter(Boolean).join(" ");
}

/** The same for a screen reader, and in sentences. */
export function spoken(seconds) {
  if (seconds < 100) return amount(Math.max(0, Math.round(seconds)), "second", "seconds");
  const minutes = Math.round(seconds / 60);
  const [hours, rest] = [Math.floor(minutes / 60), minutes % 60];
  const parts = [hours && amount(hours, "hour", "hours"), rest && amount(rest, "minute", "minutes")];
  return parts.filter(Boolean).join(" ");
}

/** A notebook by its name alone: JupyterLab cuts a notification off after 140 letters. */
function named(path) {
  return path.split("/").pop() || "A kernel without a notebook";
}

function gigabytes(bytes) {
  return (bytes / GIB).toFixed(bytes < GIB ? 2 : bytes < 10 * GIB ? 1 : 0);
}

export const texts = {
  category: "Session",
  statusBar: "This session",

  left: (seconds) => `${duration(seconds)} left`,
  leftSpoken: (seconds) => `This session ends in ${spoken(seconds)}: its time limit`,
  ended: "This session has ended",
  noEnd: "end not known",
  noEndSpoken: "Slurm has not told yet when this session ends",

  gpu: (name, percent) => (percent === null ? name : `${name} ${percent} %`),
  gpus: (count, name, percents) => `${count} × ${name} ${percents.map((one) => (one === null ? "?" : one)).join(", ")} %`,
  gpuSpoken: (name, percent, used, all) =>
    `${name}: ${percent === null ? "use not known" : `${percent} % in use`}, ` +
    `${gigabytes(used)} of ${gigabytes(all)} GB of its memory`,
  noGpu: { "none": "no GPU", "no-driver": "GPU: no driver here", "silent": "GPU does not answer" },
  noGpuSpoken: {
    "none": "This session has no GPU",
    "no-driver": "This session has a GPU, but this node has no driver for it: its use can't be told",
    "silent": "The GPU's driver does not answer just now",
  },

  leased: (used, all) => `${used} of ${all} GPUs in use`,
  gpuNumber: (number) => `GPU ${number}`,
  free: "free",
  holder: (path, kernel) => `${path || "a kernel without a notebook"} (${kernel})`,
  leaseCommand: "GPUs of This Notebook…",
  leaseCaption: "Show which notebook holds which GPU, and choose how many this one gets",
  leaseTitle: "GPUs of this session",
  leaseOf: (path) => `${path} gets`,
  leaseNote: "A restart clears the variables of this notebook. What it gets is kept in the notebook itself.",
  leaseClose: "Close",
  leaseApply: "Save and restart kernel",
  wish: (count, free) => {
    const text = count === 0 ? "no GPU" : count === 1 ? "a GPU of its own" : `${count} GPUs of its own`;
    return count > free ? `${text} (${free || "none"} free)` : text;
  },
  wishShare: "a GPU that others may use too",
  lacking: (path, has, asked) =>
    `${named(path)} restarted with ${has ? amount(has, "GPU", "GPUs") : "no GPU"}; it asks for ${asked}. ` +
    "Who has the others: Kernel menu, GPUs of This Notebook.",

  jobKernel: (job, state, gpus) =>
    `job ${job}, ${texts.jobStates[state]}${gpus.length ? `: ${texts.jobGpus(gpus)}` : ""}`,
  jobStates: { waiting: "starting or waiting", ready: "ready", exited: "its process has ended", ended: "over" },
  jobGpus: (gpus) => gpus.map((one) => texts.gpu(one.name, one.use_percent)).join(", "),
  jobKernels: "Kernels with a job of their own",

  memory: (used, limit) => (limit ? `${gigabytes(used)} of ${gigabytes(limit)} GB` : `${gigabytes(used)} GB`),
  memorySpoken: (used, limit) => `Memory of this session: ${texts.memory(used, limit)}`,
  cpu: (used, cores) => `${used.toFixed(1)} of ${amount(cores, "core", "cores")}`,
  cpuSpoken: (used, cores) => `Processor of this session: ${texts.cpu(used, cores)} at work`,

  end: "End session",
  endCommand: "End this session",
  endCaption: "End this session, so that others get its place",
  endTitle: "End this session?",
  endBody: "What is open is saved first. Then all kernels and terminals stop, and others get this session's place.",
  endCancel: "Go on working",
  endFailed: "The session was not ended",

  warned: (seconds) =>
    `This session ends in ${spoken(seconds)}: its time limit. What is open is saved until then; kernels stop.`,
  saving: (seconds) =>
    `This session ends ${seconds === null ? "soon" : `in ${spoken(seconds)}`}: its time limit. What is open is being saved, and training that asked for it writes a checkpoint.`,
  saveAll: "Save all now",
  saved: (count) => `Saved: ${amount(count, "document", "documents")}.`,
  nothingToSave: "Everything is saved.",
  rescued: (path, copy) => `${path} could not be saved. What you wrote is in ${copy}.`,
  lost: (path) => `${path} could not be saved. Copy what you wrote to another place.`,

  idle: (idle, left) =>
    `Nothing has run here for ${spoken(idle)}. This session ends in ${spoken(left)} for lack of use, so that others get its place.`,
  here: "I am here",
  idleKernel: (path, idle, left) =>
    `${named(path)}: nothing ran for ${spoken(60 * Math.floor(idle / 60))}. ` +
    `Its kernel's job, with its GPU, ends in ${spoken(left)}.`,
  keepKernel: "Keep it",
  keepFailed: "The kernel's job could not be told just now. Try again, or run a cell.",
  hereFailed: "The session could not be told just now. Try again.",

  over: {
    "by-you": { title: "You ended this session", body: "All kernels have stopped. What was open was saved." },
    "time-limit": {
      title: "This session has ended: time limit",
      body: "It ran as long as it was given. What was open was saved before, and kernels have stopped.",
    },
    "idle": {
      title: "This session has ended for lack of use",
      body: "Nothing ran in it for a while, so others get its place. What was open was saved.",
    },
    "gone": {
      title: "This session has ended",
      body: "The next page says why. What was saved is in your home.",
    },
  },
  overUnsaved: (paths) => `Not saved: ${paths.join(", ")}. Copy what you need from this page before you leave it.`,
  again: "Start a new session",
  look: "Look at this page",
  unreachable: "This session can't be reached just now. What you type stays in this page; it is tried again.",
};
