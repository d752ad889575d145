/** Who may come in, what bad input does (nothing), and commands in nodes as exact as if they were run by hand. */
import { createHash, randomBytes } from "node:crypto"
import { statSync, writeFileSync } from "node:fs"
import { spawn } from "node:child_process"
import { once } from "node:events"
import { join } from "node:path"
import t from "tap"
import { checkout, needsRoot, until } from "./harness.ts"
import { identities, run, toTopology, Weftd } from "./daemon-harness.ts"

const good = (name: string) => ({
  name,
  nodes: { alpha: { kind: "host" }, beta: { kind: "host" } },
  networks: { lan: { cidr: "10.1.0.0/24", ports: ["alpha", "beta"] } }
})

/** Each list holds the one before nine times. */
const nested = Array.from("bcdefgh", (key, i) => `${key}: &${key} [${`*${"abcdefgh"[i]},`.repeat(9)}]`)

/** Files that must be refused, and where the first error must be. */
const bad: Readonly<Record<string, readonly [content: string, position: RegExp]>> = {
  "a lab name that leaves the folder": ["name: ../../etc\nnodes: {}\n", /:1:7/],
  "a node name with a shell command": ['name: x\nnodes:\n  "a;reboot": { kind: host }\n', /:3:3/],
  "a node name with emoji": ["name: x\nnodes:\n  🦀: { kind: host }\n", /:3:3/],
  "a node name of 200 octets": [`name: x\nnodes:\n  ${"a".repeat(200)}: { kind: host }\n`, /:3:3/],
  "an interface name that leaves the folder": [
    'name: x\nnodes:\n  a: { kind: host }\n  b: { kind: host }\nlinks:\n  - endpoints: ["a:../x", "b:e"]\n',
    /:6:\d/
  ],
  "an interface name over 15 octets": [
    'name: x\nnodes:\n  a: { kind: host }\n  b: { kind: host }\nlinks:\n  - endpoints: ["a:eth0123456789abc", "b:e"]\n',
    /:6:\d/
  ],
  "a sysctl that leaves its folder": ['name: x\nnodes:\n  a: { kind: host, sysctls: { "net/../kernel.core_pattern": "|x" } }\n', /:3:\d/],
  "a sysctl of the whole machine": ["name: x\nnodes:\n  a: { kind: host, sysctls: { kernel.panic: 1 } }\n", /:3:\d/],
  tabs: ["name: x\nnodes:\n\ta: { kind: host }\n", /:3:\d/],
  "a key twice": ["name: x\nname: y\nnodes: {}\n", /:2:\d/],
  "aliases that explode": [
    `name: x\na: &a [1,1,1,1,1,1,1,1,1]\n${nested.join("\n")}\n`,
    /:\d+:\d+/
  ]
}

t.test("safety", { skip: needsRoot }, async (t) => {
  const weftd = await Weftd.start("safety")
  t.teardown(() => weftd.close())
  const lab = weftd.name("safety")
  await weftd.make(good(lab))
  const before = identities(await weftd.inspect(lab))
  const socket = weftd.address.slice("unix:".length)

  t.test("the socket is the door", async (t) => {
    const { gid, mode, uid } = statSync(socket)
    const group = await run(["getent", "group", "weft"])
    t.equal(mode & 0o777, 0o660)
    t.equal(uid, 0)
    t.equal(gid, group.code === 0 ? Number(group.stdout.split(":")[2]) : 0)
    t.equal(statSync(weftd.stateDirectory).mode & 0o077, 0, "nobody else reads the state")
    // Not `weft` itself: the checkout may lie where other users cannot read.
    const connect =
      `require("net").connect("${socket}").on("connect", () => process.exit(0))` +
      `.on("error", (e) => { console.log(e.code); process.exit(1) })`
    const child = spawn("/usr/bin/env", [
      "-i",
      "setpriv",
      "--reuid=65534",
      "--regid=65534",
      "--clear-groups",
      "--",
      "/bin/sh",
      "-c",
      'exec 3<>/dev/null; test -w "$0"',
      socket
    ])
    const [code] = (await once(child, "exit")) as [number]
    t.equal(code, 1, "an unprivileged user may not write to it")
    t.equal((await run([process.execPath, "-e", connect])).code, 0, "root may")
  })

  t.test("bad files: exit 2, a position, and nothing happens", async (t) => {
    for (const [what, [content, position]] of Object.entries(bad)) {
      const start = performance.now()
      const { diagnostics } = await weftd.client.plan(toTopology(content))
      const [first] = diagnostics.filter(({ severity }) => severity === "ERROR")
      t.match(`:${first?.line}:${first?.column}`, position, what)
      t.match(await weftd.deploy(content), { changed: -1, message: /error/ }, what)
      t.ok(performance.now() - start < 20_000, `${what}: at once`)
    }
    const [content, position] = bad["a node name with emoji"]!
    const { code, stderr } = await weftd.weft(["deploy", "-"], { input: content })
    t.equal(code, 2)
    t.match(stderr, position)
    const big = join(weftd.directory, "big.weft.yaml")
    writeFileSync(big, `name: big\nnodes:\n${"  # padding\n".repeat(900_000)}`)
    const refused = await weftd.weft(["deploy", big])
    t.equal(refused.code, 2, "10 MB")
    t.match(refused.stderr, /octets/)
    t.same(
      (await weftd.client.list()).map(({ name }) => name),
      [lab]
    )
    t.same(identities(await weftd.inspect(lab)), before)
    t.ok(await weftd.pings(lab, "alpha", "10.1.0.2"))
  })

  t.test("a bad file goes to the daemon, too, whoever sends it", async (t) => {
    const outcome = await weftd.deploy("name: ../x\nnodes: {}\n")
    t.match(outcome, { changed: -1, message: /error/ })
    await t.rejects(weftd.destroy("../../etc"), /No lab/)
    await t.rejects(weftd.inspect("../../etc"), /No lab/)
    t.same(
      (await weftd.client.list()).map(({ name }) => name),
      [lab]
    )
  })

  t.test("exec of a node that does not exist", async (t) => {
    const { code, stderr } = await weftd.weft(["exec", "alpa", "--", "true"])
    t.not(code, 0)
    t.match(stderr, /alpa[^]*alpha/)
    for (const node of ["../alpha", `${lab}/nonode`]) t.not((await weftd.weft(["exec", node, "--", "true"])).code, 0, node)
  })

  t.test("exec passes exit codes and signals", async (t) => {
    t.equal((await weftd.weft(["exec", "alpha", "--", "sh", "-c", "exit 42"])).code, 42)
    t.equal((await weftd.weft(["exec", "alpha", "--", "sh", "-c", "kill -9 $$"])).code, 137)
    t.not((await weftd.weft(["exec", "alpha", "--", "/no/such/program"])).code, 0)
    t.equal((await weftd.weft(["exec", "alpha", "--", "echo", "$(id) ;a  b"])).stdout, "$(id) ;a  b\n", "no shell")
    const script = `trap 'echo caught; exit 33' INT; echo up; while :; do sleep 0.05; done`
    const interrupted = await weftd.weft(["exec", "alpha", "--", "sh", "-c", script], {
      onStart: (child) => child.stdout!.once("data", () => child.kill("SIGINT"))
    })
    t.match(interrupted, { code: 33, stdout: /caught/ })
  })

  t.test("a killed client takes its command along", async (t) => {
    const marker = `${3_000_000 + (process.pid % 1000)}`
    const running = async (): Promise<boolean> => (await run(["pgrep", "-f", `^sleep ${marker}$`])).code === 0
    const client = weftd.weft(["exec", "alpha", "--", "sleep", marker], {
      onStart: (child) => void until("it runs", running).then(() => child.kill("SIGKILL"))
    })
    t.equal((await client).code, null)
    await until("the command is gone", async () => !(await running()))
    t.pass("gone")
  })

  t.test("50 MB through stdin and back, octet by octet the same", async (t) => {
    const input = randomBytes(50_000_000)
    const digest = createHash("sha256").update(input).digest("hex")
    const sum = await weftd.weft(["exec", "alpha", "--", "sha256sum"], { input })
    t.equal(sum.stdout, `${digest}  -\n`)
    const file = join(weftd.directory, "echo")
    const echoed = await run(["sh", "-c", `"$0" exec alpha -- cat > "$1"; sha256sum < "$1"`, join(checkout, "bin/weft"), file], {
      input,
      env: { ...process.env, WEFT_DAEMON: weftd.address }
    })
    t.equal(echoed.stdout, `${digest}  -\n`)
  })

  t.test("afterwards the lab is as it was", async (t) => {
    t.same(identities(await weftd.inspect(lab)), before)
    t.same(await weftd.drift(lab), [])
  })
})
