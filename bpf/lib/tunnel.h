/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Tunnels to other hosts: a tunnel end is a port (docs/adr/0014).
 *
 *   p17 --> weft_port_5 --set_tunnel_key--> vxlan device ~~ underlay ~~> vxlan device --> weft_port_5 --> p18
 *
 * The VXLAN device carries no addresses and knows no peers ("external"): for each frame we say where it goes, and are told
 * where it came from. (VNI, source address) names the tunnel end, and only those that user space made are known: a host
 * that has no port of the segment cannot put frames into it. Then the frame is treated as one of that port.
 */
#pragma once

#include <linux/in6.h>
#include <bpf/bpf_endian.h>

#include "count.h"
#include "find.h"

/* The source address of what we send can be chosen since Linux 6.0; before, the key is shorter and the route chooses. */
static __always_inline int set_tunnel_key(struct __sk_buff *skb, const struct tunnel *tunnel)
{
	if (LINUX_KERNEL_VERSION < KERNEL_VERSION(6, 0, 0))
		return bpf_skb_set_tunnel_key(skb, (void *)&tunnel->key, __builtin_offsetof(struct bpf_tunnel_key, local_ipv4),
					      tunnel->flags);
	return bpf_skb_set_tunnel_key(skb, (void *)&tunnel->key, sizeof(tunnel->key), tunnel->flags);
}

/* The interface by which a frame leaves for the port `index`, once it says for which tunnel end; 0: there is no way. */
static __always_inline __u32 way_out(struct __sk_buff *skb, __u32 index)
{
	__u32 number = index - FIRST_TUNNEL;
	const struct tunnel *tunnel;

	if (!is_tunnel(index))
		return index;
	tunnel = bpf_map_lookup_elem(&tunnels, &number);
	if (!tunnel || set_tunnel_key(skb, tunnel) != 0)
		return 0;
	return tunnel->device;
}

/* Sends the frame, which has been counted, out of the port `index`. */
static __always_inline int send(struct __sk_buff *skb, __u32 index, __u32 slot)
{
	__u32 ifindex = way_out(skb, index);

	return ifindex ? bpf_redirect(ifindex, 0) : drop(slot, DROP_UNDELIVERABLE);
}

/* What sent a frame that came in at the VXLAN device `skb->ifindex`. */
static __always_inline bool get_origin(struct __sk_buff *skb, struct origin *origin)
{
	const int size = __builtin_offsetof(struct bpf_tunnel_key, tunnel_label);
	struct bpf_tunnel_key key;

	origin->device = skb->ifindex;
	if (bpf_skb_get_tunnel_key(skb, &key, size, 0) == 0) {
		origin->remote[0] = 0;
		origin->remote[1] = 0;
		origin->remote[2] = bpf_htonl(0xffff);
		origin->remote[3] = bpf_htonl(key.remote_ipv4);
	} else if (bpf_skb_get_tunnel_key(skb, &key, size, BPF_F_TUNINFO_IPV6) == 0) {
		__builtin_memcpy(origin->remote, key.remote_ipv6, sizeof(origin->remote));
	} else {
		return false;
	}
	origin->vni = key.tunnel_id;
	return true;
}

static __always_inline bool same_origin(const struct origin *a, const struct origin *b)
{
	return a->device == b->device && a->vni == b->vni && a->remote[0] == b->remote[0] && a->remote[1] == b->remote[1] &&
	       a->remote[2] == b->remote[2] && a->remote[3] == b->remote[3];
}

/* The index of the tunnel end that the frame came from; 0: none, and `reason` says why. */
static __always_inline __u32 origin_of(struct __sk_buff *skb, enum drop_reason *reason)
{
	__u32 first = 0, changes = 1;
	struct recent_origin *recent = bpf_map_lookup_elem(&recent_origins, &first);
	const volatile __u64 *changed = bpf_map_lookup_elem(&epoch, &changes);
	struct origin origin;
	const __u32 *index;
	__u64 now;

	*reason = DROP_NO_PORT;
	if (!recent || !changed || !get_origin(skb, &origin))
		return 0;
	now = *changed;
	if (recent->epoch == now && same_origin(&recent->origin, &origin))
		return recent->index;
	index = bpf_map_lookup_elem(&origins, &origin);
	if (index) {
		recent->origin = origin;
		recent->index = *index;
		recent->epoch = now;
		return *index;
	}
	__builtin_memset(origin.remote, 0, sizeof(origin.remote));
	*reason = bpf_map_lookup_elem(&origins, &origin) ? DROP_UNKNOWN_VTEP : DROP_UNKNOWN_VNI;
	return 0;
}
