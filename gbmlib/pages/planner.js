// "Plan your own data set": a form that computes a plan in the page, without a kernel, a library or a request.
// The first half is gbmlib/planner/rule.py and planning.py once more; a test in a browser holds the numbers together.
// The reasons in words are Python's alone: below its table the form shows the call that prints them.

const PATCH_VOXELS = 128 ** 3, BATCH = 2, STEP_PIXELS = 256 * 256 * 42;
const FEATURES = 30, MOST_FEATURES = { 2: 480, 3: 320 }, MOST_POOLS = { 2: 6, 3: 5 }, LEAST_SIZE = 8;
const STEPS_OF_THE_DATA = 20, CASCADE_PATCHES = 4, TOLERANCE = 1e-3, MASKED = 0.75;

const product = (values) => values.reduce((all, value) => all * value, 1);

function poolsOf(size, most) {
  let count = 0;
  for (; size >= LEAST_SIZE && count < most; size /= 2) count += 1;
  return count;
}

function roundUp(size, most) {
  let pools = -1;
  while (pools !== poolsOf(size, most)) {
    pools = poolsOf(size, most);
    size = Math.ceil(size / 2 ** pools) * 2 ** pools;
  }
  return size;
}

function scaled(extent, limit) {
  const factor = (limit / product(extent)) ** (1 / extent.length);
  return extent.map((size) => Math.floor(size * factor * 1000 + 0.5) / 1000);
}

function fit(wanted, limit, most) {
  let patch = wanted.map((size) => roundUp(size, most));
  const steps = [patch];
  while (product(patch) > limit) {
    let furthest = -1;
    patch.forEach((size, axis) => {
      if (size > 1 && (furthest < 0 || size - wanted[axis] >= patch[furthest] - wanted[furthest])) furthest = axis;
    });
    patch = patch.map((size, axis) => (axis === furthest ? size - 2 ** poolsOf(size, most) : size));
    steps.push(patch);
  }
  return steps;
}

function fivePercent(cases, voxels, patch) {
  const exact = (cases * voxels) / (STEPS_OF_THE_DATA * patch), below = Math.floor(exact);
  return exact - below === 0.5 ? below + (below % 2) : Math.round(exact);
}

function lowResolution(shape, spacing, voxels) {
  let factors = [1, 1, 1], now = shape;
  while (product(now) > CASCADE_PATCHES * voxels) {
    const mm = spacing.map((step, axis) => step * factors[axis]);
    const finer = mm.map((step) => step * 2 <= Math.max(...mm) * (1 + TOLERANCE));
    factors = factors.map((factor, axis) => (finer[axis] || !finer.includes(true) ? factor * 2 : factor));
    now = shape.map((size, axis) => Math.max(1, Math.floor((2 * size + factors[axis]) / (2 * factors[axis]))));
  }
  return now === shape ? null : { shape: now, spacing: spacing.map((step, axis) => step * factors[axis]) };
}

function dropped(shape, spacing) {
  const largest = spacing.findIndex((step) => step * (1 + TOLERANCE) >= Math.max(...spacing));
  return shape[largest] !== 1 && shape.includes(1) ? shape.indexOf(1) : largest;
}

function planNetwork(name, cases, { shape, spacing }, along, step, dice) {
  const dimensions = along.length, most = MOST_POOLS[dimensions], limit = Math.floor(step / BATCH);
  const medianShape = along.map((axis) => shape[axis]);
  const whole = dimensions === 2 && product(medianShape.map((size) => roundUp(size, most))) <= limit;
  const size = whole ? medianShape : scaled(along.map((axis) => shape[axis] * spacing[axis]), limit);
  const wanted = size.map((value, at) => Math.min(Math.max(value, 1), medianShape[at]));
  const steps = fit(wanted, limit, most), patchSize = steps.at(-1);
  const pools = patchSize.map((value) => poolsOf(value, most));
  const share = fivePercent(cases, product(shape), product(patchSize));
  const order = along.map((_, at) => at);
  order.sort((a, b) => patchSize[a] - patchSize[b] || spacing[along[b]] - spacing[along[a]]);
  const slices = dimensions === 3 && Math.max(...patchSize) > 2 * Math.min(...patchSize);
  return {
    name, medianShape, spacing, wanted, steps, patchSize, pools, dice,
    axes: [...[0, 1, 2].filter((axis) => !along.includes(axis)), ...along],
    batchSize: Math.max(BATCH, Math.min(Math.floor(step / product(patchSize)), share)),
    augmentation: dimensions === 2 ? "2D" : slices ? "slices" : "3D",
    sliceAxis: slices ? order[0] : null,
    features: Array.from({ length: Math.max(...pools) + 1 }, (_, level) =>
      Math.min(FEATURES * 2 ** level, MOST_FEATURES[dimensions])),
  };
}

/** The plan for a data set of which the medians are known: {shape, spacing, cases, kept, voxels}. */
function makePlan({ shape, spacing, cases, kept, voxels }) {
  const across = dropped(shape, spacing), low = lowResolution(shape, spacing, voxels);
  const pixels = Math.floor((STEP_PIXELS * voxels) / PATCH_VOXELS), all = [0, 1, 2];
  const networks = [
    planNetwork("2D", cases, { shape, spacing }, all.filter((axis) => axis !== across), pixels, "batch"),
    planNetwork("3D", cases, { shape, spacing }, all, BATCH * voxels, low ? "batch" : "sample"),
  ];
  if (low) networks.push(planNetwork("3D low resolution", cases, low, all, BATCH * voxels, "sample"));
  return { networks, masked: kept !== null && kept <= MASKED };
}

// ----------------------------------------------------------------------------------------------------------- the form

const BUDGETS = [32, 48, 64, 96, 128, 160, 192], LARGEST = 100000, MOST_CASES = 10000000, SHOWN_STEPS = 4;
const KINDS = { MR: ["MR"], CT: ["CT"], both: ["CT", "MR"] }, AXES = ["z", "y", "x"];

const number = (value) => value.toLocaleString("en-US", { maximumFractionDigits: 1 });
const sizes = (values) => values.map(number).join(" x ");

function node(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  element.append(...children);
  return element;
}

/** What the fields hold, and what is wrong with it. */
function entered(fields) {
  const problems = [];
  const read = (field, what, right, says) => {
    const text = field.value.trim().replace(",", ".");
    const value = text === "" ? NaN : Number(text);
    field.setAttribute("aria-invalid", String(!right(value)));
    if (!right(value)) problems.push(`${what} takes ${says}, not "${field.value}".`);
    return value;
  };
  const whole = (most) => (value) => Number.isInteger(value) && value >= 1 && value <= most;
  const data = {
    shape: fields.shape.map((field, axis) =>
      read(field, `Voxels along ${AXES[axis]}`, whole(LARGEST), `a whole number from 1 to ${number(LARGEST)}`)),
    spacing: fields.spacing.map((field, axis) =>
      read(field, `Spacing along ${AXES[axis]}`, (value) => value >= 1e-6 && value <= 1e6, "millimetres over 0")),
    cases: read(fields.cases, "Number of cases", whole(MOST_CASES), "a whole number from 1"),
    kinds: KINDS[fields.kinds.value],
    kept: null,
    edge: Number(fields.budget.value),
  };
  if (product(data.shape) === 1) problems.push("The median case is a single voxel, of which no network can be normalised.");
  fields.cropped.setAttribute("aria-invalid", "false");
  if (fields.cropped.value.trim() !== "") {
    const says = "a percentage from 0 to under 100, or nothing";
    data.kept = 1 - read(fields.cropped, "Cropped away", (value) => value >= 0 && value < 100, says) / 100;
  }
  return { data, problems };
}

/** The call that prints the reasons of a plan. */
function call({ shape, spacing, cases, kinds, kept, edge }) {
  const known = [`[(${shape.join(", ")})]`, `[(${spacing.join(", ")})]`, `cases=${cases}`];
  if (kinds.join() !== "MR") known.push(`kinds=(${kinds.map((kind) => `"${kind}",`).join(" ")})`);
  if (kept !== null) known.push(`kept=${Number(kept.toFixed(6))}`);
  return `print(planner.plan(planner.Fingerprint(${known.join(", ")}), voxels=${edge}**3).explain())`;
}

/** The plan as a table, a row a network, and the call that explains it. */
function shown({ networks, masked }, data) {
  const heads = ["", "median shape", "patch", "batch", "pools", "Dice", "augmentation", "normalised over", "feature maps",
    "wanted → rounded up → within the budget"];
  const dice = { sample: "each sample", batch: "whole batch" };
  const rows = networks.map((network) => {
    const steps = network.steps.length > SHOWN_STEPS + 1
      ? [...network.steps.slice(0, SHOWN_STEPS).map(sizes), "…", sizes(network.patchSize)] : network.steps.map(sizes);
    const cells = [sizes(network.medianShape), sizes(network.patchSize), number(network.batchSize),
      network.pools.join(", "), dice[network.dice], network.augmentation === "slices" ? "slice by slice"
        : network.augmentation, masked ? "non-zero voxels" : "whole images", network.features.join(", "),
      [sizes(network.wanted), ...steps].join(" → ")];
    return node("tr", {}, node("th", { scope: "row" }, network.name), ...cells.map((text) => node("td", {}, text)));
  });
  const head = heads.map((text) => (text ? node("th", { scope: "col" }, text) : node("td")));
  return [
    node("div", { class: "gbm-plan-table", tabindex: 0, role: "region", "aria-label": "The plan" }, node("table", {},
      node("thead", {}, node("tr", {}, ...head)), node("tbody", {}, ...rows))),
    node("p", {}, "The reason of each choice, in words: ", node("code", {}, call(data))),
  ];
}

function mount(root, { presets }) {
  const labelled = (text, field) => {
    field.id = `gbm-planner-${Math.random().toString(36).slice(2)}`;
    return node("div", {}, node("label", { for: field.id }, text), field);
  };
  const input = (mode) => node("input", { type: "text", inputmode: mode, autocomplete: "off" });
  const select = (...options) => node("select", {}, ...options.map(([value, text]) => node("option", { value }, text)));
  const group = (name, inputs, unit) => node("fieldset", {}, node("legend", {}, `${name} (${unit})`),
    ...inputs.map((field, axis) => labelled(AXES[axis], field)));
  const fields = {
    preset: select(["", "your own"], ...presets.map((preset, at) => [String(at), preset.name])),
    shape: AXES.map(() => input("numeric")),
    spacing: AXES.map(() => input("decimal")),
    cases: input("numeric"),
    kinds: select(["MR", "MR or other"], ["CT", "CT"], ["both", "CT and others"]),
    cropped: input("decimal"),
    budget: select(...BUDGETS.map((edge) => [String(edge), `${edge} x ${edge} x ${edge}${edge === 128 ? " (paper)" : ""}`])),
  };
  const result = node("div", { class: "gbm-plan", "aria-live": "polite" });
  const update = () => {
    const { data, problems } = entered(fields);
    const list = node("ul", { class: "gbm-plan-problems" }, ...problems.map((line) => node("li", {}, line)));
    result.replaceChildren(...(problems.length ? [list] : shown(makePlan({ ...data, voxels: data.edge ** 3 }), data)));
  };
  const fill = (preset) => {
    preset.shape.forEach((size, axis) => (fields.shape[axis].value = size));
    preset.spacing.forEach((step, axis) => (fields.spacing[axis].value = step));
    fields.cases.value = preset.cases;
    fields.kinds.value = preset.kinds.length === 1 ? preset.kinds[0] : "both";
    fields.cropped.value = preset.kept === null ? "" : Number((100 * (1 - preset.kept)).toFixed(2));
  };
  const form = node("form", {},
    labelled("start from", fields.preset),
    group("median shape after cropping", fields.shape, "voxels"),
    group("median spacing", fields.spacing, "mm"),
    labelled("training cases", fields.cases),
    labelled("images", fields.kinds),
    labelled("cropped away (%, if known)", fields.cropped),
    labelled("voxels of a 3D patch, at most", fields.budget));
  form.addEventListener("submit", (event) => event.preventDefault());
  form.addEventListener("input", ({ target }) => {
    if (target === fields.preset && target.value !== "") fill(presets[Number(target.value)]);
    if (target !== fields.preset && target !== fields.budget) fields.preset.value = "";
    update();
  });
  fields.budget.value = "128";
  fields.preset.value = "0";
  fill(presets[0]);
  root.replaceChildren(form, result);
  update();
}
