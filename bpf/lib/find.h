/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Finding ports: by their copies, which takes no search, else in `ports` (docs/adr/0019). */
#pragma once

#include "maps.h"

static __always_inline bool is_tunnel(__u32 index)
{
	return index >= FIRST_TUNNEL;
}

/* Where the copy of the port `index` is; 0: there is none. */
static __always_inline __u32 place_of(__u32 index)
{
	__u32 key = is_tunnel(index) ? MAX_NEAR + index - FIRST_TUNNEL : index < MAX_NEAR ? index : 0;
	const __u32 *place = bpf_map_lookup_elem(&places, &key);

	return place ? *(volatile const __u32 *)place : 0;
}

/* The port `index`, whose copy is at `place`; NULL: there is none. */
static __always_inline const struct port *port_at(__u32 place, __u32 index)
{
	const struct copy *copy = bpf_map_lookup_elem(&copies, &place);

	return copy && copy->index == index ? &copy->port : bpf_map_lookup_elem(&ports, &index);
}

static __always_inline const struct port *port_of(__u32 index)
{
	return port_at(place_of(index), index);
}
