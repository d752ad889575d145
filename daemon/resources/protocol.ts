/** Route protocol number (rtm_protocol, nh_protocol, ifa_proto) that marks what is ours. See /etc/iproute2/rt_protos. */
export const protocol = 94

/** RTPROT_BOOT (include/uapi/linux/rtnetlink.h): what ip(8) gives to routes and rules unless told otherwise. */
export const byHand = 3
