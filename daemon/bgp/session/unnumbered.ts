/**
 * The peer on an interface, found by router advertisements (RFC 4861, 4.2), as FRR's `neighbor IFNAME interface` does it.
 *
 * Both routers advertise themselves on the link; whose advertisement arrives is the neighbour, its link-local source address the
 * session's. We solicit at once, so that nobody waits for the other's next advertisement, and answer solicitations. Our advertisements have
 * no prefix; their router lifetime is not zero because FRR takes zero for the end, which is what the last one says.
 *
 * Only packets with hop limit 255 count: they cannot have passed a router (RFC 4861, 6.1.2).
 */
import { constants } from "node:os"
import { addon, type Poll } from "../../native/index.ts"
import * as Ip from "../../wire/ip.ts"
import type { Clock } from "./timers.ts"

const typeSolicitation = 133
const typeAdvertisement = 134
const advertisementLength = 16
const allNodes = Ip.parse("ff02::1")!
const allRouters = Ip.parse("ff02::2")!

/** Between advertisements; and until the first have been sent, or the interface is there. */
const intervalMs = 10_000
const hurriedMs = 1_000
const hurriedCount = 3
const lifetimeS = 30

/** Type, code, checksum (the kernel's), current hop limit, flags, router lifetime, reachable time, retransmission timer. */
const advertisement = (routerLifetimeS: number): Uint8Array => {
  const message = new Uint8Array(advertisementLength)
  message[0] = typeAdvertisement
  message[4] = 64
  message[6] = routerLifetimeS >> 8
  message[7] = routerLifetimeS & 0xff
  return message
}

const solicitation = (): Uint8Array => Uint8Array.of(typeSolicitation, 0, 0, 0, 0, 0, 0, 0)

export class Unnumbered {
  readonly #netns: number
  readonly #ifname: string
  readonly #clock: Clock
  readonly #found: (address: string, ifindex: number) => void
  readonly #target = new Uint8Array(1500)
  readonly #source = new Uint8Array(16)
  #descriptor = -1
  #ifindex = 0
  #poll: Poll | undefined
  #timer: unknown
  #sentCount = 0
  #heardFrom: string | undefined

  /** `found` is called for each advertisement of somebody who has not been the last one. */
  constructor(netns: number, ifname: string, clock: Clock, found: (address: string, ifindex: number) => void) {
    this.#netns = netns
    this.#ifname = ifname
    this.#clock = clock
    this.#found = found
    this.#tick()
  }

  /** The peer learns that we are no router any more. */
  close(): void {
    this.#clock.clearTimeout(this.#timer)
    this.#timer = undefined
    if (this.#descriptor >= 0) this.#send(allNodes, advertisement(0))
    this.#release()
  }

  #tick(): void {
    const isDone = this.#open() && this.#send(allNodes, advertisement(lifetimeS))
    if (isDone) {
      this.#sentCount++
      if (this.#heardFrom === undefined) this.#send(allRouters, solicitation())
    }
    const isHurried = !isDone || this.#sentCount < hurriedCount
    this.#timer = this.#clock.setTimeout(() => this.#tick(), isHurried ? hurriedMs : intervalMs)
  }

  /** Whether the socket is there; the interface may come later, and go, and come again. */
  #open(): boolean {
    if (this.#descriptor >= 0) return true
    try {
      ;[this.#descriptor, this.#ifindex] = addon.advertOpen(this.#netns, this.#ifname)
      this.#poll = addon.pollStart(this.#descriptor, 1, () => this.#read())
      return true
    } catch {
      this.#release()
      return false
    }
  }

  #release(): void {
    if (this.#poll !== undefined) addon.pollStop(this.#poll)
    this.#poll = undefined
    if (this.#descriptor >= 0) addon.close(this.#descriptor)
    this.#descriptor = -1
    this.#sentCount = 0
    this.#heardFrom = undefined
  }

  /** False: not now; the link is down, or its address is still tentative. */
  #send(destination: Uint8Array, message: Uint8Array): boolean {
    const result = addon.advertSend(this.#descriptor, this.#ifindex, destination, message)
    if (result === -constants.errno.ENODEV || result === -constants.errno.ENXIO) this.#release()
    return result === 0
  }

  #read(): void {
    for (let count = 0; count < 16 && this.#descriptor >= 0; count++) {
      const length = addon.advertReceive(this.#descriptor, this.#target, this.#source)
      if (length === -constants.errno.EAGAIN) return
      if (length < 0) return this.#release()
      if (length > 0) this.#message(length)
    }
  }

  #message(length: number): void {
    const type = this.#target[0]
    if (type === typeSolicitation) return void this.#send(allNodes, advertisement(lifetimeS))
    const isLinkLocal = this.#source[0] === 0xfe && (this.#source[1]! & 0xc0) === 0x80
    if (type !== typeAdvertisement || length < advertisementLength || !isLinkLocal) return
    const lifetime = (this.#target[6]! << 8) | this.#target[7]!
    const address = Ip.format(this.#source.slice())
    // The end of a router is no news of one; its session tells by itself.
    if (lifetime === 0 || address === this.#heardFrom) return
    this.#heardFrom = address
    this.#found(address, this.#ifindex)
  }
}
