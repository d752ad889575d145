/** Recordings of links, from files beside a topology to packets: replayed, changed and taken away under a connection. */
import { mkdtempSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import t from "tap"
import { needsRoot, until } from "./harness.ts"
import { Connection, Weftd } from "./daemon-harness.ts"

const [addressOfA, addressOfB] = ["10.9.0.1", "10.9.0.2"]

/** Packets that have come to b, and when that was read, in ms. */
const arrived = async (weftd: Weftd, lab: string): Promise<readonly [packets: number, atMs: number]> => {
  const { stdout } = await weftd.inNode(lab, "b", "cat", "/proc/net/dev")
  return [Number(/e1: *\d+ +(\d+)/.exec(stdout)![1]), performance.now()]
}

/** Full packets each second that arrive over some rounds of 300 ms while far more are sent. */
const packetsEachSecond = async (weftd: Weftd, lab: string): Promise<number> => {
  const server = weftd.inNode(lab, "b", "iperf3", "-s", "-1")
  const [before] = await arrived(weftd, lab)
  const client = until("iperf3 has run", async () => {
    const words = ["-u", "-b", "40M", "-l", "1472", "-t", "5"]
    return (await weftd.inNode(lab, "a", "iperf3", "-c", addressOfB, ...words)).code === 0
  })
  let [first, firstMs] = [0, 0]
  await until("packets arrive", async () => {
    ;[first, firstMs] = await arrived(weftd, lab)
    return first > before + 300
  })
  let [last, lastMs] = [0, 0]
  await until("ten rounds are over", async () => {
    ;[last, lastMs] = await arrived(weftd, lab)
    return lastMs >= firstMs + 3000
  })
  await Promise.all([client, server])
  return (last - first) / ((lastMs - firstMs) / 1000)
}

const lines = (times: ReadonlyArray<number>): string => times.map((time) => `${time}\n`).join("")

t.test("a link's recording", { skip: needsRoot, timeout: 600_000 }, async (t) => {
  const weftd = await Weftd.start("trace")
  const folder = mkdtempSync(join(tmpdir(), "weft-trace-"))
  t.teardown(async () => {
    await weftd.close()
    rmSync(folder, { recursive: true })
  })
  const lab = weftd.name("trace")
  const file = join(folder, "lab.weft.yaml")
  const deploy = async (profile: object): Promise<string> => {
    const links = [{ name: "wire", endpoints: ["a:e1", "b:e1"], cidr: "10.9.0.0/24", ...profile }]
    writeFileSync(file, JSON.stringify({ name: lab, nodes: { a: { kind: "host" }, b: { kind: "host" } }, links }))
    const { code, stderr, stdout } = await weftd.weft(["deploy", file])
    return code === 0 ? stdout : `exit ${code}: ${stderr}`
  }

  // One opportunity each millisecond for 200 ms, and another 100 ms later.
  writeFileSync(join(folder, "pulse.trace"), lines([...Array.from({ length: 200 }, (_, i) => i + 1), 300]))
  const pulses = 201 / 0.3
  writeFileSync(join(folder, "steps.csv"), "time,rate,delay\n0,16mbit,5ms\n100ms,4mbit\n200ms\n")

  t.match(await deploy({ trace: { "a-to-b": "pulse.trace" }, queue: "50p" }), /is ready/)
  const shown = (await weftd.inspect(lab)).segments[0]!
  t.strictSame(shown.profile, ["a:e1 -> b:e1: queue 50p trace pulse.trace", "b:e1 -> a:e1: nothing"])
  const connection = await Connection.open(weftd, lab, "a", "b", addressOfB)
  t.ok(await connection.exchange("by the recording"))
  const pulse = await packetsEachSecond(weftd, lab)
  t.ok(Math.abs(pulse / pulses - 1) < 0.03, `${pulse.toFixed()} packets each second, the recording has ${pulses}`)
  t.match(await deploy({ trace: { "a-to-b": "pulse.trace" }, queue: "50p" }), /nothing changed/)

  t.match(await deploy({ trace: { "a-to-b": "steps.csv" }, queue: "50p" }), /is ready/)
  t.ok(await connection.exchange("by another"))
  const found = await packetsEachSecond(weftd, lab)
  // 16 and 4 Mbit/s in turn; rates count the Ethernet header.
  const steps = 10e6 / (1514 * 8)
  t.ok(Math.abs(found / steps - 1) < 0.03, `${found.toFixed()} packets each second, the recording has ${steps.toFixed()}`)

  // After one opportunity there is none for a minute: what waits for it must not hold up what comes when it is gone.
  writeFileSync(join(folder, "outage.trace"), lines([1, 60_000]))
  t.match(await deploy({ trace: "outage.trace" }), /is ready/)
  t.notOk(await weftd.pings(lab, "a", addressOfB), "an outage")
  t.match(await deploy({}), /is ready/)
  t.ok(await connection.exchange("without"), "at once, not when the minute is over")
  t.ok(await weftd.pings(lab, "a", addressOfB))
  t.ok(await weftd.pings(lab, "b", addressOfA))

  writeFileSync(join(folder, "pulse.trace"), "1\n2\nthree\n")
  t.match(await deploy({ trace: "pulse.trace" }), /exit 2: .*pulse\.trace:3:1: "three": expected a whole number of milliseconds/s)
  t.match(await deploy({ trace: "nothing.trace" }), /exit 2: .*links\[0\]\.trace: cannot read "nothing\.trace": no such file/s)
  t.ok(await weftd.pings(lab, "a", addressOfB), "the lab is as it was")
  await weftd.destroy(lab)
})
