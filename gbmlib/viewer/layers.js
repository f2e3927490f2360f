// What the viewer (viewer.js) makes of predicted probabilities and of maps in [0, 1]: pure, as slices.js is.
//
// A byte of a probability is `level` or more exactly where the probability reaches level / 256. So a threshold is a level,
// and what it decides is what it would have decided before the probability became bytes. A byte of a map is 255 times it.

const LEVELS = 256;

// A table of 256 bytes that is 1 for the given values, or from a level on.
const among = (values) => Uint8Array.from({ length: LEVELS }, (_, value) => values.includes(value));
const from = (level) => Uint8Array.from({ length: LEVELS }, (_, value) => value >= level);

// A slice seen through such a table.
function masked(slice, table, into) {
  for (let i = 0; i < into.length; i++) into[i] = table[slice[i]];
  return into;
}

// For each level, how many voxels of the whole case reach it, and how many of these are in the region; `truth` may be
// missing. `outside` holds [level, voxels] of what lies beyond the pictures, where there is no truth.
function tally(volume, truth, inRegion, outside) {
  const [reached, hits] = [new Array(LEVELS + 1).fill(0), new Array(LEVELS + 1).fill(0)];
  for (let i = 0; i < volume.length; i++) {
    reached[volume[i]]++;
    if (truth && inRegion[truth[i]]) hits[volume[i]]++;
  }
  for (const [level, voxels] of outside) reached[level] += voxels;
  for (let level = LEVELS - 1; level >= 0; level--) {
    reached[level] += reached[level + 1];
    hits[level] += hits[level + 1];
  }
  return { reached, hits };
}

// Dice, precision and recall of the whole case at a level; where a mask is empty, by the rule of gbmlib.evaluation.metrics.
function scores({ reached, hits }, level) {
  const tp = hits[level];
  const [extra, missed] = [reached[level] - tp, hits[0] - tp];
  const ratio = (over, under) => (under ? over / under : Number(tp + extra + missed === 0));
  return {
    Dice: ratio(2 * tp, 2 * tp + extra + missed),
    Precision: ratio(tp, tp + extra),
    Recall: ratio(tp, tp + missed),
  };
}

// The pixels of a map's bytes: its colours run from 0, which is see-through, to `top`. `palette` is 256 colours of six
// hexadecimal digits.
function shades(palette, top) {
  return Uint32Array.from({ length: LEVELS }, (_, value) => {
    const at = Math.min(255, Math.round(value / top)) * 6;
    const channel = (offset) => parseInt(palette.slice(at + offset, at + offset + 2), 16);
    return value ? pixel(channel(0), channel(2), channel(4)) : 0;
  });
}

// The same colours from left to right, for a legend.
function ramp(palette, stops = 16) {
  const at = (stop) => Math.round((255 * stop) / stops) * 6;
  const colours = Array.from({ length: stops + 1 }, (_, stop) => "#" + palette.slice(at(stop), at(stop) + 6));
  return `linear-gradient(to right, ${colours.join(", ")})`;
}

// Where the colours of maps end to begin with: at the largest byte of all, in tenths, so that faint maps are seen.
function largest(volumes) {
  let most = 0;
  for (const volume of volumes) for (const value of volume) if (value > most) most = value;
  return Math.max(0.1, Math.ceil((10 * most) / 255 - 1e-9) / 10);
}
