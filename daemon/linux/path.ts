/**
 * Asks what lies between a namespace and an address: by UDP packets with a chosen TTL that may not be fragmented, and by
 * what ICMP says of them (native/src/path_probe.cc). A call of `trace` is one flow: all its packets have the same ports,
 * so routers that spread flows over several ways send them the same way.
 */
import { randomInt } from "node:crypto"
import { constants } from "node:os"
import { whenSilentFor } from "../../timing/silence.ts"
import { addon } from "../native/index.ts"
import * as Dns from "../wire/dns.ts"
import * as Ip from "../wire/ip.ts"
import { reasonOfErrno, reasonOfFailure } from "./socket-error.ts"

const { errno } = constants

/** What came for a packet that was sent. */
interface Heard {
  readonly kind: "answer" | "icmp" | "local"
  /** Of an answer: all of it; else the beginning of what was sent. A view, valid during the call. */
  readonly octets: Uint8Array
  readonly type: number
  readonly code: number
  readonly errno: number
  readonly mtu: number
  /** Who says so. */
  readonly from: string
}

interface PathSocket {
  /** 0, or a positive errno. `hops` 0: as many as usual. */
  readonly send: (hops: number, packet: Uint8Array) => number
  readonly close: () => void
}

const kinds = ["answer", "icmp", "local"] as const

/** @throws NativeError when the namespace is not there or has no way to the address */
const open = (netnsPath: string, destination: Uint8Array, port: number, told: (heard: Heard) => void): PathSocket => {
  const netns = addon.netnsOpen(netnsPath)
  let descriptor: number
  try {
    descriptor = addon.pathOpen(netns, destination, port)
  } finally {
    addon.close(netns)
  }
  const [buffer, numbers, address] = [new Uint8Array(65536), new Int32Array(6), new Uint8Array(16)]
  let isOpen = true
  const drain = (): void => {
    while (isOpen) {
      const length = addon.pathReceive(descriptor, buffer, numbers, address)
      if (length < 0) return
      const [kind = 0, type = 0, code = 0, error = 0, mtu = 0, octets = 0] = numbers
      const from = octets === 0 ? "" : Ip.format(address.slice(0, octets))
      told({ kind: kinds[kind]!, octets: buffer.subarray(0, length), type, code, errno: error, mtu, from })
    }
  }
  // libuv stops a poll that tells an error; what ICMP says is one.
  const watch = (): ReturnType<typeof addon.pollStart> =>
    addon.pollStart(descriptor, 1, (events) => {
      drain()
      if (!isOpen || events >= 0) return
      addon.pollStop(poll)
      poll = watch()
    })
  let poll = watch()
  return {
    send: (hops, packet) => {
      const sent = addon.pathSend(descriptor, hops, packet)
      return sent < 0 ? -sent : 0
    },
    close: () => {
      isOpen = false
      addon.pollStop(poll)
      addon.close(descriptor)
    }
  }
}

/** A closed port, as traceroute(8) has it: who gets there is told so. */
const tracePort = 33434
const portUnreachable = { ipv4: [3, 3], ipv6: [1, 4] } as const
const timeExceeded = { ipv4: 11, ipv6: 3 } as const
const tooBig = { ipv4: [3, 4], ipv6: [2, 0] } as const

const familyOf = (address: Uint8Array): "ipv4" | "ipv6" => (address.length === 4 ? "ipv4" : "ipv6")
const is = ({ code, type }: Heard, [wantedType, wantedCode]: readonly [number, number]): boolean => type === wantedType
  && code === wantedCode

export interface Hop {
  readonly ttl: number
  readonly address?: string
  readonly outcome: "passed" | "arrived" | "refused"
  readonly reason?: string
}

export interface Trace {
  readonly hops: ReadonlyArray<Hop>
  readonly arrived: boolean
  readonly error?: string
}

const mostHops = 30
/** So many hops beyond the last that answered are asked at once. */
const ahead = 6
const traceTries = 3
/** When somebody has arrived, routers that are still silent get so long. */
const graceMs = 250

export interface TraceOptions {
  /** Of somebody who answers: a closed port does so once in a second (icmp(7): icmp_ratelimit). Default: a closed one. */
  readonly port?: number
  /** So many hops there should be: more are asked only when they do not answer. */
  readonly hops?: number
}

/** The routers on the way of one flow. Never rejects. */
export const trace =
  (netnsPath: string, address: string, timeoutMs: number, { hops: expected = 0, port = tracePort }: TraceOptions = {}): Promise<Trace> =>
  new Promise((resolve) => {
    const destination = Ip.parse(address)
    if (destination === undefined) return resolve({ hops: [], arrived: false, error: `"${address}" is no address` })
    const family = familyOf(destination)
    const hops = new Map<number, Hop>()
    let most = expected
    let [end, sentTo, isDone, grace] = [mostHops, 0, false, undefined as NodeJS.Timeout | undefined]
    let socket: PathSocket
    const finish = (error?: string): void => {
      if (isDone) return
      isDone = true
      stopWaiting()
      clearTimeout(grace)
      clearInterval(resend)
      socket.close()
      const last = Math.max(0, ...[...hops.keys()].filter((ttl) => ttl <= end))
      const all = Array.from({ length: last }, (_, index) => hops.get(index + 1) ?? { ttl: index + 1, outcome: "passed" as const })
      resolve({ hops: all, arrived: hops.get(end)?.outcome === "arrived", ...(error === undefined ? {} : { error }) })
    }
    const send = (ttl: number): void => {
      if (isDone) return
      const failure = socket.send(ttl, Uint8Array.from({ length: 32 }, (_, index) => (index === 0 ? ttl : 0)))
      if (failure !== 0 && failure !== errno.EAGAIN && hops.size === 0 && ttl === 1) finish(reasonOfErrno(failure))
    }
    const note = (hop: Hop): void => {
      if (!hops.has(hop.ttl)) hops.set(hop.ttl, hop)
      if (hop.outcome !== "passed" && hop.ttl < end) {
        end = hop.ttl
        grace ??= setTimeout(finish, graceMs)
      }
      const known = [...hops.keys()].filter((ttl) => ttl <= end).length
      if (known >= end) return finish()
      if (hops.get(most)?.outcome === "passed") most = 0
      const until = Math.min(end, most > 0 ? most : Math.max(...hops.keys()) + ahead, mostHops)
      while (sentTo < until && end === mostHops) send(++sentTo)
    }
    const told = (heard: Heard): void => {
      const ttl = heard.octets[0] ?? 0
      if (ttl < 1 || ttl > mostHops) return
      if (heard.kind === "answer") return note({ ttl, address, outcome: "arrived" })
      if (heard.kind === "local") return
      const from = heard.from
      if (heard.type === timeExceeded[family]) return note({ ttl, address: from, outcome: "passed" })
      if (is(heard, portUnreachable[family])) return note({ ttl, address: from, outcome: "arrived" })
      if (!is(heard, tooBig[family])) note({ ttl, address: from, outcome: "refused", reason: reasonOfErrno(heard.errno) })
    }
    const stopWaiting = whenSilentFor(timeoutMs, () => finish())
    const resend = setInterval(() => {
      most = 0
      while (sentTo < ahead && end === mostHops) ++sentTo
      for (let ttl = 1; ttl <= Math.min(sentTo, end); ttl++) if (!hops.has(ttl)) send(ttl)
    }, timeoutMs / traceTries)
    try {
      socket = open(netnsPath, destination, port, told)
    } catch (error) {
      stopWaiting()
      clearInterval(resend)
      return resolve({ hops: [], arrived: false, error: reasonOfFailure(error) })
    }
    while (sentTo < (most || ahead) && end === mostHops) send(++sentTo)
  })

export type Answered =
  { readonly ok: true; readonly rttMs: number; readonly octets: Uint8Array } | { readonly ok: false; readonly reason: string }

interface Exchange {
  readonly netnsPath: string
  readonly address: string
  readonly port: number
  readonly packet: Uint8Array
  readonly timeoutMs: number
  readonly isAnswer?: (octets: Uint8Array) => boolean
}

/** Sends a datagram until one comes back or the time is up. Never rejects. */
export const exchange = ({ address, isAnswer = () => true, netnsPath, packet, port, timeoutMs }: Exchange): Promise<Answered> =>
  new Promise((resolve) => {
    const destination = Ip.parse(address)
    if (destination === undefined) return resolve({ ok: false, reason: `"${address}" is no address` })
    const began = performance.now()
    const finish = (answer: Answered): void => {
      stopWaiting()
      clearInterval(resend)
      socket.close()
      resolve(answer)
    }
    const told = ({ errno: error, kind, octets }: Heard): void => {
      if (kind !== "answer") return finish({ ok: false, reason: reasonOfErrno(error) })
      if (isAnswer(octets)) finish({ ok: true, rttMs: performance.now() - began, octets: octets.slice() })
    }
    const stopWaiting = whenSilentFor(timeoutMs, () => finish({ ok: false, reason: "timed out" }))
    const send = (): void => {
      const failure = socket.send(0, packet)
      if (failure !== 0 && failure !== errno.EAGAIN) finish({ ok: false, reason: reasonOfErrno(failure) })
    }
    const resend = setInterval(() => send(), timeoutMs / 3)
    let socket: PathSocket
    try {
      socket = open(netnsPath, destination, port, told)
    } catch (error) {
      stopWaiting()
      clearInterval(resend)
      return resolve({ ok: false, reason: reasonOfFailure(error) })
    }
    send()
  })

const dnsPort = 53

/** Asks a DNS server. Never rejects. */
export const lookUp =
  async (netnsPath: string, address: string, question: { readonly name: string; readonly type: Dns.TypeName }, timeoutMs: number) => {
  const id = randomInt(0x10000)
  const packet = Dns.encodeQuestion(id, question.name, question.type)
  if (packet === undefined) return { ok: false as const, reason: `"${question.name}" is no domain name` }
  const isAnswer = (octets: Uint8Array): boolean => octets.length > 1 && ((octets[0]! << 8) | octets[1]!) === id
  const answer = await exchange({ netnsPath, address, port: dnsPort, packet, timeoutMs, isAnswer })
  if (!answer.ok) return answer
  const message = Dns.decode(answer.octets)
  if (!message.ok) return { ok: false as const, reason: "the answer is no DNS message" }
  const { answers, rcode } = message.value
  return { ok: true as const, rcode, answers }
}

export type PathMtu =
  | { readonly ok: true; readonly mtu: number; readonly blackHole: boolean; readonly toldBy?: string }
  | { readonly ok: false; readonly reason: string }

type Fate =
  | { readonly fate: "arrived" }
  | { readonly fate: "lost" }
  | { readonly fate: "big"; readonly mtu: number; readonly from: string }
  | { readonly fate: "refused"; readonly reason: string }

const headers = { ipv4: 28, ipv6: 48 } as const
const largest = 65535
/** What every link must carry (RFC 791, RFC 8200 5), and a probe's own headers. */
const smallest = { ipv4: 68, ipv6: 1280 } as const
const mtuTries = 2

/** Sends packets of one size until it is known what becomes of them. */
const sized = (netnsPath: string, destination: Uint8Array, size: number, timeoutMs: number, port: number): Promise<Fate> =>
  new Promise((resolve) => {
    const family = familyOf(destination)
    const packet = new Uint8Array(size - headers[family])
    const finish = (fate: Fate): void => {
      stopWaiting()
      clearInterval(resend)
      socket.close()
      resolve(fate)
    }
    const told = (heard: Heard): void => {
      if (heard.kind === "answer" || (heard.kind === "icmp" && is(heard, portUnreachable[family]))) return finish({ fate: "arrived" })
      if (heard.kind === "local" || is(heard, tooBig[family])) {
        return finish({ fate: "big", mtu: heard.mtu, from: heard.kind === "local" ? "" : heard.from })
      }
      finish({ fate: "refused", reason: reasonOfErrno(heard.errno) })
    }
    const send = (): void => {
      const failure = socket.send(0, packet)
      // What is too big for the node's own interface is told in the error queue, with the size that fits.
      if (failure !== 0 && failure !== errno.EAGAIN
        && failure !== errno.EMSGSIZE) finish({ fate: "refused", reason: reasonOfErrno(failure) })
    }
    const stopWaiting = whenSilentFor(timeoutMs, () => finish({ fate: "lost" }))
    const resend = setInterval(send, timeoutMs / mtuTries)
    let socket: PathSocket
    try {
      socket = open(netnsPath, destination, port, told)
    } catch (error) {
      stopWaiting()
      clearInterval(resend)
      return resolve({ fate: "refused", reason: reasonOfFailure(error) })
    }
    send()
  })

/** The largest IP packet that gets to an address without fragmentation, in octets. `port`: as `TraceOptions` has it. Never rejects. */
export const pathMtu = async (netnsPath: string, address: string, timeoutMs: number, port: number = tracePort): Promise<PathMtu> => {
  const destination = Ip.parse(address)
  if (destination === undefined) return { ok: false, reason: `"${address}" is no address` }
  const family = familyOf(destination)
  let [low, high, isDark]: [number, number, boolean] = [smallest[family], largest, false]
  let toldBy: string | undefined
  const small = await sized(netnsPath, destination, low, timeoutMs, port)
  if (small.fate === "refused") return { ok: false, reason: small.reason }
  if (small.fate !== "arrived") return { ok: false, reason: "timed out, also with small packets" }
  const found = (mtu: number): PathMtu => ({ ok: true, mtu, blackHole: isDark, ...(toldBy === undefined ? {} : { toldBy }) })
  for (let size = high; ;) {
    const fate = await sized(netnsPath, destination, size, Math.min(timeoutMs, 400), port)
    if (fate.fate === "refused") return { ok: false, reason: fate.reason }
    if (fate.fate === "arrived") {
      low = size
      if (!isDark || high - low <= 1) return found(size)
    } else if (fate.fate === "big" && fate.mtu >= smallest[family] && fate.mtu < size) {
      if (fate.from !== "") toldBy = fate.from
      high = fate.mtu + 1
      size = fate.mtu
      if (low >= size) return found(low)
      continue
    } else {
      isDark ||= fate.fate === "lost"
      high = size
    }
    if (high - low <= 1) return found(low)
    size = Math.floor((low + high) / 2)
  }
}
