// SPDX-License-Identifier: BSD-2-Clause
// Our options with what lwIP's own unit tests cannot do without. Each line says which test and why.
#pragma once

#include "net/lwip/lwipopts.h"

#define LWIP_TESTMODE 1 // timers: reaches into the list of timeouts

// All: the tests end by reading the allocators' statistics, so they run on lwIP's own mem.c and memp.c.
#undef MEMP_MEM_MALLOC
#undef MEM_LIBC_MALLOC
#undef MEM_STATS
#undef MEMP_STATS
#define MEMP_MEM_MALLOC 0
#define MEM_LIBC_MALLOC 0
#define MEM_STATS	1
#define MEMP_STATS	1
#define MEM_SIZE	(1024 * 1024)
#undef MEMP_NUM_TCP_PCB
#undef MEMP_NUM_TCP_SEG
#undef MEMP_NUM_PBUF_SLICE
#define MEMP_NUM_TCP_PCB    64
#define MEMP_NUM_TCP_SEG    2048
#define MEMP_NUM_PBUF_SLICE 2048
// pbuf: 200 KB in one chain; tcp_oos: a window full of segments
#undef PBUF_POOL_SIZE
#undef PBUF_POOL_BUFSIZE
#define PBUF_POOL_SIZE	  400
#define PBUF_POOL_BUFSIZE 600 // pbuf: 1,024 bytes must not fit into one
// All: segments of the usual size, in few buffers
#undef TCP_MSS
#define TCP_MSS TCP_MSS_USUAL
// timers: eight timeouts of the test's own
#undef MEMP_NUM_SYS_TIMEOUT
#define MEMP_NUM_SYS_TIMEOUT (LWIP_NUM_SYS_TIMEOUT_INTERNAL + 8)
#ifndef PPP_NUM_TIMEOUTS
#define PPP_NUM_TIMEOUTS 0
#endif

// ip6: compares addresses with capitals
#define LWIP_IP6_ADDR_CAPITALS 1

// tcp: two ticks to a slow one, eleven to the first time-out
#undef TCP_SLOW_INTERVAL
#undef LWIP_TCP_RTO_TIME
#define LWIP_TCP_RTO_TIME (11 * TCP_TMR_INTERVAL)
// tcp: a send buffer larger than the window; windows that need no scaling
#undef TCP_WND
#undef TCP_RCV_SCALE
#undef TCP_SND_BUF
#undef TCP_SND_BUF_MAX
#undef TCP_OOSEQ_PBUFS_LIMIT // tcp_oos: queues more than we allow
#undef TCP_OOSEQ_BYTES_LIMIT
#undef TCP_SNDLOWAT
#define TCP_WND		(10 * TCP_MSS)
#define TCP_RCV_SCALE	0
#define TCP_SND_BUF	(12 * TCP_MSS)
#define TCP_SND_BUF_MAX TCP_SND_BUF
#define TCP_SNDLOWAT	(3 * TCP_MSS)

// tcp_state: looks at PCBs in SYN_RCVD and TIME_WAIT. Ours are tested by tests/host/test_tcp_syn.c and
// test_tcp_timewait.c; nobody here would park any (test_tcp_park.c).
#undef TCP_SYN_CACHE
#undef TCP_TW_COMPACT
#undef TCP_PARK
#define TCP_TW_COMPACT 0
#define TCP_SYN_CACHE  0
#define TCP_PARK       0

// tcp: a test that is left out names a field that is no more
#define bytes_acked w_est

// netif, udp, ip4
#define LWIP_NETIF_EXT_STATUS_CALLBACK 1
#undef LWIP_HAVE_LOOPIF
#undef LWIP_NETIF_LOOPBACK
#define LWIP_HAVE_LOOPIF    1
#define LWIP_NETIF_LOOPBACK 1
// ip4, dhcp: they count frames, and without ACD there is an announcement more
#undef LWIP_ACD
#undef LWIP_DHCP_DOES_ACD_CHECK
#define LWIP_ACD		 1
#define LWIP_DHCP_DOES_ACD_CHECK 1
// etharp: fills the table
#undef ARP_TABLE_SIZE
#define ARP_TABLE_SIZE 10
#undef ETHARP_SUPPORT_STATIC_ENTRIES
#define ETHARP_SUPPORT_STATIC_ENTRIES 1
