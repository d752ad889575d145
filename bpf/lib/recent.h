/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Which way the last frame went: the next one that a port sends from the same station to the same station goes there too, and
 * spares the look-ups of a network.
 *
 * That holds for one tick, after which the stations are looked up again, so that they do not age, and only as long as
 * nothing changes: whatever user space writes, and a station that is new or has moved, begins another epoch. (Where CPUs do not keep
 * the order of their writes, one may see the epoch before the station: it is a tick late then.)
 */
#pragma once

#include "deliver.h"

/* A tick lasts 2^27 ns: 134 ms. */
#define TICK_BITS 27

static __always_inline void begin_epoch(void)
{
	__u32 key = 0;
	__u64 *count = bpf_map_lookup_elem(&epoch, &key);

	if (count)
		__sync_fetch_and_add(count, 1);
}

/* The tick and the epoch: what is looked up after this was so in it. */
static __always_inline __u64 stamp_of(__u64 now)
{
	__u32 moves = 0, changes = 1;
	const volatile __u64 *moved = bpf_map_lookup_elem(&epoch, &moves);
	const volatile __u64 *changed = bpf_map_lookup_elem(&epoch, &changes);

	return moved && changed ? (*moved + *changed) << 32 | (__u32)((now >> TICK_BITS) + 1) : 0;
}

static __always_inline bool went_recently(const struct recent *recent, const struct ethhdr *eth, __u32 segment, __u64 stamp)
{
	return recent->stamp == stamp && recent->segment == segment && same_address(recent->to, eth->h_dest) &&
	       same_address(recent->from, eth->h_source);
}

/* `segment`: of the port, when it was looked up, which may have been before another epoch began. */
static __always_inline void note_way(struct recent *recent, const struct ethhdr *eth, __u32 segment, __u64 stamp, __u32 target,
				     __u32 place)
{
	__builtin_memcpy(recent->to, eth->h_dest, ETH_ALEN);
	__builtin_memcpy(recent->from, eth->h_source, ETH_ALEN);
	recent->target = target;
	recent->place = place;
	recent->segment = segment;
	recent->stamp = stamp;
}
