// The two plots of the last two minutes: requests per second by backend, and latency.

import { element, setAttribute, setText, svgElement, syncChildren } from "./dom.js";
import { duration, measure } from "./format.js";
import { SECONDS } from "./history.js";
import { labelOf, shortName } from "./labels.js";

const MOST_BANDS = 8;
/** The margins of a plot in em, so that its labels fit at any font size. */
const MARGIN = { left: 4.4, right: 1.8, top: 0.8, bottom: 1.8 };
const TIMES = [[120, "2 min ago"], [60, "1 min"], [0, "now"]];

/** Requests per second, as stacked bands, one for each backend. */
export class RatePlot {
  #frame;

  constructor(figure) {
    this.#frame = new Frame(figure, "Requests per second", measure);
  }

  show(history, names) {
    const shown = names.slice(0, MOST_BANDS);
    const bands = shown.map((name) => ({ ...labelOf(name), label: shortName(name), values: [] }));
    if (names.length > MOST_BANDS) bands.push({ number: "+", colour: 0, label: "other backends", values: [] });
    let most = 0;
    for (const { number, requests, backends } of history.samples) {
      const at = history.newest - number;
      let below = 0;
      shown.forEach((name, band) => {
        const above = below + (backends[name] ?? 0);
        bands[band].values.push([at, below, above]);
        below = above;
      });
      const rest = Math.max(below, requests);
      if (names.length > MOST_BANDS) bands.at(-1).values.push([at, below, rest]);
      most = Math.max(most, rest);
    }
    this.#frame.show(most, bands.map((band) => ({ ...band, filled: true })));
  }
}

/** The latency of requests: the median and the 99th percentile. */
export class LatencyPlot {
  #frame;

  constructor(figure) {
    this.#frame = new Frame(figure, "Latency", duration);
  }

  show({ samples, newest }) {
    const line = (field, label) => {
      const values = samples.map((sample) => [newest - sample.number, 0, sample[field]]);
      const last = samples.at(-1)?.[field] ?? null;
      return { number: label, colour: label, label: `now ${duration(last)}`, values };
    };
    const lines = [line("p99_seconds", "p99"), line("p50_seconds", "p50")];
    const most = Math.max(0, ...lines.flatMap(({ values }) => values.map(([, , value]) => value ?? 0)));
    this.#frame.show(most, lines);
  }
}

/** Axes, lines and a legend. */
class Frame {
  #figure;
  #title;
  #format;
  #svg = svgElement("svg", { class: "plot", role: "img" });
  #grid = svgElement("g", { class: "grid" });
  #lines = svgElement("g");
  #size = { width: 0, height: 0 };
  #shown = { most: 0, lines: [] };

  constructor(figure, title, format) {
    this.#figure = figure;
    this.#title = title;
    this.#format = format;
    this.#svg.append(this.#lines, this.#grid);
    const canvas = figure.querySelector(".canvas");
    canvas.append(this.#svg);
    new ResizeObserver(([{ contentRect: { width, height } }]) => {
      this.#size = { width, height };
      this.#draw();
    }).observe(canvas);
  }

  show(most, lines) {
    this.#shown = { most, lines };
    const create = () => {
      const item = element("li");
      item.append(element("b", { class: "badge" }), element("span"));
      return item;
    };
    syncChildren(this.#figure.querySelector(".legend"), lines, create, (item, { number, colour, label }) => {
      setAttribute(item, "data-colour", colour);
      setText(item.firstChild, String(number));
      setText(item.lastChild, label);
    });
    setAttribute(this.#svg, "aria-label", `${this.#title} over the last two minutes, at most ${this.#format(most)}`);
    this.#draw();
  }

  #draw() {
    const { width, height } = this.#size;
    if (width === 0) return;
    setAttribute(this.#svg, "viewBox", `0 0 ${width} ${height}`);
    const em = parseFloat(getComputedStyle(this.#svg).fontSize);
    const most = ceiling(this.#shown.most);
    const [left, right] = [MARGIN.left * em, width - MARGIN.right * em];
    const [top, bottom] = [MARGIN.top * em, height - MARGIN.bottom * em];
    const x = (ago) => right - (ago / SECONDS) * (right - left);
    const y = (value) => bottom - (value / most) * (bottom - top);
    this.#drawGrid([0, most / 2, most], x, y);
    syncChildren(this.#lines, this.#shown.lines, createLine, (group, line) => drawLine(group, line, x, y));
  }

  #drawGrid(values, x, y) {
    const [left, right] = [x(SECONDS), x(0)];
    const ticks = values.map((value) => {
      return { d: `M${left} ${y(value)}H${right}`, text: this.#format(value), x: left - 8, y: y(value), anchor: "end", dy: "0.35em" };
    });
    const times = TIMES.map(([ago, text], at) => {
      const anchor = ["start", "middle", "end"][at];
      return { d: `M${x(ago)} ${y(0)}v5`, text, x: x(ago), y: y(0), anchor, dy: "1.45em" };
    });
    const create = () => {
      const tick = svgElement("g");
      tick.append(svgElement("path"), svgElement("text"));
      return tick;
    };
    syncChildren(this.#grid, [...ticks, ...times], create, (tick, { d, text, anchor, ...place }) => {
      const [line, label] = tick.children;
      setAttribute(line, "d", d);
      for (const [name, value] of Object.entries({ ...place, "text-anchor": anchor })) setAttribute(label, name, value);
      setText(label, text);
    });
  }
}

function createLine() {
  const group = svgElement("g");
  group.append(svgElement("path", { class: "area" }), svgElement("path", { class: "line" }), svgElement("text", { class: "end", dy: "0.35em" }));
  return group;
}

function drawLine(group, { colour, number, values, filled }, x, y) {
  const [area, line, end] = group.children;
  setAttribute(group, "data-colour", colour);
  setAttribute(line, "d", path(values.map(([ago, , above]) => [ago, above]), x, y));
  const outline = [...values, ...[...values].reverse().map(([ago, below]) => [ago, below, below])];
  setAttribute(area, "d", filled && values.length > 1 ? `${path(outline.map(([ago, , value]) => [ago, value]), x, y)}z` : "");
  const [ago, below, above] = values.at(-1) ?? [0, 0, null];
  const roomy = filled && above !== null && y(below) - y(above) >= 14;
  setAttribute(end, "x", x(ago) + 5);
  setAttribute(end, "y", roomy ? y((below + above) / 2) : 0);
  setText(end, roomy ? String(number) : "");
}

/** The path through the points, with a gap where a value is missing. */
function path(points, x, y) {
  let d = "";
  let on = false;
  for (const [ago, value] of points) {
    const known = value !== null;
    if (known) d += `${on ? "L" : "M"}${x(ago).toFixed(1)} ${y(value).toFixed(1)}`;
    on = known;
  }
  return d;
}

/** Rounds up to 1, 2 or 5 times a power of ten. */
function ceiling(value) {
  if (value <= 0) return 1;
  const power = 10 ** Math.floor(Math.log10(value));
  return power * [1, 2, 5, 10].find((step) => step * power >= value * 0.999);
}
