// The form "plan your own data set": reads what the reader enters and shows what planner.js makes of it. No library, no
// request, no kernel: it works from a file and offline.

const BUDGETS = [32, 48, 64, 96, 128, 160, 192];
const KINDS = { MR: ["MR"], CT: ["CT"], both: ["CT", "MR"] };
const DIRECTIONS = ["z", "y", "x"];

function node(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) if (value !== null) made.setAttribute(name, value);
  made.append(...children);
  return made;
}

/** What the fields hold, and what is wrong with it. */
function entered(fields) {
  const problems = [];
  const read = (field, what, right, says) => {
    const text = field.value.trim().replace(",", ".");
    const value = text === "" ? NaN : Number(text);
    const fine = right(value);
    field.setAttribute("aria-invalid", String(!fine));
    if (!fine) problems.push(`${what} takes ${says}, not "${field.value}".`);
    return value;
  };
  const whole = (most) => (value) => Number.isInteger(value) && value >= 1 && value <= most;
  const of = {
    shape: fields.shape.map((field, axis) =>
      read(field, `Voxels along ${AXES[axis]}`, whole(LARGEST), `a whole number from 1 to ${number(LARGEST)}`)),
    spacing: fields.spacing.map((field, axis) =>
      read(field, `Spacing along ${AXES[axis]}`, (value) => value >= 1e-6 && value <= 1e6, "millimetres over 0")),
    cases: read(fields.cases, "Number of cases", whole(MOST_CASES), "a whole number from 1"),
    kinds: KINDS[fields.kinds.value],
    kept: null,
    voxels: Number(fields.budget.value) ** 3,
  };
  if (product(of.shape) === 1) problems.push("The median case is a single voxel, of which no network can be normalised.");
  fields.cropped.setAttribute("aria-invalid", "false");
  if (fields.cropped.value.trim() !== "") {
    const says = "a percentage from 0 to under 100, or nothing";
    of.kept = 1 - read(fields.cropped, "Cropped away", (value) => value >= 0 && value < 100, says) / 100;
  }
  return { of, problems };
}

/** The plan as a table, a row a network, and the reasons below it. */
function shown({ networks, why }) {
  const heads = ["", "median shape", "patch", "batch", "pools", "Dice", "augmentation"];
  const dice = { sample: "each sample", batch: "whole batch" }, augmentation = { slices: "slice by slice" };
  const rows = networks.map((of) => node("tr", {},
    node("th", { scope: "row" }, of.name),
    ...[sizes(of.medianShape), sizes(of.patchSize), number(of.batchSize), of.pools.join(", "), dice[of.dice],
      augmentation[of.augmentation] ?? of.augmentation].map((text) => node("td", {}, text))));
  const list = (lines) => node("ul", {}, ...lines.map((line) => node("li", {}, line)));
  return [
    node("div", { class: "gbm-plan-table", tabindex: 0, role: "region", "aria-label": "The plan" }, node("table", {},
      node("thead", {}, node("tr", {}, ...heads.map((head) => head ? node("th", { scope: "col" }, head) : node("td")))),
      node("tbody", {}, ...rows))),
    node("p", {}, node("strong", {}, "Why")),
    list(why),
    ...networks.map((of) => node("details", {}, node("summary", {}, of.name), list(of.why))),
  ];
}

function mount(root, { presets }) {
  let numbers = 0;
  const labelled = (text, field) => {
    field.id = `gbm-planner-${Date.now().toString(36)}-${Math.floor(Math.random() * 1e9)}-${(numbers += 1)}`;
    return node("div", {}, node("label", { for: field.id }, text), field);
  };
  const input = (mode) => node("input", { type: "text", inputmode: mode, autocomplete: "off" });
  const select = (...options) => node("select", {}, ...options.map(([value, text]) => node("option", { value }, text)));
  const fields = {
    preset: select(["", "your own"], ...presets.map((preset, at) => [String(at), preset.name])),
    shape: DIRECTIONS.map(() => input("numeric")),
    spacing: DIRECTIONS.map(() => input("decimal")),
    cases: input("numeric"),
    kinds: select(["MR", "MR or other"], ["CT", "CT"], ["both", "CT and others"]),
    cropped: input("decimal"),
    budget: select(...BUDGETS.map((edge) => [String(edge), `${edge} x ${edge} x ${edge}${edge === 128 ? " (paper)" : ""}`])),
  };
  const result = node("div", { class: "gbm-plan", "aria-live": "polite" });
  const update = () => {
    const { of, problems } = entered(fields);
    if (problems.length) {
      result.replaceChildren(node("ul", { class: "gbm-plan-problems" }, ...problems.map((line) => node("li", {}, line))));
      return;
    }
    const open = result.firstChild === null ? ["3D"] : [...result.querySelectorAll("details[open] > summary")]
      .map((summary) => summary.textContent);
    result.replaceChildren(...shown(makePlan(of)));
    for (const part of result.querySelectorAll("details")) {
      part.open = open.includes(part.querySelector("summary").textContent);
    }
  };
  const fill = (preset) => {
    preset.shape.forEach((size, axis) => (fields.shape[axis].value = size));
    preset.spacing.forEach((step, axis) => (fields.spacing[axis].value = step));
    fields.cases.value = preset.cases;
    fields.kinds.value = preset.kinds.length === 1 ? preset.kinds[0] : "both";
    fields.cropped.value = preset.kept === null ? "" : Number((100 * (1 - preset.kept)).toFixed(2));
  };
  const three = (name, several, unit) => node("fieldset", {}, node("legend", {}, `${name} (${unit})`),
    ...several.map((field, axis) => labelled(DIRECTIONS[axis], field)));

  const form = node("form", { class: "gbm-planner-form" },
    labelled("start from", fields.preset),
    three("median shape after cropping", fields.shape, "voxels"),
    three("median spacing", fields.spacing, "mm"),
    labelled("training cases", fields.cases),
    labelled("images", fields.kinds),
    labelled("cropped away (%, if known)", fields.cropped),
    labelled("voxels of a 3D patch, at most", fields.budget));
  form.addEventListener("submit", (event) => event.preventDefault());
  form.addEventListener("input", ({ target }) => {
    if (target === fields.preset) {
      if (target.value !== "") fill(presets[Number(target.value)]);
    } else if (target !== fields.budget) {
      fields.preset.value = "";
    }
    update();
  });
  fields.budget.value = "128";
  fields.preset.value = "0";
  fill(presets[0]);
  root.replaceChildren(form, result);
  update();
  root.dataset.ready = "true";
}

function mountAll() {
  for (const data of document.querySelectorAll("script.gbm-planner-data")) {
    mount(data.parentElement, JSON.parse(data.textContent));
  }
}
