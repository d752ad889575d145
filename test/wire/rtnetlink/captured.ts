/** What the kernel answered and iproute2 says about it (`test/vectors/regenerate.ts`), and trouble for decoders. */
import { readFileSync } from "node:fs"
import { messages, Writer, type Message } from "../../../daemon/wire/netlink.ts"
import { seeded } from "../../random.ts"

type Table = "links" | "addresses" | "routes" | "nexthops" | "rules" | "filters"

interface Vector {
  readonly name: Table
  readonly source: string
  /** Hexadecimal. */
  readonly octets: string
  /** iproute2's JSON. */
  readonly says: ReadonlyArray<unknown>
}

const vectors = JSON.parse(readFileSync(new URL("../../vectors/rtnetlink.json", import.meta.url), "utf8")) as ReadonlyArray<Vector>

/** The messages of one table, and what iproute2 makes of them: `Says` is the part of its JSON that a test looks at. */
export const captured = <Says>(table: Table): { readonly found: ReadonlyArray<Message>; readonly says: ReadonlyArray<Says> } => {
  const vector = vectors.find(({ name }) => name === table)!
  return { found: [...messages(Buffer.from(vector.octets, "hex"))], says: vector.says as ReadonlyArray<Says> }
}

/** Interfaces of the capture by name. */
export const indexOf = new Map(captured<{ ifindex: number; ifname: string }>("links").says.map((link) => [link.ifname, link.ifindex]))

/** Bodies that no kernel sends: every captured one cut short everywhere, noise, and attributes of wrong lengths. */
export function* broken(table: Table): Generator<Uint8Array> {
  for (const { body } of captured(table).found) for (let end = 0; end < body.length; end++) yield body.subarray(0, end)
  const random = seeded(8926)
  for (let i = 0; i < 500; i++) yield random.octets(random.below(120))
  const { body } = captured(table).found[0]!
  for (let i = 0; i < 500; i++) {
    const out = new Writer()
    const header = random.below(2) === 0 ? body.subarray(0, 12) : random.octets(8 + random.below(4) * 4)
    for (const octet of header) out.u8(octet)
    for (let n = random.below(8); n > 0; n--) out.attribute(random.below(64), random.octets(random.below(20)))
    yield out.finish()
  }
}

/** Why `decode` mistreats a broken body, or nothing: it must neither throw nor hand out what is not there. */
export const mistreats = (table: Table, decode: (body: Uint8Array) => unknown): string | undefined => {
  for (const body of broken(table)) {
    try {
      const text = JSON.stringify(decode(body), (_, value: unknown) => (Number.isNaN(value) ? "NaN" : value)) ?? ""
      if (/undefined|NaN/.test(text)) return `${text} from ${Buffer.from(body).toString("hex")}`
    } catch (error) {
      return `${String(error)} from ${Buffer.from(body).toString("hex")}`
    }
  }
  return undefined
}
