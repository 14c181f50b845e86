// Hands itkwidgets' own front-end, made for the classic notebook, to JupyterLab 4 and ipywidgets 8.
// A module that JupyterLab loads like any built extension, written by hand: no node, no webpack, no network.
(() => {
  const name = "@NAME@";
  const here = document.currentScript.src.replace(/[^/]*$/, ""); // .../lab/extensions/@NAME@/static/
  let scope;

  // A module that JupyterLab shares with its extensions, the newest version of it.
  async function shared(module) {
    const versions = scope[module];
    const newest = Object.keys(versions).pop();
    return (await versions[newest].get())();
  }

  // Backbone's .extend() cannot subclass the native classes of ipywidgets 8; this one can.
  function extendable(Parent) {
    class Extendable extends Parent {}
    Extendable.extend = (members, own) => {
      class Child extends Parent {}
      Object.assign(Child.prototype, members);
      Object.assign(Child, own);
      Child.__super__ = Parent.prototype;
      Child.extend = extendable(Child).extend;
      return Child;
    };
    return Extendable;
  }

  async function load() {
    const base = await shared("@jupyter-widgets/base");
    const wrapped = {};
    for (const part of ["DOMWidgetModel", "DOMWidgetView", "WidgetModel", "WidgetView"]) wrapped[part] = extendable(base[part]);
    const given = Object.assign({}, base, wrapped);
    const response = await fetch(here + "itkwidgets/index.js");
    if (!response.ok) throw new Error("@NAME@: the front-end of itkwidgets is missing; run: flairnb doctor");
    // Where its readers and filters (wasm) lie.
    const code = (await response.text()).replace('n.p=""', "n.p=" + JSON.stringify(here + "itkwidgets/"));
    let found;
    const define = (needed, factory) => { found = factory(...needed.map(() => given)); };
    new Function("define", code)(define);
    // 0.32.4 drops the argument `channels` of view(), and null channels break the start.
    const view = found.ViewerView.prototype;
    const changed = view.channels_changed;
    view.channels_changed = function () { if (this.model.get("channels")) changed.call(this); };
    return found;
  }

  const container = {
    init(given) { scope = given; },
    async get(module) {
      if (module !== "./extension") return () => ({});
      const { IJupyterWidgetRegistry } = await shared("@jupyter-widgets/base");
      const plugin = {
        id: name + ":plugin",
        autoStart: true,
        requires: [IJupyterWidgetRegistry],
        activate: (app, registry) => registry.registerWidget({ name: "itkwidgets", version: "@VERSION@", exports: load }),
      };
      return () => ({ __esModule: true, default: plugin });
    },
  };
  (window._JUPYTERLAB = window._JUPYTERLAB || {})[name] = container;
})();
