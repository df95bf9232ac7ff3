"use strict";
(() => {
  const root = document.documentElement;
  const all = (selector, start = document) => Array.from(start.querySelectorAll(selector));

  const dark = () => root.dataset.theme ? root.dataset.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
  document.getElementById("theme").addEventListener("click", () => { root.dataset.theme = dark() ? "light" : "dark"; });

  const map = document.querySelector(".maps svg.sky");
  for (const button of all(".legend button")) {
    button.addEventListener("click", () => {
      button.setAttribute("aria-pressed", String(button.getAttribute("aria-pressed") !== "true"));
      const on = new Set(all('.legend button[aria-pressed="true"]').map((b) => b.dataset.layer));
      map.classList.toggle("chosen", on.size > 0);
      for (const group of all(".layer", map)) group.classList.toggle("on", on.has(group.dataset.layer));
    });
  }

  for (const table of all("table.sortable")) {
    const body = table.tBodies[0];
    const heads = all("th", table.tHead);
    const value = (row, column) => { const cell = row.cells[column]; return cell.dataset.sort ?? cell.textContent.trim(); };
    heads.forEach((head, column) => head.firstElementChild.addEventListener("click", () => {
      const down = head.getAttribute("aria-sort") === "ascending";
      heads.forEach((other) => other.setAttribute("aria-sort", "none"));
      head.setAttribute("aria-sort", down ? "descending" : "ascending");
      const rows = Array.from(body.rows);
      rows.sort((a, b) => value(a, column).localeCompare(value(b, column), "en", { numeric: true }) * (down ? -1 : 1));
      body.append(...rows);
    }));
  }

  const filter = document.getElementById("filter");
  if (filter) {
    const rows = Array.from(document.getElementById("vetting").tBodies[0].rows);
    const texts = rows.map((row) => row.textContent.toLowerCase());
    filter.addEventListener("input", () => {
      const words = filter.value.toLowerCase().split(/\s+/).filter(Boolean);
      let shown = 0;
      rows.forEach((row, number) => {
        row.hidden = !words.every((word) => texts[number].includes(word));
        shown += !row.hidden;
      });
      document.getElementById("shown").value = `${shown} of ${rows.length}`;
    });
  }

  // A closed card would not be printed.
  addEventListener("beforeprint", () => all(".card details:not([open])").forEach((part) => { part.open = true; part.dataset.closed = "1"; }));
  addEventListener("afterprint", () => all("details[data-closed]").forEach((part) => { part.open = false; delete part.dataset.closed; }));

  const links = new Map(all("nav a").map((link) => [link.hash.slice(1), link]));
  const seen = new IntersectionObserver((entries) => {
    for (const entry of entries) {
      if (!entry.isIntersecting) continue;
      links.forEach((link) => link.classList.remove("here"));
      links.get(entry.target.id)?.classList.add("here");
    }
  }, { rootMargin: "-20% 0px -70% 0px" });
  all("main section").forEach((section) => seen.observe(section));
})();
