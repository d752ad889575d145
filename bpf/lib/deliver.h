/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Handing a frame to a port's node, or to another host. */
#pragma once

#include <linux/if_packet.h>

#include "gate.h"

static __always_inline bool same_address(const __u8 *a, const __u8 *b)
{
	return *(__u16 *)a == *(__u16 *)b && *(__u16 *)(a + 2) == *(__u16 *)(b + 2) && *(__u16 *)(a + 4) == *(__u16 *)(b + 4);
}

/*
 * Hands the frame to the node behind the port `end`, whose index is `index`.
 *
 * bpf_redirect_peer is the fast way: the frame continues as if the node's own interface had received it, without a trip
 * through the per-CPU backlog. But nothing classifies the frame anew, and since Linux 6.16 (skb_scrub_packet in
 * skb_do_redirect) it makes every frame PACKET_HOST: the node's IP layer would accept, and forward, what was addressed to
 * another station or to a group. So it is taken only by a frame that is addressed to the node. All others leave through
 * the host side's egress, where veth_xmit calls eth_type_trans for the node's interface. A conversation with one station
 * always takes one way, hence stays in order.
 */
static __always_inline int deliver(struct __sk_buff *skb, const struct ethhdr *eth, __u32 index, const struct end *end)
{
	if (end->flags & END_GATED_TO) {
		int reason = held_to(skb, end->flags, end->slot);

		if (reason >= 0)
			return drop(end->slot, reason);
	}
	count_to(skb, end->slot);
	if ((end->flags & (END_VISIBLE | END_TUNNEL)) || !same_address(eth->h_dest, end->mac))
		return send(skb, index, end->slot);
	if (LINUX_KERNEL_VERSION < KERNEL_VERSION(6, 16, 0) && skb->pkt_type != PACKET_HOST)
		bpf_skb_change_type(skb, PACKET_HOST);
	return bpf_redirect_peer(index, 0);
}
