// "Be the reviewer": how many patients decide what the chapter on the head to head asks, and how much counts as equal.
// Effects are those of gbmlib/analysis/factorial.py, spreads of spreads.py, intervals of intervals.jackknife over
// patients; a test in a browser holds the numbers together. Dice is [patient][network][pipeline].

const average = (values) => values.reduce((sum, value) => sum + value, 0) / values.length;
const centred = (values) => values.map((value) => value - average(values));
const spread = (values) => Math.sqrt(average(centred(values).map((value) => value ** 2)));
const means = (dice) => dice[0].map((row, n) => row.map((_, p) => average(dice.map((one) => one[n][p]))));
const byPipeline = (cells) => [0, 1].map((p) => average(cells.map((row) => row[p])));

/** What is asked, in the chapter's order: [label, words for higher and lower, a function of the means of the cells]. */
function questions(networks) {
  const pairs = networks.flatMap((a, i) => networks.slice(i + 1).map((b, j) =>
    [`${b} − ${a}`, `${b} better`, `${a} better`, (cells) => average(cells[i + 1 + j]) - average(cells[i])]));
  return [...pairs,
    ["pipeline B − A", "B better", "A better", (cells) => byPipeline(cells)[1] - byPipeline(cells)[0]],
    ["spread of networks − of pipelines", "the network matters more", "the pipeline matters more",
      (cells) => spread(cells.map(average)) - spread(byPipeline(cells))]];
}

/** Student's interval of a statistic over patients, each left out once: of a mean it is the ordinary t interval. */
function interval(statistic, dice, t) {
  const count = dice.length, mean = statistic(means(dice));
  const without = dice.map((_, out) => statistic(means(dice.filter((_, at) => at !== out))));
  const half = t[count] * spread(without) * Math.sqrt(count - 1);
  return { mean, low: mean - half, high: mean + half };
}

function decided({ low, high }, margin) {
  if (low > 0) return "higher";
  if (high < 0) return "lower";
  return -margin <= low && high <= margin ? "no difference" : "undecided";
}

// ----------------------------------------------------------------------------------------------------------- the form

const signed = (value) => (value < -0.0005 ? "−" : "+") + Math.abs(value).toFixed(3);

function mount(root, { settings, t }) {
  const usual = settings[0].margin, most = settings[0].dice.length, scales = new Set(settings.map(({ scale }) => scale));
  root.innerHTML = `<p><strong>Be the reviewer.</strong> How many patients would convince you, and which difference would
    you call none?</p><form>
    <label>networks <select>${settings.map(({ networks }, at) =>
      `<option value="${at}">${networks.join(", ")}</option>`).join("")}</select></label>
    <label><span>patients: <b></b></span><input type="range" name="patients" min="3" max="${most}" value="${most}"></label>
    <label><span>margin: <b></b></span><input type="range" name="margin" min="0.01" max="0.05" step="0.01"
      value="${usual}"></label></form><ul></ul><p role="status"></p>
    <p>Lines are Student’s 95 % t intervals over patients (of the spreads over patients left out one at a time), which
      hold for few patients too; the band is the margin. The book decides on all ${most} by a bootstrap over patients,
      an interval over trained networks and a test, which must agree, of networks that were trained long enough. Where
      the two differ, you are the stricter reviewer.</p>`;
  const form = root.querySelector("form"), [patients, margin] = form.querySelectorAll("b");
  const update = () => {
    const { scale, networks, dice, verdicts } = settings[form.querySelector("select").value];
    const count = Number(form.patients.value), limit = Number(form.margin.value);
    const asked = questions(networks), whole = asked.map(([, , , statistic]) => interval(statistic, dice, t));
    const reach = 1.5 * Math.max(...whole.flatMap(({ low, high }) => [-low, high]));
    const at = (value) => 50 + Math.max(-50, Math.min(50, (50 * value) / reach));
    const drawn = asked.map(([label, higher, lower, statistic], row) => {
      const effect = interval(statistic, dice.slice(0, count), t), word = decided(effect, limit);
      const say = (verdict, within) => ({ higher, lower, "no difference": `no difference above ${within}` })[verdict]
        ?? verdict;
      const span = (low, high) => `left: ${at(low)}%; width: ${at(high) - at(low)}%`;
      return { word, html: `<li><span>${label}</span><strong>${say(word, limit)}</strong>
        <div class="gbm-interval"><i style="${span(-limit, limit)}"></i><i style="${span(effect.low, effect.high)}"></i>
          <i style="left: ${at(effect.mean)}%"></i></div>
        <span>${signed(effect.mean)} (${signed(effect.low)} to ${signed(effect.high)})</span>
        <span>the book: ${say(verdicts[row], usual)}</span></li>` };
    });
    const open = drawn.filter(({ word }) => word === "undecided").length;
    patients.textContent = `${count} of ${most}`;
    margin.textContent = limit;
    root.querySelector("ul").innerHTML = drawn.map(({ html }) => html).join("");
    root.querySelector("[role=status]").textContent = `${count} of ${most} patients leave ${open} of ${asked.length} `
      + `questions undecided. These are runs of the scale “${scale}”${scales.size > 1
        ? ", which the networks of the other choice do not share: compare within a choice" : ""}.`;
  };
  form.addEventListener("submit", (event) => event.preventDefault());
  form.addEventListener("input", update);
  update();
}
