// Slices of volumes, decoded and drawn: the pure part of the viewer (viewer.js), which Python puts before it.
//
// Triples are in the order of the volumes, (z, y, x), and indices grow towards the patient's head, face and right side.
// Every picture has the high index at its left and at its top: so the patient's right is on the left of the picture, as
// radiologists look at it.

const clamp = (value, low, high) => Math.min(Math.max(value, low), high);

// ---------------------------------------------------------------------------------------------------------- the data

// A volume (z, y, x) from its sheets, PNG images that each hold a grid of slices. The checksum finds out a browser that
// alters what is read back from a canvas, as some do against fingerprinting: no label may be off by one.
async function readVolume({ sheets, checksum }, { size: [depth, rows, columns], across, perSheet }) {
  const volume = new Uint8Array(depth * rows * columns);
  for (const [number, sheet] of sheets.entries()) {
    const { pixels, width } = await readPixels("data:image/png;base64," + sheet);
    const first = number * perSheet;
    for (let slice = first; slice < Math.min(first + perSheet, depth); slice++) {
      const left = ((slice - first) % across) * columns;
      const top = Math.floor((slice - first) / across) * rows;
      let to = slice * rows * columns;
      for (let row = 0; row < rows; row++) {
        let from = ((top + row) * width + left) * 4;
        for (let column = 0; column < columns; column++, from += 4) volume[to++] = pixels[from];
      }
    }
  }
  let sum = 0;
  for (let i = 0; i < volume.length; i++) sum = (sum + volume[i] * ((i % 65521) + 1)) >>> 0;
  if (sum !== checksum) throw new Error("this browser alters image data, perhaps as a guard against fingerprinting");
  return volume;
}

async function readPixels(source) {
  const image = Object.assign(new Image(), { src: source });
  await image.decode();
  const { naturalWidth: width, naturalHeight: height } = image;
  const canvas = Object.assign(document.createElement("canvas"), { width, height });
  const context = canvas.getContext("2d", { willReadFrequently: true });
  context.drawImage(image, 0, 0);
  return { pixels: context.getImageData(0, 0, width, height).data, width };
}

// The value behind a byte of an image, in the image's own units, as exactly as 254 steps tell it.
function valueOf({ low, high, minimum, maximum }, byte) {
  if (byte === 0) return "0";
  const size = (high - low) / 254;
  const digits = size > 0 ? clamp(Math.ceil(-Math.log10(size)), 0, 12) : 3;
  const beyond = byte === 1 && minimum < low ? "≤ " : byte === 255 && maximum > high ? "≥ " : "";
  return beyond + (low + (byte - 1) * size).toFixed(digits);
}

// The byte of a volume at a voxel of the case; only empty space is left out of the images.
function byteAt(volume, { start, size }, voxel) {
  const at = voxel.map((index, axis) => index - start[axis]);
  const inside = at.every((index, axis) => index >= 0 && index < size[axis]);
  return inside ? volume[(at[0] * size[1] + at[1]) * size[2] + at[2]] : undefined;
}

// One slice in the order of the picture: row by row from the top, the high index first.
function cut(volume, size, { axis, across, down }, index, into) {
  if (index < 0 || index >= size[axis]) return into.fill(0);
  const strides = [size[1] * size[2], size[2], 1];
  let to = 0;
  for (let row = size[down] - 1; row >= 0; row--) {
    let from = index * strides[axis] + row * strides[down] + (size[across] - 1) * strides[across];
    for (let column = 0; column < size[across]; column++, from -= strides[across]) into[to++] = volume[from];
  }
  return into;
}

// Where two label slices differ, by kind: 1 missed, 2 extra, 3 labelled in both but not alike.
function compare(truth, prediction, into) {
  for (let i = 0; i < into.length; i++) {
    if (truth[i] === prediction[i]) into[i] = 0;
    else into[i] = !prediction[i] ? 1 : !truth[i] ? 2 : 3;
  }
  return into;
}

// The closed contours of each class of a label slice along the borders of its voxels: [{value, corners}], a corner as
// [column, row]. They are walked with the class on the right-hand side (rows grow downwards).
function contours(labels, columns, rows) {
  const width = columns + 1;
  const edges = new Map(); // a corner and a class: the corners to which an edge leads
  const add = (value, from, to) => {
    const key = from * 256 + value;
    if (edges.has(key)) edges.get(key).push(to);
    else edges.set(key, [to]);
  };
  for (let row = 0, i = 0; row < rows; row++) {
    for (let column = 0; column < columns; column++, i++) {
      const value = labels[i];
      if (!value) continue;
      const corner = row * width + column;
      if (row === 0 || labels[i - columns] !== value) add(value, corner, corner + 1);
      if (column === columns - 1 || labels[i + 1] !== value) add(value, corner + 1, corner + 1 + width);
      if (row === rows - 1 || labels[i + columns] !== value) add(value, corner + 1 + width, corner + width);
      if (column === 0 || labels[i - 1] !== value) add(value, corner + width, corner);
    }
  }
  const found = [];
  for (const [key, ends] of edges) {
    while (ends.length) {
      const value = key % 256;
      const loop = [Math.floor(key / 256)];
      for (let end = ends.pop(); end !== loop[0]; end = edges.get(end * 256 + value).pop()) loop.push(end);
      const turns = loop.filter((at, i) => at - loop.at(i - 1) !== loop[(i + 1) % loop.length] - at);
      found.push({ value, corners: turns.map((at) => [at % width, Math.floor(at / width)]) });
    }
  }
  return found;
}

// ------------------------------------------------------------------------------------------------------ the pictures

// Tables of 256 pixels, each one 32-bit number. Grey levels: 0, the background, stays black whatever the contrast.
const pixel = (red, green, blue) => ((255 << 24) | (blue << 16) | (green << 8) | red) >>> 0;

function greys({ brightness, contrast }) {
  return Uint32Array.from({ length: 256 }, (_, value) => {
    const level = ((value - 1) / 254 - 0.5) * 4 ** contrast + 0.5 + brightness;
    const grey = value ? Math.round(255 * clamp(level, 0, 1)) : 0;
    return pixel(grey, grey, grey);
  });
}

function fillings(classes) {
  const table = new Uint32Array(256); // what is no class is see-through
  for (const { value, colour } of classes) {
    table[value] = pixel(...[1, 3, 5].map((at) => parseInt(colour.slice(at, at + 2), 16)));
  }
  return table;
}

// Draw a slice through such a table, stretched over the whole canvas. `small` has one pixel for each voxel.
function stretch(context, small, slice, table, smooth) {
  const image = (small.image ??= small.createImageData(small.canvas.width, small.canvas.height));
  const pixels = new Uint32Array(image.data.buffer);
  for (let i = 0; i < pixels.length; i++) pixels[i] = table[slice[i]];
  small.putImageData(image, 0, 0);
  context.imageSmoothingEnabled = smooth;
  context.drawImage(small.canvas, 0, 0, context.canvas.width, context.canvas.height);
}

// Outlines lie inside their class, so that where two classes touch, two lines run side by side.
function outline(context, { canvas: { width: columns, height: rows } }, slice, colours, dash, ratio) {
  const [wide, high] = [context.canvas.width / columns, context.canvas.height / rows];
  const line = 1.5 * ratio;
  context.lineJoin = "round";
  for (const { value, corners } of contours(slice, columns, rows)) {
    context.beginPath();
    corners.forEach(([column, row], i) => {
      const [[fromColumn, fromRow], [toColumn, toRow]] = [corners.at(i - 1), corners[(i + 1) % corners.length]];
      const down = Math.sign(row - fromRow) + Math.sign(toRow - row);
      const right = Math.sign(column - fromColumn) + Math.sign(toColumn - column);
      context.lineTo(column * wide - (down * line) / 2, row * high + (right * line) / 2);
    });
    context.closePath();
    context.setLineDash([]);
    context.strokeStyle = "rgb(0 0 0 / 40%)"; // a dark seam, for contrast with bright tissue
    context.lineWidth = 2 * line;
    context.stroke();
    context.setLineDash(dash.map((length) => length * ratio));
    context.strokeStyle = colours[value];
    context.lineWidth = line;
    context.stroke();
  }
}

// Two thin lines that leave the place where they would cross in view.
function crosshair(context, x, y, ratio) {
  const { width, height } = context.canvas;
  const gap = 7 * ratio;
  context.setLineDash([]);
  context.strokeStyle = "rgb(255 255 255 / 55%)";
  context.lineWidth = ratio;
  context.beginPath();
  const line = (x0, y0, x1, y1) => (context.moveTo(x0, y0), context.lineTo(x1, y1));
  line(0, y, x - gap, y);
  line(x + gap, y, width, y);
  line(x, 0, x, y - gap);
  line(x, y + gap, x, height);
  context.stroke();
}
