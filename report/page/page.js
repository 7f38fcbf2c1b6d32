"use strict";
const data = JSON.parse(document.getElementById("data").textContent);
const COLUMNS = [
  ["layer", "layer"], ["kind", "kind"], ["bits", "bits"], ["sqnr", "SQNR, dB"], ["accumulated_sqnr", "in all"],
  ...(data.tensors.some((tensor) => tensor.untuned_sqnr !== null) ? [["untuned_sqnr", "before tuning"]] : []),
  ["cosine", "cosine"], ["accumulated_cosine", "in all"], ["clip_rate", "clipped"], ["sparsity", "zeros"],
  ["min", "min"], ["q1", "q1"], ["median", "median"], ["q3", "q3"], ["max", "max"], ["mean", "mean"],
  ["variance", "variance"], ["scale", "scale"], ["zero_point", "zero point"], ["spread", "channels"],
];
const DETAILS = [...COLUMNS.slice(1), ["bias_share", "offset's share of the error"], ["scales", "scales"]];
const SHARES = new Set(["clip_rate", "sparsity", "bias_share"]);
const COSINES = new Set(["cosine", "accumulated_cosine"]);
const SQNRS = new Set(["sqnr", "accumulated_sqnr", "untuned_sqnr"]);

function shown(key, value) {
  if (value === null) return "";
  if (typeof value === "string") return value;
  if (SHARES.has(key)) return (100 * value).toPrecision(3) + " %";
  if (COSINES.has(key)) return value.toFixed(6);
  if (SQNRS.has(key)) return value.toFixed(1);
  return Number.isInteger(value) ? String(value) : String(Number(value.toPrecision(4)));
}

function element(tag, text = "", kind = "") {
  const made = document.createElement(tag);
  made.textContent = text;
  if (kind) made.className = kind;
  return made;
}

// Worst of its own rounding and of all before it: what is looked for first.
const worst = (tensor) => Math.min(tensor.sqnr, tensor.accumulated_sqnr ?? Infinity);
const head = document.querySelector("#tensors thead");
const body = document.querySelector("#tensors tbody");
const rows = data.tensors.map((tensor, index) => {
  const row = element("tr");
  for (const [key] of COLUMNS) {
    const cell = element("td", shown(key, tensor[key]), typeof tensor[key] === "string" ? "text" : "");
    row.append(cell);
  }
  row.addEventListener("click", () => select(index));
  return row;
});

function place(order) {
  body.replaceChildren(...order.map((index) => rows[index]));
}

function sortBy(key, descending) {
  const order = data.tensors.map((_, index) => index);
  const sign = descending ? -1 : 1;
  order.sort((one, two) => {
    const a = data.tensors[one][key], b = data.tensors[two][key];
    // What has no value comes last, whichever way the rest is sorted.
    if (a === null || b === null) return (a === null) - (b === null);
    return sign * (typeof a === "string" ? a.localeCompare(b, undefined, { numeric: true }) : a - b);
  });
  place(order);
}

const headings = element("tr");
for (const [key, title] of COLUMNS) {
  const heading = element("th", title);
  heading.dataset.key = key;
  heading.addEventListener("click", () => {
    const descending = heading.getAttribute("aria-sort") === "ascending";
    for (const other of headings.children) other.removeAttribute("aria-sort");
    heading.setAttribute("aria-sort", descending ? "descending" : "ascending");
    sortBy(key, descending);
  });
  headings.append(heading);
}
head.append(headings);
place(data.tensors.map((_, index) => index).sort((one, two) => worst(data.tensors[one]) - worst(data.tensors[two])));

document.getElementById("filter").addEventListener("input", (event) => {
  const wanted = event.target.value.toLowerCase();
  rows.forEach((row, index) => { row.hidden = !data.tensors[index].layer.toLowerCase().includes(wanted); });
});

// The network: one line a layer.
const network = document.getElementById("network");
const share = (decibels) => Math.pow(10, -decibels / 20);
const given = new Map(), weights = new Map();
data.tensors.forEach((tensor, index) => (tensor.kind === "weights" ? weights : given).set(tensor.layer, index));
const tensorOf = (layer) => given.get(layer) ?? weights.get(layer);
const largest = Math.max(1e-9, ...data.tensors.map((tensor) => share(worst(tensor))));
for (const layer of data.layers) {
  const line = element("div", "", layer.status === "float" ? "layer float" : "layer");
  const runs = layer.fused_into ? "in " + layer.fused_into : layer.status;
  const bar = element("span", "", "bar");
  if (given.has(layer.layer)) {
    const tensor = data.tensors[given.get(layer.layer)];
    for (const [kind, decibels] of [["all", tensor.accumulated_sqnr], ["own", tensor.sqnr]]) {
      const part = element("i", "", kind);
      part.style.width = Math.min(100, 100 * share(decibels) / largest) + "%";
      bar.append(part);
    }
    bar.title = (100 * share(tensor.accumulated_sqnr)).toPrecision(3) + " %";
  }
  const time = layer.milliseconds === null ? "" : layer.milliseconds.toFixed(3) + " ms";
  const size = layer.weight_bytes ? (layer.weight_bytes / 1000).toFixed(1) + " kB" : "";
  line.append(element("span", layer.layer), element("span", layer.op + ", " + runs), bar,
              element("span", time, "number"), element("span", size, "number"));
  line.title = [layer.reason, ...layer.advice.map((advice) => advice.join("; "))].filter(Boolean).join("\n");
  line.addEventListener("click", () => show(layer.layer));
  network.append(line);
}

function show(layer) {
  const index = tensorOf(layer);
  if (index !== undefined) select(index);
}
for (const link of document.querySelectorAll("#advice a")) {
  link.addEventListener("click", (event) => { event.preventDefault(); show(link.dataset.layer); });
}

// One tensor: its histograms and all of its figures.
const detail = document.getElementById("detail");
let current = null;

function select(index) {
  if (current !== null) rows[current].classList.remove("selected");
  current = index;
  rows[index].classList.add("selected");
  const tensor = data.tensors[index];
  detail.hidden = false;
  detail.querySelector("h2").textContent = tensor.layer + ", " + tensor.kind;
  detail.querySelector("dl").replaceChildren(...DETAILS.flatMap(
    ([key, title]) => [element("dt", title), element("dd", shown(key, tensor[key]))]));
  draw(data.bars[index]);
}

function draw(bars) {
  const WIDTH = 420, HEIGHT = 240, BOTTOM = 24;
  const logarithmic = document.getElementById("logarithmic").checked;
  const height = (count) => (logarithmic ? Math.log10(1 + count) : count);
  const top = Math.max(1e-9, ...bars.before.map(height), ...bars.after.map(height));
  const svg = (tag, attributes, text = "") => {
    const made = document.createElementNS("http://www.w3.org/2000/svg", tag);
    for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
    made.textContent = text;
    return made;
  };
  const parts = [];
  for (const kind of ["before", "after"]) {
    const step = WIDTH / bars[kind].length;
    bars[kind].forEach((count, place) => {
      const tall = (HEIGHT - BOTTOM) * height(count) / top;
      if (count) parts.push(svg("rect", { class: kind, x: place * step, y: HEIGHT - BOTTOM - tall, width: step,
                                          height: tall }));
    });
  }
  parts.push(svg("text", { x: 0, y: HEIGHT - 6, "font-size": 12 }, bars.low.toPrecision(4)));
  parts.push(svg("text", { x: WIDTH, y: HEIGHT - 6, "font-size": 12, "text-anchor": "end" }, bars.high.toPrecision(4)));
  detail.querySelector("svg").replaceChildren(...parts);
}
document.getElementById("logarithmic").addEventListener("change", () => draw(data.bars[current]));
