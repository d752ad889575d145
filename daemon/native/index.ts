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

export interface ProbesHandle {
  readonly _probes: unique symbol
}

/** Places in what `probeRead` fills in; latencies and times in ns. As in `src/probe.cc`. */
export const ProbeCounter = {
  sent: 0,
  received: 1,
  lost: 2,
  unsent: 3,
  duplicates: 4,
  reordered: 5,
  late: 6,
  refused: 7,
  unreachable: 8,
  latencySumNs: 9,
  latencyMinNs: 10,
  latencyMaxNs: 11,
  outageCount: 12,
  pendingNs: 13,
  blindNs: 14,
  wrong: 15,
  noteCount: 16,
  /** The slowest answer since it was read last, and when that came; 0: none. */
  slowestNs: 17,
  slowestAtNs: 18
} as const

/** What `probeFlow` sends. As in `src/probe_flow.h`. */
export const ProbeKind = { udp: 0, icmp: 1, tcp: 2, "tcp-connect": 3, http: 4, dns: 5, throughput: 6 } as const

/** What `probeNotes` tells of, by its number. As `Event` in `src/probe_flow.h`. */
export const probeEvents =
  ["connected", "stall", "reset", "closed", "timeout", "refused", "reconnected", "verdict", "gone", "back", "unreachable"] as const

/** [at ns of CLOCK_REALTIME, place in `probeEvents`, length ns, errno or status, octets that say more] */
export type ProbeNote = readonly [atNs: number, event: number, lengthNs: number, value: number, octets: Uint8Array]

export interface Capture {
  readonly _capture: unique symbol
}

export interface BpfProgramInfo {
  readonly id: number
  readonly name: string
  /** The kernel's digest of the instructions. */
  readonly tag: string
  readonly mapIds: ReadonlyArray<number>
}

export interface BpfMapInfo {
  readonly id: number
  readonly type: number
  readonly name: string
  readonly keySize: number
  readonly valueSize: number
  readonly maxEntries: number
}

export interface BpfTestResult {
  readonly verdict: number
  readonly frame: Uint8Array
  readonly nanoseconds: number
}

/** The packet engine's memory, and the arrays through which its calls take and return lists. */
export interface EngineMemory {
  readonly handle: EngineHandle
  /** Keys of what is readable. */
  readonly events: Int32Array
  /** Packets read: slot, octets from the Ethernet header on, when (ns of CLOCK_MONOTONIC). */
  readonly slots: Int32Array
  readonly sizes: Int32Array
  readonly times: Float64Array
  /** Slots to be written. */
  readonly outgoing: Int32Array
  /** By `EngineResult`. */
  readonly result: Float64Array
}

export interface EngineHandle {
  readonly _engine: unique symbol
}

/** Fields of `EngineMemory.result`, as in engine.cc. */
export const EngineResult = {
  clockNs: 0,
  packets: 1,
  octets: 2,
  errors: 3,
  exhausted: 4,
  frames: 5,
  fault: 6,
  waitedNs: 7,
  nappedNs: 8
} as const

/** As in encapsulation.h. */
export const Encapsulation = { vxlan: 0, geneve: 1, gre: 2 } as const

/** A packet in the memory of `bfdReceive`, as in bfd.cc: payload, source address, destination address. */
export const BfdPacket = { octets: 288, source: 256, destination: 272, fields: 3, batch: 32 } as const

export interface Addon {
  // netns.cc
  netnsPrepare(directory: string): void
  /** `setup`: rtnetlink messages applied inside before the namespace gets its name. */
  netnsCreate(path: string, setup: Uint8Array): void
  netnsRemove(path: string): void
  netnsOpen(path: string): number
  /** A new namespace that lives as long as its descriptor (and what is in it). */
  netnsAnonymous(): number
  /** Turns generic receive offload of an interface off. */
  elideGro(netns: number, name: string): void
  inode(descriptor: number): number
  close(descriptor: number): void

  // netlink.cc
  /** `[sequence, errno name, kernel's text]` of each message that failed. */
  netlinkBatch(netns: number, messages: Uint8Array): ReadonlyArray<readonly [number, string, string]>
  /** `requests`: one or more dump requests; the answer holds the messages of all, in order. */
  /** `protocol`: of netlink(7), NETLINK_ROUTE unless given. */
  netlinkDump(netns: number, requests: Uint8Array, protocol?: number): Uint8Array
  netlinkMonitor(netns: number, groups: number): number

  // route_socket.cc
  /** A netlink socket that stays and never blocks; `groups`: bit mask of multicast groups. */
  routeSocketOpen(netns: number, groups: number, receiveOctets: number): number
  /** By which number notifications name this socket as who asked for a change. */
  routeSocketPort(descriptor: number): number
  /** Leaves out what the sockets `port` and `otherPort` asked for, and routes of `protocol` that the kernel flushes by itself. */
  routeSocketFilter(descriptor: number, port: number, protocol: number, otherPort: number): void
  /** Has the kernel obey requests in another thread. `done`: with an errno or 0, and the answers. */
  routeSocketSend(descriptor: number, requests: Uint8Array, length: number, done: (errno: number, answers: Uint8Array) => void): void

  // files.cc
  /** `[index, errno name]` of each file that failed. */
  writeFiles(netns: number, paths: ReadonlyArray<string>, contents: ReadonlyArray<string>): ReadonlyArray<readonly [number, string]>
  readFiles(netns: number, paths: ReadonlyArray<string>): ReadonlyArray<string | undefined>
  readFilesOfNewNamespace(paths: ReadonlyArray<string>): ReadonlyArray<string | undefined>
  /** A descriptor, or -1 when another process holds the lock. */
  lockFile(path: string): number
  /** Gives freed memory back to the system. */
  trimMemory(): void

  // poll.cc
  pollStart(descriptor: number, events: number, callback: (events: number) => void): Poll
  pollStop(poll: Poll): void
  /** 0: calls back for nothing until the next change. */
  pollChange(poll: Poll, events: number): void
  pollUnref(poll: Poll): void
  /** Octets received, 0 at the end, or a negative errno. */
  receive(descriptor: number, target: Uint8Array): number

  // loop.cc
  /** Until the calling thread ends: `[longest turn of its event loop, sum of all turns]`, ms without waiting. */
  loopGauge(numbers: Float64Array): void

  // process.cc
  /** Our end (never blocks; we read it if `reading`, else write it) and the program's end. */
  pipeOpen(reading: boolean): readonly [number, number]
  /** Our side (never blocks) and the program's side of a pseudo terminal. */
  terminalOpen(columns: number, rows: number): readonly [number, number]
  terminalResize(terminal: number, columns: number, rows: number): void
  /** The process group in the foreground, or 0. */
  terminalForeground(terminal: number): number
  duplicate(descriptor: number): number
  /** Octets read, 0 at the end, or a negative errno. */
  read(descriptor: number, target: Uint8Array): number
  /** Octets of `source` from `at` on that were written, or a negative errno. */
  write(descriptor: number, source: Uint8Array, at: number): number
  /** False when no such process is in the namespace (any more). */
  signalInNetns(pid: number, inode: number, signal: number): boolean

  // socket.cc: addresses are 4 or 16 octets
  echoOpen(netns: number, address: Uint8Array): number
  /** Octets sent or a negative errno; `stamp[0]`: when, in ms. */
  sendStamped(descriptor: number, packet: Uint8Array, stamp: Float64Array): number
  /** Octets received or a negative errno; `stamp[0]`: when the kernel got them, in ms of the same clock. */
  receiveStamped(descriptor: number, target: Uint8Array, stamp: Float64Array): number
  tcpBind(netns: number, address: Uint8Array): number
  tcpConnect(netns: number, address: Uint8Array, port: number): number
  /** Connecting (TCP) or connected (UDP). */
  relayConnect(netns: number, address: Uint8Array, port: number, datagrams: boolean): number
  /** A positive errno, or 0. */
  socketError(descriptor: number): number
  localAddress(descriptor: number): Uint8Array
  localPort(descriptor: number): number

  // bgp_socket.cc: addresses are 4 or 16 octets; `octets` are the peer's address and, from 16 on, our own; `numbers` are the peer's
  // length of address, port and ifindex (of a link-local address), and then ours
  /** `device`: empty, or the interface that connections must come in by. */
  bgpListen(netns: number, address: Uint8Array, port: number, device: string): number
  /** A connection or a negative errno; `numbers` tell after the ends how long ago it was made, in ms. */
  bgpAccept(listener: number, octets: Uint8Array, numbers: Uint32Array): number
  /** Connecting. `local`, `device` and `key` may be empty, `hops` and `minimum` 0. */
  bgpConnect(
    netns: number,
    remote: Uint8Array,
    port: number,
    local: Uint8Array,
    device: string,
    hops: number,
    minimum: number,
    key: Uint8Array
  ): number
  /** `prefix` -1: of the address alone; `key` empty: none any more. */
  bgpKey(descriptor: number, address: Uint8Array, prefix: number, ifindex: number, key: Uint8Array): void
  bgpHops(descriptor: number, hops: number, minimum: number): void
  bgpNames(descriptor: number, octets: Uint8Array, numbers: Uint32Array): void
  /** Octets that the peer has acknowledged, or a negative errno. */
  bgpAcknowledged(descriptor: number): number
  /** Closes with a RST. */
  bgpReset(descriptor: number): void
  /** `[descriptor, ifindex]` */
  advertOpen(netns: number, device: string): readonly [number, number]
  /** Octets of an ICMPv6 message, 0 for one to be ignored, or a negative errno. */
  advertReceive(descriptor: number, target: Uint8Array, source: Uint8Array): number
  advertSend(descriptor: number, ifindex: number, destination: Uint8Array, packet: Uint8Array): number

  // capture.cc
  /** Instructions for `captureOpen`. Rejects with libpcap's message. */
  captureCompile(expression: string, snapLength: number): Promise<Uint8Array>
  /** `blocks`: of 128 KiB, the memory that the capture takes. ENODEV: no such interface; EPROTONOSUPPORT: not Ethernet. */
  captureOpen(netns: number, ifname: string, filter: Uint8Array, blocks: number): Capture
  captureClose(capture: Capture): void
  /** For `pollStart` and `socketError`; it stays the capture's. */
  captureDescriptor(capture: Capture): number
  /** Whether the interface is still there, up or down. */
  captureAttached(capture: Capture): boolean
  /** `[octets, frames, held]`: pcapng blocks in `target`; `held` is 1 when frames later than `untilMs` wait. */
  captureRead(
    captures: ReadonlyArray<Capture>,
    target: Uint8Array,
    untilMs: number,
    limit: number,
    enough: number
  ): readonly [number, number, number]
  /** `counts`: frames that the filter let through, those of them that the kernel dropped, those that were read. */
  captureCounters(capture: Capture, counts: Float64Array): void

  // tap.cc
  /** `[descriptor, ifindex, takes UDP super-frames]`; the descriptor never blocks. */
  tapOpen(netns: number, name: string, mtu: number, persistent: boolean, offloads: boolean): readonly [number, number, boolean]

  // engine.cc: descriptors are of TAPs; times are ns
  engineOpen(small: number, large: number): EngineMemory
  engineThread(): void
  /** Whether the calling thread goes before ordinary ones. */
  engineUrgent(engine: EngineHandle, urgent: boolean): void
  engineWatch(engine: EngineHandle, descriptor: number, key: number): void
  engineUnwatch(engine: EngineHandle, descriptor: number): void
  /** How many `events`; sets `clockNs`, `waitedNs` and `nappedNs`. A negative timeout waits for ever. */
  engineWait(engine: EngineHandle, timeoutNs: number): number
  engineClock(engine: EngineHandle): void
  /** How many packets were read; sets `frames`, `errors`, `exhausted`, `fault` (errno). `cut`: super-frames become packets. */
  engineRead(engine: EngineHandle, descriptor: number, frames: number, cut: boolean): number
  /** Frames of the TAP `from`, whose key `lane` is, go to the TAP `to` or the tunnel; inside `engineWait` if `direct`. */
  engineLane(engine: EngineHandle, lane: number, from: number, to: number, tunnel: number, direct: boolean): void
  /** Sets `packets`, `octets`, `errors` of what passed directly. */
  engineLaneCounters(engine: EngineHandle, lane: number): void
  /** Writes and frees the first `count` of `outgoing`; sets `packets`, `octets`, `errors`. */
  engineWrite(engine: EngineHandle, descriptor: number, count: number): void
  engineFree(engine: EngineHandle, slot: number): void
  /** A slot with the same packet, or -1. */
  engineCopy(engine: EngineHandle, slot: number): number
  engineFlip(engine: EngineHandle, slot: number, bit: number): void
  eventOpen(): number
  eventSignal(event: number): void

  // segment.cc
  /** The packets of a frame with a virtio-net header; none when the header is wrong. */
  segmentFrame(frame: Uint8Array, complete: boolean): ReadonlyArray<Uint8Array>

  // train.cc
  /** One frame of as many of the first packets as may go together, and how many these are. `closed`: without virtio-net headers. */
  joinPackets(packets: ReadonlyArray<Uint8Array>, closed?: boolean): readonly [Uint8Array, number]

  // encapsulation.cc
  /**
   * `[verdict, VNI, offset of the frame, octets of options, 1 if some of them are passed over]` for who knows the options `known`;
   * the verdict is -1 or an index of `refusalReasons`.
   */
  openTunnelPacket(encapsulation: number, packet: Uint8Array, known: Uint8Array): readonly [number, number, number, number, number]

  // tunnel.cc
  /** The number of a new tunnel. `remote`, `local`: octets of addresses, `local` may be empty. `options`: as in Geneve's header. */
  tunnelOpen(
    engine: EngineHandle,
    underlay: number,
    tap: number,
    encapsulation: number,
    port: number,
    vni: number,
    remote: Uint8Array,
    local: Uint8Array,
    /** Somebody else receives on the port. */
    sendOnly: boolean,
    options: Uint8Array
  ): number
  tunnelClose(engine: EngineHandle, tunnel: number): void
  /** Sends and frees the first `count` of `outgoing`; sets `packets`, `octets`, `errors`, `exhausted`. */
  tunnelWrite(engine: EngineHandle, tunnel: number, count: number): void
  tunnelCounters(engine: EngineHandle, tunnel: number, target: Float64Array): void
  tunnelRefusals(engine: EngineHandle, target: Float64Array): void

  // probe.cc
  probesOpen(): ProbesHandle
  probesClose(probes: ProbesHandle): void
  /**
   * What it is known by, and its port. `path`: of the namespace, also when that is made anew. `address` of zeros: all of the family. `port`
   * 0: a free one. `kind` 0: sends back datagrams, 1: what comes over TCP, 2: takes what comes over TCP.
   */
  probeRespond(probes: ProbesHandle, path: string, address: Uint8Array, port: number, kind: number): readonly [id: number, port: number]
  /**
   * `settings`: kind (`ProbeKind`), port, ifindex for link-local addresses, spacing and timeout in ns, octets behind the header, octets
   * in a second at most. `source`: address to send from. `request`: of HTTP, a question of DNS. `expected`: an octet for each HTTP
   * status, 1 when it is fine; or data of a DNS record.
   */
  probeFlow(
    probes: ProbesHandle,
    path: string,
    address: Uint8Array,
    settings: Float64Array,
    source: Uint8Array | null,
    request: Uint8Array | null,
    expected: Uint8Array | null
  ): number
  /** Ends a flow or a responder. */
  probeEnd(probes: ProbesHandle, id: number): void
  /** Takes what has changed since the last call, and samples as [at ns, value, at ns, value, ...]. */
  probeNotes(probes: ProbesHandle, id: number): readonly [notes: ReadonlyArray<ProbeNote>, samples: ReadonlyArray<number>]
  /**
   * How many outages, from number `from` on, were copied: `[startNs, endNs or 0, lost]` each; -1: no such flow.
   * `counters` by `ProbeCounter`.
   */
  probeRead(
    probes: ProbesHandle,
    flow: number,
    counters: Float64Array,
    histogram: Uint32Array,
    outages: Float64Array,
    from: number
  ): number

  // path_probe.cc: addresses are 4 or 16 octets
  /** A connected UDP socket whose packets are never fragmented. */
  pathOpen(netns: number, address: Uint8Array, port: number): number
  /** Octets sent or a negative errno. `hops` 0: as many as usual. */
  pathSend(descriptor: number, hops: number, packet: Uint8Array): number
  /**
   * Octets in `target` or a negative errno. `numbers`: 0 answer, 1 ICMP, 2 from this kernel; ICMP type, code, errno, MTU, length
   * of the `address` it came from.
   */
  pathReceive(descriptor: number, target: Uint8Array, numbers: Int32Array, address: Uint8Array): number
  /** A bound TCP socket, for a server. */
  doorOpen(netns: number, any: Uint8Array, port: number): number

  // bfd.cc: sockets are closed by `bfdClose`, or with the engine
  bfdListen(engine: EngineHandle, netns: number, v6: boolean, port: number): number
  /** `[descriptor, ifindex]`; `local` and `ifname` may be empty. `start`: where the search for a source port begins. */
  bfdOpen(
    engine: EngineHandle,
    netns: number,
    ifname: string,
    local: Uint8Array,
    v6: boolean,
    start: number
  ): readonly [number, number]
  bfdClose(engine: EngineHandle, descriptor: number): void
  bfdAddress(octets: Uint8Array, port: number, scope: number): Uint8Array
  /** 0, or a positive errno. */
  bfdSend(descriptor: number, packet: Uint8Array, address: Uint8Array): number
  /** How many packets were received: in `packets`, `BfdPacket.octets` each, and three `fields`: length, TTL (-1: unknown), interface. */
  bfdReceive(descriptor: number, packets: Uint8Array, fields: Int32Array): number

  // bpf.cc
  /** The descriptor of the program; a map in `names` is taken from `descriptors`. The error has a `log`. */
  bpfLoad(path: string, program: string, names: ReadonlyArray<string>, descriptors: Int32Array): number
  /** A descriptor, or -1 when there is none with this id. */
  bpfProgramOpen(id: number): number
  bpfProgramInfo(program: number): BpfProgramInfo
  /** A descriptor, or -1 when there is none with this id. */
  bpfMapOpen(id: number): number
  bpfMapInfo(map: number): BpfMapInfo
  bpfUpdate(map: number, keys: Uint8Array, values: Uint8Array, count: number): void
  bpfDelete(map: number, keys: Uint8Array, count: number): void
  /** Zeros for a key that is not there. */
  bpfLookup(map: number, keys: Uint8Array, count: number, valueLength: number): Uint8Array
  /** `[keys, values]` of a hash map. */
  bpfDump(map: number, keyLength: number, valueLength: number, maxEntries: number): readonly [Uint8Array, Uint8Array]
  /** How many values one of a per-CPU map has. */
  bpfCpus(): number
  bpfTestRun(program: number, netns: number, ifindex: number, frame: Uint8Array, repeat: number): BpfTestResult
}

export const addon: Addon = createRequire(import.meta.url)("../../.weft/native/weft.node") as Addon

export const isNativeError = (error: unknown): error is NativeError =>
  error instanceof Error && "syscall" in error && "errno" in error && "code" in error
