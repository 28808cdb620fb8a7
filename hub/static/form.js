// The session form: bounds and cost follow what is chosen, and the figures are asked for while somebody looks.
"use strict";

(() => {
  const form = document.getElementById("spawn_form");
  const data = JSON.parse(document.getElementById("form-data").textContent);
  const EVERY_MS = 15000;
  let asking = null;

  function say(name, values = {}) {
    const entry = data.texts[name];
    const words = typeof entry === "string" ? entry : entry[values.n === 1 ? "one" : "other"];
    return words.replace(/\{(\w+)\}/g, (_, key) => values[key]);
  }

  const chosen = () => form.elements.profile.value;
  const gpus = form.elements.gpus;
  const hours = form.elements.hours;

  // A number that is being typed, or is out of bounds, is not shown anywhere else.
  const number = (field) => (field.validity.valid ? field.valueAsNumber : null);

  function setBounds() {
    for (const [name, field] of [["gpus", gpus], ["hours", hours]]) {
      const [least, most, usual] = data.bounds[chosen()][name];
      field.min = least;
      field.max = most;
      field.value = usual;
      if (!field.readOnly) {
        document.getElementById(`bounds-${name}`).textContent = say("bounds", { least, most });
        field.closest("[data-knob]").hidden = least === most;
      }
    }
  }

  function setQos() {
    const select = form.elements.qos;
    const names = data.qos[form.elements.account.value] || [];
    if (select.closest("[data-picker]").querySelector(".davide-lock")) return;
    select.replaceChildren(new Option(say("qos_none"), ""), ...names.map((name) => new Option(name, name)));
    select.closest("[data-picker]").hidden = names.length < 2;
  }

  function showChoice() {
    const [g, h] = [number(gpus), number(hours)];
    const cost = document.getElementById("cost");
    cost.textContent = g === null || h === null ? "" : g * h ? say("cost", { n: g * h }) : say("cost_none");
    if (g === null || h === null) return;
    const { gpus: [, , usual], cores, memory_gb: memory } = data.bounds[chosen()];
    const [more, per] = usual ? [g, usual] : [1, 1];
    const card = form.querySelector(`[data-profile="${chosen()}"]`);
    const facts = {
      gpus: g ? say("gpus", { n: g }) : say("no_gpu"),
      cores: say("cores", { n: Math.max(1, Math.floor((cores * more) / per)) }),
      memory: say("memory", { n: Math.max(1, Math.floor((memory * more) / per)) }),
      hours: say("hours", { n: h }),
    };
    for (const [name, words] of Object.entries(facts)) card.querySelector(`[data-fact=${name}]`).textContent = words;
  }

  function showFigures(figures) {
    document.getElementById("slurm-silent").hidden = !figures.silent;
    for (const [name, told] of Object.entries(figures.profiles)) {
      const live = form.querySelector(`[data-profile="${name}"] .davide-live`);
      live.dataset.kind = told.kind;
      live.querySelector("[data-free]").textContent = told.free;
      live.querySelector("[data-start]").textContent = told.start ? `${say("starts")} ${told.start}` : say("unknown");
    }
  }

  async function ask() {
    if (document.hidden || !form.checkValidity()) return;
    // Only the answer to the last question counts.
    if (asking) asking.abort();
    const mine = (asking = new AbortController());
    const query = new URLSearchParams(new FormData(form));
    query.set("_xsrf", window.jhdata.xsrf_token);
    try {
      const answer = await fetch(`${form.dataset.figuresUrl}?${query}`, { signal: mine.signal });
      if (answer.ok) showFigures(await answer.json());
    } catch (error) {
      if (error.name !== "AbortError") showFigures({ silent: false, profiles: unknown() });
    }
  }

  // The hub did not answer: what was shown before may be wrong by now.
  const unknown = () =>
    Object.fromEntries(Object.keys(data.bounds).map((name) => [name, { free: "", start: "", kind: "unknown" }]));

  form.addEventListener("change", (event) => {
    if (event.target.name === "profile") setBounds();
    if (event.target.name === "account") setQos();
    showChoice();
    ask();
  });
  form.addEventListener("input", showChoice);
  document.addEventListener("visibilitychange", ask);
  window.setInterval(ask, EVERY_MS);
  ask();
})();
