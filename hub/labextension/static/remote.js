// What JupyterLab loads first: it hands over its own packages here, and gets our plugins.
"use strict";

(() => {
  const here = document.currentScript.src;
  let shared;

  async function packageOfLab(name) {
    const versions = Object.values(shared[name] || {});
    if (!versions.length) throw new Error(`JupyterLab has no ${name}; the DAVIDE Hub extension needs it`);
    const factory = await (versions.find((one) => one.loaded) || versions[0]).get();
    return factory();
  }

  async function extension() {
    const { PACKAGES, plugins } = await import(new URL("plugins.js", here).href);
    const names = Object.keys(PACKAGES);
    const loaded = await Promise.all(names.map((name) => packageOfLab(PACKAGES[name])));
    const lab = Object.fromEntries(names.map((name, index) => [name, loaded[index]]));
    return () => ({ __esModule: true, default: plugins(lab, new URL("style.css", here).href) });
  }

  window._JUPYTERLAB = window._JUPYTERLAB || {};
  window._JUPYTERLAB["davide-hub"] = {
    init: (scope) => {
      shared = scope;
    },
    get: (module) => {
      if (module !== "./extension") throw new Error(`the DAVIDE Hub extension has no ${module}`);
      return extension();
    },
  };
})();
