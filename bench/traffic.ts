/** Traffic between two namespaces: what the benches of the data path measure it with. */
import { compile, type Namespace, type World } from "../test/root/harness.ts"

export interface Path {
  readonly name: string
  readonly sender: Namespace
  readonly receiver: Namespace
  /** Of the receiver. */
  readonly address: string
}

/** Traffic goes before whatever else the machine does. */
const first = ["nice", "-n", "-20"]

export interface TcpResult {
  readonly gbps: number
  /** Octets received. */
  readonly octets: number
}

/** One TCP stream for `seconds`. */
export const tcp = async (world: World, { address, receiver, sender }: Path, seconds: number): Promise<TcpResult> => {
  const server = world.start(receiver, [...first, "iperf3", "-s", "-1", "--forceflush"])
  await new Promise<void>((listening, reject) => {
    server.stdout!.on("data", (text: Buffer) => text.includes("Server listening") && listening())
    server.on("error", () => reject(new Error("Cannot run iperf3: install it, for instance with `apt-get install iperf3`")))
    server.on("close", () => reject(new Error("iperf3 -s ended before it listened")))
  })
  const ended = new Promise((end) => server.on("close", end))
  const client = await world.run(sender, [...first, "iperf3", "-c", address, "-t", String(seconds), "-A", "0,1", "-J"])
  await ended
  type Result = { error?: string; end?: { sum_received: { bytes: number; bits_per_second: number } } }
  const result = JSON.parse(client.stdout) as Result
  if (result.end?.sum_received === undefined) throw new Error(`iperf3: ${result.error ?? client.stderr}`)
  return { gbps: result.end.sum_received.bits_per_second / 1e9, octets: result.end.sum_received.bytes }
}

const run = async (world: World, path: Path, mode: string, amount: number, size?: number): Promise<ReadonlyArray<number>> => {
  const argv = [...first, compile("bench/native/traffic.cc"), mode, path.sender.path, path.receiver.path, path.address, String(amount)]
  const { code, stdout, stderr } = await world.run(path.sender, size === undefined ? argv : [...argv, String(size)])
  if (code !== 0) throw new Error(`traffic ${mode}: ${stderr}`)
  return stdout.trim().split(" ").map(Number)
}

/** Datagrams of `size` octets that arrive, per second. */
export const packets = async (world: World, path: Path, seconds: number, size = 64): Promise<number> => {
  const [, received, elapsed] = await run(world, path, "pps", seconds, size)
  return received! / elapsed!
}

/** Microseconds to the other side and back. */
export const roundTrips = async (world: World, path: Path, count: number): Promise<readonly [p50: number, p99: number]> => {
  const [p50, p99] = await run(world, path, "rtt", count)
  return [p50!, p99!]
}
