/** The sockets of BFD by namespace: one that receives for each family and port, while some session needs it. */
import { PathTable, type Path } from "../bfd/demultiplex.ts"
import { addon, isNativeError, type EngineHandle } from "../native/index.ts"
import * as Bfd from "../wire/bfd.ts"

export interface Listener<P extends Path> {
  readonly name: string
  readonly descriptor: number
  /** In the engine's epoll set. */
  readonly key: number
  /** Octets of its addresses. */
  readonly addressLength: 4 | 16
  readonly multihop: boolean
  readonly paths: PathTable<P>
  /** One number: packets that were malformed, or no session's. */
  readonly counts: Float64Array
}

/** Keys of BFD's sockets in the engine's epoll set begin here; those of lanes are below. */
export const firstBfdKey = 0x40000000

export class Listeners<P extends Path> {
  private readonly engine: EngineHandle
  private readonly byName = new Map<string, Listener<P>>()
  private readonly byKey: Array<Listener<P> | undefined> = []
  private readonly freeKeys: number[] = []

  constructor(engine: EngineHandle) {
    this.engine = engine
  }

  get(key: number): Listener<P> | undefined {
    return this.byKey[key - firstBfdKey]
  }

  /** The listener for sessions of the namespace `netns` (a descriptor), opened when there is none. @throws Error */
  open(netns: number, where: string, multihop: boolean, addressLength: 4 | 16): Listener<P> {
    const port = multihop ? Bfd.multihopPort : Bfd.port
    const name = `${addon.inode(netns)}/${port}/${addressLength}`
    const found = this.byName.get(name)
    if (found !== undefined) return found
    const descriptor = this.listen(netns, where, port, addressLength === 16)
    const key = firstBfdKey + (this.freeKeys.pop() ?? this.byKey.length)
    const listener = { name, descriptor, key, addressLength, multihop, paths: new PathTable<P>(), counts: new Float64Array(1) }
    this.byKey[key - firstBfdKey] = listener
    this.byName.set(name, listener)
    addon.engineWatch(this.engine, descriptor, key)
    return listener
  }

  /** Closes the listener when no session needs it any more. */
  releaseIfUnused(listener: Listener<P>): void {
    if (listener.paths.size > 0 || this.byName.get(listener.name) !== listener) return
    addon.engineUnwatch(this.engine, listener.descriptor)
    addon.bfdClose(this.engine, listener.descriptor)
    this.byName.delete(listener.name)
    this.byKey[listener.key - firstBfdKey] = undefined
    this.freeKeys.push(listener.key - firstBfdKey)
  }

  private listen(netns: number, where: string, port: number, v6: boolean): number {
    try {
      return addon.bfdListen(this.engine, netns, v6, port)
    } catch (error) {
      if (!isNativeError(error) || error.code !== "EADDRINUSE") throw error
      throw new Error(`Cannot listen for BFD on UDP port ${port} of ${where}: another program there has it; BFD is for one of both`)
    }
  }
}
