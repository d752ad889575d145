/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * ARP requests and neighbour solicitations of a node here for a station that EVPN has told us about are answered in its
 * place, and not flooded to every host (RFC 7432 10, RFC 9161 3): the frame becomes the answer and goes back.
 *
 * Not answered, so flooded: what nobody told us about; gratuitous ARP, by which a station says something of itself;
 * duplicate address detection by ND, whose sender has no address yet; what asks for its own address; what asks for an
 * address that another station has claimed since by ARP or an unsolicited advertisement; unicast requests,
 * which ask whether the station is still there; solicitations with IPv6 extension headers or with other options.
 */
#pragma once

#include <linux/in.h>
#include <linux/in6.h>

#include "deliver.h"

/* <linux/if_arp.h> drags in headers of the C library. */
#define ARP_ETHERNET 1
#define ARP_REQUEST 1
#define ARP_REPLY 2

struct arp_ipv4 {
	struct ethhdr eth;
	__be16 hardware, protocol;
	__u8 hardware_length, protocol_length;
	__be16 operation;
	__u8 sender_mac[ETH_ALEN], sender[4], target_mac[ETH_ALEN], target[4];
} __attribute__((packed));

/* A neighbour solicitation or advertisement with one option, the sender's or the target's link-layer address. */
struct neighbor_message {
	struct ethhdr eth;
	__be32 version;
	__be16 payload_length;
	__u8 next_header, hop_limit;
	__u8 from[16], to[16];
	__u8 type, code;
	__be16 checksum;
	__be32 flags;
	__u8 target[16];
	__u8 option, option_length, mac[ETH_ALEN];
} __attribute__((packed));

#define ND_SOLICITATION 135
#define ND_ADVERTISEMENT 136
#define ND_OPTION_SOURCE 1
#define ND_OPTION_TARGET 2
/* R, S and O of an advertisement (RFC 4861, 4.4). */
#define ND_ROUTER 0x80000000
#define ND_SOLICITED 0x40000000
#define ND_OVERRIDE 0x20000000
#define ND_LENGTH 32

/* The station with the address `mac` says that it has the IP address of `key`. What we were told may be old. */
static __always_inline void heed(const struct neighbor_key *key, const __u8 *mac)
{
	struct neighbor *neighbor = bpf_map_lookup_elem(&neighbors, key);

	if (neighbor && !same_address(neighbor->mac, mac))
		neighbor->flags |= NEIGHBOR_DISPUTED;
}

static __always_inline bool may_answer(const struct neighbor *neighbor, const __u8 *asker, __u64 now)
{
	return neighbor && now <= neighbor->until_ns && !(neighbor->flags & NEIGHBOR_DISPUTED) && !same_address(neighbor->mac, asker);
}

static __always_inline bool answers_arp(struct __sk_buff *skb, __u32 segment, __u64 now, bool here)
{
	struct neighbor_key key = { .segment = segment };
	const struct neighbor *neighbor;
	struct arp_ipv4 arp __attribute__((aligned(8)));

	if (bpf_skb_load_bytes(skb, 0, &arp, sizeof(arp)) != 0)
		return false;
	if (arp.hardware != bpf_htons(ARP_ETHERNET) || arp.protocol != bpf_htons(ETH_P_IP) || arp.hardware_length != ETH_ALEN ||
	    arp.protocol_length != 4)
		return false;
	key.address[2] = bpf_htonl(0xffff);
	__builtin_memcpy(&key.address[3], arp.sender, 4);
	heed(&key, arp.sender_mac);
	if (!here || arp.operation != bpf_htons(ARP_REQUEST))
		return false;
	__builtin_memcpy(&key.address[3], arp.target, 4);
	if (*(__u16 *)arp.sender == *(__u16 *)arp.target && *(__u16 *)(arp.sender + 2) == *(__u16 *)(arp.target + 2))
		return false;
	neighbor = bpf_map_lookup_elem(&neighbors, &key);
	if (!may_answer(neighbor, arp.sender_mac, now))
		return false;
	__builtin_memcpy(arp.eth.h_dest, arp.eth.h_source, ETH_ALEN);
	__builtin_memcpy(arp.eth.h_source, neighbor->mac, ETH_ALEN);
	arp.operation = bpf_htons(ARP_REPLY);
	__builtin_memcpy(arp.target_mac, arp.sender_mac, ETH_ALEN);
	__builtin_memcpy(arp.target, arp.sender, 4);
	__builtin_memcpy(arp.sender_mac, neighbor->mac, ETH_ALEN);
	__builtin_memcpy(arp.sender, &key.address[3], 4);
	return bpf_skb_store_bytes(skb, 0, &arp, sizeof(arp), 0) == 0;
}

/* RFC 4443, 2.3. */
static __always_inline __be16 icmpv6_checksum(struct neighbor_message *message)
{
	__be32 pseudo[2] = { bpf_htonl(ND_LENGTH), bpf_htonl(IPPROTO_ICMPV6) };
	__s64 sum;

	message->checksum = 0;
	sum = bpf_csum_diff(NULL, 0, pseudo, sizeof(pseudo), 0);
	/* The two addresses and what follows them: they are one behind the other. */
	sum = bpf_csum_diff(NULL, 0, (__be32 *)message->from, 32, sum);
	sum = bpf_csum_diff(NULL, 0, (__be32 *)&message->type, ND_LENGTH, sum);
	sum = (sum & 0xffff) + ((sum >> 16) & 0xffff);
	sum = (sum & 0xffff) + (sum >> 16);
	return (__be16)~sum;
}

static __always_inline bool answers_nd(struct __sk_buff *skb, __u32 segment, __u64 now, bool here)
{
	/* Two octets in front of 14 of Ethernet: addresses and ICMPv6 are aligned for bpf_csum_diff. */
	struct {
		__u16 pad;
		struct neighbor_message message;
	} __attribute__((aligned(8))) frame = {};
	struct neighbor_message *nd = &frame.message;
	struct neighbor_key key = { .segment = segment };
	const struct neighbor *neighbor;

	if (bpf_skb_load_bytes(skb, 0, nd, sizeof(*nd)) != 0)
		return false;
	if (nd->next_header != IPPROTO_ICMPV6 || nd->hop_limit != 255 || nd->payload_length != bpf_htons(ND_LENGTH) ||
	    nd->code != 0 || nd->option_length != 1)
		return false;
	__builtin_memcpy(key.address, nd->target, 16);
	if (nd->type == ND_ADVERTISEMENT && nd->option == ND_OPTION_TARGET)
		heed(&key, nd->mac);
	if (!here || nd->type != ND_SOLICITATION || nd->option != ND_OPTION_SOURCE)
		return false;
	neighbor = bpf_map_lookup_elem(&neighbors, &key);
	if (!may_answer(neighbor, nd->mac, now))
		return false;
	__builtin_memcpy(nd->eth.h_dest, nd->eth.h_source, ETH_ALEN);
	__builtin_memcpy(nd->eth.h_source, neighbor->mac, ETH_ALEN);
	__builtin_memcpy(nd->to, nd->from, 16);
	__builtin_memcpy(nd->from, nd->target, 16);
	nd->type = ND_ADVERTISEMENT;
	nd->flags = bpf_htonl(ND_SOLICITED | ND_OVERRIDE | (neighbor->flags & NEIGHBOR_ROUTER ? ND_ROUTER : 0));
	nd->option = ND_OPTION_TARGET;
	__builtin_memcpy(nd->mac, neighbor->mac, ETH_ALEN);
	nd->checksum = icmpv6_checksum(nd);
	return bpf_skb_store_bytes(skb, 0, nd, sizeof(*nd), 0) == 0;
}

/*
 * Whether the frame, which was sent to a group, was a request that we can answer. Then it is the answer now. `here`: by a
 * node on this host; those of others are only heeded. A global function: the verifier looks at it once.
 */
__noinline int answers(struct __sk_buff *skb, __u32 segment, __u64 now, bool here)
{
	/* Behind a tag are other networks, with addresses of their own. */
	if (skb->vlan_present)
		return false;
	if (skb->protocol == bpf_htons(ETH_P_ARP))
		return answers_arp(skb, segment, now, here);
	if (skb->protocol == bpf_htons(ETH_P_IPV6))
		return answers_nd(skb, segment, now, here);
	return false;
}

/* Back to the port that asked. Not by bpf_redirect_peer: the frame must be classified anew. */
static __always_inline int send_answer(struct __sk_buff *skb, __u32 index, __u32 slot)
{
	__u64 *count = bpf_map_lookup_elem(&answered, &slot);

	if (count)
		*count += 1;
	count_to(skb, slot);
	return bpf_redirect(index, 0);
}
