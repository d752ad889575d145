import t, { type Test } from "tap"
import { FakeWorld, rehearsal, told } from "./fake-world.ts"

const flows = "flows: [{ from: pc, to: db, name: orders }]"
const cutStep = 'name: cut, inject: { link-down: "db:eth0" }'
const start = `topology: two.weft.yaml\n${flows}`

/** Whatever happens: flows ended, faults healed, the lab gone, and `done` told once, as the last thing. */
const isClean = (t: Test, world: FakeWorld, message: string): void => {
  t.equal(world.probing, 0, `${message}: no flow runs`)
  t.equal(world.leases, 0, `${message}: the lease is ended`)
  t.equal(world.calls.filter((call) => call === "destroy two").length, 1, `${message}: the lab is destroyed`)
  t.equal(told(world, "done").length, 1, `${message}: done is told once`)
  t.ok("done" in world.events.at(-1)!, `${message}: as the last event`)
}

const ends = (world: FakeWorld) => told(world, "stepEnded").map(({ outcome, step }) => `${step} ${outcome}`)

t.test("a rehearsal that passes does everything in order", async (t) => {
  const world = new FakeWorld()
  const what = rehearsal(`${start}\nbudgets: { max-outage: 500ms }\nsteps:
  - deploy: three.weft.yaml
  - { ${cutStep} }
  - heal: cut
  - exec: { node: pc, command: "true" }
  - check: { reachable: { from: pc, to: db } }
  - wait: 2s`)
  t.equal(await world.run(what), "passed")
  t.strictSame(world.calls, [
    "deploy two.weft.yaml", "probe orders", "inspect", "deploy three.weft.yaml", "inject link-down", "heal", "exec pc",
    "check pc reaches db by ICMP", "inspect", "end lease", "destroy two"
  ])
  t.strictSame(ends(world), ["0 passed", "1 passed", "2 passed", "3 passed", "4 passed", "5 passed", "6 passed"])
  t.match(told(world, "done"), [{ outcome: "passed", reasons: [], rolledBack: false, healed: true, destroyed: true }])
  isClean(t, world, "passed")
})

t.test("a budget that breaks ends it after the step, names flow, step and time, and rolls back", async (t) => {
  const world = new FakeWorld()
  world.happenings.set("inject 1", () => world.cut("orders", 812))
  const what = rehearsal(`${start}
budgets: { max-outage: 500ms }
steps: [{ ${cutStep} }, { wait: 5s }]
roll-back: [{ deploy: two.weft.yaml }]`)
  t.equal(await world.run(what), "failed")
  t.strictSame(ends(world), ["0 passed", "1 broken", "2 skipped", "3 passed"])
  t.match(told(world, "broken"), [{ flow: 0, step: 1, budget: 0, value: 812 }])
  t.match(told(world, "done"), [{
    outcome: "failed", rolledBack: true, healed: true, reasons: ["flow orders, step cut: out for 812 ms, max-outage is 500ms"]
  }])
  t.match(told(world, "stepEnded")[1], { flows: [{ outages: 1, longestMs: 812, broken: ["max-outage 500ms: 812 ms"] }] })
  isClean(t, world, "broken")
})

t.test("an outage is that of the step in which it began, however late that is known and however long it lasts", async (t) => {
  const world = new FakeWorld()
  // It begins shortly before the first step is over, and lasts through the second.
  world.happenings.set("stepBegun told", () => told(world, "stepBegun").length === 2 && world.cut("orders", 3000))
  const what = rehearsal(`${start}\nbudgets: { max-outage: 1s }\nsteps:
  - { name: first, exec: { node: pc, command: "true" }, settle: "0" }
  - { name: second, wait: 10s }`)
  t.equal(await world.run(what), "failed")
  t.match(told(world, "done")[0]!.reasons, ["flow orders, step first: out for 3000 ms, max-outage is 1s"])
  t.strictSame([...new Set(told(world, "flows").flatMap(({ outages }) => outages.map(({ step }) => step)))], [1])
})

t.test("what was under way when a step began is lost to that step", async (t) => {
  const world = new FakeWorld()
  world.happenings.set("stepBegun told", () => told(world, "stepBegun").length === 3 && world.cut("orders", 900, -0.7))
  const what = rehearsal(`${start}\nsteps: [{ name: first, wait: 2s }, { name: second, wait: 3s }]`)
  t.equal(await world.run(what), "passed")
  t.strictSame([...new Set(told(world, "flows").flatMap(({ outages }) => outages.map(({ step }) => step)))], [2])
})

t.test("what is lost at the very end is waited for", async (t) => {
  const world = new FakeWorld()
  world.happenings.set("check 1", () => world.cut("orders", 5))
  const what = rehearsal(`${start}\nbudgets: { max-loss: 0 }\nsteps: [{ name: last, check: { reachable: { from: pc, to: db } } }]`)
  t.equal(await world.run(what), "failed")
  t.match(told(world, "done")[0]!.reasons, ["flow orders, step last: lost 5 probes, max-loss is 0"])
})

t.test("budgets of steps go before those of flows, and those before all", async (t) => {
  for (const [budget, outcome] of [
    ["none", "passed"], ["{ max-outage: 2s }", "passed"], ["{ flows: { orders: { max-outage: 2s } } }", "passed"],
    ["{ max-outage: 2s, flows: { orders: { max-outage: 10ms } } }", "failed"], ["{ max-latency: 5ms }", "failed"]
  ] as const) {
    const world = new FakeWorld()
    world.happenings.set("inject 1", () => world.cut("orders", 812))
    const what = rehearsal(`${start}\nbudgets: { max-outage: 500ms }\nsteps: [{ ${cutStep}, budget: ${budget} }, { wait: 3s }]`)
    t.equal(await world.run(what), outcome, budget)
  }
})

t.test("an answer is slow in the step in which it came, however slow others were before", async (t) => {
  const world = new FakeWorld()
  const slow: ReadonlyMap<number, number> = new Map([[1, 80], [2, 40], [3, 2]])
  world.happenings.set("stepBegun told", () => {
    world.latencyMs = slow.get(told(world, "stepBegun").at(-1)!.step) ?? 1
  })
  const what = rehearsal(`${start}\nbudgets: { max-latency: 20ms }\nsteps:
  - { name: worst, wait: 2s, budget: { max-latency: none } }
  - { name: bad, wait: 2s }
  - { name: fine, wait: 2s }`)
  t.equal(await world.run(what), "failed")
  t.match(told(world, "done")[0]!.reasons, ["flow orders, step bad: an answer took 40 ms, max-latency is 20ms"])
  t.match(told(world, "stepEnded").flatMap(({ flows }) => flows.map(({ maxLatencyMs }) => maxLatencyMs)), [1, 80, 40])
})

t.test("a step that fails ends it and rolls back; one that may fail does not", async (t) => {
  for (const goesOn of [false, true]) {
    const world = new FakeWorld()
    world.exits = { code: 3, stdout: "", stderr: "no such thing\n", timedOut: false }
    const what = rehearsal(`${start}\nsteps:
  - { name: try, exec: { node: pc, command: "false" }, continue-on-failure: ${goesOn} }
  - wait: 1s
roll-back: [{ deploy: two.weft.yaml }]`)
    t.equal(await world.run(what), "failed")
    t.strictSame(ends(world), goesOn ? ["0 passed", "1 failed", "2 passed"] : ["0 passed", "1 failed", "2 skipped", "3 passed"])
    t.match(told(world, "done")[0], { rolledBack: !goesOn, reasons: ['step try: "false" in pc ended with 3, not with 0: no such thing'] })
    isClean(t, world, `continue-on-failure: ${goesOn}`)
  }
})

t.test("a check that fails says what was expected and what was seen", async (t) => {
  const world = new FakeWorld()
  world.passes = false
  const what = rehearsal(`${start}
steps: [{ name: look, check: [{ reachable: { from: pc, to: db } }, { reachable: { from: db, to: pc }, severity: warning }] }]`)
  t.equal(await world.run(what), "failed")
  t.strictSame(told(world, "done")[0]!.reasons,
    ["step look: check pc reaches db by ICMP: expected pc reaches db by ICMP, seen something else"])
})

t.test("a fault with a time is waited for, and what its end does is the same step's", async (t) => {
  const world = new FakeWorld()
  world.happenings.set("inject 1", () => world.cut("orders", 100, 5000))
  const what = rehearsal(`${start}\nsteps: [{ name: flap, inject: { link-down: "db:eth0", for: 5s } }, { wait: 1s }]`)
  t.equal(await world.run(what), "passed")
  t.strictSame([...new Set(told(world, "flows").flatMap(({ outages }) => outages.map(({ step }) => step)))], [1])
  t.match(told(world, "faults"), [{ step: 1, injected: [{ id: "f1" }] }, { step: 1, healed: [{ id: "f1" }] }])
})

t.test("flows begin when their nodes come, and end where they are told to", async (t) => {
  const world = new FakeWorld()
  const what = rehearsal(`topology: two.weft.yaml
flows: [{ from: pc, to: db, name: orders, until-step: last }, { from: pc, to: web, name: shop }]
steps: [{ wait: 1s }, { deploy: three.weft.yaml }, { name: last, wait: 3s }]`)
  t.equal(await world.run(what), "passed")
  t.strictSame(world.calls.slice(1, 5), ["probe orders", "inspect", "deploy three.weft.yaml", "probe shop"])
  const last = told(world, "stepEnded")[3]!
  t.strictSame(last.flows.filter(({ sent }) => sent > 0).map(({ flow }) => flow), [1])
})

t.test("a pause waits until it is over", async (t) => {
  const world = new FakeWorld()
  world.happenings.set("pause told", () => world.at(world.nowMs + 60_000, () => world.proceeding?.()))
  const began = world.nowMs
  t.equal(await world.run(rehearsal(`${start}\nsteps: [{ pause: look at it }, { wait: 1s }]`), { pauseBeforeEach: true }), "passed")
  t.strictSame(told(world, "pause").map(({ text }) => text), ["next: pause look at it", "look at it", "next: wait 1s"])
  t.ok(world.nowMs - began > 180_000)
})

t.test("settling is bounded, and says what is still out", async (t) => {
  const world = new FakeWorld()
  world.happenings.set("inject 1", () => world.cut("orders", 1e9))
  const what = rehearsal(`${start}\nsteps: [{ ${cutStep}, settle: { at-most: 4s } }]`)
  t.equal(await world.run(what), "passed", "nothing is asked of the flow")
  t.match(told(world, "note").filter(({ warning }) => warning), [{ text: "4000 ms after cut flows are still out: orders" }])
  isClean(t, world, "still out")
})

t.test("a flow that is not answered before the first step is a failure where anything is asked of it", async (t) => {
  for (const [budgets, outcome] of [["budgets: { max-outage: 1s }", "failed"], ["", "passed"]] as const) {
    const world = new FakeWorld()
    world.happenings.set("deploy 1", () => world.cut("orders", 1e9))
    t.equal(await world.run(rehearsal(`${start}\n${budgets}\nwarm-up: { at-most: 5s }\nsteps: [{ wait: 1s }]`)), outcome)
    if (outcome === "failed") t.match(told(world, "done")[0]!.reasons[0], /flow orders was not answered for 1000 ms on end within 5000 ms/)
    isClean(t, world, budgets)
  }
})

t.test("an end of a flow that is gone fails the step", async (t) => {
  const world = new FakeWorld()
  world.happenings.set("exec 1", () => {
    world.missing = ["db"]
    world.cut("orders", 1e9)
  })
  const what = rehearsal(`${start}
steps: [{ name: oops, exec: { node: pc, command: "true" }, settle: { at-most: 3s } }, { wait: 1s }]`)
  t.equal(await world.run(what), "failed")
  t.strictSame(told(world, "done")[0]!.reasons, ["step oops: flow orders: node db is gone"])
  isClean(t, world, "gone")
})

t.test("a lab that is to be kept is kept", async (t) => {
  const world = new FakeWorld()
  t.equal(await world.run(rehearsal(`${start}\nsteps: [{ wait: 1s }]`), { keep: true }), "passed")
  t.notOk(world.calls.includes("destroy two"))
})

const long = `${start}\nbudgets: { max-outage: 500ms }\nsteps:
  - deploy: three.weft.yaml
  - { ${cutStep}, settle: 1s }
  - exec: { node: pc, command: "true" }
  - check: { reachable: { from: pc, to: db } }
  - pause: look
roll-back: [{ heal: all }, { deploy: two.weft.yaml }]`

t.test("whenever it is stopped, it ends in an orderly manner", async (t) => {
  const what = rehearsal(long)
  for (let ms = 0; ms < 8000; ms += 170) {
    const world = new FakeWorld()
    world.at(world.nowMs + ms, () => world.stop.abort())
    t.equal(await world.run(what), "stopped", `after ${ms} ms`)
    isClean(t, world, `stopped after ${ms} ms`)
    t.strictSame(world.inForce, [])
    t.notOk(told(world, "done")[0]!.rolledBack, "who stops it has not asked to roll back")
  }
})

t.test("whichever call fails, it ends in an orderly manner", async (t) => {
  const calls = ["deploy 1", "deploy 2", "probe 1", "inspect 1", "inspect 2", "inject 1", "exec 1", "check 1", "heal 1", "deploy 3",
    "destroy 1", "end lease 1"]
  const what = rehearsal(long)
  for (const call of calls) {
    const world = new FakeWorld()
    if (call === "heal 1" || call === "deploy 3") world.exits = { code: 1, stdout: "", stderr: "", timedOut: false }
    world.happenings.set("pause told", () => world.at(world.nowMs, () => world.proceeding?.()))
    world.happenings.set(call, () => {
      throw new Error("it cannot be")
    })
    const outcome = await world.run(what)
    t.equal(outcome, call.startsWith("inspect") || call === "destroy 1" && outcome === "passed" ? "passed" : "failed", call)
    t.equal(world.probing, 0, `${call}: no flow runs`)
    t.ok("done" in world.events.at(-1)!, `${call}: done is told`)
    t.ok(world.calls.includes("end lease") && world.calls.includes("destroy two"), `${call}: healed and destroyed`)
  }
})
