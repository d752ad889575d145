/**
 * What this machine can and cannot do, what each thing is for, and what to type about it.
 *
 * Each check really tries, in a network namespace without a name that is gone afterwards, and explains only what failed.
 * Nothing on the machine changes, except that the kernel may load a module of its own when it is asked for one.
 *
 *     doctor.ts           the list of findings
 *     doctor-kernel.ts    what needs a namespace to try: interfaces, eBPF, nftables
 *     doctor-limits.ts    numbers: tables, descriptors, processes, memory
 *     doctor-underlay.ts  the network between hosts
 *
 * MISSING: weft does not work without. WARNING: something of weft does not work, or will not at some size. OK with an
 * explanation: the kernel lacks it, and weft does without.
 */
import { accessSync, constants, existsSync } from "node:fs"
import { request } from "node:http"
import { release } from "node:os"
import { delimiter, join } from "node:path"
import { kernelFindings } from "./doctor-kernel.ts"
import { limitFindings } from "./doctor-limits.ts"
import { type Underlay, underlayFindings } from "./doctor-underlay.ts"
import { type Finding, fine } from "./finding.ts"
import { lackHere, rightsAdvice } from "./rights.ts"

/** Namespaces that carry the mark of a weftd that does not run. */
export interface Leftover {
  readonly instance: string
  readonly namespaces: ReadonlyArray<string>
}

export interface DoctorDependencies {
  /** The eBPF object that weft loads: loading it is the check. */
  readonly bpfObject: string
  /** Where the Docker engine of this machine listens. */
  readonly dockerSocket: string
  readonly leftovers: () => ReadonlyArray<Leftover> | Promise<ReadonlyArray<Leftover>>
  /** Absent: a weftd without other hosts. */
  readonly underlay?: Underlay | undefined
}

/** All findings, in the order in which a person sets things right. Never fails; takes well under a second. */
export const doctor = async (dependencies: DoctorDependencies): Promise<ReadonlyArray<Finding>> => {
  // Programs that are waited for run beside each other.
  const { bpfObject, dockerSocket } = dependencies
  const [kernel, docker, underlay, leftovers] = await Promise.all([
    kernelFindings(bpfObject),
    dockerFinding(dockerSocket),
    underlayFindings(dependencies.underlay),
    dependencies.leftovers()
  ])
  return [
    rightsFinding(),
    kernelVersionFinding(release()),
    netnsDirectoryFinding(),
    ...kernel,
    ...programs.map(programFinding),
    docker,
    kvmFinding(),
    ...limitFindings(),
    ...underlay,
    leftoverFinding(leftovers)
  ]
}

const rightsFinding = (): Finding => {
  const subject = "rights"
  const neededFor = "making namespaces, interfaces and eBPF programs"
  const uid = process.geteuid?.() ?? -1
  const remedy = "sudo bin/weftd"
  if (uid !== 0) return { subject, verdict: "MISSING", detail: `weftd runs as uid ${uid}, not as root`, neededFor, remedy }
  const detail = lackHere()
  if (detail === undefined) return fine(subject, "root, with all capabilities that are needed", neededFor)
  return { subject, verdict: "MISSING", detail, neededFor, remedy: rightsAdvice }
}

/** Exported for its test: `release` is what `uname -r` says. */
export const kernelVersionFinding = (version: string): Finding => {
  const subject = "kernel"
  const neededFor = "bpf_redirect_peer with networks, nexthop groups"
  const [major = 0, minor = 0] = version.split(".").map((part) => Number.parseInt(part, 10))
  if (major > 5 || (major === 5 && minor >= 15)) return fine(subject, `Linux ${version}`, neededFor)
  const detail = `Linux ${version}, older than 5.15`
  return { subject, verdict: "MISSING", detail, neededFor, remedy: "install a kernel of Debian 12 or newer" }
}

const netnsDirectoryFinding = (): Finding => {
  const subject = "/run/netns"
  const neededFor = "namespaces that have a name, for ip netns exec"
  // It need not exist: weftd makes it as `ip netns add` does.
  const path = existsSync("/run/netns") ? "/run/netns" : "/run"
  try {
    accessSync(path, constants.W_OK)
    return fine(subject, path === "/run" ? "not there yet; weftd makes it" : "writable", neededFor)
  } catch {
    const remedy = process.geteuid?.() === 0 ? "mount -o remount,rw /run" : "sudo bin/weftd"
    return { subject, verdict: "MISSING", detail: `${path} is not writable`, neededFor, remedy }
  }
}

interface Program {
  readonly name: string
  readonly neededFor: string
  readonly verdict: "WARNING" | "MISSING"
  readonly packageName: string
}

const programs: ReadonlyArray<Program> = [
  { name: "nft", neededFor: "NAT and MSS clamping", verdict: "MISSING", packageName: "nftables" },
  { name: "ip", neededFor: "looking inside nodes: weft exec NODE -- ip route", verdict: "WARNING", packageName: "iproute2" },
  { name: "ping", neededFor: "looking inside nodes: weft exec NODE -- ping", verdict: "WARNING", packageName: "iputils-ping" }
]

const programFinding = ({ name, neededFor, verdict, packageName }: Program): Finding => {
  const folders = [...(process.env["PATH"] ?? "").split(delimiter), "/usr/sbin", "/sbin"]
  const found = folders.map((folder) => join(folder, name)).find(existsSync)
  if (found !== undefined) return fine(name, found, neededFor)
  return { subject: name, verdict, detail: "not found in PATH", neededFor, remedy: `apt-get install ${packageName}` }
}

/** A Docker that runs answers within milliseconds, on a busy machine within a second. */
const dockerPatienceMs = 3000

const dockerFinding = (dockerSocket: string): Promise<Finding> =>
  new Promise((resolve) => {
    const subject = "Docker"
    const neededFor = "container nodes; nothing else"
    const missing = (detail: string, remedy: string) => resolve({ subject, verdict: "WARNING", detail, neededFor, remedy })
    if (!existsSync(dockerSocket)) return missing(`no ${dockerSocket}`, "apt-get install docker.io")
    const call = request({ socketPath: dockerSocket, path: "/_ping", timeout: dockerPatienceMs }, (response) => {
      response.resume()
      resolve(fine(subject, `answers, API ${String(response.headers["api-version"] ?? "unknown")}`, neededFor))
    })
    call.on("timeout", () => call.destroy(new Error(`no answer within ${dockerPatienceMs / 1000} s`)))
    call.on("error", (error) => missing(`does not answer at ${dockerSocket}: ${error.message}`, "systemctl start docker"))
    call.end()
  })

const kvmFinding = (): Finding => {
  const subject = "KVM"
  const neededFor = "vm nodes at full speed; nothing else"
  try {
    accessSync("/dev/kvm", constants.R_OK | constants.W_OK)
    return fine(subject, "/dev/kvm", neededFor)
  } catch {
    const detail = "no usable /dev/kvm: vm nodes are emulated, about ten times slower"
    return { subject, verdict: "WARNING", detail, neededFor, remedy: "modprobe kvm_intel || modprobe kvm_amd" }
  }
}

const leftoverFinding = (leftovers: ReadonlyArray<Leftover>): Finding => {
  const subject = "leftovers"
  const neededFor = "a machine as clean as weft found it"
  const first = leftovers[0]
  if (first === undefined) return fine(subject, "no namespace of a weftd that does not run", neededFor)
  const described = leftovers.map(
    ({ instance, namespaces }) => `${namespaces.length} of instance "${instance}" (${namespaces[0] ?? ""}, ...)`
  )
  const detail = `namespaces of a weftd that does not run: ${described.join("; ")}`
  return { subject, verdict: "WARNING", detail, neededFor, remedy: `bin/weftd --instance ${first.instance}, then destroy its labs` }
}
