"use strict";
/* Theme, controls of each plot, lazy drawing, and the index of many runs. */
(() => {
  const root = document.documentElement, states = new Map();
  const wantsDark = matchMedia("(prefers-color-scheme: dark)");
  const isDark = () => (root.dataset.theme ? root.dataset.theme === "dark" : wantsDark.matches);

  function draw(section) {
    let state = states.get(section);
    if (!state) {
      const run = JSON.parse(section.querySelector("script").textContent);
      state = { run, factor: null, raw: true, xscale: "linear", yscale: run.yscale };
      states.set(section, state);
      section.classList.add("drawn");
      wire(section, state);
    }
    LossdoctorPlot.draw(section.querySelector(".plot"), state.run, state);
    root.dataset.drawn = String(states.size);
  }

  function wire(section, state) {
    const slider = section.querySelector("input[type=range]"), output = section.querySelector("output");
    const main = state.run.lines.find((l) => l.role === "train_loss") || state.run.lines[0];
    slider.value = String(main ? main.factor : 0);
    output.textContent = Number(slider.value).toFixed(2);
    let waiting = false;
    slider.addEventListener("input", () => {
      state.factor = Number(slider.value);
      output.textContent = state.factor.toFixed(2);
      if (waiting) return;  // at most one redraw per frame
      waiting = true;
      requestAnimationFrame(() => { waiting = false; draw(section); });
    });
    section.querySelectorAll("button[data-axis]").forEach((button) => {
      const key = button.dataset.axis + "scale";
      const show = () => button.setAttribute("aria-pressed", String(state[key] === button.dataset.scale));
      show();
      button.addEventListener("click", () => {
        state[key] = button.dataset.scale;
        section.querySelectorAll("button[data-axis=" + button.dataset.axis + "]").forEach((b) =>
          b.setAttribute("aria-pressed", String(b === button)));
        draw(section);
      });
    });
    const raw = section.querySelector("input[name=raw]");
    raw.addEventListener("change", () => { state.raw = raw.checked; draw(section); });
  }

  const redraw = () => states.forEach((_, section) => draw(section));
  const toggle = document.getElementById("theme");
  const label = () => { toggle.textContent = isDark() ? "Light" : "Dark"; toggle.setAttribute("aria-pressed", String(isDark())); };
  toggle.addEventListener("click", () => { root.dataset.theme = isDark() ? "light" : "dark"; label(); redraw(); });
  wantsDark.addEventListener("change", () => { label(); redraw(); });
  label();

  addEventListener("beforeprint", () => document.querySelectorAll("details").forEach((d) => { d.open = true; }));

  const observer = new IntersectionObserver((entries) => entries.forEach((entry) => {
    if (!entry.isIntersecting) return;
    observer.unobserve(entry.target);
    draw(entry.target);
  }), { rootMargin: "500px" });
  document.querySelectorAll(".run").forEach((section) => observer.observe(section));

  const table = document.querySelector("table.index");
  if (!table) return;
  const body = table.tBodies[0], rows = [...body.rows], search = document.getElementById("filter");
  const boxes = [...document.querySelectorAll("input[name=status]")], shown = document.getElementById("shown");

  function filter() {
    const words = search.value.toLowerCase().split(/\s+/).filter(Boolean);
    const kinds = new Set(boxes.filter((b) => b.checked).map((b) => b.value));
    let count = 0;
    rows.forEach((row) => {
      const text = row.dataset.text;
      row.hidden = !(kinds.has(row.dataset.status) && words.every((w) => text.includes(w)));
      document.getElementById(row.dataset.run).hidden = row.hidden;
      count += row.hidden ? 0 : 1;
    });
    shown.textContent = count.toLocaleString("en") + " of " + rows.length.toLocaleString("en") + " runs";
  }
  search.addEventListener("input", filter);
  boxes.forEach((b) => b.addEventListener("change", filter));
  filter();

  table.querySelectorAll("th button").forEach((button) => button.addEventListener("click", () => {
    const head = button.closest("th"), column = head.cellIndex;
    const down = head.getAttribute("aria-sort") === "ascending";
    table.querySelectorAll("th").forEach((th) => th.removeAttribute("aria-sort"));
    head.setAttribute("aria-sort", down ? "descending" : "ascending");
    const key = (row) => row.cells[column].dataset.key;
    const numeric = head.dataset.kind === "number";
    rows.sort((a, b) => {
      const x = key(a), y = key(b);
      if (x === "" || y === "") return (x === "") - (y === "");  // rows without a value stay last
      const order = numeric ? Number(x) - Number(y) : x.localeCompare(y, "en", { numeric: true });
      return down ? -order : order;
    });
    body.append(...rows);
  }));
})();
