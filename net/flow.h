// SPDX-License-Identifier: BSD-2-Clause
// What the card is to do with a packet's headers (stage 8 of the read path).
#pragma once

#include "kernel/netdev.h"
#include "lwip/pbuf.h"

// Reads the headers of a frame, which must all lie in its first pbuf, and fills *offload: IPv4 header
// checksum always, TCP's and UDP's unless the packet is a fragment, nothing for other protocols. False
// if a TCP or UDP header is not whole in the first pbuf: the packet cannot be given a checksum.
bool flow_offload(const struct pbuf *frame, struct netoffload *offload);
