/**
 * TAP interfaces for the packet engine: persistent, with virtio-net headers, super-frames of TCP and, where the kernel
 * has them (6.2), of UDP.
 */
import { addon } from "../native/index.ts"
import { attempt } from "./errors.ts"

/** An open TAP. The descriptor is the caller's; the interface stays when it is closed. */
export interface Tap {
  readonly fd: number
  readonly index: number
}

/**
 * Opens the TAP `name` in the namespace behind `netns`, making it when it is not there, and sets it up with its MTU.
 * Throws KernelError; EBUSY: somebody has it open already.
 */
export const openTap = (netns: number, name: string, options: { readonly mtu: number; readonly persistent?: boolean }): Tap => {
  const [fd, index] = attempt("open TAP", name, () => addon.tapOpen(netns, name, options.mtu, options.persistent ?? true, true))
  return { fd, index }
}
