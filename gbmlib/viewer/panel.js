// What stands around the pictures of the viewer (viewer.js): its head, the read-out, the legend, and the controls.

const STYLES = { off: "off", outline: "outline", fill: "fill" };
const DIFFERENCES = ["#CC79A7", "#009E73", "#E69F00"].map((colour, i) => ({ value: i + 1, colour }));
const HELP =
  "Click to hold a picture: wheel or arrows move, Ctrl + wheel zooms, Shift + drag pans, right drag sets brightness and " +
  "contrast, double click resets.";
const TOUCH = "Tap to hold a picture: then one finger moves the crosshair, two zoom and pan.";
const MORE =
  "Esc lets go. Page Up and Page Down change the slice, + and − zoom; with Alt the wheel needs no click. " +
  "Radiological convention: the patient’s left (L) is on the right of the picture.";
const NONE = "none"; // of the maps
const AT_THRESHOLD = "at the threshold";
const middle = (byte) => (byte + 0.5) / LEVELS; // of the probabilities that share a byte
const same = (names) => Object.fromEntries(names.map((name) => [name, name]));

// Returns the head, what comes below the pictures, and what brings both up to date: all of it, or the read-out alone.
function panel(viewer) {
  const { root, spec, state, volumes, set } = viewer;
  const { sprites, images, overlays, classes, probabilities, maps, panels, turns } = spec;
  const nameOf = Object.fromEntries(classes.map(({ value, name }) => [value, name]));
  const layers = [...overlays.map(({ name }) => name), ...(probabilities.length ? [AT_THRESHOLD] : [])];
  const decided = overlays.length; // its place among the layers

  function update() {
    for (const name in amounts) amounts[name].value = state[name];
    check(modality, state.modality);
    key();
    tell();
    if (volumes.ready && probabilities.length) judge();
  }

  // ---- what is said

  const isPanel = (i) => panels.some(({ overlay }) => overlay === i);
  const isTurn = (i) => turns.some(({ overlay }) => overlay === i);
  const isCompared = (i) => state.differ && state.pair.includes(i);
  const isSeen = (i) => i === spec.truth || state.styles[i] !== "off" || isPanel(i) || isCompared(i);

  // The voxel under the pointer, or else under the crosshair.
  function tell() {
    if (!volumes.ready) return;
    const voxel = state.position.map((index, axis) => state.pointed[axis] ?? index);
    const at = (volume) => byteAt(volume, sprites, voxel);
    const image = images.find(({ name }) => name === state.modality);
    const share = (byte, of) => (byte === undefined ? "–" : of(byte).toFixed(2));
    const classAt = (value) => (value ? [swatch(viewer.tables.lines[value]), nameOf[value]] : ["–"]);
    readout.replaceChildren(
      part("voxel (z, y, x)", voxel.join(", ")),
      part("mm (z, y, x)", voxel.map((index, axis) => (index * spec.spacing[axis]).toFixed(1)).join(", ")),
      part(image.title, valueOf(image, at(volumes.images[image.name]) ?? 0)),
      ...overlays.flatMap(({ name }, i) => (isSeen(i) ? [part(name, ...classAt(at(volumes.overlays[i])))] : [])),
      ...probabilities
        .filter(({ name }) => name === state.region)
        .map(({ name }) => part("probability of " + name, share(at(volumes.probabilities[name]), middle))),
      ...maps.map(({ name }) => part(name, share(at(volumes.maps[name]), (byte) => byte / 255))),
    );
  }

  // The slider of the threshold and the figures beside it.
  function judge() {
    const [counts, level] = [viewer.counts(), viewer.level()];
    const measured = spec.truth === null ? [] : Object.entries(scores(counts, level));
    const millilitres = (counts.reached[level] * spec.spacing.reduce((one, other) => one * other)) / 1000;
    const found = measured.map(([name, value]) => [name, value.toFixed(3)]);
    const figures = [["Threshold", state.threshold.toFixed(3)], ...found, ["Volume", millilitres.toFixed(1) + " ml"]];
    verdict.replaceChildren(...figures.map(([name, value]) => part(name, value)));
    threshold.value = state.threshold;
    threshold.setAttribute("aria-valuetext", figures.map((figure) => figure.join(" ")).join(", "));
    check(region, state.region);
  }

  function key() {
    const of = (i) => (panels.length && i ? "this prediction" : layers[state.pair[i]]);
    const [missed, extra] = state.pair[0] === spec.truth ? ["missed: ", "extra: "] : ["", ""];
    const kinds = [`${missed}${of(0)} only`, `${extra}${of(1)} only`, "another class"];
    const differences = DIFFERENCES.map(({ colour }, i) => ({ colour, name: kinds[i] }));
    if (state.pair.includes(decided)) differences.pop(); // of a region there is one class
    const reached = probabilities.length ? [{ name: `${state.region}, ${AT_THRESHOLD}`, colour: spec.colour }] : [];
    const shown = state.differ ? differences : [...(overlays.length ? classes : []), ...reached];
    const entries = shown.map(({ name, colour }) => element("span", {}, swatch(colour), name));
    legend.replaceChildren(...entries, ...(state.map === NONE ? [] : [scale()]));
  }

  function scale() {
    const [ends, style] = [state.mapTop.toFixed(2), `background: ${ramp(spec.palette)}`];
    const words = `Colours of the map ${state.map}: dark is 0, bright is ${ends} and more`;
    const bar = element("span", { class: "gbm-ramp", role: "img", "aria-label": words, style });
    return element("span", { class: "gbm-scale" }, state.map, " 0", bar, ends);
  }

  // ---- the controls

  function styleOf({ name, dice }, i) {
    const style = (value) => set({ styles: state.styles.map((old, j) => (j === i ? value : old)) });
    const title = "of all labels together, in the whole case";
    const measured = dice === null ? [] : [element("small", { title }, "Dice " + dice.toFixed(2))];
    return picked(name, select(name, STYLES, state.styles[i], style), ...measured);
  }

  // Where two layers differ: a switch and, once it is on, which two. Beside others, a picture shows its own.
  function differControls() {
    const which = (i) => (value) => set({ pair: state.pair.map((old, j) => (j === i ? Number(value) : old)) });
    const names = Object.fromEntries(layers.entries());
    const chosen = ["The one", "The other"].map((label, i) => select(label, names, state.pair[i], which(i)));
    const words = panels.length ? ["from", chosen[0]] : [chosen[0], "and", chosen[1]];
    const two = element("span", { class: "gbm-switch" }, ...words);
    two.hidden = true;
    const differ = element("input", { type: "checkbox" });
    differ.onchange = () => (set({ differ: differ.checked }), (two.hidden = !differ.checked));
    return [element("label", { class: "gbm-switch" }, differ, element("span", {}, "Show where they differ")), two];
  }

  function switches() {
    const reached = () => select(AT_THRESHOLD, STYLES, state.decided, (decided) => set({ decided }));
    const map = () => select("Map", same([NONE, ...maps.map(({ name }) => name)]), state.map, (map) => set({ map }));
    return [
      ...overlays.map(styleOf).filter((_, i) => !isPanel(i) && !isTurn(i)),
      ...(probabilities.length ? [picked(AT_THRESHOLD, reached())] : []),
      ...(layers.length > 1 ? differControls() : []),
      ...(maps.length ? [picked("Map", map())] : []),
    ];
  }

  // The slider that goes through the label maps which are shown in turn, and what is said of the one that is.
  function turnControls() {
    const said = element("output", { class: "gbm-figures gbm-verdict" });
    const show = (at) => {
      const { name, note, overlay } = turns[at];
      const styles = state.styles.map((style, i) => (isTurn(i) ? (i === overlay ? "fill" : "off") : style));
      set({ styles, pair: state.pair.map((i) => (isTurn(i) ? overlay : i)) });
      said.replaceChildren(part(name, note));
      through.setAttribute("aria-valuetext", `${name} ${note}`);
    };
    const last = turns.length - 1;
    const through = slider("Step", { min: 0, max: last, step: 1, value: last }, show);
    show(last);
    return element("div", { class: "gbm-threshold" }, row(`${turns[0].name} to ${turns[last].name}`, through), said);
  }

  // The slider that moves the threshold, and what it decides.
  function thresholdControls() {
    const back = button("Back to 0.5", () => viewer.decide({ threshold: 0.5 }, true));
    const controls = element("div", { class: "gbm-threshold" }, row("Threshold", threshold), back, verdict);
    if (probabilities.length > 1) controls.prepend(row("Region", region));
    return controls;
  }

  function more() {
    const rows = [
      ...overlays.map(styleOf).filter((_, i) => isPanel(i)),
      ...(layers.length ? [row("Fill opacity", amounts.opacity)] : []),
      ...(maps.length ? [row("Map opacity", amounts.mapOpacity), row("Colours end at", amounts.mapTop)] : []),
      row("Brightness", amounts.brightness),
      row("Contrast", amounts.contrast),
    ];
    const hint = element("p", { class: "gbm-hint" }, MORE);
    return element("details", { class: "gbm-more" }, element("summary", {}, "More"), element("div", {}, ...rows), hint);
  }

  function tools() {
    const whole = () => (document.fullscreenElement === root ? document.exitFullscreen() : root.requestFullscreen());
    return element(
      "div",
      { class: "gbm-tools" },
      button("−", () => viewer.zoom(1 / 1.5), "Zoom out"),
      button("+", () => viewer.zoom(1.5), "Zoom in"),
      button("Reset", viewer.reset),
      ...(document.fullscreenEnabled ? [button("Full screen", whole)] : []),
    );
  }

  const amount = (label, name, min, max, step = 0.01) =>
    slider(label, { min, max, step, value: state[name] }, (value) => set({ [name]: value }));
  const amounts = {
    opacity: amount("Fill opacity", "opacity", 0, 1),
    mapOpacity: amount("Map opacity", "mapOpacity", 0, 1),
    mapTop: amount("Colours end at", "mapTop", 0.05, 1, 0.05),
    brightness: amount("Brightness", "brightness", -0.5, 0.5),
    contrast: amount("Contrast", "contrast", -1, 1),
  };
  const titles = Object.fromEntries(images.map(({ name, title }) => [name, title]));
  const modality = choice("Modality", titles, state.modality, (name) => viewer.choose(name, true));
  const names = same(probabilities.map(({ name }) => name));
  const region = choice("Region", names, state.region, (region) => viewer.decide({ region }, true));
  const levels = { min: 1 / LEVELS, max: 1 - 1 / LEVELS, step: 1 / LEVELS, value: state.threshold };
  const threshold = slider("Threshold", levels, (threshold) => viewer.decide({ threshold }, true));
  const verdict = element("output", { class: "gbm-figures gbm-verdict" });
  const readout = element("output", { class: "gbm-figures gbm-readout" });
  const legend = element("div", { class: "gbm-legend" });
  const help = element("p", { class: "gbm-hint" }, matchMedia("(pointer: coarse)").matches ? TOUCH : HELP);
  const head = element("div", { class: "gbm-head" }, element("strong", {}, spec.title), modality, tools());
  const controls = element("div", { class: "gbm-controls" }, ...switches());
  const sliders = [...(turns.length ? [turnControls()] : []), ...(probabilities.length ? [thresholdControls()] : [])];
  const below = [...sliders, readout, legend, controls, help, more()];
  return { head, below, update, tell };
}
