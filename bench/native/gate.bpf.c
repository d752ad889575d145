/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * A gate at the ingress of an interface: while it is shut it drops IPv4, and it keeps the kernel's time of the first packet that it
 * dropped and of the first that it let pass after that. What a cut was, as exact as can be known.
 */
#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/pkt_cls.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

struct gate {
  __u64 shut;
  __u64 first_dropped;
  __u64 first_passed;
  __u64 dropped;
};

struct {
  __uint(type, BPF_MAP_TYPE_ARRAY);
  __uint(max_entries, 1);
  __type(key, __u32);
  __type(value, struct gate);
} gates SEC(".maps");

SEC("tc") int gate(struct __sk_buff *skb)
{
  __u32 zero = 0;
  struct gate *gate = bpf_map_lookup_elem(&gates, &zero);

  if (!gate || skb->protocol != bpf_htons(ETH_P_IP))
    return TC_ACT_OK;
  if (gate->shut) {
    if (!gate->first_dropped)
      gate->first_dropped = bpf_ktime_get_ns();
    __sync_fetch_and_add(&gate->dropped, 1);
    return TC_ACT_SHOT;
  }
  if (gate->first_dropped && !gate->first_passed)
    gate->first_passed = bpf_ktime_get_ns();
  return TC_ACT_OK;
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
