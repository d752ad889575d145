/**
 * What makes report pages lively: zoom, details of outages, filters. Nothing of it is needed to read them. It is text here, runs in
 * browsers, and uses neither `innerHTML` nor styles in markup, which the page's Content-Security-Policy forbids.
 */

export const script = `"use strict";
(() => {
const doc = document, root = doc.documentElement;
root.classList.add("scripted");
const all = (selector, of = doc) => Array.from(of.querySelectorAll(selector));
const tip = doc.getElementById("tip");
const seconds = (ms, span) => span < 2000 ? ms.toFixed(0) + " ms" : (ms / 1000).toFixed(span < 20000 ? 2 : 1) + " s";
const say = (text, x, y) => {
  tip.textContent = text;
  tip.hidden = text === "";
  if (text === "") return;
  const { width, height } = tip.getBoundingClientRect();
  tip.style.left = Math.max(4, Math.min(innerWidth - width - 4, x + 14)) + "px";
  tip.style.top = (y + height + 24 > innerHeight ? y - height - 12 : y + 18) + "px";
};

for (const timeline of all(".timeline")) {
  const from = Number(timeline.dataset.from), until = Number(timeline.dataset.until);
  const panes = all("svg.pane", timeline), ticks = timeline.querySelector(".ticks"), shown = timeline.querySelector(".window");
  let a = from, b = until, asked = 0;
  const SVG = "http://www.w3.org/2000/svg";
  const element = (name, attributes, text) => {
    const made = doc.createElementNS(SVG, name);
    for (const key of Object.keys(attributes)) made.setAttribute(key, attributes[key]);
    if (text !== undefined) made.textContent = text;
    return made;
  };
  const drawTicks = () => {
    const rough = (b - a) / 8, power = 10 ** Math.floor(Math.log10(rough));
    const every = [1, 2, 5, 10].map((factor) => factor * power).find((each) => each >= rough);
    ticks.replaceChildren();
    for (let ms = Math.ceil(a / every) * every; ms <= b; ms += every) {
      const x = 100 * (ms - from) / (until - from) + "%";
      const text = every < 100 ? Number(ms.toFixed(1)) + " ms" : Number((ms / 1000).toFixed(1)) + " s";
      ticks.append(element("line", { x1: x, x2: x, y1: 14, y2: 20 }), element("text", { x, y: 11, "text-anchor": "middle" }, text));
    }
  };
  const apply = () => {
    asked = 0;
    const width = (until - from) / (b - a);
    for (const pane of panes) {
      pane.setAttribute("x", -100 * width * (a - from) / (until - from) + "%");
      pane.setAttribute("width", 100 * width + "%");
    }
    drawTicks();
    shown.textContent = a === from && b === until ? "" : seconds(a, b - a) + " to " + seconds(b, b - a);
  };
  const show = (start, end) => {
    const length = Math.min(until - from, Math.max(2, end - start));
    a = Math.max(from, Math.min(until - length, start));
    b = a + length;
    if (asked === 0) asked = requestAnimationFrame(apply);
  };
  const by = (factor, at = (a + b) / 2) => show(at - (at - a) * factor, at + (b - at) * factor);
  timeline.addEventListener("weft-zoom", (event) => show(event.detail[0], event.detail[1]));
  const jobs = { in: () => by(0.5), out: () => by(2), all: () => show(from, until), left: () => show(a - (b - a) / 2, b - (b - a) / 2),
    right: () => show(a + (b - a) / 2, b + (b - a) / 2) };
  for (const button of all("[data-do]", timeline)) button.addEventListener("click", () => jobs[button.dataset.do]());

  const timeAt = (track, x) => {
    const box = track.getBoundingClientRect();
    return a + (b - a) * Math.min(1, Math.max(0, (x - box.left) / box.width));
  };
  // Outages are narrow and fingers are wide: the nearest one within 10 px is meant.
  const near = (track, x, y) => {
    let best, distance = 10;
    for (const one of all(".o", track)) {
      const box = one.getBoundingClientRect();
      const far = x < box.left ? box.left - x : x > box.right ? x - box.right : 0;
      if (far < distance) { best = one; distance = far; }
    }
    return best || doc.elementsFromPoint(x, y).map((one) => one.closest(".s, .f, .x")).find((one) => one !== null && track.contains(one));
  };
  let marked;
  const tell = (track, x, y) => {
    const found = near(track, x, y);
    if (marked) marked.classList.remove("at");
    marked = found;
    if (found && found.classList.contains("o")) found.classList.add("at");
    const row = track.parentNode.dataset.flow;
    const title = found && found.querySelector("title");
    say([row, title ? title.textContent : seconds(timeAt(track, x), b - a)].filter(Boolean).join("\\n"), x, y);
    // The browser's own would come on top.
    if (title) { title.remove(); found.dataset.title = title.textContent; }
    else if (found && found.dataset.title) say([row, found.dataset.title].filter(Boolean).join("\\n"), x, y);
  };
  let drag;
  for (const track of all("svg.track", timeline)) {
    track.addEventListener("pointermove", (event) => {
      if (drag && drag.track === track) return select(event);
      if (event.pointerType === "mouse") tell(track, event.clientX, event.clientY);
    });
    track.addEventListener("pointerleave", (event) => { if (event.pointerType === "mouse") say(""); });
    track.addEventListener("pointerdown", (event) => {
      if (event.pointerType !== "mouse") return tell(track, event.clientX, event.clientY);
      if (event.button !== 0) return;
      event.preventDefault();
      const shade = doc.createElement("div");
      shade.className = "select";
      timeline.append(shade);
      drag = { track, x: event.clientX, shade };
      track.setPointerCapture(event.pointerId);
    });
    track.addEventListener("pointerup", (event) => {
      if (!drag) return;
      const { shade, x } = drag;
      drag = undefined;
      shade.remove();
      const edges = [x, event.clientX].sort((one, other) => one - other);
      if (edges[1] - edges[0] > 4) return show(timeAt(track, edges[0]), timeAt(track, edges[1]));
      const found = near(track, event.clientX, event.clientY);
      if (found && found.dataset.until) show(Number(found.dataset.from), Number(found.dataset.until));
    });
    track.addEventListener("pointercancel", () => { if (drag) { drag.shade.remove(); drag = undefined; } });
    track.addEventListener("dblclick", () => show(from, until));
    track.addEventListener("wheel", (event) => {
      if (!event.ctrlKey && !event.metaKey && !event.shiftKey) return;
      event.preventDefault();
      by((event.deltaY || event.deltaX) > 0 ? 1.3 : 1 / 1.3, timeAt(track, event.clientX));
    }, { passive: false });
  }
  const select = (event) => {
    const { shade, track, x } = drag;
    const box = track.getBoundingClientRect(), base = timeline.getBoundingClientRect();
    const left = Math.max(box.left, Math.min(x, event.clientX)), right = Math.min(box.right, Math.max(x, event.clientX));
    Object.assign(shade.style, { left: left - base.left + "px", width: right - left + "px", top: box.top - base.top + "px",
      height: box.height + "px" });
    say(seconds(timeAt(track, left), b - a) + " to " + seconds(timeAt(track, right), b - a), event.clientX, event.clientY);
  };
}

for (const button of all("button[data-zoom]")) button.addEventListener("click", () => {
  const [run, start, end] = button.dataset.zoom.split(" ").map(Number);
  const box = doc.getElementById("timeline" + run), pad = Math.max(20, (end - start) * 0.75);
  const details = box.closest("details");
  if (details) details.open = true;
  box.querySelector(".timeline").dispatchEvent(new CustomEvent("weft-zoom", { detail: [start - pad, end + pad] }));
  const flow = all(".row.flow", box).find((row) => row.dataset.flow === button.dataset.name);
  (flow || box).scrollIntoView({ block: "center" });
});

const filter = doc.getElementById("filter"), only = doc.getElementById("only");
const sift = () => {
  const words = filter.value.toLowerCase().split(/\\s+/).filter(Boolean);
  const worst = new Map(all(".row.flow").map((row) => [row.dataset.flow, 0]));
  for (const row of all(".row.flow")) worst.set(row.dataset.flow, Math.max(worst.get(row.dataset.flow), Number(row.dataset.worst)));
  for (const row of all("[data-flow]")) {
    const name = row.dataset.flow.toLowerCase();
    row.hidden = !words.every((word) => name.includes(word)) || only.checked && !(worst.get(row.dataset.flow) > 0);
  }
};
if (filter) {
  filter.addEventListener("input", sift);
  only.addEventListener("change", sift);
}
addEventListener("keydown", (event) => { if (event.key === "Escape") say(""); });
addEventListener("scroll", () => say(""), { passive: true });
addEventListener("beforeprint", () => { for (const details of all("details")) details.open = true; });
})();
`
