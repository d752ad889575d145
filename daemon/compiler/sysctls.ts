/**
 * What a node's network namespace is set to before the user's own `sysctls`.
 *
 * Each line costs a write in every node of a lab, so only what would surprise a network engineer is here. `default` and
 * not `all` where interfaces take their value when they are made, which is after the node is.
 */
import type { Node } from "../topology/model.ts"

const everyNode: Readonly<Record<string, string>> = {
  // IPv4 settings of a new namespace are copied from the host's (devinet_init_net), where a distribution may filter
  // by reverse path; asymmetric routing is normal in a lab. The kernel takes the higher of the two.
  "net.ipv4.conf.all.rp_filter": "0",
  "net.ipv4.conf.default.rp_filter": "0",
  // When an address of a subnet goes, the next one takes over; the kernel would drop it, too, and with it every route that
  // leads through the subnet (__inet_del_ifa).
  "net.ipv4.conf.all.promote_secondaries": "1",
  // Spread flows, not address pairs, over equal-cost paths: hash ports, too.
  "net.ipv4.fib_multipath_hash_policy": "1",
  "net.ipv6.fib_multipath_hash_policy": "1",
  // Traceroute and path MTU discovery must see every error. An empty mask exempts all types from the limit per peer
  // and from the global one (icmpv4_mask_allow); icmp_msgs_per_sec=0 would mean "none at all".
  "net.ipv4.icmp_ratemask": "0",
  // The same for IPv6, whose mask is a list of types: type 0 does not exist, and an empty list cannot be read back.
  "net.ipv6.icmp.ratemask": "0",
  // IPv6 addresses are usable at once: no duplicate address detection (addrconf_dad_begin; `all` is 0 already).
  "net.ipv6.conf.default.accept_dad": "0",
  // Addresses and routes come from the topology, not from whoever sends router advertisements (CVE-2020-10749).
  "net.ipv6.conf.default.accept_ra": "0",
  // `ping` works for every user, and without a raw socket.
  "net.ipv4.ping_group_range": "0 2147483647"
}

const ofRole: Readonly<Record<Node["role"], Readonly<Record<string, string>>>> = {
  // Copied from the host like rp_filter: on a machine with Docker it would be 1.
  host: { "net.ipv4.ip_forward": "0" },
  router: {
    "net.ipv4.ip_forward": "1",
    "net.ipv6.conf.all.forwarding": "1",
    // A static route over a port without carrier gives way to the next best, as on a router people buy.
    "net.ipv4.conf.all.ignore_routes_with_linkdown": "1",
    "net.ipv6.conf.default.ignore_routes_with_linkdown": "1"
  }
}

/** Defaults of a node, forwarding first: switching it resets other settings (inet_forward_change). */
export const defaultSysctls = (role: Node["role"]): Readonly<Record<string, string>> => ({ ...ofRole[role], ...everyNode })
