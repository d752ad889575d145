/** Expressions over AS paths and communities: what routers' manuals say, against JavaScript's engine where both speak one language. */
import t from "tap"
import { type Expression, parse, parseForCommunity } from "../../../daemon/wire/bgp/expression.ts"

const compiled = (source: string): Expression => {
  const parsed = parse(source)
  if (!parsed.ok) throw new Error(`${source}: ${parsed.message}`)
  return parsed.value
}

const cases: ReadonlyArray<readonly [source: string, yes: ReadonlyArray<string>, no: ReadonlyArray<string>]> = [
  ["", ["", "1 2"], []],
  ["^$", [""], ["1"]],
  ["^65000_", ["65000", "65000 1", "65000 {1,2}"], ["1 65000", "650001"]],
  ["_65001$", ["65001", "65000 65001"], ["65001 1", "165001"]],
  ["_65001_", ["65001", "1 65001 2", "{1,65001,3}", "(65001 2) 3"], ["650010", "165001 2"]],
  ["^65000_[0-9]+$", ["65000 1", "65000 23456"], ["65000", "65000 1 2"]],
  ["^(65000_)+(65001_)?$", ["65000", "65000 65000", "65000 65001"], ["65001", "65000 65002"]],
  ["^[0-9]+(_[0-9]+){2}$", ["1 2 3"], ["1 2", "1 2 3 4"]],
  ["^(1|2)(_.*)?$", ["1", "2 3 4"], ["12", "3 1"]],
  ["[^0-9 ]", ["{1,2}"], ["1 2"]],
  ["\\{1,2\\}", ["1 {1,2}"], ["1 2"]],
  ["^1{2,3}$", ["11", "111"], ["1", "1111"]],
  ["^1{2,}$", ["11", "11111"], ["1"]],
  ["^1{0}$", [""], ["1"]],
  ["^.*$", ["", "1 2"], []],
  ["^^1$$", ["1"], ["11"]],
  ["()", ["", "1"], []]
]

for (const [source, yes, no] of cases) {
  t.test(`${JSON.stringify(source)} matches what it should`, async (t) => {
    const expression = compiled(source)
    for (const text of yes) t.ok(expression.test(text), `matches ${JSON.stringify(text)}`)
    for (const text of no) t.notOk(expression.test(text), `does not match ${JSON.stringify(text)}`)
  })
}

const wrong: ReadonlyArray<readonly [source: string, message: RegExp]> = [
  ["(1", /"\(" at 1 is not closed/],
  ["1)", /"\)" at 2 closes nothing/],
  ["[1", /"\[" at 1 is not closed/],
  ["[9-1]", /the wrong way round/],
  ["*1", /nothing to repeat/],
  ["1{3,2}", /wrong order/],
  ["\\d+", /"\\d" at 1 is not known/],
  ["\\", /nothing after it/],
  ["AS65000", /"A" at 1 is never part of an AS path/],
  ["((1{999}){999}){999}", /too long/],
  ["(".repeat(100), /nested/],
  ["1".repeat(1001), /1001 characters/]
]

for (const [source, message] of wrong) {
  t.test(`parse refuses ${JSON.stringify(source.slice(0, 40))}`, async (t) => {
    const parsed = parse(source)
    t.match(parsed.ok ? "accepted" : parsed.message, message)
  })
}

t.test("nothing repeated any number of times costs nothing", async (t) => {
  t.ok(compiled("(((){999}){999}){999}").test(""))
})

/** The same sequence each time. */
const numbers = (seed: number): ((below: number) => number) => {
  let state = seed
  return (below) => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0
    return Math.floor((state / 2 ** 32) * below)
  }
}

t.test("agrees with JavaScript's engine on 3000 random expressions and paths", async (t) => {
  const pick = numbers(7)
  const atoms = ["1", "2", "12", "_", ".", "[12]", "[^1]", "(1|2)", "(1_)", "^", "$", " ", "2+", "1?", "(12)*", "1{1,2}"]
  const disagreements: Array<string> = []
  for (let round = 0; round < 3000; round++) {
    const source = Array.from({ length: 1 + pick(5) }, () => atoms[pick(atoms.length)]!).join("")
    const reference = new RegExp(source.replaceAll("_", "(?:^|$|[ ,{}()])"))
    const expression = compiled(source)
    for (let i = 0; i < 5; i++) {
      const path = Array.from({ length: pick(4) }, () => ["1", "2", "12", "{1,2}"][pick(4)]!).join(" ")
      if (expression.test(path) !== reference.test(path)) disagreements.push(`${source} on ${JSON.stringify(path)}`)
    }
  }
  t.same(disagreements, [])
})

t.test("time is proportional to the path's length, whatever the expression", async (t) => {
  const expression = compiled("^((([0-9]+)+ ?)+)+;?$".replace(";?", ""))
  const path = `${"1 ".repeat(100_000)}{1}`
  const begin = process.cpuUsage()
  t.notOk(expression.test(path))
  const { user, system } = process.cpuUsage(begin)
  t.ok((user + system) / 1000 < 1000, `took ${(user + system) / 1000} ms: backtracking would not end`)
})

t.test("forgets states when there are many, and still knows", async (t) => {
  const expression = compiled(`(1|2)${".".repeat(12)}$`)
  const pick = numbers(3)
  for (let i = 0; i < 200; i++) {
    const path = Array.from({ length: 30 }, () => String(1 + pick(3))).join("")
    t.equal(expression.test(path), /[12].{12}$/.test(path))
  }
})

t.test("parseForCommunity knows what communities are made of", async (t) => {
  const test = (source: string, text: string): boolean => {
    const parsed = parseForCommunity(source)
    return parsed.ok && parsed.value.test(text)
  }
  t.ok(test("^65000:1[0-9]$", "65000:17"))
  t.notOk(test("^65000:1[0-9]$", "65000:17:1"))
  t.ok(test("_65000:1_", "65000:1"))
  t.notOk(test("_65000:1_", "65000:1:2"), "a colon is no end")
  t.ok(test("^(no-export|rt:.*)$", "rt:65000:1"))
  t.ok(test("^0x4", "0x4300000000000001"))
  const refused = parseForCommunity("^65000:1 65000:2$")
  t.match(refused.ok ? "accepted" : refused.message, /" " at 9 is never part of a community/)
})
