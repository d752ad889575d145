/**
 * Netlink sockets of one namespace that stay open: what the routing thread changes in the kernel goes through them.
 *
 * The kernel works off a request while it is sent, so `RouteSocket.send` returns when all is done, and what failed waits to be read:
 * there is never anything outstanding but the answers to one send, which the receive buffer always holds.
 *
 * Routes by the million go through a `RouteWriter`: another thread sends, and waits while the kernel rebuilds its tree or somebody else
 * holds rtnetlink's lock. A few batches of different speakers at a time: the kernel has the next one when the first is done, however
 * long this thread takes to hear of it.
 */
import { constants } from "node:os"
import { getSystemErrorName } from "node:util"
import { addon } from "../../native/index.ts"
import { attributes, text, Writer, type Message, messages } from "../../wire/netlink.ts"

/** Requests that go in one send: some 300 routes, two milliseconds. */
export const sendOctets = 16 * 1024
const receiveOctets = 4 * 1024 * 1024
const bufferOctets = 64 * 1024
const NLMSG_ERROR = 2
const NLMSG_DONE = 3
const NLM_F_DUMP_INTR = 0x10
const NLM_F_ACK_TLVS = 0x200
const NLMSGERR_ATTR_MSG = 1
const { EAGAIN, EINTR, EBUSY, ENOBUFS, EOVERFLOW } = constants.errno

/** What the kernel says of a request that it did not obey. */
export interface Refusal {
  readonly sequence: number
  /** `EEXIST` */
  readonly code: string
  /** The kernel's own words; often empty. */
  readonly detail: string
}

const codeOf = (errno: number): string => getSystemErrorName(-Math.abs(errno))

/** nlmsgerr: error (4), header of the request (16), with NETLINK_CAP_ACK nothing more of it; then attributes. */
const refusalOf = (sequence: number, message: Message, error: number): Refusal => {
  let detail = ""
  if ((message.flags & NLM_F_ACK_TLVS) !== 0) {
    attributes(message.body, 20, (type, value) => {
      if (type === NLMSGERR_ATTR_MSG) detail = text(value)
    })
  }
  return { sequence, code: codeOf(error), detail }
}

const i32 = (bytes: Uint8Array, at: number): number => bytes[at]! | (bytes[at + 1]! << 8) | (bytes[at + 2]! << 16) | (bytes[at + 3]! << 24)

/** What was received last, of any socket: a thread has a thousand of them, and nothing is kept from one call to the next. */
const answerBuffer = new Uint8Array(bufferOctets)
const dumpBuffer = new Uint8Array(bufferOctets)

/** Answers were lost, which a buffer this large does not let happen; the caller learns that it knows nothing. */
const answersLost: Refusal = { sequence: -1, code: "ENOBUFS", detail: "answers lost" }

/** What the kernel refused, by its answers. */
const collect = (answers: Uint8Array, refusals: Refusal[]): void => {
  let at = 0
  for (const message of messages(answers)) {
    const sequence = i32(answers, at + 8)
    if (message.type === NLMSG_ERROR) {
      const error = i32(message.body, 0)
      if (error !== 0) refusals.push(refusalOf(sequence, message, error))
    }
    at += (message.body.length + 16 + 3) & ~3
  }
}

export class RouteSocket {
  readonly descriptor: number
  /** By which number notifications name this socket. */
  readonly port: number

  /** Throws NativeError. */
  constructor(netns: number) {
    this.descriptor = addon.routeSocketOpen(netns, 0, receiveOctets)
    this.port = addon.routeSocketPort(this.descriptor)
  }

  /** Has the kernel obey the requests in `bytes`; returns what it refused. EBUSY and ENOBUFS: tell the whole batch apart as refused. */
  send(bytes: Uint8Array): ReadonlyArray<Refusal> | undefined {
    for (;;) {
      const sent = addon.write(this.descriptor, bytes, 0)
      if (sent === -EINTR) continue
      if (sent === -EAGAIN || sent === -ENOBUFS || sent === -EBUSY) return undefined
      if (sent < 0) return [{ sequence: -1, code: codeOf(sent), detail: "send" }]
      return this.#answers()
    }
  }

  /** Few requests with acknowledgements, as `Writer` makes them. Undefined: the kernel has no memory now, nothing was done. */
  request(write: (out: Writer) => void): ReadonlyArray<Refusal> | undefined {
    const out = new Writer(1024)
    write(out)
    return out.length === 0 ? [] : this.send(out.finish())
  }

  #answers(): Refusal[] {
    const refusals: Refusal[] = []
    for (;;) {
      const received = addon.receive(this.descriptor, answerBuffer)
      if (received === -EINTR) continue
      if (received > 0) collect(answerBuffer.subarray(0, received), refusals)
      else {
        if (received === -ENOBUFS) refusals.push(answersLost)
        return refusals
      }
    }
  }

  close(): void {
    addon.close(this.descriptor)
  }
}

type Done = (refusals: ReadonlyArray<Refusal> | undefined) => void

/** Batches of the thread's speakers that are under way at most: a part of libuv's four threads, for others have work for them. */
const mostUnderWay = 3
let underWay = 0
/** Writers that have a batch and none under way, in the order in which it came. */
const ready: RouteWriter[] = []

/** Writes batches in another thread. */
export class RouteWriter {
  readonly #descriptor: number
  readonly port: number
  /** Batches that wait for the one under way: answers of two could not be told apart. */
  readonly #batches: { readonly bytes: Uint8Array; readonly done: Done }[] = []
  #isSending = false
  #isClosed = false

  /** Throws NativeError. */
  constructor(netns: number) {
    this.#descriptor = addon.routeSocketOpen(netns, 0, receiveOctets)
    this.port = addon.routeSocketPort(this.#descriptor)
  }

  /** As `RouteSocket.send`; `done` gets what that returns, unless the writer was closed meanwhile. `bytes` must stay until then. */
  write(bytes: Uint8Array, done: Done): void {
    this.#batches.push({ bytes, done })
    if (!this.#isSending && this.#batches.length === 1) ready.push(this)
    RouteWriter.#start()
  }

  close(): void {
    this.#isClosed = true
    this.#batches.length = 0
    addon.close(this.#descriptor)
  }

  static #start(): void {
    while (underWay < mostUnderWay) {
      const writer = ready.shift()
      if (writer === undefined) return
      writer.#send()
    }
  }

  #send(): void {
    const batch = this.#batches.shift()
    // It was closed while it waited.
    if (batch === undefined) return
    const { bytes, done } = batch
    addon.routeSocketSend(this.#descriptor, bytes, bytes.length, (errno, answers) => {
      underWay--
      this.#isSending = false
      if (this.#batches.length > 0) ready.push(this)
      RouteWriter.#start()
      if (!this.#isClosed) done(outcome(errno, answers))
    })
    // It may throw (EMFILE); what it calls back comes later.
    underWay++
    this.#isSending = true
  }
}

const outcome = (errno: number, answers: Uint8Array): ReadonlyArray<Refusal> | undefined => {
  if (errno === EAGAIN || errno === ENOBUFS || errno === EBUSY) return undefined
  if (errno !== 0 && errno !== EOVERFLOW) return [{ sequence: -1, code: codeOf(errno), detail: "send" }]
  const refusals: Refusal[] = errno === 0 ? [] : [answersLost]
  collect(answers, refusals)
  return refusals
}

/** A dump that is read in slices: the kernel goes on where it was when more is asked for. */
export class SlicedDump {
  readonly #descriptor: number
  readonly #requests: Uint8Array[]
  #isAsked = false
  /** The table changed meanwhile: what was read may lack something or have it twice. */
  isInterrupted = false

  /** `requests`: dump requests, one after the other. Throws NativeError. */
  constructor(netns: number, requests: ReadonlyArray<(out: Writer) => void>) {
    this.#descriptor = addon.routeSocketOpen(netns, 0, receiveOctets)
    this.#requests = requests.map((write) => {
      const out = new Writer(64)
      write(out)
      return out.finish()
    })
  }

  /** Reads for about `budgetMs`; true: there is more. */
  run(budgetMs: number, each: (message: Message) => void): boolean {
    const end = performance.now() + budgetMs
    do {
      if (this.#requests.length === 0) return false
      if (!this.#isAsked) {
        const sent = addon.write(this.#descriptor, this.#requests[0]!, 0)
        if (sent < 0) return sent === -EBUSY || sent === -ENOBUFS || sent === -EAGAIN
        this.#isAsked = true
      }
      const received = addon.receive(this.#descriptor, dumpBuffer)
      // The first part of a dump is there when the request was sent, each further one when the one before was read.
      if (received <= 0) {
        if (received === -EINTR) continue
        this.#next()
        continue
      }
      for (const message of messages(dumpBuffer.subarray(0, received))) {
        if ((message.flags & NLM_F_DUMP_INTR) !== 0) this.isInterrupted = true
        if (message.type === NLMSG_DONE || message.type === NLMSG_ERROR) this.#next()
        else each(message)
      }
    } while (performance.now() < end)
    return this.#requests.length > 0
  }

  #next(): void {
    this.#requests.shift()
    this.#isAsked = false
  }

  close(): void {
    addon.close(this.#descriptor)
  }
}
