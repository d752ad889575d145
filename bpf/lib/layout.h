/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * What the maps hold, in host byte order. daemon/linux/bpf-layout.ts reads and writes the same octets.
 *
 * A running lab keeps its maps when the daemon is replaced, so a change of meaning or size here must go with a new
 * number in the program's name (weft_port_N): a daemon adopts maps of its own number only. Layout 2 is layout 1 and the
 * maps of tunnels, layout 3 is layout 2 and `neighbors`, `answered`, `news` and stations that were told, layout 4 is layout 3
 * with gates, `limits` and room for more reasons in `counters`, layout 5 is layout 4 with `places`, `copies`, `recent_of`,
 * `recent_origins` and `epoch`: what former ones wrote means the same, so a daemon takes over their maps too, but for counters
 * of another size.
 */
#pragma once

#include <linux/bpf.h>
#include <linux/types.h>
#include <stdbool.h>

#include "drop_reasons.h"

#define MAX_PORTS 16384
#define MAX_TUNNELS MAX_PORTS
/* Only ports with an ifindex below this have copies, and all tunnel ends. */
#define MAX_NEAR 32768
/* A new copy of each port beside the old one; 0 is none. */
#define MAX_COPIES (2 * MAX_PORTS + 1)
#define MAX_SEGMENTS 16384
#define MAX_FDB 65536
#define MAX_NEIGHBORS 65536

enum port_kind {
	PORT_P2P = 1,	  /* a wire: every frame goes to one other port */
	PORT_NETWORK = 2, /* a port of a learning switch */
	PORT_TUNNELS = 3, /* a VXLAN device: each frame belongs to the tunnel end that it came from */
};

/* From here on the index of a port is no ifindex but says which tunnel end it is. */
#define FIRST_TUNNEL 0x80000000

/* Deliver through the interface's egress, where tcpdump sees it. */
#define END_VISIBLE 1
/* Its frames come from another host, where all its other members have got them already: split horizon. */
#define END_TUNNEL 2
/* A gate, which faults close: nothing that comes from it passes, nothing that is for it. */
#define END_MUTE 4
#define END_DEAF 8
/* What is longer than `limits` says does not pass, in either direction. */
#define END_LIMITED 16

/* What has to be known about a port to deliver to it. */
struct end {
	__u32 slot; /* index into `counters` and `learning`; 0 is kept for frames without a port */
	__u8 mac[6]; /* of the node's side */
	__u16 flags;
};

/* ports: the ifindex of a port's host side, or FIRST_TUNNEL + the number of a tunnel end -> struct port. */
struct port {
	__u32 kind;
	__u32 target; /* a link: the other port's index; a network: its segment; a VXLAN device: its UDP port */
	__u32 serial; /* tells this port from an earlier one with the same ifindex */
	struct end own;
	struct end peer; /* a link: a copy of the other port's, which saves a look-up for each frame; slot 0: no port */
};

/* places: ifindex, or MAX_NEAR + the number of a tunnel end -> place of the port's copy (u32); 0: there is none. */

/*
 * copies: place -> struct copy: what stands in `ports`, without the search. One that is in use is never written: a changed
 * port gets another place. The kernel does not promise to write a place in one piece; by the index one sees whose copy it is.
 */
struct copy {
	struct port port;
	__u32 index;
};

/* segments: segment -> struct segment. */
struct segment {
	__u64 ageing_ns;
	__u32 size; /* every member's index is below this */
	__u32 pad;
};

/* members: struct member_key -> index of the port. An index may be vacant. */
struct member_key {
	__u32 segment;
	__u32 index;
};

/* fdb: struct station_key -> struct station. */
struct station_key {
	__u32 segment;
	__u8 mac[6];
	__u8 pad[2];
};

struct station {
	__u32 ifindex; /* or another index of a port */
	__u32 serial; /* of the port */
	/*
	 * CLOCK_MONOTONIC_COARSE. In the future: EVPN told us, and until then only a frame of a port here moves the station. So what
	 * was told outlives a daemon that was killed, but not for long, and ages then as if it had been learnt.
	 */
	__u64 seen_ns;
};

/* recent_of: slot -> struct recent, one per CPU: which way the last frame of the port to a station went (recent.h). */
struct recent {
	__u8 to[6]; /* both addresses as they stand in a frame */
	__u8 from[6];
	__u32 target; /* index of the port that it was delivered to */
	__u32 place;  /* of that port's copy */
	__u32 segment;
	__u64 stamp; /* the tick and the epoch in which that was; 0: never */
};

/*
 * epoch: 0 -> how often a station was new or had moved (u64); 1 -> when user space last changed something, in ns (u64). Their
 * sum is the epoch.
 */

/* neighbors: struct neighbor_key -> struct neighbor: whom user space knows to have an IP address on another host. */
struct neighbor_key {
	__u32 segment;
	__u32 address[4]; /* network byte order; IPv4 as ::ffff:a.b.c.d */
};

struct neighbor {
	__u8 mac[6];
	__u16 flags;
	__u64 until_ns; /* of no meaning later */
};

/* It is a router (RFC 4861, 4.4; RFC 9047): neighbour advertisements say so. */
#define NEIGHBOR_ROUTER 1
/* Somebody else has said that the address is his: nobody is answered in place of the one that we were told of. */
#define NEIGHBOR_DISPUTED 2

/* counters: slot -> struct counters, one per CPU. */
struct counters {
	__u64 from_packets; /* what the node sent */
	__u64 from_octets;
	__u64 to_packets; /* what was handed to the node */
	__u64 to_octets;
	__u64 unlearnt; /* source addresses beyond the port's limit, forwarded without being learnt */
	__u64 drops[DROP_REASONS_MAX];
};

/* tunnels: number of a tunnel end -> where its frames go. */
struct tunnel {
	struct bpf_tunnel_key key; /* VNI, addresses of the remote host and of this one */
	__u32 flags;		   /* BPF_F_TUNINFO_IPV6, BPF_F_ZERO_CSUM_TX */
	__u32 device;		   /* ifindex of the VXLAN device; 0: no such tunnel end */
};

/* origins: struct origin -> index of the port, FIRST_TUNNEL and more. With a remote address of zeros: the VNI is known. */
struct origin {
	__u32 device; /* ifindex of the VXLAN device */
	__u32 vni;
	__u32 remote[4]; /* network byte order; IPv4 as ::ffff:a.b.c.d */
};

/* recent_origins: 0 -> struct recent_origin, one per CPU: what `origins` says of the last frame from another host. */
struct recent_origin {
	struct origin origin;
	__u32 index;
	__u32 pad;
	__u64 epoch; /* of user space; 0: never */
};

/* learning: slot -> how many addresses the port taught us since `since_ns`. */
struct learning {
	__u64 since_ns;
	__u32 learnt;
	__u32 pad;
};

/* limits: slot -> octets of the longest layer 3 packet (u32), for END_LIMITED. */

/* answered: slot -> requests of the port that were answered in place of a station elsewhere (u64), one per CPU. */

/* news: 0 -> how often a port here taught an address, or took one over (u64). User space looks at the table when it changes. */
