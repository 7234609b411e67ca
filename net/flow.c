// SPDX-License-Identifier: BSD-2-Clause
// Stage 8 of the read path: reads a frame's headers and says which checksums the card shall make, over
// what, and at which payload sizes it shall cut the packet into segments. Pure; it looks at the first
// pbuf only, never at payload. RFC 791, 8200, 9293, 768.
#include "net/flow.h"
#include "kernel/kstring.h"
#include "lwip/prot/ethernet.h"
#include "lwip/prot/ip.h"
#include "lwip/prot/ip4.h"
#include "lwip/prot/ip6.h"
#include "lwip/prot/tcp.h"
#include "lwip/prot/udp.h"

// The transport header at offload->l4_offset.
static bool transport(const struct pbuf *frame, uint8_t protocol, struct netoffload *offload)
{
	const uint8_t *bytes = frame->payload;
	uint32_t at = offload->l4_offset;

	offload->header_bytes = at;
	if (protocol == IP_PROTO_TCP) {
		if (at + TCP_HLEN > frame->len)
			return false;
		at += (bytes[at + 12] >> 4) * 4;
		if (frame->tso_mss && frame->tot_len > at + frame->tso_mss)
			offload->mss = frame->tso_mss;
	} else if (protocol == IP_PROTO_UDP) {
		at += UDP_HLEN;
		offload->udp = true;
	} else {
		return true; // ICMP and its like make their checksum themselves
	}
	if (at > frame->len)
		return false;
	offload->header_bytes = at;
	offload->l4_csum = true;
	return true;
}

static bool over_ip4(const struct pbuf *frame, struct netoffload *offload)
{
	const struct ip_hdr *ip = (const void *)((const uint8_t *)frame->payload + SIZEOF_ETH_HDR);

	if (frame->len < SIZEOF_ETH_HDR + IP_HLEN || frame->len < SIZEOF_ETH_HDR + IPH_HL_BYTES(ip))
		return false;
	offload->ip_csum = true;
	offload->l3_offset = SIZEOF_ETH_HDR;
	offload->l4_offset = SIZEOF_ETH_HDR + IPH_HL_BYTES(ip);
	offload->header_bytes = offload->l4_offset;
	if (IPH_OFFSET(ip) & PP_HTONS(IP_OFFMASK | IP_MF))
		return true; // a fragment: its transport checksum spans other packets
	return transport(frame, IPH_PROTO(ip), offload);
}

static bool over_ip6(const struct pbuf *frame, struct netoffload *offload)
{
	const struct ip6_hdr *ip = (const void *)((const uint8_t *)frame->payload + SIZEOF_ETH_HDR);
	struct netoffload found = {.ipv6 = true, .l3_offset = SIZEOF_ETH_HDR};

	if (frame->len < SIZEOF_ETH_HDR + IP6_HLEN)
		return false;
	found.l4_offset = SIZEOF_ETH_HDR + IP6_HLEN;
	// TCP and UDP of ours follow the fixed header at once; with extension headers there is nothing to do.
	if (!transport(frame, IP6H_NEXTH(ip), &found))
		return false;
	if (found.l4_csum)
		*offload = found;
	return true;
}

bool flow_offload(const struct pbuf *frame, struct netoffload *offload)
{
	const struct eth_hdr *eth = frame->payload;

	memset(offload, 0, sizeof(*offload));
	if (frame->len < SIZEOF_ETH_HDR)
		return false;
	if (eth->type == PP_HTONS(ETHTYPE_IP))
		return over_ip4(frame, offload);
	if (eth->type == PP_HTONS(ETHTYPE_IPV6))
		return over_ip6(frame, offload);
	return true;
}
