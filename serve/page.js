"use strict";
const model = JSON.parse(document.getElementById("model").textContent);
const byId = (id) => document.getElementById(id);

function element(name, attributes = {}, ...children) {
  const node = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) node.setAttribute(key, value);
  node.append(...children);
  return node;
}

// --- pictures: blue above zero, brown below, white at zero; unsigned ones like the pad, white on black -------------------------------------------------
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
  into.append(element("p", { class: "soft" }, model.images_caption, " negative",
    element("span", { class: "scale" }), "positive"));
  const row = element("div", { class: "images" });
  const size = model.images.length < 3 ? "large" : "";
  for (const image of model.images) row.append(figure(image.title, decoded(image.pixels), model.side, size));
  into.append(row);
}

function showBars(into) {
  for (const group of model.bars) {
    into.append(element("h3", {}, group.title));
    const grid = element("div", { class: "bars" });
    const peak = Math.max(...group.rows.map((row) => Math.abs(row[1])), 1e-30);
    for (const [name, value] of group.rows) {
      const width = (50 * Math.abs(value)) / peak;
      const bar = element("i", { class: value < 0 ? "minus" : "" });
      bar.style.width = width + "%";
      bar.style.left = (value < 0 ? 50 - width : 50) + "%";
      grid.append(element("span", {}, name), element("div", { class: "bar" }, bar), element("span", {}, value.toPrecision(4)));
    }
    into.append(grid);
  }
}

// --- curves ------------------------------------------------------------------------------------------------
function svg(name, attributes, ...children) {
  const node = document.createElementNS("http://www.w3.org/2000/svg", name);
  for (const [key, value] of Object.entries(attributes)) node.setAttribute(key, value);
  node.append(...children);
  return node;
}

function showCurves(into) {
  const colors = ["#0b6e8f", "#c4622d", "#1d7f4e", "#7a4fa3"];
  for (const curve of model.curves) {
    const [width, height, left, bottom] = [Math.max(320, Math.min(640, innerWidth - 60)), 240, 46, 34]; // its letters stay readable
    const low = Math.min(...curve.x), span = Math.max(...curve.x) - low || 1;
    const x = (value) => left + ((value - low) / span) * (width - left - 12);
    const y = (value) => height - bottom - value * (height - bottom - 26);
    const plot = svg("svg", { viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": curve.title });
    for (const tick of [0, 0.25, 0.5, 0.75, 1]) {
      plot.append(svg("line", { class: "axis", x1: left, x2: width - 12, y1: y(tick), y2: y(tick) }));
      plot.append(svg("text", { x: 8, y: y(tick) + 4 }, String(tick)));
    }
    for (const share of [0, 0.25, 0.5, 0.75, 1]) {
      const value = low + share * span;
      plot.append(svg("text", { x: x(value), y: height - 16, "text-anchor": "middle" }, String(+value.toFixed(span > 20 ? 0 : 3))));
    }
    plot.append(svg("text", { x: width / 2, y: height - 2, "text-anchor": "middle" }, curve.x_title));
    const lines = Object.entries(curve.lines), step = Math.min(120, (width - left) / lines.length);
    lines.forEach(([name, values], i) => {
      const points = values.map((value, j) => (value === null ? null : `${x(curve.x[j])},${y(value)}`)).filter(Boolean);
      plot.append(svg("polyline", { points: points.join(" "), fill: "none", stroke: colors[i % 4], "stroke-width": 2 }));
      plot.append(svg("text", { x: left + i * step, y: 12, style: `fill:${colors[i % 4]};font-weight:600` }, name));
    });
    if (curve.marker !== null) {
      plot.append(svg("line", { x1: x(curve.marker), x2: x(curve.marker), y1: 18, y2: height - bottom, stroke: "currentColor", "stroke-dasharray": "4 3" }));
    }
    into.append(element("h3", {}, curve.title), plot);
  }
}

// --- the form ----------------------------------------------------------------------------------------------
function shortened(key, value) { // long rows of numbers are cut for reading; Accept: text/csv shows them whole
  if (Array.isArray(value) && value.length > 12 && value.every((item) => typeof item === "number")) {
    return value.slice(0, 8).map((item) => +item.toPrecision(6)).join(", ") + `, … (${value.length} numbers)`;
  }
  return value;
}

function requestBody(text) {
  const record = text.trim();
  const type = byId("content-type").value;
  if (type === "text/csv" || record.startsWith("{")) return record + (type === "application/json" ? "" : "\n");
  const instance = `{"features": [${record}]}`;
  return type === "application/json" ? `{"instances": [${instance}]}` : instance + "\n";
}

let latest = 0;
async function send() {
  const number = ++latest;
  const query = new URLSearchParams();
  const wanted = [...document.querySelectorAll("input[name=output]:checked")].map((box) => box.value);
  if (wanted.length) query.set("output", wanted.join(","));
  const threshold = byId("threshold");
  if (threshold && threshold.value.trim()) query.set("threshold", threshold.value.trim());
  const accept = byId("accept").value;
  const started = performance.now();
  let response, text;
  try {
    response = await fetch("/invocations?" + query, {
      method: "POST", body: requestBody(byId("record").value),
      headers: { "Content-Type": byId("content-type").value, Accept: accept },
    });
    text = await response.text();
  } catch (error) {
    byId("status").textContent = "The server did not answer: " + error.message;
    return;
  }
  if (number !== latest) return; // a newer drawing has been sent meanwhile
  byId("status").textContent = `${response.status} ${response.statusText} in ${(performance.now() - started).toFixed(1)} ms`;
  byId("pictures").replaceChildren();
  if (!(response.headers.get("Content-Type") || "").startsWith("application/json")) {
    byId("answer").textContent = text || "(no body)";
    return;
  }
  const answer = JSON.parse(text || "null");
  byId("answer").textContent = JSON.stringify(answer, shortened, 2);
  const first = answer && (answer.predictions || answer.projections || [])[0];
  if (first && model.side) {
    const pictured = [["reconstruction", "reconstruction", false], ["contributions", "contributions to the score", true]];
    for (const [column, title, signed] of pictured) {
      if (first[column]) byId("pictures").append(figure(title, first[column].slice(0, model.side ** 2), model.side, "large", signed));
    }
  }
}

function drawingPad(side) {
  byId("draw").hidden = false;
  const pad = byId("pad"), context = pad.getContext("2d"), pixels = new Float32Array(side * side);
  pad.width = pad.height = side;
  const show = () => {
    const image = context.createImageData(side, side);
    pixels.forEach((value, i) => image.data.set([255 * value, 255 * value, 255 * value, 255], 4 * i));
    context.putImageData(image, 0, 0);
    const brightest = Number(byId("brightest").value) || 1;
    byId("content-type").value = "text/csv";
    byId("record").value = Array.from(pixels, (value) => +(value * brightest).toFixed(3)).join(",");
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
  };
  let pending = 0;
  const later = () => { clearTimeout(pending); pending = setTimeout(send, 60); };
  pad.addEventListener("pointerdown", (event) => { pad.setPointerCapture(event.pointerId); dot(event); later(); });
  pad.addEventListener("pointermove", (event) => { if (event.buttons) { dot(event); later(); } });
  byId("brightest").addEventListener("change", () => { show(); send(); });
  byId("clear").addEventListener("click", () => { pixels.fill(0); show(); });
  show();
}

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
  byId("record").value = model.example;
  byId("try").addEventListener("submit", (event) => { event.preventDefault(); send(); });
  if (model.side >= 6) drawingPad(model.side);
}
askPing();
setInterval(askPing, 10000);
