/**
 * What the RIB keeps of a neighbour, and the columns in which the decision process looks neighbours up.
 */
import * as Ip from "../../wire/ip.ts"
import { growU32, growU8 } from "./columns.ts"
import { firstPeer, type PeerFacts } from "./decision.ts"
import type { ImportPeer } from "./import-side.ts"
import type { RibPeer, RibSession } from "./types.ts"

export class Peer implements ImportPeer {
  readonly index: number
  config: RibPeer
  session: RibSession | undefined
  /** Where its next hops are looked for (`AttributeTable.scope`). */
  scope = 0
  /** What was noted under another number is void; 0: ask for one. By family. */
  readonly importClass: [number, number] = [0, 0]
  readonly isOverLimit: [boolean, boolean] = [false, false]
  readonly isNearLimit: [boolean, boolean] = [false, false]

  constructor(index: number, config: RibPeer) {
    this.index = index
    this.config = config
  }

  renewImport(): void {
    this.importClass[0] = 0
    this.importClass[1] = 0
  }
}

export class PeerFactTable implements PeerFacts {
  isExternal: Uint8Array<ArrayBuffer> = new Uint8Array(firstPeer * 2)
  routerId: Uint32Array<ArrayBuffer> = new Uint32Array(firstPeer * 2)
  readonly addressKey: string[] = new Array<string>(firstPeer).fill("")

  set(index: number, config: RibPeer, session?: RibSession): void {
    if (index >= this.isExternal.length) {
      this.isExternal = growU8(this.isExternal, index * 2)
      this.routerId = growU32(this.routerId, index * 2)
    }
    this.isExternal[index] = config.isExternal ? 1 : 0
    // Over a restart the neighbour stays who it was.
    if (session === undefined) {
      this.addressKey[index] ??= ""
      return
    }
    this.routerId[index] = session.remoteRouterId
    this.addressKey[index] = sortable(session.remoteAddress)
  }
}

/** Text that sorts as the address does; IPv4 before IPv6, as in FRR. */
const sortable = (address: string): string => {
  const octets = Ip.parse(address)
  return octets === undefined ? `z${address}` : `${octets.length === 4 ? 4 : 6}${Buffer.from(octets).toString("hex")}`
}
