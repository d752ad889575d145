/** The part of `doctor` that tries the kernel out, in a namespace made for it. */
import { closeSync, openSync } from "node:fs"
import { addon } from "../native/index.ts"
import { Writer } from "../wire/netlink.ts"
import * as Kind from "../wire/rtnetlink/kind.ts"
import * as Link from "../wire/rtnetlink/link.ts"
import * as Tc from "../wire/rtnetlink/tc.ts"
import { load, type PortProgram } from "./bpf.ts"
import { reasonOf } from "./errors.ts"
import { type Finding, fine } from "./finding.ts"
import { runInNetns } from "./process.ts"

const loopback = 1

/** Errno name and the kernel's text of the first request that failed, or undefined when all went well. */
const refusalOf = (netns: number, write: (out: Writer) => unknown): { readonly code: string; readonly text: string } | undefined => {
  const out = new Writer(512)
  write(out)
  const [failure] = addon.netlinkBatch(netns, out.finish())
  if (failure === undefined) return undefined
  const [, code, text] = failure
  return { code, text: text === "" ? code : `${code} (${text})` }
}

/** What needs a fresh namespace to find out. Without one there is a single finding that says so. */
export const kernelFindings = async (bpfObject: string): Promise<ReadonlyArray<Finding>> => {
  let netns: number
  const neededFor = "every node is one"
  try {
    netns = addon.netnsAnonymous()
  } catch (error) {
    const remedy = "run weftd as root; see also: sysctl user.max_net_namespaces"
    return [{ subject: "namespaces", verdict: "MISSING", detail: reasonOf(error), neededFor, remedy }]
  }
  try {
    return [
      fine("namespaces", "network namespaces can be made", neededFor),
      vethFinding(netns),
      ...bpfFindings(netns, bpfObject),
      await nftablesFinding(netns),
      tapFinding(),
      ...optionalFindings(netns)
    ]
  } finally {
    addon.close(netns)
  }
}

const vethFinding = (netns: number): Finding => {
  const neededFor = "every port is one"
  const end = { name: "weft0", index: 0, mtu: 1500 }
  const refusal = refusalOf(netns, (out) => Link.addVeth(out, { local: end, peer: { ...end, name: "weft1" }, peerNetns: netns, group: 0 }))
  if (refusal === undefined) return fine("veth", "pairs can be made", neededFor)
  return { subject: "veth", verdict: "MISSING", detail: refusal.text, neededFor, remedy: "modprobe veth" }
}

/** Loads weft's own program, then hangs it on an interface. */
const bpfFindings = (netns: number, bpfObject: string): ReadonlyArray<Finding> => {
  const neededFor = "the fast path: every frame between nodes"
  let program: PortProgram
  try {
    program = load(bpfObject)
  } catch (error) {
    const remedy = "a kernel with CONFIG_BPF_SYSCALL and CONFIG_BPF_JIT; in a container: --privileged"
    return [{ subject: "eBPF", verdict: "MISSING", detail: reasonOf(error), neededFor, remedy }]
  }
  try {
    const loaded = fine("eBPF", "weft's program passes the verifier", neededFor)
    const clsact = refusalOf(netns, (out) => Tc.addClsact(out, loopback))
    const refusal = clsact ?? refusalOf(netns, (out) => Tc.addIngressFilter(out, loopback, program.programFd, "weft-doctor"))
    if (refusal === undefined) return [loaded, fine("clsact, cls_bpf", "the program can be attached", neededFor)]
    const remedy = "modprobe sch_ingress && modprobe cls_bpf"
    return [loaded, { subject: "clsact, cls_bpf", verdict: "MISSING", detail: refusal.text, neededFor, remedy }]
  } finally {
    program.close()
  }
}

/** Everything that weft asks of nftables, in one transaction. */
const natRules = `table ip weft {
  chain out {
    type nat hook postrouting priority srcnat
    ip saddr 10.0.0.0/8 masquerade
  }
  chain in {
    type nat hook prerouting priority dstnat
    tcp dport 80 dnat to 10.0.0.1:8080
  }
  chain mss {
    type filter hook forward priority mangle
    tcp flags syn tcp option maxseg size set rt mtu
  }
}
`

const nftablesFinding = async (netns: number): Promise<Finding> => {
  const subject = "nftables"
  const neededFor = "NAT and MSS clamping"
  const remedy = "apt-get install nftables && modprobe nft_chain_nat && modprobe nft_masq"
  try {
    // The namespace has no name; its descriptor, seen from outside this process, is a path too.
    const netnsPath = `/proc/${process.pid}/fd/${netns}`
    const { code, stderr, timedOut } = await runInNetns({ netnsPath, argv: ["nft", "-f", "-"] }, { timeoutMs: 3000, stdin: natRules })
    if (code === 0) return fine(subject, "NAT and MSS rules are accepted in a new namespace", neededFor)
    const detail = timedOut ? "nft did not end within 3 s" : (stderr.trim().split("\n")[0] ?? `nft ended with ${code}`)
    return { subject, verdict: "MISSING", detail, neededFor, remedy }
  } catch (error) {
    return { subject, verdict: "MISSING", detail: reasonOf(error), neededFor, remedy: "npm run build" }
  }
}

const tapFinding = (): Finding => {
  const neededFor = "vm nodes and impaired links; nothing else"
  try {
    closeSync(openSync("/dev/net/tun", "r+"))
    return fine("TAP", "/dev/net/tun", neededFor)
  } catch (error) {
    const remedy = "modprobe tun; in a container: --device /dev/net/tun"
    return { subject: "TAP", verdict: "WARNING", detail: reasonOf(error), neededFor, remedy }
  }
}

interface Optional {
  readonly kind: string
  readonly isQdisc?: boolean
  readonly neededFor: string
  /** What weft does where the kernel lacks it. */
  readonly without: string
  /** Whether something of weft does not work without it. */
  readonly verdict: "OK" | "WARNING"
}

const unused = "weft does not use it"
const ownUse = `${unused}; only commands of your own in nodes that ask for it fail`

const optionals: ReadonlyArray<Optional> = [
  { kind: "vxlan", neededFor: "the fast path between hosts; nothing else", without: "the engine carries tunnels", verdict: "WARNING" },
  { kind: "netem", isQdisc: true, neededFor: "nothing of weft", without: ownUse, verdict: "OK" },
  { kind: "geneve", neededFor: "nothing of weft", without: `${ownUse}; the engine speaks it`, verdict: "OK" },
  { kind: "gre", neededFor: "nothing of weft", without: `${ownUse}; the engine speaks it`, verdict: "OK" },
  { kind: "vlan", neededFor: "nothing of weft", without: ownUse, verdict: "OK" },
  { kind: "vrf", neededFor: "nothing of weft", without: `${unused}: routing tables and rules do its work`, verdict: "OK" },
  { kind: "dummy", neededFor: "nothing of weft", without: ownUse, verdict: "OK" },
  { kind: "wireguard", neededFor: "nothing of weft", without: ownUse, verdict: "OK" }
]

const optionalFindings = (netns: number): ReadonlyArray<Finding> =>
  optionals.map(({ kind, isQdisc, neededFor, without, verdict }) => {
    const refusal =
      isQdisc === true
        ? refusalOf(netns, (out) => Kind.addQdiscOfKind(out, kind, loopback))
        : refusalOf(netns, (out) => Kind.addLinkOfKind(out, kind, "weft2"))
    // Names are taken one after the other in one namespace: whatever was made goes at once.
    if (refusal === undefined && isQdisc !== true) refusalOf(netns, (out) => Kind.removeLinkOfName(out, "weft2"))
    const unknown = isQdisc === true ? Kind.unknownQdisc : Kind.unknownLink
    if (refusal?.code !== unknown) return fine(kind, "in this kernel", neededFor)
    const remedy = verdict === "OK" ? "" : `modprobe ${kind}`
    return { subject: kind, verdict, detail: `not in this kernel: ${without}`, neededFor, remedy }
  })
