/**
 * The native addon, typed. Nothing here but declarations: what each call does stands beside it in `src/`.
 *
 * Every call is synchronous and throws `NativeError` when a system call fails. `netns` arguments are descriptors from
 * `netnsOpen`, or -1 for the daemon's own namespace.
 */
import { createRequire } from "node:module"

/** What a failed system call throws: `code` is the errno's name, `object` what it was done to. */
export interface NativeError extends Error {
  readonly code: string
  readonly errno: number
  readonly syscall: string
  readonly object: string
}

export interface Poll {
  readonly _poll: unique symbol
}

export interface Addon {
  // netns.cc
  netnsPrepare(directory: string): void
  /** `setup`: rtnetlink messages applied inside before the namespace gets its name. */
  netnsCreate(path: string, setup: Uint8Array): void
  netnsRemove(path: string): void
  netnsOpen(path: string): number
  inode(descriptor: number): number
  close(descriptor: number): void

  // netlink.cc
  /** `[sequence, errno name, kernel's text]` of each message that failed. */
  netlinkBatch(netns: number, messages: Uint8Array): ReadonlyArray<readonly [number, string, string]>
  netlinkDump(netns: number, request: Uint8Array): Uint8Array
  netlinkMonitor(netns: number, groups: number): number

  // files.cc
  /** `[index, errno name]` of each file that failed. */
  writeFiles(netns: number, paths: ReadonlyArray<string>, contents: ReadonlyArray<string>): ReadonlyArray<readonly [number, string]>
  readFiles(netns: number, paths: ReadonlyArray<string>): ReadonlyArray<string | undefined>
  readFilesOfNewNamespace(paths: ReadonlyArray<string>): ReadonlyArray<string | undefined>
  /** A descriptor, or -1 when another process holds the lock. */
  lockFile(path: string): number

  // poll.cc
  pollStart(descriptor: number, events: number, callback: (events: number) => void): Poll
  pollStop(poll: Poll): void
  pollUnref(poll: Poll): void
  /** Octets received, 0 at the end, or a negative errno. */
  receive(descriptor: number, target: Uint8Array): number
}

export const addon: Addon = createRequire(import.meta.url)("../../.weft/native/weft.node") as Addon

export const isNativeError = (error: unknown): error is NativeError =>
  error instanceof Error && "syscall" in error && "errno" in error && "code" in error
