// SPDX-License-Identifier: BSD-2-Clause
// Our choice of lwIP's options. Everything is decided here, once; what is not named has lwIP's default.
// Pool maxima are bounds, not reservations: pools grow by pages as load comes (memory.c).
#pragma once

// ---- the port: one thread of control (fast WTDs), memory from our own pools -----------------------
#define NO_SYS		     1
#define SYS_LIGHTWEIGHT_PROT 0
#define LWIP_NETCONN	     0
#define LWIP_SOCKET	     0
#define MEMP_MEM_MALLOC	     1 // memory.c stands for mem.c and memp.c
#define MEM_LIBC_MALLOC	     1 // sizes are size_t
#define MEM_ALIGNMENT	     8
#define LWIP_TIMERS	     1
// TCP (2), IP reassembly, ARP, DHCP (2), ND, IPv6 reassembly, MLD
#define MEMP_NUM_SYS_TIMEOUT	       9
#define LWIP_STATS		       1
#define LWIP_STATS_LARGE	       1 // 64 bits: patches/
#define MIB2_STATS		       1
#define MEM_STATS		       0 // the pools count
#define MEMP_STATS		       0
#define SYS_STATS		       0
#define LWIP_HOOK_FILENAME	       "hooks.h"
#define LWIP_DISABLE_TCP_SANITY_CHECKS 0

// ---- packets ----------------------------------------------------------------------------------------
#define LWIP_SUPPORT_CUSTOM_PBUF  1
#define LWIP_PBUF_REF_T		  u32_t // a page of 4,096 one-byte slices must not wrap it
#define LWIP_NETIF_TX_SINGLE_PBUF 0	// 1 would copy every packet
#define PBUF_POOL_SIZE		  16	// received frames lie in net/rxpool.c's buffers instead
#define PBUF_POOL_BUFSIZE	  1600
// ARP and ND queues (64) + IP reassembly (64) + slack
#define MEMP_NUM_PBUF 256
// slices of file pages: TCP_SND_BUF of each of 1,000 busy connections, and all that is given beyond it, at three
// slices a page
#define MEMP_NUM_PBUF_SLICE (262144 + TCP_SND_GROWN_MAX / 4096 * 3)

// ---- interfaces -------------------------------------------------------------------------------------
#define LWIP_NETIF_HOSTNAME	   1
#define LWIP_NETIF_STATUS_CALLBACK 1
#define LWIP_NETIF_LINK_CALLBACK   1
#define LWIP_NETIF_HWADDRHINT	   1 // a connection remembers its neighbour's table entry
#define LWIP_NETIF_LOOPBACK	   0 // would copy: net/loopback.c instead
#define LWIP_HAVE_LOOPIF	   0
// Here and not in hooks.h, for ip4.h asks before that is read.
#define LWIP_HOOK_IP4_ROUTE_SRC(from, to) loopback_route4(from, to)
#define LWIP_NUM_NETIF_CLIENT_DATA	  0

// ---- checksums: the card makes IPv4's, TCP's and UDP's; we check what we receive (no card of ours does
// it reliably) and make ICMP's, which no card does
#define LWIP_CHECKSUM_CTRL_PER_NETIF 1 // net/straight.c has verified before lwIP would
#define CHECKSUM_GEN_IP		     0
#define CHECKSUM_GEN_UDP	     0
#define CHECKSUM_GEN_TCP	     0
#define CHECKSUM_GEN_ICMP	     1
#define CHECKSUM_GEN_ICMP6	     1
#define CHECKSUM_CHECK_IP	     1
#define CHECKSUM_CHECK_UDP	     1
#define CHECKSUM_CHECK_TCP	     1
#define CHECKSUM_CHECK_ICMP	     1
#define CHECKSUM_CHECK_ICMP6	     1

// ---- ARP, IPv4 --------------------------------------------------------------------------------------
#define LWIP_ARP		       1
#define ARP_TABLE_SIZE		       8192 // neighbours on the link; all others are behind the gateway's entry
#define ARP_QUEUEING		       1
#define ARP_QUEUE_LEN		       16 // an unresolved neighbour holds at most an initial window and a bit
#define MEMP_NUM_ARP_QUEUE	       1024 // packets that wait for a neighbour's answer
#define ETHARP_SUPPORT_STATIC_ENTRIES  0
#define LWIP_IPV4		       1
#define IP_FORWARD		       0
#define IP_OPTIONS_ALLOWED	       1
#define IP_REASSEMBLY		       1
#define IP_FRAG			       1 // by reference; TCP never needs it
#define IP_REASS_MAX_PBUFS	       64
#define MEMP_NUM_REASSDATA	       16
#define MEMP_NUM_FRAG_PBUF	       128
#define IP_DEFAULT_TTL		       64
#define LWIP_ICMP		       1
#define LWIP_RAW		       0
#define LWIP_IGMP		       0
#define LWIP_AUTOIP		       0
#define LWIP_ACD		       0
#define LWIP_DHCP		       1
#define LWIP_DHCP_DOES_ACD_CHECK       0 // would hold the address back for seconds at every start
#define LWIP_DNS		       0
#define DHCP_ADD_EXTRA_REQUEST_OPTIONS , DHCP_OPTION_MTU

// ---- IPv6: link-local and SLAAC addresses, ND, MLD --------------------------------------------------
#define LWIP_IPV6		       1
#define LWIP_IPV6_AUTOCONFIG	       1
#define LWIP_IPV6_DHCP6		       0
#define LWIP_IPV6_MLD		       1
#define LWIP_IPV6_FORWARD	       0
#define LWIP_IPV6_FRAG		       1
#define LWIP_IPV6_REASS		       1
#define IPV6_FRAG_COPYHEADER	       1 // pointers are 64 bits
#define LWIP_IPV6_NUM_ADDRESSES	       4 // link-local, two prefixes, one in transition
#define LWIP_IPV6_DUP_DETECT_ATTEMPTS  1
#define LWIP_IPV6_SEND_ROUTER_SOLICIT  1
#define LWIP_ND6_QUEUEING	       1
#define LWIP_ND6_NUM_NEIGHBORS	       8192 // as ARP
#define LWIP_ND6_NUM_DESTINATIONS      8192
#define LWIP_ND6_NUM_PREFIXES	       8
#define LWIP_ND6_NUM_ROUTERS	       4
#define LWIP_ND6_RDNSS_MAX_DNS_SERVERS 0
#define MEMP_NUM_ND6_QUEUE	       1024 // packets that wait for a neighbour's answer
#define MEMP_NUM_MLD6_GROUP	       32

// ---- UDP --------------------------------------------------------------------------------------------
#define LWIP_UDP	 1
#define MEMP_NUM_UDP_PCB (4096 + 32) // sockets of programs, DHCP 1 an interface

// ---- TCP --------------------------------------------------------------------------------------------
#define SO_REUSE 1 // a port of connections that are left may be listened on again
#define LWIP_TCP 1
// The largest, on a link whose packets have 16,110 bytes, which is what a card takes at most; and what fits into
// Ethernet's usual 1,500, for what is sized by segments and does not grow with them.
#define TCP_MSS	      16070
#define TCP_MSS_USUAL 1460
// What a SYN says, as far as the interface takes it: the largest that fits through any of ours (net/mtu.c).
#define TCP_MSS_OFFER		   tcp_mss_offer
#define TCP_CALCULATE_EFF_SEND_MSS 1
#define LWIP_WND_SCALE		   1
#define TCP_RCV_SCALE		   7			 // 8 MB
#define TCP_WND			   (180 * TCP_MSS_USUAL) // 262,800: receive window, in receive buffers
#define TCP_RCV_BUF_MAX		   (4U << 20) // what it grows to at most where the path is long (tcp_rcvbuf.h)
#define TCP_RCV_FIXED_MIN                                                                          \
	(2U *                                                                                      \
	 TCP_MSS_OFFER) // the least that a program can ask for: below, it would never open again
#define TCP_SND_BUF (180 * TCP_MSS_USUAL) // 262,800: pages one connection can keep on the wire
// What it is given at most where the path is short, and where it is long (tcp_sndbuf.h): 80 MB/s over 50 ms. And all of
// them together beyond TCP_SND_BUF, where memory is plenty (tcp_sndbuf_most): 34 such connections, or 512 near ones.
#define TCP_SND_BUF_NEAR  (2 * TCP_SND_BUF)
#define TCP_SND_BUF_MAX	  (4U << 20)
#define TCP_SND_GROWN_MAX (128U << 20)
// pbufs: a header for each of 180 segments, up to three page pieces in each, and short writes
#define TCP_SND_QUEUELEN	   1024
#define TCP_SNDLOWAT		   1024 // nobody asks
#define TCP_WND_UPDATE_THRESHOLD   (4 * TCP_MSS_USUAL)
#define TCP_COPY_MOST		   TCP_MSS_USUAL // of generated bytes in one pbuf: lwip_mem_2048's
#define TCP_OVERSIZE		   0  // 1 would copy file bytes into the tail of an earlier write
#define TCP_SEG_MAX_PBUFS	   24 // pieces in one segment: patches/, below NETDEV_MAX_FRAGS
#define TCP_MIN_MSS		   64 // a peer that wants less makes us thousands of segments a page
#define TCP_QUEUE_OOSEQ		   1
#define TCP_OOSEQ_BYTES_LIMIT(pcb) tcp_rcvbuf_limit(pcb)
#define TCP_OOSEQ_PBUFS_LIMIT(pcb)                                                                 \
	tcp_rcvbuf_pbufs(pcb) // receive buffers one connection can hold out of order
#define LWIP_TCP_SACK_OUT     1
#define LWIP_TCP_MAX_SACK_NUM 3
#define LWIP_TCP_TIMESTAMPS   1 // tcp_timestamp.h
// Counts connections that a server was told of and has not taken; half-open ones are tcp_syn.h's.
#define TCP_LISTEN_BACKLOG	   1
#define TCP_DEFAULT_LISTEN_BACKLOG 255
#define TCP_SYN_CACHE		   1 // tcp_syn.h
#define TCP_TW_COMPACT		   1 // tcp_tw.h
#define TCP_PARK		   1 // tcp_park.h
// 20,000 connections on which something happens, and those whose server has closed and whose peer has not
#define MEMP_NUM_TCP_PCB	24576
#define MEMP_NUM_TCP_PCB_LISTEN 1024 // of programs
// segments queued: a full send buffer on 1,000 connections, a few on all others, and what is given beyond it
#define MEMP_NUM_TCP_SEG (262144 + TCP_SND_GROWN_MAX / TCP_MSS_USUAL)
// A tick of 20 ms for retransmissions; the slow timer (persist, poll, keepalive) runs every fifth tick.
#define TCP_TMR_INTERVAL  20
#define TCP_SLOW_INTERVAL 100
#define LWIP_TCP_RTO_TIME 1000 // first RTO (RFC 6298, 2.1)
#define TCP_MAXRTX	  9    // gives up a silent peer after 160 s or more (RFC 1122: over 100 s)
#define TCP_SYNMAXRTX	  7    // and after three minutes one that answers no SYN (RFC 9293, 3.8.3)
#define TCP_PEER_DELAY                                                                             \
	60 // a lone segment is probed for after so long; Linux delays its ACKs by 40 ms
#define TCP_MSL		      15000UL // TIME_WAIT of 30 s
#define LWIP_TCP_KEEPALIVE    1	      // per pcb
#define TCP_KEEPIDLE_DEFAULT  60000UL
#define TCP_KEEPINTVL_DEFAULT 10000UL
#define TCP_KEEPCNT_DEFAULT   6U
// RFC 6928, 2
#define LWIP_TCP_CALC_INITIAL_CWND(mss)                                                            \
	((tcpwnd_size_t)LWIP_MIN(10U * (mss), LWIP_MAX(2U * (mss), 14600U)))
