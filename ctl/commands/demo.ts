/**
 * `weft demo`: a whole life of a lab, in steps that each say how long they took. Whatever happens on the way, also
 * Ctrl-C, ends in the same clean-up: the lab is destroyed, what the demo has started is stopped, the machine is searched.
 */

import { fileURLToPath } from "node:url"
import { setTimeout as wait } from "node:timers/promises"
import { defaultAddress } from "../client.ts"
import type { Client } from "../client.ts"
import { Exit, Failure, NotFound } from "../command.ts"
import type { Context, InputOf } from "../command.ts"
import { duration, figures, follow, printFailed } from "../converge.ts"
import { ownAddress, useDaemon } from "../demo/daemon.ts"
import type { Ground, Own } from "../demo/ground.ts"
import * as Hosts from "../demo/hosts.ts"
import { leftoversOf } from "../demo/leftovers.ts"
import { fewestHosts, hostsOf, mostHosts, placed } from "../demo/placement.ts"
import { showPacket } from "../demo/packet.ts"
import { ends, flowCount, showFailover } from "../demo/failover.ts"
import { converge } from "../demo/routing.ts"
import { hostsIn, showAddresses, showHosts, showMatrix, showTunnels, surprisesOf, whatToTry } from "../demo/show.ts"
import { interruption, stepper } from "../demo/steps.ts"
import type { Step } from "../demo/steps.ts"
import { prefix, underlayName } from "../demo/underlay.ts"
import type { InspectResponse, ReachResult } from "../messages.ts"
import { print, printError, styleOf } from "../terminal.ts"
import { readTopology } from "../topology-file.ts"
import { draw, save } from "./graph.ts"
import type { specs } from "./table.ts"

const lab = "demo"
const drawing = "./weft-demo.svg"
const topologyFile = fileURLToPath(new URL("../../topologies/hybrid-idc-aws-office.weft.yaml", import.meta.url))

/** How long the clean-up waits for the daemon to remove the lab, also after a deploy that the user interrupted. */
const settlePatienceMs = 180_000

/** How soon after the deploy tunnels are known to be up. */
const tunnelPatienceMs = 20_000

/** How soon another demo, whose daemon answers, deploys. */
const otherDemoPatienceMs = 1500

/** What the demo has made so far: what the clean-up must undo. */
interface Made {
  ground?: Ground
  own?: Own
  /** Ends when the daemon is done with the deploy, well or not. Absent: nothing was deployed. */
  deploying?: Promise<unknown>
}

export const run = async (input: InputOf<typeof specs.demo>, context: Context): Promise<number> => {
  const started = performance.now()
  const style = styleOf(process.stdout)
  const hosts = hostCountOf(input.hosts, context)
  const made: Made = {}
  const interrupted = interruption()
  const step = stepper((input.keep ? 7 : 9) + (hosts > 1 ? 2 : 0))
  const problems: Array<string> = []
  let failure: unknown

  const where = hosts > 1 ? `,\non ${hosts} hosts with tunnels between them` : ""
  print(`${style.bold("weft demo")}: an office, an IDC and an AWS VPC, joined by private links\nand by the internet${where}\n`)
  try {
    problems.push(...(await tour(context, { hosts, made, interrupted, step })))
  } catch (error) {
    failure = error
  }
  if (input.keep && failure === undefined && made.ground !== undefined) {
    await keep(made.ground, hosts)
    made.own?.leave()
  } else {
    problems.push(...(await cleanUp(made, step).catch((error: unknown) => [messageOf(error)])))
  }
  made.ground?.client.close()

  print("")
  for (const problem of problems) printError(`${styleOf(process.stderr).red("problem:")} ${problem}`)
  if (failure !== undefined) throw failure
  if (problems.length > 0) {
    printError(`The demo failed after ${duration(performance.now() - started)}.`)
    return Exit.failed
  }
  print(
    `${style.green("✓")} ${style.bold("Everything worked")}, in ${duration(performance.now() - started)} altogether.`
      + ` The drawing is in ${drawing}`
  )
  return Exit.done
}

/** 1 without --hosts. @throws {Failure} for a bad number */
const hostCountOf = (given: string | undefined, { daemon }: Context): number => {
  if (given === undefined) return 1
  const count = Number(given)
  if (!/^\d+$/.test(given) || count < fewestHosts || count > mostHosts) {
    throw new Failure(Exit.usage, `Cannot make ${given} hosts: ${fewestHosts} to ${mostHosts} are possible`, "Example: weft demo --hosts 3")
  }
  if (daemon !== defaultAddress) {
    throw new Failure(Exit.usage, "--hosts starts daemons of its own: it does not go together with --daemon or WEFT_DAEMON")
  }
  return count
}

interface Journey {
  readonly hosts: number
  readonly made: Made
  readonly interrupted: Promise<never>
  readonly step: Step
}

/** Everything up to the clean-up. Returns what was not as it should be. */
const tour = async (context: Context, journey: Journey): Promise<ReadonlyArray<string>> => {
  const { hosts, interrupted, made, step } = journey
  const ground = hosts > 1 ? await manyHosts(journey) : await oneHost(context, journey)
  made.ground = ground
  const { client } = ground

  const original = await readTopology(topologyFile, lab)
  const topology = hosts > 1 ? await placed(original, hosts) : original
  await step(
    "Deploy",
    async () => {
      await Promise.race([refuseSecond(ground), interrupted])
      const deploying = follow(client.deploy(topology, false), { verb: "Deploying" })
      made.deploying = deploying.catch((error: unknown) => {
        // It is another demo's lab, and that one's to remove.
        if (isBusy(error)) delete made.deploying
      })
      const outcome = await Promise.race([deploying, interrupted])
      if (outcome.end.kind === "done") return outcome
      printFailed(outcome, outcome.end.failed)
      throw new Failure(Exit.failed, "The demo's topology could not be deployed", made.own?.tail())
    },
    ({ planned }) => `Deploy it: ${figures(planned) || "nothing to do, it runs already"}`
  )

  await step(
    "BGP",
    async () => Promise.race([converge(client, await client.inspect(lab)), interrupted]),
    ({ sessions, watched }) => `BGP between the sites: ${sessions} sessions up, ${watched} of them watched by BFD`
  )
  const inspected = await Promise.race([hosts > 1 ? inspectTunnels(client) : client.inspect(lab), interrupted])
  const problems: Array<string> = []
  if (hosts > 1) {
    problems.push(...showHosts(inspected, (await client.hosts()).hosts))
    await step(
      "Tunnels",
      async () => {
        problems.push(...showTunnels(inspected))
        problems.push(...(await Promise.race([showPacket(client, inspected), interrupted])))
      },
      () => "Look at the tunnels, and at a ping on its way through one",
      "before"
    )
  }
  problems.push(...(await prove(client, inspected, journey)))
  await step(
    "Failover",
    async () => problems.push(...(await Promise.race([showFailover(client, lab), interrupted]))),
    () => `Cut a tunnel under traffic: ${ends.from} → ${ends.to}, ${flowCount} flows, a probe each per ms`,
    "before"
  )
  await step(
    "Draw",
    async () => save(drawing, draw(inspected, "svg")),
    () => `Draw it: ${drawing}`
  )
  return problems
}

/** Inspects the lab once each tunnel's far end has been asked, which takes a moment after the deploy. */
const inspectTunnels = async (client: Client): Promise<InspectResponse> => {
  const deadline = performance.now() + tunnelPatienceMs
  for (;;) {
    const inspected = await client.inspect(lab)
    if (inspected.tunnels.every(({ state }) => state === "up") || performance.now() > deadline) return inspected
    await wait(100)
  }
}

const oneHost = (context: Context, { interrupted, made, step }: Journey): Promise<Ground> =>
  step(
    "Start weftd",
    () => Promise.race([useDaemon(context.daemon, (own) => (made.own = own)), interrupted]),
    ({ description }) => description
  )

const manyHosts = async ({ hosts, interrupted, made, step }: Journey): Promise<Ground> => {
  Hosts.refuseSecond()
  const there = leftoversOf(lab)
  if (there.length > 0) {
    throw new Failure(Exit.failed, `Another daemon on this machine has a lab "${lab}"`, `Remove it first: weft destroy ${lab}`)
  }
  const prepared = await step(
    "Make hosts",
    () => Promise.race([Hosts.prepareHosts(hostsOf(hosts), (own) => (made.own = own)), interrupted]),
    () => `Make ${hosts} hosts: namespaces on an underlay (${prefix})`
  )
  const client = await step(
    "Start weftd on each",
    () => Promise.race([prepared.start(), interrupted]),
    () => "Start etcd, and weftd on each host; they talk with mutual TLS"
  )
  return { client, address: prepared.address, description: "", own: prepared }
}

/** Tries every pair, and looks who is seen as whom. */
const prove = async (client: Client, inspected: InspectResponse, { interrupted, step }: Journey): Promise<ReadonlyArray<string>> => {
  const results = await step(
    "Reach",
    () => Promise.race([reach(client, inspected), interrupted]),
    (all) => `Ping and connect, from every host to every host: ${all.length} pairs`
  )
  const problems = [...showMatrix(inspected, results)]
  await step(
    "Addresses",
    async () => problems.push(...showAddresses(inspected, results)),
    () => "Look at the office client's address as it arrives elsewhere",
    "before"
  )
  return problems
}

/** A machine that is busy with other things may be late: then everything is tried once more, with patience. */
const reach = async (client: Client, inspected: InspectResponse): Promise<ReadonlyArray<ReachResult>> => {
  const attempt = (timeoutMs: number) => Array.fromAsync(client.reach({ lab, nodes: [], timeoutMs, ipv6: false }))
  const results = await attempt(1000)
  return surprisesOf(inspected, results).length === 0 ? results : attempt(4000)
}

const keep = async ({ address, client, own }: Ground, hosts: number): Promise<void> => {
  const inspected = await client.inspect(lab)
  const first = hostsIn(inspected)[0]?.host ?? ""
  const isDemos = own !== undefined || address.includes("/demo/")
  whatToTry({
    lab: inspected,
    address,
    fabric: hosts > 1 ? Hosts.fabricOf(first) : isDemos ? "weft.fabric.demo" : "weft.fabric",
    end: own?.end ?? `bin/weft destroy ${lab}`,
    more: hosts > 1 ? ["bin/weft hosts", `ip netns exec ${underlayName} tcpdump -ni br0 udp port 4789`] : []
  })
}

/**
 * What two demos at once would do to each other's lab is no demonstration. Another demo's daemon will have its lab in a
 * moment.
 */
const refuseSecond = async ({ address, client, own }: Ground): Promise<void> => {
  const deadline = performance.now() + (own === undefined && address === ownAddress ? otherDemoPatienceMs : 0)
  while (!(await client.list()).some(({ name }) => name === lab)) {
    if (performance.now() >= deadline) return
    await wait(50)
  }
  throw new Failure(
    Exit.failed,
    `A lab "${lab}" is deployed already: another demo runs, or one was left with --keep`,
    `Remove it with: weft destroy ${lab} --daemon ${address}`
  )
}

const isBusy = (error: unknown): boolean => error instanceof Failure && error.message.includes("being changed by another command")

/** Removes what was made and looks whether anything is left. Returns what is. */
const cleanUp = async (made: Made, step: Step): Promise<ReadonlyArray<string>> => {
  const { deploying, ground, own } = made
  const problems: Array<string> = []
  if (deploying === undefined && own === undefined) return problems
  if (ground !== undefined && deploying !== undefined) {
    // After Ctrl-C the daemon is still deploying: what it makes after the destroy would stay.
    await Promise.race([deploying, wait(settlePatienceMs, undefined, { ref: false })])
    await step(
      "Destroy",
      () => destroy(ground.client),
      (removed) => `Destroy it: ${removed} removed`
    ).catch((error: unknown) => problems.push(messageOf(error)))
  }
  const title = own?.ending ?? "Verify: no namespace is left"
  await step(
    "Verify",
    async () => {
      await own?.stop()
      // A daemon that never answered may have met another demo's, whose things are no leftovers.
      const left = ground === undefined ? [] : [...leftoversOf(lab), ...(own?.leftovers() ?? [])]
      if (left.length > 0) throw new Failure(Exit.failed, `left behind: ${left.join(", ")}`)
    },
    () => title
  ).catch((error: unknown) => problems.push(messageOf(error)))
  return problems
}

/** Removes the lab; waits for a deploy that is still under way. */
const destroy = async (client: Client): Promise<number> => {
  const deadline = performance.now() + settlePatienceMs
  const late = new Failure(
    Exit.failed,
    `Lab "${lab}" was not removed within ${settlePatienceMs / 1000} s`,
    `It may still be: weft list --daemon ${client.address}`
  )
  const abandoned = wait(settlePatienceMs, undefined, { ref: false }).then(() => Promise.reject(late))
  abandoned.catch(() => {})
  for (;;) {
    try {
      const outcome = await follow(client.destroy(lab), { verb: "Destroying", abandoned })
      if (outcome.end.kind === "done") return outcome.end.done.changed
      printFailed(outcome, outcome.end.failed)
      throw new Failure(Exit.failed, `Lab "${lab}" could not be destroyed`)
    } catch (error) {
      if (error instanceof NotFound) return 0
      if (!isBusy(error) || performance.now() > deadline) throw error
      await wait(100)
    }
  }
}

const messageOf = (error: unknown): string =>
  error instanceof Failure && error.hint !== undefined ? `${error.message}\n${error.hint}` : (error as Error).message
