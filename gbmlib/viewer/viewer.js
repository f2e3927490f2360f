// The slice viewer: three linked planes of one case, with its label maps drawn over them, a probability that the reader
// puts a threshold on, and maps in colours (slices.js does the drawing, layers.js the counting and the colours,
// controls.js the buttons and sliders).
//
// One script for two places: Python ends it with a guard that mounts it in a static page, or with the export that
// anywidget wants in JupyterLab (viewer.py).

const PLANES = [
  { name: "Axial", axis: 0, across: 2, down: 1, edges: { left: "R", right: "L", top: "A", bottom: "P" } },
  { name: "Coronal", axis: 1, across: 2, down: 0, edges: { left: "R", right: "L", top: "S", bottom: "I" } },
  { name: "Sagittal", axis: 2, across: 1, down: 0, edges: { left: "A", right: "P", top: "S", bottom: "I" } },
];
const AXES = ["z", "y", "x"];
const STYLES = { off: "Off", outline: "Outline", fill: "Fill" };
const DASHES = [[], [5, 3], [2, 2], [9, 3, 2, 3]]; // two outlines differ by more than their colour
const DIFFERENCES = [
  { value: 1, name: "missed: only in the gold standard", colour: "#CC79A7" },
  { value: 2, name: "extra: only in the prediction", colour: "#009E73" },
  { value: 3, name: "another class", colour: "#E69F00" },
];
const HINT =
  "Click or tap a picture to take hold of it; then drag, turn the wheel or press the arrow keys. Page Up and Page " +
  "Down change the slice, Escape lets go. With Alt the wheel needs no click.";
const NONE = "none"; // of the maps
const AT_THRESHOLD = "at the threshold";
const middle = (byte) => (byte + 0.5) / LEVELS; // of the probabilities that share a byte
const CONVENTION = "Radiological convention: the patient’s left (L) is on the right of the picture.";

// The value behind a byte of an image, in the image's own units, as exactly as 254 steps tell it.
function valueOf({ low, high, minimum, maximum }, byte) {
  if (byte === 0) return "0";
  const size = (high - low) / 254;
  const digits = size > 0 ? clamp(Math.ceil(-Math.log10(size)), 0, 12) : 3;
  const beyond = byte === 1 && minimum < low ? "≤ " : byte === 255 && maximum > high ? "≥ " : "";
  return beyond + (low + (byte - 1) * size).toFixed(digits);
}

// A name over its value, for the lines of figures.
const part = (label, ...value) => element("span", {}, element("small", {}, label), element("b", {}, ...value));

// Build a viewer in `root`. `start` holds the position and the modality to begin with, where there are probabilities the
// region and the threshold, and `changed(name, value)`, which is called when the reader changes one of them. Returns
// what a page or a kernel may use.
function mount(root, spec, start) {
  const { sprites, images, overlays, classes, probabilities, maps } = spec;
  const colourOf = Object.fromEntries(classes.map(({ value, colour }) => [value, colour]));
  const nameOf = Object.fromEntries(classes.map(({ value, name }) => [value, name]));
  const fills = { classes: fillings(classes), differences: fillings(DIFFERENCES) };
  const reaching = { 1: spec.colour }; // the class of what reaches the threshold
  const fillReaching = fillings([{ value: 1, colour: spec.colour }]);
  const volumes = { images: {}, overlays: [], probabilities: {}, maps: {}, ready: false };
  const tallies = {};
  const state = {
    position: [...start.position],
    modality: start.modality,
    styles: overlays.map(({ style }) => style),
    opacity: 0.5,
    brightness: 0,
    contrast: 0,
    differ: false,
    region: start.region,
    threshold: start.threshold,
    decided: maps.length ? "outline" : "fill", // how what reaches the threshold is drawn
    map: maps.length ? maps[0].name : NONE,
    mapOpacity: 0.6,
    mapTop: 1,
  };
  let grey = greys(state);
  let mapColours = null;
  let frame = 0;

  // ---- changing the state

  function set(changes) {
    Object.assign(state, changes);
    grey = greys(state);
    if (maps.length) mapColours = shades(spec.palette, state.mapTop);
    redraw();
  }

  function redraw() {
    frame ||= requestAnimationFrame(draw);
  }

  function move(position, byReader = false) {
    if (position.every((index, axis) => index === state.position[axis])) return;
    set({ position: [...position] });
    if (byReader) start.changed("position", state.position);
  }

  // The reader moves within the box that is shown; only Python can set a position in the empty space around it.
  function moveTo(indices) {
    const last = (axis) => sprites.start[axis] + sprites.size[axis] - 1;
    const inside = (index, axis) => clamp(index, sprites.start[axis], last(axis));
    move(state.position.map((index, axis) => (axis in indices ? inside(indices[axis], axis) : index)), true);
  }

  function choose(name, byReader = false) {
    if (name === state.modality) return;
    set({ modality: name });
    for (const input of modality.querySelectorAll("input")) input.checked = input.value === name;
    if (byReader) start.changed("modality", name);
  }

  // Which probability is looked at, and what it has to reach.
  function decide({ region = state.region, threshold = state.threshold }, byReader = false) {
    if (region === state.region && threshold === state.threshold) return;
    const before = { region: state.region, threshold: state.threshold };
    set({ region, threshold });
    thresholdSlider.value = threshold;
    for (const input of regionChoice.querySelectorAll("input")) input.checked = input.value === region;
    key();
    if (byReader) for (const name in before) if (state[name] !== before[name]) start.changed(name, state[name]);
  }

  const level = () => Math.round(state.threshold * LEVELS);
  const inRegion = () => among(probabilities.find(({ name }) => name === state.region).values);

  // ---- drawing

  function draw() {
    frame = 0;
    const began = performance.now();
    planes.forEach(caption);
    if (volumes.ready) {
      planes.forEach(paint);
      tell();
      if (probabilities.length) judge();
    }
    root.dataset.milliseconds = (performance.now() - began).toFixed(2);
  }

  function paint(plane) {
    const { canvas, context, small, slices } = plane;
    const ratio = window.devicePixelRatio || 1;
    const width = Math.max(1, Math.round(canvas.clientWidth * ratio));
    const height = Math.max(1, Math.round(canvas.clientHeight * ratio));
    if (canvas.width !== width || canvas.height !== height) Object.assign(canvas, { width, height });
    const index = state.position[plane.axis] - sprites.start[plane.axis];
    const slice = (volume, into) => cut(volume, sprites.size, plane, index, into);
    const has = (i) => plane.overlay === undefined || i === plane.overlay || i === spec.truth;

    context.globalAlpha = 1;
    stretch(context, small, slice(volumes.images[state.modality], slices.image), grey, true);
    if (state.map !== NONE) {
      context.globalAlpha = state.mapOpacity;
      stretch(context, small, slice(volumes.maps[state.map], slices.image), mapColours, true);
    }
    volumes.overlays.forEach((volume, i) => slice(volume, slices.overlays[i]));
    if (probabilities.length) {
      masked(slice(volumes.probabilities[state.region], slices.image), from(level()), slices.decided);
    }
    context.globalAlpha = state.opacity;
    if (state.differ) {
      const differing = compare(...compared(plane), slices.image);
      context.globalAlpha = Math.sqrt(state.opacity); // small and scattered, they need to be seen
      stretch(context, small, differing, fills.differences, false);
    } else {
      const filled = slices.overlays.filter((_, i) => has(i) && state.styles[i] === "fill");
      for (const labels of filled) stretch(context, small, labels, fills.classes, false);
      if (state.decided === "fill") stretch(context, small, slices.decided, fillReaching, false);
    }
    context.globalAlpha = 1;
    slices.overlays.forEach((labels, i) => {
      if (has(i) && state.styles[i] === "outline") outline(context, small, labels, colourOf, DASHES[i % DASHES.length], ratio);
    });
    if (state.decided === "outline") outline(context, small, slices.decided, reaching, [], ratio);
    const centre = (axis) => 1 - (state.position[axis] - sprites.start[axis] + 0.5) / sprites.size[axis];
    crosshair(context, centre(plane.across) * width, centre(plane.down) * height, ratio);
  }

  // The two slices whose differences are shown: what reaches the threshold is compared with its region alone.
  function compared({ overlay = spec.prediction, slices: { overlays, decided, image } }) {
    if (!probabilities.length) return [overlays[spec.truth], overlays[overlay]];
    return [masked(overlays[spec.truth], inRegion(), image), decided];
  }

  function caption({ name, axis, where, input, canvas }) {
    const words = `${AXES[axis]} = ${state.position[axis]}`;
    where.textContent = words;
    input.value = state.position[axis];
    input.setAttribute("aria-valuetext", words);
    const keys = "arrow keys move the crosshair, Page Up and Page Down the slice";
    canvas.setAttribute("aria-label", `${name} slice, ${words}; ${keys}`);
  }

  function tell() {
    const image = images.find(({ name }) => name === state.modality);
    const share = (byte, of) => (byte === undefined ? "–" : of(byte).toFixed(2));
    const classAt = (value) => (value ? [swatch(colourOf[value]), nameOf[value]] : ["–"]);
    readout.replaceChildren(
      part("voxel (z, y, x)", state.position.join(", ")),
      part(image.title, valueOf(image, at(volumes.images[image.name]) ?? 0)),
      ...overlays.map(({ name }, i) => part(name, ...classAt(at(volumes.overlays[i])))),
      ...probabilities
        .filter(({ name }) => name === state.region)
        .map(({ name }) => part("probability of " + name, share(at(volumes.probabilities[name]), middle))),
      ...maps.map(({ name }) => part(name, share(at(volumes.maps[name]), (byte) => byte / 255))),
    );
  }

  // What each threshold decides about the whole case, in voxels; counted once.
  function counts() {
    const { name, values, outside } = probabilities.find(({ name }) => name === state.region);
    const truth = spec.truth === null ? null : volumes.overlays[spec.truth];
    return (tallies[name] ??= tally(volumes.probabilities[name], truth, among(values), outside));
  }

  // The figures beside the slider.
  function judge() {
    const measured = spec.truth === null ? [] : Object.entries(scores(counts(), level()));
    const millilitres = (counts().reached[level()] * spec.spacing.reduce((one, other) => one * other)) / 1000;
    const found = measured.map(([name, value]) => [name, value.toFixed(3)]);
    const figures = [["Threshold", state.threshold.toFixed(3)], ...found, ["Volume", millilitres.toFixed(1) + " ml"]];
    verdict.replaceChildren(...figures.map(([name, value]) => part(name, value)));
    thresholdSlider.setAttribute("aria-valuetext", figures.map((figure) => figure.join(" ")).join(", "));
  }

  function at(volume) {
    const [z, y, x] = state.position.map((index, axis) => index - sprites.start[axis]);
    const [depth, rows, columns] = sprites.size;
    const inside = z >= 0 && z < depth && y >= 0 && y < rows && x >= 0 && x < columns;
    return inside ? volume[(z * rows + y) * columns + x] : undefined; // only empty space is left out of the images
  }

  // ---- the parts

  function build(plane) {
    const extent = (axis) => sprites.size[axis] * spec.spacing[axis];
    const [width, height] = [extent(plane.across), extent(plane.down)];
    const [columns, rows] = [sprites.size[plane.across], sprites.size[plane.down]];
    const canvas = element("canvas", { tabindex: 0, role: "application", style: `aspect-ratio: ${width} / ${height}` });
    const letters = Object.entries(plane.edges).map(([edge, letter]) =>
      element("span", { class: "gbm-edge gbm-" + edge, "aria-hidden": "true" }, letter),
    );
    const min = sprites.start[plane.axis];
    const limits = { min, max: min + sprites.size[plane.axis] - 1, step: 1, value: state.position[plane.axis] };
    const input = slider(plane.name + " slice", limits, (index) => moveTo({ [plane.axis]: index }));
    const where = element("span");
    const whole = element(
      "div",
      { class: "gbm-plane", style: `--gbm-width: ${width}` }, // planes share a row in proportion to their millimetres
      element("div", { class: "gbm-caption" }, element("span", {}, plane.name), where),
      ...(plane.note ? [element("div", { class: "gbm-note" }, plane.note)] : []),
      element("div", { class: "gbm-frame" }, canvas, ...letters),
      input,
    );
    const empty = () => new Uint8Array(columns * rows);
    const slices = { image: empty(), overlays: overlays.map(empty), decided: empty() };
    const small = element("canvas", { width: columns, height: rows }).getContext("2d");
    const context = canvas.getContext("2d");
    return listen({ ...plane, whole, canvas, context, small, slices, input, where });
  }

  // A page must scroll past a picture: only one that the reader holds (that has the focus) takes the wheel and the
  // movement of a finger. Whether a finger scrolls is decided by the focus too, by `touch-action` in viewer.css.
  function listen(plane) {
    const { canvas, axis, across, down } = plane;
    const held = () => canvas.matches(":focus");
    const point = (event) => {
      canvas.focus({ preventScroll: true });
      const box = canvas.getBoundingClientRect();
      const index = (axis, share) => sprites.start[axis] + Math.ceil((1 - share) * sprites.size[axis]) - 1;
      moveTo({
        [across]: index(across, (event.clientX - box.left) / box.width),
        [down]: index(down, (event.clientY - box.top) / box.height),
      });
    };
    canvas.onclick = point;
    canvas.onpointerdown = (event) => {
      if (event.button || (event.pointerType === "touch" && !held())) return;
      canvas.setPointerCapture(event.pointerId);
      point(event);
    };
    canvas.onpointermove = (event) => canvas.hasPointerCapture(event.pointerId) && point(event);
    let turned = 0;
    const turn = (event) => {
      if (!held() && !event.altKey) return;
      event.preventDefault();
      turned += event.deltaY / [100, 3, 1][event.deltaMode]; // a notch is about 100 pixels, 3 lines or a page
      const notches = Math.trunc(turned);
      turned -= notches;
      moveTo({ [axis]: state.position[axis] - notches });
    };
    canvas.addEventListener("wheel", turn, { passive: false });
    canvas.onkeydown = (event) => {
      if (event.key === "Escape") canvas.blur();
      const steps = { ArrowLeft: [across, 1], ArrowRight: [across, -1], ArrowUp: [down, 1], ArrowDown: [down, -1] };
      const [along, by] = { ...steps, PageUp: [axis, 1], PageDown: [axis, -1] }[event.key] ?? [];
      if (by === undefined || event.ctrlKey || event.metaKey || event.altKey) return;
      event.preventDefault();
      moveTo({ [along]: state.position[along] + by * (event.shiftKey ? 10 : 1) });
    };
    return plane;
  }

  const style = (i) => (value) => set({ styles: state.styles.map((old, j) => (j === i ? value : old)) });
  const styleOf = ({ name }, i) => row(name, choice(name, STYLES, state.styles[i], style(i)));
  const inPanel = (i) => spec.panels.some(({ overlay }) => overlay === i);

  function overlayControls() {
    const rows = overlays.map(styleOf).filter((_, i) => !inPanel(i));
    if (probabilities.length) {
      rows.push(row(AT_THRESHOLD, choice(AT_THRESHOLD, STYLES, state.decided, (decided) => set({ decided }))));
    }
    if (spec.truth !== null && (spec.prediction !== null || spec.panels.length || probabilities.length)) {
      const differ = element("input", { type: "checkbox", onchange: () => (set({ differ: differ.checked }), key()) });
      rows.push(element("label", { class: "gbm-switch" }, differ, element("span", {}, "Show where they differ")));
    }
    if (maps.length) {
      const names = Object.fromEntries([NONE, ...maps.map(({ name }) => name)].map((name) => [name, name]));
      const shown = choice("Map", names, state.map, (map) => (set({ map }), key()));
      shown.classList.add("gbm-many");
      rows.push(row("Map", shown));
    }
    return element("div", {}, ...rows);
  }

  // The slider that moves the threshold, and what it decides; between the pictures and the read-out.
  function thresholdControls() {
    const back = element("button", { type: "button", onclick: () => decide({ threshold: 0.5 }, true) }, "Back to 0.5");
    const controls = element("div", { class: "gbm-threshold" }, row("Threshold", thresholdSlider), back, verdict);
    if (probabilities.length > 1) controls.prepend(row("Region", regionChoice));
    return controls;
  }

  function imageControls() {
    const amount = (label, name, min, max) =>
      slider(label, { min, max, step: 0.01, value: state[name] }, (value) => set({ [name]: value }));
    const opacity = amount("Fill opacity", "opacity", 0, 1);
    const brightness = amount("Brightness", "brightness", -0.5, 0.5);
    const contrast = amount("Contrast", "contrast", -1, 1);
    const reset = () => {
      brightness.value = contrast.value = 0;
      set({ brightness: 0, contrast: 0 });
    };
    return element(
      "div",
      {},
      ...(overlays.length || probabilities.length ? [row("Fill opacity", opacity)] : []),
      ...(maps.length ? [row("Map opacity", amount("Map opacity", "mapOpacity", 0, 1)), row("Colours end at", mapTop)] : []),
      row("Brightness", brightness),
      row("Contrast", contrast),
      element("button", { type: "button", onclick: reset }, "Reset brightness and contrast"),
    );
  }

  function key() {
    const differences = probabilities.length ? DIFFERENCES.slice(0, 2) : DIFFERENCES; // of a region there is one class
    const shown = state.differ ? differences : overlays.length ? classes : [];
    const decided = probabilities.length && !state.differ ? [{ name: `${state.region}, ${AT_THRESHOLD}`, colour: spec.colour }] : [];
    const entries = [...shown, ...decided].map(({ name, colour }) => element("span", {}, swatch(colour), name));
    legend.replaceChildren(...entries, ...(state.map === NONE ? [] : [scale()]));
  }

  function scale() {
    const [ends, style] = [state.mapTop.toFixed(2), `background: ${ramp(spec.palette)}`];
    const words = `Colours of the map ${state.map}: dark is 0, bright is ${ends} and more`;
    const bar = element("span", { class: "gbm-ramp", role: "img", "aria-label": words, style });
    return element("span", { class: "gbm-scale" }, state.map, " 0", bar, ends);
  }

  // ---- the whole

  const titles = Object.fromEntries(images.map(({ name, title }) => [name, title]));
  const modality = choice("Modality", titles, state.modality, (name) => choose(name, true));
  const regionNames = Object.fromEntries(probabilities.map(({ name }) => [name, name]));
  const regionChoice = choice("Region", regionNames, state.region, (region) => decide({ region }, true));
  const levels = { min: 1 / LEVELS, max: 1 - 1 / LEVELS, step: 1 / LEVELS, value: state.threshold };
  const thresholdSlider = slider("Threshold", levels, (threshold) => decide({ threshold }, true));
  const verdict = element("output", { class: "gbm-figures gbm-verdict" });
  const topmost = { min: 0.05, max: 1, step: 0.05, value: state.mapTop };
  const mapTop = slider("Colours end at", topmost, (top) => (set({ mapTop: top }), key()));
  const planes = (spec.panels.length ? spec.panels.map((panel) => ({ ...PLANES[0], ...panel })) : PLANES).map(build);
  const readout = element("output", { class: "gbm-figures gbm-readout" });
  const legend = element("div", { class: "gbm-legend" });
  const message = element("p", { class: "gbm-message", role: "status" }, "Reading the images …");
  const hint = element("p", { class: "gbm-hint" }, HINT + " " + CONVENTION);
  key();
  root.classList.add("gbm-viewer", "gbm-room");
  root.dataset.lmSuppressShortcuts = "true"; // or JupyterLab would take the arrow keys and go to another cell
  // … and so would its notebook, from the sliders. Other keys, such as those that open a search, are none of ours.
  root.addEventListener("keydown", (event) => /^(Arrow|Page|Home|End)/.test(event.key) && event.stopPropagation());
  root.setAttribute("role", "group");
  root.setAttribute("aria-label", "Slice viewer: " + spec.title);
  root.replaceChildren(
    element("div", { class: "gbm-head" }, element("strong", {}, spec.title), modality),
    message,
    element("div", { class: spec.panels.length ? "gbm-planes gbm-beside" : "gbm-planes" }, ...planes.map(({ whole }) => whole)),
    ...(probabilities.length ? [thresholdControls()] : []),
    ...(spec.panels.length ? [legend, overlayControls(), folded(readout, ...overlays.map(styleOf).filter((_, i) => inPanel(i)), imageControls(), hint)] : [readout, legend]),
    ...(spec.panels.length ? [] : [element("div", { class: "gbm-controls" }, overlayControls(), imageControls()), hint]),
  );
  const resized = new ResizeObserver(redraw);
  for (const { canvas } of planes) resized.observe(canvas);

  const reading = [
    ...images.map(async (image) => (volumes.images[image.name] = await readVolume(image, sprites))),
    ...overlays.map(async (overlay, i) => (volumes.overlays[i] = await readVolume(overlay, sprites))),
    ...probabilities.map(async (of) => (volumes.probabilities[of.name] = await readVolume(of, sprites))),
    ...maps.map(async (map) => (volumes.maps[map.name] = await readVolume(map, sprites))),
  ];
  const shown = () => {
    if (maps.length) {
      mapTop.value = largest(Object.values(volumes.maps));
      set({ mapTop: Number(mapTop.value) });
      key();
    }
    volumes.ready = true;
    message.remove();
    draw();
    root.dataset.ready = "true";
  };
  const failed = (problem) => {
    message.setAttribute("role", "alert");
    message.textContent = "The images cannot be shown: " + problem.message;
  };
  Promise.all(reading).then(shown).catch(failed);
  return { state, move, choose, decide, counts, close: () => resized.disconnect() };
}

// In a static page: mount whatever is not mounted yet. Each viewer's data lies in a script element inside it.
function mountAll() {
  for (const data of document.querySelectorAll("script.gbm-viewer-data")) {
    const spec = JSON.parse(data.textContent);
    const root = data.parentElement;
    root.viewer = mount(root, spec, { ...spec.start, changed() {} });
  }
}

// In JupyterLab: what a reader may change here are traits of the Python object, which follow them and lead the pictures.
function render({ model, el }) {
  const root = element("div");
  el.append(root);
  const viewer = mount(root, model.get("spec"), {
    position: model.get("position"),
    modality: model.get("modality"),
    region: model.get("region"),
    threshold: model.get("threshold"),
    changed(name, value) {
      model.set(name, value);
      model.save_changes();
    },
  });
  const follow = {
    position: (position) => viewer.move(position),
    modality: (modality) => viewer.choose(modality),
    region: (region) => viewer.decide({ region }),
    threshold: (threshold) => viewer.decide({ threshold }),
  };
  const followers = Object.entries(follow).map(([name, lead]) => ["change:" + name, () => lead(model.get(name))]);
  for (const [event, follower] of followers) model.on(event, follower);
  return () => {
    for (const [event, follower] of followers) model.off(event, follower);
    viewer.close();
  };
}
