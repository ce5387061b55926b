// Small charts of what the model predicts, drawn on canvases.

const SHOWN = 200; // steps that a chart shows

// Every trace: its numbers at a moment, one for each future, and what is drawn dashed beside them.
const TRACES = {
  reward: { of: (moment) => moment.reward, beside: (moment, recording) => (moment.recorded === null ? null : recording.reward(moment.recorded)), low: 0, digits: 2 },
  value: { of: (moment) => moment.value, low: 0, digits: 1 },
  std: { of: (moment) => moment.std, low: 0, digits: 2 },
  error: { of: (moment) => (moment.error === null ? null : [moment.error]), beside: (moment) => moment.still, low: 0, digits: 3 },
};

class Traces {
  constructor(figures) {
    this.charts = [...figures].map((figure) => ({
      figure, trace: TRACES[figure.dataset.trace],
      canvas: figure.querySelector("canvas"), output: figure.querySelector("output"),
    }));
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => { this.colors = null; });
  }

  draw(dream) {
    this.colors ??= Object.fromEntries(["ink", "quiet", "rule", "dream", "recorded"].map((name) =>
      [name, getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim()]));
    for (const chart of this.charts) if (!chart.figure.hidden) this.drawOne(chart, dream);
  }

  drawOne({ trace, canvas, output }, dream) {
    const first = Math.max(0, dream.at - SHOWN), moments = dream.moments.slice(first, dream.at + 1);
    const lines = Array.from({ length: dream.futures }, (_, future) => moments.map((moment) => trace.of(moment)?.[future] ?? null));
    const beside = trace.beside ? moments.map((moment) => trace.beside(moment, dream.recording)) : [];
    const now = trace.of(dream.now)?.[0];
    output.textContent = now === undefined || now === null ? "–" : now.toFixed(trace.digits).replace("-", "−");

    const scale = devicePixelRatio || 1, width = canvas.clientWidth, height = canvas.clientHeight;
    if (canvas.width !== Math.round(width * scale)) canvas.width = Math.round(width * scale);
    if (canvas.height !== Math.round(height * scale)) canvas.height = Math.round(height * scale);
    const values = [...lines.flat(), ...beside].filter((value) => value !== null);
    const low = Math.min(trace.low, ...values), high = Math.max(low + 0.01, ...values);
    const left = 36, bottom = height - 14, top = 6;
    const x = (i) => left + (i / SHOWN) * (width - left - 4), y = (value) => bottom - ((value - low) / (high - low)) * (bottom - top);
    const pen = canvas.getContext("2d");
    pen.setTransform(scale, 0, 0, scale, 0, 0);
    pen.clearRect(0, 0, width, height);
    this.axes(pen, { left, bottom, top, width, height, low, high, first, dream });
    lines.slice(1).forEach((line) => this.line(pen, line, x, y, this.colors.dream, 0.8, []));
    this.line(pen, beside, x, y, this.colors.recorded, 1.5, [4, 3]);
    this.line(pen, lines[0], x, y, this.colors.dream, 2, []);
    canvas.setAttribute("aria-label", `${output.textContent} now, between ${low.toFixed(2)} and ${high.toFixed(2)} in this dream`);
  }

  axes(pen, { left, bottom, top, width, height, low, high, first, dream }) {
    pen.strokeStyle = this.colors.rule;
    pen.fillStyle = this.colors.quiet;
    pen.font = "10px system-ui, sans-serif";
    pen.lineWidth = 1;
    pen.setLineDash([]);
    for (const [value, y] of [[low, bottom], [high, top]]) {
      pen.beginPath();
      pen.moveTo(left, Math.round(y) + 0.5);
      pen.lineTo(width, Math.round(y) + 0.5);
      pen.stroke();
      pen.textAlign = "right";
      pen.fillText(short(value), left - 4, y + 4);
    }
    pen.textAlign = "left";
    pen.fillText(`${(first * dream.facts.seconds).toFixed(0)} s`, left, height - 1);
    pen.textAlign = "right";
    pen.fillText(`${((first + SHOWN) * dream.facts.seconds).toFixed(0)} s`, width - 2, height - 1);
  }

  line(pen, values, x, y, color, width, dashes) {
    pen.strokeStyle = color;
    pen.lineWidth = width;
    pen.setLineDash(dashes);
    pen.beginPath();
    let drawing = false, last = null;
    values.forEach((value, i) => {
      if (value === null) { drawing = false; return; }
      if (drawing) pen.lineTo(x(i), y(value));
      else pen.moveTo(x(i), y(value));
      drawing = true;
      last = [x(i), y(value)];
    });
    pen.stroke();
    if (!last || width < 2) return;
    pen.fillStyle = color;
    pen.beginPath();
    pen.arc(...last, 3, 0, 2 * Math.PI);
    pen.fill();
  }
}

const short = (value) => (Math.abs(value) >= 100 ? value.toFixed(0) : Number(value.toPrecision(2)).toString()).replace("-", "−");
