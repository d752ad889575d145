/**
 * What the main thread and the routing thread say to each other. Plain values only: they are copied on the way.
 *
 * Every command but `close` is answered with a `Reply` that has its ticket. What happens unasked comes as `told`.
 */
import type { MessagePort } from "node:worker_threads"
import type { BfdChannel } from "../datapath/bfd-api.ts"
import type { BgpSpec } from "../plan/bgp.ts"
import type { Answer, Query } from "./view/view.ts"

/** Where a speaker is: one node of one lab. */
export interface Place {
  readonly lab: string
  readonly node: string
}

export const keyOf = ({ lab, node }: Place): string => `${lab}/${node}`

/** A speaker to start. */
export interface NewSpeaker extends Place {
  /** Descriptor of the node's namespace; it stays the sender's, and open until the speaker is removed. */
  readonly netns: number
  /** Its path, `/run/netns/NAME`: for those that open it by name. */
  readonly netnsPath: string
  readonly spec: BgpSpec
}

/** How to clear a session: by an end and a new beginning, or by exchanging the routes again, in one direction or both. */
export type ResetKind = "hard" | "soft" | "soft-in" | "soft-out"

/** From the main thread to the routing thread. */
export type Command =
  | { readonly kind: "add"; readonly ticket: number; readonly speaker: NewSpeaker }
  | { readonly kind: "change"; readonly ticket: number; readonly place: Place; readonly spec: BgpSpec }
  /** `flush`: take its routes out of the kernel; not needed when the namespace goes, too. */
  | { readonly kind: "remove"; readonly ticket: number; readonly place: Place; readonly flush: boolean }
  | { readonly kind: "query"; readonly ticket: number; readonly query: Query }
  /** `neighbor`: name, address or node; empty: all. */
  | { readonly kind: "reset"; readonly ticket: number; readonly place: Place; readonly neighbor: string; readonly how: ResetKind }
  /** The way to the engine's thread, for sessions of BFD. */
  | { readonly kind: "bfd"; readonly ticket: number; readonly channel: BfdChannel }
  | { readonly kind: "close" }

/** Something that happened, for `weft events`. */
export interface Happening extends Place {
  readonly type: "bgp.established" | "bgp.down" | "bgp.route" | "bgp.refused" | "bgp.restarting" | "bgp.limit"
  /** Empty for what concerns no neighbour. */
  readonly neighbor: string
  readonly message: string
}

/** From the routing thread to the main thread. */
export type Reply =
  | { readonly kind: "ready" }
  /** The command is done, or why it cannot be. */
  | { readonly kind: "done"; readonly ticket: number; readonly failure?: string; /** How many it concerned. */ readonly count?: number }
  | { readonly kind: "answer"; readonly ticket: number; readonly answer: Answer }
  | { readonly kind: "told"; readonly happenings: ReadonlyArray<Happening> }
  /** A speaker cannot go on: it is gone until it is removed and added again. */
  | { readonly kind: "fault"; readonly place: Place; readonly reason: string }
  /** Wanted: some neighbour has `bfd`, and there is no channel to the engine's thread; else the last one has gone. */
  | { readonly kind: "bfd"; readonly isWanted: boolean }

export interface WorkerData {
  readonly port: MessagePort
}
