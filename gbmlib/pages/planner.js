// The planner in a page without a kernel: gbmlib/planner/rule.py, planning.py and words.py once more, number for
// number and word for word (a test in a browser holds them together).

const PATCH_VOXELS = 128 ** 3, BATCH = 2, STEP_PIXELS = 256 * 256 * 42, LEAST_VOXELS = 16 ** 3;
const FEATURES = 30, MOST_FEATURES = { 2: 480, 3: 320 }, MOST_POOLS = { 2: 6, 3: 5 }, LEAST_SIZE = 8;
const PART = 20, CASCADE = 4, SLACK = 1e-3, MASKED = 0.75, LARGEST = 100000, MOST_CASES = 10000000, TOLD = 4;
const AXES = "zyx";

const product = (values) => values.reduce((all, value) => all * value, 1);

// ---------------------------------------------------------------------------------------------------------- the rule

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
  return [size, pools];
}

function coarsest(spacing) {
  return [0, 1, 2].filter((axis) => spacing[axis] * (1 + SLACK) >= Math.max(...spacing));
}

function scaledTo(extent, limit) {
  const factor = (limit / product(extent)) ** (1 / extent.length);
  return extent.map((size) => Math.floor(size * factor * 1000 + 0.5) / 1000);
}

function fit(wanted, limit, most) {
  let patch = wanted.map((size) => roundUp(size, most)[0]);
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

function partOf(cases, voxels, patch) {
  const exact = (cases * voxels) / (PART * patch);
  const below = Math.floor(exact);
  if (exact - below !== 0.5) return Math.round(exact);
  return below % 2 ? below + 1 : below;
}

function coarser(shape, spacing, voxels) {
  const grids = [];
  let factors = [1, 1, 1], now = shape;
  while (product(now) > CASCADE * voxels) {
    const mm = spacing.map((step, axis) => step * factors[axis]);
    let doubled = [0, 1, 2].filter((axis) => mm[axis] * 2 <= Math.max(...mm) * (1 + SLACK));
    if (!doubled.length) doubled = [0, 1, 2];
    factors = factors.map((factor, axis) => factor * (doubled.includes(axis) ? 2 : 1));
    now = shape.map((size, axis) => Math.max(1, Math.floor((2 * size + factors[axis]) / (2 * factors[axis]))));
    grids.push({ shape: now, spacing: spacing.map((step, axis) => step * factors[axis]), doubled });
  }
  return grids;
}

// ---------------------------------------------------------------------------------------------------------- the words

const grouped = (whole) => String(whole).replace(/\B(?=(\d{3})+$)/g, ",");

function number(value, digits = 3) {
  if (Number.isInteger(value)) return grouped(value);
  const scaled = Math.floor(value * 10 ** digits + 0.5);
  const whole = Math.floor(scaled / 10 ** digits), rest = scaled - whole * 10 ** digits;
  return grouped(whole) + (rest ? "." + String(rest).padStart(digits, "0").replace(/0+$/, "") : "");
}

const sizes = (values, digits = 3) => values.map((value) => number(value, digits)).join(" x ");
const listed = (names) => [names.slice(0, -1).join(", "), names.at(-1)].filter(Boolean).join(" and ");
const times = (pools) => ["is not pooled", "pools once", "pools twice"][pools] ?? `pools ${pools} times`;
const patches = (count) => (count === 1 ? "1 patch" : `${number(count)} patches`);

function dataWords(of, masked) {
  const has = product(of.shape), limit = `${CASCADE} patches of ${number(of.voxels)}`;
  const lines = [
    `${of.cases === 1 ? "1 case" : `${number(of.cases)} cases`}, resampled to the median spacing: ` +
      `${sizes(of.spacing)} mm (z, y, x).`,
    `The median case then has ${sizes(of.shape)} voxels.`,
    has > CASCADE * of.voxels
      ? `Its ${number(has)} voxels are more than ${limit}: there is a cascade.`
      : `Its ${number(has)} voxels are not more than ${limit}: there is no cascade.`,
  ];
  if (of.kinds.includes("CT")) {
    lines.push(
      "CT has an absolute scale: it is clipped to the 0.5 and 99.5 percentiles of the foreground of all cases, and " +
        "normalised by the foreground's mean and deviation.",
      "This fingerprint does not hold the foreground's intensities; measure them before training.",
    );
  }
  if (of.kinds.includes("MR")) {
    lines.push("MR has a scale of its own in every scan: each case is normalised by its own mean and deviation.");
  }
  if (of.kept === null) {
    lines.push("How much cropping takes away was not measured, so whole images are normalised.");
  } else {
    const taken = `Cropping to what is not zero takes away ${number(100 * (1 - of.kept), 1)} % of the voxels, `;
    lines.push(
      taken +
        (masked
          ? "a quarter or more: only what is not zero is normalised, and the rest is 0."
          : "less than a quarter: whole images are normalised."),
    );
  }
  return lines;
}

function coarserWords(grids) {
  return grids.map((grid) => {
    const which = grid.doubled.length === 3 ? "all axes" : `${listed(grid.doubled.map((axis) => AXES[axis]))} alone`;
    return (
      `The spacing is doubled along ${which}, to ${sizes(grid.spacing)} mm, which leaves ${sizes(grid.shape)} = ` +
      `${number(product(grid.shape))} voxels.`
    );
  });
}

function wantedWords(of, extent, limit, scaled) {
  if (!scaled) return `The patch is to hold the whole median plane, ${sizes(of.medianShape)}.`;
  const what = of.dimensions === 2 ? "plane" : "case";
  const line =
    `The median ${what} measures ${sizes(extent, 1)} mm; in these proportions ${number(limit)} voxels are ` +
    sizes(scaled, 1);
  const same = (a, b) => a.every((value, at) => value === b[at]);
  if (same(scaled, of.wanted)) return `${line}.`;
  if (same(of.wanted, of.medianShape)) return `${line}, which is cut to the median ${what}'s ${sizes(of.wanted)}.`;
  return `${line}, which is cut to what there is: ${sizes(of.wanted, 1)}.`;
}

function roundedWords(of, most) {
  return of.along.map((axis, at) => {
    const size = of.wanted[at];
    const [whole, pools] = roundUp(size, most);
    if (size !== whole) return `${AXES[axis]}: ${number(size, 1)} rounds up to ${number(whole)}, which ${times(pools)}.`;
    if (pools) return `${AXES[axis]}: ${number(whole)} is a multiple of ${2 ** pools} and ${times(pools)}.`;
    return `${AXES[axis]}: ${number(whole)} is less than ${LEAST_SIZE} and is not pooled.`;
  });
}

function shrunkWords(of, limit) {
  const lines = of.steps.slice(1, TOLD + 1).map((after, at) => {
    const before = of.steps[at];
    const which = before.findIndex((size, axis) => size !== after[axis]);
    return (
      `${sizes(before)} = ${number(product(before))} is more than ${number(limit)}: ${AXES[of.along[which]]}, ` +
      `furthest over what was wanted, gives up ${before[which] - after[which]}, which leaves ${sizes(after)}.`
    );
  });
  const more = of.steps.length - 1 - TOLD;
  if (more > 0) lines.push(`More steps of this kind (${number(more)}) lead to ${sizes(of.patchSize)}.`);
  return lines;
}

function batchWords(of, step, fitting, part) {
  const reason = of.batchSize === Math.min(fitting, part) ? "the fewer" : "the least that a step takes";
  return (
    `A step has room for ${patches(fitting)} (${number(step)} ${of.dimensions === 2 ? "pixels" : "voxels"}), and 5 % of ` +
    `the data set are ${patches(part)}: ${number(of.batchSize)}, ${reason}.`
  );
}

function featuresWords(of, most) {
  const capped = of.features.at(-1) === most ? `, ${most} at most` : "";
  return `Feature maps double with each pooling${capped}: ${of.features.join(", ")}.`;
}

function diceWords(kind) {
  return kind === "sample"
    ? "It sees nearly whole cases: the Dice is computed for each sample, then averaged."
    : "It sees parts of cases: the Dice takes the batch for one volume.";
}

function augmentationWords(of) {
  if (of.dimensions === 2) return "Augmentation works in the plane.";
  const edges = `The longest edge, ${number(Math.max(...of.patchSize))}, is`;
  const shortest = `over twice the shortest, ${number(Math.min(...of.patchSize))}: augmentation works in`;
  if (of.sliceAxis === null) return `${edges} not ${shortest} three dimensions.`;
  return `${edges} ${shortest} the plane, slice by slice across ${AXES[of.sliceAxis]}.`;
}

// ----------------------------------------------------------------------------------------------------------- the plan

function planNetwork(name, cases, shape, spacing, along, limit, step, dice, opening) {
  const dimensions = along.length, most = MOST_POOLS[dimensions];
  const medianShape = along.map((axis) => shape[axis]);
  const extent = along.map((axis) => shape[axis] * spacing[axis]);
  const whole = dimensions === 2 && product(medianShape.map((size) => roundUp(size, most)[0])) <= limit;
  const scaled = whole ? null : scaledTo(extent, limit);
  const wanted = (scaled ?? medianShape).map((size, at) => Math.min(Math.max(size, 1), medianShape[at]));
  const steps = fit(wanted, limit, most);
  const patchSize = steps.at(-1), pools = patchSize.map((size) => poolsOf(size, most));
  const fitting = Math.floor(step / product(patchSize));
  const part = partOf(cases, product(shape), product(patchSize));
  const order = along.map((_, at) => at);
  order.sort((a, b) => patchSize[a] - patchSize[b] || spacing[along[b]] - spacing[along[a]]);
  const slices = dimensions === 3 && Math.max(...patchSize) > 2 * Math.min(...patchSize);
  const of = {
    name, dimensions, along, medianShape, spacing, wanted, steps, patchSize, pools, dice,
    axes: [...[0, 1, 2].filter((axis) => !along.includes(axis)), ...along],
    batchSize: Math.max(BATCH, Math.min(fitting, part)),
    augmentation: dimensions === 2 ? "2D" : slices ? "slices" : "3D",
    sliceAxis: slices ? order[0] : null,
    features: Array.from({ length: Math.max(...pools) + 1 }, (_, level) =>
      Math.min(FEATURES * 2 ** level, MOST_FEATURES[dimensions])),
  };
  of.why = [
    ...opening,
    wantedWords(of, extent, limit, scaled),
    ...roundedWords(of, most),
    ...shrunkWords(of, limit),
    batchWords(of, step, fitting, part),
    featuresWords(of, MOST_FEATURES[dimensions]),
    diceWords(dice),
    augmentationWords(of),
  ];
  return of;
}

function dropped(shape, spacing) {
  const largest = coarsest(spacing), single = [0, 1, 2].filter((axis) => shape[axis] === 1);
  if (single.length && !single.includes(largest[0])) {
    const axis = single[0];
    return [axis, `Slices are cut across ${AXES[axis]}, along which the median case has a single voxel.`];
  }
  const which = largest.length === 1
    ? "whose spacing is the largest"
    : "the first of the axes with the largest spacing";
  return [largest[0], `Slices are cut across ${AXES[largest[0]]}, ${which} (${sizes(spacing)} mm).`];
}

/** The plan for a data set of which the medians are known: {shape, spacing, cases, kinds, kept, voxels}. */
function makePlan(given) {
  const of = { kinds: ["MR"], kept: null, voxels: PATCH_VOXELS, ...given };
  const [across, why] = dropped(of.shape, of.spacing);
  const pixels = Math.floor((STEP_PIXELS * of.voxels) / PATCH_VOXELS);
  const grids = coarser(of.shape, of.spacing, of.voxels), low = grids.at(-1);
  const masked = of.kept !== null && of.kept <= MASKED;
  const inPlane = [0, 1, 2].filter((axis) => axis !== across);
  const spatial = [[0, 1, 2], of.voxels, BATCH * of.voxels];
  const half = Math.floor(pixels / BATCH);
  const networks = [
    planNetwork("2D", of.cases, of.shape, of.spacing, inPlane, half, pixels, "batch", [why]),
    planNetwork("3D", of.cases, of.shape, of.spacing, ...spatial, low ? "batch" : "sample", []),
  ];
  if (low) {
    const opening = coarserWords(grids);
    networks.push(planNetwork("3D low resolution", of.cases, low.shape, low.spacing, ...spatial, "sample", opening));
  }
  return { networks, masked, why: dataWords(of, masked) };
}
