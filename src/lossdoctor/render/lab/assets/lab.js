"use strict";
/* Draws the panels of a lab page and plays its scene with Plotly. Data come from the page; nothing is fetched. */
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const root = document.documentElement, wantsDark = matchMedia("(prefers-color-scheme: dark)");
  const isDark = () => (root.dataset.theme ? root.dataset.theme === "dark" : wantsDark.matches);
  const css = (name) => getComputedStyle(root).getPropertyValue(name).trim();
  /* Plotly reads a few HTML tags in names and texts; what a person named must not be read so. */
  const literal = (text) => String(text).replace(/&/g, "&amp;").replace(/</g, "&lt;").replace(/>/g, "&gt;");
  const look = () => data.looks[isDark() ? "dark" : "light"];
  const DASHES = ["solid", "dash", "dot", "dashdot"], SYMBOLS = ["circle", "square", "triangle-up", "diamond", "triangle-down", "cross", "x", "pentagon"];
  const color = (n) => (n < 0 ? css("--ld-soft") : look().colors[n % look().colors.length]);
  const config = { responsive: true, displaylogo: false, showSendToCloud: false, plotlyServerURL: "", modeBarButtons: [["toImage", "resetScale2d"]] };
  const config3d = { ...config, modeBarButtons: [["toImage", "resetCameraDefault3d"]] };

  const axis = (label, log) => ({
    title: { text: literal(label), standoff: 6 }, type: log ? "log" : "linear", gridcolor: css("--ld-grid"), linecolor: css("--ld-soft"),
    zeroline: false, automargin: true, exponentformat: "power", ...(log ? { dtick: undefined, nticks: 7 } : {}),
  });
  const layout = (extra) => ({
    paper_bgcolor: css("--ld-ground"), plot_bgcolor: css("--ld-ground"), font: { color: css("--ld-ink"), size: 12 }, height: 400,
    margin: { l: 60, r: 14, t: 12, b: 44 }, hoverlabel: { bgcolor: css("--ld-card") }, legend: { orientation: "h", y: -0.2, yanchor: "top", x: 0 }, ...extra,
  });

  function fieldTraces(field) {
    const hover = "%{x:.4g}, %{y:.4g}<extra></extra>";
    if (field.classes) {
      const n = field.classes.length, scale = [];
      field.classes.forEach((c, i) => { const tint = c.number < 0 ? css("--ld-ground") : color(c.number); scale.push([i / n, tint], [(i + 1) / n, tint]); });
      return [{ type: "heatmap", x: field.x, y: field.y, z: field.z, zmin: -0.5, zmax: n - 0.5, colorscale: scale, opacity: 0.75, hovertemplate: hover,
        colorbar: { tickvals: field.classes.map((_, i) => i), ticktext: field.classes.map((c) => literal(c.name)), thickness: 12, outlinewidth: 0 } }, ...pointTraces(field)];
    }
    const bar = { thickness: 12, outlinewidth: 0, title: { text: literal(field.label), side: "right" } };
    if (field.ticks.length) Object.assign(bar, { tickvals: field.ticks.map((t) => t[0]), ticktext: field.ticks.map((t) => t[1]) });
    return [{ type: "contour", x: field.x, y: field.y, z: field.z, colorscale: look().shades, ncontours: 16, contours: { coloring: "heatmap" },
      line: { width: 0.6, color: css("--ld-soft") }, hovertemplate: hover, colorbar: bar, name: literal(field.label) }, ...pointTraces(field)];
  }

  const KINDS = [["minima", "minimum", "star", 13], ["saddles", "saddle", "x", 9], ["maxima", "maximum", "triangle-up", 9]];
  const pointTraces = (field) => KINDS.filter(([key]) => field[key].length).map(([key, name, symbol, size]) => ({
    x: field[key].map((p) => p[0]), y: field[key].map((p) => p[1]), mode: "markers", name, hovertemplate: name + " %{x:.5g}, %{y:.5g}<extra></extra>",
    marker: { symbol, size, color: css("--ld-ink"), line: { color: css("--ld-ground"), width: 1 } },
  }));

  const lineTrace = (line, joined = true) => ({
    x: line.x, y: line.y, name: literal(line.label) || " ", showlegend: line.label !== "", hovertemplate: "%{y:.5g}<extra>" + literal(line.label) + "</extra>",
    mode: line.style === "points" ? (joined && line.x.length <= 40 ? "lines+markers" : "markers") : line.x.length <= 40 && line.number >= 0 ? "lines+markers" : "lines",
    line: { color: color(line.number), width: line.style === "points" ? 1 : 2, dash: DASHES[line.dash], shape: line.style === "steps" ? "hv" : "linear" },
    marker: { size: line.style === "points" && line.x.length > 40 ? 3 : 5, symbol: SYMBOLS[Math.max(0, line.number) % SYMBOLS.length] },
  });

  const fade = (tint) => tint + "33";
  const bandTrace = (band) => ({
    x: [...band.x, ...band.x.slice().reverse()], y: [...band.high, ...band.low.slice().reverse()], fill: "toself", mode: "lines", line: { width: 0 },
    fillcolor: fade(color(band.number)), hoverinfo: "skip", name: literal(band.label), showlegend: band.label !== "",
  });

  function markTraces(panel) {
    const dashes = ["dash", "dot", "dashdot"];
    return panel.marks.map((mark, i) => {
      const showlegend = mark.text !== "", name = literal(mark.text) || " ", line = { color: css("--ld-ink"), width: 1.2, dash: dashes[i % 3] }, hovertemplate = name + "<extra></extra>";
      if (mark.x !== null && mark.y !== null) {
        return { x: [mark.x], y: [mark.y], mode: "markers", name, hovertemplate, marker: { symbol: "star", size: 12, color: css("--ld-ink"), line: { color: css("--ld-ground"), width: 1 } } };
      }
      return mark.x !== null
        ? { x: [mark.x, mark.x], y: [0, 1], yaxis: "y2", mode: "lines", name, line, hovertemplate, showlegend }
        : { x: [0, 1], y: [mark.y, mark.y], xaxis: "x2", mode: "lines", name, line, hovertemplate, showlegend };
    });
  }

  function drawPanel(box, panel) {
    const unit = (over) => ({ overlaying: over, range: [0, 1], visible: false, fixedrange: true });
    const traces = [...(panel.field ? fieldTraces(panel.field) : []), ...panel.bands.map(bandTrace), ...panel.lines.map((line) => lineTrace(line, panel.lines.every((l) => l.style === "points" || l.style === "dashed") && panel.lines.some((l) => l.style === "dashed"))), ...markTraces(panel)];
    const extra = { xaxis: axis(panel.x_label, panel.log_x), yaxis: axis(panel.y_label, panel.log_y), xaxis2: unit("x"), yaxis2: unit("y") };
    if (panel.field) {
      Object.assign(extra.xaxis, { range: [panel.field.x[0], panel.field.x.at(-1)], showgrid: false });
      Object.assign(extra.yaxis, { range: [panel.field.y[0], panel.field.y.at(-1)], showgrid: false });
    }
    if (!panel.marks.length) { delete extra.xaxis2; delete extra.yaxis2; }
    Plotly.react(box, traces, layout(extra), config);
  }

  /* The scene: what stands still is drawn once, and again when the theme or the view changes; a step only moves the tracks. */
  const scene = data.scene, state = { frame: 0, playing: false, speed: 1, space: false, first: 0 };
  const map = document.getElementById("map"), loss = document.getElementById("loss"), slider = document.getElementById("slider");
  const upto = (track, step) => { let n = 0; while (n < track.steps.length && track.steps[n] <= step) n += 1; return n; };
  const cut = (list, n) => list.slice(0, n);
  const lastFine = (track, n) => { let i = n - 1; while (i >= 0 && (track.x[i] === null || track.y[i] === null)) i -= 1; return i; };

  /* A path and its head for each track; with ``trail``, every step is a point. */
  function trackTraces(keys, three, trail = false) {
    const kind = three ? { type: "scatter3d" } : {};
    return scene.tracks.flatMap((track) => {
      const i = track.number, tint = color(i), name = literal(track.label), blank = Object.fromEntries(keys.map((k) => [k, []]));
      return [
        { ...kind, ...blank, mode: trail ? "lines+markers" : "lines", name, showlegend: track.new, legendgroup: name, line: { color: tint, width: three ? 5 : 2, dash: three ? "solid" : DASHES[Math.floor(i / look().colors.length) % 4] }, marker: { size: 3 }, hoverinfo: "skip" },
        { ...kind, ...blank, mode: "markers", name, legendgroup: name, showlegend: false, hoverinfo: "skip",
          marker: { size: three ? 5 : 10, color: tint, symbol: three ? "circle" : SYMBOLS[i % SYMBOLS.length], line: { color: css("--ld-ground"), width: 1 } } },
      ];
    });
  }

  function drawStage() {
    Plotly.react(loss, trackTraces(["x", "y"], false), layout({
      xaxis: { ...axis("step", false), range: [0, scene.steps] }, yaxis: { ...axis(scene.loss_label, scene.log_y), range: scene.loss_range },
    }), config);
    if (!map) return move();
    if (state.space) {
      const f = scene.field, look3 = { gridcolor: css("--ld-grid"), color: css("--ld-soft"), backgroundcolor: css("--ld-ground") };
      const bar = f.ticks.length ? { tickvals: f.ticks.map((t) => t[0]), ticktext: f.ticks.map((t) => t[1]) } : {};
      const surface = { type: "surface", x: f.x, y: f.y, z: f.z, colorscale: look().full, opacity: 0.92, showscale: false, hoverinfo: "skip" };
      Plotly.react(map, [surface, ...trackTraces(["x", "y", "z"], true)], layout({
        margin: { l: 0, r: 0, t: 0, b: 0 }, uirevision: "space", scene: {
          xaxis: { ...look3, title: { text: literal(scene.x_label) } }, yaxis: { ...look3, title: { text: literal(scene.y_label) } },
          zaxis: { ...look3, ...bar, title: { text: literal(f.label) } }, camera: { eye: { x: 1.3, y: -1.5, z: 1.1 } } },
      }), config3d);
      state.first = 1;
      return move();
    }
    const still = scene.field ? fieldTraces(scene.field) : scene.profile ? [lineTrace(scene.profile)] : [];
    state.first = still.length;
    const extra = { xaxis: axis(scene.x_label, false), yaxis: axis(scene.y_label, false) };
    if (scene.field) {
      Object.assign(extra.xaxis, { range: [scene.field.x[0], scene.field.x.at(-1)], showgrid: false });
      Object.assign(extra.yaxis, { range: [scene.field.y[0], scene.field.y.at(-1)], showgrid: false });
    } else if (scene.map_range) {
      extra.xaxis.range = scene.map_range[0];
      extra.yaxis.range = scene.map_range[1];
    }
    Plotly.react(map, [...still, ...trackTraces(["x", "y"], false, scene.kind === "profile")], layout(extra), config);
    return move();
  }

  function move() {
    const step = scene.frames[state.frame];
    const place = { x: [], y: [] }, curve = { x: [], y: [] }, indices = [];
    if (state.space) place.z = [];
    scene.tracks.forEach((track, i) => {
      const n = upto(track, step), head = n - 1;
      curve.x.push(cut(track.steps, n), [track.steps[head]]);
      curve.y.push(cut(track.loss, n), [track.loss[head]]);
      if (map) {
        const at = lastFine(track, n);
        Object.keys(place).forEach((key) => place[key].push(cut(track[key], n), at < 0 ? [] : [track[key][at]]));
      }
      indices.push(2 * i, 2 * i + 1);
    });
    Plotly.restyle(loss, curve, indices);
    if (map) Plotly.restyle(map, place, indices.map((i) => i + state.first));
    slider.value = String(state.frame);
    slider.setAttribute("aria-valuetext", "step " + step);
    document.getElementById("step").textContent = "step " + step.toLocaleString("en");
    root.dataset.step = String(step);
  }

  function wire() {
    const play = document.getElementById("play"), frames = scene.frames.length;
    const show = () => { play.textContent = state.playing ? "Pause" : "Play"; play.setAttribute("aria-pressed", String(state.playing)); };
    let since = null, from = 0;
    function tick(now) {
      if (!state.playing) return;
      if (since === null) { since = now; from = state.frame; }
      const frame = Math.min(frames - 1, from + Math.floor((now - since) / 1000 * 24 * state.speed));
      if (frame !== state.frame) { state.frame = frame; move(); }
      if (frame >= frames - 1) state.playing = false;
      show();
      requestAnimationFrame(tick);
    }
    play.addEventListener("click", () => {
      state.playing = !state.playing;
      if (state.playing && state.frame >= frames - 1) state.frame = 0;
      since = null;
      show();
      requestAnimationFrame(tick);
    });
    slider.addEventListener("input", () => { state.playing = false; state.frame = Number(slider.value); show(); move(); });
    const speed = document.getElementById("speed");
    speed.addEventListener("change", () => { state.speed = Number(speed.value); since = null; });
    const space = document.getElementById("space");
    if (space) {
      space.addEventListener("click", () => {
        state.space = !state.space;
        space.setAttribute("aria-pressed", String(state.space));
        Plotly.purge(map);
        drawStage();
      });
    }
  }

  const boxes = [...document.querySelectorAll(".panel > div")];
  const drawAll = () => { if (scene) drawStage(); boxes.forEach((box, i) => drawPanel(box, data.panels[i])); root.dataset.drawn = "yes"; };
  const toggle = document.getElementById("theme");
  const label = () => { toggle.textContent = isDark() ? "Light" : "Dark"; toggle.setAttribute("aria-pressed", String(isDark())); };
  toggle.addEventListener("click", () => { root.dataset.theme = isDark() ? "light" : "dark"; label(); drawAll(); });
  wantsDark.addEventListener("change", () => { label(); drawAll(); });
  label();
  if (scene) { state.frame = scene.frames.length - 1; wire(); }
  drawAll();
})();
