// SPDX-License-Identifier: BSD-2-Clause
// Netlink sockets of programs (AF_NETLINK, NETLINK_ROUTE): how a program asks for all interfaces, addresses and routes
// (getifaddrs, if_nameindex, ip(8)). Read-only: what is asked for is answered, what would change something is
// EOPNOTSUPP, and nobody is told of changes.
//
//	program --send--> net/netlink.c: header by header --> netlink_route_request (net/netlink_route.c)
//	        <--receive-- queue of messages <-- packets <-- net/netlink_answer.c
//
// An answer is made in one go with WTDs off, so no interface changes in the middle of it. It is a row of packets of
// whole messages, each with the number and port of its question; that of a dump ends with NLMSG_DONE. Layouts:
// netlink(7), rtnetlink(7).
#pragma once

#include "kernel/message.h"
#include "net/socket.h"

enum netlink_flag {
	NLM_REQUEST = 0x1,
	NLM_MULTI = 0x2, // of a row that NLMSG_DONE ends
	NLM_ACK = 0x4,
	NLM_CAPPED = 0x100,
	NLM_DUMP = 0x300, // both bits
};
enum { NLMSG_ERROR = 2, NLMSG_DONE, NLMSG_FIRST = 16 }; // below: control messages
enum { NLM_ALIGN = 4 };

struct netlink_header {
	uint32_t len; // with the header
	uint16_t type, flags;
	uint32_t sequence, port;
};
_Static_assert(sizeof(struct netlink_header) == 16, "struct nlmsghdr");

struct netlink_attribute {
	uint16_t len, type; // len: with these four bytes
};

// Packets that wait in a socket: ten times what a machine with 32 cards has to tell.
#define NETLINK_WAITING_MOST 16
// A packet, of a question or of an answer: a page with its description.
#define NETLINK_ROOM (PAGE_SIZE - 128)
struct netlink_packet {
	struct message message; // first
	struct netlink_packet *next;
	_Alignas(8) char bytes[NETLINK_ROOM];
};
_Static_assert(sizeof(struct netlink_packet) <= PAGE_SIZE, "a page");

struct netlink_answer {
	uint32_t sequence, port; // constant: of the question
	uint16_t flags;		 // of the messages
	struct netlink_packet *first, *last;
	struct netlink_header *now; // the message that is being written; null: none, or no memory
	uint32_t packets;
	bool failed; // no memory: the program is told ENOBUFS
};

// ---- net/netlink_answer.c: any context but interrupt ----

struct netlink_packet *netlink_packet_new(void); // message_free frees it; null: no memory
// Begins a message with a body of so many bytes, all 0, for the caller to fill. Null: no memory; the puts that follow
// do nothing then, and the answer is lost as a whole. `most`: what it may come to, header, body and attributes.
void *netlink_begin(struct netlink_answer *a, uint16_t type, uint32_t body, uint32_t most);
void netlink_put(struct netlink_answer *a, uint16_t type, const void *data, uint32_t bytes);
// NLMSG_ERROR: how it went (0: well), with the question, or with its header where that is enough.
void netlink_error(struct netlink_answer *a, const struct netlink_header *question, int error,
		   bool capped);
void netlink_drop(struct netlink_answer *a); // frees what was written

// ---- net/netlink_route.c ----

// What is asked for in one message, which lies there as a whole. 1: the answer is complete as it is; 0: an
// acknowledgement is due if it was asked for; or a negative errno for NLMSG_ERROR. WTDs off.
int netlink_route_request(const struct netlink_header *question, struct netlink_answer *a);
