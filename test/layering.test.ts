/**
 * Who may import whom. The table is the whole rule; ARCHITECTURE.md says what each layer is for. A folder that is not in
 * the table fails the test, so that a new layer gets its place before it gets its second file.
 */

import t from "tap"
import { checkout, type Import, importsOf, read, type Source } from "./sources.ts"

interface Layer {
  /** Layers it may import, besides itself. */
  readonly layers: ReadonlyArray<string>
  /** Packages and `node:` modules it may import; `any` for all. */
  readonly packages: ReadonlyArray<string> | "any"
  /** Shown when somebody imports what is not listed. */
  readonly why: string
}

/** Modules of Node that compute and touch nothing: no clock, no file, no process. */
const pureNode = ["node:assert", "node:buffer", "node:crypto", "node:net", "node:path", "node:util"]

const layers: Readonly<Record<string, Layer>> = {
  wire: { layers: [], packages: [], why: "codecs stand alone, so that anything may use them" },
  native: { layers: [], packages: ["node:module", "node:url", "node:path"], why: "it is system calls and no policy" },
  topology: { layers: ["wire"], packages: ["yaml", "effect", ...pureNode], why: "it is pure: text in, Topology out" },
  plan: { layers: ["wire"], packages: pureNode, why: "it is pure: plans in, steps out" },
  compiler: { layers: ["wire", "topology", "plan"], packages: pureNode, why: "it is pure: Topology in, Plan out" },
  checks: {
    layers: ["wire", "topology", "plan", "faults"],
    packages: ["effect", ...pureNode],
    why: "a check asks a lab by a small interface and knows nothing of who answers"
  },
  faults: {
    layers: ["wire", "topology", "compiler", "plan"],
    packages: ["effect", ...pureNode],
    why: "a fault is a change of a plan: pure, whoever injects it"
  },
  bfd: { layers: ["wire"], packages: [], why: "it is pure: packets and times in, packets and times out" },
  datapath: { layers: ["wire", "native", "bfd"], packages: "any", why: "the packet path knows frames and system calls only" },
  linux: { layers: ["wire", "native"], packages: "any", why: "it offers the kernel to all and knows no plan" },
  containers: { layers: ["wire", "plan", "linux"], packages: "any", why: "it speaks to Docker and knows no lab as a whole" },
  bgp: {
    layers: ["wire", "native", "plan", "linux", "datapath"],
    packages: "any",
    why: "it is routers in a thread of their own, given namespaces and specs, and knows no lab as a whole"
  },
  resources: {
    layers: ["wire", "plan", "linux", "containers", "datapath", "bgp"],
    packages: "any",
    why: "it reaches the kernel through linux/ only"
  },
  store: { layers: ["wire", "plan", "topology"], packages: "any", why: "it keeps data and does not act on it" },
  observe: { layers: ["wire", "plan", "linux"], packages: "any", why: "it watches the kernel and decides nothing" },
  probes: {
    layers: ["wire", "plan", "linux", "native", "checks"],
    packages: "any",
    why: "it sends and measures, in nodes that exist already"
  },
  reconciler: {
    layers: ["wire", "topology", "compiler", "plan", "faults", "linux", "resources", "bgp", "store", "observe"],
    packages: "any",
    why: "it is the loop between store and kernel and does not know who asked",
  },
  fleet: {
    layers: ["wire", "topology", "compiler", "plan", "faults", "linux", "store", "observe", "reconciler"],
    packages: "any",
    why: "it makes one of many hosts, and leaves the kernel to the reconciler of each",
  },
  evpn: {
    layers: ["wire", "plan", "linux", "bgp", "resources", "store", "observe"],
    packages: "any",
    why: "it tells other hosts what this one's networks know, and the networks what others tell; labs are not its business",
  },
  rehearsal: {
    layers: ["wire", "topology", "plan", "faults", "checks", "probes", "reconciler"],
    packages: "any",
    why: "it orders deploys, faults, probes and checks in time, and knows none of them from inside"
  },
  rpc: {
    layers: [
      "wire", "topology", "compiler", "plan", "store", "observe", "faults", "checks", "probes", "rehearsal", "bgp", "evpn",
      "reconciler", "fleet"
    ],
    packages: "any",
    why: "it turns messages into calls and never touches the kernel itself",
  },
}

/** From `effect`, a pure layer takes what describes and checks values, and nothing that runs. */
const pureEffect = /^(Schema\w*|Option|Result|Predicate|Data|Equal|Hash|Order|Array|Record|String|Number|Struct|Tuple|pipe|flow)$/
const pureLayers = ["topology", "compiler", "plan", "wire", "checks", "faults"]

/** The one way from the command line tool into the daemon: checking a file needs no daemon, only the same compiler. */
const ctlMayImport = [
  "daemon/compiler/load.ts", "daemon/topology/diagnostic.ts", "daemon/checks/scenario.ts", "daemon/faults/told-kinds.ts",
  "daemon/rehearsal/parse.ts", "daemon/rehearsal/planned.ts"
]
const ctlFilesThatMay = ["validate", "graph", "scenario", "inject", "rehearse-plan"].map((name) => `ctl/commands/${name}.ts`)

/** What the tool and the daemon share: it knows neither of them, and imports nothing but what Node has. */
const isShared = (path: string): boolean => path.startsWith("timing/")

const layerOf = (path: string): string | undefined => /^daemon\/([^/]+)\//.exec(path)?.[1]

/** `effect/net` is of the package `effect`, `@grpc/grpc-js/build` of `@grpc/grpc-js`; `node:fs/promises` stays. */
const packageOf = (specifier: string): string =>
  specifier.startsWith("node:") ? specifier : specifier.split("/").slice(0, specifier.startsWith("@") ? 2 : 1).join("/")

/** Why this import is not allowed, or nothing. */
const judge = (path: string, found: Import): string | undefined => {
  const { names, specifier, target } = found
  if (target === "daemon/main.ts" || target === "ctl/main.ts") return "an entry point is started, never imported"
  if (isShared(path)) {
    return isShared(target ?? "") || specifier.startsWith("node:") ? undefined : "what the tool and the daemon share stands alone"
  }
  if (target !== undefined && isShared(target)) {
    const layer = layers[layerOf(path) ?? ""]
    return layer === undefined || layer.packages === "any" ? undefined : `a pure layer has no clock: ${layer.why}`
  }
  if (path.startsWith("ctl/")) {
    if (target === undefined || target.startsWith("ctl/")) return undefined
    return ctlMayImport.includes(target) && ctlFilesThatMay.includes(path)
      ? undefined
      : "ctl speaks to the daemon over gRPC and never imports it"
  }
  if (path === "daemon/main.ts") {
    return target === undefined || target.startsWith("daemon/") ? undefined : "the daemon imports nothing outside daemon/"
  }
  const from = layerOf(path)
  const layer = from === undefined ? undefined : layers[from]
  if (from === undefined || layer === undefined) return `its folder is no layer; add it to the table in test/layering.test.ts`
  if (target === undefined) {
    const name = packageOf(specifier)
    if (layer.packages !== "any" && !layer.packages.includes(name)) return `"${from}" may not import ${name}: ${layer.why}`
    if (name !== "effect" || !pureLayers.includes(from)) return undefined
    // `effect/Schema` is the module that `effect` exports as `Schema`.
    const modules = specifier === "effect" ? names : specifier.split("/").slice(1)
    const running = modules.find((module) => !pureEffect.test(module))
    return running === undefined ? undefined : `"${from}" may not import ${running} of effect: ${layer.why}`
  }
  const to = layerOf(target)
  if (to === from) return undefined
  if (to === undefined) return `"${from}" may not import what is in no layer: ${layer.why}`
  return layer.layers.includes(to) ? undefined : `"${from}" may not import "${to}": ${layer.why}`
}

const problemsOf = (source: Source): ReadonlyArray<string> =>
  importsOf(source).flatMap((found) => {
    const why = judge(source.path, found)
    return why === undefined ? [] : [`${source.path}:${found.line} imports ${found.target ?? found.specifier}: ${why}`]
  })

/** The first cycle that a walk along the edges meets, as the list of its members, or nothing. */
const findCycle = (edges: ReadonlyMap<string, ReadonlyArray<string>>): ReadonlyArray<string> | undefined => {
  const finished = new Set<string>()
  const path: Array<string> = []
  const visit = (at: string): ReadonlyArray<string> | undefined => {
    if (finished.has(at)) return undefined
    if (path.includes(at)) return [...path.slice(path.indexOf(at)), at]
    path.push(at)
    for (const next of edges.get(at) ?? []) {
      const cycle = visit(next)
      if (cycle !== undefined) return cycle
    }
    path.pop()
    finished.add(at)
    return undefined
  }
  for (const start of edges.keys()) {
    const cycle = visit(start)
    if (cycle !== undefined) return cycle
  }
  return undefined
}

const sources = read(["daemon", "ctl", "timing"], [".ts"])

t.test("every import goes the way the table allows", async (t) => {
  t.ok(sources.length > 0, `found sources in ${checkout}`)
  t.equal(sources.flatMap(problemsOf).join("\n"), "", "nothing to object to")
})

t.test("no file imports itself by way of others", async (t) => {
  const edges = new Map(
    sources.map((source) => [source.path, importsOf(source).flatMap(({ target }) => (target === undefined ? [] : [target]))])
  )
  t.equal(findCycle(edges)?.join("\n  -> ") ?? "", "", "no cycle")
})

t.test("the table itself has no cycle and names only layers it defines", async (t) => {
  t.equal(findCycle(new Map(Object.entries(layers).map(([name, layer]) => [name, layer.layers])))?.join(" -> ") ?? "", "")
  t.strictSame(Object.values(layers).flatMap((layer) => layer.layers).filter((name) => layers[name] === undefined), [])
})

t.test("judge finds what is not allowed", async (t) => {
  const cases: ReadonlyArray<readonly [path: string, text: string, problem: string]> = [
    ["daemon/linux/a.ts", 'import { x } from "../plan/b.ts"', 'linux/a.ts:1 imports daemon/plan/b.ts: "linux" may not import "plan"'],
    ["daemon/wire/a.ts", '\nimport * as Fs from "node:fs"', 'daemon/wire/a.ts:2 imports node:fs: "wire" may not import node:fs'],
    ["daemon/topology/parse.ts", 'import {\n  Schema,\n  Effect as E\n} from "effect"', '"topology" may not import Effect of effect'],
    ["daemon/topology/parse.ts", 'import * as Layer from "effect/Layer"', '"topology" may not import Layer of effect'],
    ["daemon/rpc/server.ts", 'const x = await import("../native/index.ts")', '"rpc" may not import "native"'],
    ["ctl/commands/list.ts", 'import "../../daemon/compiler/load.ts"', "ctl speaks to the daemon over gRPC"],
    ["ctl/commands/validate.ts", 'export { load } from "../../daemon/store/state.ts"', "ctl speaks to the daemon over gRPC"],
    ["daemon/rpc/server.ts", 'import { x } from "../main.ts"', "an entry point is started"],
    ["timing/a.ts", 'import { x } from "../daemon/linux/b.ts"', "stands alone"],
    ["daemon/plan/a.ts", 'import { x } from "../../timing/b.ts"', "a pure layer has no clock"],
    ["daemon/misc/a.ts", 'import "node:fs"', "its folder is no layer"],
  ]
  for (const [path, text, problem] of cases) t.match(problemsOf({ path, text }).join("\n"), problem, `${path}: ${problem}`)
  t.strictSame(problemsOf({ path: "ctl/commands/validate.ts", text: 'import { load } from "../../daemon/compiler/load.ts"' }), [])
  t.strictSame(findCycle(new Map([["a", ["b"]], ["b", ["c"]], ["c", ["b"]]])), ["b", "c", "b"])
})
