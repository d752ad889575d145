/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * A network: a learning switch that knows nothing of VLANs (tags pass, one table for all of them).
 *
 *   source address  --learn-->  fdb  <-- told by EVPN
 *   destination     --known--->  the one port
 *   ARP, ND request --known--->  answered in place of a station on another host (answer.h)
 *   as the last one ---------->  where that one went (recent.h)
 *                   --else---->  every other port of the segment
 *
 * Limits: a frame is copied to FLOOD_SLICE ports in one run. A larger segment is worked off in several: between two runs
 * the frame queues in the CPU's backlog behind the copies made so far. That bounds the program for the verifier, and the
 * copies of one frame fit into the backlog (net.core.netdev_max_backlog, 1000 by default) whatever the segment's size.
 */
#pragma once

#include "answer.h"
#include "recent.h"

#define FLOOD_SLICE 512

/*
 * skb->mark of a frame on its way to the next slice: which one that is, and the number of the tunnel end that the frame
 * came from, since the way back to us costs it its tunnel key. Frames that come out of a node or of a tunnel have no mark:
 * it is cleared when they cross into our namespace (skb_scrub_packet).
 */
#define FLOOD_MARK 0x77000000
#define FLOOD_MARK_MASK 0xff000000
#define FLOOD_SLICE_BITS 6
#define FLOOD_SLICE_MASK ((1 << FLOOD_SLICE_BITS) - 1)

_Static_assert(MAX_PORTS / FLOOD_SLICE <= FLOOD_SLICE_MASK && MAX_TUNNELS << FLOOD_SLICE_BITS <= 1 << 24, "fits into the mark");

/*
 * How long a station's time stamp may lag, and a tick more while its way is remembered: not every frame has to write a cache line
 * that all CPUs read.
 */
#define SEEN_LAG_NS (1ULL << TICK_BITS)

/* New addresses that one port may teach us in one ageing time; more are forwarded, but not learnt. Without a limit one
 * node could push the stations of every other network out of the table. */
#define LEARN_LIMIT 1024

static __always_inline bool is_group(const __u8 *mac)
{
	return mac[0] & 1;
}

/* IEEE 802.1D, table 7-10: STP, pause, LACP, 802.1X, LLDP. */
static __always_inline bool is_link_local(const __u8 *mac)
{
	return mac[0] == 0x01 && mac[1] == 0x80 && mac[2] == 0xc2 && mac[3] == 0 && mac[4] == 0 && (mac[5] & 0xf0) == 0;
}

static __always_inline bool is_station(const __u8 *mac)
{
	return !is_group(mac) && (mac[0] | mac[1] | mac[2] | mac[3] | mac[4] | mac[5]);
}

/* Whether the port may teach one more address now. Racing CPUs may let a few more through. */
static __always_inline bool may_learn(__u32 slot, __u64 now, __u64 ageing_ns)
{
	struct learning *state = bpf_map_lookup_elem(&learning, &slot);

	if (!state)
		return false;
	if (now - state->since_ns > ageing_ns) {
		state->since_ns = now;
		state->learnt = 0;
	}
	if (state->learnt >= LEARN_LIMIT) {
		struct counters *entry = bpf_map_lookup_elem(&counters, &slot);

		if (entry)
			entry->unlearnt++;
		return false;
	}
	state->learnt++;
	return true;
}

static __always_inline bool is_told(const struct station *station, __u64 now)
{
	return (__s64)(now - station->seen_ns) < 0;
}

/* Tells user space that the table has something new about a station here: rare, so that they all may share one counter. */
static __always_inline void tell_news(const struct port *source)
{
	__u32 key = 0;
	__u64 *count = bpf_map_lookup_elem(&news, &key);

	if (count && !(source->own.flags & END_TUNNEL))
		__sync_fetch_and_add(count, 1);
}

/* Whether the station was known already. */
static __always_inline bool learn(const __u8 *mac, __u32 index, const struct port *source, const struct segment *segment,
				  __u64 now)
{
	struct station_key key = { .segment = source->target };
	struct station *known;

	__builtin_memcpy(key.mac, mac, ETH_ALEN);
	known = bpf_map_lookup_elem(&fdb, &key);
	if (!known) {
		struct station station = { .ifindex = index, .serial = source->serial, .seen_ns = now };

		if (may_learn(source->own.slot, now, segment->ageing_ns)) {
			bpf_map_update_elem(&fdb, &key, &station, BPF_ANY);
			begin_epoch();
			tell_news(source);
		}
		return false;
	}
	/* Where a station on other hosts is, is not learnt but told, once it is told. */
	if ((source->own.flags & END_TUNNEL) && is_told(known, now))
		return true;
	if (known->ifindex != index || known->serial != source->serial) {
		known->ifindex = index;
		known->serial = source->serial;
		known->seen_ns = now;
		begin_epoch();
		tell_news(source);
	}
	if (now - known->seen_ns > SEEN_LAG_NS)
		known->seen_ns = now;
	return true;
}

static __always_inline void copy_to(struct __sk_buff *skb, __u32 index, __u32 slot)
{
	__u32 ifindex = way_out(skb, index);

	count_to(skb, slot);
	if (!ifindex || bpf_clone_redirect(skb, ifindex, 0) != 0)
		drop(slot, DROP_UNDELIVERABLE);
}

struct flood {
	struct __sk_buff *skb;
	struct member_key member; /* the first of this slice */
	__u32 size;
	__u32 source; /* the port that the frame came from, and the flags of its end */
	__u32 flags;
	__u32 waiting; /* the member that was found last: it gets its copy when another one is found */
	__u32 waiting_slot;
};

/* Looks at the member `i` after the first. A callback of bpf_loop: 1 ends the loop. */
static long flood_member(__u32 i, struct flood *state)
{
	struct member_key key = { .segment = state->member.segment, .index = state->member.index + i };
	const struct port *port;
	__u32 *member, index;

	if (key.index >= state->size)
		return 1;
	member = bpf_map_lookup_elem(&members, &key);
	if (!member || *member == state->source)
		return 0;
	index = *member;
	/* A kernel that has to walk through all turns of the loop has none of its patience to spare. */
	port = LINUX_KERNEL_VERSION < KERNEL_VERSION(5, 17, 0) ? bpf_map_lookup_elem(&ports, &index) : port_of(index);
	if (!port || port->kind != PORT_NETWORK || port->target != key.segment)
		return 0;
	if (state->flags & port->own.flags & END_TUNNEL)
		return 0;
	if (port->own.flags & END_GATED_TO) {
		int reason = held_to(state->skb, port->own.flags, port->own.slot);

		if (reason >= 0) {
			drop(port->own.slot, reason);
			return 0;
		}
	}
	if (state->waiting)
		copy_to(state->skb, state->waiting, state->waiting_slot);
	state->waiting = index;
	state->waiting_slot = port->own.slot;
	return 0;
}

/*
 * Copies the frame from the port `source` to the members of `segment` from index `first` on; all indices are below `size`.
 * The last one gets the frame itself. A global function: the verifier looks at it once, not once for each path that leads here.
 */
__noinline int flood(struct __sk_buff *skb, __u32 source, __u32 segment, __u32 first, __u32 size)
{
	struct flood state = { .skb = skb, .member = { .segment = segment, .index = first }, .size = size, .source = source };
	const struct port *port = port_of(source);
	__u32 next = first + FLOOD_SLICE;

	if (port)
		state.flags = port->own.flags;

	/* bpf_loop came with 5.17. It spares the verifier the walk through every turn of the loop. */
	if (LINUX_KERNEL_VERSION >= KERNEL_VERSION(5, 17, 0)) {
		bpf_loop(FLOOD_SLICE, flood_member, &state, 0);
	} else {
		for (int i = 0; i < FLOOD_SLICE; i++)
			if (flood_member(i, &state) != 0)
				break;
	}
	if (next < size) {
		if (state.waiting)
			copy_to(skb, state.waiting, state.waiting_slot);
		skb->mark = FLOOD_MARK | next / FLOOD_SLICE | (is_tunnel(source) ? (source - FIRST_TUNNEL) << FLOOD_SLICE_BITS : 0);
		return bpf_redirect(skb->ifindex, BPF_F_INGRESS);
	}
	if (!state.waiting)
		return TC_ACT_STOLEN; /* nobody else is there: a switch with one port in use */
	count_to(skb, state.waiting_slot);
	skb->mark = 0;
	return send(skb, state.waiting, state.waiting_slot);
}

/* Whether the frame has been through here before and is on its way to the next slice. */
static __always_inline bool resumes(const struct __sk_buff *skb)
{
	return (skb->mark & FLOOD_MARK_MASK) == FLOOD_MARK;
}

/* The tunnel end of a frame that came in at a VXLAN device and resumes. */
static __always_inline __u32 resumed_origin(const struct __sk_buff *skb)
{
	return FIRST_TUNNEL + ((skb->mark & ~FLOOD_MARK_MASK) >> FLOOD_SLICE_BITS);
}

/* `index`: of the port `source` that the frame came from. */
static __always_inline int forward_network(struct __sk_buff *skb, const struct ethhdr *eth, __u32 index, const struct port *source)
{
	struct station_key key = { .segment = source->target };
	__u32 slot = source->own.slot, first = 0, target, place;
	__u64 now = bpf_ktime_get_coarse_ns(), stamp = stamp_of(now);
	struct recent *recent = bpf_map_lookup_elem(&recent_of, &slot);
	const struct segment *segment;
	const struct station *station;
	const struct port *port;
	bool is_known;

	if (recent && !resumes(skb) && went_recently(recent, eth, key.segment, stamp)) {
		port = port_at(recent->place, recent->target);
		if (port)
			return deliver(skb, eth, recent->target, &port->own);
	}
	segment = bpf_map_lookup_elem(&segments, &key.segment);
	if (!segment)
		return drop(slot, DROP_NO_SEGMENT);
	if (resumes(skb)) {
		first = (skb->mark & FLOOD_SLICE_MASK) * FLOOD_SLICE;
		goto flood;
	}
	if (!is_station(eth->h_source))
		return drop(slot, DROP_INVALID_SOURCE);
	if (is_link_local(eth->h_dest))
		return drop(slot, DROP_LINK_LOCAL);

	is_known = learn(eth->h_source, index, source, segment, now);
	if (is_group(eth->h_dest)) {
		if (answers(skb, key.segment, now, !(source->own.flags & END_TUNNEL)))
			return source->own.flags & END_DEAF ? drop(slot, DROP_CUT) : send_answer(skb, index, slot);
		goto flood;
	}

	__builtin_memcpy(key.mac, eth->h_dest, ETH_ALEN);
	station = bpf_map_lookup_elem(&fdb, &key);
	if (!station || (!is_told(station, now) && now - station->seen_ns > segment->ageing_ns))
		goto flood;
	target = station->ifindex;
	/* The table may be behind: the port that the station was seen on can be gone, in another network, or another one by now. */
	place = place_of(target);
	port = port_at(place, target);
	if (!port || port->serial != station->serial || port->kind != PORT_NETWORK || port->target != key.segment)
		goto flood;
	if (target == index)
		return drop(slot, DROP_HAIRPIN);
	if (source->own.flags & port->own.flags & END_TUNNEL)
		return drop(slot, DROP_SPLIT_HORIZON);
	if (recent && is_known)
		note_way(recent, eth, key.segment, stamp, target, place);
	return deliver(skb, eth, target, &port->own);

flood:
	return flood(skb, index, key.segment, first, segment->size);
}
