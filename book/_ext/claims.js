// Shows the claims that fit the chosen paper, verdict, chapter and words. Without scripts all of them are there.
document.addEventListener("DOMContentLoaded", () => {
  const filter = document.querySelector(".gbm-claims-filter");
  const rows = [...document.querySelectorAll("tr.gbm-claim")];
  const chosen = [...filter.querySelectorAll("select")];
  const words = filter.querySelector("input");
  const count = filter.querySelector("output");

  function apply() {
    const wanted = chosen.map((field) => field.value).filter(Boolean);
    const asked = words.value.toLowerCase().split(/\s+/).filter(Boolean);
    let shown = 0;
    for (const row of rows) {
      const text = row.textContent.toLowerCase();
      row.hidden = !wanted.every((name) => row.classList.contains(name)) || !asked.every((word) => text.includes(word));
      shown += !row.hidden;
    }
    count.textContent = `${shown} of ${rows.length} claims`;
  }

  // A link to a claim shows it, whatever was chosen.
  function follow() {
    const row = document.getElementById(decodeURIComponent(location.hash.slice(1)));
    if (!row?.hidden) return;
    for (const field of [...chosen, words]) field.value = "";
    apply();
    row.scrollIntoView();
  }

  filter.hidden = false;
  filter.addEventListener("input", apply);
  window.addEventListener("hashchange", follow);
  apply();
  follow();
});
