/**
 * What tests of `weft rehearse` stand on: a daemon, two versions of a lab, rehearsals from one to the other, and the tool.
 *
 *     pc 10.1.0.1 ---- r ---- db 10.2.0.2      and, in the next version, r ---- web 10.3.0.2
 */
import { spawn } from "node:child_process"
import { once } from "node:events"
import { mkdtempSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import type { RehearsalRecord } from "../../ctl/rehearsal/record.ts"
import { environment, type Output, type TopologyObject, Weftd } from "./daemon-harness.ts"
import { checkout, until } from "./harness.ts"

export const before = (name: string): TopologyObject => ({
  name,
  nodes: { pc: { kind: "host" }, r: { kind: "router" }, db: { kind: "host" } },
  links: [{ endpoints: ["pc:eth0", "r:a"], cidr: "10.1.0.0/24" }, { endpoints: ["r:b", "db:eth0"], cidr: "10.2.0.0/24" }]
})

export const after = (name: string): TopologyObject => ({
  name,
  nodes: { pc: { kind: "host" }, r: { kind: "router" }, db: { kind: "host" }, web: { kind: "host" } },
  links: [
    { endpoints: ["pc:eth0", "r:a"], cidr: "10.1.0.0/24" }, { endpoints: ["r:b", "db:eth0"], cidr: "10.2.0.0/24" },
    { endpoints: ["r:c", "web:eth0"], cidr: "10.3.0.0/24" }
  ]
})

export const flows = [{ name: "orders", from: "pc", to: "db", spacing: "2ms" }]
/** A link is down until somebody heals it. */
export const cut = { name: "cut", inject: { "link-down": "db:eth0" }, settle: "1s" }

/** A daemon, and a folder for the files of rehearsals. */
export class Stage {
  readonly weftd: Weftd
  readonly #folder = mkdtempSync(join(tmpdir(), "weft-rehearse-"))

  private constructor(weftd: Weftd) {
    this.weftd = weftd
  }

  static async open(label: string): Promise<Stage> {
    return new Stage(await Weftd.start(label))
  }

  async close(): Promise<void> {
    await this.weftd.close()
    rmSync(this.#folder, { recursive: true, force: true })
  }

  /** Writes a rehearsal and both versions of a lab of its own. */
  write(label: string, steps: ReadonlyArray<object>, more: object = {}): { readonly file: string; readonly lab: string } {
    const lab = this.weftd.name(label)
    writeFileSync(join(this.#folder, "before.weft.yaml"), JSON.stringify(before(lab)))
    writeFileSync(join(this.#folder, "after.weft.yaml"), JSON.stringify(after(lab)))
    const file = join(this.#folder, `${label}.rehearsal.yaml`)
    writeFileSync(file, JSON.stringify({ name: label, topology: "before.weft.yaml", flows, steps, ...more }))
    return { file, lab }
  }

  async rehearse(file: string, ...words: ReadonlyArray<string>): Promise<Output & { readonly record: RehearsalRecord }> {
    const output = await this.weftd.weft(["rehearse", file, "-o", "json", ...words])
    return { ...output, record: JSON.parse(output.stdout === "" ? "{}" : output.stdout) as RehearsalRecord }
  }

  /** Begins one and waits until it has written a line. */
  async begin(file: string, line: RegExp, ...words: ReadonlyArray<string>) {
    const argv = [join(checkout, "bin/weft"), "rehearse", file, "-o", "json", ...words]
    const child = spawn(argv[0]!, argv.slice(1), { stdio: "pipe", env: environment({ WEFT_DAEMON: this.weftd.address }) })
    let [stdout, stderr] = ["", ""]
    child.stdout.setEncoding("utf8").on("data", (text: string) => (stdout += text))
    child.stderr.setEncoding("utf8").on("data", (text: string) => (stderr += text))
    const closed = once(child, "close") as Promise<[number | null]>
    await until(`it says ${line}`, () => line.test(stderr), 120_000)
    const end = async () => {
      const [code] = await closed
      return { code, stderr, record: (stdout === "" ? undefined : JSON.parse(stdout)) as RehearsalRecord }
    }
    return { child, end }
  }

  async isThere(lab: string): Promise<boolean> {
    return (await this.weftd.client.list()).some(({ name }) => name === lab)
  }
}
