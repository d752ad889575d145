/**
 * Answers what checks ask of the nodes of this host (checks/lab.ts), with real packets from inside the nodes.
 *
 *     question --> ping, dial, trace, pathMtu, lookUp (linux/)   made in the node's namespace, used from here
 *              --> doors (linux/doors.ts), flows (flows.ts)
 *              --> what is given: routes, BGP, BFD, commands
 *
 * A door is shared by all who ask for the same port at the same time; one that nobody shuts is shut after a while.
 */
import { request } from "node:http"
import type { Readable } from "node:stream"
import { whenSilentFor } from "../../timing/silence.ts"
import type { Answer, Asked, Questions } from "../checks/lab.ts"
import { dial, type Door, openDoor, socketOf } from "../linux/doors.ts"
import { ping } from "../linux/icmp.ts"
import { exchange, lookUp, pathMtu, trace } from "../linux/path.ts"
import { addon, isNativeError } from "../native/index.ts"
import type { TypeName } from "../wire/dns.ts"
import { Flows } from "./flows.ts"

/** A node of this host. */
export interface AskedNode {
  readonly lab: string
  readonly node: string
  readonly netnsPath: string
}

interface Running {
  readonly stdin: { readonly end: () => void }
  readonly stdout: Readable
  readonly stderr: Readable | undefined
  readonly exit: Promise<{ readonly code: number }>
  readonly hangUp: () => Promise<void>
}

/** What others know of the node. */
export interface AnswersDependencies {
  readonly routes: (node: AskedNode, question: Asked<"routes">) => Promise<Answer<"routes">>
  readonly bgp: (node: AskedNode) => Promise<Answer<"bgp">>
  readonly bgpRoutes: (node: AskedNode, question: Asked<"bgp-routes">) => Promise<Answer<"bgp-routes">>
  readonly bfd: (node: AskedNode) => Promise<Answer<"bfd">>
  readonly spawn: (node: AskedNode, argv: ReadonlyArray<string>) => Promise<Running>
}

type Handlers = { readonly [K in keyof Questions]: (node: AskedNode, question: Asked<K>) => Promise<Answer<K>> }

interface Opened {
  readonly port: number
  readonly seen: Door["seen"]
  readonly close: () => void | Promise<void>
}

interface Shared {
  readonly id: number
  readonly key: string
  readonly opening: Promise<Opened>
  users: number
  lease: NodeJS.Timeout
}

const leaseMs = 300_000
const lingerMs = 1000
const unreadMs = 60_000
const mostOutput = 1 << 20
const chunk = Buffer.alloc(64 << 10)

export class Answers {
  readonly #dependencies: AnswersDependencies
  readonly #doors = new Map<number, Shared>()
  readonly #byKey = new Map<string, Shared>()
  #flows: Flows | undefined
  /** Flows that last until they are ended, with what ends them when they are forgotten. */
  readonly #begun = new Map<number, NodeJS.Timeout>()
  #lastDoor = 0
  readonly #handlers: Handlers

  constructor(dependencies: AnswersDependencies) {
    this.#dependencies = dependencies
    const { bfd, bgp, bgpRoutes, routes } = dependencies
    this.#handlers = {
      ping: ({ netnsPath }, { address, timeoutMs }) => ping(netnsPath, address, timeoutMs),
      tcp,
      udp: ({ netnsPath }, { address, port, timeoutMs }) => exchange({ netnsPath, address, port, timeoutMs, packet: new Uint8Array(32) }),
      trace: ({ netnsPath }, { address, timeoutMs }) => trace(netnsPath, address, timeoutMs),
      pmtu: ({ netnsPath }, { address, timeoutMs }) => pathMtu(netnsPath, address, timeoutMs),
      http,
      dns: ({ netnsPath }, { address, name, timeoutMs, type }) => lookUp(netnsPath, address, { name, type: type as TypeName }, timeoutMs),
      routes,
      bgp,
      "bgp-routes": bgpRoutes,
      bfd,
      exec: (node, question) => this.#exec(node, question),
      flow: (node, question) => this.#flow(node, question),
      "flow-begin": async (node, question) => this.#beginFlow(node, question),
      "flow-read": async (_, { id }) => this.#readFlow(id),
      "flow-end": async (_, { id }) => this.#endFlow(id),
      flood,
      open: (node, question) => this.#open(node, question),
      seen: async (_, { id, timeoutMs, token }) => (await (await this.#door(id)).seen(token, timeoutMs)) ?? null,
      shut: async (_, { id }) => this.#shut(id)
    }
  }

  /** Rejects when the node is not there (any more), or what is asked for cannot be tried. */
  answer<K extends keyof Questions>(node: AskedNode, what: K, question: Asked<K>): Promise<Answer<K>> {
    const handler = this.#handlers[what]
    if (handler === undefined) return Promise.reject(new Error(`Cannot ask a node for "${String(what)}"`))
    return handler(node, question)
  }

  async close(): Promise<void> {
    await Promise.all([...this.#doors.values()].map((door) => this.#remove(door)))
    for (const id of [...this.#begun.keys()]) this.#endFlow(id)
    this.#flows?.close()
  }

  async #door(id: number): Promise<Opened> {
    const door = this.#doors.get(id)
    if (door === undefined) throw new Error("the port that was opened for the check is shut again")
    return door.opening
  }

  async #open({ netnsPath }: AskedNode, { ipv6, port, protocol }: Asked<"open">): Promise<Answer<"open">> {
    const key = `${netnsPath} ${protocol} ${port === 0 ? `any ${++this.#lastDoor}` : port} ${ipv6}`
    let door = this.#byKey.get(key)
    if (door === undefined) {
      const opening = protocol === "tcp" ? openDoor(netnsPath, ipv6 ? "ipv6" : "ipv4", port) : this.#respond(netnsPath, ipv6, port)
      const made: Shared =
        { id: ++this.#lastDoor, key, opening, users: 0, lease: setTimeout(() => void this.#remove(made), leaseMs).unref() }
      door = made
      this.#byKey.set(key, door)
      this.#doors.set(door.id, door)
    }
    door.users++
    try {
      return { id: door.id, port: (await door.opening).port, own: true }
    } catch (error) {
      await this.#remove(door)
      if (isNativeError(error) && error.code === "EADDRINUSE") return { id: 0, port, own: false }
      throw error
    }
  }

  async #respond(netnsPath: string, ipv6: boolean, port: number): Promise<Opened> {
    this.#flows ??= Flows.start()
    const flows = this.#flows
    const responder = flows.respond(netnsPath, ipv6 ? "::" : "0.0.0.0", port)
    return { port: responder.port, seen: () => Promise.resolve(undefined), close: () => flows.silence(responder) }
  }

  async #shut(id: number): Promise<null> {
    const door = this.#doors.get(id)
    if (door !== undefined && --door.users <= 0) await this.#remove(door)
    return null
  }

  async #remove(door: Shared): Promise<void> {
    clearTimeout(door.lease)
    if (!this.#doors.delete(door.id)) return
    this.#byKey.delete(door.key)
    const opened = await door.opening.catch(() => undefined)
    await opened?.close()
  }

  async #flow({ netnsPath }: AskedNode, { address, forMs, port, spacingMs, timeoutMs }: Asked<"flow">): Promise<Answer<"flow">> {
    this.#flows ??= Flows.start()
    const flow = this.#flows.add({ netnsPath, address, port, spacingMs, timeoutMs })
    try {
      // What is under way at the end is neither lost nor received: so long as one may take, more are sent.
      await new Promise((resolve) => setTimeout(resolve, forMs + timeoutMs))
      const { latency, lost, received, unsent } = this.#flows.read(flow)
      return { sent: lost + received, received, lost, unsent, latency }
    } finally {
      this.#flows.end(flow)
    }
  }

  #beginFlow({ netnsPath }: AskedNode, { address, port, spacingMs, timeoutMs }: Asked<"flow-begin">): Answer<"flow-begin"> {
    this.#flows ??= Flows.start()
    const id = this.#flows.add({ netnsPath, address, port, spacingMs, timeoutMs })
    this.#begun.set(id, setTimeout(() => this.#endFlow(id), unreadMs).unref())
    return { id }
  }

  #readFlow(id: number): Answer<"flow-read"> {
    const timer = this.#begun.get(id)
    if (timer === undefined || this.#flows === undefined) throw new Error("the probes have ended: nobody had read them for a minute")
    timer.refresh()
    const { blindMs, lost, outages, pendingMs, received, sent, unsent } = this.#flows.read(id)
    return { sent, received, lost, unsent, pendingMs, blindMs, outages }
  }

  #endFlow(id: number): null {
    clearTimeout(this.#begun.get(id))
    if (this.#begun.delete(id)) this.#flows?.end(id)
    return null
  }

  async #exec(node: AskedNode, { argv, timeoutMs }: Asked<"exec">): Promise<Answer<"exec">> {
    const command = await this.#dependencies.spawn(node, argv)
    command.stdin.end()
    let timedOut = false
    const timer = setTimeout(() => {
      timedOut = true
      void command.hangUp()
    }, timeoutMs)
    try {
      const [stdout, stderr, { code }] = await Promise.all([textOf(command.stdout), textOf(command.stderr), command.exit])
      return { code, stdout, stderr, timedOut }
    } finally {
      clearTimeout(timer)
    }
  }
}

const textOf = async (stream: Readable | undefined): Promise<string> => {
  if (stream === undefined) return ""
  const parts: Array<Buffer> = []
  let length = 0
  for await (const part of stream) {
    if (length < mostOutput) parts.push(part as Buffer)
    length += (part as Buffer).length
  }
  return Buffer.concat(parts).subarray(0, mostOutput).toString("utf8")
}

const tcp = async ({ netnsPath }: AskedNode, { address, port, timeoutMs, token }: Asked<"tcp">): Promise<Answer<"tcp">> => {
  const dialed = await dial(netnsPath, address, port, timeoutMs)
  if (!dialed.ok) return dialed
  const { descriptor, source } = dialed
  if (token === undefined) addon.close(descriptor)
  else {
    addon.write(descriptor, Buffer.from(token, "hex"), 0)
    // Closing may reset the connection before the other side has read the token.
    setTimeout(() => addon.close(descriptor), lingerMs)
  }
  return { ok: true, source }
}

const flood = async ({ netnsPath }: AskedNode, { address, forMs, port, timeoutMs, token }: Asked<"flood">): Promise<Answer<"flood">> => {
  const dialed = await dial(netnsPath, address, port, timeoutMs)
  if (!dialed.ok) return dialed
  const socket = socketOf(dialed.descriptor)
  const until = performance.now() + forMs
  try {
    await new Promise<void>((resolve, reject) => {
      const timer = setTimeout(resolve, forMs + timeoutMs)
      const done = (error?: Error): void => {
        clearTimeout(timer)
        if (error === undefined) resolve()
        else reject(error)
      }
      socket.on("error", done)
      const pump = (): void => {
        while (performance.now() < until) if (!socket.write(chunk)) return void socket.once("drain", () => setImmediate(pump))
        done()
      }
      socket.write(Buffer.from(token, "hex"))
      pump()
    })
    return { ok: true, source: dialed.source }
  } catch (error) {
    return { ok: false, reason: (error as Error).message }
  } finally {
    socket.destroy()
  }
}

const http = async ({ netnsPath }: AskedNode, { address, host, method, path, port, timeoutMs }: Asked<"http">): Promise<Answer<"http">> => {
  const dialed = await dial(netnsPath, address, port, timeoutMs)
  if (!dialed.ok) return dialed
  const socket = socketOf(dialed.descriptor)
  return new Promise((resolve) => {
    const finish = (answer: Answer<"http">): void => {
      stopWaiting()
      socket.destroy()
      resolve(answer)
    }
    const stopWaiting = whenSilentFor(timeoutMs, () => finish({ ok: false, reason: "connected, but the answer timed out" }))
    const call = request({ method, path, headers: { host, connection: "close" }, createConnection: () => socket }, (response) => {
      textOf(response).then(
        (body) => finish({ ok: true, status: response.statusCode ?? 0, body }),
        (error: Error) => finish({ ok: false, reason: `the answer broke off: ${error.message}` })
      )
    })
    call.on("error", (error) => finish({ ok: false, reason: `connected, but it is no HTTP: ${error.message}` }))
    call.end()
  })
}
