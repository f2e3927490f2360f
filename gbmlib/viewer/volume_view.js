// One case in 3D: buttons, keys and touch around NiiVue, which draws it (volume_view.py).
//
// The page begins with a picture, a sentence and a button. NiiVue is loaded when the button is pressed: in a page of the
// book from beside it, in a saved page out of the page, in JupyterLab from the kernel.

const BRAIN = { through: "See-through", solid: "Solid", off: "Off" };
const OPACITY = { through: 0.3, solid: 1, off: 0 };
const CUTS = { none: "Whole", above: "Above", front: "Front", left: "Left", right: "Right" };
// Where NiiVue's camera stands: azimuth and elevation in degrees.
const SIDES = { Front: [180, 0], Back: [0, 0], Left: [90, 0], Right: [270, 0], Above: [0, 89], Below: [180, -89] };
const START = { elevation: 20, zoom: 1.3 };
const ZOOM = { min: 0.7, max: 4, step: 1.25 };
const USE =
  "Click or tap the picture to take hold of it; then drag or press the arrow keys to turn it, turn the wheel, pinch or " +
  "press + and − to come nearer. Home goes back to the beginning, Escape lets go.";
const WITHOUT =
  "This browser offers no WebGL 2, which the view in 3D needs; the picture above shows the case from three sides. " +
  "Another browser may have it, or this one after hardware acceleration is switched on in its settings.";

const bounded = (value, low, high) => Math.min(Math.max(value, low), high);

// The plane that cuts at `centre`, (z, y, x) as shares of the volume, as NiiVue takes it: what lies further than `depth`
// from the volume's middle, in the direction of azimuth and elevation, is cut away. A depth of 2 cuts nothing.
function plane(cut, [z, y, x]) {
  const planes = { above: [z - 0.5, 0, 90], front: [y - 0.5, 180, 0], left: [0.5 - x, 270, 0], right: [x - 0.5, 90, 0] };
  return planes[cut] ?? [2, 0, 0];
}

// The colours of a label map, as NiiVue takes them, of the classes that are switched on. What is off loses its colour too:
// between two voxels NiiVue mixes colours, and the edge of a neighbour would show it.
function tableOf(classes, on) {
  const channel = (at) => [0, ...classes.map(({ value, colour }) => (on.has(value) ? parseInt(colour.slice(at, at + 2), 16) : 0))];
  const A = [0, ...classes.map(({ value }) => (on.has(value) ? 255 : 0))];
  const labels = ["", ...classes.map(({ name }) => name)];
  return { R: channel(1), G: channel(3), B: channel(5), A, I: [0, ...classes.map(({ value }) => value)], labels };
}

function hasWebGL2() {
  const context = document.createElement("canvas").getContext("webgl2");
  context?.getExtension("WEBGL_lose_context")?.loseContext(); // a browser has only so many
  return context !== null;
}

// Build a view in `root`. `load()` promises NiiVue.
function mount(root, spec, picture, load) {
  // To begin with from the front, from the side on which the labels are.
  const azimuth = spec.centre[2] > 0.5 ? 230 : 130;
  const state = { ...START, azimuth, brain: "through", cut: "none", shown: 0, on: new Set(spec.classes.map(({ value }) => value)) };
  let viewer = null; // NiiVue
  let frame = 0;

  // ---- what NiiVue shall show

  function look() {
    frame ||= requestAnimationFrame(() => {
      frame = 0;
      if (!viewer) return;
      viewer.setRenderAzimuthElevation(state.azimuth, state.elevation);
      if (viewer.volScaleMultiplier !== state.zoom) viewer.volScaleMultiplier = state.zoom;
      const words = `azimuth ${Math.round(state.azimuth)}°, elevation ${Math.round(state.elevation)}°`;
      stage.setAttribute("aria-label", `The case in 3D, ${words}; arrow keys turn it, plus and minus zoom`);
    });
  }

  function turn(across, up) {
    state.azimuth = (state.azimuth + across + 360) % 360;
    state.elevation = bounded(state.elevation + up, -89, 89);
    look();
  }

  function zoom(by) {
    state.zoom = bounded(state.zoom * by, ZOOM.min, ZOOM.max);
    look();
  }

  function stand([azimuth, elevation], nearness = state.zoom) {
    Object.assign(state, { azimuth, elevation, zoom: nearness });
    look();
  }

  const brain = (how) => {
    state.brain = how;
    viewer.setOpacity(0, OPACITY[how]);
  };

  const cut = (from) => {
    state.cut = from;
    if (from !== "none" && state.brain === "through") brainChoice.querySelector("[value=solid]").click(); // or the cut is hard to see
    viewer.setClipPlane(plane(from, spec.centre));
  };

  function layers() {
    spec.labels.forEach((_, i) => {
      const volume = viewer.volumes[i + 1];
      volume.setColormapLabel(tableOf(spec.classes, state.on));
      volume.opacity = i === state.shown ? 1 : 0;
    });
    viewer.updateGLVolume();
  }

  // ---- loading and leaving

  async function open() {
    if (!hasWebGL2()) return say(WITHOUT, "alert");
    opener.disabled = true;
    say("Loading the view in 3D …");
    try {
      const { Niivue, NVImage, SLICE_TYPE } = await load();
      root.replaceChildren(...head, stage, controls, legend, element("p", { class: "gbm-hint" }, USE), words);
      const made = new Niivue({
        interactive: false, // keys, wheel and fingers are ours: a page must scroll past a picture
        dragAndDropEnabled: false,
        isOrientationTextVisible: false,
        clipPlaneColor: [0, 0, 0, 0],
        loadingText: "",
        logLevel: "error",
      });
      const canvas = element("canvas", { "aria-hidden": "true" });
      frameOf.replaceChildren(canvas);
      await made.attachToCanvas(canvas, true);
      made.setSliceType(SLICE_TYPE.RENDER);
      const image = { base64: spec.image, name: "image.nii.gz", colormap: "gray", cal_min: 20, cal_max: 255 };
      made.addVolume(await NVImage.loadFromBase64({ ...image, opacity: OPACITY[state.brain] }));
      for (const { name, nifti } of spec.labels) {
        const label = await NVImage.loadFromBase64({ base64: nifti, name: name + ".nii.gz" });
        label.setColormapLabel(tableOf(spec.classes, state.on));
        made.addVolume(label);
      }
      viewer = made;
      layers();
      if (state.cut !== "none") cut(state.cut);
      look();
      stage.focus({ preventScroll: true });
      root.dataset.ready = "true";
    } catch (problem) {
      close();
      say("The view in 3D cannot be shown: " + (problem.message ?? problem), "alert");
    }
  }

  function close() {
    viewer?.gl.getExtension("WEBGL_lose_context")?.loseContext();
    viewer?.cleanup();
    viewer = null;
    delete root.dataset.ready;
    frameOf.replaceChildren();
    opener.disabled = false;
    say("");
    root.replaceChildren(...head, picture, start, message, words);
  }

  function say(text, role = "status") {
    message.setAttribute("role", role);
    message.textContent = text;
  }

  // ---- keys, wheel, mouse and fingers: only for a picture that the reader holds (that has the focus), as in viewer.js

  const pointers = new Map();

  function listen() {
    const held = () => stage.matches(":focus");
    stage.onclick = () => stage.focus({ preventScroll: true });
    stage.onpointerdown = (event) => {
      if (event.button || (event.pointerType === "touch" && !held())) return;
      stage.focus({ preventScroll: true });
      stage.setPointerCapture(event.pointerId);
      pointers.set(event.pointerId, [event.clientX, event.clientY]);
    };
    stage.onpointerup = stage.onpointercancel = (event) => pointers.delete(event.pointerId);
    stage.onpointermove = (event) => {
      const before = pointers.get(event.pointerId);
      if (!before) return;
      const now = [event.clientX, event.clientY];
      if (pointers.size === 1) turn((now[0] - before[0]) / 2, (now[1] - before[1]) / 2);
      else {
        const [other] = [...pointers].filter(([id]) => id !== event.pointerId).map(([, at]) => at);
        const apart = (at) => Math.hypot(at[0] - other[0], at[1] - other[1]);
        zoom(apart(now) / Math.max(apart(before), 1));
      }
      pointers.set(event.pointerId, now);
    };
    const wheel = (event) => {
      if (!held() && !event.altKey) return;
      event.preventDefault();
      zoom(ZOOM.step ** (-event.deltaY / [200, 6, 1][event.deltaMode]));
    };
    stage.addEventListener("wheel", wheel, { passive: false });
    stage.onkeydown = (event) => {
      if (event.ctrlKey || event.metaKey || event.altKey) return;
      if (event.key === "Escape") return stage.blur();
      const steps = { ArrowLeft: [-10, 0], ArrowRight: [10, 0], ArrowUp: [0, 10], ArrowDown: [0, -10] };
      const act = {
        "+": () => zoom(ZOOM.step),
        "=": () => zoom(ZOOM.step),
        "-": () => zoom(1 / ZOOM.step),
        Home: () => stand([azimuth, START.elevation], START.zoom),
      };
      if (!(event.key in steps) && !(event.key in act)) return;
      event.preventDefault();
      if (event.key in steps) turn(...steps[event.key]);
      else act[event.key]();
    };
  }

  // ---- the parts

  const frameOf = element("div", { class: "gbm-volume-frame" });
  const stage = element("div", { class: "gbm-volume-stage", tabindex: 0, role: "application" }, frameOf);
  const brainChoice = choice("Brain", BRAIN, state.brain, brain);
  const cutChoice = choice("Cut open from", CUTS, state.cut, cut);
  const names = Object.fromEntries(spec.labels.map(({ name }, i) => [i, name]));
  const shownChoice = choice("Labels", names, String(state.shown), (i) => ((state.shown = Number(i)), layers()));
  for (const many of [cutChoice, shownChoice]) many.classList.add("gbm-many");
  const sides = Object.entries(SIDES).map(([side, at]) => button(side, () => stand(at)));
  const nearer = [button("Nearer", () => zoom(ZOOM.step)), button("Farther", () => zoom(1 / ZOOM.step))];
  const buttons = (label, made) =>
    row(label, element("div", { class: "gbm-volume-buttons", role: "group", "aria-label": label }, ...made));
  const controls = element(
    "div",
    { class: "gbm-volume-controls" },
    ...(spec.brain ? [row("Brain", brainChoice), row("Cut open from", cutChoice)] : []),
    ...(spec.labels.length > 1 ? [row("Labels", shownChoice)] : []),
    buttons("Seen from", sides),
    buttons("Distance", [...nearer, button("Back to the picture", () => (close(), opener.focus()))]),
  );
  const legend = element("div", { class: "gbm-legend", role: "group", "aria-label": "Classes to show" });
  for (const { value, name, colour } of spec.labels.length ? spec.classes : []) {
    const input = element("input", { type: "checkbox" });
    input.checked = true;
    input.onchange = () => {
      state.on[input.checked ? "add" : "delete"](value);
      layers();
    };
    legend.append(element("label", { class: "gbm-switch" }, input, element("span", {}, swatch(colour), name)));
  }
  const size = spec.megabytes ? ` (loads ${spec.megabytes} MB)` : "";
  const opener = button("Show in 3D" + size, open);
  const start = element("div", { class: "gbm-volume-start" }, opener);
  const message = element("p", { class: "gbm-message", role: "status" });
  const words = element("p", { class: "gbm-hint" }, spec.words);
  const head = [element("div", { class: "gbm-head" }, element("strong", {}, spec.title))];
  root.classList.add("gbm-volume", "gbm-room");
  root.dataset.lmSuppressShortcuts = "true"; // or JupyterLab would take the keys
  root.addEventListener("keydown", (event) => /^(Arrow|Home|[-+=]$)/.test(event.key) && event.stopPropagation());
  root.setAttribute("role", "group");
  root.setAttribute("aria-label", "View in 3D: " + spec.title);
  listen();
  close();
  return { state, open, close };
}

// NiiVue's bundle leaves itself in `window.niivue`, unless it finds a module system: it shall find none.
function run(script) {
  new Function("define", "exports", "module", script).call(window);
  return window.niivue;
}

// In a static page: one NiiVue for all views, held back as text in a saved page, or in a file beside the book's pages.
function mountAll(file) {
  let niivue = null;
  const fetched = () =>
    new Promise((resolve, reject) => {
      const held = document.querySelector("script.gbm-niivue-held");
      if (held) return resolve(run(held.textContent));
      const src = (document.documentElement.dataset.content_root ?? "") + file;
      const onerror = () => reject(new Error(`${file}, which belongs to the book, cannot be read`));
      document.head.append(element("script", { src, onload: () => resolve(window.niivue), onerror }));
    });
  const load = () => (window.niivue ? Promise.resolve(window.niivue) : (niivue ??= fetched().finally(() => (niivue = null))));
  for (const data of document.querySelectorAll("script.gbm-volume-data")) {
    const root = data.parentElement;
    root.view = mount(root, JSON.parse(data.textContent), root.querySelector(".gbm-volume-picture"), load);
  }
}

// In JupyterLab: the kernel sends NiiVue when it is asked.
function render({ model, el }) {
  const spec = model.get("spec");
  const src = "data:image/jpeg;base64," + spec.picture;
  const picture = element("img", { class: "gbm-volume-picture dark-light", alt: spec.words, src });
  const load = () =>
    new Promise((resolve, reject) => {
      if (window.niivue) return resolve(window.niivue);
      const answered = ({ script, problem }) => {
        model.off("msg:custom", answered);
        if (problem) reject(new Error(problem));
        else resolve(run(script));
      };
      model.on("msg:custom", answered);
      model.send("niivue");
    });
  const root = element("div");
  el.append(root);
  const view = mount(root, spec, picture, load);
  return () => view.close();
}
