// Shows the claims that fit the chosen paper, verdict, chapter and words, and keeps the choice in the address:
// claims.html?verdict=supported is a link to that view. Without scripts all claims are there.
document.addEventListener("DOMContentLoaded", () => {
  const filter = document.querySelector(".gbm-claims-filter");
  const fields = [...filter.querySelectorAll("select, input")];
  const rows = [...document.querySelectorAll("table.gbm-claims tbody tr")];

  function fits(row, field) {
    if (field.name !== "words") return row.classList.contains(`${field.name}-${field.value}`);
    const text = row.textContent.toLowerCase();
    return field.value.toLowerCase().split(/\s+/).every((word) => text.includes(word));
  }

  function apply() {
    const given = fields.filter((field) => field.value);
    let chapter, shown = 0, all = 0;
    for (const row of rows) {
      if (row.classList.contains("gbm-claims-chapter")) {
        (chapter = row).hidden = true;
        continue;
      }
      row.hidden = !given.every((field) => fits(row, field));
      chapter.hidden &&= row.hidden;
      shown += !row.hidden;
      all += 1;
    }
    filter.querySelector("output").textContent = `${shown} of ${all} claims`;
    const query = new URLSearchParams(given.map((field) => [field.name, field.value])).toString();
    history.replaceState(null, "", (query ? `?${query}` : location.pathname) + location.hash);
  }

  // A link to a claim shows and opens it, whatever was chosen.
  function follow() {
    const row = document.getElementById(decodeURIComponent(location.hash.slice(1)))?.closest("tr");
    if (!row) return;
    if (row.hidden) {
      for (const field of fields) field.value = "";
      apply();
    }
    row.querySelector("details").open = true;
    row.scrollIntoView();
  }

  const asked = new URLSearchParams(location.search);
  for (const field of fields) field.value = asked.get(field.name) ?? "";
  filter.hidden = false;
  filter.addEventListener("input", apply);
  window.addEventListener("hashchange", follow);
  apply();
  follow();
});
