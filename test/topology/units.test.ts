import t from "tap"
import { parseDuration, parseLimit, parseRate, parseShare, parseSpan, parseTime } from "../../daemon/topology/units.ts"

type Value = string | number

const cases: ReadonlyArray<readonly [string, (value: Value) => unknown, ReadonlyArray<readonly [Value, unknown]>]> = [
  ["parseTime", parseTime, [
    ["4ms", 4], ["300us", 0.3], ["1.5s", 1500], ["2 msec", 2], ["1sec", 1000], ["7usecs", 0.007], ["4MS", 4],
    [".5ms", 0.5], [0, 0], ["0", 0], [4, undefined], ["4", undefined],
    ["-4ms", undefined], ["4 m s", undefined], ["4m", undefined], ["ms", undefined], ["", undefined],
    ["1e3ms", undefined], ["4ms4", undefined], ["constructor", undefined], ["4constructor", undefined]
  ]],
  ["parseDuration", parseDuration, [
    ["4ms", 4], ["300us", 0.3], ["1.5s", 1500], ["2m", 120_000], ["0.5 h", 1_800_000], ["3min", 180_000], ["2M", 120_000], [0, 0],
    ["2", undefined], ["-2m", undefined], ["1m30s", undefined], ["2d", undefined], ["1e3s", undefined], ["", undefined]
  ]],
  ["parseSpan", parseSpan, [["1.5m", 90_000], ["1.6ms", 2], ["300us", 0], ["0", 0], [5, undefined]]],
  ["parseRate", parseRate, [
    ["200mbit", 2e8], ["1.5gbit", 1.5e9], ["64kbit", 64_000], ["9600bit", 9600], ["1Mbit", 1e6], ["1kibit", 1024], [0, 0],
    ["200mbps", undefined], ["200m", undefined], [200, undefined], ["200Mbit/s", undefined]
  ]],
  ["parseShare", parseShare, [
    ["1%", 0.01], ["0.05%", 0.0005], ["100%", 1], ["0%", 0], [0, 0], ["100.1%", undefined],
    [0.01, undefined], ["1", undefined], ["%", undefined]
  ]],
  ["parseLimit", parseLimit, [
    ["100ms", { ms: 100 }], ["64kb", { octets: 65_536 }], ["1mb", { octets: 1_048_576 }], ["1500b", { octets: 1500 }],
    ["1000p", { packets: 1000 }],
    ["1.5p", undefined], ["0p", undefined], ["0", undefined], ["0ms", undefined], [100, undefined], ["0.4b", undefined], ["64k", undefined]
  ]]
]

for (const [name, parse, values] of cases) {
  t.test(`${name} reads what tc's users type and refuses the rest`, async (t) => {
    for (const [value, expected] of values) t.strictSame(parse(value), expected, JSON.stringify(value))
  })
}
