/** When a check is tried again, and what then comes out, with a lab that is made up. */
import t from "tap"
import type { Lab } from "../../daemon/checks/lab.ts"
import { type Result, runChecks } from "../../daemon/checks/runner.ts"
import { parseSuite } from "../../daemon/checks/suite.ts"

const nodes: Lab["nodes"] = new Map(["a", "b"].map((name, index) => [
  name,
  { name, kind: "host", forwards: false, group: "", labels: {}, addresses: [{ ifname: "eth0", address: `10.0.0.${index + 1}` }] }
]))

/** Pings get through as `answers` says, try after try; the last one stays. */
const lab = (answers: ReadonlyArray<boolean | Error>): Lab => {
  let tries = 0
  return {
    nodes,
    ask: (async (_node: string, what: string) => {
      if (what === "trace") return { hops: [{ ttl: 1, address: "10.0.0.2", outcome: "refused", reason: "no route to host" }],
        arrived: false }
      if (what !== "ping") throw new Error("nobody knows")
      const answer = answers[Math.min(tries++, answers.length - 1)]!
      if (answer instanceof Error) throw answer
      return answer ? { ok: true, rttMs: 1 } : { ok: false, reason: "timed out" }
    }) as Lab["ask"],
    inject: () => Promise.reject(new Error("nothing to inject here"))
  }
}

const runOne =
  async (modifiers: string, answers: ReadonlyArray<boolean | Error>, signal = new AbortController().signal): Promise<Result> => {
  const suite = parseSuite({ filename: "f", content: `checks: [{ reachable: { from: a, to: b }${modifiers} }]` }, { nodes })
  if (!suite.ok) throw new Error(JSON.stringify(suite))
  const results: Array<Result> = []
  await runChecks(suite.suite.checks, lab(answers), { parallel: 4, signal, told: (result) => results.push(result) })
  return results[0]!
}

t.test("runChecks passes what passes, and says where what fails stopped", async (t) => {
  t.match(await runOne("", [true]), { verdict: { passed: true }, attempts: 1, isError: false })
  const failed = await runOne("", [false])
  t.match(failed.verdict, { passed: false, expected: "a reaches b by ICMP", seen: "timed out" })
  t.match(failed.verdict.where, "b (10.0.0.2) says no route to host")
})

t.test("runChecks tries again until it passes or the time is up", async (t) => {
  t.match(await runOne(", eventually: 5s", [false, false, true]), { verdict: { passed: true }, attempts: 3 })
  const late = await runOne(", eventually: 200ms", [false])
  t.equal(late.verdict.passed, false)
  t.match(late.verdict.seen, /timed out \(after 0\.\d s and \d tries\)/)
})

t.test("runChecks watches what must be so all the time", async (t) => {
  t.match(await runOne(", always: 200ms", [true]), { verdict: { passed: true } })
  const broke = await runOne(", always: 60s", [true, true, false])
  t.match(broke, { verdict: { passed: false }, attempts: 3 })
  t.match(broke.verdict.seen, /it was so for .* not for 60 s/)
})

t.test("runChecks turns a check round, but not what could not be tried", async (t) => {
  t.equal((await runOne(", not: true", [false])).verdict.passed, true)
  t.equal((await runOne(", expect: fail", [true])).verdict.passed, false)
  const broken = await runOne(", not: true", [new Error("no such node")])
  t.match(broken, { isError: true, verdict: { passed: false, seen: "no such node" } })
})

t.test("runChecks begins nothing after the signal", async (t) => {
  t.equal(await runOne("", [true], AbortSignal.abort()), undefined)
})

t.test("where names the next node whose way is down, and not just that it is silent", async (t) => {
  const way = (gateway: string, down: boolean) => [{
    prefix: "0.0.0.0/0", table: 254, metric: 0, protocol: "static", type: "unicast", selected: true,
    ways: [{ gateway, ifname: "wan", backup: false, down }]
  }]
  const suite = parseSuite({ filename: "f", content: "checks: [{ reachable: { from: a, to: 192.0.2.1 } }]" }, { nodes })
  if (!suite.ok) throw new Error(JSON.stringify(suite))
  const down: Lab = {
    ...lab([false]),
    ask: (async (node: string, what: string) => {
      if (what === "trace") return { hops: [], arrived: false }
      if (what === "routes") return node === "a" ? way("10.0.0.2", false) : way("192.0.2.254", true)
      if (what !== "ping") throw new Error("nobody knows")
      return { ok: false, reason: "timed out" }
    }) as Lab["ask"]
  }
  const results: Array<Result> = []
  const told = (result: Result): void => void results.push(result)
  await runChecks(suite.suite.checks, down, { parallel: 1, signal: new AbortController().signal, told })
  t.match(results[0]?.verdict?.where, /so b is next, and b has only a way that is down: 0\.0\.0\.0\/0 via 192\.0\.2\.254 dev wan \(down\)/)
})
