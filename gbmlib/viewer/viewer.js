// The slice viewer: three linked planes of one case, with its label maps drawn over them, a probability that the reader
// puts a threshold on, and maps in colours. Here is the state that all of it shares; picture.js has the pictures and
// their gestures, panel.js what stands around them.
//
// One script for two places: Python ends it with a guard that mounts it in a static page, or with the export that
// anywidget wants in JupyterLab (output.py).

const UNCHANGED = { brightness: 0, contrast: 0, zoom: 1, edges: [0, 0, 0] };

// Build a viewer in `root`. `start` holds the position and the modality to begin with, where there are probabilities the
// region and the threshold, and `changed(name, value)`, which is called when the reader changes one of them. Returns
// what a page or a kernel may use.
function mount(root, spec, start) {
  const { sprites, images, overlays, probabilities, maps } = spec;
  const volumes = { images: {}, overlays: [], probabilities: {}, maps: {}, ready: false };
  const tallies = {};
  const predicted = probabilities.length ? overlays.length : spec.prediction; // what reaches the threshold is the last
  const state = {
    ...UNCHANGED,
    position: [...start.position],
    pointed: {}, // the voxel under the pointer, on the two axes of its picture
    modality: start.modality,
    styles: overlays.map(({ style }) => style),
    opacity: 0.5,
    differ: false,
    pair: predicted === 0 ? [0, 1] : [spec.truth ?? 0, predicted], // the two overlays whose differences are shown
    region: start.region,
    threshold: start.threshold,
    decided: maps.length ? "outline" : "fill", // how what reaches the threshold is drawn
    map: maps.length ? maps[0].name : NONE,
    mapOpacity: 0.6,
    mapTop: 1,
  };
  const tables = {
    classes: fillings(spec.classes),
    differences: fillings(DIFFERENCES),
    decided: fillings([{ value: 1, colour: spec.colour }]),
    lines: Object.fromEntries(spec.classes.map(({ value, colour }) => [value, colour])),
  };
  let frame = 0;

  function set(changes) {
    Object.assign(state, changes);
    tables.grey = greys(state);
    if (maps.length) tables.map = shades(spec.palette, state.mapTop);
    redraw();
  }

  function redraw() {
    frame ||= requestAnimationFrame(draw);
  }

  function draw() {
    frame = 0;
    const began = performance.now();
    if (volumes.ready) for (const { paint } of pictures) paint(); // first: it asks for sizes, which words may change
    for (const { caption } of pictures) caption();
    around.update();
    root.dataset.milliseconds = (performance.now() - began).toFixed(2);
  }

  function move(position, byReader = false) {
    if (position.every((index, axis) => index === state.position[axis])) return;
    set({ ...following(state, sprites, position), position: [...position] });
    if (byReader) start.changed("position", state.position);
  }

  // The reader moves within the box that is shown; only Python can set a position in the empty space around it.
  function moveTo(indices) {
    move(state.position.map((index, axis) => (axis in indices ? inside(sprites, indices[axis], axis) : index)), true);
  }

  function pointAt(pointed) {
    state.pointed = pointed;
    around.tell();
  }

  // About the crosshair.
  const zoom = (factor) => set(zoomed(state, factor, state.position.map((index, axis) => shareOf(sprites, index, axis))));

  const reset = () => set(UNCHANGED);

  function choose(modality, byReader = false) {
    if (modality === state.modality) return;
    set({ modality });
    if (byReader) start.changed("modality", modality);
  }

  // Which probability is looked at, and what it has to reach.
  function decide({ region = state.region, threshold = state.threshold }, byReader = false) {
    const before = { region: state.region, threshold: state.threshold };
    set({ region, threshold });
    if (byReader) for (const name in before) if (state[name] !== before[name]) start.changed(name, state[name]);
  }

  const level = () => Math.round(state.threshold * LEVELS);
  const inRegion = () => among(probabilities.find(({ name }) => name === state.region).values);

  // What each threshold decides about the whole case, in voxels; counted once.
  function counts() {
    const { name, outside } = probabilities.find(({ name }) => name === state.region);
    const truth = spec.truth === null ? null : volumes.overlays[spec.truth];
    return (tallies[name] ??= tally(volumes.probabilities[name], truth, inRegion(), outside));
  }

  // ---- the whole

  const actions = { set, moveTo, pointAt, zoom, reset, choose, decide, level, inRegion, counts };
  const viewer = { root, spec, state, volumes, tables, ...actions };
  const planes = spec.panels.length ? spec.panels.map((panel) => ({ ...PLANES[0], ...panel })) : PLANES;
  const pictures = planes.map((plane) => picture(plane, viewer));
  const around = panel(viewer);
  const message = element("p", { class: "gbm-message", role: "status" }, "Reading the images …");
  root.classList.add("gbm-viewer", "gbm-room");
  root.dataset.lmSuppressShortcuts = "true"; // or JupyterLab would take the arrow keys and go to another cell
  // … and so would its notebook, from the sliders. Other keys, such as those that open a search, are none of ours.
  root.addEventListener("keydown", (event) => /^(Arrow|Page|Home|End|[-+=]$)/.test(event.key) && event.stopPropagation());
  root.setAttribute("role", "group");
  root.setAttribute("aria-label", "Slice viewer: " + spec.title);
  const ratio = pictures.reduce((sum, { wide }) => sum + wide, 0) / Math.max(...pictures.map(({ high }) => high));
  const kind = spec.panels.length ? "gbm-planes gbm-beside" : "gbm-planes";
  const beside = element("div", { class: kind, style: `--gbm-ratio: ${ratio}` }, ...pictures.map(({ whole }) => whole));
  root.replaceChildren(around.head, message, beside, ...around.below);
  const resized = new ResizeObserver(redraw);
  for (const { canvas } of pictures) resized.observe(canvas);

  const reading = [
    ...images.map(async (image) => (volumes.images[image.name] = await readVolume(image, sprites))),
    ...overlays.map(async (overlay, i) => (volumes.overlays[i] = await readVolume(overlay, sprites))),
    ...probabilities.map(async (of) => (volumes.probabilities[of.name] = await readVolume(of, sprites))),
    ...maps.map(async (map) => (volumes.maps[map.name] = await readVolume(map, sprites))),
  ];
  const shown = () => {
    set({ mapTop: maps.length ? largest(Object.values(volumes.maps)) : 1 });
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
