/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* A point-to-point link: every frame, whatever it is addressed to, goes to the other port. */
#pragma once

#include "deliver.h"

static __always_inline int forward_p2p(struct __sk_buff *skb, const struct ethhdr *eth, const struct port *source)
{
	if (!source->peer.slot)
		return drop(source->own.slot, DROP_NO_PORT);
	return deliver(skb, eth, source->target, &source->peer);
}
