/**
 * rtnetlink: traffic control, just enough to hang one eBPF program on the ingress of an interface
 * (include/uapi/linux/pkt_sched.h, pkt_cls.h; tc-bpf(8)).
 *
 *     tcmsg: family (1) pad (3) ifindex (4) handle (4) parent (4) info (4)
 */
import { attributes, Flag, text, u32, type Writer } from "../netlink.ts"

const RTM_NEWQDISC = 36
const RTM_DELQDISC = 37
const RTM_NEWTFILTER = 44
const RTM_GETTFILTER = 46

const TCA_KIND = 1
const TCA_OPTIONS = 2
const TCA_BPF_FD = 6
const TCA_BPF_NAME = 7
const TCA_BPF_FLAGS = 8
const TCA_BPF_ID = 11
const TCA_BPF_FLAG_ACT_DIRECT = 1

const TC_H_ROOT = 0xffffffff
const TC_H_CLSACT = 0xfffffff1
const clsactHandle = 0xffff0000
const ingressParent = 0xfffffff2
const ETH_P_ALL = 0x0003
const headerLength = 20

const header = (out: Writer, index: number, fields: { handle: number; parent: number; info: number }): void => {
  out.u32(0)
  out.u32(index)
  out.u32(fields.handle)
  out.u32(fields.parent)
  out.u32(fields.info)
}

/** tc's `info` of a filter: priority in the high half, protocol in network order in the low half. */
const filterInfo = (priority: number): number => ((priority << 16) | ((ETH_P_ALL << 8) & 0xff00)) >>> 0

/** `tc qdisc replace dev INDEX clsact`. */
export const addClsact = (out: Writer, index: number): number => {
  const sequence = out.begin(RTM_NEWQDISC, Flag.create | Flag.replace)
  header(out, index, { handle: clsactHandle, parent: TC_H_CLSACT, info: 0 })
  out.attributeText(TCA_KIND, "clsact")
  out.end()
  return sequence
}

/** `tc qdisc del dev INDEX root`: the kernel's own takes its place. */
export const removeRootQdisc = (out: Writer, index: number): number => {
  const sequence = out.begin(RTM_DELQDISC, 0)
  header(out, index, { handle: 0, parent: TC_H_ROOT, info: 0 })
  out.end()
  return sequence
}

/** `tc filter replace dev INDEX ingress prio 1 handle 1 bpf direct-action`, with the program behind `programFd`. */
export const addIngressFilter = (out: Writer, index: number, programFd: number, name: string): number => {
  const sequence = out.begin(RTM_NEWTFILTER, Flag.create | Flag.replace)
  header(out, index, { handle: 1, parent: ingressParent, info: filterInfo(1) })
  out.attributeText(TCA_KIND, "bpf")
  const options = out.nestBegin(TCA_OPTIONS)
  out.attributeU32(TCA_BPF_FD, programFd)
  out.attributeText(TCA_BPF_NAME, name)
  out.attributeU32(TCA_BPF_FLAGS, TCA_BPF_FLAG_ACT_DIRECT)
  out.nestEnd(options)
  out.end()
  return sequence
}

/** The filters at the ingress of one interface. */
export const dumpIngressFilters = (out: Writer, index: number): void => {
  out.begin(RTM_GETTFILTER, Flag.dump)
  header(out, index, { handle: 0, parent: ingressParent, info: 0 })
  out.end()
}

export interface Filter {
  readonly index: number
  readonly name: string
  /** The eBPF program's id. */
  readonly programId: number
}

/** The filter of a RTM_NEWTFILTER body; undefined when it is no eBPF filter. */
export const decodeFilter = (body: Uint8Array): Filter | undefined => {
  let kind = ""
  let name = ""
  let programId = 0
  attributes(body, headerLength, (type, value) => {
    if (type === TCA_KIND) kind = text(value)
    else if (type === TCA_OPTIONS) {
      attributes(value, 0, (inner, data) => {
        if (inner === TCA_BPF_NAME) name = text(data)
        else if (inner === TCA_BPF_ID) programId = u32(data)
      })
    }
  })
  return kind === "bpf" && programId !== 0 ? { index: u32(body, 4), name, programId } : undefined
}
