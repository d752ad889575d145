/** What the demo deploys its lab on: a daemon that runs already, one of its own, or several of its own on hosts of their own. */

import type { Client } from "../client.ts"

export interface Ground {
  /** Of the daemon that is asked for everything. */
  readonly client: Client
  readonly address: string
  /** `Start weftd (instance demo)`, or which one was found. */
  readonly description: string
  /** Only for what the demo has started. */
  readonly own: Own | undefined
}

/** What the demo has started and must end. */
export interface Own {
  /** `Stop weftd`: how the step that ends it is called. */
  readonly ending: string
  /** Ends all of it and removes its directory. */
  readonly stop: () => Promise<void>
  /** Lets it live on after this process. */
  readonly leave: () => void
  /** A line for each thing of it that is on this machine. */
  readonly leftovers: () => ReadonlyArray<string>
  /** The end of its log. */
  readonly tail: () => string
  /** What to type to end it, the lab included. */
  readonly end: string
}
