/** Container nodes: interfaces before the process, restarts of all sorts, failures that say what to do, nothing left. */
import { createSocket } from "node:dgram"
import { connect, createServer, type AddressInfo } from "node:net"
import { existsSync } from "node:fs"
import t, { type Test } from "tap"
import { inodeOf, Weftd, type TopologyObject } from "./daemon-harness.ts"
import { DockerEngine } from "./docker-engine.ts"
import { checkout, needsRoot, until } from "./harness.ts"

const image = "weft-test/box"
/** Generous: two busy cores in CI; alone it takes a third of a second. */
const backMs = 60_000
const forever = "while true; do sleep 1; done"
const boot = `ls /sys/class/net > /seen; ip -o addr > /addresses; ip route > /routes; ${forever}`

/** r1 is a container that writes down what it sees as its first act, pc an ordinary host. */
const topology = (name: string, container: Record<string, unknown> = {}): TopologyObject & { nodes: Record<string, object> } => ({
  name,
  nodes: {
    pc: { kind: "host" },
    r1: { kind: "container", image, role: "router", cmd: ["sh", "-c", boot], ...container }
  },
  links: [{ endpoints: ["pc:eth0", "r1:eth1"], cidr: "10.0.0.0/24" }],
  networks: { lan: { cidr: "10.1.0.0/24", ports: ["r1:eth2"] } }
})

const freePort = (): Promise<number> =>
  new Promise((resolve) => {
    const server = createServer().listen(0, "127.0.0.1", () => {
      const { port } = server.address() as AddressInfo
      server.close(() => resolve(port))
    })
  })

t.setTimeout(600_000)

t.test("containers", { skip: needsRoot, timeout: 600_000 }, async (t) => {
  const docker = await DockerEngine.start()
  t.teardown(() => docker.close())
  docker.importBusybox(image)
  const weftd = await Weftd.start("containers")

  const nameOf = (lab: string, node = "r1"): string => `weft-${weftd.instance}.${lab}.${node}`
  const inContainer = (lab: string, node: string, ...argv: ReadonlyArray<string>) => weftd.weft(["exec", `${lab}/${node}`, "--", ...argv])
  /** The same by Docker's own program. */
  const inside = (lab: string, ...argv: ReadonlyArray<string>): string => docker.run("exec", nameOf(lab), ...argv)
  const isRunning = (name: string): boolean => docker.ask(name, "{{.State.Running}}") === "true"
  /** Whether the container runs and its process can use the link. */
  const isBack = (lab: string): boolean => {
    try {
      return isRunning(nameOf(lab)) && inside(lab, "ping", "-c", "1", "-W", "1", "10.0.0.1").includes(" 0% packet loss")
    } catch {
      return false
    }
  }

  await t.test("its process finds interfaces, addresses, files and settings at its first instruction", async (t) => {
    const lab = weftd.name("boot")
    const file = { "/etc/box/conf": { content: "one\ntwo\n", mode: "0640" }, "/greeting": "hello" }
    const limits = { memory: "64m", cpu: 0.5, "cap-add": "SYS_TIME" }
    const keys = { files: file, env: { COLOR: "deep blue", N: 1 }, ...limits, dns: { servers: "10.0.0.1" } }
    await weftd.make(topology(lab, { ...keys, exec: ["sh -c 'echo $COLOR > /ran'"] }))
    const read = (path: string): string => inside(lab, "cat", path)
    t.same(read("/seen").split("\n"), ["eth1", "eth2", "lo"])
    t.match(read("/addresses"), /eth1 +inet 10\.0\.0\.2\/24/)
    t.match(read("/routes"), /10\.1\.0\.0\/24 dev eth2/)
    t.equal(read("/etc/box/conf"), "one\ntwo")
    t.match(inside(lab, "ls", "-l", "/etc/box/conf"), /^-rw-r-----/)
    t.equal(read("/ran"), "deep blue", "commands of the topology run inside, with its environment")
    t.match(read("/etc/hosts"), /^10\.0\.0\.1 pc pc\./m)
    t.equal(read("/etc/resolv.conf"), "nameserver 10.0.0.1")
    t.equal(read("/proc/sys/net/ipv4/ip_forward"), "1")
    t.equal(inside(lab, "hostname"), "r1")
    t.match(docker.ask(nameOf(lab), "{{.HostConfig.CapAdd}}"), /SYS_TIME/)
    t.equal(docker.ask(nameOf(lab), "{{.HostConfig.Memory}} {{.HostConfig.NanoCpus}}"), `${64 * 2 ** 20} 500000000`)
    t.ok(await weftd.pings(lab, "pc", "10.0.0.2"))
    t.same(await weftd.plan(topology(lab, { ...keys, exec: ["sh -c 'echo $COLOR > /ran'"] })), [], "the same file changes nothing")
    t.same(await weftd.drift(lab), [])

    const edited = topology(lab, { ...keys, files: { "/greeting": "good bye" }, exec: ["sh -c 'echo $COLOR > /ran'"] })
    const inode = inodeOf(lab, "r1")
    await weftd.make({ ...edited, nodes: { ...edited.nodes, third: { kind: "host", loopback: "10.9.9.9/32" } } })
    t.equal(read("/greeting"), "good bye")
    t.equal(read("/ran"), "deep blue", "commands run again in a new container")
    t.match(read("/etc/hosts"), /^10\.9\.9\.9 third/m)
    t.equal(inodeOf(lab, "r1"), inode, "its namespace stays")
  })

  await t.test("weft exec has the container's user, streams, exit codes and a terminal", async (t) => {
    const lab = weftd.name("exec")
    await weftd.make(topology(lab, { user: "1234:1234", cmd: ["sh", "-c", forever] }))
    t.match((await inContainer(lab, "r1", "id", "-u")).stdout, "1234")
    const words = ["exec", `${lab}/r1`]
    t.match((await weftd.weft([...words, "-u", "0", "--", "id", "-u"])).stdout, /^0$/m)
    t.match((await weftd.weft([...words, "-e", "A=b c", "--", "sh", "-c", "echo $A"])).stdout, "b c")
    t.match(await inContainer(lab, "r1", "sh", "-c", "echo out; echo err >&2; exit 7"), { code: 7, stdout: "out\n", stderr: "err\n" })
    const big = "x".repeat(300_000)
    t.equal((await weftd.weft([...words, "--", "cat"], { input: big })).stdout, big, "what goes in comes out, to the last octet")
    t.match(await inContainer(lab, "r1", "nosuch"), { code: 127, stderr: /cannot start "nosuch" in r1.*not found/ })
    t.match(await inContainer(lab, "r1", "/etc"), { code: 126, stderr: /permission denied|is a directory/ })
    const terminal = ["script", "-qec", `${checkout}/bin/weft exec -it ${lab}/r1 -- sh -c 'tty; echo $TERM; exit 4'`, "/dev/null"]
    const child = weftd.spawnTool(["env", `WEFT_DAEMON=${weftd.address}`, ...terminal])
    let output = ""
    child.stdout!.setEncoding("utf8").on("data", (text: string) => (output += text))
    await until("the terminal has been used", () => child.exitCode !== null, backMs)
    t.match(output, /\/dev\/pts\/0[^]*xterm/)
    t.equal(child.exitCode, 4)
  })

  await t.test("links are back whatever ends the container", async (t) => {
    const lab = weftd.name("again")
    await weftd.make(topology(lab))
    const name = nameOf(lab)
    const identity = async (): Promise<unknown> => {
      const { nodes } = await weftd.inspect(lab)
      return [inodeOf(lab, "r1"), nodes.flatMap(({ ports }) => ports.map(({ ifindex, mac }) => [ifindex, mac]))]
    }
    const before = await identity()
    const ways: Readonly<Record<string, () => void>> = {
      "docker kill, docker start": () => {
        docker.run("kill", name)
        docker.run("start", name)
      },
      "docker restart": () => void docker.run("restart", "-t", "0", name),
      "a crash": () => void process.kill(Number(docker.ask(name, "{{.State.Pid}}")), "SIGKILL"),
      "its holder killed, then a crash": () => {
        docker.run("kill", `${name}.net`)
        process.kill(Number(docker.ask(name, "{{.State.Pid}}")), "SIGKILL")
      }
    }
    for (const [what, end] of Object.entries(ways)) {
      const started = docker.ask(name, "{{.State.StartedAt}}")
      end()
      // A crash is Docker's to answer; where the holder was gone at that moment, the deploy below or weftd is.
      await until(`it is back after ${what}`, () => docker.ask(name, "{{.State.StartedAt}}") !== started && isBack(lab), backMs)
      t.same(inside(lab, "cat", "/seen").split("\n"), ["eth1", "eth2", "lo"], what)
      t.same(await identity(), before, `${what}: nothing was made anew`)
    }
    await until("the holder runs again", () => isRunning(`${name}.net`), backMs)
    t.same(await weftd.drift(lab), [])

    docker.run("stop", "-t", "0", name)
    t.match((await weftd.drift(lab)).join(), /container\/r1 state: "exited with code 137" -> "running"/)
    t.equal(isRunning(name), false, "what is stopped by hand stays so")
    await weftd.make(topology(lab))
    t.ok(isBack(lab), "until the next deploy")
  })

  await t.test("weftd may be killed while a container restarts", async (t) => {
    const lab = weftd.name("killed")
    await weftd.make(topology(lab))
    const started = docker.ask(nameOf(lab), "{{.State.StartedAt}}")
    process.kill(Number(docker.ask(nameOf(lab), "{{.State.Pid}}")), "SIGKILL")
    await weftd.kill()
    await until("it is back without weftd", () => docker.ask(nameOf(lab), "{{.State.StartedAt}}") !== started && isBack(lab), backMs)
    docker.run("kill", nameOf(lab), `${nameOf(lab)}.net`)
    await weftd.start()
    await until("it is mended at weftd's start", () => isBack(lab), 2 * backMs)
    t.same(await weftd.drift(lab), [])
  })

  await t.test("what cannot run fails its node, says why, and harms no other", async (t) => {
    const lab = weftd.name("bad")
    const bad = (keys: object): object => ({ kind: "container", image, ...keys })
    const outcome = await weftd.deploy({
      name: lab,
      nodes: {
        absent: bad({ image: "weft/frr" }),
        foreign: bad({ image: "nginx:1" }),
        ends: bad({ cmd: ["sh", "-c", "echo first; echo last words; exit 3"] }),
        typo: bad({ cmd: ["nosuch"] }),
        sick: bad({ cmd: ["sh", "-c", forever], healthcheck: ["sh", "-c", "echo no good; exit 1"], "wait-for": "healthy" }),
        unchecked: bad({ cmd: ["sh", "-c", forever], "wait-for": "healthy" }),
        hungry: bad({ cmd: ["sh", "-c", "sleep 2; x=aaaaaaaa; while true; do x=$x$x; done"], memory: "16m" }),
        bound: bad({ cmd: ["sh", "-c", forever], binds: ["/nonexistent/weft-test:/x"] }),
        good: bad({ cmd: ["sh", "-c", forever] })
      },
      networks: { lan: { cidr: "10.2.0.0/24", ports: ["good", "ends"] } }
    })
    const said = (node: string): string => outcome.failures.find((line) => line.startsWith(`container/${node}:`)) ?? ""
    t.match(said("absent"), /has no image "weft\/frr".*docker\/build\.sh frr/)
    t.match(said("foreign"), /has no image "nginx:1".*docker pull nginx:1/)
    t.match(said("ends"), /exit code 3.*first \| last words/)
    t.match(said("typo"), /"nosuch": executable file not found/)
    t.match(said("sick"), /unhealthy.*no good/)
    t.match(said("unchecked"), /no health check/)
    t.match(said("bound"), /\/nonexistent\/weft-test/)
    t.equal(existsSync("/nonexistent"), false, "nothing is made on the host for a bind")
    t.equal(outcome.failures.length, 7)
    const hungry = (): string => docker.ask(nameOf(lab, "hungry"), "{{.RestartCount}}")
    await until("the one that is out of memory has been started again", () => Number(hungry()) > 0, 2 * backMs)
    t.ok(isRunning(nameOf(lab, "good")))
    t.equal((await weftd.destroy(lab)).failures.length, 0)
    t.same(docker.containers().filter((name) => name.startsWith(nameOf(lab, ""))), [])
  })

  await t.test("wait-for: healthy holds back the deploy and the commands after it", async (t) => {
    const lab = weftd.name("healthy")
    const cmd = ["sh", "-c", `sleep 1; touch /ok; ${forever}`]
    const healthcheck = { test: "test -e /ok", interval: "100ms", retries: 1000 }
    await weftd.make(topology(lab, { cmd, healthcheck, "wait-for": "healthy", exec: ["ls /ok"] }))
    t.equal(docker.ask(nameOf(lab), "{{.State.Health.Status}}"), "healthy")
  })

  await t.test("published ports lead in, TCP and UDP", async (t) => {
    await publishes(t, weftd, weftd.name("ports"))
  })

  await t.test("a killed weftd's stray containers go at its next start, others' stay", async (t) => {
    const labels = ["--label", `io.weft.instance=${weftd.instance}`, "--label", "io.weft.lab=gone", "--label", "io.weft.node=x"]
    docker.run("run", "-d", "--name", "stray", "--network", "none", ...labels, image, "sleep", "1000")
    docker.run("run", "-d", "--name", "theirs", "--network", "none", "--label", "io.weft.instance=other", image, "sleep", "1000")
    await weftd.kill()
    await weftd.start()
    await until("the stray is gone", () => !docker.containers().includes("stray"), backMs)
    t.ok(isRunning("theirs"))
    docker.run("rm", "-f", "theirs")
  })

  await t.test("without Docker only containers fail; when it is back, so are they", async (t) => {
    const lab = weftd.name("engine")
    await weftd.make(topology(lab))
    await docker.stop()
    t.match(await inContainer(lab, "r1", "true"), { code: 125, stderr: /nothing answers at/ })
    t.match((await weftd.weft(["doctor"])).stdout, /Docker/)
    t.match((await weftd.drift(lab)).join(), /container\/r1/, "it is seen to be missing")
    const plain = weftd.name("plain")
    await weftd.make({ name: plain, nodes: { a: { kind: "host", loopback: "10.3.0.1/32" } } })
    const failed = await weftd.deploy(topology(weftd.name("none")))
    t.match(failed.failures.join(), /container\/r1: .*no Docker engine.*start Docker/)
    await docker.start()
    await until("the container is back", () => isBack(lab), 2 * backMs)
    await until("nothing differs", async () => (await weftd.drift(lab)).length === 0, 2 * backMs)
  })

  // Not a teardown: one that fails would keep the engine's from running.
  await weftd.close().catch((error: unknown) => t.fail(String(error)))
  t.same(docker.containers().filter((name) => name.startsWith(`weft-${weftd.instance}.`)), [], "no container is left")
})

const publishes = async (t: Test, weftd: Weftd, lab: string): Promise<void> => {
  const [tcp, udp] = [await freePort(), await freePort()]
  const given = topology(lab, { ports: [`127.0.0.1:${tcp}:80`, `${udp}:53/udp`] })
  await weftd.make(given)
  // Listens on the node's own address only: the relay tries that after the loopback address.
  const echo = `require("net").createServer((s) => s.pipe(s)).listen(80, "10.0.0.2", () => console.log("up"))`
  const answer = `const s = require("dgram").createSocket("udp4"); s.on("message", (m, r) => s.send("got " + m, r.port, r.address)); ` +
    `s.bind(53, "127.0.0.1", () => console.log("up"))`
  for (const script of [echo, answer]) {
    const server = weftd.startIn(lab, "r1", [process.execPath, "-e", script])
    await new Promise((resolve) => server.stdout!.once("data", resolve))
  }
  const socket = connect({ port: tcp, host: "127.0.0.1", allowHalfOpen: true })
  const text = "y".repeat(200_000)
  let received = ""
  socket.setEncoding("utf8").on("data", (chunk: string) => (received += chunk))
  socket.end(text)
  await new Promise((resolve) => socket.once("end", resolve))
  t.equal(received, text, "half-closed, and all of it came back")

  const datagrams = createSocket("udp4")
  t.teardown(() => datagrams.close())
  let reply = ""
  datagrams.on("message", (message) => (reply = message.toString()))
  await until("the datagram is answered", () => {
    if (reply === "") datagrams.send("ping", udp, "127.0.0.1")
    return reply !== ""
  })
  t.equal(reply, "got ping")

  const other = await weftd.deploy({ ...topology(`${lab}b`, { ports: [`127.0.0.1:${tcp}:80`] }) })
  weftd.name("portsb")
  t.match(other.failures.join(), /Cannot publish .*EADDRINUSE/)
  await weftd.destroy(`${lab}b`)
  await weftd.make(topology(lab))
  const refused = await new Promise((resolve) => {
    connect(tcp, "127.0.0.1").once("error", resolve).once("connect", () => resolve("connected"))
  })
  t.match(refused, { code: "ECONNREFUSED" }, "a port that is not published any more is closed")
}
