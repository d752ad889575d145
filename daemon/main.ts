/**
 * weftd: the only file that knows every layer. It opens things in order, each closed again in reverse when the daemon
 * ends:
 *
 *     lock -> state -> fabric -> eBPF program -> serve, and recover labs meanwhile
 *
 * A daemon that ends leaves its labs forwarding; one with no labs leaves nothing.
 */
import { mkdirSync, readFileSync, rmSync, rmdirSync, statSync } from "node:fs"
import { flushCompileCache } from "node:module"
import { release } from "node:os"
import { join } from "node:path"
import { fileURLToPath } from "node:url"
import { parseArgs } from "node:util"
import * as NodeRuntime from "@effect/platform-node/NodeRuntime"
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import type { Scope } from "effect/Scope"
import type { Happening as BgpHappening } from "./bgp/messages.ts"
import { Routing } from "./bgp/routing.ts"
import { load } from "./compiler/load.ts"
import { Containers } from "./containers/containers.ts"
import { connectTo, socketPathOf } from "./containers/engine.ts"
import type { Happening } from "./containers/watch.ts"
import { Engine } from "./datapath/engine.ts"
import { Evpn } from "./evpn/evpn.ts"
import { type EvpnSettings, evpnOptions, evpnSettings, evpnUsage } from "./evpn/flags.ts"
import { type FleetSettings, fleetOptions, fleetSettings, fleetUsage, hostName } from "./fleet/flags.ts"
import { type RunningFleet, startFleet } from "./fleet/start.ts"
import * as Bpf from "./linux/bpf.ts"
import { doctor } from "./linux/doctor.ts"
import { reasonOf } from "./linux/errors.ts"
import { type EtcdServer, startEtcd } from "./linux/etcd-server.ts"
import * as Fabric from "./linux/fabric.ts"
import { leftovers } from "./linux/leftovers.ts"
import * as Memory from "./linux/memory.ts"
import * as Netns from "./linux/netns.ts"
import { killAndRestart } from "./linux/restart.ts"
import { lackHere, rightsAdvice } from "./linux/rights.ts"
import { addon } from "./native/index.ts"
import { isSignal, spawnInNetns } from "./linux/process.ts"
import { EventLog } from "./observe/events.ts"
import { baseOf } from "./plan/fault.ts"
import type { TunnelSpec } from "./plan/resource.ts"
import { Faults } from "./reconciler/faults.ts"
import { faultedLabs } from "./reconciler/one-host-faults.ts"
import { findNode, type NamedLab, nodeWithAddress, reachableNodes } from "./reconciler/directory.ts"
import { watchFabric } from "./reconciler/fabric-watch.ts"
import { findPort, tunnelOf } from "./reconciler/ports.ts"
import { OneHost } from "./reconciler/one-host.ts"
import { Reconciler } from "./reconciler/reconciler.ts"
import { BfdRoutes } from "./resources/bfd-routes.ts"
import { BfdSessions, type BfdHappening } from "./resources/bfd-sessions.ts"
import { EngineLinks } from "./resources/engine-link.ts"
import { ForeignVteps } from "./resources/foreign-vteps.ts"
import type { Daemon } from "./resources/lab.ts"
import { Relays } from "./resources/relays.ts"
import { Tunnels } from "./resources/tunnel.ts"
import { Answers } from "./probes/answers.ts"
import { actHandler, performer } from "./rpc/act.ts"
import { answersFor, askHandlers } from "./rpc/ask.ts"
import { makeBfd } from "./rpc/bfd.ts"
import { type BgpDependencies, makeBgp } from "./rpc/bgp.ts"
import { makeRoutes, type RoutesDependencies } from "./rpc/routes.ts"
import { readRoutesAt, wantedOf } from "./bgp/fib/lookup.ts"
import { makeCapture, type CaptureDependencies } from "./rpc/capture.ts"
import { checksHandler } from "./rpc/checks.ts"
import { doctorHandler } from "./rpc/doctor.ts"
import { eventsHandler } from "./rpc/events.ts"
import { scenariosHandler } from "./rpc/scenarios.ts"
import { makeFaults } from "./rpc/faults.ts"
import { evpnHandler } from "./rpc/evpn.ts"
import { makeExec, type ExecDependencies } from "./rpc/exec.ts"
import type { Forwarding } from "./rpc/forward.ts"
import { makeHosts, onlyHost } from "./rpc/hosts.ts"
import { makeLabs } from "./rpc/labs.ts"
import { listenHandler } from "./rpc/listen.ts"
import { makePeers } from "./rpc/peers-service.ts"
import { makeProbes, type ProbesDependencies } from "./rpc/probes.ts"
import { reachHandler, type ReachDependencies } from "./rpc/reach.ts"
import { makeRehearsals } from "./rpc/rehearsals.ts"
import { serve, serveTls } from "./rpc/server.ts"
import { defaultTlsFiles, LiveMaterial, type TlsFiles } from "./rpc/tls-files.ts"
import { type Endpoint, parseEndpoint } from "./rpc/tls.ts"
import { version, versionHandler } from "./rpc/version.ts"
import { cached } from "./store/cache.ts"
import type { Tls as EtcdTls } from "./store/etcd-client.ts"
import * as Etcd from "./store/etcd.ts"
import * as LevelStore from "./store/level.ts"
import type { Store } from "./store/store.ts"

interface Config {
  readonly instance: string
  /** Name of this host. */
  readonly host: string
  /** Undefined: no other host shares its labs. */
  readonly fleet: FleetSettings | undefined
  /** Undefined: hosts flood and learn. */
  readonly evpn: EvpnSettings | undefined
  readonly socket: string
  readonly state: string
  readonly runDirectory: string
  /** Socket of the Docker engine, for container nodes. */
  readonly docker: string
  /** Where to serve on the network; undefined: nowhere. */
  readonly remote: { readonly endpoint: Endpoint; readonly files: TlsFiles; readonly material: LiveMaterial } | undefined
}

const bpfObject = fileURLToPath(new URL("../.weft/bpf/port.bpf.o", import.meta.url))

const usage = `Usage: weftd [--instance NAME] [--socket PATH] [--state DIR] [--listen ADDR:PORT]

  --instance NAME  several daemons on one machine need different names (default: main)
  --socket PATH    where to serve (default: /run/weft/weftd.sock, /run/weft/NAME/weftd.sock for another instance)
  --state DIR      where to remember labs (default: /var/lib/weft/NAME)
  --listen ADDR:PORT  also serve on the network, with TLS and for clients with a certificate only (docs/remote.md)
  --tls-ca FILE, --tls-cert FILE, --tls-key FILE
                   for --listen (default: ca.pem, cert.pem and key.pem in /etc/weft/pki/weftd, as weft pki makes them)
  --tls-crl FILE   certificates that are void before their time (default: crl.pem beside the authority's, if it is there)
                   These files are read again when they change, and at once on SIGHUP
${fleetUsage}${evpnUsage}`

/** Reads the command line; says what is wrong and exits on a bad one. */
const configure = (argv: ReadonlyArray<string>): Config => {
  try {
    const text = { type: "string" } as const
    const tls = { "tls-ca": text, "tls-cert": text, "tls-key": text, "tls-crl": text }
    const own = { instance: text, socket: text, state: text, listen: text, ...tls, help: { type: "boolean" } } as const
    const options = { ...own, ...fleetOptions, ...evpnOptions }
    const { values } = parseArgs({ args: [...argv], options })
    if (values.help === true) {
      process.stdout.write(usage)
      process.exit(0)
    }
    const instance = values.instance ?? "main"
    const isName = /^[a-z0-9]([a-z0-9-]{0,30}[a-z0-9])?$/.test(instance)
    if (!isName) throw new Error(`Bad instance name "${instance}": letters, digits and dashes`)
    const runDirectory = `/run/weft/${instance}`
    const socket = values.socket ?? (instance === "main" ? "/run/weft/weftd.sock" : `${runDirectory}/weftd.sock`)
    const remote = remoteOf(values)
    const fleet = fleetSettings(values, remote?.endpoint.host)
    const evpn = evpnSettings(values, fleet !== undefined)
    const state = values.state ?? `/var/lib/weft/${instance}`
    const docker = socketPathOf(process.env["DOCKER_HOST"])
    return { instance, host: hostName(values), fleet, evpn, socket, state, runDirectory, docker, remote }
  } catch (error) {
    process.stderr.write(`weftd: ${(error as Error).message}\nAll flags: weftd --help\n`)
    process.exit(2)
  }
}

/** What --listen and the TLS flags ask for. @throws Error that says what to type */
const remoteOf = (flags: Readonly<Record<string, unknown>>): Config["remote"] => {
  const named = { ca: flags["tls-ca"], cert: flags["tls-cert"], key: flags["tls-key"] }
  const missing = Object.entries(named).flatMap(([name, file]) => (file === undefined ? [`--tls-${name}`] : []))
  if (missing.length > 0 && missing.length < 3) throw new Error(`The three TLS files belong together: ${missing.join(" and ")} missing`)
  if (flags["listen"] === undefined) {
    if (missing.length === 0 || flags["tls-crl"] !== undefined) {
      throw new Error("The TLS files are for --listen ADDR:PORT, which is missing")
    }
    return undefined
  }
  const endpoint = parseEndpoint(String(flags["listen"]))
  const crl = flags["tls-crl"] === undefined ? {} : { crl: String(flags["tls-crl"]) }
  const files = { ...(missing.length === 0 ? (named as TlsFiles) : defaultTlsFiles), ...crl }
  try {
    return { endpoint, files, material: new LiveMaterial(files) }
  } catch (error) {
    process.stderr.write(`weftd: ${(error as Error).message}\n`)
    process.exit(1)
  }
}

const acquire = <A>(what: string, open: () => A | Promise<A>, close: (it: A) => void | Promise<void>): Effect.Effect<A, Error, Scope> =>
  Effect.acquireRelease(
    Effect.tryPromise({
      try: async () => open(),
      catch: (error) => new Error(`${what}: ${(error as Error).message}`, { cause: error })
    }),
    (it) => Effect.promise(async () => close(it))
  )

/** One daemon for each instance: its lock dies with it, whatever kills it. */
const lock = (config: Config): number => {
  const { instance, runDirectory } = config
  mkdirSync(runDirectory, { recursive: true, mode: 0o755 })
  const path = `${runDirectory}/lock`
  const descriptor = addon.lockFile(path)
  if (descriptor < 0) throw new Error(`another weftd of instance "${instance}" is running`)
  // One that was ending may have removed the file between our opening and our locking it: then this is nobody's lock.
  if (statSync(path, { throwIfNoEntry: false })?.ino === addon.inode(descriptor)) return descriptor
  addon.close(descriptor)
  return lock(config)
}

const unlock = (descriptor: number, { runDirectory }: Config): void => {
  rmSync(`${runDirectory}/lock`, { force: true })
  addon.close(descriptor)
  for (const directory of [`${runDirectory}/labs`, runDirectory, "/run/weft"]) {
    try {
      rmdirSync(directory)
    } catch {
      // Not there, or not empty: labs are deployed, or other instances run.
    }
  }
}

/** The program that the fabric's filters hold, when it is the one we would load; else a fresh one on the same maps. */
const openProgram = (fabric: Netns.Netns): Bpf.PortProgram => {
  const indexes = Fabric.ports(fabric.fd).marked.map((port) => port.link.index)
  return Bpf.takeOver(bpfObject, new Set(Fabric.programIds(fabric.fd, indexes).values()))
}

/** Without ports nothing needs the fabric. */
const closeFabric = (fabric: Netns.Netns): void => {
  const empty = Fabric.ports(fabric.fd).marked.length === 0
  Netns.close(fabric)
  if (empty) Netns.remove(fabric.name)
}

/** Labs by which nodes are found: of all hosts, or of this one. */
interface Directory {
  readonly labs: () => Promise<ReadonlyArray<NamedLab>>
  readonly instance: string
  /** Name of this host, where there are others: nodes say where they are. */
  readonly here: string | undefined
  readonly forwarding: Forwarding | undefined
}

/** What is not there, of a node that should be on this host. */
const missing = ({ instance }: Directory, { lab, node }: { readonly lab: string; readonly node: string }): string | undefined => {
  const netns = Netns.nodeName(lab, node)
  return Netns.owner(netns) === instance ? undefined : `Node "${node}" is not there: namespace ${netns} is missing or not ours`
}

const execDependencies = (directory: Directory, containers: Containers): ExecDependencies => ({
  resolveNode: async (name) => {
    const node = findNode(await directory.labs(), name, directory.here)
    if ("error" in node || node.host !== undefined) return node
    const error = missing(directory, node)
    return error === undefined ? node : { error }
  },
  spawn: (command) =>
    command.containerOf === undefined
      ? spawnInNetns({ ...command, endsWithDaemon: true })
      : containers.command({ lab: command.containerOf, node: command.hostname }, command),
  isSignal,
  ...(directory.forwarding === undefined ? {} : { forwarding: directory.forwarding })
})

const bgpDependencies = (directory: Directory, routing: Routing): BgpDependencies => ({
  resolveNode: async (name) => findNode(await directory.labs(), name, directory.here),
  routing,
  ...(directory.forwarding === undefined ? {} : { forwarding: directory.forwarding })
})

const routesDependencies = (directory: Directory): RoutesDependencies => ({
  resolveNode: async (name) => {
    const node = findNode(await directory.labs(), name, directory.here)
    if ("error" in node || node.host !== undefined) return node
    const error = missing(directory, node)
    return error === undefined ? node : { error }
  },
  read: readRoutesAt,
  isPrefix: (text) => wantedOf(text) !== undefined,
  ...(directory.forwarding === undefined ? {} : { forwarding: directory.forwarding })
})

const captureDependencies = (directory: Directory, store: Store): CaptureDependencies => ({
  resolvePort: async (name) => {
    const port = findPort(await directory.labs(), name, directory.here)
    if ("error" in port || port.host !== undefined) return port
    const error = missing(directory, port)
    return error === undefined ? port : { error }
  },
  // Only this host's part of a lab says where its tunnels go.
  tunnelOf: async ({ ifname, lab, node }) => tunnelOf(await store.lab(lab), node, ifname),
  ...(directory.forwarding === undefined ? {} : { forwarding: directory.forwarding })
})

const reachDependencies = (directory: Directory, onlyLab: () => Promise<string>): ReachDependencies => ({
  resolveNodes: async (lab, nodes) => {
    const name = lab === "" ? await onlyLab() : lab
    const entry = (await directory.labs()).find((one) => one.name === name)
    return entry === undefined ? { missing: `No lab "${name}"` } : reachableNodes(entry, nodes, directory.here)
  },
  onlyLab,
  ...(directory.forwarding === undefined ? {} : { forwarding: directory.forwarding })
})

const probesDependencies = (directory: Directory, reachability: ReachDependencies): ProbesDependencies => ({
  ...reachability,
  nodeOf: async (lab, address) => {
    const entry = (await directory.labs()).find(({ name }) => name === lab)
    return entry === undefined ? undefined : nodeWithAddress(entry, address)
  }
})

/** The certificate to show to etcd: files of its own, else those of --listen. @throws Error that names the file */
const etcdTls = ({ fleet, remote }: Config): EtcdTls | undefined => {
  const files = fleet?.etcdTls
  if (files === undefined) return remote?.material
  const read = (path: string): Buffer => {
    try {
      return readFileSync(path)
    } catch (error) {
      throw new Error(`Cannot read "${path}": ${(error as NodeJS.ErrnoException).code}`)
    }
  }
  return { ca: read(files.ca), cert: read(files.cert), key: read(files.key) }
}

const log = (message: string): void => {
  process.stderr.write(`${new Date().toISOString()} ${message}\n`)
}

/** Has certificates be read again when they change. */
const followFiles = (material: LiveMaterial): (() => void) => {
  const stop = material.follow(log)
  const refresh = (): void => material.refresh(log)
  process.on("SIGHUP", refresh)
  return () => {
    process.off("SIGHUP", refresh)
    stop()
  }
}

/** Where etcd is expected; IANA's port of it. */
const etcdPort = 2379

interface Local {
  readonly store: Store
  readonly reconciler: Reconciler
  readonly events: EventLog
  readonly tunnels: Tunnels
}

/** `--etcd new`: etcd beside this daemon, at the underlay address for those who have certificates. */
const ownEtcd = ({ remote, state }: Config, { etcdTls: own, underlay }: FleetSettings): Effect.Effect<EtcdServer, Error, Scope> => {
  const tls = own ?? remote?.files
  const network = tls === undefined ? {} : { remote: { address: underlay, port: etcdPort, tls } }
  if (tls === undefined) log("etcd.alone other hosts cannot use this etcd: that takes --listen, or --etcd-ca, --etcd-cert and --etcd-key")
  return acquire("--etcd new", () => startEtcd({ directory: join(state, "etcd"), ...network, log }), (it) => it.close())
}

/** Has this host follow what all share. It is registered later, when it can be asked. */
const joinFleet = (config: Config, settings: FleetSettings, local: Local): Effect.Effect<RunningFleet, Error, Scope> =>
  Effect.gen(function* () {
    const { host, instance, remote } = config
    const endpoints = settings.etcd === "new" ? [(yield* ownEtcd(config, settings)).endpoint] : settings.etcd
    const tls = etcdTls(config)
    const open = () => Etcd.open({ endpoints, log, ...(tls === undefined ? {} : { tls }) })
    const shared = yield* acquire("Cannot start", open, (it) => it.close())
    const datapathOf = ({ encapsulation }: TunnelSpec): string =>
      encapsulation === "vxlan" && local.tunnels.supported ? "kernel" : "engine"
    const isWhole = (port: number): boolean => local.tunnels.look().get(port)?.whole === true
    const start = () =>
      startFleet({ ...local, host, instance, version, settings, shared, material: remote?.material, datapathOf, isWhole })
    return yield* acquire("Cannot start", start, (it) => it.close())
  })

/** Exchanges what is known of networks with the other hosts, unless the flags say otherwise. */
const joinEvpn = (
  { evpn: settings, fleet: place, host }: Config,
  fleet: RunningFleet | undefined,
  local: Pick<ConstructorParameters<typeof Evpn>[0], "program" | "foreign" | "store" | "events">
): Effect.Effect<Evpn | undefined, Error, Scope> => {
  if (settings === undefined || place === undefined || fleet === undefined) return Effect.succeed(undefined)
  const open = () => new Evpn({ ...local, host, underlay: place.underlay, settings, hosts: () => fleet.mirror.hosts })
  return acquire("Cannot start EVPN", open, (it) => it.close())
}

/** What `doctor` has to know of the network between hosts. */
const underlayOf = ({ fleet }: Config, tunnels: Tunnels) =>
  fleet === undefined ? undefined : { address: fleet.underlay, ownPorts: () => tunnels.look().keys() }

/** Where other daemons find this one: at its underlay address, when it listens on all. */
const advertised = ({ host, port }: Endpoint, fleet: FleetSettings | undefined): string => {
  const address = /^[0:.]+$/.test(host) ? (fleet?.underlay ?? host) : host
  return address.includes(":") ? `[${address}]:${port}` : `${address}:${port}`
}

const daemon = (config: Config) =>
  Effect.gen(function* () {
    yield* acquire("Cannot start", () => lock(config), (descriptor) => unlock(descriptor, config))
    const store = yield* acquire("Cannot start", async () => cached(await LevelStore.open(config.state)), (open) => open.close())
    yield* acquire("Cannot start", Netns.prepare, () => {})
    const fabric = yield* acquire("Cannot make the fabric", () => Fabric.open(config.instance), closeFabric)
    const program = yield* acquire("Cannot load the data path", () => openProgram(fabric), (open) => open.close())
    const events = new EventLog()
    events.listen(({ lab, message, subject, type }) => {
      if (type.startsWith("bgp.")) return type === "bgp.route" ? undefined : log(`${type} ${lab}/${subject}: ${message}`)
      return type.startsWith("resource.") ? undefined : log(`${type} ${message}`)
    })
    const tell = (message: string): void => events.emit({ lab: "", type: "daemon.engine", subject: "engine", message })
    const links = yield* acquire("Cannot start", () => new EngineLinks({ fabric, program, start: Engine.start, tell }), (it) => it.close())
    const source = config.fleet === undefined ? {} : { address: config.fleet.underlay }
    const tunnels = new Tunnels({ fabric, program, tell, ...source })
    const docker = connectTo(config.docker, config.instance, config.host)
    const tellOf = ({ lab, message, node, type }: Happening): void => events.emit({ lab, type, subject: node, message })
    const containers = yield* acquire("Cannot start", () => new Containers(docker, tellOf), (it) => it.close())
    const relays = yield* acquire("Cannot start", () => new Relays(), (it) => it.closeAll())
    const tellBfd = ({ lab, message, node, peer, type }: BfdHappening): void =>
      events.emit({ lab, type, subject: `${node} ${peer}`, message })
    const bfd = yield* acquire("Cannot start", () => new BfdSessions({ links, tell: tellBfd }), (it) => it.close())
    const bfdRoutes = new BfdRoutes(bfd, tell)
    const tellBgp = ({ lab, message, neighbor, node, type }: BgpHappening): void =>
      events.emit({ lab, type, subject: neighbor === "" ? node : `${node} ${neighbor}`, message })
    const logBgp = (message: string): void => events.emit({ lab: "", type: "daemon.routing", subject: "routing", message })
    const bfdOfBgp = { openBfd: () => links.openBfd(), closeBfd: () => links.releaseHold("routing") }
    const routing = yield* acquire("Cannot start", () => new Routing({ tell: tellBgp, log: logBgp, ...bfdOfBgp }), (it) => it.close())
    const own = { instance: config.instance, runDirectory: config.runDirectory }
    const foreign = new ForeignVteps(program, tunnels)
    const parts: Daemon = { ...own, fabric, program, links, tunnels, foreign, containers, relays, routing, bfd, bfdRoutes }
    const reconciler = yield* acquire("Cannot start", () => new Reconciler({ daemon: parts, store, events }), (it) => it.close())
    containers.onReturn = () => void reconciler.retryContainers().catch((error: unknown) => log(`weftd: ${reasonOf(error)}`))
    yield* Effect.promise(() => reconciler.recover())
    yield* acquire("Cannot watch the fabric", () => watchFabric(parts), (stop) => stop())
    flushCompileCache()
    Memory.release()
    const { host, instance, remote } = config
    const fleet = config.fleet === undefined ? undefined : yield* joinFleet(config, config.fleet, { store, reconciler, events, tunnels })
    const evpn = yield* joinEvpn(config, fleet, { program, foreign, store, events })
    const control = fleet?.fleet ?? new OneHost(reconciler, host)
    const directory: Directory = {
      labs: async () => (await (fleet?.fleet.namedLabs() ?? store.labs())).map((lab) => ({ name: lab.name, plan: baseOf(lab) })),
      instance,
      here: fleet === undefined ? undefined : host,
      forwarding: fleet?.peers === undefined ? undefined : { here: host, peers: fleet.peers }
    }
    const exec = yield* acquire("Cannot start", () => makeExec(execDependencies(directory, containers)), (it) => it.end())
    const capture = makeCapture(captureDependencies(directory, store))
    const reachability = reachDependencies(directory, () => control.onlyLab())
    const reach = reachHandler(reachability)
    const probes = makeProbes(probesDependencies(directory, reachability))
    const commands = execDependencies(directory, containers)
    const known = answersFor({ routing, bfd, readRoutes: readRoutesAt, ...commands })
    const answers = yield* acquire("Cannot start", () => new Answers(known), (it) => it.close())
    const asked = { answers, resolveNode: commands.resolveNode }
    const acting = { host, resolveNode: commands.resolveNode, routing, killAndRestart, forwarding: directory.forwarding }
    const books = fleet?.faults ?? faultedLabs(reconciler, host)
    const openFaults = () => new Faults({ host, labs: books, events, perform: performer(acting) })
    const faults = yield* acquire("Cannot start", openFaults, (it) => it.close())
    // What others inject has to be healed in time, too, and what a host held that is lost.
    if (fleet !== undefined) fleet.mirror.listen(({ kind }) => void (kind === "report" || faults.poke()))
    const suites = { load, labs: directory.labs, onlyLab: () => control.onlyLab(), forwarding: directory.forwarding }
    const checking = { ...asked, ...suites, faults }
    const rehearsals = makeRehearsals({ ...checking, control, watch: probes.watch })
    const services = {
      Labs: makeLabs({ load, control, events: eventsHandler(events, host, fleet?.eventsOfOthers) }),
      Nodes: {
        exec: exec.handler,
        reach,
        capture: capture.handler,
        ...makeRoutes(routesDependencies(directory)),
        ...makeBfd({ ...bgpDependencies(directory, routing), states: (lab, node) => bfd.states(lab, node) }),
        ...makeBgp(bgpDependencies(directory, routing))
      },
      Probes: probes.handlers,
      Checks: { run: checksHandler(checking) },
      Scenarios: { run: scenariosHandler(checking) },
      Rehearsals: rehearsals.handlers,
      Faults: makeFaults({ control: faults, labs: directory.labs, onlyLab: () => control.onlyLab() }),
      Host: {
        version: versionHandler({ instance, host }),
        doctor: doctorHandler(() => doctor({ bpfObject, dockerSocket: config.docker, leftovers, underlay: underlayOf(config, tunnels) })),
        ...makeHosts(fleet?.hosts ?? onlyHost({ host, version, reconciler })),
        evpn: evpnHandler(evpn)
      }
    }
    // What daemons ask each other is not for people: it is served on the network only.
    const listen = listenHandler(reachability)
    const halves = { listen, respond: probes.respond, act: actHandler(acting), ...askHandlers(asked) }
    const peers = fleet === undefined ? {} : { Peers: { ...makePeers({ fleet: fleet.fleet, events, host }), ...halves } }
    yield* acquire("Cannot serve", () => serve(config.socket, services), (serving) => serving.close(2000))
    let endpoint = ""
    if (remote !== undefined) {
      yield* acquire("Cannot start", () => followFiles(remote.material), (stop) => stop())
      const open = () => serveTls(remote.endpoint, remote.material, { ...services, ...peers }, log)
      const serving = yield* acquire("Cannot serve on the network", open, (it) => it.close(2000))
      log(`weftd listens on ${serving.endpoint.host}:${serving.endpoint.port} with TLS`)
      endpoint = advertised(serving.endpoint, config.fleet)
    }
    if (fleet !== undefined) {
      if (remote === undefined) log("without --listen, nodes and links of other hosts cannot be looked at from here, nor ours from there")
      yield* acquire("Cannot start", () => fleet.register(endpoint), () => {})
    }
    yield* Effect.addFinalizer(() => Effect.sync(() => probes.end()))
    // Before the servers close, so that clients get their last packets and the counts.
    yield* Effect.addFinalizer(() => Effect.promise(() => capture.end()))
    // Their clients are told how it ended, and labs are left as they should be.
    yield* Effect.addFinalizer(() => Effect.promise(() => rehearsals.end()))
    void faults.start()
    events.emit({ lab: "", type: "daemon.started", subject: config.instance, message: `instance ${config.instance} serves` })
    log(`weftd ready on unix:${config.socket} (instance ${config.instance}, kernel ${release()})`)
    yield* Effect.never
  })

/** What we expected can be said in a line; a defect needs its stack. */
const explain = (cause: Cause.Cause<Error>): string => (Cause.hasDies(cause) ? Cause.pretty(cause) : (Cause.squash(cause) as Error).message)

/** Being told to end is no failure. */
const isFailure = (exit: Exit.Exit<unknown, unknown>): boolean => Exit.isFailure(exit) && !Cause.hasInterruptsOnly(exit.cause)

const main = (): void => {
  const config = configure(process.argv.slice(2))
  if (process.getuid?.() !== 0) {
    process.stderr.write("weftd: it makes network namespaces and loads eBPF programs, which needs root. Type: sudo bin/weftd\n")
    process.exit(1)
  }
  const lack = lackHere()
  if (lack !== undefined) {
    process.stderr.write(`weftd: it makes network namespaces and loads eBPF programs. This is ${lack}\n  ${rightsAdvice}\n`)
    process.exit(1)
  }
  const program = Effect.scoped(daemon(config)).pipe(
    Effect.tapCause((cause) => Effect.sync(() => Cause.hasInterruptsOnly(cause) || log(`weftd: ${explain(cause)}`)))
  )
  NodeRuntime.runMain(program, { disableErrorReporting: true, teardown: (exit, end) => end(isFailure(exit) ? 1 : 0) })
}

main()
