/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Counting and dropping. */
#pragma once

#include <linux/pkt_cls.h>
#include <linux/version.h>

#include "maps.h"

/* libbpf fills it in, and the verifier drops branches that are not taken. */
extern int LINUX_KERNEL_VERSION __kconfig;

/* Counters of one CPU: plain additions are enough. */
static __always_inline void count_from(struct __sk_buff *skb, __u32 slot)
{
	struct counters *entry = bpf_map_lookup_elem(&counters, &slot);

	if (!entry)
		return;
	entry->from_packets++;
	entry->from_octets += skb->len;
}

static __always_inline void count_to(struct __sk_buff *skb, __u32 slot)
{
	struct counters *entry = bpf_map_lookup_elem(&counters, &slot);

	if (!entry)
		return;
	entry->to_packets++;
	entry->to_octets += skb->len;
}

static __always_inline int drop(__u32 slot, enum drop_reason reason)
{
	struct counters *entry = bpf_map_lookup_elem(&counters, &slot);

	if (entry)
		entry->drops[reason]++;
	return TC_ACT_SHOT;
}
