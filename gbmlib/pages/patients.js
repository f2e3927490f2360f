// "Point to patient": a patient who is chosen in the list, or by a click on a row of the figure above it, is shown in
// numbers and, where the book holds the images, in a viewer. It is built then, so that a page builds one at a time.

function mount(root, patients) {
  const options = (opens) => patients.map(({ name, viewer }, at) =>
    Boolean(viewer) === opens ? `<option value="${at}">${name}</option>` : "").join("");
  root.innerHTML = `<form><label>patient <select><optgroup label="with images">${options(true)}</optgroup>
    <optgroup label="numbers only">${options(false)}</optgroup></select></label><p role="status"></p></form>`;
  const form = root.querySelector("form"), list = root.querySelector("select");
  const place = document.createElement("div");
  const figure = [...document.querySelectorAll(".gbm-figure .plotly-graph-div")].at(-1);

  function show(at) {
    const { dice, viewer } = patients[at];
    list.value = at;
    root.querySelector("[role=status]").innerHTML = Object.entries(dice).map(([cell, value]) =>
      `<span>${cell} <b>${value}</b></span>`).join(" ") + (viewer ? "" : " The images are not in the book.");
    place.replaceChildren(document.createRange().createContextualFragment(viewer ?? "")); // which runs its script
    mark(at);
  }

  // The row of the chosen patient, once the figure is drawn.
  function mark(at) {
    const row = { type: "rect", xref: "paper", x0: 0, x1: 1, y0: at - 0.5, y1: at + 0.5 };
    const band = { ...row, fillcolor: "rgba(128, 128, 128, 0.25)", line: { width: 0 }, layer: "below" };
    if (figure?.on) Plotly.relayout(figure, { shapes: [band] });
  }

  function listen() {
    mark(Number(list.value));
    figure.on("plotly_click", ({ points: [point] }) => {
      show(point.pointNumber);
      place.scrollIntoView({ block: "nearest" });
    });
  }

  root.after(place); // outside of it, where the viewer has its own looks
  form.addEventListener("submit", (event) => event.preventDefault());
  list.addEventListener("change", () => show(Number(list.value)));
  show(Math.max(0, patients.findIndex(({ viewer }) => viewer)));
  if (figure?.on) listen();
  else document.querySelector("script.gbm-plotly")?.addEventListener("load", listen); // after what draws: figure.js
}
