/**
 * rtnetlink requests in batches, inside a network namespace.
 *
 * A `Batch` collects requests for one namespace together with what each is for; `commit` sends them all in one go and
 * says which failed and why. Reading is `dump`: several tables in one call.
 */
import { addon } from "../native/index.ts"
import { messages, Writer, type Message } from "../wire/netlink.ts"
import { attempt, KernelError } from "./errors.ts"

/**
 * The errno names that mean "it is gone already": what a removal wants. ENXIO: the interface has no IPv6 any more, because
 * its MTU fell below 1280 (addrconf_notify), and so no address.
 */
const gone = new Set(["ENODEV", "ENOENT", "ENXIO", "ESRCH", "EADDRNOTAVAIL"])

interface Purpose {
  readonly operation: string
  readonly object: string
  readonly removal: boolean
  readonly tag: number
}

/** Requests for one namespace. `tag` is the caller's: it comes back with a failure. */
export class Batch {
  readonly out = new Writer()
  private readonly purposes: Purpose[] = []
  readonly netns: number

  /** `netns`: descriptor of the namespace, which must stay open until `commit`. */
  constructor(netns: number) {
    this.netns = netns
  }

  /** Call right after each request has been written to `out`. */
  note(operation: string, object: string, tag = 0): void {
    this.purposes.push({ operation, object, removal: operation.startsWith("remove"), tag })
  }

  get size(): number {
    return this.purposes.length
  }

  /**
   * Sends everything; returns what failed. Removing what does not exist is no failure. Throws KernelError when the kernel
   * cannot be asked at all (EMFILE, ENOBUFS).
   */
  commit(): ReadonlyArray<{ readonly tag: number; readonly error: KernelError }> {
    if (this.purposes.length === 0) return []
    const failures: { tag: number; error: KernelError }[] = []
    const { operation, object } = this.purposes[0]!
    const what = `${operation} ${object}${this.size === 1 ? "" : `, and ${this.size - 1} more`}`
    const answers = attempt("send requests", what, () => addon.netlinkBatch(this.netns, this.out.finish()))
    for (const [sequence, code, detail] of answers) {
      const purpose = this.purposes[sequence]!
      if (purpose.removal && gone.has(code)) continue
      failures.push({ tag: purpose.tag, error: new KernelError({ ...purpose, code, detail }) })
    }
    return failures
  }
}

/**
 * The messages that answer the dump requests which `write` writes. `protocol`: of netlink, NETLINK_ROUTE unless given. Throws
 * KernelError.
 */
export const dump = (netns: number, write: (out: Writer) => void, protocol = 0): Generator<Message> => {
  const out = new Writer(256)
  write(out)
  return messages(attempt("read", "network namespace", () => addon.netlinkDump(netns, out.finish(), protocol)))
}
