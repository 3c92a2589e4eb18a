// Draws what status.json tells, every few seconds. Text goes in as text, never as markup.
"use strict";

const byId = (id) => document.getElementById(id);
const svgNode = (name, attributes, text) => {
  const node = document.createElementNS("http://www.w3.org/2000/svg", name);
  for (const [key, value] of Object.entries(attributes)) node.setAttribute(key, value);
  if (text !== undefined) node.textContent = text;
  return node;
};
const count = (n) => Math.round(n).toLocaleString("en");
const size = (n) => {
  const units = ["B", "KiB", "MiB", "GiB", "TiB"];
  let i = 0;
  for (; n >= 1024 && i < units.length - 1; i++) n /= 1024;
  return `${n.toFixed(n < 10 && i > 0 ? 1 : 0)} ${units[i]}`;
};
const span = (seconds) => {
  if (seconds >= 172800) return `${Math.floor(seconds / 86400)} days`;
  if (seconds >= 7200) return `${Math.floor(seconds / 3600)} hours`;
  return `${Math.max(1, Math.floor(seconds / 60))} min`;
};
const limitOf = (seconds) => (seconds === 0 ? "later" : seconds < 1 ? `${seconds * 1000} ms` : seconds < 60 ? `${seconds} s` : seconds < 3600 ? `${seconds / 60} min` : `${seconds / 3600} h`);

function curve(id, points, key) {
  const svg = byId(id);
  svg.replaceChildren();
  svg.setAttribute("viewBox", "0 0 100 30");
  svg.setAttribute("preserveAspectRatio", "none");
  if (points.length < 2) return;
  const most = Math.max(1, ...points.map((p) => p[key]));
  const line = points.map((p, i) => `${((i / (points.length - 1)) * 100).toFixed(2)},${(29 - (p[key] / most) * 27).toFixed(2)}`).join(" ");
  svg.append(svgNode("polygon", { class: "area", points: `0,30 ${line} 100,30` }), svgNode("polyline", { class: "curve", points: line }));
}

function rings(buckets) {
  const svg = byId("rings");
  svg.replaceChildren();
  const width = Math.max(280, svg.clientWidth || 640), height = 190, // a unit is a pixel, so that text can be read on a phone
    base = height - 24, step = width / buckets.length;
  const special = (b) => b !== undefined && (b.most === 15 || b.most === 0);
  svg.setAttribute("viewBox", `0 0 ${width} ${height}`);
  const most = Math.max(1, ...buckets.map((b) => b.count));
  buckets.forEach((b, i) => {
    const late = b.most === 0 || b.most > 15;
    const tall = (b.count / most) * (base - 30);
    const x = i * step;
    svg.append(svgNode("rect", { class: late ? "bar late" : "bar", x: x + 2, y: base - tall, width: step - 4, height: Math.max(tall, b.count > 0 ? 2 : 0), rx: 2 }));
    if (b.count > 0) svg.append(svgNode("text", { x: x + step / 2, y: base - tall - 4, "text-anchor": "middle" }, b.count.toLocaleString("en", { notation: "compact" })));
    if (special(b) || (i % 3 === 0 && (step > 40 || !(special(buckets[i - 1]) || special(buckets[i + 1]))))) svg.append(svgNode("text", { x: x + step / 2, y: height - 8, "text-anchor": "middle" }, limitOf(b.most)));
    if (b.most === 15) {
      svg.append(svgNode("line", { class: "limit", x1: x + step, x2: x + step, y1: 8, y2: base }),
        svgNode("text", { class: "limit-name", x: x + step + 5, y: 16 }, "promised: 15 s"));
    }
  });
  svg.append(svgNode("line", { x1: 0, x2: width, y1: base, y2: base, stroke: "currentColor", opacity: 0.2 }));
}

function rows(id, list) {
  const body = byId(id).tBodies[0];
  body.replaceChildren();
  for (const [name, value, kind] of list) {
    const row = body.insertRow();
    const head = document.createElement("th");
    head.scope = "row";
    head.textContent = name;
    row.append(head);
    const cell = row.insertCell();
    cell.textContent = value;
    if (kind) cell.className = kind;
  }
}

function badge(text, kind) {
  byId("state").textContent = text;
  byId("state").className = `badge ${kind}`;
}

function draw(d) {
  const f = d.figures, r = d.report;
  for (const key of ["in", "matched", "pushed", "fetched"]) {
    byId(key).textContent = count(f[key]);
    curve(`plot-${key}`, d.points, key);
    const recent = d.points.slice(-12);
    const rate = recent.length ? recent.reduce((sum, p) => sum + p[key], 0) / recent.length : 0;
    byId(`rate-${key}`).textContent = `${rate < 10 ? rate.toFixed(1) : count(rate)} a minute`;
  }
  rings(f.rings);
  const rung = f.rings.reduce((sum, b) => sum + b.count, 0);
  byId("in-time").textContent = rung ? `${(f.in_time * 100).toFixed(f.in_time === 1 ? 0 : 2)} % within 15 s` : "nobody was woken yet";
  rows("providers", r.providers.length === 0 ? [["none", r.push ? "nobody can register" : "push is off"]] : r.providers.map((p) => [
    p.name,
    (p.failing ? "fails" : p.paused ? "paused" : "works") + (p.queued ? `, ${count(p.queued)} wait` : ""),
    p.failing ? "bad" : p.paused ? "wait" : "good",
  ]));
  rows("facts", [
    ["Registrations", count(f.registrations.registered || 0)],
    ["Unconfirmed", count(f.registrations.unconfirmed || 0)],
    ["Channels", count(f.channels)],
    ["Peers", count(f.peers)],
    ["Archive", size(f.archive_bytes) + (r.max_bytes ? ` of ${size(r.max_bytes)}` : "")],
    ["Mail is kept", r.kept],
    ["Disk free", size(r.disk_free)],
    ["Pushes under way", count(f.flying)],
  ]);
  byId("about").textContent = `${r.version}, up for ${span((Date.parse(d.now) - Date.parse(r.started)) / 1000)}`;
  if (r.failing.length) badge(`failing: ${r.failing.join(", ")}`, "bad");
  else badge("ok", "good");
}

async function poll() {
  try {
    const answer = await fetch("status.json", { cache: "no-store" });
    if (!answer.ok) throw new Error(String(answer.status));
    draw(await answer.json());
  } catch {
    badge("the node does not answer", "bad");
  }
  setTimeout(poll, Number(document.body.dataset.interval));
}
poll();
