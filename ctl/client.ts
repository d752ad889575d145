/**
 * The daemon as promises and async iterables. gRPC is loaded only when a daemon really listens, so that commands which
 * find none fail at once and with the operating system's reason.
 */

import { connect as connectSocket } from "node:net"
import { fileURLToPath } from "node:url"
import type * as Grpc from "@grpc/grpc-js"
import { Exit, Failure, NotFound } from "./command.ts"
import { parseEndpoint } from "./endpoint.ts"
import type { Fault as InForce } from "./fault.ts"
import type * as Fault from "./fault-messages.ts"
import type * as Flow from "./flow-messages.ts"
import type * as Message from "./messages.ts"
import { lackHere, rightsAdvice, sentence } from "./rights.ts"
import type * as Rehearsal from "./rehearsal/messages.ts"
import type * as Scenario from "./scenario-messages.ts"

export const defaultAddress = "unix:/run/weft/weftd.sock"

/** One command in a node: write requests, iterate responses. */
export interface ExecCall extends AsyncIterable<Message.ExecResponse> {
  /** Resolves when the transport took the message: await it, and a slow command slows the writer. */
  readonly send: (request: Message.ExecRequest) => Promise<void>
  /** Hangs up; the daemon ends the command. */
  readonly cancel: () => void
}

/** A capture: iterate responses; `stop` ends it in an orderly way, with the last packets and statistics. */
export interface CaptureCall extends AsyncIterable<Message.CaptureResponse> {
  readonly stop: () => void
  /** Ends it at once. */
  readonly cancel: () => void
}

/** A run of a suite: iterate events. */
export interface CheckCall extends AsyncIterable<Message.CheckEvent> {
  readonly cancel: () => void
}

export interface Client {
  readonly address: string
  readonly validate: (topology: Message.Topology) => Promise<Message.ValidateResponse>
  readonly plan: (topology: Message.Topology) => Promise<Message.PlanResponse>
  readonly deploy: (topology: Message.Topology, rollback: boolean) => AsyncIterable<Message.Progress>
  readonly destroy: (lab: string) => AsyncIterable<Message.Progress>
  readonly list: () => Promise<ReadonlyArray<Message.LabSummary>>
  /** With the reason why the list may be old. */
  readonly listAll: () => Promise<Message.ListResponse>
  readonly inspect: (lab: string) => Promise<Message.InspectResponse>
  readonly events: (request: { lab: string; follow: boolean; last: number }) => AsyncIterable<Message.Event>
  readonly exec: () => ExecCall
  readonly capture: (start: Message.CaptureStart) => CaptureCall
  /** Reports until the caller leaves its loop. */
  readonly flow: (request: Flow.FlowRequest) => AsyncIterable<Flow.FlowReports>
  readonly check: (request: Message.CheckRequest) => CheckCall
  readonly scenario: (start: Scenario.ScenarioStart) => Scenario.ScenarioCall
  readonly rehearse: (start: Rehearsal.RehearsalStart) => Rehearsal.RehearsalCall
  readonly faultKinds: () => Promise<ReadonlyArray<Fault.FaultKind>>
  readonly inject: (request: Fault.InjectRequest) => Promise<Fault.FaultsChanged>
  readonly heal: (request: Fault.HealRequest) => Promise<Fault.FaultsChanged>
  /** `lab` empty: of all. */
  readonly faults: (lab: string) => Promise<ReadonlyArray<InForce>>
  readonly reach: (request: Message.ReachRequest) => AsyncIterable<Message.ReachResult>
  readonly routes: (request: Message.RoutesRequest) => AsyncIterable<{ readonly routes: ReadonlyArray<Message.KernelRoute> }>
  readonly bfd: (node: string) => Promise<Message.BfdResponse>
  readonly bgp: (node: string) => Promise<Message.BgpSpeaker>
  readonly bgpRoutes: (request: Message.BgpRoutesRequest) => AsyncIterable<Message.BgpRoutesPage>
  /** With `updates`: pieces, some of them empty, until the caller leaves its loop. */
  readonly bgpDump: (request: Message.BgpDumpRequest) => AsyncIterable<{ readonly mrt: Uint8Array }>
  readonly bgpReset: (request: Message.BgpResetRequest) => Promise<{ readonly neighbors: number }>
  readonly hosts: () => Promise<Message.HostsResponse>
  readonly evpn: (lab: string) => Promise<Message.EvpnResponse>
  readonly drain: (request: { host: string; undo: boolean; forget: boolean }) => AsyncIterable<Message.Progress>
  readonly version: () => Promise<Message.VersionResponse>
  readonly doctor: () => Promise<ReadonlyArray<Message.Finding>>
  readonly close: () => void
}

/**
 * Connects to a daemon.
 *
 * @param address `unix:PATH`, or `HOST:PORT` for TLS with the certificates of `remote.ts`
 * @throws {Failure} exit 3 when nobody answers there, with what was tried and what to do; exit 2 for another kind of address
 */
export const connect = async (address: string): Promise<Client> => {
  const { credentials, grpc, options, proto, target } = await channelTo(address)
  const labs = new proto.Labs(target, credentials, options)
  const nodes = new proto.Nodes(target, credentials, options)
  const probes = new proto.Probes(target, credentials, options)
  const checks = new proto.Checks(target, credentials, options)
  const scenarios = new proto.Scenarios(target, credentials, options)
  const rehearsals = new proto.Rehearsals(target, credentials, options)
  const faults = new proto.Faults(target, credentials, options)
  const host = new proto.Host(target, credentials, options)

  return {
    address,
    validate: (topology) => unary<Message.ValidateResponse>(labs, "Validate", { topology }),
    plan: (topology) => unary<Message.PlanResponse>(labs, "Plan", { topology }),
    deploy: (topology, rollback) => streamed<Message.Progress>(labs, "Deploy", { topology, rollback }),
    destroy: (lab) => streamed<Message.Progress>(labs, "Destroy", { lab }),
    list: async () => (await unary<{ labs: ReadonlyArray<Message.LabSummary> }>(labs, "List", {})).labs,
    listAll: () => unary<Message.ListResponse>(labs, "List", {}),
    inspect: (lab) => unary<Message.InspectResponse>(labs, "Inspect", { lab }),
    events: (request) => streamed<Message.Event>(labs, "Events", request),
    exec: () => execCall(nodes),
    capture: (start) => captureCall(nodes, start),
    flow: (request) => streamed<Flow.FlowReports>(probes, "Flow", request),
    check: (request) => checkCall(checks, request),
    scenario: (start) => scenarioCall(scenarios, start),
    rehearse: (start) => rehearsalCall(rehearsals, start),
    faultKinds: async () => (await unary<{ kinds: ReadonlyArray<Fault.FaultKind> }>(faults, "Kinds", {})).kinds,
    inject: (request) => unary<Fault.FaultsChanged>(faults, "Inject", request),
    heal: (request) => unary<Fault.FaultsChanged>(faults, "Heal", request),
    faults: async (lab) => (await unary<{ faults: ReadonlyArray<InForce> }>(faults, "List", { lab })).faults,
    reach: (request) => streamed<Message.ReachResult>(nodes, "Reach", request),
    routes: (request) => streamed<{ routes: ReadonlyArray<Message.KernelRoute> }>(nodes, "Routes", request),
    bfd: (node) => unary<Message.BfdResponse>(nodes, "Bfd", { node }),
    bgp: (node) => unary<Message.BgpSpeaker>(nodes, "Bgp", { node }),
    bgpRoutes: (request) => streamed<Message.BgpRoutesPage>(nodes, "BgpRoutes", request),
    bgpDump: (request) => streamed<{ mrt: Uint8Array }>(nodes, "BgpDump", request),
    bgpReset: (request) => unary<{ neighbors: number }>(nodes, "BgpReset", request),
    hosts: () => unary<Message.HostsResponse>(host, "Hosts", {}),
    evpn: (lab) => unary<Message.EvpnResponse>(host, "Evpn", { lab }),
    drain: (request) => streamed<Message.Progress>(host, "Drain", request),
    version: () => unary<Message.VersionResponse>(host, "Version", {}),
    doctor: async () => (await unary<{ findings: ReadonlyArray<Message.Finding> }>(host, "Doctor", {})).findings,
    close: () => {
      labs.close()
      nodes.close()
      probes.close()
      checks.close()
      scenarios.close()
      rehearsals.close()
      faults.close()
      host.close()
    }
  }
}

interface Channel extends Loaded {
  readonly target: string
  readonly credentials: Grpc.ChannelCredentials
  readonly options: Grpc.ChannelOptions
}

/** Makes sure that a daemon answers at the address, and says how gRPC is to talk to it. */
const channelTo = async (address: string): Promise<Channel> => {
  // An inspection of a thousand nodes is some megabytes; gRPC's own limit is 4.
  // HTTP/2 lets 64 KiB be under way unless told otherwise: captures and streams of exec would wait for round trips.
  const limits = {
    "grpc.max_receive_message_length": 64 << 20,
    "grpc.max_send_message_length": 32 << 20,
    "grpc-node.flow_control_window": 4 << 20
  }
  const endpoint = parseEndpoint(address)
  if (endpoint === undefined) {
    const socketPath = pathOf(address)
    await knock(socketPath, address)
    const loaded = await loadProto()
    return { ...loaded, target: `unix:${socketPath}`, credentials: loaded.grpc.credentials.createInsecure(), options: limits }
  }
  const remote = await import("./remote.ts")
  const identity = remote.readIdentity(remote.identityDirectory())
  await remote.knock(address, endpoint, identity)
  const loaded = await loadProto()
  return {
    ...loaded,
    target: `dns:${address}`,
    credentials: remote.credentialsFor(loaded.grpc, endpoint, identity),
    options: { ...limits, ...remote.channelOptions }
  }
}

/** Runs `use` with a client and closes it afterwards, whatever happens. */
export const withClient = async <A>(address: string, use: (client: Client) => Promise<A>): Promise<A> => {
  const client = await connect(address)
  try {
    return await use(client)
  } finally {
    client.close()
  }
}

/** The file system path of a `unix:PATH` address. */
export const pathOf = (address: string): string => {
  if (address.startsWith("unix:") && address.length > 5) return address.slice(5).replace(/^\/\/(?=\/)/, "")
  if (address.startsWith("/")) return address
  throw new Failure(
    Exit.usage,
    `Cannot use "${address}" as the daemon's address: it is unix:PATH or HOST:PORT`,
    "Examples: --daemon unix:/run/weft/weftd.sock, --daemon lab1.example.net:7443"
  )
}

/** Connects once without gRPC: a missing socket, a dead daemon and a lack of rights get their own advice. */
const knock = (path: string, address: string): Promise<void> =>
  new Promise((resolve, reject) => {
    const socket = connectSocket(path)
    socket.once("connect", () => {
      socket.destroy()
      resolve()
    })
    socket.once("error", (error: NodeJS.ErrnoException) => reject(unreachable(address, error.code ?? error.message)))
  })

/** The failure for a daemon that cannot be reached; `reason` is an errno name or a sentence. */
export const unreachable = (address: string, reason: string): Failure => {
  const message = `Cannot reach the daemon at ${address}: `
  const lack = reason === "ENOENT" || reason === "ECONNREFUSED" ? lackHere() : undefined
  if (lack !== undefined) {
    const what = reason === "ENOENT" ? "no such socket" : "nobody listens on the socket any more"
    const hint = `weftd cannot run here, this is ${lack}\n${sentence(rightsAdvice)}\nOr name another daemon with --daemon or WEFT_DAEMON.`
    return new Failure(Exit.unreachable, `${message}${what}`, hint)
  }
  switch (reason) {
    case "ENOENT":
      return new Failure(
        Exit.unreachable,
        `${message}no such socket`,
        "Start it with: sudo bin/weftd\nOr name another one with --daemon or WEFT_DAEMON. What this machine lacks: weft doctor"
      )
    case "ECONNREFUSED":
      return new Failure(
        Exit.unreachable,
        `${message}nobody listens on the socket any more`,
        "Start it with: sudo bin/weftd\nRunning labs go on without it and are adopted when it comes back."
      )
    case "EACCES":
    case "EPERM":
      return new Failure(
        Exit.unreachable,
        `${message}permission denied`,
        "The socket is for root and the group weft. Join it with: sudo usermod -aG weft $USER (then log in again)"
      )
    default:
      return new Failure(Exit.unreachable, `${message}${reason}`, "Start it with: sudo bin/weftd")
  }
}

type Service = "Labs" | "Nodes" | "Probes" | "Checks" | "Faults" | "Scenarios" | "Rehearsals" | "Host"

interface Loaded {
  readonly grpc: typeof Grpc
  readonly proto: Readonly<Record<Service, Grpc.ServiceClientConstructor>>
}

const loadProto = async (): Promise<Loaded> => {
  const [grpc, loader] = await Promise.all([import("@grpc/grpc-js"), import("@grpc/proto-loader")])
  const file = fileURLToPath(new URL("../proto/weft/v1/weft.proto", import.meta.url))
  const definition = await loader.load(file, { longs: Number, enums: String, defaults: true, oneofs: true })
  const root = grpc.loadPackageDefinition(definition) as unknown as { weft: { v1: Loaded["proto"] } }
  return { grpc, proto: root.weft.v1 }
}

type Callable = Readonly<Record<string, (...args: ReadonlyArray<unknown>) => unknown>>

const unary = <A>(client: Grpc.Client, method: string, request: object): Promise<A> =>
  new Promise((resolve, reject) => {
    const done = (error: Grpc.ServiceError | null, response: A): void =>
      error === null ? resolve(response) : reject(failureOf(error))
    ;(client as unknown as Callable)[method]!(request, done)
  })

async function* streamed<A>(client: Grpc.Client, method: string, request: object): AsyncGenerator<A, void, undefined> {
  const call = (client as unknown as Callable)[method]!(request) as Grpc.ClientReadableStream<A>
  try {
    for await (const message of call) yield message as A
  } catch (error) {
    throw failureOf(error as Grpc.ServiceError)
  } finally {
    call.cancel()
  }
}

const execCall = (client: Grpc.Client): ExecCall => {
  const call = (client as unknown as Callable)["Exec"]!() as Grpc.ClientDuplexStream<Message.ExecRequest, Message.ExecResponse>
  return {
    // The callback comes with an error when the call has ended meanwhile; the reader learns the reason.
    send: (request) => new Promise((resolve) => (call.writable ? call.write(request, () => resolve()) : resolve())),
    cancel: () => call.cancel(),
    async *[Symbol.asyncIterator]() {
      try {
        for await (const message of call) yield message as Message.ExecResponse
      } catch (error) {
        throw failureOf(error as Grpc.ServiceError)
      }
    }
  }
}

const checkCall = (client: Grpc.Client, request: Message.CheckRequest): CheckCall => {
  const call = (client as unknown as Callable)["Run"]!(request) as Grpc.ClientReadableStream<Message.CheckEvent>
  // Whoever cancels does not want to hear how it ended.
  call.on("error", () => {})
  return {
    cancel: () => call.cancel(),
    async *[Symbol.asyncIterator]() {
      try {
        for await (const message of call) yield message as Message.CheckEvent
      } catch (error) {
        throw failureOf(error as Grpc.ServiceError)
      } finally {
        call.cancel()
      }
    }
  }
}

const scenarioCall = (client: Grpc.Client, start: Scenario.ScenarioStart): Scenario.ScenarioCall => {
  const call = (client as unknown as Callable)["Run"]!() as Grpc.ClientDuplexStream<object, Scenario.ScenarioEvent>
  // Whoever cancels does not want to hear how it ended.
  call.on("error", () => {})
  call.write({ start })
  return {
    stop: () => void (call.writable && call.write({ stop: {} })),
    cancel: () => call.cancel(),
    async *[Symbol.asyncIterator]() {
      try {
        for await (const message of call) yield message as Scenario.ScenarioEvent
      } catch (error) {
        throw failureOf(error as Grpc.ServiceError)
      } finally {
        call.cancel()
      }
    }
  }
}

const rehearsalCall = (client: Grpc.Client, start: Rehearsal.RehearsalStart): Rehearsal.RehearsalCall => {
  const call = (client as unknown as Callable)["Run"]!() as Grpc.ClientDuplexStream<object, Rehearsal.RehearsalEvent>
  // Whoever cancels does not want to hear how it ended.
  call.on("error", () => {})
  const say = (request: Rehearsal.RehearsalRequest): void => void (call.writable && call.write(request))
  say({ start })
  return {
    proceed: () => say({ proceed: {} }),
    stop: () => say({ stop: {} }),
    cancel: () => call.cancel(),
    async *[Symbol.asyncIterator]() {
      try {
        for await (const message of call) yield message as Rehearsal.RehearsalEvent
      } catch (error) {
        throw failureOf(error as Grpc.ServiceError)
      } finally {
        call.cancel()
      }
    }
  }
}

const captureCall = (client: Grpc.Client, start: Message.CaptureStart): CaptureCall => {
  const call = (client as unknown as Callable)["Capture"]!() as Grpc.ClientDuplexStream<object, Message.CaptureResponse>
  call.write({ start })
  return {
    stop: () => void (call.writable && call.write({ stop: true })),
    cancel: () => call.cancel(),
    async *[Symbol.asyncIterator]() {
      try {
        for await (const message of call) yield message as Message.CaptureResponse
      } catch (error) {
        throw failureOf(error as Grpc.ServiceError)
      } finally {
        call.cancel()
      }
    }
  }
}

/** A gRPC status as what the user is told and the exit code. Numbers: google.rpc.Code. */
export const failureOf = (error: Partial<Grpc.ServiceError> & Error): Failure => {
  if (error instanceof Failure) return error
  const details = error.details === undefined || error.details === "" ? error.message : error.details
  switch (error.code as number | undefined) {
    case 3: // INVALID_ARGUMENT
      return new Failure(Exit.usage, details)
    case 5: // NOT_FOUND
      return new NotFound(details)
    case 7: // PERMISSION_DENIED
      return new Failure(Exit.failed, details, "An operator's certificate: weft pki issue NAME --role operator")
    case 12: // UNIMPLEMENTED
      return new Failure(
        Exit.failed,
        `The daemon does not know this call: ${details}`,
        "It may be older than this weft: compare with weft version."
      )
    case 14: // UNAVAILABLE
      // The one that was asked is there; it says which other one is not.
      if (details.startsWith("Cannot reach the weftd of host")) return new Failure(Exit.unreachable, details)
      // The daemon that was asked answers; the one of the node's host does not, and it has said what to do.
      if (details.startsWith("Cannot reach ")) return new Failure(Exit.unreachable, details)
      return new Failure(
        Exit.unreachable,
        `The daemon went away: ${details}`,
        "Running labs go on without it. Look at its log, then: sudo bin/weftd"
      )
    case 16: // UNAUTHENTICATED
      return new Failure(Exit.unreachable, details)
    default:
      return new Failure(Exit.failed, details)
  }
}
