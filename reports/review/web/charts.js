// Curves over control steps, as SVG with a cursor. A click or a drag seeks.

const SVG = "http://www.w3.org/2000/svg";

function draw(tag, attributes) {
  const node = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
  return node;
}

const write = (value) => Math.abs(value) >= 100 ? value.toFixed(0) : Math.abs(value) >= 10 ? value.toFixed(1) : value.toFixed(2);

// series: [{variant, values, mark}], where mark is a step to point out or null.
function lineChart({ title, unit, series, last, limit = null, wide = false, seek }) {
  const known = series.flatMap(({ values }) => values).concat(limit === null ? [] : [limit]);
  const low = Math.min(0, known.reduce((a, b) => Math.min(a, b), 0));
  const high = known.reduce((a, b) => Math.max(a, b), 0) || (low < 0 ? 0 : 1);
  const x = (step) => last > 0 ? 1000 * step / last : 0;
  const y = (value) => 98 - 96 * (value - low) / (high - low);
  const svg = draw("svg", { viewBox: "0 0 1000 100", preserveAspectRatio: "none", role: "img",
    "aria-label": `${title}, ${unit}, from ${write(low)} to ${write(high)}` });
  svg.append(draw("line", { class: "zero", x1: 0, x2: 1000, y1: y(0), y2: y(0) }));
  if (limit !== null) svg.append(draw("line", { class: "limit", x1: 0, x2: 1000, y1: y(limit), y2: y(limit) }));
  for (const { variant, values, mark } of series) {
    const points = values.map((value, step) => `${x(step).toFixed(1)},${y(value).toFixed(2)}`).join(" ");
    svg.append(draw("polyline", { points, style: `--series: ${variant.series}` }));
    if (mark !== null && mark !== undefined) {
      svg.append(draw("line", { class: "mark", style: `--series: ${variant.series}`, x1: x(mark), x2: x(mark), y1: 0, y2: 100 }));
    }
  }
  const cursor = draw("line", { class: "cursor", x1: 0, x2: 0, y1: 0, y2: 100 });
  svg.append(cursor);
  const follow = (event) => {
    const box = svg.getBoundingClientRect();
    seek(Math.round(last * (event.clientX - box.left) / box.width));
  };
  svg.addEventListener("pointerdown", (event) => { svg.setPointerCapture(event.pointerId); follow(event); });
  svg.addEventListener("pointermove", (event) => { if (event.buttons & 1) follow(event); });
  const numbers = series.map(({ variant }) => element("span", { style: `color: ${variant.series}` }));
  const node = element("section", { class: wide ? "chart wide" : "chart" },
    element("h3", {}, title, element("span", { class: "now" }, ...numbers)), svg,
    element("div", { class: "scale" }, element("span", {}, `${write(low)} to ${write(high)} ${unit}`),
      element("span", {}, `${last + 1} steps`)));
  return { node, moveTo(step) {
    cursor.setAttribute("x1", x(step));
    cursor.setAttribute("x2", x(step));
    series.forEach(({ values }, place) => { numbers[place].textContent = step < values.length ? write(values[step]) : "–"; });
  } };
}

// series: [{variant, xs, ys}] in mm: the way of the end effector, seen from above.
function pathChart({ title, series }) {
  const xs = series.flatMap((one) => one.xs), ys = series.flatMap((one) => one.ys);
  const [left, right] = [xs.reduce((a, b) => Math.min(a, b)), xs.reduce((a, b) => Math.max(a, b))];
  const [bottom, top] = [ys.reduce((a, b) => Math.min(a, b)), ys.reduce((a, b) => Math.max(a, b))];
  const side = Math.max(right - left, top - bottom, 1) * 1.1;
  const svg = draw("svg", { viewBox: `${(left + right - side) / 2} ${-(bottom + top + side) / 2} ${side} ${side}`,
    role: "img", "aria-label": `${title}, a square of ${side.toFixed(0)} mm` });
  const dots = series.map(({ variant, xs: across, ys: up }) => {
    svg.append(draw("polyline", { style: `--series: ${variant.series}`,
      points: across.map((value, step) => `${value},${-up[step]}`).join(" ") }));
    return draw("circle", { r: side / 45, style: `--series: ${variant.series}`, "stroke-width": side / 200 });
  });
  svg.append(...dots);
  const node = element("section", { class: "chart path" }, element("h3", {}, title), svg,
    element("div", { class: "scale" }, element("span", {}, `side ${side.toFixed(0)} mm`)));
  return { node, moveTo(step) {
    series.forEach(({ xs: across, ys: up }, place) => {
      const at = Math.min(step, across.length - 1);
      dots[place].setAttribute("cx", across[at]);
      dots[place].setAttribute("cy", -up[at]);
    });
  } };
}

const ACTIONS = ["x", "y", "z", "rotation x", "rotation y", "rotation z", "gripper"];

// All charts of a group; traces: variant id -> what its script says.
function groupCharts(episodes, traces, threshold, seek) {
  const traced = episodes.filter(({ variant }) => traces[variant.id]);
  const last = Math.max(...traced.map(({ variant }) => traces[variant.id].gripper_mm.length)) - 1;
  const pick = (of) => traced.map((episode) => ({ variant: episode.variant, values: of(traces[episode.variant.id]),
    mark: episode.divergence }));
  const apart = traced.filter(({ variant }) => traces[variant.id].distance_mm);
  const charts = [];
  if (apart.length > 0) {
    charts.push(lineChart({ title: "Distance from full precision", unit: "mm", last, limit: threshold, wide: true, seek,
      series: apart.map((episode) => ({ variant: episode.variant, values: traces[episode.variant.id].distance_mm,
        mark: episode.divergence })) }));
  }
  charts.push(lineChart({ title: "Gripper opening", unit: "mm", last, seek, series: pick((trace) => trace.gripper_mm) }));
  ACTIONS.forEach((name, place) => charts.push(lineChart({ title: `Action ${name}`, unit: "raw units", last, seek,
    series: pick((trace) => trace.actions[place]) })));
  charts.push(pathChart({ title: "End effector from above", series: traced.map(({ variant }) => {
    const [xs, ys] = traces[variant.id].position_mm;
    return { variant, xs, ys };
  }) }));
  return charts;
}
