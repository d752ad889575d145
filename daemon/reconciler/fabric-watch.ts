/**
 * Keeps the fabric's wires like real ones while labs run.
 *
 * **Carrier.** A node that takes its end of a link down takes the carrier from the other end. In the kernel the two ends
 * are two veth pairs, so the loss is passed on here: while one node's end is down, the host side of the other's is held
 * down. A held host side says nothing about its own node, so of two ends that are both down only one is held: when the
 * first comes back the hold is taken off, and what then shows decides again.
 *
 * **Captures.** `bpf_redirect_peer` hands a frame to the node without passing the host side, where tcpdump would see it.
 * While a host side is promiscuous its frames take the long way; see docs/adr/0007.
 *
 * Both need a living daemon: while weftd is away, wires keep forwarding and lose only this.
 */
import * as Fabric from "../linux/fabric.ts"
import * as LinkWatch from "../linux/link-watch.ts"
import { Batch } from "../linux/rtnetlink.ts"
import type { Daemon } from "../resources/lab.ts"
import * as Link from "../wire/rtnetlink/link.ts"

/** Starts watching; returns what ends it. */
export const watchFabric = ({ fabric, links, program }: Daemon): (() => void) => {
  /** Host sides that are down because of the other end: index of the held one -> index of the end that is down. */
  const held = new Map<number, number>()

  const setUp = (index: number, up: boolean): void => {
    const batch = new Batch(fabric.fd)
    Link.setLink(batch.out, index, { up })
    // An interface that went meanwhile needs nothing any more.
    batch.note("remove carrier of link", String(index))
    batch.commit()
  }

  const passOnCarrier = (link: Link.Link): void => {
    const farEnd = links.farEnd(link.index)
    // Somebody else (a deploy that mends) has brought it up: it speaks for its own node again.
    if (link.up) held.delete(link.index)
    if (farEnd === undefined || held.has(link.index)) return
    const holding = held.get(farEnd) === link.index
    if (!link.carrier && !holding) {
      held.set(farEnd, link.index)
      setUp(farEnd, false)
    } else if (link.carrier && holding) {
      held.delete(farEnd)
      setUp(farEnd, true)
    }
  }

  const changed = (now: ReadonlyArray<Link.Link>): void => {
    for (const link of now) {
      // A TAP has no node behind it: what is handed to it leaves by its egress, always.
      if (Fabric.isTap(link)) continue
      program.setVisible(link.index, link.promiscuity > 0)
      passOnCarrier(link)
    }
  }

  const removed = (index: number): void => {
    links.lost(index)
    held.delete(index)
    for (const [other, cause] of held) {
      if (cause !== index) continue
      held.delete(other)
      setUp(other, true)
    }
  }

  const stop = LinkWatch.watch(fabric.fd, { changed, removed })
  // What was held before this daemon started: a host side that is down, with its other end's node down.
  const now = Fabric.links(fabric.fd)
  for (const link of now) {
    const farEnd = Fabric.isTap(link) ? undefined : links.farEnd(link.index)
    if (!link.up && farEnd !== undefined) held.set(link.index, farEnd)
  }
  changed(now)
  return stop
}
