// A picture of the viewer (viewer.js): the slice of the case in one plane, what lies over it, and the gestures on it.
// slices.js does the drawing.

const PLANES = [
  { name: "Axial", axis: 0, across: 2, down: 1, edges: { left: "R", right: "L", top: "A", bottom: "P" } },
  { name: "Coronal", axis: 1, across: 2, down: 0, edges: { left: "R", right: "L", top: "S", bottom: "I" } },
  { name: "Sagittal", axis: 2, across: 1, down: 0, edges: { left: "A", right: "P", top: "S", bottom: "I" } },
];
const AXES = ["z", "y", "x"];
const DASHES = [[], [5, 3], [2, 2], [9, 3, 2, 3]]; // two outlines differ by more than their colour
const LARGEST = 16; // times

// ---- what is seen of the case: of each axis 1 / zoom, from an edge on. Edges, and places in a picture, are shares of
// the extent of an axis, counted from the left or from the top.

const shareOf = ({ start, size }, index, axis) => 1 - (index - start[axis] + 0.5) / size[axis];
const inside = ({ start, size }, index, axis) => clamp(index, start[axis], start[axis] + size[axis] - 1);
const indexAt = (box, share, axis) => inside(box, box.start[axis] + Math.ceil((1 - share) * box.size[axis]) - 1, axis);

const framed = (zoom, edges) => ({ zoom, edges: edges.map((edge) => clamp(edge, 0, 1 - 1 / zoom)) });

// Zoomed so that the given place stays where it is seen; on an axis on which it is out of sight, it comes to the middle.
function zoomed({ zoom, edges }, factor, place) {
  const now = clamp(zoom * factor, 1, LARGEST);
  const seen = place.map((share, axis) => (share - edges[axis]) * zoom);
  const kept = seen.map((at) => (at < 0 || at > 1 ? 0.5 : at));
  return framed(now, place.map((share, axis) => share - kept[axis] / now));
}

// Moved by as little as brings the voxel into sight, on the axes on which it has changed.
function following({ zoom, edges, position }, sprites, voxel) {
  const follow = (edge, axis) => {
    const [share, half] = [shareOf(sprites, voxel[axis], axis), 0.5 / sprites.size[axis]];
    return voxel[axis] === position[axis] ? edge : clamp(edge, share - half - 1 / zoom, share + half);
  };
  return framed(zoom, edges.map(follow));
}

// ---- the picture

// `viewer` holds what all pictures share: the data, the state, the tables of colours, and what a reader may do.
function picture(plane, viewer) {
  const { spec, state, volumes } = viewer;
  const { sprites } = spec;
  const { axis, across, down } = plane;
  const [wide, high] = [across, down].map((axis) => sprites.size[axis] * spec.spacing[axis]); // millimetres
  const [columns, rows] = [sprites.size[across], sprites.size[down]];
  const canvas = element("canvas", { tabindex: 0, role: "application", style: `aspect-ratio: ${wide} / ${high}` });
  const letters = Object.entries(plane.edges).map(([edge, letter]) =>
    element("span", { class: "gbm-edge gbm-" + edge, "aria-hidden": "true" }, letter),
  );
  const min = sprites.start[axis];
  const limits = { min, max: min + sprites.size[axis] - 1, step: 1, value: state.position[axis] };
  const input = slider(plane.name + " slice", limits, (index) => viewer.moveTo({ [axis]: index }));
  const where = element("span");
  const whole = element(
    "div",
    { class: "gbm-plane", style: `--gbm-width: ${wide}` }, // planes share a row in proportion to their millimetres
    element("div", { class: "gbm-caption" }, element("span", {}, plane.name), where),
    ...(plane.note ? [element("div", { class: "gbm-note" }, plane.note)] : []),
    element("div", { class: "gbm-frame" }, canvas, ...letters),
    input,
  );
  const empty = () => new Uint8Array(columns * rows);
  const slices = { image: empty(), overlays: spec.overlays.map(empty), decided: empty() };
  const small = element("canvas", { width: columns, height: rows }).getContext("2d");
  const context = canvas.getContext("2d");

  function caption() {
    const words = `${AXES[axis]} = ${state.position[axis]}`;
    where.textContent = words;
    input.value = state.position[axis];
    input.setAttribute("aria-valuetext", words);
    const keys = "arrow keys move the crosshair, Page Up and Page Down the slice, plus and minus zoom";
    canvas.setAttribute("aria-label", `${plane.name} slice, ${words}; ${keys}`);
  }

  function paint() {
    const { tables } = viewer;
    const ratio = window.devicePixelRatio || 1;
    const width = Math.max(1, Math.round(canvas.clientWidth * ratio));
    const height = Math.max(1, Math.round(canvas.clientHeight * ratio));
    if (canvas.width !== width || canvas.height !== height) Object.assign(canvas, { width, height });
    const { zoom, edges } = state;
    context.setTransform(zoom, 0, 0, zoom, -zoom * edges[across] * width, -zoom * edges[down] * height);
    const line = ratio / zoom; // lines stay as thin as they are
    const index = state.position[axis] - sprites.start[axis];
    const slice = (volume, into) => cut(volume, sprites.size, plane, index, into);
    const has = (i) => plane.overlay === undefined || i === plane.overlay || i === spec.truth;

    context.globalAlpha = 1;
    stretch(context, small, slice(volumes.images[state.modality], slices.image), tables.grey, true);
    if (state.map in volumes.maps) {
      context.globalAlpha = state.mapOpacity;
      stretch(context, small, slice(volumes.maps[state.map], slices.image), tables.map, true);
    }
    volumes.overlays.forEach((volume, i) => slice(volume, slices.overlays[i]));
    if (state.region) masked(slice(volumes.probabilities[state.region], slices.image), from(viewer.level()), slices.decided);
    context.globalAlpha = state.opacity;
    if (state.differ) {
      context.globalAlpha = Math.sqrt(state.opacity); // small and scattered, they need to be seen
      stretch(context, small, differing(), tables.differences, false);
    } else {
      const filled = slices.overlays.filter((_, i) => has(i) && state.styles[i] === "fill");
      for (const labels of filled) stretch(context, small, labels, tables.classes, false);
      if (state.decided === "fill") stretch(context, small, slices.decided, tables.decided, false);
    }
    context.globalAlpha = 1;
    slices.overlays.forEach((labels, i) => {
      const outlined = has(i) && state.styles[i] === "outline";
      if (outlined) outline(context, small, labels, tables.lines, DASHES[i % DASHES.length], line);
    });
    if (state.decided === "outline") outline(context, small, slices.decided, { 1: spec.colour }, [], line);
    const centre = (axis) => shareOf(sprites, state.position[axis], axis);
    crosshair(context, centre(across) * width, centre(down) * height, line);
  }

  // Where the chosen two differ; beside others, a picture compares its own. What reaches the threshold comes after all
  // overlays, and is compared with its region alone.
  function differing() {
    const pair = [state.pair[0], plane.overlay ?? state.pair[1]];
    const decided = slices.overlays.length;
    const inRegion = pair.includes(decided) && viewer.inRegion();
    const labels = (i) => (inRegion ? masked(slices.overlays[i], inRegion, slices.image) : slices.overlays[i]);
    return compare(...pair.map((i) => (i === decided ? slices.decided : labels(i))), slices.image);
  }

  // ---- gestures

  // A page must scroll past a picture: only one that the reader holds (that has the focus) takes the wheel and the
  // movement of a finger. Whether a finger scrolls is decided by the focus too, by `touch-action` in viewer.css.
  const held = () => canvas.matches(":focus");
  const hold = () => canvas.focus({ preventScroll: true });
  const pressed = new Map(); // the last event of the mouse or of each finger

  // The place under the pointer; on the axis that the picture does not show, the crosshair's.
  function placeOf({ clientX, clientY }) {
    const box = canvas.getBoundingClientRect();
    const place = state.position.map((index, axis) => shareOf(sprites, index, axis));
    place[across] = state.edges[across] + (clientX - box.left) / box.width / state.zoom;
    place[down] = state.edges[down] + (clientY - box.top) / box.height / state.zoom;
    return place;
  }

  function pointed(event) {
    const place = placeOf(event);
    return Object.fromEntries([across, down].map((axis) => [axis, indexAt(sprites, place[axis], axis)]));
  }

  function drag(before, event) {
    const right = (event.clientX - before.clientX) / canvas.clientWidth;
    const low = (event.clientY - before.clientY) / canvas.clientHeight;
    const by = { [across]: right, [down]: low };
    const moved = (share) => state.edges.map((edge, axis) => edge - (share * (by[axis] ?? 0)) / state.zoom);
    const pan = (share) => viewer.set(framed(state.zoom, moved(share)));
    const other = [...pressed.values()].find(({ pointerId }) => pointerId !== event.pointerId);
    if (other) {
      const distance = (one) => Math.hypot(one.clientX - other.clientX, one.clientY - other.clientY) || 1;
      const middle = { clientX: (before.clientX + other.clientX) / 2, clientY: (before.clientY + other.clientY) / 2 };
      viewer.set(zoomed(state, distance(event) / distance(before), placeOf(middle)));
      pan(0.5);
    } else if (event.buttons & 2) {
      // Upwards the level of the window is lower, to the right it is wider.
      const [brightness, contrast] = [state.brightness - low, state.contrast - right];
      viewer.set({ brightness: clamp(brightness, -0.5, 0.5), contrast: clamp(contrast, -1, 1) });
    } else if (event.buttons & 4 || event.shiftKey) pan(1);
    else viewer.moveTo(pointed(event));
  }

  canvas.onclick = (event) => event.shiftKey || (hold(), viewer.moveTo(pointed(event)));
  canvas.ondblclick = viewer.reset;
  canvas.oncontextmenu = (event) => event.preventDefault();
  canvas.onmousedown = (event) => event.button === 1 && event.preventDefault(); // or the middle button would scroll
  canvas.onpointerdown = (event) => {
    const touch = event.pointerType === "touch";
    if (touch && !held()) return;
    hold();
    canvas.setPointerCapture(event.pointerId);
    pressed.set(event.pointerId, event);
    if (!touch) drag(event, event); // a finger may be the first of two
  };
  canvas.onpointermove = (event) => {
    const before = pressed.get(event.pointerId);
    if (before) {
      pressed.set(event.pointerId, event);
      drag(before, event);
    }
    viewer.pointAt(pointed(event));
  };
  canvas.onlostpointercapture = (event) => pressed.delete(event.pointerId);
  canvas.onpointerleave = () => viewer.pointAt({});

  let turned = 0;
  const turn = (event) => {
    if (!held() && !event.altKey) return;
    event.preventDefault();
    const by = event.deltaY / [100, 3, 1][event.deltaMode]; // a notch is about 100 pixels, 3 lines or a page
    if (event.ctrlKey || event.metaKey) return viewer.set(zoomed(state, 1.5 ** -by, placeOf(event)));
    turned += by;
    const notches = Math.trunc(turned);
    turned -= notches;
    viewer.moveTo({ [axis]: state.position[axis] - notches });
  };
  canvas.addEventListener("wheel", turn, { passive: false });
  canvas.onkeydown = (event) => {
    if (event.key === "Escape") canvas.blur();
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const steps = { ArrowLeft: [across, 1], ArrowRight: [across, -1], ArrowUp: [down, 1], ArrowDown: [down, -1] };
    const [along, by] = { ...steps, PageUp: [axis, 1], PageDown: [axis, -1] }[event.key] ?? [];
    const factor = { "+": 1.5, "=": 1.5, "-": 1 / 1.5 }[event.key];
    if (!by && !factor) return;
    event.preventDefault();
    viewer.pointAt({});
    if (factor) viewer.zoom(factor);
    else viewer.moveTo({ [along]: state.position[along] + by * (event.shiftKey ? 10 : 1) });
  };

  return { whole, canvas, wide, high, caption, paint };
}
