/** The lab of FRR routers in containers: built, deployed, a router killed and started under traffic, vtysh, destroyed. */
import { readFileSync } from "node:fs"
import { join } from "node:path"
import t from "tap"
import { run, Weftd } from "./daemon-harness.ts"
import { DockerEngine } from "./docker-engine.ts"
import { checkout, needsRoot, until } from "./harness.ts"

const buildPatienceMs = 300_000
/** OSPF and BGP with timers of seconds, on two busy cores. */
const convergeMs = 60_000

t.setTimeout(600_000)

t.test("frr-containers", { skip: needsRoot, timeout: 600_000 }, async (t) => {
  const docker = await DockerEngine.start()
  t.teardown(() => docker.close())
  const built = await run([join(checkout, "docker/build.sh"), "frr"], { timeoutMs: buildPatienceMs })
  t.equal(built.code, 0, built.stderr.slice(-500))
  const weftd = await Weftd.start("frr")
  const lab = weftd.name("frr")
  const file = readFileSync(join(checkout, "topologies/frr-containers.weft.yaml"), "utf8")
  await weftd.make(file.replace(/^name: .*/m, `name: ${lab}`))
  const name = `weft-${weftd.instance}.${lab}.r1`
  const vtysh = (command: string): string => docker.run("exec", name, "vtysh", "-c", command)
  const hasRoutes = (): boolean => {
    try {
      const routes = vtysh("show ip route")
      return /B>\* 203\.0\.113\.0\/24/.test(routes) && /O>\* 10\.255\.0\.2\/32/.test(routes)
    } catch {
      return false
    }
  }

  await until("routes have come by OSPF and BGP", hasRoutes, convergeMs)
  t.ok(await weftd.pings(lab, "pc", "203.0.113.2"), "pc reaches web")
  t.match(await weftd.weft(["exec", `${lab}/r1`, "--", "vtysh", "-c", "show bgp summary"]), { code: 0, stdout: /198\.51\.100\.2 +4 +65002/ })

  // Traffic that does not stop: the kernel of the node forwards while its routing daemons are away.
  const ping = weftd.startIn(lab, "pc", ["ping", "-i", "0.05", "-O", "203.0.113.2"])
  let output = ""
  ping.stdout!.setEncoding("utf8").on("data", (text: string) => (output += text))
  docker.run("kill", name)
  t.equal(docker.ask(name, "{{.State.Running}}"), "false")
  docker.run("start", name)
  t.match(docker.run("exec", name, "ls", "/sys/class/net").split("\n"), ["core", "lan", "lo", "wan"], "its links are there at once")
  await until("routes are back", hasRoutes, convergeMs)
  const seen = output.length
  await until("traffic flows", () => /bytes from/.test(output.slice(seen)), convergeMs)
  t.same(await weftd.drift(lab), [])
  ping.kill("SIGINT")
  await weftd.close().catch((error: unknown) => t.fail(String(error)))
  t.same(docker.containers(), [], "no container is left")
})
