/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* A point-to-point link: every frame, whatever it is addressed to, goes to the other port. */
#pragma once

#include "deliver.h"

static __always_inline int forward_p2p(struct __sk_buff *skb, const struct ethhdr *eth, const struct port *source)
{
	__u32 ifindex = source->target;
	const struct port *peer = bpf_map_lookup_elem(&ports, &ifindex);

	if (!peer)
		return drop(source->slot, DROP_NO_PORT);
	return deliver(skb, eth, ifindex, peer);
}
