/** Scenarios and the failover check, end to end: schedules, what they do to packets, Ctrl-C, and that nothing stays broken. */
import { readFileSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import t from "tap"
import { needsRoot, until } from "./harness.ts"
import { Weftd } from "./daemon-harness.ts"

/** pc (10.1.0.2) --- r ===one, two=== s --- db (10.2.0.2); BGP finds the other way. */
const topology = (name: string) => ({
  name,
  nodes: {
    pc: { kind: "host" },
    r: { kind: "router", bgp: { as: 65001, networks: "10.1.0.0/24" } },
    s: { kind: "router", bgp: { as: 65002, networks: "10.2.0.0/24" } },
    db: { kind: "host" }
  },
  networks: {
    lan: { cidr: "10.1.0.0/24", gateway: "r", ports: ["r:lan", { port: "pc", addresses: ["10.1.0.2"] }] },
    far: { cidr: "10.2.0.0/24", gateway: "s", ports: ["s:far", { port: "db", addresses: ["10.2.0.2"] }] }
  },
  links: [
    { name: "one", endpoints: ["r:one", "s:one"], cidr: "10.9.0.0/30" },
    { name: "two", endpoints: ["r:two", "s:two"], cidr: "10.9.1.0/30" }
  ]
})

/** Nothing gets through, and sessions live on: what is healed is back at once. */
const bothLost = [{ loss: { link: "one", value: "100%" } }, { loss: { link: "two", value: "100%" } }]

interface Planned {
  readonly steps: ReadonlyArray<{ readonly atMs: number; readonly what: string }>
}

t.test("weft scenario and the failover check", { skip: needsRoot }, async (t) => {
  const weftd = await Weftd.start("scenario")
  t.teardown(() => weftd.close())
  const lab = weftd.name("scenario")
  const folder = weftd.directory
  const file = (name: string, content: object): string => {
    const path = join(folder, name)
    writeFileSync(path, JSON.stringify(content))
    return path
  }
  await weftd.make(topology(lab))
  await until("pc reaches db", () => weftd.pings(lab, "pc", "10.2.0.2"))
  const nothingLeft = async (): Promise<void> => {
    t.same((await weftd.inspect(lab)).faults ?? [], [], "no fault is in force")
    t.same(await weftd.plan(topology(lab)), [], "the lab is what its topology says")
  }

  await t.test("the same seed gives the same schedule, with a daemon and without", async (t) => {
    const path = file("chance.scenario.yaml", {
      seed: 7,
      timeline: [
        { every: "2s", jitter: "500ms", count: 3, inject: { "link-down": "one" }, for: "1s..2s" },
        { random: { rate: "30/min", between: ["1s", "20s"], of: ["link-down"], targets: ["one", "two"], for: "1s..3s" } }
      ]
    })
    const plan = async (...words: ReadonlyArray<string>): Promise<Planned> => {
      const { code, stderr, stdout } = await weftd.weft(["scenario", path, "--plan", "-o", "json", ...words])
      t.equal(code, 0, stderr)
      return JSON.parse(stdout) as Planned
    }
    const times = ({ steps }: Planned): ReadonlyArray<string> => steps.map(({ atMs, what }) => `${atMs} ${what}`)
    const first = times(await plan())
    t.ok(first.length > 3)
    t.same(times(await plan()), first)
    t.same(times(await plan("--daemon", "unix:/nonexistent")), first, "computed by the tool itself")
    t.notSame(times(await plan("--seed", "8")), first)
    await nothingLeft()
  })

  await t.test("it injects, heals and checks at its times, and reports", async (t) => {
    const path = file("both.scenario.yaml", {
      name: "both ways",
      timeline: [
        { at: "100ms", name: "cut", inject: bothLost },
        {
          at: "200ms",
          sequence: [{ check: { unreachable: { from: "pc", to: "db", timeout: "200ms" }, eventually: "10s" } }, { heal: "cut" }]
        },
        { at: "300ms", check: { reachable: { from: "pc", to: "db" }, eventually: "40s" } }
      ]
    })
    const report = join(folder, "both.xml")
    const { code, stderr, stdout } = await weftd.weft(["scenario", path, "--junit", report])
    t.equal(code, 0, `${stdout}${stderr}`)
    t.match(stdout, /inject .*one.*\n.*inject .*two/)
    t.match(stdout, /✓ passed: 2 faults injected and healed/)
    t.match(readFileSync(report, "utf8"), /<testsuites name="weft scenario" tests="4" failures="0" errors="0"/)
    await nothingLeft()
  })

  await t.test("a recording that a fault names travels with the scenario", async (t) => {
    writeFileSync(join(folder, "bad-day.csv"), "time,loss\n0s,100%\n")
    const path = file("recorded.scenario.yaml", {
      timeline: [
        ...["one", "two"].map((link) => ({ name: link, inject: { brownout: { link, trace: "bad-day.csv" } } })),
        {
          at: "100ms",
          sequence: [
            { check: { unreachable: { from: "pc", to: "db", timeout: "200ms" }, eventually: "10s" } }, { heal: ["one", "two"] },
            { check: { reachable: { from: "pc", to: "db" }, eventually: "40s" } }
          ]
        }
      ]
    })
    const { code, stderr, stdout } = await weftd.weft(["scenario", path, "--plan"])
    t.equal(code, 0, stderr)
    t.match(stdout, /does what bad-day\.csv says/)
    t.match(await weftd.weft(["scenario", path, "--plan", "--daemon", "unix:/nonexistent"]), { code: 0, stdout: /bad-day\.csv/ })
    const ran = await weftd.weft(["scenario", path])
    t.equal(ran.code, 0, `${ran.stdout}${ran.stderr}`)
    await nothingLeft()
  })

  await t.test("a check that fails makes it fail, and all is healed", async (t) => {
    const check = { reachable: { from: "r", to: "10.1.0.77", timeout: "200ms" } }
    const path = file("fails.scenario.yaml", { timeline: [{ inject: { "link-down": "three" } }, { at: "200ms", check }] })
    const wrong = await weftd.weft(["scenario", path, "--lab", lab])
    t.equal(wrong.code, 2, "there is no such link")
    t.match(wrong.stderr, /fails\.scenario\.yaml:1:\d+: .*nothing was touched/s)
    const elsewhere = file("elsewhere.scenario.yaml", { lab: "nowhere", timeline: [{ inject: { "link-down": "one" } }] })
    t.match(await weftd.weft(["scenario", elsewhere]),
      { code: 2, stderr: /elsewhere\.scenario\.yaml:1:8: lab: lab "nowhere" is not deployed/ })
    t.match(await weftd.weft(["scenario", elsewhere, "--plan"]), { code: 0 })
    const random = { random: { count: 1, between: ["1s", "2s"], of: ["link-down"], targets: "all" } }
    const lost = file("lost.scenario.yaml", { topology: "none.weft.yaml", timeline: [random, { inject: { "link-dwon": "one" } }] })
    const { code: refused, stderr: told } = await weftd.weft(["scenario", lost])
    t.equal(refused, 2)
    t.match(told, /link-dwon: unknown kind of fault[^]*Cannot read topology "[^"]*none\.weft\.yaml"/, "both are told")
    t.notMatch(told, /cannot be looked up/, "names are looked up when the topology is there")
    const suite = file("elsewhere.check.yaml", { lab: "nowhere", checks: [check] })
    t.match(await weftd.weft(["check", suite]), { code: 2, stderr: /elsewhere\.check\.yaml:1:8: lab: lab "nowhere" is not deployed/ })
    const failing = file("fails2.scenario.yaml", { timeline: [{ inject: { "link-down": "one" } }, { at: "200ms", check }] })
    const { code, stdout } = await weftd.weft(["scenario", failing])
    t.equal(code, 1)
    t.match(stdout, /✗ failed: 1 fault injected and healed/)
    await nothingLeft()
  })

  await t.test("Ctrl-C heals before it ends, and so does the daemon for a client that was killed", async (t) => {
    const late = { at: "9m", check: { name: "in the end", reachable: { from: "pc", to: "db" } } }
    const path = file("long.scenario.yaml", { until: "10m", timeline: [{ inject: { "link-down": "one" } }, late] })
    const report = join(folder, "long.xml")
    for (const signal of ["SIGINT", "SIGKILL"] as const) {
      const { code } = await weftd.weft(["scenario", path, "--junit", report], {
        onStart: (child) => child.stdout!.on("data", (text) => void (String(text).includes("inject") && child.kill(signal)))
      })
      t.equal(code, signal === "SIGINT" ? 130 : null)
      await until("it is healed", async () => ((await weftd.inspect(lab)).faults ?? []).length === 0)
    }
    const written = readFileSync(report, "utf8")
    t.match(written, /<testsuites name="weft scenario" tests="3" failures="0" errors="1"/)
    t.match(written, /<testcase name="in the end"[^>]*>\s*<skipped message="not done: it was interrupted"/)
    t.match(written, /<error message="1 of 2 moments not reached: it was interrupted"/)
    await nothingLeft()
  })

  await t.test("failover says how long each flow was out, and heals", async (t) => {
    const path = file("failover.check.yaml", {
      checks: [
        {
          name: "one of two",
          failover: {
            flows: [{ from: "pc", to: "db" }, { from: "db", to: "pc", protocol: "udp" }],
            inject: { "link-down": "one" }, "max-outage": "60s", within: "60s"
          }
        },
        { name: "both", failover: { flows: { from: "pc", to: "db" }, inject: bothLost, within: "1s" } }
      ]
    })
    const { code, stdout } = await weftd.weft(["check", path])
    t.equal(code, 1)
    t.match(stdout, /✓ one of two .*\n +seen +pc -> db: (no outage|out for [\d.]+ ms)[^\n]*; db -> pc \(udp\): /)
    t.match(stdout, /✗ both .*\n +expected +pc -> db: back when .*\n +seen +pc -> db: out for \d+ ms and still is/)
    await nothingLeft()
  })

  await t.test("a recording that failover names travels with the suite", async (t) => {
    writeFileSync(join(folder, "bad-minute.csv"), "time,loss\n0s,100%\n")
    const inject = ["one", "two"].map((link) => ({ brownout: { link, trace: "bad-minute.csv" } }))
    const flows = { from: "pc", to: "db" }
    const path = file("recorded.check.yaml", { checks: [{ failover: { flows, inject, within: "1s", recovers: false } }] })
    const { stderr, stdout } = await weftd.weft(["check", path, "-o", "json"])
    t.match(stdout, /bad-minute\.csv/, stderr)
    const { results } = JSON.parse(stdout) as { readonly results: ReadonlyArray<object> }
    t.match(results, [{ error: false, name: /brownout one bad-minute\.csv/, expected: /one.* does what bad-minute\.csv says/ }])
    const away = file("away.check.yaml", { checks: [{ failover: { flows, inject: { brownout: { link: "one", trace: "../day.csv" } } } }] })
    const refused = await weftd.weft(["check", away])
    t.equal(refused.code, 2)
    t.match(refused.stderr, /away\.check\.yaml:1:\d+: .*trace: cannot read it: (no such file|it is not in the suite's folder)/)
    await nothingLeft()
  })

  await t.test("a suite that is interrupted in the middle of a failover has healed it", async (t) => {
    const path = file("interrupted.check.yaml", {
      checks: [{ failover: { flows: { from: "pc", to: "db" }, inject: bothLost, within: "60s" } }]
    })
    const ended = weftd.weft(["check", path], {
      onStart: (child) => void until("the fault is there", async () => ((await weftd.inspect(lab)).faults ?? []).length > 0, 120_000)
        .then(() => child.kill("SIGINT"))
    })
    t.equal((await ended).code, 130)
    await until("it is healed", async () => ((await weftd.inspect(lab)).faults ?? []).length === 0)
    await nothingLeft()
  })
})
