// "Repair the table": the reader names the columns of a printed table, and each row says how much of the image is tumour.
// The first half is gbmlib/analysis/prevalence.py once more; a test in a browser holds the numbers together.

const SIGNS = [-1, 1], CORNERS = SIGNS.flatMap((p) => SIGNS.flatMap((r) => SIGNS.map((a) => [p, r, a])));

function prevalence(p, r, a) {
  const errors = 1 - r + (r * (1 - p)) / p;
  return p > 0 && errors > 0 ? (1 - a) / errors : NaN;
}

/** The share of tumour that each row implies where the columns hold the metrics of `reading`, and what rows agree on. */
function examined({ metrics, rows, rounding }, reading) {
  const places = metrics.map((name) => reading.indexOf(name));
  const share = (row, signs) => prevalence(...places.map((place, at) => row[place] + signs[at] * rounding));
  const corners = rows.map((row) => CORNERS.map((signs) => share(row, signs)));
  const lows = corners.map((all) => Math.min(...all)), highs = corners.map((all) => Math.max(...all));
  const low = Math.max(...lows), high = Math.min(...highs);
  return {
    fractions: rows.map((row) => share(row, [0, 0, 0])),
    possible: lows.every((value, at) => value < 1 && highs[at] > 0),
    agree: low <= high, low, high,
  };
}

// ---------------------------------------------------------------------------------------------------------- the table

const percent = (share) => `${(100 * share).toFixed(share < 0.1 ? 2 : 0)}%`;
const capital = (word) => word[0].toUpperCase() + word.slice(1);

function sentence({ fractions, possible, agree, low, high }) {
  if (agree) return `<strong>Possible.</strong> One share of tumour, ${percent(low)} to ${percent(high)}, gives all the
    rows as they are printed, to the last digit. No other order does.`;
  const least = percent(Math.min(...fractions)), most = percent(Math.max(...fractions));
  return `<strong>Impossible.</strong> ${possible
    ? `The same crops would be ${most} tumour in one row and ${least} in another.`
    : `In one row the tumour would fill ${most} of the crops.`}`;
}

function mount(root, data) {
  const { metrics, epochs, rows } = data, reading = [...metrics];
  const options = metrics.map((name) => `<option>${name}</option>`).join("");
  root.innerHTML = `<p><strong>Repair the table.</strong> All rows were measured on the same crops, so all must give one
    share of tumour. What does each column hold?</p><table>
    <thead><tr><th scope="col">Epoch</th>${metrics.map((name) =>
      `<th scope="col"><label>“${capital(name)}” is <select>${options}</select></label></th>`).join("")}
      <th scope="col">Tumour in the crops</th></tr></thead>
    <tbody>${rows.map((row, at) => `<tr><th scope="row">${epochs[at]}</th>
      ${row.map((value) => `<td>${value.toFixed(3)}</td>`).join("")}
      <td><span></span><div class="gbm-share"><i></i></div></td></tr>`).join("")}</tbody>
    </table><p role="status"></p>`;
  const fields = [...root.querySelectorAll("select")];
  const update = () => {
    const implied = examined(data, reading);
    fields.forEach((field, at) => (field.value = reading[at]));
    root.querySelectorAll("td span").forEach((cell, at) => (cell.textContent = percent(implied.fractions[at])));
    root.querySelectorAll("i").forEach((bar, at) => {
      bar.style.width = percent(implied.fractions[at]);
      bar.classList.toggle("gbm-impossible", implied.fractions[at] > 1);
    });
    root.querySelector("[role=status]").innerHTML = sentence(implied);
  };
  fields.forEach((field, at) => field.addEventListener("change", () => {
    reading[reading.indexOf(field.value)] = reading[at];
    reading[at] = field.value;
    update();
  }));
  update();
}
