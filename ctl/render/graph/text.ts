/** A graph as text for other tools: Mermaid for Markdown, DOT for Graphviz. User text is quoted for each. */

import { clusterTitle } from "./model.ts"
import type { Element, Graph } from "./model.ts"

/** https://mermaid.js.org/syntax/flowchart.html: quoted labels, entities written with `#`. */
export const mermaid = (graph: Graph): string => {
  const ids = new Map(graph.elements.map(({ id }, index) => [id, `n${index}`]))
  const text = (value: string): string =>
    oneLine(value).replaceAll("&", "#amp;").replaceAll('"', "#quot;").replaceAll("<", "#lt;").replaceAll(">", "#gt;")
  const node = (element: Element): string => {
    const label = [element.title, ...element.lines].map(text).join("<br/>")
    const id = ids.get(element.id)!
    return element.shape === "router"
      ? `${id}(("${label}"))`
      : element.shape === "network"
        ? `${id}(["${label}"])`
        : `${id}["${label}"]`
  }
  const lines = ["flowchart TB", `  %% ${text(graph.title)}: ${text(graph.subtitle)}`]
  let at = 0
  for (const [cluster, elements] of Map.groupBy(graph.elements, (element) => element.cluster)) {
    if (cluster === "") lines.push(...elements.map((element) => `  ${node(element)}`))
    else {
      const title = text(clusterTitle(graph, cluster))
      lines.push(`  subgraph c${at++}["${title}"]`, ...elements.map((element) => `    ${node(element)}`), "  end")
    }
  }
  for (const { a, aLabel, b, bLabel, label, tunnel } of graph.edges) {
    const words = [aLabel, label, bLabel]
      .filter((word) => word !== "")
      .map(text)
      .join("<br/>")
    lines.push(`  ${ids.get(a)} ${tunnel ? "-.-" : "---"}${words === "" ? "" : `|"${words}"|`} ${ids.get(b)}`)
  }
  return `${lines.join("\n")}\n`
}

/** https://graphviz.org/doc/info/lang.html: double-quoted strings, backslash before quotes. */
export const dot = (graph: Graph): string => {
  const quote = (value: string): string => `"${value.replaceAll("\\", "\\\\").replaceAll('"', '\\"').replaceAll("\n", "\\n")}"`
  const shape = { host: "box", router: "ellipse", network: "cds" } as const
  const node = (element: Element): string =>
    `${quote(element.id)} [label=${quote([element.title, ...element.lines].map(oneLine).join("\n"))}, shape=${shape[element.shape]}];`
  const lines = [
    `graph ${quote(graph.title)} {`,
    `  label=${quote(oneLine(graph.title))}; fontname="Helvetica"; node [fontname="Helvetica"]; edge [fontname="Helvetica", fontsize=9];`
  ]
  let at = 0
  for (const [cluster, elements] of Map.groupBy(graph.elements, (element) => element.cluster)) {
    if (cluster === "") lines.push(...elements.map((element) => `  ${node(element)}`))
    else
      lines.push(
        `  subgraph cluster_${at++} {`,
        `    label=${quote(oneLine(clusterTitle(graph, cluster)))}; style=rounded;`,
        ...elements.map((element) => `    ${node(element)}`),
        "  }"
      )
  }
  for (const { a, aLabel, b, bLabel, label, tunnel } of graph.edges) {
    lines.push(
      `  ${quote(a)} -- ${quote(b)} [label=${quote(oneLine(label))}, ${tunnel ? "style=dashed, " : ""}`
        + `taillabel=${quote(oneLine(aLabel))}, headlabel=${quote(oneLine(bLabel))}];`
    )
  }
  lines.push("}")
  return `${lines.join("\n")}\n`
}

const oneLine = (text: string): string => text.toWellFormed().replace(/[\u0000-\u001f\u007f-\u009f\u2028\u2029]+/g, " ")
