/**
 * A graph as one self-contained SVG: no script, no font, no link to anywhere; light and dark by `prefers-color-scheme`.
 * All text of the user is escaped.
 */

import type { Placed } from "./layers.ts"
import { layout as layoutOf } from "./layout.ts"
import type { Layout, Trunk } from "./layout.ts"
import { clusterTitle } from "./model.ts"
import type { Element, Graph } from "./model.ts"
import { areaOf, labelsOf, pointAt, routesOf } from "./routes.ts"
import type { Label, Point, Route } from "./routes.ts"

/** What another version of the lab does to an element or an edge, by its id. */
export type Mark = "added" | "removed" | "changed"

export interface Embedding {
  /** Before ids, so that several drawings can be in one page. The page has `graphStyle` once. */
  readonly prefix: string
  readonly marks: ReadonlyMap<string, Mark>
}

const margin = 36
const header = 76
const legendHeight = 54
const smallest = 720

/** Hues of sites, in the order in which sites appear: [strong, tint] for light, then for dark. */
const hues = [
  ["#2563eb", "#eff5ff", "#7fb0ff", "#141f36"],
  ["#0f8a5f", "#ecfaf3", "#5fd6a4", "#0f261e"],
  ["#d9730d", "#fff5ea", "#ffb168", "#2d1f10"],
  ["#8b46d8", "#f7f0ff", "#c9a2ff", "#23183a"],
  ["#c8325f", "#fff0f4", "#ff94b4", "#331520"],
  ["#0e8494", "#ebf9fb", "#62d3e2", "#0e2529"],
  ["#7c7a12", "#f9f8e4", "#d8d45e", "#25240e"],
  ["#64748b", "#f3f5f8", "#a9b6c9", "#1b212b"]
] as const

/**
 * @param embedding of a drawing that is part of a page; without it, it is a file of its own
 * @returns the document as text, ending in a newline
 */
export const svg = (graph: Graph, embedding?: Embedding): string => {
  const { marks = new Map<string, Mark>(), prefix = "" } = embedding ?? {}
  const layout = layoutOf(graph)
  const routes = routesOf(graph, layout)
  const labels = labelsOf(routes, layout)
  const bounds = boundsOf(layout, routes, labels)
  const names = [...new Set(graph.elements.map(({ cluster }) => cluster))].filter((name) => name !== "")
  const hueOf = (cluster: string): string => (cluster === "" ? "s7" : `s${names.indexOf(cluster) % hues.length}`)
  const kinds = { between: routes.some(({ between }) => between), tunnel: routes.some(({ edge }) => edge.tunnel) }

  const content = Math.round(bounds.width + 2 * margin)
  const width = Math.max(smallest, content)
  const height = Math.round(bounds.height + header + margin + legendHeight)
  const shiftX = margin - bounds.x + (width - content) / 2
  const shiftY = header - bounds.y
  return `${[
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${width} ${height}" width="${width}" height="${height}" role="img"`
      + ` aria-label="${escape(`Network ${graph.title}`)}">`,
    `<title>${escape(`${graph.title}: ${graph.subtitle}`)}</title>`,
    ...(embedding === undefined ? [`<style>${stylesheet()}</style>`] : []),
    symbols(prefix),
    `<rect class="page" width="${width}" height="${height}"/>`,
    `<text class="heading" x="${margin}" y="42">${escape(graph.title)}</text>`,
    `<text class="subheading" x="${margin}" y="62">${escape(graph.subtitle)}</text>`,
    `<g transform="translate(${round(shiftX)} ${round(shiftY)})">`,
    ...layout.boxes.map(
      (box) =>
        `<g class="${hueOf(box.cluster)}"><rect class="site" ${rect(box)} rx="18"/>`
        + `<text class="sitename" x="${round(box.x + 20)}" y="${round(box.y + 25)}">${escape(clusterTitle(graph, box.cluster))}</text></g>`
    ),
    ...layout.trunks.map((trunk) => trunkPath(trunk, layout)),
    ...routes.map((route) => routePath(route, marks.get(route.edge.id))),
    ...graph.elements.map((element) => {
      const place = layout.places.get(element.id)!
      const mark = marks.get(element.id)
      const drawing = drawElement(element, place, prefix)
      const [badge, kind] = mark === undefined ? ["", ""] : [drawBadge({ x: place.x + place.width - 4, y: place.y + 2 }, mark), ` ${mark}`]
      return `<g class="${hueOf(element.cluster)}${kind}">${drawing}${badge}</g>`
    }),
    ...labels.map(drawLabel),
    ...routes.flatMap(({ curve, edge }) => (marks.has(edge.id) ? [drawBadge(pointAt(curve, 0.4), marks.get(edge.id)!)] : [])),
    "</g>",
    legend(height, kinds, prefix),
    "</svg>"
  ].join("\n")}\n`
}

const boundsOf = (layout: Layout, routes: ReadonlyArray<Route>, labels: ReadonlyArray<Label>): Placed => {
  const curves = routes.flatMap(({ curve }) => [0.25, 0.5, 0.75].map((t) => ({ ...pointAt(curve, t), width: 0, height: 0 })))
  const all: ReadonlyArray<Placed> = [
    ...layout.places.values(),
    ...layout.boxes,
    ...labels.map(areaOf),
    ...curves,
    { x: 0, y: 0, width: 1, height: 1 }
  ]
  const x = Math.min(...all.map((place) => place.x))
  const y = Math.min(...all.map((place) => place.y))
  return {
    x,
    y,
    width: Math.max(...all.map((place) => place.x + place.width)) - x,
    height: Math.max(...all.map((place) => place.y + place.height)) - y
  }
}

const trunkPath = ({ children, parent, x, y }: Trunk, { places }: Layout): string => {
  const from = places.get(parent)!
  const center = Math.min(from.x + from.width - 10, Math.max(from.x + 10, x))
  const down = from.y + from.height <= y + 4
  // Starts behind the card: its corner is round.
  const first = from.y + from.height / 2
  const knee = down ? y + 6 : Math.max(...children.map((id) => places.get(id)!.y + places.get(id)!.height)) + 8
  const ends = children.map((id) => {
    const place = places.get(id)!
    return { x: place.x, y: place.y + place.height / 2 }
  })
  const furthest = down ? ends.at(-1)! : ends[0]!
  const line = `M${round(center)} ${round(first)}V${round(knee)}H${round(x)}V${round(furthest.y - (down ? 8 : -8))}`
  const stubs = ends.map(
    (end) => `M${round(x)} ${round(end.y + (down ? -8 : 8))}q0 ${down ? 8 : -8} 8 ${down ? 8 : -8}H${round(end.x)}`
  )
  return `<path class="wire" d="${line}${stubs.join("")}"/>`
}

const badges = { added: "+", removed: "\u2212", changed: "~" } as const

/** A sign and not just a colour. */
const drawBadge = ({ x, y }: Point, mark: Mark): string =>
  `<g class="badge ${mark}"><title>${mark}</title><circle cx="${round(x)}" cy="${round(y)}" r="9"/>`
  + `<text x="${round(x)}" y="${round(y + 5)}" text-anchor="middle">${badges[mark]}</text></g>`

const routePath = ({ between, curve, edge }: Route, mark: Mark | undefined): string => {
  const [a, b, c, d] = curve.map(({ x, y }) => `${round(x)} ${round(y)}`)
  const tip = [edge.aLabel, edge.label, edge.bLabel].filter((text) => text !== "").join(" — ")
  const kind = `wire${between ? " between" : ""}${edge.tunnel ? " tunnel" : ""}${mark === undefined ? "" : ` ${mark}`}`
  return `<path class="${kind}" d="M${a}C${b} ${c} ${d}"><title>${escape(tip)}</title></path>`
}

const drawElement = (element: Element, place: Placed, prefix: string): string => {
  const { height, x, y } = place
  const tip = `<title>${escape([element.title, ...element.lines].join(" "))}</title>`
  if (element.shape === "network") {
    const baseline = round(y + height / 2 + 4.5)
    const lines = element.lines.join("  ")
    return (
      `${tip}<rect class="bus" ${rect(place)} rx="${height / 2}"/>`
      + `<use href="#${prefix}network" x="${round(x + 12)}" y="${round(y + height / 2 - 9)}" width="18" height="18"/>`
      + `<text x="${round(x + 38)}" y="${baseline}"><tspan class="name">${escape(element.title)}</tspan>`
      + `<tspan class="small" dx="9">${escape(lines)}</tspan></text>`
    )
  }
  const icon = 26
  const textX = round(x + icon + 20)
  const middle = y + height / 2
  const lines = element.lines.map(
    (line, index) => `<text class="small" x="${textX}" y="${round(y + 37 + index * 14)}">${escape(line)}</text>`
  )
  const titleY = element.lines.length === 0 ? middle + 4.5 : y + 22
  return (
    `${tip}<rect class="card ${element.shape}" ${rect(place)} rx="${element.shape === "router" ? Math.min(23, height / 2) : 9}"/>`
    + `<use href="#${prefix}${element.shape}" x="${round(x + 11)}" y="${round(middle - icon / 2)}" width="${icon}" height="${icon}"/>`
    + `<text class="name" x="${textX}" y="${round(titleY)}">${escape(element.title)}</text>${lines.join("")}`
  )
}

const drawLabel = ({ anchor, at, kind, text }: Label): string =>
  `<text class="label ${kind}" x="${round(at.x)}" y="${round(at.y + 3.6)}" text-anchor="${anchor}">${escape(text)}</text>`

const legend = (height: number, kinds: { readonly between: boolean; readonly tunnel: boolean }, prefix: string): string => {
  const y = height - 26
  const icon = (name: string, x: number, text: string): string =>
    `<use href="#${prefix}${name}" x="${x}" y="${y - 10}" width="20" height="20"/><text class="legend" x="${x + 27}" y="${y
      + 4}">${text}</text>`
  const line = (x: number, kind: string, text: string): string =>
    `<path class="wire${kind}" d="M${x} ${y}h26"/><text class="legend" x="${x + 34}" y="${y + 4}">${text}</text>`
  return (
    `<g class="s7">${icon("host", margin, "host")}${icon("router", margin + 84, "router")}${icon("network", margin + 174, "network")}`
    + `${line(margin + 278, "", "link")}${kinds.between ? line(margin + 362, " between", "link between sites") : ""}`
    + `${kinds.tunnel ? line(margin + (kinds.between ? 536 : 362), " tunnel", "tunnel between hosts") : ""}</g>`
  )
}

/** How icons are drawn: in the colour of their site. */
const pen = `fill="none" stroke="currentColor" stroke-width="1.8" stroke-linecap="round" stroke-linejoin="round"`

const symbols = (prefix: string): string => `<defs>
<symbol id="${prefix}host" viewBox="0 0 24 24"><g ${
  pen}><rect x="3" y="4" width="18" height="12" rx="2"/><path d="M8.5 20h7M12 16v4"/></g></symbol>
<symbol id="${prefix}router" viewBox="0 0 24 24"><g ${pen}><circle cx="12" cy="12" r="10"/>
<path d="M12 10.2V5.6M10 7.4l2-2 2 2M12 13.8v4.6M10 16.6l2 2 2-2"/>
<path d="M5.4 12h4.4M7.9 10l1.9 2-1.9 2M18.6 12h-4.4M16.1 10l-1.9 2 1.9 2"/></g></symbol>
<symbol id="${prefix}network" viewBox="0 0 24 24"><g ${pen}><path d="M2 12h20M7 12V7.4M17 12V7.4M12 12v4.6"/>
<circle cx="7" cy="5.2" r="2.1"/><circle cx="17" cy="5.2" r="2.1"/><circle cx="12" cy="18.8" r="2.1"/></g></symbol>
</defs>`

/** The style of embedded drawings, for those inside of `scope` alone (CSS nesting). */
export const graphStyle = (scope: string): string => {
  const paint = (dark: boolean): string =>
    Object.entries(markHues)
      .map(([mark, hues]) => {
        const [strong, ink] = dark ? [hues[1], hues[2]] : [hues[0], "#fff"]
        return `.badge.${mark} circle{fill:${strong}}.badge.${mark} :is(text){fill:${ink}}`
          + `.wire.${mark},.${mark}>.card,.${mark}>.bus{stroke:${strong}}`
      })
      .join("")
  return `${scope}{${stylesheet().replace(/^text\{/, ":is(text){")}`
    + ".badge :is(text){font-size:15px;font-weight:800}.wire.added,.wire.removed,.wire.changed{stroke-width:3}"
    + ".wire.removed,.removed>.card,.removed>.bus{stroke-dasharray:5 4}.added>.card,.changed>.card,.removed>.card{stroke-width:3}"
    + `${paint(false)}@media (prefers-color-scheme:dark){${paint(true)}}}`
}

/** Strong in light and in dark, and what is written on the latter. */
const markHues = {
  added: ["#0f7a4f", "#5fd6a4", "#06251a"],
  removed: ["#c02640", "#ff94a4", "#35050d"],
  changed: ["#9a5b00", "#ffc46b", "#2d1a00"]
} as const

const stylesheet = (): string => {
  const theme = (dark: boolean): string => {
    const [page, card, ink, soft, wire] = dark
      ? ["#0d1117", "#161c26", "#e8edf4", "#93a1b5", "#5d6b80"]
      : ["#ffffff", "#ffffff", "#17202c", "#5b6878", "#8a97a8"]
    const strong = dark ? 2 : 0
    const sites = hues
      .map(
        (hue, index) =>
          `.s${index}{color:${hue[strong]}}.s${index} .site{fill:${hue[strong + 1]};stroke:${hue[strong]}}`
          + `.s${index} .sitename{fill:${hue[strong]}}`
          + `.s${index} .card{stroke:${hue[strong]}}.s${index} .bus{fill:${dark ? "#0d1117" : hue[strong + 1]};stroke:${hue[strong]}}`
      )
      .join("")
    return (
      `.page{fill:${page}}.card{fill:${card}}.heading,.name{fill:${ink}}.subheading,.small,.legend{fill:${soft}}`
      + `.wire{stroke:${wire}}.between{stroke:${ink}}`
      + `.label{fill:${dark ? "#b9c5d6" : "#3f4b5b"};stroke:${page}}.label.link{fill:${ink}}${sites}`
    )
  }
  return (
    "text{font-family:system-ui,-apple-system,'Segoe UI',Roboto,'Helvetica Neue',Arial,sans-serif}"
    + ".heading{font-size:22px;font-weight:700}.subheading{font-size:13px}.sitename{font-size:13px;font-weight:700;letter-spacing:.05em}"
    + ".site{stroke-width:1.2;stroke-opacity:.35}.card{stroke-width:1.4}.router{stroke-width:2}.bus{stroke-width:1.6}"
    + ".name{font-size:13px;font-weight:600}.small{font-size:10.5px}"
    + ".small,.label{font-family:ui-monospace,SFMono-Regular,Menlo,Consolas,'DejaVu Sans Mono',monospace}"
    + ".label{font-size:10px;paint-order:stroke;stroke-width:3.5px;stroke-linejoin:round}.label.link{font-weight:700}"
    + ".legend{font-size:12px}"
    + `.wire{fill:none;stroke-width:1.5}.between{stroke-width:2}.tunnel{stroke-dasharray:7 4}`
    + `${theme(false)}@media (prefers-color-scheme:dark){${theme(true)}}`
  )
}

const rect = ({ height, width, x, y }: Placed): string =>
  `x="${round(x)}" y="${round(y)}" width="${round(width)}" height="${round(height)}"`

const round = (value: number): number => Math.round(value * 10) / 10

/** Text for XML content and attributes; characters that XML 1.0 forbids become U+FFFD. */
const escape = (text: string): string =>
  text
    .toWellFormed()
    .replace(/[\u0000-\u0008\u000b\u000c\u000e-\u001f\ufffe\uffff]/g, "�")
    .replace(/[&<>"']/g, (character) => `&#${character.charCodeAt(0)};`)
