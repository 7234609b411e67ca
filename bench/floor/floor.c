// SPDX-License-Identifier: BSD-2-Clause
// The floor: the cheapest thing that can look like a web server on this card. It polls an 82540EM and answers
// every segment that carries data with a canned response, cut into frames by the card (TSO). What it reaches is
// the bound that any server on this card model is measured against; it is not a server (no retransmission,
// nothing but "GET /<bytes>").
//
// Up to 60,000 bytes, one packet of the card's, it keeps no connection state at all. Of a larger answer it remembers
// by the client's port what comes next and where it ends, and sends while the client's window and IN_FLIGHT
// allow it.
//
// Address 10.77.0.2.
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define RING	256
#define BUFFER	2048
#define MSS	1460
#define CANNED	65000
#define HEADERS 54 // Ethernet, IPv4, TCP without options

#define SMALL	  60000		 // answers without state
#define PIECE	  (44 * MSS - 4) // of a larger one; behind whole segments the card sends an empty one
#define IN_FLIGHT (4 * PIECE)

enum reg {
	CTRL = 0x0,
	IMC = 0xd8,
	RCTL = 0x100,
	TCTL = 0x400,
	TIPG = 0x410,
	RDBAL = 0x2800,
	RDBAH = 0x2804,
	RDLEN = 0x2808,
	RDH = 0x2810,
	RDT = 0x2818,
	TDBAL = 0x3800,
	TDBAH = 0x3804,
	TDLEN = 0x3808,
	TDH = 0x3810,
	TDT = 0x3818,
	RAL = 0x5400,
	RAH = 0x5404
};

struct rx_desc {
	uint64_t addr;
	uint16_t length, checksum;
	uint8_t status, errors;
	uint16_t special;
};
struct tx_desc {
	uint64_t low, high;
};
_Static_assert(sizeof(struct rx_desc) == 16 && sizeof(struct tx_desc) == 16, "descriptors");

static struct rx_desc rx_ring[RING] __attribute__((aligned(4096)));
static struct tx_desc tx_ring[RING] __attribute__((aligned(4096)));
static uint8_t rx_buffers[RING][BUFFER] __attribute__((aligned(4096)));
static uint8_t headers[RING][64] __attribute__((aligned(64)));
static char canned[CANNED] __attribute__((aligned(4096)));
static uint32_t canned_bytes, canned_size = ~0u;
static struct stream {
	uint32_t next, end; // sequence numbers; the same: nothing to send
	uint8_t scale;	    // of the client's window
} streams[65536];	    // by the client's port
static volatile uint8_t *regs;
static uint32_t rx_next, tx_next, tx_rung; // slots; those up to tx_rung the card has had
static uint8_t mac[6];
static const uint8_t address[4] = {10, 77, 0, 2};

void floor_main(void);

static void out32(uint16_t port, uint32_t value)
{
	__asm__ volatile("outl %0, %1" ::"a"(value), "Nd"(port));
}
static uint32_t in32(uint16_t port)
{
	uint32_t value;
	__asm__ volatile("inl %1, %0" : "=a"(value) : "Nd"(port));
	return value;
}
static uint32_t pci(uint32_t slot, uint32_t offset)
{
	out32(0xcf8, 0x80000000u | slot << 11 | offset);
	return in32(0xcfc);
}
static void wr(enum reg reg, uint32_t value)
{
	*(volatile uint32_t *)(regs + reg) = value;
}
static uint32_t rd(enum reg reg)
{
	return *(volatile uint32_t *)(regs + reg);
}
static uint16_t be16(const uint8_t *p)
{
	return (uint16_t)(p[0] << 8 | p[1]);
}
static uint32_t be32(const uint8_t *p)
{
	return (uint32_t)be16(p) << 16 | be16(p + 2);
}
static void put16(uint8_t *p, uint16_t v)
{
	p[0] = (uint8_t)(v >> 8);
	p[1] = (uint8_t)v;
}
static void put32(uint8_t *p, uint32_t v)
{
	put16(p, (uint16_t)(v >> 16));
	put16(p + 2, (uint16_t)v);
}
static void copy(uint8_t *to, const uint8_t *from, size_t bytes)
{
	for (size_t i = 0; i < bytes; i++)
		to[i] = from[i];
}

// One's complement sum of big-endian words, folded, not complemented.
static uint16_t sum(const uint8_t *p, size_t bytes, uint32_t start)
{
	for (size_t i = 0; i + 1 < bytes; i += 2)
		start += be16(p + i);
	if (bytes & 1)
		start += (uint32_t)p[bytes - 1] << 8;
	while (start >> 16)
		start = (start & 0xffff) + (start >> 16);
	return (uint16_t)start;
}

static void serial(const char *text)
{
	for (; *text; text++)
		__asm__ volatile("outb %0, %1" ::"a"(*text), "Nd"((uint16_t)0x3f8));
}

static void tx_put(uint64_t low, uint64_t high)
{
	tx_ring[tx_next] = (struct tx_desc){low, high};
	tx_next = (tx_next + 1) % RING;
}

// The model has sent everything when this store retires.
static void kick(void)
{
	if (tx_next != tx_rung)
		wr(TDT, tx_next);
	tx_rung = tx_next;
}

// A whole frame from the header buffer of the slot, as it is.
static void send_plain(uint8_t *frame, uint32_t bytes)
{
	tx_put((uint64_t)(uintptr_t)frame, bytes | 0x3ull << 24); // EOP, IFCS
}

// Context descriptor (TCP, IPv4, TSE), header, payload: the card cuts it into frames of MSS bytes.
static void send_canned(uint8_t *header, uint32_t bytes)
{
	put16(header + 50, sum(header + 26, 8, 6));
	uint64_t high = bytes | 0x27ull << 24 | (uint64_t)HEADERS << 40 | (uint64_t)MSS << 48;
	tx_put(14ull | 24ull << 8 | 33ull << 16 | 34ull << 32 | 50ull << 40, high);
	const uint64_t data =
	    1ull << 20 | 0x26ull << 24 | 3ull << 40; // DEXT, TSE, IFCS; IXSM, TXSM
	tx_put((uint64_t)(uintptr_t)header, HEADERS | data);
	tx_put((uint64_t)(uintptr_t)canned, bytes | data | 1ull << 24);
}

static uint32_t number(const uint8_t *text, uint32_t max)
{
	uint32_t n = 0;
	for (uint32_t i = 0; i < max && text[i] >= '0' && text[i] <= '9'; i++)
		n = n * 10 + (uint32_t)(text[i] - '0');
	return n;
}

static void prepare(uint32_t size)
{
	static const char start[] = "HTTP/1.1 200 OK\r\nServer: floor\r\nContent-Length: ";
	if (size == canned_size)
		return;
	canned_size = size;
	char digits[10];
	uint32_t n = 0, at = sizeof(start) - 1;
	copy((uint8_t *)canned, (const uint8_t *)start, at);
	do
		digits[n++] = (char)('0' + size % 10);
	while (size /= 10);
	while (n)
		canned[at++] = digits[--n];
	copy((uint8_t *)canned + at, (const uint8_t *)"\r\n\r\n", 4);
	canned_bytes = at + 4 + canned_size;
}

// The reply's headers, from the segment that came. seq and ack are what the peer wants to see.
static uint8_t *reply(const uint8_t *in, uint32_t ack, uint8_t flags)
{
	uint8_t *h = headers[tx_next];
	copy(h, in + 6, 6);
	copy(h + 6, mac, 6);
	put16(h + 12, 0x0800);
	put32(h + 14, 0x45000000);
	put32(h + 18, 0x00004000);
	put32(h + 22, 0x40060000);
	copy(h + 26, in + 30, 4);
	copy(h + 30, in + 26, 4);
	copy(h + 34, in + 36, 2);
	copy(h + 36, in + 34, 2);
	copy(h + 38, in + 42, 4);
	put32(h + 42, ack);
	h[46] = 0x50;
	h[47] = flags;
	put16(h + 48, 65535);
	put32(h + 50, 0);
	return h;
}

// RFC 7323, 2: the shift of the window, from a SYN's options.
static uint8_t scale_of(const uint8_t *option, const uint8_t *end)
{
	while (option + 2 < end && *option) {
		if (*option == 3)
			return option[2];
		option += *option == 1 || option[1] < 2 ? 1 : option[1];
	}
	return 0;
}

// Of a large answer as much as may be sent: whole pieces, or what is left.
static void go_on(const uint8_t *in, struct stream *stream, uint32_t ack)
{
	uint32_t seq = be32(in + 42), window = (uint32_t)be16(in + 48) << stream->scale;
	window = window < IN_FLIGHT ? window : IN_FLIGHT;
	while (stream->next != stream->end && stream->next - seq < window) {
		uint32_t left = stream->end - stream->next, room = window - (stream->next - seq);
		uint32_t bytes = left < PIECE ? left : PIECE;
		if (bytes > room && stream->next != seq)
			return;
		bytes = bytes < room ? bytes : room;
		uint8_t *h = reply(in, ack, 0x10);
		put32(h + 38, stream->next);
		send_canned(h, bytes);
		stream->next += bytes;
		if ((tx_next - tx_rung) % RING > RING / 2)
			kick();
	}
}

static void finish_plain(uint8_t *h, uint32_t tcp_bytes)
{
	put16(h + 16, (uint16_t)(20 + tcp_bytes));
	put16(h + 24, (uint16_t)~sum(h + 14, 20, 0));
	put16(h + 50, (uint16_t)~sum(h + 34, tcp_bytes, sum(h + 26, 8, 6 + tcp_bytes)));
	send_plain(h, 34 + tcp_bytes);
}

static void tcp_input(const uint8_t *in, uint32_t bytes)
{
	uint32_t ip_bytes = be16(in + 16), offset = (uint32_t)(in[46] >> 4) * 4;
	uint32_t seq = be32(in + 38), data = ip_bytes - 20 - offset;
	uint8_t flags = in[47];
	struct stream *stream = &streams[be16(in + 34)];
	if (ip_bytes < 20 + offset || 14 + ip_bytes > bytes || flags & 4)
		return;
	if (flags &
	    2) { // SYN: our sequence number is whatever the peer's acknowledgement field holds
		uint8_t *h = reply(in, seq + 1, 0x12);
		stream->next = stream->end;
		stream->scale = scale_of(in + 54, in + 34 + offset);
		h[46] = 0x70;
		put32(h + 54, 0x020405b4);
		put32(h + 58, 0x01030300); // the client may scale its window; ours is as it is
		finish_plain(h, 28);
	} else if (flags & 1) {
		finish_plain(reply(in, seq + data + 1, 0x11), 20);
	} else if (data > 5) {
		prepare(number(in + 34 + offset + 5, data - 5));
		if (canned_size <= SMALL) {
			send_canned(reply(in, seq + data, 0x18), canned_bytes);
			return;
		}
		stream->next = be32(in + 42);
		stream->end = stream->next + canned_bytes;
		go_on(in, stream, seq + data);
	} else if (stream->next != stream->end) {
		go_on(in, stream, seq + data);
	}
}

static void arp_input(const uint8_t *in)
{
	if (be16(in + 20) != 1 || be32(in + 38) != be32(address))
		return;
	uint8_t *h = headers[tx_next];
	copy(h, in + 6, 6);
	copy(h + 6, mac, 6);
	copy(h + 12, in + 12, 8);
	put16(h + 20, 2);
	copy(h + 22, mac, 6);
	copy(h + 28, address, 4);
	copy(h + 32, in + 22, 10);
	send_plain(h, 60);
}

static void poll(void)
{
	uint32_t first = rx_next;
	for (uint32_t n = 0; n < RING / 4 && rx_ring[rx_next].status & 1; n++) {
		uint8_t *in = rx_buffers[rx_next];
		if (be16(in + 12) == 0x0806)
			arp_input(in);
		else if (be16(in + 12) == 0x0800 && in[14] == 0x45 && in[23] == 6)
			tcp_input(in, rx_ring[rx_next].length);
		rx_ring[rx_next].status = 0;
		rx_next = (rx_next + 1) % RING;
	}
	kick();
	if (rx_next != first)
		wr(RDT, (rx_next + RING - 1) % RING);
}

void floor_main(void)
{
	uint32_t slot = 0;
	while (slot < 32 && pci(slot, 0) != 0x100e8086)
		slot++;
	if (slot == 32) {
		serial("floor: no 82540EM on bus 0\n");
		return;
	}
	regs = (volatile uint8_t *)(uintptr_t)(pci(slot, 0x10) & ~0xfu);
	out32(0xcf8, 0x80000000u | slot << 11 | 4);
	out32(0xcfc, 0x7 | 0x400);
	wr(IMC, ~0u);
	put32(mac, __builtin_bswap32(rd(RAL)));
	put16(mac + 4, __builtin_bswap16((uint16_t)rd(RAH)));
	for (uint32_t i = 0; i < RING; i++)
		rx_ring[i].addr = (uint64_t)(uintptr_t)rx_buffers[i];
	wr(RDBAL, (uint32_t)(uintptr_t)rx_ring);
	wr(RDBAH, 0);
	wr(RDLEN, sizeof(rx_ring));
	wr(RDH, 0);
	wr(RDT, RING - 1);
	wr(TDBAL, (uint32_t)(uintptr_t)tx_ring);
	wr(TDBAH, 0);
	wr(TDLEN, sizeof(tx_ring));
	wr(TDH, 0);
	wr(TDT, 0);
	wr(TIPG, 0x00602006);
	wr(CTRL, rd(CTRL) | 0x40);		      // SLU
	wr(TCTL, 0x2 | 0x8 | 0x10 << 4 | 0x40 << 12); // EN, PSP
	wr(RCTL, 0x2 | 0x8000 | 0x04000000);	      // EN, BAM, SECRC
	serial("peer: ready\n");
	for (;;)
		poll();
}
