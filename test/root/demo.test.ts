/** `weft demo`, the first thing that a new user types: it works, and whatever happens it leaves nothing behind. */
import { existsSync, mkdtempSync, readFileSync, rmSync } from "node:fs"
import type { ChildProcess } from "node:child_process"
import { tmpdir } from "node:os"
import { join } from "node:path"
import t, { type Test } from "tap"
import { checkout, needsRoot, until } from "./harness.ts"
import { environment, run, sh, type Output } from "./daemon-harness.ts"

const socket = "/run/weft/demo/weftd.sock"
/** Everything that `--hosts` keeps. */
const hostsFolder = "/var/lib/weft/demo-hosts"
const patienceMs = 240_000
/** A daemon that serves users would be taken by the demo, and is none of ours. */
const occupied = existsSync("/run/weft/weftd.sock") || existsSync("/run/weft/demo") ? "a weftd runs on this machine" : false

const lines = (...argv: ReadonlyArray<string>): ReadonlyArray<string> =>
  sh(...argv)
    .split("\n")
    .filter((line) => line !== "")

/** What the machine has that a demo could leave. */
const machine = (): Readonly<Record<string, ReadonlyArray<string>>> => ({
  namespaces: lines("ip", "netns")
    .map((line) => line.split(" ")[0]!)
    .filter((name) => /^weft\.(demo\.|fabric\.demo)|^weft-demo-/.test(name)),
  links: lines("ip", "-o", "link").map((line) => line.split(":")[1]!.trim()),
  tables: lines("nft", "list", "tables"),
  files: ["/run/weft/demo", socket, "/run/weft/demo-host1", hostsFolder].filter((path) => existsSync(path)),
  processes: lines("ps", "-eo", "args").filter((args) => args.includes("--instance demo") || args.includes(`${hostsFolder}/`))
})

/** The story of the cut: measured, bounded, and over. */
const failedOver = (t: Test, stdout: string): void => {
  t.match(stdout, /BGP between the sites: 7 sessions up, 7 of them watched by BFD/)
  t.match(stdout, /B>\* 10\.30\.0\.0\/16 \[20\] via 169\.254\.1\d\.1, vpn-aws\d\n +via 169\.254\.1\d\.1, vpn-aws\d\n/, "two equal ways")
  const cut = /Cut vpn-aws-(\d) silently/.exec(stdout)?.[1]
  t.match(stdout, /flow \d: outage +[\d.]+ m?s, \d+ probes lost/)
  t.match(stdout, /BFD on fw: 169\.254\.1\d\.1 down, /)
  const after = /BGP on fw: [^]*?\n +(B>\* [^]*?)packets\/s/.exec(stdout)?.[1] ?? ""
  t.notMatch(after, `vpn-aws${cut}`, "the route does not go there any more")
  const measured = Number(/Measured now, with BFD and ECMP: (\d+) ms/.exec(stdout)?.[1])
  t.ok(measured > 0 && measured <= 2000, `${measured} ms`)
  t.match(stdout, /Heal vpn-aws-\d: both tunnels in use after/)
}

t.test("demo", { skip: needsRoot || occupied }, async (t) => {
  const cwd = mkdtempSync(join(tmpdir(), "weft-test-demo-"))
  t.teardown(() => rmSync(cwd, { recursive: true }))
  const before = machine()
  const demo = (words: ReadonlyArray<string>, onStart: (child: ChildProcess) => void = () => {}): Promise<Output> =>
    run([join(checkout, "bin/weft"), "demo", ...words], { cwd, env: environment({}), timeoutMs: patienceMs, onStart })

  t.test("shows a network that works, and removes it", async (t) => {
    const { code, stderr, stdout } = await demo([])
    t.equal(code, 0, stderr)
    t.match(stdout, /Deploy it: \d+ added/)
    t.match(stdout, /every host to every host: 42 pairs/)
    t.match(stdout, /pc1 10\.10\.0\.2 → www .* arrives as 203\.0\.113\.1 +✓ NAT/)
    t.match(stdout, /pc1 10\.10\.0\.2 → app .* arrives as 10\.10\.0\.2 +✓ no NAT/)
    failedOver(t, stdout)
    t.match(stdout, /Everything worked/)
    t.match(readFileSync(join(cwd, "weft-demo.svg"), "utf8"), /^<svg[^]*idc-r1[^]*<\/svg>\s*$|<\?xml/)
    t.same(machine(), before)
  })

  for (const [when, step] of [
    ["right at the start", /weft demo/],
    ["half-way", /Deploy it/],
    ["while the tunnel is cut", /Cut vpn-aws/]
  ] as const) {
    t.test(`Ctrl-C ${when}: everything is removed`, async (t) => {
      let seen = ""
      const { code } = await demo([], (child) => {
        child.stdout!.on("data", (chunk: Buffer) => {
          const already = step.test(seen)
          seen += chunk
          if (!already && step.test(seen)) child.kill("SIGINT")
        })
      })
      t.equal(code, 130)
      t.same(machine(), before)
    })
  }

  t.test("over three hosts", async (t) => {
    const { code, stderr, stdout } = await demo(["--hosts", "3"])
    t.equal(code, 0, stderr)
    t.match(stdout, /host2 +10\.99\.0\.2 +\d+ +idc +app db idc-r1 idc-r2/)
    t.equal(stdout.match(/host\d - host\d +vxlan :4789 kernel .* up /g)?.length, 3, "a tunnel for each pair")
    t.match(stdout, /the underlay carries 10\.99\.0\.1:\d+ > 10\.99\.0\.2:4789 UDP/)
    t.match(stdout, /every host to every host: 42 pairs/)
    t.match(stdout, /pc1 10\.10\.0\.2 → www .* arrives as 203\.0\.113\.1 +✓ NAT/)
    failedOver(t, stdout)
    t.match(stdout, /Everything worked/)
    t.match(readFileSync(join(cwd, "weft-demo.svg"), "utf8"), />idc · host2<[^]*tunnel between hosts/)
    t.same(machine(), before)
  })

  t.test("over five hosts, kept, asked through the last one, and ended as it says", async (t) => {
    const { code, stderr, stdout } = await demo(["--hosts", "5", "--keep"])
    t.equal(code, 0, stderr)
    t.match(stdout, /host5 +10\.99\.0\.5 +\d+ +idc +db idc-r2/)
    const weft = (...words: ReadonlyArray<string>): Promise<Output> =>
      run([join(checkout, "bin/weft"), ...words], { env: environment({ WEFT_DAEMON: "unix:/run/weft/demo-host5/weftd.sock" }) })
    t.match(await weft("exec", "pc1", "--", "ping", "-c1", "-W2", "db"), { code: 0 })
    t.equal((await weft("hosts")).stdout.match(/ ready /g)?.length, 5)
    const second = await demo(["--hosts", "2"])
    t.equal(second.code, 1)
    t.match(second.stderr, `sudo sh ${hostsFolder}/end`)
    t.match(await weft("exec", "pc1", "--", "ping", "-c1", "-W2", "db"), { code: 0 }, "the first one is not harmed")
    const end = /sh (\S+\/end)/.exec(stdout)![1]!
    t.match(await run(["sh", end], { env: environment({}), timeoutMs: patienceMs }), { code: 0 })
    t.same(machine(), before)
  })

  for (const [when, step] of [
    ["while hosts are made", /weft demo/],
    ["while they start", /Make 3 hosts/],
    ["while the lab works", /Deploy it/]
  ] as const) {
    t.test(`over three hosts, Ctrl-C ${when}: everything is removed`, async (t) => {
      let seen = ""
      const { code, stderr } = await demo(["--hosts", "3"], (child) => {
        child.stdout!.on("data", (chunk: Buffer) => {
          const already = step.test(seen)
          seen += chunk
          if (!already && step.test(seen)) child.kill("SIGINT")
        })
      })
      t.equal(code, 130, stderr)
      t.same(machine(), before)
    })
  }

  t.test("over two hosts into a pipe that closes: everything is removed", async (t) => {
    await demo(["--hosts", "2"], (child) => child.stdout!.once("data", () => child.stdout!.destroy()))
    t.same(machine(), before)
  })

  t.test("a bad number of hosts is refused", async (t) => {
    for (const count of ["0", "1", "6", "many"]) t.match(await demo(["--hosts", count]), { code: 2, stderr: /2 to 5 are possible/ })
  })

  t.test("two at the same time: one works, the other says who is there", async (t) => {
    const both = await Promise.all([demo([]), demo([])])
    const [first, second] = both.sort((a, b) => (a.code ?? 1) - (b.code ?? 1))
    t.equal(first!.code, 0, first!.stderr)
    t.equal(second!.code, 1)
    t.match(second!.stderr, /deployed already|being changed by another command|another weftd of instance "demo"/)
    t.notMatch(second!.stdout + second!.stderr, /left behind/)
    t.same(machine(), before)
  })

  t.test("--keep leaves it running and says how to end it; a second one says who is there", async (t) => {
    const { code, stdout } = await demo(["--keep"])
    t.equal(code, 0)
    const stop = /kill (\d+) && rm -r (\S+)/.exec(stdout)!
    const weft = (...words: ReadonlyArray<string>): Promise<Output> =>
      run([join(checkout, "bin/weft"), ...words], { env: environment({ WEFT_DAEMON: `unix:${socket}` }) })
    t.match(stdout, "bin/weft exec -it pc1 -- bash")
    t.match(await weft("exec", "pc1", "--", "ping", "-c1", "-W2", "db"), { code: 0 })
    const second = await demo([])
    t.not(second.code, 0)
    t.match(second.stderr, /A lab "demo" is deployed already/)
    t.notMatch(second.stdout + second.stderr, /left behind/)
    t.match(await weft("exec", "pc1", "--", "ping", "-c1", "-W2", "db"), { code: 0 }, "the first one is not harmed")
    t.equal((await weft("destroy", "demo")).code, 0)
    process.kill(Number(stop[1]))
    await until("its daemon is gone", () => !existsSync(`/proc/${stop[1]}`))
    rmSync(stop[2]!, { recursive: true })
    t.same(machine(), before)
  })
})
