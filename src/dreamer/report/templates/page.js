"use strict";
// Draws the charts of the report from the JSON in the page. Colors and dashes are in the style sheet.
(() => {
  const HEIGHT = 210, LEFT = 38, RIGHT = 16;
  const data = JSON.parse(document.getElementById("data").textContent);
  const series = new Map(data.series.map((one) => [one.id, one]));
  const hidden = new Set();
  const charts = [...document.querySelectorAll(".chart")].map((box) => ({ box, ...chartOf(box) }));

  // What a chart shows: `view` names its axes, `curves` have points, `lines` are horizontal.
  function chartOf(box) {
    if (box.dataset.profile !== undefined) {
      return { curves: data.profiles[box.dataset.profile].curves, seeds: {}, lines: {}, view: profileView };
    }
    const panel = data.panels[box.dataset.panel];
    return { curves: panel.curves, seeds: panel.seeds, lines: panel.lines, panel, view: curveView };
  }

  function profileView() {
    return { x: [0, 1000], y: [0, 100], tick: plain, where: (x) => `return above ${number(x)}`, unit: "%" };
  }

  function curveView(chart) {
    const chosen = choice("range") ?? "ours";
    const end = chosen === "ours" ? Math.max(1, chart.panel.end) : Number(chosen);
    const bounded = chart.panel.bounded && choice("returns") === "full";
    return {
      x: [0, end],
      y: bounded ? [0, 1000] : fitted(chart, end),
      tick: frames,
      where: (x) => `${d3.format(",.3r")(x)} frames`,
      unit: "",
    };
  }

  // Limits of the returns that our and the published curves have up to `end`.
  function fitted(chart, end) {
    const values = visible(chart.curves).flatMap(([, curve]) =>
      curve.y.filter((_, i) => curve.x[i] <= end).concat(at(curve, end)?.y ?? []));
    const low = d3.min(values) ?? 0, high = d3.max(values) ?? 1;
    const room = (high - low || 1) * 0.08;
    return [low >= 0 ? 0 : low - room, high + room];
  }

  // What is chosen in a list; nothing if the page has none, as where nobody published a curve.
  const choice = (id) => document.getElementById(id)?.value;
  const visible = (curves) => Object.entries(curves).filter(([id]) => !hidden.has(id));
  const number = (x) => d3.format(",.0f")(x).replace("-", "−");
  const plain = (x) => String(x).replace("-", "−");
  const frames = (x) => (x >= 1e6 ? `${x / 1e6}M` : x >= 1e3 ? `${x / 1e3}k` : plain(x));

  // Rows of a curve as Plot takes them.
  const rows = (curve) => curve.x.map((x, i) => ({ x, y: curve.y[i], low: curve.low?.[i], high: curve.high?.[i] }));

  // The point of a curve at `x`, on a straight line between two; null outside of it.
  function at(curve, x) {
    const i = d3.bisectLeft(curve.x, x);
    if (curve.x[i] === x) return rows({ x: [x], y: [curve.y[i]], low: [curve.low?.[i]], high: [curve.high?.[i]] })[0];
    if (i === 0 || i === curve.x.length) return null;
    const part = (x - curve.x[i - 1]) / (curve.x[i] - curve.x[i - 1]);
    const between = (values) =>
      values?.[i - 1] == null || values[i] == null ? null : values[i - 1] + part * (values[i] - values[i - 1]);
    return { x, y: between(curve.y), low: between(curve.low), high: between(curve.high) };
  }

  function marksOf(chart, view) {
    const bands = [], lines = [];
    // Ours come first in the data and are drawn last, on top of the others.
    for (const [id, curve] of visible(chart.curves).reverse()) {
      const { style } = series.get(id), points = rows(curve);
      bands.push(Plot.areaY(points, { x: "x", y1: "low", y2: "high", className: `band ${style}`, clip: true }));
      for (const seed of chart.seeds[id] ?? []) {
        lines.push(Plot.lineY(rows(seed), { x: "x", y: "y", className: `seed ${style}`, clip: true }));
      }
      lines.push(Plot.lineY(points, { x: "x", y: "y", className: `line ${style}`, clip: true }));
      if (points.length === 1) lines.push(Plot.dot(points, { x: "x", y: "y", className: `point ${style}`, r: 4 }));
    }
    // Names of horizontal lines stand at opposite ends, so that they do not meet.
    const horizontal = visible(chart.lines).filter(([, y]) => y <= view.y[1]).flatMap(([id, y], i) => [
      Plot.ruleY([y], { className: `line ${series.get(id).style}` }),
      Plot.text([id.toUpperCase()], {
        x: view.x[1 - i], y, text: (d) => d, textAnchor: i ? "start" : "end", dx: i ? 3 : 0, dy: -7,
        className: `name ${series.get(id).style}`,
      }),
    ]);
    return [
      Plot.gridY({ className: "grid", ticks: 4 }),
      ...bands,
      ...horizontal,
      ...lines,
      Plot.axisX({ ticks: 4, tickSize: 3, tickFormat: view.tick, label: null }),
      Plot.axisY({ ticks: 4, tickSize: 0, label: null, tickFormat: plain }),
    ];
  }

  function draw(chart) {
    const view = chart.view(chart);
    const plot = Plot.plot({
      width: Math.max(240, chart.box.clientWidth), height: HEIGHT,
      marginLeft: LEFT, marginRight: RIGHT, marginTop: 18, marginBottom: 24,
      x: { domain: view.x }, y: { domain: view.y }, marks: marksOf(chart, view),
    });
    plot.setAttribute("role", "img");
    plot.setAttribute("tabindex", "0");
    plot.setAttribute("aria-label", described(chart, view));
    chart.box.replaceChildren(plot);
    follow(chart, view, plot);
  }

  // One sentence on the chart for who does not see it: the last value of every curve.
  function described(chart, view) {
    const title = chart.box.parentElement.querySelector("figcaption").textContent;
    const values = visible(chart.curves).map(([id, curve]) => {
      const end = at(curve, Math.min(view.x[1], curve.x.at(-1)));
      return end && `${series.get(id).label} ${number(end.y)}${view.unit} at ${view.where(end.x)}`;
    });
    return `${title}: ${values.filter(Boolean).join("; ")}`;
  }

  // Show the numbers under the pointer, or where the arrow keys have moved.
  function follow(chart, view, plot) {
    const x = plot.scale("x"), y = plot.scale("y");
    const cursor = d3.select(plot).append("line").attr("class", "cursor").attr("visibility", "hidden")
      .attr("y1", y.apply(view.y[0])).attr("y2", y.apply(view.y[1]));
    const tip = document.createElement("div");
    tip.className = "tip";
    tip.hidden = true;
    chart.box.append(tip);
    let place = view.x[1];
    const show = (value) => {
      place = Math.min(view.x[1], Math.max(view.x[0], value));
      cursor.attr("x1", x.apply(place)).attr("x2", x.apply(place)).attr("visibility", null);
      tip.replaceChildren(...numbersAt(chart, view, place));
      tip.hidden = false;
      const share = plot.clientWidth / plot.viewBox.baseVal.width;
      const left = x.apply(place) * share;
      tip.style.left = left > chart.box.clientWidth / 2 ? `${Math.max(0, left - tip.offsetWidth - 12)}px` : `${left + 12}px`;
    };
    const hide = () => { tip.hidden = true; cursor.attr("visibility", "hidden"); };
    const toPointer = (event) => show(x.invert(d3.pointer(event, plot)[0]));
    plot.addEventListener("pointermove", toPointer);
    plot.addEventListener("pointerdown", toPointer);
    // A finger that is lifted leaves the numbers; one that scrolls the page, or touches something else, does not.
    plot.addEventListener("pointerleave", (event) => { if (event.pointerType !== "touch") hide(); });
    plot.addEventListener("pointercancel", hide);
    plot.addEventListener("blur", hide);
    chart.hide = hide;
    plot.addEventListener("keydown", (event) => {
      const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
      if (event.key === "Escape") hide();
      if (!step) return;
      event.preventDefault();
      show(place + (step * (view.x[1] - view.x[0])) / 20);
    });
  }

  function numbersAt(chart, view, x) {
    const values = visible(chart.curves).map(([id, curve]) => ({ id, ...at(curve, x) }))
      .concat(visible(chart.lines).map(([id, y]) => ({ id, y })))
      .filter(({ y }) => y != null)
      .sort((a, b) => b.y - a.y);
    const head = document.createElement("b");
    head.textContent = view.where(x);
    return [head, ...values.map((value) => row(value, view.unit))];
  }

  function row({ id, y, low, high }, unit) {
    const line = document.createElement("div"), label = document.createElement("span");
    const swatch = document.querySelector(`[data-series="${id}"] .swatch`).cloneNode(true);
    const text = document.createElement("span");
    label.textContent = series.get(id).label;
    text.textContent = number(y) + unit + (low == null ? "" : ` (${number(low)} to ${number(high)})`);
    line.append(swatch, label, text);
    return line;
  }

  document.addEventListener("pointerdown", (event) => {
    for (const chart of charts) if (!chart.box.contains(event.target)) chart.hide?.();
  });

  const drawAll = () => charts.forEach(draw);
  for (const chip of document.querySelectorAll(".chip")) {
    chip.addEventListener("click", () => {
      const id = chip.dataset.series;
      if (!hidden.delete(id)) hidden.add(id);
      chip.setAttribute("aria-pressed", String(!hidden.has(id)));
      drawAll();
    });
  }
  for (const select of document.querySelectorAll("select")) select.addEventListener("change", drawAll);

  // Videos play while they are seen, unless they were stopped or motion is unwelcome.
  const videos = [...document.querySelectorAll("video")], all = document.getElementById("play");
  let playing = !matchMedia("(prefers-reduced-motion: reduce)").matches;
  const seen = new IntersectionObserver((entries) => entries.forEach(({ target, isIntersecting }) => {
    target.dataset.seen = isIntersecting ? "yes" : "";
    turn(target, playing);
  }));
  function turn(video, on) {
    if (on && video.dataset.seen) video.play().catch(() => {});
    else video.pause();
  }
  for (const video of videos) {
    video.controls = false;
    video.tabIndex = 0;
    video.setAttribute("role", "button");
    video.addEventListener("click", () => turn(video, video.paused));
    video.addEventListener("keydown", (event) => {
      if (event.key !== "Enter" && event.key !== " ") return;
      event.preventDefault();
      turn(video, video.paused);
    });
    seen.observe(video);
  }
  if (all && videos.length) {
    const name = () => { all.textContent = playing ? "Pause all" : "Play all"; };
    all.hidden = false;
    all.addEventListener("click", () => { playing = !playing; name(); videos.forEach((video) => turn(video, playing)); });
    name();
  }

  let width = 0;
  new ResizeObserver(() => {
    if (charts.length && charts[0].box.clientWidth !== width) {
      width = charts[0].box.clientWidth;
      drawAll();
    }
  }).observe(document.body);
})();
