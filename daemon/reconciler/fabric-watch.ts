/**
 * Keeps the fabric's wires like real ones while labs run.
 *
 * **Carrier.** A node that takes its end of a link down takes the carrier from the other end. In the kernel the two ends
 * are two veth pairs, so the loss is passed on here: while one node's end is down, the host side of the other's is held
 * down. A host side that is down says nothing about its own node, so of two ends that are both down only one is held:
 * when the first comes back the hold is taken off, and what then shows decides again. Messages only say where to look;
 * what is done is decided from both ends as they are at that moment, because a message may be older than our own doing.
 *
 * A host side that a fault holds down (resources/port.ts) is left alone, and so is the other end of its link.
 *
 * **Captures.** `bpf_redirect_peer` hands a frame to the node without passing the host side, where tcpdump would see it.
 * While a host side is promiscuous its frames take the long way; see docs/adr/0007.
 *
 * **Interfaces that go** without weft (a namespace or an interface deleted by hand) leave their entries in the program:
 * they are taken out before the index is given out again. A VXLAN device that goes is made again; one that is set down is
 * set up again.
 *
 * All need a living daemon: while weftd is away, wires keep forwarding and lose only this.
 */
import { isTunnelEnd } from "../linux/bpf.ts"
import * as Fabric from "../linux/fabric.ts"
import * as LinkWatch from "../linux/link-watch.ts"
import { Batch } from "../linux/rtnetlink.ts"
import type { Daemon } from "../resources/lab.ts"
import * as Link from "../wire/rtnetlink/link.ts"

type LinksByIndex = ReadonlyMap<number, Link.Link>

/** What to do about a link with these host sides: which one is to be set up or down; nothing when all is well. */
export const decide = (a: Link.Link, b: Link.Link): { readonly index: number; readonly up: boolean } | undefined => {
  // Nobody can be seen through two ends that are down.
  if (!a.up && !b.up) return { index: a.index, up: true }
  if (a.up && b.up) {
    if (!a.carrier) return { index: b.index, up: false }
    return b.carrier ? undefined : { index: a.index, up: false }
  }
  const [open, held] = a.up ? [a, b] : [b, a]
  return open.carrier ? { index: held.index, up: true } : undefined
}

/** Up to so many links, what has changed is read one by one: traffic is lost meanwhile, and a fabric may have thousands. */
const few = 8

/** Starts watching; returns what ends it. */
export const watchFabric = (daemon: Daemon): (() => void) => {
  const watch = new FabricWatch(daemon)
  const stop = LinkWatch.watch(daemon.fabric.fd, watch)
  watch.changed(Fabric.links(daemon.fabric.fd))
  return stop
}

class FabricWatch {
  readonly #daemon: Daemon
  #someWent = false
  /** Host sides whose link was not whole when it was last looked at. */
  readonly #troubled = new Set<number>()

  constructor(daemon: Daemon) {
    this.#daemon = daemon
  }

  /** These interfaces are new, or not what they were. */
  readonly changed = (messages: ReadonlyArray<Link.Link>): void => {
    const { links, program, tunnels } = this.#daemon
    const suspects = new Set<number>()
    const lowered = new Set<number>()
    for (const link of messages) {
      if (link.kind === "vxlan" && !link.up) lowered.add(link.index)
      // A TAP or a VXLAN device has no node behind it: what is handed to it leaves by its egress, always.
      if (Fabric.isTap(link) || link.kind === "vxlan") continue
      program.setVisible(link.index, link.promiscuity > 0)
      const whole = link.up && link.carrier && !this.#troubled.has(link.index)
      if (!whole && links.farEnd(link.index) !== undefined) suspects.add(link.index)
    }
    if (suspects.size === 0 && lowered.size === 0 && !this.#someWent) return
    const now = this.#someWent ? this.#readLinks() : this.#readAround(new Set([...suspects, ...lowered]))
    // A device that is new is up by now.
    for (const index of lowered) if (now.get(index)?.up === false) tunnels.lowered(index)
    if (this.#someWent) this.#forgetGone(now)
    this.#someWent = false
    for (const index of suspects) this.#passOnCarrier(index, now)
  }

  /** This one is gone; `changed` follows. */
  readonly removed = (index: number): void => {
    this.#troubled.delete(index)
    this.#someWent = true
  }

  #readLinks(): LinksByIndex {
    return new Map(Fabric.links(this.#daemon.fabric.fd).map((link) => [link.index, link]))
  }

  /** These, and the other ends of their links, as they are now; perhaps more. */
  #readAround(indexes: ReadonlySet<number>): LinksByIndex {
    if (indexes.size > few) return this.#readLinks()
    const both = new Set(indexes)
    for (const index of indexes) {
      const far = this.#daemon.links.farEnd(index) ?? index
      if (!isTunnelEnd(far)) both.add(far)
    }
    const found = Fabric.linksAt(this.#daemon.fabric.fd, both)
    return found === undefined ? this.#readLinks() : new Map(found.map((link) => [link.index, link]))
  }

  #passOnCarrier(index: number, now: LinksByIndex): void {
    const near = now.get(index)
    const far = now.get(this.#daemon.links.farEnd(index) ?? 0)
    if (near === undefined || far === undefined) {
      this.#troubled.delete(index)
      return
    }
    // A fault holds one of them: it says what both ends see.
    if (near.group === Fabric.pulledGroup || far.group === Fabric.pulledGroup) return
    for (const { index: end } of [near, far]) {
      if (near.up && near.carrier && far.up && far.carrier) this.#troubled.delete(end)
      else this.#troubled.add(end)
    }
    const act = decide(near, far)
    if (act !== undefined) this.#setUp(act.index, act.up)
  }

  #setUp(index: number, up: boolean): void {
    const batch = new Batch(this.#daemon.fabric.fd)
    Link.setLink(batch.out, index, { up })
    // An interface that went meanwhile needs nothing any more.
    batch.note("remove carrier of link", String(index))
    batch.commit()
  }

  #forgetGone(now: LinksByIndex): void {
    const { links, program, tunnels } = this.#daemon
    for (const [index, { port }] of [...program.ports()]) {
      if (now.has(index) || isTunnelEnd(index)) continue
      if (port.kind === "tunnels") {
        tunnels.lost(index)
        continue
      }
      links.lost(index)
      program.removePort(index)
    }
  }
}
