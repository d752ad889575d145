/** Opens the forwarding side of one speaker: its parts know each other, and are closed together. */
import type { FibOptions, Scope } from "./api.ts"
import { Fib } from "./fib.ts"
import { Monitor } from "./monitor.ts"
import { NextHops } from "./next-hops.ts"
import { RouteSocket, RouteWriter } from "./route-socket.ts"

export interface Forwarding {
  readonly monitor: Monitor
  readonly nextHops: NextHops
  readonly fib: Fib
  /** Ends everything and leaves the kernel as it is. */
  readonly close: () => void
}

/**
 * `netns`: descriptor of the node's namespace, which stays the caller's and open until `close`. What a predecessor left is read in
 * the first calls of `fib.run`, before anything is written. Throws NativeError when the namespace cannot be entered or read.
 */
export const openForwarding = (netns: number, scopes: ReadonlyArray<Scope>, options: FibOptions): Forwarding => {
  const socket = new RouteSocket(netns)
  let writer: RouteWriter | undefined
  let monitor: Monitor | undefined
  try {
    writer = new RouteWriter(netns)
    monitor = new Monitor({ netns, ownPorts: [socket.port, writer.port], report: options.report })
    const nextHops = new NextHops(monitor, scopes)
    const fib = new Fib({ ...options, netns, socket, writer, monitor, nextHops })
    const opened = monitor
    const close = (): void => {
      fib.close()
      opened.close()
    }
    return { monitor, nextHops, fib, close }
  } catch (error) {
    monitor?.close()
    writer?.close()
    socket.close()
    throw error
  }
}
