/**
 * The lab of `test/faults/rules-lab.ts` in a real daemon, with servers in it, and what its tests do with each fault: inject it, look at
 * the symptom, heal it, and see that the kernel is as it was.
 */
import { once } from "node:events"
import type { Test } from "tap"
import { rulesLab } from "../faults/rules-lab.ts"
import { sh, Weftd } from "./daemon-harness.ts"
import { healAll, inject } from "./fault-harness.ts"
import { until } from "./harness.ts"

export const srv = "198.51.100.2"

/** In srv: TCP on 5002 and 9999 that answers with what it gets, and a name server that knows 192.0.2.80 by every name. */
const services = `
  const echo = () => require("net").createServer((s) => { s.on("error", () => {}); s.pipe(s) })
  echo().listen(5002, "::")
  echo().listen(9999, "::")
  const dns = require("dgram").createSocket("udp4")
  dns.on("message", (query, from) => {
    const end = query.indexOf(0, 12) + 5
    const head = Buffer.from([query[0], query[1], 0x81, 0x80, 0, 1, 0, 1, 0, 0, 0, 0])
    const answer = Buffer.from([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4, 192, 0, 2, 80])
    dns.send(Buffer.concat([head, query.subarray(12, end), answer]), from.port, from.address)
  })
  dns.bind(53, "0.0.0.0", () => console.log("up"))`

/** Opens connections one after the other and keeps them; prints how each ended, and what came back of SIZE octets on the last. */
export const client = (port: number, many: number, size = 0): string => `
  const open = () => new Promise((done) => {
    const s = require("net").connect({ host: "${srv}", port: ${port}, timeout: 1000 })
    const end = (how) => { process.stdout.write(how + " "); s.setTimeout(0); if (how !== "open") s.destroy(); done(s) }
    s.once("connect", () => end("open")).once("timeout", () => end("timeout")).once("error", (e) => end(e.code))
  })
  const main = async () => {
    let last
    for (let i = 0; i < ${many}; i++) last = await open()
    if (${size} === 0) process.exit()
    let got = 0
    setTimeout(() => { console.log("hangs"); process.exit() }, 2500)
    last.on("data", (octets) => { got += octets.length; if (got === ${size}) { console.log("whole"); process.exit() } })
    last.write(Buffer.alloc(${size}))
  }
  main()`

export const lookUp = `
  const resolver = new (require("dns").promises.Resolver)({ timeout: 400, tries: 1 })
  resolver.resolve4("www.corp.example").then((found) => console.log(found.join()), (error) => console.log(error.code))`

/** Everything that faults change in a node. What BGP has of groups depends on what came before: `ways` looks at those. */
const look = `
  ip -br link; ip -br address; ip rule
  for family in -4 -6; do ip $family route show table all; done | grep -v "^fe80\\|^multicast" | sort
  ip nexthop | grep -v "proto 95" | sort
  nft list table inet weft 2>&1; nft list table inet weft-filter 2>&1 || true`
const varying = /^\s+nexthop via .*onlink.*\n| nhid \d+|^id \d+|group [\d/]+|packets \d+ bytes \d+| (linkdown|dead)| expires \d+sec/gm

export class RulesLab {
  readonly weftd: Weftd
  readonly lab: string

  private constructor(weftd: Weftd, lab: string) {
    this.weftd = weftd
    this.lab = lab
  }

  /** The lab, when both ways from pc to srv work. */
  static async start(t: Test, label: string): Promise<RulesLab> {
    const weftd = await Weftd.start(label)
    t.teardown(() => weftd.close())
    const lab = weftd.name(label)
    await weftd.make(rulesLab(lab))
    await once(weftd.startIn(lab, "srv", [process.execPath, "-e", services]).stdout!, "data")
    const rules = new RulesLab(weftd, lab)
    await until("both ways are there", () => rules.ways("198.51.100.0/24").length === 2)
    await until("pc reaches srv", () => rules.reaches())
    return rules
  }

  inside(node: string, ...argv: ReadonlyArray<string>): string {
    return sh("ip", "netns", "exec", `weft.${this.lab}.${node}`, ...argv)
  }

  /** What a script of Node prints in the node. */
  async says(node: string, script: string): Promise<string> {
    return (await this.weftd.inNode(this.lab, node, process.execPath, "-e", script)).stdout.trim()
  }

  /** Whether pc gets an answer from srv. */
  async reaches(): Promise<boolean> {
    return (await this.weftd.inNode(this.lab, "pc", "ping", "-c", "1", "-W", "1", srv)).code === 0
  }

  /** Interfaces by which fw sends to the prefix; a way that only stands by has a small weight beside a large one. */
  ways(prefix: string): ReadonlyArray<string> {
    const shown = this.inside("fw", "ip", "route", "show", prefix).matchAll(/dev (\S+)(?:.* weight (\d+))?/g)
    const all = Array.from(shown, ([, dev, weight = "1"]) => ({ dev: dev!, weight: Number(weight) }))
    const most = Math.max(...all.map(({ weight }) => weight))
    return all.filter(({ weight }) => weight === most).map(({ dev }) => dev).toSorted()
  }

  private state(nodes: ReadonlyArray<string>): string {
    return nodes.map((node) => `${node}\n${this.inside(node, "sh", "-c", look).replaceAll(varying, "")}`).join("\n")
  }

  /** Does `work`, in which something is broken and healed again; the nodes must then be what they were. */
  async restored(t: Test, nodes: ReadonlyArray<string>, work: () => Promise<unknown>): Promise<void> {
    const before = this.state(nodes)
    await work()
    const isAsBefore = until("the kernel is as it was", () => this.state(nodes) === before)
    await isAsBefore.catch(() => t.equal(this.state(nodes), before, "healed"))
    await until("both ways are there", () => this.ways("198.51.100.0/24").length === 2)
    t.same(await this.weftd.drift(this.lab), [], "nothing differs from the plan")
    await until("pc reaches srv again", () => this.reaches())
  }

  /** Injects, looks at the symptom, heals, looks whether fw and the nodes that the words name are what they were. */
  symptom(t: Test, words: string, seen: (t: Test) => Promise<unknown>): Promise<unknown> {
    const named = ["fw", ...words.split(" ").filter((word) => ["pc", "isp1", "isp2", "net", "peer", "srv"].includes(word))]
    return t.test(words, (t) =>
      this.restored(t, named, async () => {
        await inject(this.weftd, this.lab, words)
        t.same(await this.weftd.drift(this.lab), [], "what is wanted is what is there")
        await seen(t)
        await healAll(this.weftd, this.lab)
      }))
  }
}
