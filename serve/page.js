"use strict";
const model = JSON.parse(document.getElementById("model").textContent);
const byId = (id) => document.getElementById(id);
const PER_PAGE = 30, MOST_ROWS_SHOWN = 50, LINES_AT_ONCE = 1000;

function element(name, attributes = {}, ...children) {
  const node = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) node.setAttribute(key, value);
  node.append(...children);
  return node;
}
const nameOf = (i) => (model.names ? model.names[i] : `feature_${i + 1}`); // numbered from 1, as in coefficients.csv
const short = (value) => (Math.abs(value) >= 1e6 || (value && Math.abs(value) < 1e-3) ? value.toExponential(3) : String(+value.toPrecision(5)));

// --- pictures: blue above zero, brown below, white at zero; unsigned ones like the pad, white on black ------
function paint(canvas, values, side, signed) {
  canvas.width = canvas.height = side;
  const context = canvas.getContext("2d");
  const image = context.createImageData(side, side);
  let peak = 1e-30;
  for (const value of values) peak = Math.max(peak, Math.abs(value));
  values.forEach((value, i) => {
    const share = Math.min(1, Math.abs(value) / peak);
    const end = value > 0 ? [11, 110, 143] : [179, 83, 15];
    for (let c = 0; c < 3; c++) image.data[4 * i + c] = signed ? 255 + share * (end[c] - 255) : value > 0 ? 255 * share : 0;
    image.data[4 * i + 3] = 255;
  });
  context.putImageData(image, 0, 0);
}

function figure(title, values, side, size = "", signed = true) {
  const canvas = element("canvas", { class: "image " + size, role: "img", "aria-label": title });
  paint(canvas, values, side, signed);
  return element("figure", {}, canvas, element("figcaption", {}, title));
}

function decoded(text) { // base64 of signed bytes
  return Array.from(atob(text), (sign) => (sign.charCodeAt(0) << 24) >> 24);
}

function showImages(into) {
  if (!model.images.length) return;
  into.append(element("p", { class: "soft" }, model.images_caption, " negative", element("span", { class: "scale" }), "positive"));
  const row = element("div", { class: "images" });
  const size = model.images.length < 3 ? "large" : "";
  for (const image of model.images) row.append(figure(image.title, decoded(image.pixels), model.side, size));
  into.append(row);
}

// --- bars --------------------------------------------------------------------------------------------------
function bars(rows, whole = false) { // [name, value]; around a middle line, or from the left where none is negative
  const grid = element("div", { class: "bars" });
  const peak = Math.max(...rows.map((row) => Math.abs(row[1])), 1e-30);
  for (const [name, value] of rows) {
    const width = ((whole ? 100 : 50) * Math.abs(value)) / peak;
    const bar = element("i", { class: value < 0 ? "minus" : "" });
    bar.style.width = width + "%";
    bar.style.left = whole ? 0 : (value < 0 ? 50 - width : 50) + "%";
    grid.append(element("span", {}, name), element("div", { class: whole ? "bar whole" : "bar" }, bar), element("span", {}, short(value)));
  }
  return grid;
}

function showBars(into) {
  for (const group of model.bars) into.append(element("h3", {}, group.title), bars(group.rows));
}

// --- curves ------------------------------------------------------------------------------------------------
function svg(name, attributes, ...children) {
  const node = document.createElementNS("http://www.w3.org/2000/svg", name);
  for (const [key, value] of Object.entries(attributes)) node.setAttribute(key, value);
  node.append(...children);
  return node;
}

function plotted(curve) {
  const colors = ["#0b6e8f", "#c4622d", "#1d7f4e", "#7a4fa3"];
  const [width, height, left, bottom] = [Math.max(300, Math.min(640, innerWidth - 60)), 240, 46, 34]; // its letters stay readable
  const low = Math.min(...curve.x), span = Math.max(...curve.x) - low || 1;
  const half = curve.columns ? (width - left - 12) / curve.x.length / 2 : 0; // the outer columns have room
  const x = (value) => left + half + ((value - low) / span) * (width - left - 12 - 2 * half);
  const y = (value) => height - bottom - value * (height - bottom - 26);
  const plot = svg("svg", { viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": curve.title, class: "over-time" });
  for (const tick of [0, 0.25, 0.5, 0.75, 1]) {
    plot.append(svg("line", { class: "axis", x1: left, x2: width - 12, y1: y(tick), y2: y(tick) }));
    plot.append(svg("text", { x: 8, y: y(tick) + 4 }, String(tick)));
  }
  for (const share of span < 4 && curve.columns ? [0, 1] : [0, 0.25, 0.5, 0.75, 1]) {
    const value = low + share * span;
    plot.append(svg("text", { x: x(value), y: height - 16, "text-anchor": "middle" }, String(+value.toFixed(span > 4 ? 0 : 3))));
  }
  plot.append(svg("text", { x: width / 2, y: height - 2, "text-anchor": "middle" }, curve.x_title));
  (curve.columns || []).forEach((value, i) => {
    plot.append(svg("rect", { x: x(curve.x[i]) - 0.8 * half, width: Math.max(1.6 * half, 0.5), y: y(value), height: Math.max(y(0) - y(value), 0), fill: "#0b6e8f", opacity: 0.55 }));
  });
  const lines = Object.entries(curve.lines), step = Math.min(120, (width - left) / Math.max(lines.length, 1));
  lines.forEach(([name, values], i) => {
    const points = values.map((value, j) => (value === null ? null : `${x(curve.x[j])},${y(value)}`)).filter(Boolean);
    plot.append(svg("polyline", { points: points.join(" "), fill: "none", stroke: colors[(i + (curve.columns ? 1 : 0)) % 4], "stroke-width": 2 }));
    const label = svg("text", { x: left + i * step, y: 12 }, name);
    label.style.fill = colors[(i + (curve.columns ? 1 : 0)) % 4];
    plot.append(label);
  });
  const marker = svg("line", { y1: 18, y2: height - bottom, stroke: "currentColor", "stroke-width": 2, "stroke-dasharray": "4 3" });
  const mark = (value) => { marker.setAttribute("x1", x(value)); marker.setAttribute("x2", x(value)); };
  if (curve.marker !== null) { mark(curve.marker); plot.append(marker); }
  return [plot, mark];
}

function costs(curve, i) { // what the threshold at place i does, in records of the data that it was calibrated on
  const [negatives, positives] = curve.counts;
  const found = curve.lines.recall[i] * positives;
  const precision = curve.lines.precision[i];
  return { found, missed: positives - found, alarms: precision ? found * (1 / precision - 1) : 0, positives, negatives };
}

function thresholdHandle(curve, mark) { // the threshold as a handle on its curve, with what it costs
  const slider = element("input", { type: "range", min: 0, max: curve.x.length - 1, step: 1, "aria-label": "threshold" });
  const said = element("p", { class: "cost" });
  const order = curve.x.map((_, i) => i).sort((a, b) => curve.x[a] - curve.x[b]); // the handle goes from low to high
  const nearest = (value) => order.reduce((best, i, place) => (Math.abs(curve.x[i] - value) < Math.abs(curve.x[order[best]] - value) ? place : best), 0);
  const use = element("button", { type: "button", class: "plain" }, "Predict with it");
  const miss = element("input", { type: "number", min: 0, step: "any", value: 1, "aria-label": "cost of a miss" });
  const alarm = element("input", { type: "number", min: 0, step: "any", value: 1, "aria-label": "cost of a false alarm" });
  const cheapest = element("button", { type: "button", class: "plain" }, "Go to the cheapest");
  const countable = curve.counts && curve.lines.recall && curve.lines.precision;
  const total = (i) => { const c = costs(curve, i); return c.missed * miss.value + c.alarms * alarm.value; };
  const whole = (value) => Math.round(value).toLocaleString();
  const show = () => {
    const i = order[+slider.value];
    mark(curve.x[i]);
    let text = `At ${short(curve.x[i])}: `;
    if (countable) {
      const c = costs(curve, i);
      text += `finds ${whole(c.found)} of ${whole(c.positives)} positives, misses ${whole(c.missed)}, and raises ${whole(c.alarms)} false alarms among ${whole(c.negatives)} negatives. Cost: ${whole(total(i))}.`;
    } else text += Object.entries(curve.lines).map(([name, values]) => `${name} ${values[i] === null ? "–" : short(values[i])}`).join(", ");
    said.textContent = text;
  };
  slider.value = nearest(curve.marker === null ? curve.x[order[0]] : curve.marker);
  slider.addEventListener("input", show);
  use.addEventListener("click", () => { byId("threshold").value = short(curve.x[order[+slider.value]]); send(); byId("try").scrollIntoView({ behavior: "smooth" }); });
  for (const input of [miss, alarm]) input.addEventListener("input", show);
  cheapest.addEventListener("click", () => {
    slider.value = order.reduce((best, i, place) => (total(i) < total(order[best]) ? place : best), 0);
    show();
  });
  show();
  const price = element("div", { class: "row" }, "A miss costs", miss, "a false alarm", alarm, cheapest);
  return [element("div", { class: "row" }, slider, byId("threshold") ? use : ""), said, ...(countable ? [price] : [])];
}

function showCurves(into) {
  for (const curve of model.curves) {
    const [plot, mark] = plotted(curve);
    into.append(element("h3", {}, curve.title), plot);
    if (curve.marker !== null) into.append(...thresholdHandle(curve, mark));
  }
}

// --- texts to records --------------------------------------------------------------------------------------
const isNumber = (cell) => cell !== "" && Number.isFinite(Number(cell));

function tableOf(text) { // rows of cells: commas, tabs, semicolons with decimal commas; and names, if there is a first line of them
  const lines = text.split(/\r\n|\r|\n/).filter((line) => line.trim());
  if (!lines.length) return { rows: [], names: null };
  const first = lines[0];
  const separator = first.includes("\t") ? "\t" : first.includes(";") ? ";" : first.includes(",") ? "," : /\s+/;
  const clean = (cell) => {
    const bare = cell.trim().replace(/^"(.*)"$/, "$1");
    return separator === "," || isNumber(bare) ? bare : /^[+-]?[\d.]*,\d+([eE][+-]?\d+)?$/.test(bare) ? bare.replaceAll(".", "").replace(",", ".") : bare;
  };
  const rows = lines.map((line) => (separator instanceof RegExp ? line.trim() : line).split(separator).map(clean));
  return rows[0].some(isNumber) ? { rows, names: null } : { rows: rows.slice(1), names: rows[0] };
}

function inOrder({ rows, names }) { // the model's columns, where the names say which they are
  if (!names || !model.names) return rows;
  const places = model.names.map((name) => names.indexOf(name));
  return places.includes(-1) ? rows : rows.map((row) => places.map((place) => row[place]));
}

function instancesOf(value) { // JSON in any of the forms that people write
  if (Array.isArray(value)) {
    if (value.every((item) => typeof item === "number")) return [{ features: value }];
    if (value.every((item) => Array.isArray(item))) return value.map((features) => ({ features }));
    if (value.every((item) => item && typeof item === "object")) return value.flatMap(instancesOf);
  } else if (value && typeof value === "object") {
    if (Array.isArray(value.instances)) return instancesOf(value.instances);
    if (value.features || value.data) return [value];
    if (model.names && model.names.every((name) => name in value)) return [{ features: model.names.map((name) => Number(value[name])) }];
  }
  throw new TypeError("no records");
}

function requestOf(text) { // [content type, body]
  const chosen = byId("content-type").value, record = text.trim();
  if (chosen) return [chosen, chosen === "application/json" ? record : record + "\n"];
  if (/^[[{]/.test(record)) {
    try {
      return ["application/json", JSON.stringify({ instances: instancesOf(JSON.parse(record)) })];
    } catch {
      try {
        const instances = record.split(/\r\n|\r|\n/).filter((line) => line.trim()).flatMap((line) => instancesOf(JSON.parse(line)));
        return ["application/json", JSON.stringify({ instances })];
      } catch { return ["application/json", record]; }
    }
  }
  return ["text/csv", inOrder(tableOf(record)).map((row) => row.join(",")).join("\n") + "\n"];
}

// --- asking ------------------------------------------------------------------------------------------------
function query(outputs) {
  const asked = new URLSearchParams();
  if (outputs.length) asked.set("output", outputs.join(","));
  const threshold = byId("threshold");
  if (threshold && threshold.value.trim()) asked.set("threshold", threshold.value.trim().replace(",", "."));
  return asked;
}

const ask = (outputs, type, body, accept = "application/json") =>
  fetch("/invocations?" + query(outputs), { method: "POST", body, headers: { "Content-Type": type, Accept: accept } });

const outputs = () => [...document.querySelectorAll("input[name=output]:checked")].map((box) => box.value);
const recordsOf = (answer) => (answer && (answer.predictions || answer.projections || answer.reconstructions)) || [];

function shortened(key, value) { // long rows of numbers are cut for reading
  if (Array.isArray(value) && value.length > 12 && value.every((item) => typeof item === "number")) {
    return value.slice(0, 8).map((item) => +item.toPrecision(6)).join(", ") + `, … (${value.length} numbers)`;
  }
  return value;
}

let latest = 0;
async function send() {
  const number = ++latest, [type, body] = requestOf(byId("record").value), started = performance.now();
  let response, text;
  try {
    response = await ask(outputs(), type, body, byId("accept").value);
    text = await response.text();
  } catch (error) {
    byId("status").textContent = "The server did not answer: " + error.message;
    return;
  }
  if (number !== latest) return; // a newer drawing has been sent meanwhile
  byId("pictures").replaceChildren();
  byId("why").replaceChildren();
  const isJson = (response.headers.get("Content-Type") || "").startsWith("application/json");
  const answer = isJson ? JSON.parse(text || "null") : null;
  byId("answer").textContent = isJson ? JSON.stringify(answer, shortened, 2) : text || "(no body)";
  if (response.ok) showResult(recordsOf(answer), answer === null);
  else showRefusal(answer ? answer.error : text);
  const first = recordsOf(answer)[0];
  if (first && model.side) {
    for (const [column, title, signed] of [["reconstruction", "reconstruction", false], ["contributions", "contributions to the score", true]]) {
      if (first[column]) byId("pictures").append(figure(title, first[column].slice(0, model.side ** 2), model.side, "large", signed));
    }
  }
  byId("status").textContent = `${response.status} ${response.statusText} in ${(performance.now() - started).toFixed(1)} ms`;
  if (response.ok && type === "text/csv" && body.indexOf("\n") === body.length - 1) why(number, body);
}

function showRefusal(sentence) {
  byId("result").className = "result refused";
  byId("result").replaceChildren(element("p", {}, sentence || "The request was refused."));
}

function className(label) { // of its number, or its own name, which answers of models with names hold
  if (model.classes) return typeof label === "number" ? model.classes[label] : label;
  return `class ${label}`;
}

function gauge(share, threshold) {
  const fill = element("i"), tick = element("b", { title: "threshold" });
  fill.style.width = 100 * Math.max(0, Math.min(1, share)) + "%";
  tick.style.left = 100 * Math.max(0, Math.min(1, threshold)) + "%";
  return element("div", { class: "gauge", role: "img", "aria-label": `${short(share)}, threshold ${short(threshold)}` }, fill, tick);
}

function showResult(records, plain) {
  const into = byId("result"), first = records[0];
  into.className = "result";
  into.replaceChildren();
  if (!first) { into.append(element("p", { class: "soft" }, plain ? "Answered; the text is below." : "No records.")); byId("raw").open = plain; return; }
  const value = (text) => into.append(element("div", { class: "value" }, text));
  const said = (text) => into.append(element("p", { class: "said" }, text));
  const score = Array.isArray(first.score) ? first.score : first.probabilities;
  if (model.kind === "multiclass_classifier" && score) {
    const ranked = score.map((share, label) => [className(label), share]).sort((a, b) => b[1] - a[1]);
    value(first.predicted_label === undefined ? ranked[0][0] : className(first.predicted_label));
    said("The classes, most likely first:");
    into.append(bars(ranked.slice(0, 8), true));
  } else if (model.kind === "binary_classifier" && first.predicted_label !== undefined) {
    const yes = model.classes ? model.classes[1] : "yes";
    value(model.classes ? className(first.predicted_label) : first.predicted_label ? "1 – yes" : "0 – no");
    if (typeof first.score === "number") {
      const threshold = Number(byId("threshold").value.replace(",", ".")) || model.threshold;
      const likely = model.columns.includes("probability");
      said(likely ? `Probability ${(100 * first.score).toFixed(1)} %; “${yes}” from ${(100 * threshold).toFixed(1)} % on.` : `Score ${short(first.score)}; “${yes}” from ${short(threshold)} on.`);
      if (likely) into.append(gauge(first.score, threshold));
    }
  } else if (first.projection) {
    said("The record on the components, strongest first:");
    const order = model.order || [...first.projection.keys()];
    into.append(bars(order.filter((column) => column < first.projection.length).slice(0, 12).map((column, rank) => [`component ${rank + 1}`, first.projection[column]])));
  } else {
    const number = [first.score, first.predicted_score, first.raw_score].find((item) => typeof item === "number");
    if (number === undefined) said("Answered; the numbers are below."); else value(short(number));
  }
  if (records.length > 1) said(`The first of ${records.length} records; the others are below.`);
}

async function why(number, line) { // which features make the score what it is, against the average record
  if (!model.columns.includes("contributions") || model.features > 20000) return;
  const compare = model.average_known && model.kind !== "multiclass_classifier";
  const response = await ask(["contributions"], "text/csv", compare ? line + average.join(",") + "\n" : line);
  if (!response.ok || number !== latest) return;
  const [record, usual] = recordsOf(await response.json());
  const rows = record.contributions.slice(0, -1).map((value, i) => [nameOf(i), usual ? value - usual.contributions[i] : value]);
  const largest = rows.filter((row) => row[1]).sort((a, b) => Math.abs(b[1]) - Math.abs(a[1])).slice(0, 10);
  if (!largest.length) {
    if (usual) byId("why").replaceChildren(element("p", { class: "soft" }, "This is the average record: change a field, and the features that matter appear here."));
    return;
  }
  const unit = model.kind === "regressor" ? "the prediction" : "the score before the sigmoid or softmax";
  byId("why").replaceChildren(
    element("h3", {}, usual ? "Why: what sets it apart from the average record" : "Why: what each feature adds"),
    bars(largest),
    element("p", { class: "soft" }, `What ${largest.length < rows.length ? "the strongest features add" : "each feature adds"} to ${unit}.`),
  );
}

// --- one field per feature ---------------------------------------------------------------------------------
let average = [], values = [], page = 0;

function writeRecord() {
  byId("content-type").value = "";
  byId("record").value = values.join(",");
}

function showFields() {
  const wanted = byId("find").value.trim().toLowerCase(), places = [];
  for (let i = 0; i < model.features; i++) if (!wanted || nameOf(i).toLowerCase().includes(wanted)) places.push(i);
  const pages = Math.max(1, Math.ceil(places.length / PER_PAGE));
  page = Math.max(0, Math.min(page, pages - 1));
  const here = places.slice(page * PER_PAGE, (page + 1) * PER_PAGE);
  byId("shown").textContent = here.length ? `${page * PER_PAGE + 1} to ${page * PER_PAGE + here.length} of ${places.length.toLocaleString()}` : "none";
  byId("inputs").replaceChildren(...here.map((i) => {
    const input = element("input", { type: "text", inputmode: "decimal", value: values[i], id: `field-${i}` });
    const note = () => input.classList.toggle("changed", values[i] !== average[i]);
    input.addEventListener("input", () => { values[i] = input.value.trim().replace(",", ".") || average[i]; note(); writeRecord(); });
    note();
    return element("div", {}, element("label", { for: `field-${i}`, title: nameOf(i) }, nameOf(i)), input);
  }));
}

async function beginWithTheAverage() {
  average = new Array(model.features).fill("0");
  try {
    const response = await fetch("/page/average");
    const bytes = new DataView(await response.arrayBuffer());
    average = average.map((_, i) => String(+bytes.getFloat32(4 * i, true).toPrecision(6)));
  } catch { /* zeros do as well */ }
  values = [...average];
  if (!byId("record").value) writeRecord();
  showFields();
}

function prepareFields() {
  byId("begin").textContent = model.average_known ? "the average record" : "zeros";
  byId("finder").hidden = model.features <= PER_PAGE;
  byId("fields").open = !(model.side >= 6) && model.features <= 2000;
  byId("find").addEventListener("input", () => { page = 0; showFields(); });
  byId("earlier").addEventListener("click", () => { page--; showFields(); });
  byId("later").addEventListener("click", () => { page++; showFields(); });
  byId("record").addEventListener("input", () => {
    const rows = tableOf(byId("record").value).rows;
    if (rows.length === 1 && rows[0].length === model.features && rows[0].every(isNumber)) { values = rows[0]; showFields(); }
  });
  byId("reset").addEventListener("click", () => { values = [...average]; writeRecord(); showFields(); forget(); });
}

function forget() { // an answer that is no longer that of the record shown
  latest++;
  byId("result").className = "result";
  byId("result").replaceChildren(element("p", { class: "soft" }, "The answer appears here."));
  for (const id of ["why", "pictures", "answer"]) byId(id).replaceChildren();
  byId("status").textContent = "No request yet";
}

// --- drawing -----------------------------------------------------------------------------------------------
function drawingPad(side) {
  byId("draw").hidden = false;
  const pad = byId("pad"), context = pad.getContext("2d"), pixels = new Float32Array(side * side);
  pad.width = pad.height = side;
  byId("brightest").value = model.scale || 1;
  byId("scale-note").hidden = Boolean(model.scale);
  const show = () => {
    const image = context.createImageData(side, side);
    pixels.forEach((value, i) => image.data.set([255 * value, 255 * value, 255 * value, 255], 4 * i));
    context.putImageData(image, 0, 0);
  };
  const write = () => {
    const brightest = Number(byId("brightest").value) || 1;
    values = Array.from(pixels, (value) => String(+(value * brightest).toPrecision(4)));
    writeRecord();
  };
  const dot = (event) => {
    const box = pad.getBoundingClientRect();
    const cx = ((event.clientX - box.left) / box.width) * side, cy = ((event.clientY - box.top) / box.height) * side;
    const radius = Math.max(0.8, side / 18);
    for (let row = 0; row < side; row++) for (let column = 0; column < side; column++) {
      const distance = Math.hypot(column + 0.5 - cx, row + 0.5 - cy);
      pixels[row * side + column] = Math.max(pixels[row * side + column], Math.min(1, Math.max(0, 1.4 - distance / radius)));
    }
    show();
    write();
  };
  let pending = 0;
  const later = () => { clearTimeout(pending); pending = setTimeout(send, 60); };
  pad.addEventListener("pointerdown", (event) => { pad.setPointerCapture(event.pointerId); dot(event); later(); });
  pad.addEventListener("pointermove", (event) => { if (event.buttons) { dot(event); later(); } });
  pad.addEventListener("pointerup", showFields);
  byId("brightest").addEventListener("change", () => { write(); send(); });
  byId("clear").addEventListener("click", () => { clearTimeout(pending); pixels.fill(0); show(); write(); forget(); });
  show();
}

// --- files -------------------------------------------------------------------------------------------------
function flat(record) { // one number per column
  return Object.entries(record).flatMap(([name, value]) => (Array.isArray(value) ? value.map((item, i) => [`${name}_${i + 1}`, item]) : [[name, value]]));
}

async function predictFile(file) {
  const into = byId("table"), number = ++latest;
  into.replaceChildren(element("p", { class: "soft" }, `Reading ${file.name} …`));
  const text = await file.text();
  let table, rows;
  if (/^\s*[[{]/.test(text)) {
    const [, body] = requestOf(text);
    rows = JSON.parse(body).instances.map((instance) => instance.features || []);
    table = { rows, names: null };
  } else {
    table = tableOf(text);
    rows = inOrder(table);
  }
  const found = [];
  const wanted = outputs().filter((name) => !["contributions", "reconstruction"].includes(name));
  const size = Math.max(1, Math.min(LINES_AT_ONCE, Math.floor(1000000 / (8 * model.features))));
  for (let start = 0; start < rows.length; start += size) {
    const body = rows.slice(start, start + size).map((row) => row.join(",")).join("\n") + "\n";
    const response = await ask(wanted, "text/csv", body);
    if (number !== latest) return;
    const answer = await response.json();
    if (!response.ok) {
      into.replaceChildren(element("p", { class: "result refused" }, `${file.name}, records ${start + 1} to ${Math.min(start + size, rows.length)}: ${answer.error}`));
      return;
    }
    found.push(...recordsOf(answer));
    into.firstChild.textContent = `${found.length.toLocaleString()} of ${rows.length.toLocaleString()} records …`;
  }
  showFile(into, file, table, found);
}

function showFile(into, file, table, found) {
  if (!found.length) { into.replaceChildren(element("p", {}, `${file.name} holds no records.`)); return; }
  const answers = found.map(flat), columns = answers[0].map(([name]) => name);
  const names = table.names || table.rows[0].map((_, i) => (table.rows[0].length === model.features ? nameOf(i) : `column_${i + 1}`));
  const cell = (text) => (/[",\n]/.test(text) ? `"${String(text).replaceAll('"', '""')}"` : text);
  const lines = [[...columns, ...names], ...table.rows.map((row, i) => [...answers[i].map(([, value]) => value), ...row])];
  const url = URL.createObjectURL(new Blob([lines.map((line) => line.map(cell).join(",")).join("\n") + "\n"], { type: "text/csv" }));
  const link = element("a", { href: url, download: file.name.replace(/\.\w+$/, "") + "-predictions.csv" }, "Download the predictions as CSV");
  const head = element("tr", {}, ...["record", ...columns.slice(0, 8), ...names.slice(0, 6)].map((name) => element("th", {}, name)));
  const body = answers.slice(0, MOST_ROWS_SHOWN).map((answer, i) =>
    element("tr", {}, element("td", {}, String(i + 1)),
      ...answer.slice(0, 8).map(([, value]) => element("td", { class: "number" }, element("strong", {}, typeof value === "number" ? short(value) : String(value)))),
      ...table.rows[i].slice(0, 6).map((value) => element("td", { class: "number" }, String(value)))));
  into.replaceChildren(
    element("h3", {}, `${file.name}: ${found.length.toLocaleString()} records`), counted(found), element("p", {}, link),
    element("div", { class: "scroll" }, element("table", {}, head, ...body)));
  if (found.length > MOST_ROWS_SHOWN) into.append(element("p", { class: "soft" }, `The first ${MOST_ROWS_SHOWN}; all are in the download.`));
  const side = Math.sqrt(found.length); // records that are pixels: each component is a picture then
  if (found[0].projection && Number.isInteger(side) && side >= 8) {
    const row = element("div", { class: "images" });
    const order = model.order || [...found[0].projection.keys()];
    order.slice(0, 24).forEach((column, rank) => row.append(figure(`component ${rank + 1}`, found.map((record) => record.projection[column]), side)));
    into.append(element("h3", {}, `The components, drawn with one record per pixel (${side} x ${side})`), row);
  }
}

function counted(found) { // how often each class was predicted, or the range of the predictions
  const count = new Map();
  for (const record of found) if (record.predicted_label !== undefined) count.set(record.predicted_label, (count.get(record.predicted_label) || 0) + 1);
  if (!count.size) return "";
  return bars([...count].sort((a, b) => b[1] - a[1]).slice(0, 12).map(([label, times]) => [className(label), times]), true);
}

function prepareFiles() {
  const drop = byId("drop");
  byId("file").addEventListener("change", () => { if (byId("file").files[0]) read(byId("file").files[0]); });
  const read = (file) => predictFile(file).catch((error) => byId("table").replaceChildren(element("p", {}, `${file.name} cannot be read: ${error.message}`)));
  for (const [name, over] of [["dragover", true], ["dragleave", false], ["drop", false]]) {
    drop.addEventListener(name, (event) => { event.preventDefault(); drop.classList.toggle("over", over); });
  }
  drop.addEventListener("drop", (event) => { if (event.dataTransfer.files[0]) read(event.dataTransfer.files[0]); });
}

// --- the rest ----------------------------------------------------------------------------------------------
async function askPing() {
  const state = byId("state");
  try {
    const ready = (await fetch("/ping")).status === 200;
    state.textContent = ready ? "ready" : "not ready";
    state.className = "state " + (ready ? "good" : "bad");
  } catch {
    state.textContent = "no answer";
    state.className = "state bad";
  }
}

for (const button of document.querySelectorAll("button.copy")) {
  button.addEventListener("click", async () => {
    await navigator.clipboard.writeText(button.parentElement.querySelector("code").textContent);
    button.textContent = "Copied";
    setTimeout(() => (button.textContent = "Copy"), 1500);
  });
}
const drawings = byId("drawings");
showImages(drawings);
showBars(drawings);
showCurves(drawings);
byId("look").hidden = !drawings.childElementCount;
if (byId("try")) {
  byId("try").addEventListener("submit", (event) => { event.preventDefault(); send(); });
  prepareFields();
  prepareFiles();
  if (model.side >= 6) drawingPad(model.side);
  beginWithTheAverage();
}
askPing();
setInterval(askPing, 10000);
