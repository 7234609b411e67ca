// SPDX-License-Identifier: BSD-2-Clause
// A gigabit card for host tests, behind mmio_read32 and mmio_write32, written from the manual and
// not from the driver. It executes descriptors from fake RAM by physical address, at once (like
// QEMU's) or when told to, and calls the interrupt handler as soon as an unmasked cause is up. It
// aborts the test when the driver does what the manual forbids.
//
// Beside it: a client that hands out numbered buffers and counts every cookie in and out.
#pragma once

#include "kernel/netdev.h"

// ---- the card ----

#define FAKE_FRAME_MAX 16124 // without FCS
struct fake_frame {
	uint32_t bytes;
	uint8_t data[FAKE_FRAME_MAX + 4];
};

void fake_plug(uint16_t device); // finds the driver's row and lets it probe
struct netdev *fake_netdev(void);
void fake_reset(void); // between tests: modes back to normal, counts and sent frames gone

// true: a TDT write only moves the tail; fake_transmit(n) executes n packets (-1: all).
void fake_set_delayed(bool on);
unsigned fake_transmit(int packets);
void fake_set_writeback(bool on); // false: packets are sent, the head moves, DD is not written
void fake_set_link(bool up);
void fake_finish_all(void);  // what was fetched before link loss or TCTL.EN 0 goes out
void fake_set_hung(bool on); // the card fetches nothing, link or not

// A frame from the wire: written to memory, or kept in a queue while the ring has no buffer.
// What is longer than a buffer is spread over as many as it takes. errors: the last descriptor's error bits; parts: of
// how many descriptors the card says that they belong to it (0: as many as it takes), the last with what is left.
void fake_receive(const void *data, uint32_t bytes);
void fake_receive_odd(const void *data, uint32_t bytes, uint8_t errors, unsigned parts);
unsigned fake_waiting(void); // frames in the queue

unsigned fake_sent(void);
void fake_forget_counts(void); // sent frames and accesses
const struct fake_frame *fake_frame(unsigned n);
void fake_on_sent(void (*fn)(const struct fake_frame *frame)); // runs inside the TDT write
void fake_on_write(void (*fn)(uint32_t reg, uint32_t value));  // before the write takes effect
void fake_on_icr(void (*fn)(bool was_read));		       // before ICR is read, and after

uint32_t fake_register(uint32_t reg);
unsigned fake_reads(void), fake_writes(uint32_t reg), fake_contexts(void), fake_descriptors(void);
bool fake_interrupt_elsewhere(void); // another device on the line raises it; what the handler says
void fake_missed(uint32_t frames);   // the card's own counter

// ---- the client ----

#define CLIENT_BUFFERS 600
struct client {
	unsigned limit; // buffers it is willing to have out
	unsigned out;	// buffers the driver has
	unsigned asked; // times the driver asked for a buffer
	unsigned unused, batches, shows, inputs, rooms, link_calls;
	unsigned broken; // frames of which parts were shown, but not the last
	bool leaves;	 // the buffers it is shown to the driver
	bool link;
	uint64_t bytes;
	unsigned released; // cookies given back
	void (*on_input)(const uint8_t *frame, uint32_t bytes);
	void (*on_room)(void);
	void (*on_batch)(void);
};
extern struct client client;
void client_attach(struct netdev *dev);
// Memory and such a card (its PCI device number) with the client on it: once for all tests of a program.
struct netdev *client_plug(uint16_t device);
void client_start(void);  // start, with the buffers' pages allocated
void client_finish(void); // stop, and every buffer and cookie is back, or the test fails
const struct fake_frame *client_frame(unsigned n); // the n-th frame shown since start

// A cookie: handed to transmit, given back exactly once.
void *client_cookie(void);
unsigned client_cookies_out(void);

// ---- packets ----

struct packet {
	struct netfrag frags[NETDEV_MAX_FRAGS];
	unsigned count;
	uint32_t bytes;
	struct netoffload offload;
	uint8_t *header;
};

void packets_init(void);
void packets_finish(void);
// A TCP or UDP header with `payload` bytes of page data behind it, cut every `step` bytes.
void packet_make(struct packet *packet, bool ipv6, bool udp, uint32_t payload, uint32_t step);
int packet_send(struct packet *packet);
void packet_send_and_kick(struct packet *packet);
uint32_t packet_sum(const uint8_t *p, unsigned bytes, uint32_t start); // RFC 1071
void packet_assert_sums(const struct fake_frame *frame);
void packet_assert_payload(const struct fake_frame *frame, unsigned header, unsigned at);
unsigned get_be16(const uint8_t *p);
uint32_t get_be32(const uint8_t *p);

// ---- cmocka's, round each test ----

// Of the tests that send; of those that receive: the card has all buffers it can have, and nothing is counted yet.
int client_setup(void **state), client_teardown(void **state);
int client_setup_rx(void **state), client_teardown_rx(void **state);
