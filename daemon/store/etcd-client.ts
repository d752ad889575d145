/**
 * Calls to etcd's API v3 over several members as if they were one.
 *
 * Each member has a channel of its own. A call goes to the member that answered last; when that cannot be reached, has no
 * leader or is silent for `attemptMs`, the next one gets it, until the deadline of the call is over. So a call may reach
 * etcd twice, and a member that was frozen may carry it out much later: every write that is sent through here must be a
 * transaction whose conditions make the second time do nothing.
 *
 * Why not the package etcd3: docs/adr/0011.
 */
import { isIP } from "node:net"
import { checkServerIdentity, type PeerCertificate } from "node:tls"
import { fileURLToPath } from "node:url"
import * as grpc from "@grpc/grpc-js"
import * as protoLoader from "@grpc/proto-loader"

const protoPath = fileURLToPath(new URL("../../proto/etcd/rpc.proto", import.meta.url))
const definition = protoLoader.loadSync(protoPath, { keepCase: false, longs: String, enums: String, defaults: true, oneofs: true })

/** Revisions and leases are 64 bits: text, as everywhere here. */
export interface KeyValue {
  readonly key: Buffer
  readonly value: Buffer
  readonly createRevision: string
  readonly modRevision: string
}

export interface RangeResponse {
  readonly header: { readonly revision: string }
  readonly kvs: ReadonlyArray<KeyValue>
}

/** A condition, an operation: plain objects in the shape of proto/etcd/rpc.proto. */
export type Compare = Readonly<Record<string, unknown>>
export type Operation = Readonly<Record<string, unknown>>

export interface TxnResponse {
  readonly header: { readonly revision: string }
  readonly succeeded: boolean
  readonly responses: ReadonlyArray<{ readonly responseRange?: RangeResponse }>
}

export interface WatchResponse {
  readonly header: { readonly revision: string }
  readonly created: boolean
  readonly canceled: boolean
  readonly compactRevision: string
  readonly cancelReason: string
  readonly fragment: boolean
  readonly events: ReadonlyArray<{ readonly type: "PUT" | "DELETE"; readonly kv: KeyValue }>
}

export type WatchStream = grpc.ClientDuplexStream<object, WatchResponse>

export interface Tls {
  readonly ca: Buffer
  readonly cert: Buffer
  readonly key: Buffer
}

/** etcd could not be asked, or did not do it. `lost`: whether it did is not known. */
export class EtcdError extends Error {
  override readonly name = "EtcdError"
  readonly lost: boolean
  constructor(message: string, lost: boolean, cause?: unknown) {
    super(message, { cause })
    this.lost = lost
  }
}

/** One call, all its attempts together. */
const callMs = 5000
/** After it, another member is asked. Elections take about a second, so one member alone is asked again. */
const attemptMs = 1500
const maxMessageOctets = 256 << 20

const channelOptions: grpc.ChannelOptions = {
  "grpc.max_receive_message_length": maxMessageOctets,
  "grpc.max_send_message_length": maxMessageOctets,
  "grpc.initial_reconnect_backoff_ms": 100,
  "grpc.min_reconnect_backoff_ms": 100,
  "grpc.max_reconnect_backoff_ms": 1500,
  // etcd hangs up on who asks more often than every 5 s.
  "grpc.keepalive_time_ms": 10_000,
  "grpc.keepalive_timeout_ms": 3000,
  // A proxy in the environment is for the outside world.
  "grpc.enable_http_proxy": 0,
  // A closed client leaves no connections to others.
  "grpc.use_local_subchannel_pool": 1
}

/** What the next member, or the same one a little later, may well do. */
const isPassing = ({ code, details }: grpc.ServiceError): boolean =>
  code === grpc.status.UNAVAILABLE || code === grpc.status.DEADLINE_EXCEEDED || code === grpc.status.CANCELLED
  || code === grpc.status.ABORTED || code === grpc.status.INTERNAL
  // What etcd itself has no code for: "raft proposal dropped" while there is no leader, "raft: stopped" at its end.
  || code === grpc.status.UNKNOWN
  || (code === grpc.status.RESOURCE_EXHAUSTED && details.includes("too many requests"))

const sleep = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms))

/** Where a member is. `host`: what its certificate must be for; undefined: no TLS. */
interface Target {
  readonly address: string
  readonly host: string | undefined
}

/** `http://10.0.0.1:2379` or `unix:PATH` to what grpc-js resolves. @throws Error that says what is wrong */
const targetOf = (endpoint: string): Target => {
  if (endpoint.startsWith("unix:/")) return { address: endpoint, host: undefined }
  const url = URL.canParse(endpoint) ? new URL(endpoint) : undefined
  if (url === undefined || !["http:", "https:"].includes(url.protocol) || url.hostname === "" || url.pathname !== "/") {
    throw new Error(`Bad address of etcd "${endpoint}": it needs http://ADDR:PORT or https://ADDR:PORT, such as https://10.0.0.1:2379`)
  }
  const secure = url.protocol === "https:"
  const usualPort = secure ? 443 : 80
  const host = url.hostname.replace(/^\[(.*)\]$/, "$1")
  return { address: `dns:${url.hostname}:${url.port === "" ? usualPort : url.port}`, host: secure ? host : undefined }
}

/** @throws Error when TLS is needed and there is none */
const connectTo = (endpoint: string, tls: Tls | undefined): grpc.Client => {
  const { address, host } = targetOf(endpoint)
  if (host === undefined) return new grpc.Client(address, grpc.credentials.createInsecure(), channelOptions)
  if (tls === undefined) {
    throw new Error(`Cannot use etcd at ${endpoint}: TLS needs certificates. Name them with --etcd-ca, --etcd-cert and --etcd-key`)
  }
  const verify = { checkServerIdentity: (_: string, certificate: PeerCertificate) => checkServerIdentity(host, certificate) }
  // RFC 6066 3: the name that a client asks for is never an address, and Node warns of it.
  const options = isIP(host) === 0 ? channelOptions : { ...channelOptions, "grpc.ssl_target_name_override": "etcd" }
  return new grpc.Client(address, grpc.credentials.createSsl(tls.ca, tls.key, tls.cert, verify), options)
}

export class EtcdClient {
  readonly #members: ReadonlyArray<grpc.Client>
  readonly #endpoints: string
  /** Why an attempt failed last. */
  #failure = "no connection yet"
  /** Index of the member that is asked first. */
  #current = 0
  #closed = false

  /** Connects with the first call. @throws Error when an address is bad or needs TLS that is not there */
  constructor(endpoints: ReadonlyArray<string>, tls: Tls | undefined) {
    if (endpoints.length === 0) throw new Error("Cannot use etcd: no address of it is given")
    this.#endpoints = endpoints.join(", ")
    this.#members = endpoints.map((endpoint) => connectTo(endpoint, tls))
  }

  /** Who is silent, and why, as far as is known. */
  get silence(): string {
    return `no answer from ${this.#endpoints} (${this.#failure})`
  }

  /** Keys from `key` to before `end`; without `end`, one key. */
  range(what: string, request: { key: string; end?: string; keysOnly?: boolean; revision?: string }): Promise<RangeResponse> {
    const { key, end, keysOnly = false, revision = "0" } = request
    // An empty end is sent as such, and means: all keys from here on.
    const message = { key: Buffer.from(key), ...(end === undefined ? {} : { rangeEnd: Buffer.from(end) }), keysOnly, revision }
    return this.#call<RangeResponse>(what, "KV", "Range", message)
  }

  /** All of `success` if all of `compare` hold, else all of `failure`. */
  transaction(
    what: string,
    request: { compare: ReadonlyArray<Compare>; success: ReadonlyArray<Operation>; failure?: ReadonlyArray<Operation> }
  ): Promise<TxnResponse> {
    return this.#call<TxnResponse>(what, "KV", "Txn", request)
  }

  /** @returns the lease's id */
  async grant(what: string, ttlS: number): Promise<string> {
    return (await this.#call<{ ID: string }>(what, "Lease", "LeaseGrant", { TTL: ttlS })).ID
  }

  async revoke(what: string, lease: string): Promise<void> {
    await this.#call(what, "Lease", "LeaseRevoke", { ID: lease })
  }

  /** @returns false: there is no such lease any more */
  async keepAlive(what: string, lease: string): Promise<boolean> {
    const { TTL } = await this.#try<{ TTL: string }>(what, (member, options) => this.#ask(member, { ID: lease }, options))
    return Number(TTL) > 0
  }

  /** A stream to the member that answered last. It fails when that one loses touch with the others; then `abandon` it. */
  watch(): { readonly stream: WatchStream; readonly abandon: () => void } {
    const metadata = new grpc.Metadata()
    metadata.set("hasleader", "true")
    const { path, requestSerialize, responseDeserialize } = method("Watch", "Watch")
    const asked = this.#current
    const stream = this.#members[asked]!.makeBidiStreamRequest(path, requestSerialize, responseDeserialize, metadata)
    return { stream, abandon: () => this.#turnFrom(asked) }
  }

  /** The next call goes to another member than `asked` first. */
  #turnFrom(asked: number): void {
    if (asked === this.#current) this.#current = (this.#current + 1) % this.#members.length
  }

  /** Ends the calls under way, too. */
  close(): void {
    this.#closed = true
    for (const member of this.#members) member.close()
  }

  #call<Response>(what: string, service: string, name: string, request: object): Promise<Response> {
    const { path, requestSerialize, responseDeserialize } = method(service, name)
    return this.#try<Response>(what, (member, options) =>
      new Promise((resolve, reject) => {
        const done = (error: grpc.ServiceError | null, response?: Response): void => (error === null ? resolve(response!) : reject(error))
        member.makeUnaryRequest(path, requestSerialize, responseDeserialize, request, new grpc.Metadata(), options, done)
      })
    )
  }

  /** One question and one answer on a stream. */
  #ask<Response>(member: grpc.Client, request: object, options: grpc.CallOptions): Promise<Response> {
    const { path, requestSerialize, responseDeserialize } = method("Lease", "LeaseKeepAlive")
    return new Promise((resolve, reject) => {
      const metadata = new grpc.Metadata()
      const stream = member.makeBidiStreamRequest<object, Response>(path, requestSerialize, responseDeserialize, metadata, options)
      stream.once("data", (response: Response) => {
        resolve(response)
        stream.cancel()
      })
      stream.on("error", reject)
      stream.on("end", () => reject(Object.assign(new Error("no answer"), { code: grpc.status.UNAVAILABLE, details: "no answer" })))
      stream.write(request)
      stream.end()
    })
  }

  async #try<Response>(what: string, attempt: (member: grpc.Client, options: grpc.CallOptions) => Promise<Response>): Promise<Response> {
    const end = performance.now() + callMs
    let lost = false
    for (let count = 1; ; count++) {
      if (this.#closed) throw new EtcdError(`Cannot ${what}: the connection to etcd is closed`, lost)
      const asked = this.#current
      const leftMs = end - performance.now()
      try {
        return await attempt(this.#members[asked]!, { deadline: Date.now() + Math.min(leftMs, attemptMs) })
      } catch (cause) {
        const error = cause as grpc.ServiceError
        this.#failure = reasonOf(error)
        if (!isPassing(error)) throw refused(what, this.#endpoints, error, lost)
        lost ||= !isUnsent(error)
        this.#turnFrom(asked)
        // A round without success is followed by a pause, as long as a new connection may need.
        const pauseMs = count % this.#members.length === 0 ? 50 + Math.random() * 150 : 0
        if (performance.now() + pauseMs + 50 >= end || this.#closed) throw unreachable(what, this.#endpoints, error, lost)
        if (pauseMs > 0) await sleep(pauseMs)
      }
    }
  }
}

const method = (service: string, name: string): grpc.MethodDefinition<object, any> =>
  (definition[`etcdserverpb.${service}`] as grpc.ServiceDefinition)[name] as grpc.MethodDefinition<object, any>

/** No connection was there, so nothing of the request has left. */
const isUnsent = ({ code, details }: grpc.ServiceError): boolean =>
  code === grpc.status.UNAVAILABLE && /No connection established|Name resolution failed/.test(details)

/** grpc-js hides the reason in the middle: `No connection established. Last error: REASON. Resolution note: `. */
const reasonOf = ({ code, details, message }: grpc.ServiceError): string => {
  if (code === grpc.status.DEADLINE_EXCEEDED) return "no answer in time"
  const last = /Last error: (?:Error: )?(.*?)(?:\. Resolution note:.*)?$/s.exec(details ?? "")?.[1]
  const text = (last === undefined || last === "null" ? details || message : last).replaceAll(/\s+/g, " ").trim()
  // OpenSSL: `405D650F387F0000:error:0A000412:SSL routines:ssl3_read_bytes:ssl/tls alert bad certificate:../deps/...`
  return /:SSL routines:[^:]*:([^:]+):/.exec(text)?.[1] ?? text
}

const unreachable = (what: string, endpoints: string, error: grpc.ServiceError, lost: boolean): EtcdError => {
  const reason = reasonOf(error)
  const remedy = /certificate|TLS|SSL|alert/i.test(reason)
    ? "Certificates of both sides come from one authority, ours with --role daemon: see --etcd-ca, --etcd-cert and --etcd-key"
    : "See whether it runs: etcdctl --endpoints=URL endpoint health"
  return new EtcdError(`Cannot ${what}: etcd at ${endpoints} did not answer within ${callMs / 1000} s (${reason}). ${remedy}`, lost, error)
}

const refused = (what: string, endpoints: string, error: grpc.ServiceError, lost: boolean): EtcdError => {
  const reason = reasonOf(error)
  const remedy = error.code === grpc.status.RESOURCE_EXHAUSTED && reason.includes("space")
    ? ". It is full: compact and defragment it, then etcdctl alarm disarm"
    : /too large|larger than max/.test(reason)
      ? ". Start etcd with a higher --max-request-bytes (weftd --etcd new does)"
      : error.code === grpc.status.PERMISSION_DENIED || error.code === grpc.status.UNAUTHENTICATED || /user name|auth/.test(reason)
        ? ". weftd shows its certificate and no password: its common name must be a user of etcd with the right to read and write"
        : ""
  return new EtcdError(`Cannot ${what}: etcd at ${endpoints} refused: ${reason}${remedy}`, lost, error)
}
