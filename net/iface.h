// SPDX-License-Identifier: BSD-2-Clause
// One network card as both sides see it: lwIP's netif above, the driver's netdev below. net/netdev.c
// joins them, net/txqueue.c holds what the card has no room for, net/stack.c gives it addresses.
#pragma once

#include "kernel/netdev.h"
#include "kernel/wtd.h"
#include "lwip/netif.h"
#include "net/longframe.h"

// Packets that found the ring full, oldest first. Each holds the card's references already.
struct txqueue_packet;
struct txqueue {
	struct txqueue_packet *first, *last;
	uint32_t packets, bytes;
	bool refused; // a packet was turned away since the queue was last empty
};

// What the card is told of a TCP segment that is headers and one piece behind them (iface_send_tcp).
struct iface_segment {
	struct netfrag frags[2];
	struct netoffload offload; // all but header_bytes and mss stays as it is
};

// Fast WTD context, one processor: no lock.
struct iface {
	struct netif netif;
	struct netdev *dev;
	struct txqueue queue;
	struct wtd room;     // drains the queue
	bool kick;	     // descriptors were written since the last doorbell
	bool announced;	     // the address hook knows
	bool rows;	     // a connection acknowledged several times in a row, and may again
	uint16_t advertised; // what a router says that the link takes, over IPv6; 0: none does

	struct longframe arriving;		// of which parts have come
	struct iface_segment segment, segment6; // over IPv4, IPv6
	char hostname[32];
	struct iface *next;
};

struct iface *iface_first(void);
// Makes the interface of a card, without addresses, and starts the card. Null, with a message: no
// memory, or the driver refused. Thread context with WTDs disabled.
struct iface *iface_add(struct netdev *dev);
void iface_kick_all(void); // rings the doorbell of every card that was written to

// A TCP segment, with a header of so many bytes, in an IPv4 packet without options or an IPv6 packet without
// extension headers, headers written, with IPv4's checksum 0 and TCP's the seed (struct netoffload), on its way to the
// card (what netif->linkoutput does, with nothing left to find out). ERR_OK: the card has references of its own.
err_t iface_send_tcp(struct netif *netif, struct pbuf *packet, uint16_t tcp_header, bool ipv6);
// The same where the fragments are made already, and the packet's two pbufs have the card's references.
err_t iface_send_answer(struct netif *netif, const struct netfrag frags[2], uint16_t tcp_header,
			const struct pbuf *packet, bool ipv6);
// The same for one over IPv4 that is nothing but headers, in one piece. ERR_OK: the caller's reference is the card's.
err_t iface_give_tcp(struct netif *netif, struct pbuf *headers);

// net/txqueue.c. Fast WTD context.
// Takes count fragments, whose references it keeps until the card has them; false when it is full
// (nothing was taken).
bool txqueue_add(struct txqueue *queue, const struct netfrag *frags, unsigned count,
		 const struct netoffload *offload);
// Hands over to the card what it has room for, in order. Returns true if the queue is empty.
bool txqueue_drain(struct iface *iface);
void txqueue_drop(struct iface *iface); // link down: gives every reference back
