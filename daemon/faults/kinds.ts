/** Every kind of fault, by the key that names it in a file and on the command line. To add one: a file in `kinds/`, a line here. */
import type { FaultKind } from "./kind.ts"
import { bgpMed, bgpPrepend } from "./kinds/bgp-attributes.ts"
import { bgpDown, bgpReset } from "./kinds/bgp-session.ts"
import { brownout } from "./kinds/brownout.ts"
import { conntrackFull } from "./kinds/conntrack-full.ts"
import { daemonRestart } from "./kinds/daemon-restart.ts"
import { dnsFailure } from "./kinds/dns-failure.ts"
import { firewallMissing, firewallRule } from "./kinds/firewall.ts"
import { flap } from "./kinds/flap.ts"
import { icmpBlocked } from "./kinds/icmp-blocked.ts"
import { corrupt, delay, duplicate, impair, jitter, loss, rate, reorder } from "./kinds/impairments.ts"
import { linkDown } from "./kinds/link-down.ts"
import { mtu } from "./kinds/mtu.ts"
import { natExhausted, natExtra, natMissing } from "./kinds/nat.ts"
import { hostLoss, nodeCrash, nodeRestart } from "./kinds/node-crash.ts"
import { nodePause } from "./kinds/node-pause.ts"
import { oneWay } from "./kinds/one-way.ts"
import { partition } from "./kinds/partition.ts"
import { routeHijack } from "./kinds/route-hijack.ts"
import { routeLeak } from "./kinds/route-leak.ts"
import { routeWithdraw } from "./kinds/route-withdraw.ts"
import { blackhole, routeMissing } from "./kinds/static-route.ts"

export const kinds = {
  "link-down": linkDown,
  flap,
  "one-way": oneWay,
  delay,
  jitter,
  loss,
  duplicate,
  corrupt,
  reorder,
  rate,
  impair,
  brownout,
  mtu,
  partition,
  "node-crash": nodeCrash,
  "node-restart": nodeRestart,
  "node-pause": nodePause,
  "host-loss": hostLoss,
  "daemon-restart": daemonRestart,
  blackhole,
  "route-missing": routeMissing,
  "route-withdraw": routeWithdraw,
  "route-hijack": routeHijack,
  "route-leak": routeLeak,
  "bgp-down": bgpDown,
  "bgp-reset": bgpReset,
  "bgp-med": bgpMed,
  "bgp-prepend": bgpPrepend,
  "nat-missing": natMissing,
  "nat-extra": natExtra,
  "nat-exhausted": natExhausted,
  "firewall-missing": firewallMissing,
  "firewall-rule": firewallRule,
  "icmp-blocked": icmpBlocked,
  "conntrack-full": conntrackFull,
  "dns-failure": dnsFailure
} as const

export const kindNames: ReadonlyArray<string> = Object.keys(kinds)

/** A kind whose spec is not known any more: what it takes has been checked by its own schema. */
export const kindOf = (name: string): FaultKind<unknown> | undefined =>
  Object.hasOwn(kinds, name) ? (kinds[name as keyof typeof kinds] as unknown as FaultKind<unknown>) : undefined
