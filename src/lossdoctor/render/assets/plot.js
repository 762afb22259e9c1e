"use strict";
/* Draws one run with Plotly. Data come from the run's JSON block; nothing is fetched. */
const LossdoctorPlot = (() => {
  const PANELS = { learning_rate: ["learning rate", "--ld-lr"], grad_norm: ["gradient norm", "--ld-grad"] };
  const CYCLE = ["--ld-lr", "--ld-grad", "--ld-warning", "--ld-info", "--ld-soft"];
  const css = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

  /* Plotly reads a few HTML tags in names and texts; what comes from a log must not be read so. */
  const literal = (text) => String(text).replace(/&/g, "&amp;").replace(/</g, "&lt;").replace(/>/g, "&gt;");
  const shown = (text, room) => literal(text.length > room ? "…" + text.slice(1 - room) : text);

  /* Exponential moving average with bias correction: the first value does not weigh more than it should.
     A null (gap between segments) starts it anew; there are no other non-numbers in the data. */
  function smooth(values, factor) {
    let total = 0, weight = 0;
    return values.map((v) => {
      if (v === null || !Number.isFinite(v)) { total = weight = 0; return null; }
      total = factor * total + (1 - factor) * v;
      weight = factor * weight + (1 - factor);
      return total / weight;
    });
  }

  function interpolate(xs, ys, x) {
    let a = 0, b = xs.length - 1;
    if (b < 0 || x < xs[0] || x > xs[b]) return null;
    while (b - a > 1) { const m = (a + b) >> 1; if (xs[m] <= x) a = m; else b = m; }
    if (ys[a] === null || ys[b] === null) return ys[a] === null ? ys[b] : ys[a];
    return xs[b] === xs[a] ? ys[a] : ys[a] + (ys[b] - ys[a]) * (x - xs[a]) / (xs[b] - xs[a]);
  }

  const meanX = (line) => line.mx || line.x;
  const meanY = (line) => line.my || line.y;

  /* The area between validation and training: there and back again. */
  function gap(train, val, factor) {
    const tx = meanX(train), ty = smooth(meanY(train), factor(train)), vy = smooth(meanY(val), factor(val));
    const xs = [], low = [], high = [];
    meanX(val).forEach((x, i) => {
      const t = interpolate(tx, ty, x);
      if (t !== null && vy[i] !== null) { xs.push(x); low.push(t); high.push(vy[i]); }
    });
    return {
      x: [...xs, ...xs.slice().reverse()], y: [...high, ...low.reverse()], fill: "toself", mode: "lines",
      line: { width: 0 }, fillcolor: css("--ld-gap"), hoverinfo: "skip", name: "gap", legendrank: 1001,
    };
  }

  function lineTraces(line, color, factor, options) {
    const axis = options.axis || "y", name = shown(line.name, 44), f = factor(line), traces = [];
    const few = line.y.length <= 60, hidden = options.hidden ? "legendonly" : true;
    const layered = f > 0 || line.my;
    if (layered && options.raw) {
      traces.push({
        x: line.x, y: line.y, yaxis: axis, mode: "lines", line: { color, width: 1 }, opacity: 0.34, visible: hidden,
        hoverinfo: "skip", showlegend: false, legendgroup: name, name: name + " (raw)",
      });
    }
    traces.push({
      x: layered ? meanX(line) : line.x, y: layered ? smooth(meanY(line), f) : line.y, yaxis: axis, name, visible: hidden,
      mode: few ? "lines+markers" : "lines", line: { color, width: options.thin ? 1.4 : 2.2, dash: options.dash || "solid" },
      marker: { size: 5, symbol: options.dash ? "square" : "circle" }, legendgroup: name, showlegend: !options.thin,
      hovertemplate: "%{y:.5g}<extra>" + name + "</extra>",
    });
    if (line.old) {
      traces.push({
        x: line.old.x, y: line.old.y, yaxis: axis, mode: "lines", line: { color, width: 1, dash: "dot" }, opacity: 0.5,
        name: "superseded by a resume", hoverinfo: "skip", visible: hidden, legendgroup: name,
      });
    }
    return traces;
  }

  /* Crosses on an axis of their own from 0 to 1, so that they lie at the foot of the panel on any scale. */
  function badTrace(lines, axis) {
    const x = [], text = [];
    let count = 0;
    lines.forEach((line) => {
      count += line.badCount;
      line.bad.forEach(([step, kind]) => { x.push(step); text.push(literal(line.name) + " is " + kind); });
    });
    if (!x.length) return [];
    return [{
      x, y: x.map(() => 0.02), yaxis: axis, mode: "markers", text, hovertemplate: "%{text}<extra></extra>", cliponaxis: false,
      marker: { symbol: "x-thin", size: 9, line: { color: css("--ld-critical"), width: 1.6 } },
      name: "NaN or Inf (" + count.toLocaleString("en") + ")", showlegend: axis === "y4",
    }];
  }

  /* Onsets: a line on the axis from 0 to 1, and a name above the panel; neighbours get their names in lanes. */
  function marks(run) {
    const lanes = [], range = Math.max(1, run.last - run.first);
    return run.marks.filter((m) => m.start !== null).sort((a, b) => a.start - b.start).map((m) => {
      const place = (m.start - run.first) / range, late = place > 0.6;
      let lane = lanes.findIndex((end) => (late ? place - 0.28 : place) > end);
      if (lane < 0) { lane = lanes.length; lanes.push(0); }
      lanes[lane] = late ? place + 0.02 : place + 0.28;
      return { ...m, lane, late, title: literal(m.code + " " + m.name), color: css("--ld-" + m.severity) };
    });
  }

  const markTraces = (run) => marks(run).map((m) => ({
    x: [m.start, m.start], y: [0, 1], yaxis: "y4", mode: "lines", showlegend: false,
    line: { color: m.color, width: m.severity === "info" ? 1 : 1.8, dash: m.severity === "info" ? "dot" : "dash" },
    hovertemplate: m.title + " from " + m.start.toLocaleString("en") + "<extra></extra>",
  }));

  /* An annotation on a logarithmic axis is placed by the logarithm, unlike everything else. */
  const markNames = (run, state) => marks(run).map((m) => ({
    x: state.xscale === "log" ? Math.log10(Math.max(m.start, 1e-9)) : m.start, xref: "x", y: 1, yref: "y domain", text: m.title,
    showarrow: false, xanchor: m.late ? "right" : "left", yanchor: "bottom", yshift: 2 + 16 * m.lane, font: { color: m.color, size: 12 },
  }));

  function traces(run, state) {
    const factor = (line) => (state.factor === null ? line.factor : state.factor);
    const train = run.lines.find((l) => l.role === "train_loss"), val = run.lines.find((l) => l.role === "val_loss");
    const main = run.lines.filter((l) => l === train || l === val), others = run.lines.filter((l) => l.role === "other");
    const out = [];
    if (run.comparable && train && val) out.push(gap(train, val, factor));
    if (train) out.push(...lineTraces(train, css("--ld-train"), factor, { raw: state.raw }));
    if (val) out.push(...lineTraces(val, css("--ld-val"), factor, { raw: state.raw, dash: "dash" }));
    others.forEach((line, i) => out.push(...lineTraces(
      line, css(CYCLE[i % CYCLE.length]), factor, { raw: state.raw, dash: "dashdot", hidden: main.length > 0 })));
    if (run.best && main.length) {
      const [step, value, metric] = run.best;
      out.push({
        x: [step], y: [value], mode: "markers", name: "best " + Number(value.toPrecision(4)) + " @ " + step.toLocaleString("en"),
        marker: { symbol: "star", size: 14, color: css("--ld-good"), line: { color: css("--ld-ground"), width: 1 } },
        hovertemplate: "best " + literal(metric) + ": %{y:.5g}<extra></extra>",
      });
    }
    out.push(...badTrace(main.length ? main : others, "y4"), ...markTraces(run));
    run.lines.filter((l) => PANELS[l.role]).forEach((line, i) => {
      const color = css(PANELS[line.role][1]);
      out.push(...lineTraces(line, color, () => 0, { axis: "y" + (i + 2), thin: true, raw: true }), ...badTrace([line], "y" + (i + 5)));
    });
    return out;
  }

  function layout(run, state) {
    const panels = run.lines.filter((l) => PANELS[l.role]), n = panels.length, share = 0.19, room = 0.05;
    const ink = css("--ld-ink"), grid = css("--ld-grid"), bottom = n * (share + room);
    const axis = { gridcolor: grid, linecolor: css("--ld-soft"), zeroline: false, automargin: true, exponentformat: "power" };
    const names = markNames(run, state), rows = 1 + Math.max(-1, ...marks(run).map((m) => m.lane));
    const height = 370 + 16 * rows + 110 * n, top = 30 + 16 * rows, foot = 76;
    const unit = { overlaying: "y", range: [0, 1], visible: false, fixedrange: true };
    const out = {
      paper_bgcolor: css("--ld-ground"), plot_bgcolor: css("--ld-ground"), font: { color: ink, size: 12 },
      height, annotations: names, margin: { l: 60, r: 20, t: top, b: foot }, hovermode: "x unified", hoverlabel: { bgcolor: css("--ld-card") },
      legend: { orientation: "h", y: -52 / (height - top - foot), yanchor: "top", x: 0 }, uirevision: state.xscale + state.yscale,
      xaxis: { ...axis, type: state.xscale, title: { text: literal(run.unit) }, anchor: n ? "y" + (n + 1) : "y", tickformat: ",~d" },
      yaxis: { ...axis, type: state.yscale, title: { text: run.lines.some((l) => /loss/.test(l.role)) ? "loss" : "value" }, domain: [bottom, 1] },
      yaxis4: unit,
    };
    if (state.xscale === "log") delete out.xaxis.tickformat;
    if (state.yscale === "log") {  // within a few decades 1, 2 and 5 are labelled, beyond only the powers
      const all = run.lines.filter((l) => !PANELS[l.role]).flatMap((l) => l.y).filter((v) => v > 0);
      const low = all.reduce((a, b) => Math.min(a, b), Infinity), high = all.reduce((a, b) => Math.max(a, b), 0);
      if (high / low < 1e5) Object.assign(out.yaxis, { dtick: "D2", exponentformat: "none" });
    }
    panels.forEach((line, i) => {
      const upper = bottom - room - i * (share + room);
      out["yaxis" + (i + 2)] = { ...axis, title: { text: PANELS[line.role][0].replace(" ", "<br>"), font: { size: 11 } }, domain: [upper - share, upper], nticks: 4, type: line.scale };
      if (line.scale === "log") out["yaxis" + (i + 2)].dtick = 1;
      out["yaxis" + (i + 5)] = { ...unit, overlaying: "y" + (i + 2) };
    });
    return out;
  }

  /* Only these buttons: by default there is one that would send the data to a server. */
  const config = {
    responsive: true, displaylogo: false, showSendToCloud: false, plotlyServerURL: "",
    modeBarButtons: [["toImage", "zoom2d", "pan2d", "zoomIn2d", "zoomOut2d", "resetScale2d"]],
  };
  const draw = (box, run, state) => Plotly.react(box, traces(run, state), layout(run, state), config);
  return { draw, smooth };
})();
