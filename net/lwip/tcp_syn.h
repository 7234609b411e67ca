// SPDX-License-Identifier: BSD-2-Clause
// Half-open connections (RFC 9293's SYN-RECEIVED after a passive open) without a PCB: each an entry of a
// hundred bytes in a bounded cache; when the cache is full, none at all: what must be known comes back in
// the acknowledgment number, as in a SYN cookie (D. J. Bernstein, 1996). So a flood of SYNs holds nothing
// that lasts, and keeps nobody out.
//
//   SYN ----> entry --(ACK of our SYN)--> PCB, ESTABLISHED
//     \         |  \--(RST; SYN-ACKs sent in vain)--> gone
//      \        '-- SYN-ACK again after 1, 2, 4, 8, 16 s
//       `-> cookie --(ACK that proves itself)--> PCB, ESTABLISHED
//
// Fast WTD context. Included by lwIP's tcp_in.c.
#pragma once

#include "kernel/base.h"
#include "tcp_hash.h"
#include "tcp_timestamp.h"

#define TCP_SYN_ENTRIES 4096 // a thousand new connections a second with peers a second or two away

// What a peer offered in its SYN, and what a connection begins with.
struct tcp_syn_offer {
	uint32_t irs, iss; // the peer's and our initial sequence number
	uint32_t sent_at;  // tcp_now() of our only SYN-ACK; 0: no round trip can be taken from it
	uint16_t mss;
	uint8_t scale; // the peer's shift, valid if scaled
	bool scaled, sack, timestamps;
	uint32_t ts_recent; // its newest TSval
	uint32_t ts_offset; // of ours (tcp_timestamp_offset)
};

// What a SYN with that sequence number offers without any option; and with these.
void tcp_syn_begin(struct tcp_syn_offer *offer, uint32_t irs);
// False: they are not formed as they should be, and what is behind that does not count.
bool tcp_syn_options(struct tcp_syn_offer *offer, const uint8_t *options, unsigned bytes);

// A SYN for a listener: answered. entry: the one found for the tuple, or null. least_iss: 0, or the
// sequence number above which ours must begin (RFC 9293, 3.4.1: a TIME_WAIT is reused).
void tcp_syn_received(const struct tcp_tuple *tuple, uint32_t hash, struct tcp_hash_node *entry,
		      const struct tcp_syn_offer *offer, uint32_t least_iss, uint8_t netif_idx);
// A RST that belongs to the entry.
void tcp_syn_reset(struct tcp_hash_node *entry, uint32_t seqno);

// Whether an ACK with these numbers is just the one that is waited for: of the SYN-ACK, with nothing before it.
bool tcp_syn_is_next(const struct tcp_hash_node *entry, uint32_t seqno, uint32_t ackno);

enum tcp_syn_verdict {
	TCP_SYN_OPEN,  // *offer says how; the entry stays until tcp_syn_opened
	TCP_SYN_DROP,  // say nothing
	TCP_SYN_REFUSE // a RST is due
};
// An ACK with these time stamps for a tuple that has no PCB. entry: as above.
enum tcp_syn_verdict tcp_syn_acked(const struct tcp_tuple *tuple, struct tcp_hash_node *entry,
				   uint32_t seqno, uint32_t ackno, const struct tcp_times *times,
				   struct tcp_syn_offer *offer);
// A PCB was made of it: the entry (or null, for a cookie) goes.
struct tcp_pcb;
void tcp_syn_opened(struct tcp_hash_node *entry, struct tcp_pcb *pcb);

// Every slow tick: SYN-ACKs that are due.
void tcp_syn_tmr(void);
// All entries go: an address of ours has changed.
void tcp_syn_forget_all(void);
