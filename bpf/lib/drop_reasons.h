/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Why a frame was dropped: the one registry, shared by every program. daemon/linux/drop-reasons.ts mirrors it (a test
 * compares the two) and holds the sentence that a person reads. A number is never reused: counters outlive the daemon.
 */
#pragma once

#define DROP_REASONS(REASON)                                                                                      \
	REASON(NO_PORT, 0)	  /* it came from, or was meant for, an interface that no entry of `ports` describes */ \
	REASON(RUNT, 1)		  /* shorter than an Ethernet header */                                                 \
	REASON(INVALID_SOURCE, 2) /* the source address is a group address or zero (IEEE 802.3, 3.2.3) */              \
	REASON(LINK_LOCAL, 3)	  /* 01:80:c2:00:00:00-0f do not cross a bridge (IEEE 802.1D, 7.12.6) */                \
	REASON(HAIRPIN, 4)	  /* the destination was learnt on the port that the frame came from */                 \
	REASON(NO_SEGMENT, 5)	  /* the port's network has no entry in `segments` */                                   \
	REASON(UNDELIVERABLE, 6)  /* a copy could not be handed to this port's interface */                            \
	REASON(UNKNOWN_VNI, 7)	  /* it came in a tunnel, for a VNI that no segment here has */                         \
	REASON(UNKNOWN_VTEP, 8)	  /* it came in a tunnel, from a host that has no port of this VNI's segment */         \
	REASON(SPLIT_HORIZON, 9)  /* it came from another host, for a station that is on another host */              \
	REASON(CUT, 10)		  /* a fault keeps frames of the port from passing */                                   \
	REASON(TOO_LONG, 11)	  /* longer than the MTU that a fault gives to the wire */

enum drop_reason {
#define REASON(name, number) DROP_##name = number,
	DROP_REASONS(REASON)
#undef REASON
};

/* Room for reasons to come; part of the layout of `struct counters`. */
#define DROP_REASONS_MAX 16
