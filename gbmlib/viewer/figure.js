// Draws the plotly figures of a page once the bundle that they share is there, and lends them a button: their numbers.
window.gbmAsTable ??= {
  name: "table",
  title: "Download the numbers (CSV)",
  icon: { width: 16, height: 16, path: "M1 2h14v12H1zM2.5 6v2h4V6zM8 6v2h5.5V6zM2.5 9.5v3h4v-3zM8 9.5v3h5.5v-3z" },
  click(figure) {
    const columns = ["x", "y", "z", "text"];
    const bars = ["error_x", "error_y"].flatMap((bar) => ["array", "arrayminus"].map((side) => [bar, side]));
    const cell = (value) => `"${String(value ?? "").replaceAll('"', '""')}"`;
    const rows = figure.data.flatMap((trace, number) => {
      const values = [
        ...columns.map((name) => figure._fullData[number][name]),
        ...bars.map(([bar, side]) => trace[bar] && figure._fullData[number][bar][side]),
      ];
      const length = Math.max(...values.map((each) => (Array.isArray(each) || ArrayBuffer.isView(each) ? each.length : 0)));
      values[0] ??= Array.from({ length }, (_, at) => at); // without x, points are numbered
      return Array.from({ length }, (_, at) => [trace.name, ...values.map((each) => each?.[at])].map(cell).join());
    });
    const head = ["trace", ...columns, ...bars.map((bar) => bar.join("_"))].join();
    const link = document.createElement("a");
    link.href = URL.createObjectURL(new Blob([[head, ...rows].join("\n") + "\n"], { type: "text/csv" }));
    link.download = figure.id + ".csv";
    link.click();
  },
};
(() => {
  const draw = () =>
    document.querySelectorAll("script.gbm-figure-held").forEach((held) => {
      const script = document.createElement("script");
      script.textContent = held.textContent;
      held.replaceWith(script);
    });
  if (window.Plotly) return draw();
  let bundle = document.querySelector("script.gbm-plotly");
  if (!bundle) {
    bundle = document.createElement("script");
    bundle.className = "gbm-plotly";
    bundle.src = (document.documentElement.dataset.content_root ?? "") + "PLOTLY";
    document.head.append(bundle);
    // A figure takes its width anew when the page is whole, since what follows may narrow it, and when a fold opens.
    const resize = () => window.dispatchEvent(new Event("resize"));
    window.addEventListener("load", resize);
    document.addEventListener("toggle", resize, true);
  }
  bundle.addEventListener("load", draw);
})();
