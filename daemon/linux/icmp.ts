/** Pings from inside a namespace, by a raw socket that is made there and used from here. */
import { randomBytes, randomInt } from "node:crypto"
import { constants } from "node:os"
import { whenSilentFor } from "../../timing/silence.ts"
import { addon } from "../native/index.ts"
import * as Echo from "../wire/icmp-echo.ts"
import * as Ip from "../wire/ip.ts"
import { reasonOfErrno, reasonOfFailure } from "./socket-error.ts"

/** An echo reply, or why there was none. */
export type Ping = { readonly ok: true; readonly rttMs: number } | { readonly ok: false; readonly reason: string }

/** Requests sent in the time there is: the first may be lost to address resolution or a switch that is still learning. */
const attempts = 3
const dataLength = 32

/**
 * Sends ICMP echo requests to `address` from the namespace `netnsPath` until one is answered or the time is up.
 * `reason`: `timed out`, `network is unreachable`, ... The round-trip time is taken from the kernel's own receive stamp.
 */
export const ping = (netnsPath: string, address: string, timeoutMs: number): Promise<Ping> => {
  const destination = Ip.parse(address)
  if (destination === undefined) return Promise.resolve({ ok: false, reason: `"${address}" is no address` })
  let descriptor: number
  try {
    const netns = addon.netnsOpen(netnsPath)
    try {
      descriptor = addon.echoOpen(netns, destination)
    } finally {
      addon.close(netns)
    }
  } catch (error) {
    return Promise.resolve({ ok: false, reason: reasonOfFailure(error) })
  }
  return exchange(descriptor, destination, timeoutMs)
}

const exchange = (descriptor: number, destination: Uint8Array, timeoutMs: number): Promise<Ping> =>
  new Promise((resolve) => {
    const v4 = destination.length === 4
    const source = addon.localAddress(descriptor)
    const outbound: Echo.Context = v4 ? { family: "ipv4" } : { family: "ipv6", source, destination }
    const inbound: Echo.Context = v4 ? { family: "ipv4" } : { family: "ipv6", source: destination, destination: source }
    const identifier = randomInt(0x10000)
    // Two probes may draw one identifier; this tells their replies apart.
    const data = randomBytes(dataLength)
    const buffer = new Uint8Array(2048)
    const stamp = new Float64Array(1)
    const sentMs: Array<number> = []

    const finish = (result: Ping): void => {
      stopWaiting()
      clearInterval(resend)
      addon.pollStop(poll)
      addon.close(descriptor)
      resolve(result)
    }
    const send = (): void => {
      const echo: Echo.Echo = { kind: "request", identifier, sequence: sentMs.length, data }
      const length = Echo.encodeInto(echo, buffer, 0, outbound)
      const sent = addon.sendStamped(descriptor, buffer.subarray(0, length), stamp)
      sentMs.push(stamp[0]!)
      if (sent < 0 && sent !== -constants.errno.EAGAIN) finish({ ok: false, reason: reasonOfErrno(-sent) })
    }
    const receive = (): void => {
      for (;;) {
        const received = addon.receiveStamped(descriptor, buffer, stamp)
        if (received === -constants.errno.EAGAIN) return
        if (received < 0) return finish({ ok: false, reason: reasonOfErrno(-received) })
        // A raw IPv4 socket delivers the IP header too (raw(7)), a raw IPv6 socket does not (RFC 3542 3).
        const at = v4 ? (buffer[0]! & 0x0f) * 4 : 0
        const echo = Echo.decode(buffer.subarray(0, received), at, inbound)
        if (!echo.ok || echo.value.kind !== "reply" || echo.value.identifier !== identifier) continue
        const sent = sentMs[echo.value.sequence]
        if (sent === undefined || Buffer.compare(echo.value.data, data) !== 0) continue
        // The wall clock may step backwards between the two stamps.
        return finish({ ok: true, rttMs: Math.max(0, stamp[0]! - sent) })
      }
    }
    const stopWaiting = whenSilentFor(timeoutMs, () => finish({ ok: false, reason: "timed out" }))
    const resend = setInterval(() => {
      if (sentMs.length < attempts) send()
    }, timeoutMs / attempts)
    const poll = addon.pollStart(descriptor, 1, receive)
    send()
  })
