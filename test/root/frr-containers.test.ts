/** The lab of FRR routers in containers, on one host and over two: a router killed and started under traffic, vtysh. */
import type { ChildProcess } from "node:child_process"
import { readFileSync } from "node:fs"
import { join } from "node:path"
import t, { type Test } from "tap"
import { parseDocument } from "yaml"
import { run, sh, Weftd } from "./daemon-harness.ts"
import { DockerEngine } from "./docker-engine.ts"
import { Fleet } from "./fleet-harness.ts"
import { checkout, needsRoot, until } from "./harness.ts"

const buildPatienceMs = 300_000
/** OSPF and BGP with timers of seconds, on two busy cores. */
const convergeMs = 120_000

/** The file under another name, with these nodes on these hosts. */
const topology = (name: string, hosts: Readonly<Record<string, string>> = {}): string => {
  const document = parseDocument(readFileSync(join(checkout, "topologies/frr-containers.weft.yaml"), "utf8"))
  document.set("name", name)
  for (const [node, host] of Object.entries(hosts)) document.setIn(["nodes", node, "host"], host)
  return document.toString()
}

interface Deployed {
  readonly docker: DockerEngine
  /** Name of the container of r1. */
  readonly name: string
  readonly pings: () => Promise<boolean>
  /** Endless pings from pc to web. */
  readonly traffic: () => ChildProcess
}

const survives = async (t: Test, { docker, name, pings, traffic }: Deployed): Promise<void> => {
  const hasRoutes = (): boolean => {
    try {
      const routes = docker.run("exec", name, "vtysh", "-c", "show ip route")
      return /B>\* 203\.0\.113\.0\/24/.test(routes) && /O>\* 10\.255\.0\.2\/32/.test(routes)
    } catch {
      return false
    }
  }
  await until("routes have come by OSPF and BGP", hasRoutes, convergeMs)
  await until("pc reaches web", pings, convergeMs)
  const ping = traffic()
  let output = ""
  ping.stdout!.setEncoding("utf8").on("data", (text: string) => (output += text))
  docker.run("kill", name)
  t.equal(docker.ask(name, "{{.State.Running}}"), "false")
  docker.run("start", name)
  t.same(docker.run("exec", name, "ls", "/sys/class/net").split("\n"), ["core", "lan", "lo", "wan"], "its links are there at once")
  await until("routes are back", hasRoutes, convergeMs)
  const seen = output.length
  await until("traffic flows", () => /bytes from/.test(output.slice(seen)), convergeMs)
  ping.kill("SIGINT")
}

t.setTimeout(600_000)

t.test("frr-containers", { skip: needsRoot, timeout: 600_000 }, async (t) => {
  const docker = await DockerEngine.start()
  t.teardown(() => docker.close())
  const built = await run([join(checkout, "docker/build.sh"), "frr"], { timeoutMs: buildPatienceMs })
  t.equal(built.code, 0, built.stderr.slice(-500))

  await t.test("on one host", async (t) => {
    const weftd = await Weftd.start("frr")
    try {
      const lab = weftd.name("frr")
      await weftd.make(topology(lab))
      await survives(t, {
        docker,
        name: `weft-${weftd.instance}.${lab}.r1`,
        pings: () => weftd.pings(lab, "pc", "203.0.113.2"),
        traffic: () => weftd.startIn(lab, "pc", ["ping", "-i", "0.05", "-O", "203.0.113.2"])
      })
      const summary = await weftd.weft(["exec", `${lab}/r1`, "--", "vtysh", "-c", "show bgp summary"])
      t.match(summary, { code: 0, stdout: /198\.51\.100\.2 +4 +65002/ })
      t.same(await weftd.drift(lab), [])
    } finally {
      await weftd.close()
    }
    t.same(docker.containers(), [], "no container is left")
  })

  await t.test("a router of weft's beside one: one line is its neighbour's side", async (t) => {
    const weftd = await Weftd.start("frr-one")
    try {
      const lab = weftd.name("one")
      const bgp = { as: 65010, networks: "10.10.0.0/16", timers: { hold: "9s", "connect-retry": "1s" } }
      const configuration = [
        "router bgp 65003", "no bgp ebgp-requires-policy", "no bgp network import-check", "neighbor 172.16.0.1 remote-as 65010",
        "address-family ipv4 unicast", "network 10.30.0.0/16"
      ].join("\n")
      await weftd.make({
        name: lab,
        nodes: {
          office: { kind: "router", bgp },
          isp: {
            kind: "container", image: "weft/frr", role: "router", "cap-add": "SYS_ADMIN", "wait-for": "healthy", bgp: { as: 65003 },
            env: { FRR_DAEMONS: "bgpd" }, files: { "/etc/frr/frr.conf": `${configuration}\n` }
          }
        },
        links: [{ endpoints: ["office", "isp"], cidr: "172.16.0.0/30" }]
      })
      const route = (): string => sh("ip", "-n", `weft.${lab}.office`, "route", "show", "10.30.0.0/16")
      await until("the container's route is in weft's kernel", () => /proto 95/.test(route()), convergeMs)
      const asked = () => weftd.weft(["exec", `${lab}/isp`, "--", "vtysh", "-c", "show bgp ipv4 unicast 10.10.0.0/16"])
      await until("and weft's is in the container's table", async () => /65010/.test((await asked()).stdout), convergeMs)
      t.match(await weftd.weft(["bgp", `${lab}/office`]), { stdout: /172\.16\.0\.2 +65003 .* 1 +1 +isp/ })
    } finally {
      await weftd.close()
    }
    t.same(docker.containers(), [], "no container is left")
  })

  await t.test("over two hosts", async (t) => {
    const fleet = await Fleet.start("frr", { hosts: 2 })
    try {
      const lab = fleet.name("frr2")
      await fleet.make(topology(lab, { pc: "h1", r1: "h1", r2: "h2", isp1: "h2", web: "h2" }))
      await survives(t, {
        docker,
        name: `weft-${fleet.weftd(1).instance}.${lab}.r1`,
        pings: () => fleet.pings(lab, "pc", "203.0.113.2"),
        traffic: () => fleet.weftd(1).startIn(lab, "pc", ["ping", "-i", "0.05", "-O", "203.0.113.2"])
      })
      const asked = await fleet.weft(2, ["exec", `${lab}/r1`, "--", "vtysh", "-c", "show ip ospf neighbor"])
      t.match(asked, { code: 0, stdout: /10\.255\.0\.2 .*Full/ }, "the other host forwards the command")
    } finally {
      await fleet.close()
    }
    t.same(docker.containers(), [], "no container is left")
  })
})
