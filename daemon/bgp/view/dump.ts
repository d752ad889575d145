/** A table as an MRT file (RFC 6396 TABLE_DUMP_V2), in pages: for bgpdump, bgpkit and whoever else reads what collectors write. */
import { makeContext } from "../../wire/bgp/context.ts"
import { Family } from "../../wire/bgp/iana.ts"
import { encodeAttributes } from "../../wire/bgp/attributes.ts"
import type { PathAttributes } from "../../wire/bgp/path-attributes.ts"
import { parse } from "../../wire/ip.ts"
import * as Mrt from "../../wire/mrt.ts"
import { familyNames } from "../neighbor-spec.ts"
import { nextHopOctets } from "../rib/set-octets.ts"
import type { PathView } from "../rib/types.ts"
import type { Speaker } from "../speaker.ts"
import type { Answer, DumpQuery } from "./view.ts"

/** RFC 6396 4.3.4: attributes are written with four-octet AS numbers. */
const context = makeContext({ asn4: true, isExternal: false, families: [Family.ipv4Unicast, Family.ipv6Unicast] })

const number = (dotted: string): number => dotted.split(".").reduce((sum, octet) => sum * 256 + Number(octet), 0)

/** Ourselves first, then the neighbours in their order: what `peerIndex` counts. */
const peersOf = (speaker: Speaker): ReadonlyArray<Mrt.Peer & { readonly name: string }> => {
  const { asn, routerId } = speaker.spec
  const others = Array.from(speaker.neighbors(), ({ session, spec }) => {
    const status = session?.status()
    const address = status?.remoteAddress ?? (spec.remote.kind === "address" ? spec.remote.address : "0.0.0.0")
    const remoteAs = status?.remoteAs ?? (typeof spec.remoteAs === "number" ? spec.remoteAs : 0)
    return { name: spec.name, bgpIdentifier: number(status?.remoteId ?? "0.0.0.0"), address, asn: remoteAs }
  })
  return [{ name: "", bgpIdentifier: number(routerId), address: "0.0.0.0", asn }, ...others]
}

const attributesOf = (attributes: PathAttributes, isIpv6: boolean): Uint8Array => {
  const any = isIpv6 ? "::" : "0.0.0.0"
  const withNextHop = { ...attributes, nextHop: attributes.nextHop ?? any }
  const octets = parse(withNextHop.nextHop)
  if (octets?.length === 4) return encodeAttributes(withNextHop, context, true)
  const [block, reach] = [encodeAttributes(withNextHop, context, false), Mrt.abbreviatedMpReach(nextHopOctets(withNextHop))]
  const both = new Uint8Array(block.length + reach.length)
  both.set(block)
  both.set(reach, block.length)
  return both
}

/** `after`: `FAMILY CURSOR SEQUENCE`; the first page has the table of peers. */
export const dumpPage = (speaker: Speaker, query: DumpQuery): Answer => {
  const table = speaker.table(query.vrf)
  if (table === undefined) return { kind: "nothing", reason: `Node "${query.node}" has no table "${query.vrf}"` }
  const [family, cursor, firstSequence] = (query.after ?? "0 0 0").split(" ").map(Number) as [0 | 1, number, number]
  const peers = peersOf(speaker)
  const indexes = new Map(peers.map(({ name }, index) => [name, index]))
  const timestampS = Math.floor(Date.now() / 1000)
  const records: Uint8Array[] = []
  const write = (body: Mrt.Body): void => void records.push(Mrt.encode({ timestampS, body }))
  if (query.after === undefined) {
    write({ kind: "peerIndexTable", collectorId: number(speaker.spec.routerId), viewName: table.spec.name, peers })
  }
  const page = table.rib.best(family, cursor, query.limit)
  let sequence = firstSequence
  for (const [prefix, paths] of Map.groupBy(page.paths, (path: PathView) => path.prefix)) {
    const entries = paths.map((path) => ({
      peerIndex: indexes.get(path.peer ?? "") ?? 0,
      originatedS: Math.floor(path.sinceMs / 1000),
      attributes: attributesOf(path.attributes, family === 1)
    }))
    write({ kind: "rib", family: familyNames[family], addPath: false, sequence: sequence++, prefix, entries })
  }
  const octets = new Uint8Array(Buffer.concat(records))
  const next = page.next !== -1 ? `${family} ${page.next} ${sequence}` : family === 0 ? `1 0 ${sequence}` : undefined
  return { kind: "dump", octets, ...(next === undefined ? {} : { next }) }
}
