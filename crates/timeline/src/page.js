"use strict";
// The timeline in the page: reads the history that `page.rs` has encoded, and draws the part in view.
//
// Drawing costs what is on the screen, not what is in the history: per row and pixel column two binary
// searches and one difference of running sums. The bars are written into one array of pixels; canvas calls are
// left for text and arrows.

const STATES = ["running", "runnable", "parked", "sleeping", "suspended", "stopped"];
const COUNTS = [
  ["events", "events"], ["lwps", "LWPs"], ["peak", "at a time"], ["switches", "switches"], ["parks", "parks"],
  ["tokens", "with an unpark pending"], ["unparks", "unparks"], ["kept", "before the park"], ["calls", "system calls"],
];
// Rows, in CSS pixels: a bar for the state, below it a strip for system calls.
const ROW = 21, BAR = 12, STRIP = 4, RULER = 26, LABELS = 168;
const MAX_PINNED = 8, MAX_ARROWS = 600, MIN_VIEW = 50;

// ---------------------------------------------------------------- the history

class Reader {
  constructor(bytes) { this.bytes = bytes; this.at = 0; }
  number() {
    let byte = this.bytes[this.at++];
    if (byte < 128) return byte;
    let number = byte & 127, scale = 128;
    do {
      byte = this.bytes[this.at++];
      number += (byte & 127) * scale;
      scale *= 128;
    } while (byte >= 128);
    return number;
  }
  // -1 if it is missing.
  optional() { return this.number() - 1; }
  string() {
    const length = this.number();
    this.at += length;
    return new TextDecoder().decode(this.bytes.subarray(this.at - length, this.at));
  }
  list(read) { return Array.from({ length: this.number() }, read); }
  words() { return this.list(() => this.string()); }
}

// Intervals of many owners, one owner after the other, each in the order of time. `busy` is the running sum of
// the time spent running, before each.
function intervals(count, owners) {
  return {
    from: new Float64Array(count), to: new Float64Array(count), busy: new Float64Array(count + 1),
    kind: new Uint8Array(count), detail: new Uint32Array(count), first: new Uint32Array(owners + 1),
  };
}

function decode(bytes) {
  const read = new Reader(bytes);
  if (read.number() !== 1) throw new Error("this page holds another version's data");
  const h = { words: read.string(), pid: read.number(), vcpus: read.number(), duration: read.number(), dropped: read.number() };
  h.counts = COUNTS.map(() => read.number());
  h.wmesgs = read.words();
  h.calls = read.words();
  h.errnos = read.words();
  h.whys = read.words();
  const rows = h.rows = read.number();
  h.span = intervals(read.number(), rows);
  h.call = intervals(read.number(), rows);
  const wakes = read.number();
  h.lid = new Int32Array(rows);
  h.madeBy = new Int32Array(rows);
  h.name = [];
  let s = 0, c = 0;
  for (let row = 0; row < rows; row++) {
    h.lid[row] = read.number();
    h.name.push(read.string());
    h.madeBy[row] = read.optional();
    const begin = read.number();
    h.span.first[row] = s;
    for (let n = read.number(), at = begin; n > 0; n--, s++) {
      const length = read.number(), kind = read.number();
      h.span.from[s] = at;
      h.span.to[s] = at += length;
      h.span.kind[s] = kind;
      h.span.detail[s] = read.number();
      h.span.busy[s + 1] = h.span.busy[s] + (kind === 0 ? length : 0);
    }
    h.call.first[row] = c;
    for (let n = read.number(), at = begin; n > 0; n--, c++) {
      h.call.from[c] = at += read.number();
      h.call.to[c] = at += read.number();
      h.call.detail[c] = read.number();
      h.call.kind[c] = Math.min(read.number(), 255);
      h.call.busy[c + 1] = h.call.busy[c] + h.call.to[c] - h.call.from[c];
    }
  }
  h.span.first[rows] = s;
  h.call.first[rows] = c;
  h.turn = decodeTurns(read, h);
  h.wake = {
    at: new Float64Array(wakes), by: new Int32Array(wakes), row: new Int32Array(wakes),
    why: new Uint8Array(wakes), latency: new Float64Array(wakes),
  };
  for (let w = 0, at = 0; w < wakes; w++) {
    h.wake.at[w] = at += read.number();
    h.wake.by[w] = read.optional();
    h.wake.row[w] = read.number();
    h.wake.why[w] = read.number();
    h.wake.latency[w] = read.optional();
  }
  h.waits = read.list(() => ({ row: read.number(), span: read.number(), wake: read.optional() }));
  h.pairs = read.list(() => ({ by: read.optional(), row: read.number(), count: read.number(), latency: read.number() }));
  if (read.at !== bytes.length) throw new Error("the data in this page are damaged");
  return h;
}

// What each vcpu ran: its intervals, with the row as `detail`.
function decodeTurns(read, h) {
  const count = read.number(), order = new Uint32Array(count), next = h.span.first.slice();
  const turn = intervals(count, h.vcpus);
  const put = new Uint32Array(h.vcpus + 1);
  for (let i = 0; i < h.span.kind.length; i++) if (h.span.kind[i] === 0) put[h.span.detail[i] + 1]++;
  for (let cpu = 0; cpu < h.vcpus; cpu++) put[cpu + 1] += put[cpu];
  turn.first.set(put);
  for (let i = 0; i < count; i++) order[i] = read.number();
  for (const row of order) {
    while (h.span.kind[next[row]] !== 0) next[row]++;
    const s = next[row]++, at = put[h.span.detail[s]]++;
    turn.from[at] = h.span.from[s];
    turn.to[at] = h.span.to[s];
    turn.detail[at] = row;
  }
  for (let i = 0; i < count; i++) turn.busy[i + 1] = turn.busy[i] + turn.to[i] - turn.from[i];
  return turn;
}

// The first index in [low, high) whose value is greater than `than`.
function firstAbove(values, than, low, high) {
  // By doubled steps: mostly it is near.
  let step = 1;
  while (low + step < high && values[low + step] <= than) { low += step; step *= 2; }
  high = Math.min(high, low + step);
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (values[middle] > than) high = middle; else low = middle + 1;
  }
  return low;
}

// ---------------------------------------------------------------- words

function timeText(ns) {
  if (ns < 1e3) return `${ns} ns`;
  if (ns < 1e6) return `${+(ns / 1e3).toFixed(3)} µs`;
  if (ns < 1e9) return `${+(ns / 1e6).toFixed(6)} ms`;
  return `${+(ns / 1e9).toFixed(9)} s`;
}
// The same in at most four digits.
function shortText(ns) {
  const [value, unit] = ns < 1e3 ? [ns, "ns"] : ns < 1e6 ? [ns / 1e3, "µs"] : ns < 1e9 ? [ns / 1e6, "ms"] : [ns / 1e9, "s"];
  return `${+value.toPrecision(value < 1000 ? 3 : 4)} ${unit}`;
}
const countText = (number) => number.toLocaleString("en-US").replaceAll(",", "\u202f");
const lwpText = (row) => (row < 0 ? "time or the outside" : `${h.lid[row]}${h.name[row] ? " " + h.name[row] : ""}`);
function stateText(span) {
  const kind = h.span.kind[span], detail = h.span.detail[span];
  if (kind === 0) return `running on vcpu ${detail}`;
  return kind === 3 ? `sleeping in ${h.wmesgs[detail]}` : STATES[kind];
}
function callText(call) {
  const result = h.call.kind[call];
  const end = result === 0 ? ", no return" : result === 1 ? "" : `, ${h.errnos[result - 2]}`;
  return h.calls[h.call.detail[call]] + end;
}

// ---------------------------------------------------------------- what is in view

let h;
const view = { from: 0, to: 1 };
// Rows that can be scrolled: vcpus are 0 to h.vcpus - 1, then come the LWPs that were searched for.
let tracks = [], pinned = 0, place;
let chosen = -1, pointer = null, drag = null, isDue = false;
const el = (id) => document.getElementById(id);
let canvas, context, pane, width = 0, height = 0, scale = 1, colours;

const x = (time) => LABELS + ((time - view.from) / (view.to - view.from)) * (width - LABELS);
const time = (at) => view.from + ((at - LABELS) / (width - LABELS)) * (view.to - view.from);
const top0 = () => RULER + pinned * ROW;
function y(track) {
  if (track < pinned) return RULER + track * ROW;
  return top0() + place[track] * ROW - pane.scrollTop;
}
function trackAt(at) {
  if (at < RULER) return -1;
  if (at < top0()) return Math.floor((at - RULER) / ROW);
  return tracks[Math.floor((at - top0() + pane.scrollTop) / ROW)] ?? -1;
}

function search(text) {
  const words = text.trim().toLowerCase();
  const isFound = (row) => words === "" || String(h.lid[row]).startsWith(words) || h.name[row].toLowerCase().includes(words);
  tracks = [];
  if (words === "") for (let cpu = pinned; cpu < h.vcpus; cpu++) tracks.push(cpu);
  let found = 0;
  for (let row = 0; row < h.rows; row++) if (isFound(row)) { tracks.push(h.vcpus + row); found++; }
  place = new Int32Array(h.vcpus + h.rows).fill(-1);
  tracks.forEach((track, at) => { place[track] = at; });
  el("found").textContent = words === "" ? "" : `${countText(found)} of ${countText(h.rows)}`;
  resize();
}

function look(from, to) {
  const most = h.duration * 1.02 + MIN_VIEW;
  const length = Math.min(Math.max(to - from, MIN_VIEW), most);
  const middle = (from + to) / 2, margin = Math.max(length / 2, h.duration * 0.01);
  const clamped = Math.min(Math.max(middle, length / 2 - margin), h.duration - length / 2 + margin);
  view.from = clamped - length / 2;
  view.to = clamped + length / 2;
  redraw();
}
const lookAtAll = () => look(-h.duration * 0.005, h.duration * 1.005);
function zoom(factor, around) {
  look(around - (around - view.from) * factor, around + (view.to - around) * factor);
}
const pan = (share) => look(view.from + (view.to - view.from) * share, view.to + (view.to - view.from) * share);

// Shows [from, to] of a row, with room around it.
function jump(row, from, to) {
  const track = h.vcpus + row;
  if (place[track] < 0) { el("search").value = ""; search(""); }
  chosen = track;
  pane.scrollTop = place[track] * ROW - (height - top0()) / 2;
  const room = Math.max((to - from) * 0.3, MIN_VIEW);
  look(from - room, to + room);
}

// ---------------------------------------------------------------- drawing

function readColours() {
  const style = getComputedStyle(document.documentElement);
  const text = (name) => style.getPropertyValue("--" + name).trim();
  const pixel = (name) => {
    context.fillStyle = text(name);
    const [r, g, b] = context.fillStyle.match(/\w\w/g).map((it) => parseInt(it, 16));
    return (255 << 24) | (b << 16) | (g << 8) | r;
  };
  colours = { text, pixel: Object.fromEntries([...STATES, "paper", "stripe", "call", "idle", "mark", "line"].map((it) => [it, pixel(it)])) };
  colours.states = STATES.map((it) => colours.pixel[it]);
  // A vcpu's intervals are told apart by the LWP: shades around the colour of running.
  colours.turns = Array.from({ length: 12 }, (_, i) => {
    const shade = (channel, by) => Math.min(255, Math.max(0, ((colours.pixel.running >> channel) & 255) + by));
    const by = ((i * 5) % 12) - 6;
    return (255 << 24) | (shade(16, by * 9) << 16) | (shade(8, by * 4) << 8) | shade(0, -by * 6);
  });
}

function resize() {
  scale = window.devicePixelRatio || 1;
  width = pane.clientWidth;
  height = pane.clientHeight;
  canvas.width = Math.round(width * scale);
  canvas.height = Math.round(height * scale);
  canvas.style.width = width + "px";
  canvas.style.height = height + "px";
  el("spacer").style.height = Math.max(0, top0() + tracks.length * ROW - height + ROW) + "px";
  readColours();
  redraw();
}

function redraw() {
  if (isDue) return;
  isDue = true;
  requestAnimationFrame(() => { isDue = false; draw(); });
}

// What a row's pixel columns show: above `split` pixels of `low` there is `high`.
const columns = { low: null, high: null, split: null };

// Fills the columns with the intervals [low, high) of `of`. Wide ones are given to `wide`.
function fill(of, low, high, bar, colour, idle, wide) {
  const count = columns.low.length, perPixel = (view.to - view.from) / ((width - LABELS) * scale);
  columns.low.fill(idle);
  columns.high.fill(idle);
  columns.split.fill(0);
  let at = firstAbove(of.to, view.from, low, high);
  let column = 0;
  while (at < high && column < count) {
    const begin = view.from + column * perPixel, end = begin + perPixel;
    if (of.from[at] >= end) {
      column = Math.max(column + 1, Math.floor((of.from[at] - view.from) / perPixel));
      continue;
    }
    if (of.from[at] <= begin && of.to[at] >= end) {
      const last = Math.min(count, Math.floor((of.to[at] - view.from) / perPixel));
      const to = Math.max(column + 1, last);
      columns.low.fill(colour(at), column, to);
      columns.split.fill(bar, column, to);
      if (wide && to - column > 40 * scale) wide(at, column, to);
      column = to;
      continue;
    }
    // Several in one column: how much of it each kind has.
    let next = at;
    if (of.to[at] < end) next = Math.min(firstAbove(of.to, end, at, high), high - 1);
    mix(of, at, next, begin, end, column, bar, colour, idle);
    at = of.to[next] > end ? next : next + 1;
    column++;
  }
}

// One column: the share that was running below, the commonest of the rest above it.
function mix(of, at, last, begin, end, column, bar, colour, idle) {
  const within = (i) => Math.max(0, Math.min(of.to[i], end) - Math.max(of.from[i], begin));
  const isBusy = (i) => of.busy[i + 1] > of.busy[i];
  let busy = of.busy[last + 1] - of.busy[at];
  if (isBusy(at)) busy -= of.to[at] - of.from[at] - within(at);
  if (last > at && isBusy(last)) busy -= of.to[last] - of.from[last] - within(last);
  let rest = idle, longest = 0, run = 0;
  for (let i = at; i <= Math.min(last, at + 16); i++) {
    if (isBusy(i)) { run = run || colour(i); continue; }
    if (within(i) > longest) { longest = within(i); rest = colour(i); }
  }
  const share = busy / (end - begin);
  columns.low[column] = run || colours.states[0];
  columns.high[column] = rest;
  columns.split[column] = busy > 0 ? Math.max(1, Math.round(share * bar)) : 0;
}

function paint(pixels, stride, left, yAt, bar, limit) {
  const { low, high, split } = columns;
  for (let line = 0; line < bar; line++) {
    const row = yAt + line;
    if (row < limit || row >= pixels.length / stride) continue;
    const offset = row * stride + left;
    for (let i = 0; i < low.length; i++) pixels[offset + i] = bar - line <= split[i] ? low[i] : high[i];
  }
}

function draw() {
  const started = performance.now();
  const stride = canvas.width, lines = canvas.height, left = Math.round(LABELS * scale);
  if (stride <= left || lines === 0) return;
  const image = context.createImageData(stride, lines);
  const pixels = new Uint32Array(image.data.buffer);
  pixels.fill(colours.pixel.paper);
  columns.low = new Int32Array(stride - left);
  columns.high = new Int32Array(stride - left);
  columns.split = new Int32Array(stride - left);
  const shown = visibleTracks();
  const labels = [];
  for (const track of shown) drawTrack(pixels, stride, left, track, labels);
  context.putImageData(image, 0, 0);
  context.setTransform(scale, 0, 0, scale, 0, 0);
  drawNames(shown);
  drawLabels(labels);
  drawArrows();
  drawRuler();
  // For whoever looks from outside.
  document.body.dataset.view = `${view.from} ${view.to}`;
  document.body.dataset.drawn = Number(document.body.dataset.drawn || 0) + 1;
  document.body.dataset.cost = Math.round((performance.now() - started) * 10) / 10;
}

function visibleTracks() {
  const shown = [];
  for (let cpu = 0; cpu < pinned; cpu++) shown.push(cpu);
  const first = Math.max(0, Math.floor(pane.scrollTop / ROW));
  const last = Math.min(tracks.length, Math.ceil((pane.scrollTop + height - top0()) / ROW));
  for (let at = first; at < last; at++) shown.push(tracks[at]);
  return shown;
}

function drawTrack(pixels, stride, left, track, labels) {
  const above = y(track), px = (css) => Math.round(css * scale), at = px(above + 3);
  const limit = px(track < pinned ? RULER : top0());
  if (track === chosen || track % 2) {
    const shade = track === chosen ? colours.pixel.mark : colours.pixel.stripe;
    pixels.fill(shade, Math.max(limit, px(above)) * stride, Math.max(limit, px(above + ROW)) * stride);
  }
  const wide = (index, from, to) => labels.push({ track, index, from: from / scale + LABELS, to: to / scale + LABELS });
  if (track < h.vcpus) {
    const colour = (i) => colours.turns[h.turn.detail[i] % 12];
    fill(h.turn, h.turn.first[track], h.turn.first[track + 1], px(BAR + STRIP), colour, colours.pixel.idle, wide);
    paint(pixels, stride, left, at, px(BAR + STRIP), limit);
    return;
  }
  const row = track - h.vcpus, none = track === chosen ? colours.pixel.mark : track % 2 ? colours.pixel.stripe : colours.pixel.paper;
  fill(h.span, h.span.first[row], h.span.first[row + 1], px(BAR), (i) => colours.states[h.span.kind[i]], none, wide);
  paint(pixels, stride, left, at, px(BAR), limit);
  fill(h.call, h.call.first[row], h.call.first[row + 1], px(STRIP), () => colours.pixel.call, none, null);
  paint(pixels, stride, left, at + px(BAR), px(STRIP), limit);
}

function fitted(text, room) {
  if (context.measureText(text).width <= room) return text;
  let end = text.length;
  while (end > 0 && context.measureText(text.slice(0, end) + "…").width > room) end--;
  return end > 0 ? text.slice(0, end) + "…" : "";
}

function clipped(from, drawing) {
  context.save();
  context.beginPath();
  context.rect(0, from, width, height - from);
  context.clip();
  drawing();
  context.restore();
}

function drawNames(shown) {
  context.textBaseline = "middle";
  context.font = "12px system-ui, 'Open Sans', sans-serif";
  const name = (track) => {
    const isVcpu = track < h.vcpus, row = track - h.vcpus, at = y(track) + 3 + (BAR + STRIP) / 2;
    context.fillStyle = colours.text("soft");
    const head = isVcpu ? "vcpu " + track : String(h.lid[row]);
    context.fillText(head, 12, at);
    if (isVcpu) return;
    context.fillStyle = colours.text("ink");
    const after = 18 + Math.max(36, context.measureText(head).width);
    context.fillText(fitted(h.name[row], LABELS - after - 8), after, at);
  };
  shown.filter((track) => track < pinned).forEach(name);
  clipped(top0(), () => shown.filter((track) => track >= pinned).forEach(name));
}

function drawLabels(labels) {
  context.font = "10px system-ui, 'Open Sans', sans-serif";
  clipped(RULER, () => {
    for (const { track, index, from, to } of labels) {
      if (track >= pinned && y(track) < top0() - 4) continue;
      const isVcpu = track < h.vcpus, kind = isVcpu ? 0 : h.span.kind[index];
      context.fillStyle = kind === 2 ? colours.text("soft") : kind === 1 ? "#332200" : "#fff";
      const text = isVcpu ? lwpText(h.turn.detail[index]) : spanLabel(track - h.vcpus, index);
      context.fillText(fitted(text, to - from - 8), from + 4, y(track) + 3 + (isVcpu ? BAR + STRIP : BAR) / 2 + 0.5);
    }
  });
}

function spanLabel(row, span) {
  const call = callAt(row, (Math.max(h.span.from[span], view.from) + Math.min(h.span.to[span], view.to)) / 2);
  const text = h.span.kind[span] === 3 ? h.wmesgs[h.span.detail[span]] : STATES[h.span.kind[span]];
  return call < 0 ? text : `${text} · ${h.calls[h.call.detail[call]]}`;
}

function drawArrows() {
  const count = h.wake.at.length;
  if (count === 0) return;
  const first = firstAbove(h.wake.at, view.from, 0, count), last = firstAbove(h.wake.at, view.to, 0, count);
  const isTooMany = last - first > MAX_ARROWS;
  document.body.dataset.arrows = isTooMany ? 0 : last - first;
  if (isTooMany) return;
  context.strokeStyle = context.fillStyle = colours.text("arrow");
  context.lineWidth = 1.25;
  clipped(top0(), () => {
    for (let w = first; w < last; w++) drawArrow(w);
  });
}

function drawArrow(w) {
  const to = h.vcpus + h.wake.row[w], by = h.wake.by[w];
  if (place[to] < 0) return;
  const middle = 3 + BAR / 2, y1 = y(to) + middle;
  const x0 = x(h.wake.at[w]), x1 = h.wake.latency[w] < 0 ? x0 : x(h.wake.at[w] + h.wake.latency[w]);
  const hasWaker = by >= 0 && place[h.vcpus + by] >= 0 && h.wake.row[w] !== by;
  const y0 = hasWaker ? y(h.vcpus + by) + middle : y1 - ROW * 0.55;
  if (Math.max(y0, y1) < top0() || Math.min(y0, y1) > height || x0 < LABELS) return;
  const angle = Math.atan2(y1 - y0, x1 - x0);
  context.globalAlpha = hasWaker ? 0.85 : 0.3;
  context.beginPath();
  context.moveTo(x0, y0);
  context.lineTo(x1, y1);
  context.stroke();
  context.beginPath();
  context.moveTo(x1, y1);
  for (const side of [-0.4, 0.4]) context.lineTo(x1 - 7 * Math.cos(angle + side), y1 - 7 * Math.sin(angle + side));
  context.fill();
  context.globalAlpha = 1;
}

function drawRuler() {
  context.font = "11px system-ui, 'Open Sans', sans-serif";
  context.fillStyle = colours.text("paper");
  context.fillRect(0, 0, width, RULER - 4);
  const raw = ((view.to - view.from) / (width - LABELS)) * 110, power = 10 ** Math.floor(Math.log10(raw));
  const step = power * ([1, 2, 5, 10].find((it) => it * power >= raw) ?? 10);
  context.strokeStyle = colours.text("line");
  context.fillStyle = colours.text("soft");
  context.beginPath();
  for (let tick = Math.ceil(Math.max(0, view.from) / step) * step; tick <= Math.min(view.to, h.duration); tick += step) {
    const at = Math.round(x(tick)) + 0.5;
    context.moveTo(at, RULER - 6);
    context.lineTo(at, height);
    context.fillText(timeText(Math.round(tick)), at + 4, RULER / 2);
  }
  for (const line of [RULER - 0.5, top0() - 0.5]) { context.moveTo(0, line); context.lineTo(width, line); }
  context.globalAlpha = 0.7;
  context.stroke();
  context.globalAlpha = 1;
  context.fillText(shortText(view.to - view.from) + " in view", 12, RULER / 2);
}

// ---------------------------------------------------------------- what is under the pointer

function intervalAt(of, owner, at) {
  const low = of.first[owner], high = of.first[owner + 1];
  const found = firstAbove(of.to, at, low, high);
  return found < high && of.from[found] <= at ? found : -1;
}
const callAt = (row, at) => intervalAt(h.call, row, at);

// The wake-up of `row` at a moment.
function wakeAt(row, at) {
  let w = firstAbove(h.wake.at, at - 0.5, 0, h.wake.at.length);
  for (; w < h.wake.at.length && h.wake.at[w] === at; w++) if (h.wake.row[w] === row) return w;
  return -1;
}

function describe(track, at) {
  if (track < h.vcpus) {
    const turn = intervalAt(h.turn, track, at);
    const lines = turn < 0 ? [["state", "idle"]] : [["runs", "lwp " + lwpText(h.turn.detail[turn])], ...times(h.turn, turn)];
    return [`vcpu ${track}`, lines];
  }
  const row = track - h.vcpus, span = intervalAt(h.span, row, at), title = "lwp " + lwpText(row), lines = [];
  if (span < 0) {
    const first = h.span.first[row];
    return [title, [["state", first < h.span.first[row + 1] && at < h.span.from[first] ? "not made yet" : "gone"]]];
  }
  lines.push(["state", stateText(span)], ...times(h.span, span));
  const call = callAt(row, at);
  if (call >= 0) lines.push(["in call", callText(call)], ["call took", timeText(h.call.to[call] - h.call.from[call])]);
  const wake = h.span.kind[span] >= 2 ? wakeAt(row, h.span.to[span]) : wakeAt(row, h.span.from[span]);
  if (wake >= 0) {
    lines.push(["woken by", `${lwpText(h.wake.by[wake])} (${h.whys[h.wake.why[wake]]})`]);
    if (h.wake.latency[wake] >= 0) lines.push(["ran after", timeText(h.wake.latency[wake])]);
  }
  if (h.madeBy[row] >= 0) lines.push(["made by", lwpText(h.madeBy[row])]);
  return [title, lines];
}
const times = (of, i) => [["for", timeText(of.to[i] - of.from[i])], ["from", timeText(of.from[i])], ["to", timeText(of.to[i])]];

function hover(event) {
  const box = canvas.getBoundingClientRect(), at = event.clientX - box.left;
  const track = trackAt(event.clientY - box.top), tip = el("tip");
  tip.hidden = track < 0 || at < LABELS || drag !== null;
  if (tip.hidden) return;
  const [title, lines] = describe(track, time(at));
  const head = document.createElement("b"), grid = document.createElement("div");
  head.textContent = title;
  for (const text of lines.flat()) grid.append(Object.assign(document.createElement("span"), { textContent: text }));
  tip.replaceChildren(head, grid);
  tip.style.left = Math.min(event.clientX + 14, innerWidth - tip.offsetWidth - 8) + "px";
  tip.style.top = Math.min(event.clientY + 16, innerHeight - tip.offsetHeight - 8) + "px";
}

// ---------------------------------------------------------------- the rest of the page

function fillHead() {
  document.title = `${h.words} · lwp timeline`;
  el("words").textContent = el("words").title = h.words;
  el("about").textContent = `pid ${h.pid} · ${h.vcpus} vcpu${h.vcpus === 1 ? "" : "s"} · ${shortText(h.duration)}${h.dropped > 0 ? ", the beginning of the run" : ""}`;
  const add = (name, label, value) => {
    const box = document.createElement("div"), dt = document.createElement("dt"), dd = document.createElement("dd");
    dt.textContent = label;
    dd.textContent = countText(value);
    dd.dataset.count = name;
    dd.className = name === "dropped" && value > 0 ? "bad" : "";
    box.append(dt, dd);
    el("counts").append(box);
  };
  COUNTS.forEach(([name, label], i) => { if (name !== "events") add(name, label, h.counts[i]); });
  add("events", "events", h.counts[0]);
  add("dropped", "dropped", h.dropped);
  for (const state of [...STATES, "call"]) {
    const item = document.createElement("li"), box = document.createElement("i");
    box.style.background = `var(--${state})`;
    item.append(box, state === "call" ? "in a system call" : state);
    el("legend").append(item);
  }
}

// Rows of texts; a click or Enter on one goes there.
function fillTable(id, rows) {
  const body = el(id).tBodies[0];
  for (const { cells, go } of rows) {
    const line = body.insertRow();
    line.tabIndex = 0;
    cells.forEach((text, i) => {
      const cell = line.insertCell();
      cell.textContent = text;
      cell.className = el(id).tHead.rows[0].cells[i].className;
    });
    line.onclick = go;
    line.onkeydown = (event) => { if (event.key === "Enter") go(); };
  }
}

function fillTables() {
  fillTable("waits", h.waits.map(({ row, span, wake }) => {
    const s = h.span.first[row] + span, from = h.span.from[s], to = h.span.to[s];
    const by = wake < 0 ? "—" : `${lwpText(h.wake.by[wake])}, ${h.whys[h.wake.why[wake]]}`;
    return { cells: [lwpText(row), stateText(s).replace("sleeping in ", ""), shortText(to - from), by], go: () => jump(row, from, to) };
  }));
  fillTable("pairs", h.pairs.map(({ by, row, count, latency }) => ({
    cells: [lwpText(by), lwpText(row), countText(count), shortText(Math.round(latency / count))],
    go: () => {
      const w = h.wake.row.findIndex((it, i) => it === row && h.wake.by[i] === by);
      jump(row, h.wake.at[w], h.wake.at[w] + Math.max(h.wake.latency[w], 0));
    },
  })));
}

const KEYS = {
  w: () => zoom(0.6, centre()), s: () => zoom(1 / 0.6, centre()), a: () => pan(-0.2), d: () => pan(0.2),
  "+": () => zoom(0.6, centre()), "-": () => zoom(1 / 0.6, centre()), ArrowLeft: () => pan(-0.2), ArrowRight: () => pan(0.2),
  0: lookAtAll, Home: () => { pane.scrollTop = 0; lookAtAll(); }, "/": () => el("search").focus(),
};
const centre = () => pointer ?? (view.from + view.to) / 2;

function listen() {
  addEventListener("resize", resize);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", resize);
  pane.addEventListener("scroll", redraw);
  canvas.addEventListener("wheel", (event) => {
    const across = event.shiftKey ? event.deltaY || event.deltaX : event.deltaX;
    if (event.ctrlKey || event.metaKey) zoom(1.002 ** event.deltaY, time(Math.max(event.offsetX, LABELS)));
    else if (across !== 0) pan(across / 1000);
    // Up and down are left to the page, which scrolls the rows.
    else return;
    event.preventDefault();
  }, { passive: false });
  canvas.addEventListener("pointerdown", (event) => {
    drag = { x: event.clientX, y: event.clientY, from: view.from, to: view.to, top: pane.scrollTop };
    canvas.setPointerCapture(event.pointerId);
    pane.classList.add("drag");
    chosen = trackAt(event.offsetY);
    redraw();
  });
  const end = () => { drag = null; pane.classList.remove("drag"); };
  canvas.addEventListener("pointerup", end);
  canvas.addEventListener("pointercancel", end);
  canvas.addEventListener("pointermove", (event) => {
    pointer = event.offsetX < LABELS ? null : time(event.offsetX);
    if (drag) {
      const by = ((drag.x - event.clientX) / (width - LABELS)) * (drag.to - drag.from);
      pane.scrollTop = drag.top + drag.y - event.clientY;
      look(drag.from + by, drag.to + by);
    }
    hover(event);
  });
  canvas.addEventListener("pointerleave", () => { pointer = null; el("tip").hidden = true; });
  canvas.addEventListener("dblclick", (event) => {
    const track = trackAt(event.offsetY), row = track - h.vcpus;
    const span = row < 0 ? -1 : intervalAt(h.span, row, time(event.offsetX));
    if (span >= 0) jump(row, h.span.from[span], h.span.to[span]);
  });
  addEventListener("keydown", (event) => {
    if (event.target === el("search")) {
      if (event.key === "Escape" || event.key === "Enter") pane.focus();
      return;
    }
    const act = event.ctrlKey || event.metaKey || event.altKey ? null : KEYS[event.key] ?? KEYS[event.key.toLowerCase()];
    if (act) { act(); event.preventDefault(); }
  });
  el("search").addEventListener("input", (event) => { pane.scrollTop = 0; search(event.target.value); });
}

addEventListener("DOMContentLoaded", () => {
  const text = atob(el("data").textContent), bytes = new Uint8Array(text.length);
  for (let i = 0; i < bytes.length; i++) bytes[i] = text.charCodeAt(i);
  el("data").remove();
  h = decode(bytes);
  canvas = el("canvas");
  pane = el("pane");
  context = canvas.getContext("2d", { willReadFrequently: true });
  pinned = h.vcpus <= MAX_PINNED ? h.vcpus : 0;
  fillHead();
  fillTables();
  listen();
  lookAtAll();
  search("");
  pane.focus();
});
