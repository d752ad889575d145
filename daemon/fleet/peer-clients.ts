/**
 * The daemons of other hosts, asked over gRPC with mutual TLS: one connection for each host that is asked, kept while
 * its endpoint and our certificate stay the same.
 *
 *     const report = await peers.unary("h2", "Peers", "InspectPart", { lab })
 *     for await (const event of peers.stream("h2", "Peers", "Events", { lab, follow: true }, { signal })) ...
 *     const call = peers.duplex("h2", "Nodes", "Exec", { onBehalfOf })
 *
 * Every call says who forwards it (`weft-forwarded-by`) and for whom (`weft-on-behalf-of`). A daemon answers a forwarded
 * call itself or not at all, so none goes in circles (rpc/forward.ts). What goes wrong becomes a `PeerError` that names
 * the host, its endpoint, the reason and what to do.
 */
import { fileURLToPath } from "node:url"
import { createSecureContext } from "node:tls"
import * as grpc from "@grpc/grpc-js"
import * as protoLoader from "@grpc/proto-loader"
import { type Address, addressOf, diagnose, type Failure, type Material, type Peer } from "./peer-failure.ts"
import { notItsCertificate, notListening } from "./peer-failure.ts"

export const forwardedBy = "weft-forwarded-by"
export const onBehalfOf = "weft-on-behalf-of"

export type Service = "Labs" | "Nodes" | "Probes" | "Host" | "Peers"

export interface CallOptions {
  /** Who asked the daemon that asks now, for the other's log: printable ASCII. */
  readonly onBehalfOf?: string
  /** Unary calls: 10 s unless given. Streams: none unless given. */
  readonly deadlineMs?: number
  /** Cancels the call. */
  readonly signal?: AbortSignal
}

/** A call to another host failed. `code`: the far daemon's, or UNAVAILABLE when it could not be asked. */
export class PeerError extends Error {
  readonly code: grpc.status
  readonly host: string
  constructor(code: grpc.status, host: string, message: string) {
    super(message)
    this.code = code
    this.host = host
  }
}

export interface PeerClientsOptions {
  /** The hosts as they are registered now. */
  readonly hosts: () => ReadonlyArray<Peer>
  /** Read at every call: when its buffers are others than before, connections are made anew. */
  readonly material: Material
  /** Name of this host. */
  readonly self: string
}

const noneRevoked: ReadonlySet<string> = new Set()
const unaryDeadlineMs = 10_000

const channelOptions: grpc.ChannelOptions = {
  // RFC 6066 3: the name that TLS sends must not be an address. Nobody looks at it, so it is always this one.
  "grpc.ssl_target_name_override": "weftd",
  "grpc.max_receive_message_length": 64 << 20,
  "grpc.max_send_message_length": 64 << 20,
  "grpc-node.flow_control_window": 4 << 20,
  // A host that vanishes is noticed within 15 s, also by a command that only waits.
  "grpc.keepalive_time_ms": 10_000,
  "grpc.keepalive_timeout_ms": 5000,
  "grpc.initial_reconnect_backoff_ms": 200,
  "grpc.max_reconnect_backoff_ms": 2000,
  // Otherwise a new channel would wait for the back-off of the one that failed before it.
  "grpc.use_local_subchannel_pool": 1,
  "grpc.enable_http_proxy": 0,
  "grpc.service_config_disable_resolution": 1
}

type Callable = Readonly<Record<string, (...args: ReadonlyArray<unknown>) => unknown>>

interface Connection {
  readonly endpoint: string
  readonly material: Material
  readonly channel: grpc.Channel
  readonly clients: Readonly<Record<Service, grpc.Client>>
}

export class PeerClients {
  readonly #options: PeerClientsOptions
  readonly #connections = new Map<string, Connection>()
  #constructors: Readonly<Record<Service, grpc.ServiceClientConstructor>> | undefined

  constructor(options: PeerClientsOptions) {
    this.#options = options
  }

  /** gRPC clients of one host, for calls that the methods below do not fit. @throws PeerError when it cannot be asked */
  labs(host: string): grpc.Client {
    return this.#connection(host).clients.Labs
  }
  nodes(host: string): grpc.Client {
    return this.#connection(host).clients.Nodes
  }
  peers(host: string): grpc.Client {
    return this.#connection(host).clients.Peers
  }

  /** One request, one response. Rejects with PeerError. */
  async unary<Response>(host: string, service: Service, method: string, request: object, options: CallOptions = {}): Promise<Response> {
    const client = this.#connection(host).clients[service] as unknown as Callable
    const deadline = Date.now() + (options.deadlineMs ?? unaryDeadlineMs)
    const asked = new Promise<Response>((resolve, reject) => {
      const done = (error: grpc.ServiceError | null, response: Response): void => (error === null ? resolve(response) : reject(error))
      const call = client[method]!(request, this.metadata(options), { deadline }, done) as grpc.ClientUnaryCall
      options.signal?.addEventListener("abort", () => call.cancel(), { once: true })
      if (options.signal?.aborted === true) call.cancel()
    })
    try {
      return await asked
    } catch (error) {
      throw await this.explain(host, error)
    }
  }

  /** One request, then responses as they come, with back pressure. Leaving the loop cancels the call. Throws PeerError. */
  async *stream<Response>(
    host: string,
    service: Service,
    method: string,
    request: object,
    options: CallOptions = {}
  ): AsyncGenerator<Response, void, undefined> {
    const client = this.#connection(host).clients[service] as unknown as Callable
    const call = client[method]!(request, this.metadata(options), deadlineOf(options)) as grpc.ClientReadableStream<Response>
    // Whoever has left the loop does not want to hear how the call ended.
    call.on("error", () => {})
    const cancel = (): void => call.cancel()
    options.signal?.addEventListener("abort", cancel)
    if (options.signal?.aborted === true) cancel()
    try {
      for await (const message of call) yield message as Response
    } catch (error) {
      if (options.signal?.aborted === true) return
      throw await this.explain(host, error)
    } finally {
      options.signal?.removeEventListener("abort", cancel)
      call.cancel()
    }
  }

  /** Both directions. Its errors are gRPC's: pass them to `explain`. @throws PeerError when the host cannot be asked */
  duplex<Request, Response>(
    host: string,
    service: Service,
    method: string,
    options: CallOptions = {}
  ): grpc.ClientDuplexStream<Request, Response> {
    const client = this.#connection(host).clients[service] as unknown as Callable
    const call = client[method]!(this.metadata(options), deadlineOf(options)) as grpc.ClientDuplexStream<Request, Response>
    call.on("error", () => {})
    options.signal?.addEventListener("abort", () => call.cancel(), { once: true })
    if (options.signal?.aborted === true) call.cancel()
    return call
  }

  /** What every call carries. */
  metadata(options: Pick<CallOptions, "onBehalfOf">): grpc.Metadata {
    const metadata = new grpc.Metadata()
    metadata.set(forwardedBy, this.#options.self)
    if (options.onBehalfOf !== undefined) metadata.set(onBehalfOf, options.onBehalfOf)
    return metadata
  }

  /** A failed call in words; finds out why when the host could not be reached. */
  async explain(host: string, error: unknown): Promise<PeerError> {
    if (error instanceof PeerError) return error
    const { code = grpc.status.UNKNOWN, details, message } = error as Partial<grpc.ServiceError> & Error
    const said = details === undefined || details === "" ? message : details
    switch (isBroken(code, said) ? grpc.status.UNAVAILABLE : code) {
      case grpc.status.UNAVAILABLE: {
        const peer = this.#find(host)
        const failure = peer === undefined ? undefined : await diagnose(peer, this.#options.material)
        const broke = { reason: `the connection broke (${said})`, remedy: "It answers again by now" }
        return unreachable(host, peer?.endpoint ?? "", failure ?? broke)
      }
      case grpc.status.DEADLINE_EXCEEDED:
        return new PeerError(code, host, late(host, this.#find(host)?.endpoint))
      case grpc.status.UNAUTHENTICATED:
      case grpc.status.PERMISSION_DENIED:
        return new PeerError(grpc.status.FAILED_PRECONDITION, host, `Host "${host}" refuses this daemon's call: ${said}`)
      case grpc.status.UNIMPLEMENTED:
        return new PeerError(code, host, `The weftd of host "${host}" does not know this call: is it older than this one? (${said})`)
      default:
        return new PeerError(code, host, said)
    }
  }

  /** Ends all connections; calls under way fail. */
  close(): void {
    for (const { channel } of this.#connections.values()) channel.close()
    this.#connections.clear()
  }

  #find(host: string): Peer | undefined {
    return this.#options.hosts().find(({ name }) => name === host)
  }

  #connection(host: string): Connection {
    const peer = this.#find(host)
    if (peer === undefined) {
      this.#forget(host)
      throw new PeerError(grpc.status.UNAVAILABLE, host, `Cannot reach host "${host}": no such host is registered. See: weft hosts`)
    }
    const { material } = this.#options
    const known = this.#connections.get(host)
    // A channel that has failed would wait before it tries again; a new one tries at once.
    const failed = known?.channel.getConnectivityState(false) === grpc.connectivityState.TRANSIENT_FAILURE
    if (known !== undefined && !failed && known.endpoint === peer.endpoint && isSame(known.material, material)) return known
    this.#forget(host)
    const made = this.#connect(peer)
    this.#connections.set(host, made)
    return made
  }

  /** Calls under way on the old connection go on. */
  #forget(host: string): void {
    this.#connections.get(host)?.channel.close()
    this.#connections.delete(host)
  }

  #connect(peer: Peer): Connection {
    const address = addressOf(peer.endpoint)
    if (address === undefined) throw unreachable(peer.name, peer.endpoint, notListening(peer))
    const { ca, cert, key, revoked = noneRevoked } = this.#options.material
    const material = { ca, cert, key, revoked }
    const credentials = credentialsFor(peer, address, material)
    const target = `dns:${peer.endpoint}`
    const channel = new grpc.Channel(target, credentials, channelOptions)
    const client = (service: Service): grpc.Client => new this.#services[service](target, credentials, { channelOverride: channel })
    const clients = { Labs: client("Labs"), Nodes: client("Nodes"), Probes: client("Probes"), Host: client("Host"), Peers: client("Peers") }
    return { endpoint: peer.endpoint, material, channel, clients }
  }

  get #services(): Readonly<Record<Service, grpc.ServiceClientConstructor>> {
    this.#constructors ??= loadServices()
    return this.#constructors
  }
}

/** A daemon that dies or ends may reset its streams before it closes the connection: then gRPC has other names for it. */
const isBroken = (code: grpc.status, details: string): boolean =>
  code === grpc.status.CANCELLED || (code === grpc.status.INTERNAL && /RST_STREAM|without gRPC status/.test(details))

const loadServices = (): Readonly<Record<Service, grpc.ServiceClientConstructor>> => {
  const file = fileURLToPath(new URL("../../proto/weft/v1/weft.proto", import.meta.url))
  // As in rpc/server.ts, so that a forwarded message is the same on its way in and on its way out.
  const definition = protoLoader.loadSync(file, { keepCase: false, longs: Number, enums: String, defaults: true, oneofs: true })
  const root = grpc.loadPackageDefinition(definition) as unknown as {
    readonly weft: { readonly v1: Readonly<Record<Service, grpc.ServiceClientConstructor>> }
  }
  return root.weft.v1
}

const credentialsFor = (peer: Peer, address: Address, { ca, cert, key, revoked }: Material): grpc.ChannelCredentials =>
  grpc.credentials.createFromSecureContext(createSecureContext({ ca, cert, key, minVersion: "TLSv1.3" }), {
    // grpc-js would compare with the name override instead.
    checkServerIdentity: (_, certificate) => notItsCertificate(peer, address, certificate, revoked)
  })

const deadlineOf = ({ deadlineMs }: CallOptions): grpc.CallOptions =>
  deadlineMs === undefined ? {} : { deadline: Date.now() + deadlineMs }

const isSame = (a: Material, b: Material): boolean =>
  a.ca === b.ca && a.cert === b.cert && a.key === b.key && (a.revoked ?? noneRevoked) === (b.revoked ?? noneRevoked)

const late = (host: string, endpoint = ""): string =>
  `The weftd of host "${host}"${endpoint === "" ? "" : ` at ${endpoint}`} did not answer in time: the host is down, busy, or nothing comes `
  + "through to it. weft hosts says whether it is lost; ping its address to try the way there"

const unreachable = (host: string, endpoint: string, { reason, remedy }: Failure): PeerError => {
  const where = endpoint === "" ? "" : ` at ${endpoint}`
  return new PeerError(grpc.status.UNAVAILABLE, host, `Cannot reach the weftd of host "${host}"${where}: ${reason}. ${remedy}`)
}
