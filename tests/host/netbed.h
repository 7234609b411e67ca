// SPDX-License-Identifier: BSD-2-Clause
// A test bed for the stack: a fake card below, a hand-made TCP peer beyond it, a listening server of the
// test's above, the shim's clock. IPv4, static addresses, or IPv6,
// link-local ones; port 80 listens.
//
// The card takes packets by reference as a real one does and keeps them until the test completes them.
// When it does, the packet's bytes must still be what they were when it was handed over: a header that
// was rewritten, or a page that was freed and filled with junk, fails the test there.
#pragma once

#include "kernel/netdev.h"
#include "kernel/page.h"
#include "lwip/tcp.h"

#define BED_FRAME_MAX 16128

struct bed_packet {
	struct netfrag frags[NETDEV_MAX_FRAGS];
	unsigned count;
	struct netoffload offload;
	uint8_t *frame; // as the wire carries it, checksums made; uncut if the card is to cut it
	uint8_t *lent;	// as it was handed over
	uint32_t bytes;
	bool done;
};

// A TCP segment seen on the wire, host byte order. A packet that the card cuts is many of them.
struct bed_segment {
	struct bed_packet *packet;
	uint32_t seq, ack;
	uint16_t source, dest, window, mss; // mss: the option's, 0: none
	bool times;			    // with time stamps:
	uint32_t ts_value, ts_echo;
	uint8_t flags;
	const uint8_t *data;
	uint32_t len;
};

// The peer's end of a connection, and the server's pcb of it (null: dead).
struct bed_peer {
	struct tcp_pcb *pcb;
	bool ipv6;
	uint16_t port;
	uint32_t seq, ack; // next to send, next expected
	uint16_t window;
	bool
	    times; // its segments carry time stamps: its clock, what it echoes (of what the test looked at)
	uint32_t ts_value, ts_echo;
	uint32_t received; // bytes the server's recv callback got
	uint32_t sent;	   // bytes a test's sent callback was told of
	err_t error;	   // what its err callback was told
};

struct bed {
	struct netdev card;
	unsigned ring_room; // packets the card takes before it says -ENOBUFS
	bool ipv6;	    // peers that are made now speak it; false at each test's start
	bool manual;	    // completions only by bed_complete*; else at each kick
	bool batch;	    // frames that arrive are one batch until bed_batch_end
	unsigned kicks, refills;
	unsigned passed_over; // frames of batches that the stack did without
	uint64_t handed;      // packets given to the card so far
};
extern struct bed bed;

// cmocka group fixtures: the shim's RAM and the stack, once for all tests of the file.
int bed_group_setup(void **state);
extern const char *bed_mtu; // the command line's word, null: none; set before
int bed_group_teardown(void **state);
// Each test: the pools' use is noted, and at the end everything is aborted and completed; fails if a page
// is pinned or a pool is not back.
int bed_setup(void **state);
int bed_teardown(void **state);

// ---- the card
struct bed_packet *bed_next(void);     // the oldest packet not looked at yet, or null
struct bed_segment bed_next_tcp(void); // skips what is not TCP; packet null: none
void bed_skip(void);		       // forgets all packets not looked at
void bed_tso(uint16_t most); // the card cuts packets of up to so many bytes; 0 (at first): none
void bed_complete(struct bed_packet *packet);
void bed_complete_oldest(void);
void bed_complete_all(void);
unsigned bed_outstanding(void);
// A frame arrives, as a batch of its own; what is longer than a buffer in as many as it takes.
void bed_receive(const void *frame, uint32_t bytes);
// The first buffers of one that turns out to be none, if it is not `whole`, each as a batch of its own.
void bed_receive_parts(const void *frame, uint32_t bytes, unsigned parts, bool whole);
void bed_batch_end(void);
extern uint32_t (*bed_harm)(uint8_t *frame,
			    uint32_t bytes); // changes frames on their way; their new length
void bed_link(bool up);

// ---- the peer
struct bed_peer *bed_connect(uint16_t mss, uint16_t window); // handshake done; the server accepted
struct bed_peer *bed_connect_times(uint16_t mss, uint16_t window,
				   uint32_t ts_value); // with time stamps
struct bed_peer *bed_syn(const void *options, unsigned option_bytes, uint16_t window); // SYN only
void bed_peers_forget_one(struct bed_peer *peer); // the newest; makes room for many
void bed_send(struct bed_peer *peer, uint8_t flags, const void *data, uint32_t len);
void bed_send_options(struct bed_peer *peer, uint8_t flags, const void *options,
		      unsigned option_bytes, const void *data, uint32_t len);
void bed_ack(struct bed_peer *peer, uint32_t ack); // bare ACK of that sequence number
uint32_t bed_iss(struct bed_peer *peer);	   // the server's first data sequence number

// ---- pages
// A locked file page full of a pattern, hidden from the CPU. Released pages are counted and freed.
struct page *bed_page(uint8_t seed);
struct page *bed_run(uint8_t seed,
		     unsigned order);  // 2^order of them, one behind the other, seeds counting up
void bed_page_done(struct page *page); // drops the test's own reference
extern unsigned bed_pages_released;
uint8_t bed_pattern(uint8_t seed, unsigned offset);

// For frames of a test's own. seal: right checksums for a frame of `bytes` bytes with TCP over IPv4 without options, or
// IPv6 without extension headers.
unsigned bed_tcp_at(const uint8_t *frame);   // where TCP's header begins then
void bed_put16(uint8_t *to, uint16_t value); // network byte order
void bed_seal(uint8_t *frame, uint32_t bytes);
