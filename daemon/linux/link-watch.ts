/**
 * Changes of a namespace's interfaces as they happen (rtnetlink multicast group RTNLGRP_LINK).
 *
 * When the kernel had more to say than it could keep for us, everything is read again. Whatever else fails, here or in the
 * listener, must not end the daemon: it is reported, and a moment later the watch starts over and reads everything again.
 */
import { constants } from "node:os"
import { getSystemErrorName } from "node:util"
import { addon, type Poll } from "../native/index.ts"
import { messages } from "../wire/netlink.ts"
import * as Link from "../wire/rtnetlink/link.ts"
import { attempt, KernelError, reasonOf } from "./errors.ts"
import * as Fabric from "./fabric.ts"

const linkGroup = 1
const readable = 1
const bufferOctets = 64 * 1024
const startOverMs = 500
const { EAGAIN, EINTR, ENOBUFS } = constants.errno

export interface Listener {
  /** The latest state of each interface that changed. */
  readonly changed: (links: ReadonlyArray<Link.Link>) => void
  /** The index of an interface that went. */
  readonly removed: (index: number) => void
  /** What went wrong, once for each reason in a row. Absent: it is written to stderr. */
  readonly failed?: (error: unknown) => void
}

const complain = (error: unknown): void => {
  process.stderr.write(`weftd: watching interfaces: ${reasonOf(error)}\n`)
}

/** Tells the listener what happens from now on. Returns what ends the watch. Throws KernelError when it cannot start. */
export const watch = (netns: number, listener: Listener): (() => void) => {
  const buffer = new Uint8Array(bufferOctets)
  let descriptor = -1
  let poll: Poll | undefined
  let later: NodeJS.Timeout | undefined
  let lastReason = ""
  /** The interfaces there are, as far as has been heard. */
  let known = new Set<number>()

  /** Reads everything into `latest`; tells what went without a word. */
  const readAll = (latest: Map<number, Link.Link>): void => {
    const before = known
    latest.clear()
    for (const link of Fabric.links(netns)) latest.set(link.index, link)
    known = new Set(latest.keys())
    for (const index of before) if (!known.has(index)) listener.removed(index)
  }

  const note = (type: number, link: Link.Link, latest: Map<number, Link.Link>): void => {
    if (type === Link.newLink) {
      known.add(link.index)
      latest.set(link.index, link)
    } else if (type === Link.delLink) {
      known.delete(link.index)
      latest.delete(link.index)
      listener.removed(link.index)
    }
  }

  const receiveAll = (latest: Map<number, Link.Link>): void => {
    let isLost = false
    for (;;) {
      const received = addon.receive(descriptor, buffer)
      if (received === -EINTR) continue
      if (received === -EAGAIN) {
        if (!isLost) return
        isLost = false
        readAll(latest)
      } else if (received > 0) for (const { type, body } of messages(buffer.subarray(0, received))) note(type, Link.decode(body), latest)
      // Some messages are lost, and more may be until all are read (netlink_rcv_wake): then what is there is read.
      else if (received === -ENOBUFS) isLost = true
      else throw new KernelError({ operation: "watch", object: "interfaces", code: received < 0 ? getSystemErrorName(received) : "EPIPE" })
    }
  }

  const drain = (events: number): void => {
    // libuv gives a descriptor up when it has an error, and a full receive buffer is one (ENOBUFS): take it up again.
    if (events < 0) {
      stopPoll()
      startPoll()
    }
    const latest = new Map<number, Link.Link>()
    receiveAll(latest)
    listener.changed([...latest.values()])
    lastReason = ""
  }

  const startPoll = (): void => {
    poll = addon.pollStart(descriptor, readable, (events) => guard(() => drain(events)))
    addon.pollUnref(poll)
  }
  const stopPoll = (): void => {
    if (poll !== undefined) addon.pollStop(poll)
    poll = undefined
  }

  const open = (): void =>
    attempt("watch", "interfaces", () => {
      descriptor = addon.netlinkMonitor(netns, linkGroup)
      startPoll()
    })
  const close = (): void => {
    stopPoll()
    if (descriptor >= 0) addon.close(descriptor)
    descriptor = -1
  }

  const startOver = (): void => {
    open()
    const latest = new Map<number, Link.Link>()
    readAll(latest)
    listener.changed([...latest.values()])
  }

  const guard = (action: () => void): void => {
    try {
      action()
    } catch (error) {
      close()
      const reason = reasonOf(error)
      if (reason !== lastReason) (listener.failed ?? complain)(error)
      lastReason = reason
      later = setTimeout(() => guard(startOver), startOverMs).unref()
    }
  }

  try {
    open()
    known = new Set(Fabric.links(netns).map((link) => link.index))
  } catch (error) {
    close()
    throw error
  }
  return () => {
    clearTimeout(later)
    close()
  }
}
