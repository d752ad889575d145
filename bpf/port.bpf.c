/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * The program of every port: it runs at the clsact ingress of the port's host side, where whatever the node sends comes
 * out, and decides where the frame goes.
 *
 *   node A          fabric namespace                        node B
 *   eth1 ====veth==== p17 --> weft_port_5 --redirect_peer-->  eth1
 *                                         --redirect--> p18 ====veth==== eth1
 *                                         --redirect--> VXLAN device, to another host
 *
 * It also runs where frames of other hosts come out: at the ingress of VXLAN devices and of the engine's TAPs.
 *
 *   lib/layout.h    what the maps hold; lib/maps.h the maps; lib/drop_reasons.h why frames are dropped
 *   lib/find.h      finding ports
 *   lib/count.h     counting and dropping
 *   lib/tunnel.h    to and from other hosts
 *   lib/gate.h      what faults hold up
 *   lib/deliver.h   handing a frame to a node
 *   lib/p2p.h       a link: a wire between two ports
 *   lib/network.h   a network: a learning switch
 *   lib/recent.h    the way of a port's last frame
 *   lib/answer.h    ARP and ND requests that are answered here
 *
 * The number in the name is that of the layout. The name is what a daemon recognises its programs by.
 */
#include <stdbool.h>
#include <stddef.h>

#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

#include "lib/deliver.h"
#include "lib/p2p.h"
#include "lib/network.h"

SEC("tc")
int weft_port_5(struct __sk_buff *skb)
{
	__u32 index = skb->ifindex;
	const struct port *source = port_of(index);
	const struct ethhdr *eth = (void *)(long)skb->data;

	if (!source)
		return drop(0, DROP_NO_PORT);
	if (source->kind == PORT_TUNNELS) {
		enum drop_reason reason = DROP_NO_PORT;
		__u32 slot = source->own.slot;

		index = resumes(skb) ? resumed_origin(skb) : origin_of(skb, &reason);
		source = index ? port_of(index) : NULL;
		if (!source)
			return drop(slot, reason);
	}
	if ((void *)(eth + 1) > (void *)(long)skb->data_end)
		return drop(source->own.slot, DROP_RUNT);
	if (!resumes(skb)) {
		count_from(skb, source->own.slot);
		if (source->own.flags & END_GATED_FROM) {
			int reason = held_from(skb, &source->own);

			if (reason >= 0)
				return drop(source->own.slot, reason);
		}
	}

	switch (source->kind) {
	case PORT_P2P:
		return forward_p2p(skb, eth, source);
	case PORT_NETWORK:
		return forward_network(skb, eth, index, source);
	default:
		return drop(source->own.slot, DROP_NO_PORT);
	}
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
