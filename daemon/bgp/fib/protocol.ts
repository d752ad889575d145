/**
 * What marks the kernel objects of BGP (rtm_protocol, nh_protocol): another number than that of static routes, so that
 * deploys, which compare what is with what the topology says, never look at what a speaker has learned.
 */
export const protocol = 95
