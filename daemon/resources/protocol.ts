/** Route protocol number (rtm_protocol, nh_protocol, ifa_proto) that marks what is ours. See /etc/iproute2/rt_protos. */
export const protocol = 94
