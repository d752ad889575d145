/**
 * `weft demo`: a whole life of a lab, in steps that each say how long they took. Whatever happens on the way, also
 * Ctrl-C, ends in the same clean-up: the lab is destroyed, an own daemon is stopped, the machine is searched.
 */

import { fileURLToPath } from "node:url"
import { setTimeout as wait } from "node:timers/promises"
import type { Client } from "../client.ts"
import { Exit, Failure, NotFound } from "../command.ts"
import type { Context, InputOf } from "../command.ts"
import { duration, figures, follow, printFailed } from "../converge.ts"
import { leftoversOf } from "../demo/leftovers.ts"
import { ownAddress, tailOf, useDaemon } from "../demo/daemon.ts"
import type { DemoDaemon, OwnDaemon } from "../demo/daemon.ts"
import type { InspectResponse, Node, ReachResult } from "../messages.ts"
import { matrixLines } from "../render/reach.ts"
import { print, printError, styleOf, widthOf } from "../terminal.ts"
import { readTopology } from "../topology-file.ts"
import { draw, save } from "./graph.ts"
import type { specs } from "./table.ts"

const lab = "demo"
const drawing = "./weft-demo.svg"
const topologyFile = fileURLToPath(new URL("../../topologies/hybrid-idc-aws-office.weft.yaml", import.meta.url))

/** How long the clean-up waits for the daemon to remove the lab, also after a deploy that the user interrupted. */
const settlePatienceMs = 60_000

/** How soon another demo, whose daemon answers, deploys. */
const otherDemoPatienceMs = 1500

/** What the demo has made so far: what the clean-up must undo. */
interface Made {
  daemon?: DemoDaemon
  own?: OwnDaemon
  /** Ends when the daemon is done with the deploy, well or not. Absent: nothing was deployed. */
  deploying?: Promise<unknown>
}

export const run = async (input: InputOf<typeof specs.demo>, context: Context): Promise<number> => {
  const started = performance.now()
  const style = styleOf(process.stdout)
  const made: Made = {}
  const interrupted = interruption()
  const step = stepper(input.keep ? 5 : 7)
  const problems: Array<string> = []
  let failure: unknown

  print(`${style.bold("weft demo")}: an office, an IDC and an AWS VPC, joined by private links and by the internet\n`)
  try {
    problems.push(...(await tour(context, { made, interrupted, step })))
  } catch (error) {
    failure = error
  }
  if (input.keep && failure === undefined && made.daemon !== undefined) {
    whatToTry(await made.daemon.client.inspect(lab), made.daemon)
    made.own?.leave()
  } else {
    problems.push(...(await cleanUp(made, step).catch((error: unknown) => [messageOf(error)])))
  }
  made.daemon?.client.close()

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

interface Journey {
  readonly made: Made
  readonly interrupted: Promise<never>
  readonly step: Step
}

/** Everything up to the clean-up. Returns what was not as it should be. */
const tour = async (context: Context, { interrupted, made, step }: Journey): Promise<ReadonlyArray<string>> => {
  const daemon = await step(
    "",
    () => Promise.race([useDaemon(context.daemon, (own) => (made.own = own)), interrupted]),
    ({ description }) => description
  )
  made.daemon = daemon
  const { client } = daemon

  const topology = readTopology(topologyFile, lab)
  await step(
    "Deploy",
    async () => {
      await Promise.race([refuseSecond(daemon), interrupted])
      const deploying = follow(client.deploy(topology, false), { verb: "Deploying" })
      made.deploying = deploying.catch((error: unknown) => {
        // It is another demo's lab, and that one's to remove.
        if (isBusy(error)) delete made.deploying
      })
      const outcome = await Promise.race([deploying, interrupted])
      if (outcome.end.kind === "done") return outcome
      printFailed(outcome, outcome.end.failed)
      throw new Failure(
        Exit.failed,
        "The demo's topology could not be deployed",
        made.own === undefined ? undefined : tailOf(made.own.logFile)
      )
    },
    ({ planned }) => `Deploy it: ${figures(planned) || "nothing to do, it runs already"}`
  )

  const inspected = await Promise.race([client.inspect(lab), interrupted])
  const hosts = inspected.nodes.filter(({ kind }) => kind === "host")
  const results = await step(
    "Reach",
    () => Promise.race([gather(client.reach({ lab, nodes: [], timeoutMs: 1000, ipv6: false })), interrupted]),
    (all) => `Ping and connect, from every host to every host: ${all.length} pairs`
  )
  const problems = [...showMatrix(hosts, results)]
  await step(
    "Addresses",
    async () => problems.push(...showAddresses(hosts, results)),
    () => "Look at the office client's address as it arrives elsewhere",
    "before"
  )
  await step(
    "Draw",
    async () => save(drawing, draw(inspected, "svg")),
    () => `Draw it: ${drawing}`
  )
  return problems
}

/**
 * What two demos at once would do to each other's lab is no demonstration. Another demo's daemon will have its lab in a
 * moment.
 */
const refuseSecond = async ({ address, client, own }: DemoDaemon): Promise<void> => {
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
  const { daemon, deploying, own } = made
  const problems: Array<string> = []
  if (deploying === undefined && own === undefined) return problems
  if (daemon !== undefined && deploying !== undefined) {
    // After Ctrl-C the daemon is still deploying: what it makes after the destroy would stay.
    await Promise.race([deploying, wait(settlePatienceMs, undefined, { ref: false })])
    await step(
      "Destroy",
      () => destroy(daemon.client),
      (removed) => `Destroy it: ${removed} removed`
    ).catch((error: unknown) => problems.push(messageOf(error)))
  }
  const title = own === undefined ? "Verify: no namespace is left" : "Stop weftd, verify: no namespace, process or socket is left"
  await step(
    "Verify",
    async () => {
      await own?.stop()
      // A daemon that never answered may have met another demo's, whose things are no leftovers.
      const left = daemon === undefined ? [] : leftoversOf(lab, own?.pid)
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

// ---- what is shown -------------------------------------------------------------------------------------------------

const siteOf = (node: Node | undefined): string => node?.labels["site"] ?? ""

/** The internet knows no private address: from there the sites must not be reachable, and everything else must be. */
const expectation = (hosts: ReadonlyArray<Node>) => {
  const sites = new Map(hosts.map((host) => [host.name, siteOf(host)]))
  return (from: string, to: string): boolean => sites.get(from) !== "internet" || sites.get(to) === "internet"
}

const showMatrix = (hosts: ReadonlyArray<Node>, results: ReadonlyArray<ReachResult>): ReadonlyArray<string> => {
  const style = styleOf(process.stdout)
  const expected = expectation(hosts)
  const width = Math.min(100, widthOf(process.stdout))
  const rows = hosts.map((host) => ({ name: host.name, site: siteOf(host) }))
  print("")
  for (const line of matrixLines(rows, results, { width: width - 6, style, expected })) print(`      ${line}`)
  print(style.dim("      ✓✓ = answers ping and TCP, round trip in ms; ✗✗ from the internet is right:"))
  print(style.dim("      nobody out there knows the private addresses"))
  print("")
  const wanted = hosts.length * (hosts.length - 1)
  const missing = results.length === wanted ? [] : [`${wanted - results.length} of ${wanted} pairs were not tried`]
  return [
    ...missing,
    ...results.flatMap((result) => {
      const should = expected(result.from, result.to)
      if (result.icmp === should && result.tcp === should) return []
      return [
        should
          ? `${result.from} does not reach ${result.to} (${result.address}): ${result.error || "no answer"}`
          : `${result.from} reaches ${result.to} (${result.address}), though the internet should not know that address`
      ]
    })
  ]
}

const showAddresses = (hosts: ReadonlyArray<Node>, results: ReadonlyArray<ReachResult>): ReadonlyArray<string> => {
  const style = styleOf(process.stdout)
  const client = hosts.find((host) => siteOf(host) === "office")
  if (client === undefined) return ["the topology has no host with the label site=office"]
  const others = hosts.filter((host) => siteOf(host) !== "office")
  const widest = Math.max(...others.map(({ name }) => name.length))
  return others.flatMap((host) => {
    const result = results.find(({ from, to }) => from === client.name && to === host.name)
    if (result === undefined || !result.tcp)
      return [`${client.name} has no connection to ${host.name}, so its address cannot be seen there`]
    const translated = result.seenAs !== result.source
    const right = translated === (siteOf(host) === "internet")
    const verdict = translated ? "NAT" : "no NAT"
    print(
      `      ${client.name} ${result.source} → ${host.name.padEnd(widest)}  ${siteOf(host).padEnd(8)}  `
        + `arrives as ${result.seenAs.padEnd(15)} ${right ? style.green(`✓ ${verdict}`) : style.red(`✗ ${verdict}`)}`
    )
    return right ? [] : [`${client.name} arrives at ${host.name} as ${result.seenAs} (${verdict}), which is wrong`]
  })
}

const whatToTry = (inspected: InspectResponse, daemon: DemoDaemon): void => {
  const style = styleOf(process.stdout)
  const hosts = inspected.nodes.filter(({ kind }) => kind === "host")
  const client = hosts.find((host) => siteOf(host) === "office") ?? hosts[0]
  const server = hosts.find((host) => siteOf(host) === "idc") ?? hosts.at(-1)
  const port = client?.ports.find(({ fabricName }) => fabricName !== "")
  const fabric = daemon.own === undefined && !daemon.address.includes("/demo/") ? "weft.fabric" : "weft.fabric.demo"
  const stop = daemon.own === undefined ? "" : ` && kill ${daemon.own.pid} && rm -r ${daemon.own.directory}`
  print(`\n${style.bold("It is still running. Try:")}`)
  for (const line of [
    `export WEFT_DAEMON=${daemon.address}`,
    "bin/weft list",
    `bin/weft inspect ${lab} --routes`,
    `bin/weft exec -it ${client?.name} -- bash`,
    `bin/weft exec ${client?.name} -- ping -c 3 ${server?.name}`,
    `ip netns exec ${client?.netns} ip address`,
    `ip netns exec ${fabric} tcpdump -ni ${port?.fabricName}`,
    `bin/weft graph ${lab} -w lab.svg`,
    `bin/weft destroy ${lab}${stop}    ${style.dim("# the end")}`
  ])
    print(`  ${line}`)
}

// ---- steps ---------------------------------------------------------------------------------------------------------

type Step = <A>(name: string, work: () => Promise<A>, title: (result: A) => string, titled?: "before") => Promise<A>

/** Numbers the steps, times them and prints a line for each; a failed one gets a line too. */
const stepper = (total: number): Step => {
  let number = 0
  return async (name, work, title, titled) => {
    const style = styleOf(process.stdout)
    const head = style.dim(`[${++number}/${total}]`)
    const start = performance.now()
    // A step that prints something itself has its title above that.
    if (titled === "before") print(`${head} ${title(undefined as never)}`)
    try {
      const result = await work()
      if (titled === undefined)
        print(`${head} ${title(result).padEnd(62)} ${style.dim(duration(performance.now() - start).padStart(8))}`)
      else print("")
      return result
    } catch (error) {
      print(`${head} ${style.red("✗")} ${name === "" ? "Start weftd" : name}`)
      throw error
    }
  }
}

/** Rejects at the first Ctrl-C or SIGTERM; from then on, further ones only ask for patience. */
const interruption = (): Promise<never> => {
  let heard = false
  const promise = new Promise<never>((_, reject) => {
    for (const signal of ["SIGINT", "SIGTERM"] as const) {
      process.on(signal, () => {
        if (heard) return printError("Cleaning up, please wait.")
        heard = true
        printError("\nInterrupted, cleaning up.")
        reject(new Failure(130, "Interrupted; everything was cleaned up as far as the lines above say"))
      })
    }
  })
  promise.catch(() => {})
  return promise
}

const gather = async <A>(stream: AsyncIterable<A>): Promise<ReadonlyArray<A>> => {
  const all: Array<A> = []
  for await (const each of stream) all.push(each)
  return all
}

const messageOf = (error: unknown): string =>
  error instanceof Failure && error.hint !== undefined ? `${error.message}\n${error.hint}` : (error as Error).message
