/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Gates: what faults do to the frames of one port. `mute` holds up what comes from it, `deaf` what is for it, a limit what is
 * too long, in both directions and without a word to anybody, as a wire does whose MTU is smaller than its ends believe.
 */
#pragma once

#include <linux/if_ether.h>
#include <linux/in.h>

#include "tunnel.h"

#define END_GATED_FROM (END_MUTE | END_LIMITED)
#define END_GATED_TO (END_DEAF | END_LIMITED)

/* Octets from the IP header on of the longest packet in the frame, once a super-frame has been cut (skb_gso_network_seglen). */
static __always_inline __u32 packet_length(struct __sk_buff *skb)
{
	__u32 network = ETH_HLEN, transport;
	__u8 first, next, offset;

	if (!skb->gso_size)
		return skb->len - ETH_HLEN;
	if (bpf_skb_load_bytes(skb, network, &first, 1) != 0)
		return 0;
	if (skb->protocol == bpf_htons(ETH_P_IP)) {
		transport = network + (first & 0xf) * 4;
		if (bpf_skb_load_bytes(skb, network + 9, &next, 1) != 0)
			return 0;
	} else {
		transport = network + 40;
		if (bpf_skb_load_bytes(skb, network + 6, &next, 1) != 0)
			return 0;
	}
	if (next != IPPROTO_TCP)
		return transport - network + 8 + skb->gso_size;
	if (bpf_skb_load_bytes(skb, transport + 12, &offset, 1) != 0)
		return 0;
	return transport - network + (offset >> 4) * 4 + skb->gso_size;
}

/* A global function: the verifier looks at it once. */
__noinline int is_too_long(struct __sk_buff *skb, __u32 slot)
{
	const __u32 *limit = bpf_map_lookup_elem(&limits, &slot);

	return limit && packet_length(skb) > *limit;
}

/* Why a frame that came from the port `end` does not pass; none: -1. */
static __always_inline int held_from(struct __sk_buff *skb, const struct end *end)
{
	if (end->flags & END_MUTE)
		return DROP_CUT;
	return is_too_long(skb, end->slot) ? DROP_TOO_LONG : -1;
}

/* Why a frame for the port `end` does not pass; none: -1. */
static __always_inline int held_to(struct __sk_buff *skb, __u32 flags, __u32 slot)
{
	if (flags & END_DEAF)
		return DROP_CUT;
	return (flags & END_LIMITED) && is_too_long(skb, slot) ? DROP_TOO_LONG : -1;
}
