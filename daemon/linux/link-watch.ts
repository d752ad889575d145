/** Changes of a namespace's interfaces as they happen (rtnetlink multicast group RTNLGRP_LINK). */
import { addon, type Poll } from "../native/index.ts"
import { messages } from "../wire/netlink.ts"
import * as Link from "../wire/rtnetlink/link.ts"
import * as Fabric from "./fabric.ts"

const linkGroup = 1
const readable = 1
const bufferOctets = 64 * 1024
const EAGAIN = -11

/**
 * Calls `changed` with the latest state of each interface that changed, and `removed` with the index of each that went.
 * When the kernel had more to say than it could keep for us, everything is read again. Returns what ends the watch.
 */
export const watch = (
  netns: number,
  listener: { changed: (links: ReadonlyArray<Link.Link>) => void; removed: (index: number) => void }
): (() => void) => {
  const descriptor = addon.netlinkMonitor(netns, linkGroup)
  const buffer = new Uint8Array(bufferOctets)
  const drain = (events: number): void => {
    // libuv gives a descriptor up when it has an error, and a full receive buffer is one (ENOBUFS): take it up again.
    if (events < 0) {
      addon.pollStop(poll)
      poll = start()
    }
    const latest = new Map<number, Link.Link>()
    for (;;) {
      const received = addon.receive(descriptor, buffer)
      if (received === EAGAIN) break
      // ENOBUFS: some messages are lost, so read what is there now and go on.
      if (received <= 0) {
        for (const link of Fabric.links(netns)) latest.set(link.index, link)
        continue
      }
      for (const { type, body } of messages(buffer.subarray(0, received))) {
        const link = Link.decode(body)
        if (type === Link.newLink) latest.set(link.index, link)
        else if (type === Link.delLink) {
          latest.delete(link.index)
          listener.removed(link.index)
        }
      }
    }
    listener.changed([...latest.values()])
  }
  const start = (): Poll => {
    const started = addon.pollStart(descriptor, readable, drain)
    addon.pollUnref(started)
    return started
  }
  let poll = start()
  return () => {
    addon.pollStop(poll)
    addon.close(descriptor)
  }
}
