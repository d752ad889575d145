/**
 * `npm run bench -- NAME [options] [--json]`: measures, and prints one line per figure on stdout; progress goes to stderr.
 *
 * A bench is one file that exports `run(argv, emit)`: it parses its own options, which are all but `--json`, and calls
 * `emit` for each figure. What it compares with is measured in the same run.
 */
import * as Report from "./report.ts"

type Bench = { readonly run: (argv: ReadonlyArray<string>, emit: Report.Emit) => Promise<void> }

const benches: Readonly<Record<string, () => Promise<Bench>>> = {
  "bgp-rib": () => import("./bgp/rib.ts"),
  "bgp-speakers": () => import("./bgp/speakers.ts"),
  "bfd-soak": () => import("./bfd-soak.ts"),
  compile: () => import("./compile.ts"),
  datapath: () => import("./datapath.ts"),
  deploy: () => import("./deploy.ts"),
  engine: () => import("./engine.ts"),
  fib: () => import("./fib/kernel-routes.ts"),
  failover: () => import("./failover.ts"),
  impair: () => import("./impair.ts"),
  probe: () => import("./probe.ts")
}

const usage = `usage: npm run bench -- NAME [options] [--json]\nbenches: ${Object.keys(benches).join(", ")}`

const [name, ...rest] = process.argv.slice(2)
const load = name === undefined ? undefined : benches[name]
if (load === undefined) {
  console.error(name === undefined || name === "--help" ? usage : `no bench is called "${name}"\n${usage}`)
  process.exitCode = name === "--help" ? 0 : 2
} else {
  const render = rest.includes("--json") ? Report.json : Report.line
  console.error(`Node ${process.version}, ${process.arch}`)
  try {
    await (await load()).run(rest.filter((word) => word !== "--json"), (figure) => console.log(render(figure)))
  } catch (error) {
    console.error(error instanceof Error ? error.message : error)
    process.exitCode = error instanceof TypeError ? 2 : 1
  }
}
