// The session's items in the status bar.

import { rows } from "./leases.js";
import { texts } from "./texts.js";

function part(name) {
  const node = document.createElement("span");
  node.className = `davide-part davide-${name}`;
  return node;
}

function show(node, text, spoken) {
  // Only what has changed: screen readers and the browser's layout have nothing to do otherwise.
  if (node.textContent !== text) node.textContent = text;
  if (node.title !== spoken) {
    node.title = spoken;
    node.setAttribute("aria-label", spoken);
    node.setAttribute("role", "img");
  }
  node.hidden = !text;
}

function showGpus(node, { state, gpus }) {
  if (state !== "read") {
    show(node, texts.noGpu[state], texts.noGpuSpoken[state]);
    return;
  }
  const [first] = gpus;
  const each = gpus.map((gpu) => texts.gpuSpoken(gpu.name, gpu.use_percent, gpu.memory_used_bytes, gpu.memory_bytes));
  const text = gpus.length === 1
    ? texts.gpu(first.name, first.use_percent)
    : texts.gpus(gpus.length, first.name, gpus.map((gpu) => gpu.use_percent));
  show(node, text, each.join("; "));
}

function showLeases(node, leases) {
  const all = rows(leases);
  const used = all.filter(({ holders }) => holders.length).length;
  const each = all.map(({ gpu, holders }) => `${texts.gpuNumber(gpu)}: ${holders.join(", ") || texts.free}`);
  const text = all.length ? texts.leased(used, all.length) : "";
  if (node.textContent !== text) node.textContent = text;
  node.title = each.join("; ");
  node.hidden = !text;
}

function button(name, text, title, pressed) {
  const node = Object.assign(document.createElement("button"), { type: "button", textContent: text, title });
  node.className = `davide-button davide-${name}`;
  node.addEventListener("click", pressed);
  return node;
}

/** Return a widget that shows a session's facts, and buttons that call `end` and `leases`. */
export function statusItem(lab, facts, end, leases) {
  const widget = new lab.widgets.Widget();
  widget.addClass("davide-status");
  const [left, gpu, memory, cpu] = ["left", "gpu", "memory", "cpu"].map(part);
  const ending = button("end", texts.end, texts.endCaption, end);
  const leased = button("leases", "", "", leases);
  leased.hidden = true;
  widget.node.setAttribute("role", "group");
  widget.node.setAttribute("aria-label", texts.statusBar);
  widget.node.append(left, gpu, leased, memory, cpu, ending);

  facts.onNews(({ latest, left: seconds, over }) => {
    if (!latest) return;
    if (over) {
      show(left, texts.ended, texts.ended);
      for (const node of [gpu, leased, memory, cpu, ending]) node.remove();
      return;
    }
    if (seconds === null) show(left, texts.noEnd, texts.noEndSpoken);
    else show(left, texts.left(seconds), texts.leftSpoken(seconds));
    left.classList.toggle("davide-short", seconds !== null && seconds <= Math.max(...latest.walltime.warn_seconds));
    showGpus(gpu, latest.gpus);
    showLeases(leased, latest.leases);
    const { used_bytes: used, limit_bytes: limit } = latest.memory;
    if (used === null) show(memory, "", "");
    else show(memory, texts.memory(used, limit), texts.memorySpoken(used, limit));
    const { cores_used: busy, cores } = latest.cpu;
    if (busy === null) show(cpu, "", "");
    else show(cpu, texts.cpu(busy, cores), texts.cpuSpoken(busy, cores));
  });
  return widget;
}
