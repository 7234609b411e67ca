// SPDX-License-Identifier: BSD-2-Clause
// Packets of this machine to itself: 127.0.0.0/8, ::1, and the addresses of its own cards. They are handed
// from output to input by reference, as next work: who sends never finds itself in who receives.
//
//	ip_output -> route hook -> loopback's output: headers copied, data as slices -> queue
//	                                                      fast WTD -> ip_input -> TCP, UDP
//
// What is received may be the sender's own memory, even a page of the file cache: it does not change as long as it
// is held, it may be unmapped (cache=unmapped), and it must not be written to.
#pragma once

#include "lwip/ip_addr.h"
#include "lwip/netif.h"

void loopback_init(void); // boot, after lwip_init; WTDs off

// Fast WTD context, or WTDs off. Whether the address is one of this machine's, loopback included.
bool loopback_owns(const ip_addr_t *ip);
// What a packet to `to` goes through and is from when its sender has no address yet; null: it leaves the machine.
struct netif *loopback_source(const ip_addr_t *to, ip_addr_t *from);
