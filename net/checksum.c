// SPDX-License-Identifier: BSD-2-Clause
// The Internet checksum (RFC 1071) of what we receive and of ICMP: stage 4 of the read path. lwIP
// calls it through LWIP_CHKSUM for each pbuf of a packet and puts the parts together.
#include "net/checksum.h"
#include "lwip/arch.h"

uint16_t net_checksum(const void *data, int len)
{
	return net_sum(data, len, 0);
}

uint16_t net_checksum_pseudo(const void *data, int len, uint32_t source, uint32_t destination,
			     uint8_t protocol, uint16_t protocol_len)
{
	uint64_t start = (uint64_t)source + destination + ((uint64_t)protocol << 8) +
			 __builtin_bswap16(protocol_len);

	return (uint16_t)~net_sum(data, len, start);
}
