// SPDX-License-Identifier: BSD-2-Clause
// The first network card, really: raw frames to QEMU's user network (-netdev user), which answers ARP
// and checks every checksum that it is sent. The stack's client is taken off the card meanwhile, and
// put back; both starts cost the second for which QEMU's card is deaf after RCTL was written.
#include "kernel/kstat.h"
#include "kernel/kstring.h"
#include "kernel/ktest.h"
#include "kernel/lock.h"
#include "kernel/netdev.h"
#include "kernel/pmm.h"
#include "kernel/thread.h"
#include "kernel/timer.h"
#include "kernel/vmm.h"

#define BUFFERS	   64 // fewer than the ring wants: the card works all the same
#define BUFFER	   2048
#define HEAD_ORDER 2
#define DEAF_NS	   (1100 * NS_PER_MS)

static const uint8_t our_ip[4] = {10, 0, 2, 15}, gateway[4] = {10, 0, 2, 2};

static struct {
	struct netdev *dev;
	const struct netdev_client *stack;
	void *stack_ctx;
	struct page *buffers, *heads;
	bool out[BUFFERS];
	unsigned buffers_out, cookies_out, next_head, odd_cookies;
	uint8_t gateway_mac[6];
	unsigned arp, echo, offer, reset; // answers seen
	// The driver's own. While the card is ours the stack finds these doors closed: its timers go on.
	int (*transmit)(struct netdev *dev, const struct netfrag *frags, unsigned count,
			const struct netoffload *offload);
	void (*kick)(struct netdev *dev);
} raw; // all of it: fast WTD context, or the test with WTDs disabled

// ---- the raw client ----

static bool raw_buffer(void *ctx, paddr_t *addr, void **cookie)
{
	for (unsigned n = 0; n < BUFFERS; n++) {
		if (raw.out[n])
			continue;
		raw.out[n] = true;
		raw.buffers_out++;
		*addr = page_phys(raw.buffers) + n * BUFFER;
		*cookie = &raw.out[n];
		return true;
	}
	return false;
}

static void raw_unused(void *ctx, void *cookie)
{
	bool *out = cookie;
	raw.odd_cookies += !*out;
	*out = false;
	raw.buffers_out--;
}

static void look_at_ip(const uint8_t *ip)
{
	const uint8_t *l4 = ip + (ip[0] & 15) * 4;
	if (ip[9] == 1)
		raw.echo += l4[0] == 0; // echo reply
	if (ip[9] == 17)
		raw.offer += l4[3] == 68; // to the BOOTP client's port
	if (ip[9] == 6)
		raw.reset += (l4[13] & 4) != 0;
}

static void raw_input(void *ctx, void *cookie, uint32_t bytes)
{
	const uint8_t *frame =
	    (uint8_t *)page_virt(raw.buffers) + ((bool *)cookie - raw.out) * BUFFER;
	if (bytes >= 42 && frame[12] == 8 && frame[13] == 6 && frame[21] == 2 &&
	    !memcmp(frame + 28, gateway, 4)) {
		raw.arp++;
		memcpy(raw.gateway_mac, frame + 22, 6);
	}
	if (bytes >= 42 && frame[12] == 8 && frame[13] == 0)
		look_at_ip(frame + 14);
	raw_unused(ctx, cookie);
}

static uint32_t raw_frames(void *ctx, struct netbuf *frames, uint32_t count)
{
	uint32_t kept = 0;
	for (struct netbuf *frame = frames; frame < frames + count; frame++) {
		if (!frame->bytes)
			continue;
		raw_input(ctx, frame->cookie, frame->bytes);
		frame->cookie = NULL;
		kept++;
	}
	return kept;
}

static void raw_batch_end(void *ctx) {}
static void raw_room(void *ctx) {}
static void raw_link(void *ctx, bool up) {}

static void raw_release(void *ctx, void *const *cookies, unsigned count)
{
	for (unsigned i = 0; i < count; i++) {
		raw.odd_cookies += cookies[i] && cookies[i] != &raw.cookies_out;
		raw.cookies_out -= cookies[i] != NULL;
	}
}

static const struct netdev_client raw_client = {
    .rx_buffer = raw_buffer,
    .rx_unused = raw_unused,
    .rx_frames = raw_frames,
    .rx_batch_end = raw_batch_end,
    .tx_release = raw_release,
    .tx_room = raw_room,
    .link_changed = raw_link,
};

static void swap_client(const struct netdev_client *client, void *ctx)
{
	wtd_disable();
	raw.dev->stop(raw.dev);
	raw.dev->client = client;
	raw.dev->client_ctx = ctx;
	EXPECT_EQ(raw.dev->start(raw.dev), 0);
	wtd_enable();
}

static int closed_transmit(struct netdev *dev, const struct netfrag *frags, unsigned count,
			   const struct netoffload *offload)
{
	return -ENODEV;
}

static void closed_kick(struct netdev *dev) {}

static bool take_card(void)
{
	memset(&raw, 0, sizeof(raw));
	raw.dev = netdev_first();
	if (!raw.dev || !raw.dev->client) {
		ktest_skip("no network card");
		return false;
	}
	raw.buffers = pmm_alloc(5);
	raw.heads = pmm_alloc(HEAD_ORDER);
	EXPECT(raw.buffers && raw.heads);
	raw.stack = raw.dev->client;
	raw.stack_ctx = raw.dev->client_ctx;
	raw.transmit = raw.dev->transmit;
	raw.kick = raw.dev->kick;
	wtd_disable();
	raw.dev->transmit = closed_transmit;
	raw.dev->kick = closed_kick;
	swap_client(&raw_client, NULL);
	wtd_enable();
	return true;
}

static void give_card_back(void)
{
	wtd_disable();
	swap_client(raw.stack, raw.stack_ctx);
	raw.dev->transmit = raw.transmit;
	raw.dev->kick = raw.kick;
	wtd_enable();
	EXPECT_EQ(raw.buffers_out, 0);
	EXPECT_EQ(raw.cookies_out, 0);
	EXPECT_EQ(raw.odd_cookies, 0);
	pmm_free(raw.buffers, 5);
	pmm_free(raw.heads, HEAD_ORDER);
	thread_sleep_ns(DEAF_NS);
}

// ---- frames ----

static uint8_t *new_frame(uint16_t ethertype)
{
	uint8_t *frame =
	    (uint8_t *)page_virt(raw.heads) + raw.next_head++ * 512 % (PAGE_SIZE << HEAD_ORDER);
	memset(frame, 0, 512);
	memset(frame, 0xff, 6);
	if (ethertype == 0x0800)
		memcpy(frame, raw.gateway_mac, 6);
	memcpy(frame + 6, raw.dev->mac, 6);
	frame[12] = (uint8_t)(ethertype >> 8);
	frame[13] = (uint8_t)ethertype;
	return frame;
}

static void send(uint8_t *frame, uint32_t bytes, const struct netoffload *offload)
{
	struct netfrag frags[2] = {{virt_to_phys(frame), MIN(bytes, 54U), &raw.cookies_out},
				   {virt_to_phys(frame) + 54, bytes - 54, &raw.cookies_out}};
	unsigned count = bytes > 54 ? 2 : 1;
	wtd_disable();
	raw.cookies_out += count;
	EXPECT_EQ(raw.transmit(raw.dev, frags, count, offload), 0);
	raw.kick(raw.dev);
	wtd_enable();
}

static uint8_t *new_ip(uint8_t protocol, uint32_t bytes)
{
	uint8_t *frame = new_frame(0x0800), *ip = frame + 14;
	ip[0] = 0x45;
	ip[2] = (uint8_t)(bytes >> 8);
	ip[3] = (uint8_t)bytes;
	ip[8] = 64;
	ip[9] = protocol;
	memcpy(ip + 12, our_ip, 4);
	memcpy(ip + 16, gateway, 4);
	return frame;
}

static void send_arp(void)
{
	static const uint8_t request[8] = {0, 1, 8, 0, 6, 4, 0, 1};
	uint8_t *frame = new_frame(0x0806);
	memcpy(frame + 14, request, 8);
	memcpy(frame + 22, raw.dev->mac, 6);
	memcpy(frame + 28, our_ip, 4);
	memcpy(frame + 38, gateway, 4);
	send(frame, 42, NULL);
}

// The IP sum is the card's; the ICMP sum of an echo request without data is the type's complement.
static void send_echo(void)
{
	struct netoffload offload = {
	    .ip_csum = true, .l3_offset = 14, .l4_offset = 34, .header_bytes = 34};
	uint8_t *frame = new_ip(1, 28);
	frame[34] = 8;
	frame[36] = 0xf7;
	frame[37] = 0xff;
	send(frame, 42, &offload);
}

// RFC 2131's DISCOVER: UDP over two fragments, both sums by the card.
static void send_discover(void)
{
	static const uint8_t magic[8] = {99, 130, 83, 99, 53, 1, 1, 255};
	struct netoffload offload = {.ip_csum = true,
				     .l4_csum = true,
				     .udp = true,
				     .l3_offset = 14,
				     .l4_offset = 34,
				     .header_bytes = 42};
	uint8_t *frame = new_ip(17, 20 + 8 + 300), *udp = frame + 34;
	memset(frame, 0xff, 6);
	memset(frame + 26, 0, 4);
	memset(frame + 30, 0xff, 4);
	udp[1] = 68;
	udp[3] = 67;
	udp[4] = 308 >> 8;
	udp[5] = 308 & 0xff;
	udp[8] = 1;
	udp[9] = 1;
	udp[10] = 6;
	memcpy(udp + 8 + 28, raw.dev->mac, 6);
	memcpy(udp + 8 + 236, magic, 8);
	send(frame, 14 + 20 + 8 + 300, &offload);
}

// A SYN to the gateway's port 1, where nobody listens: the answer is a reset.
static void send_syn(void)
{
	struct netoffload offload = {
	    .ip_csum = true, .l4_csum = true, .l3_offset = 14, .l4_offset = 34, .header_bytes = 54};
	uint8_t *frame = new_ip(6, 40), *tcp = frame + 34;
	tcp[0] = 0x80;
	tcp[3] = 1;
	tcp[12] = 5 << 4;
	tcp[13] = 2;
	tcp[14] = 0x20;
	send(frame, 54, &offload);
}

static bool answered(const unsigned *count)
{
	for (unsigned ms = 0; ms < 60000 && !*(volatile const unsigned *)count; ms++)
		thread_sleep_ns(NS_PER_MS);
	return *count;
}

KTEST("e1000", raw_answers, "the-other-side-accepts-every-checksum-the-card-makes")
{
	if (!take_card())
		return;
	send_arp();
	EXPECT(answered(&raw.arp));
	send_echo();
	EXPECT(answered(&raw.echo));
	send_discover();
	EXPECT(answered(&raw.offer));
	send_syn();
	EXPECT(answered(&raw.reset));
	give_card_back();
}

KTEST("e1000", idle_release, "sent-packets-are-released-without-further-traffic")
{
	uint64_t discarded = kstat_get("pagewire_e1000_tx_discarded_total", NULL);
	if (!take_card())
		return;
	for (unsigned n = 0; n < 8; n++)
		send_arp();
	for (unsigned ms = 0; ms < 10000 && raw.cookies_out; ms++)
		thread_sleep_ns(NS_PER_MS);
	EXPECT_EQ(raw.cookies_out, 0);
	EXPECT_EQ(kstat_get("pagewire_e1000_tx_discarded_total", NULL), discarded);
	give_card_back();
}

KTEST("e1000", batch, "a-thousand-frames-at-one-doorbell-all-go-out")
{
	if (!take_card())
		return;
	uint64_t before = kstat_get("pagewire_e1000_doorbells_total", "ring=\"tx\"");
	uint8_t *frame = new_frame(0x88b5); // IEEE 802: local experiments
	struct netfrag frag = {virt_to_phys(frame), 60, &raw.cookies_out};
	wtd_disable();
	for (unsigned n = 0; n < 1000; n++) {
		raw.cookies_out++;
		EXPECT_EQ(raw.transmit(raw.dev, &frag, 1, NULL), 0);
	}
	raw.kick(raw.dev);
	wtd_enable();
	for (unsigned ms = 0; ms < 10000 && raw.cookies_out; ms++)
		thread_sleep_ns(NS_PER_MS);
	EXPECT_EQ(raw.cookies_out, 0);
	EXPECT_EQ(kstat_get("pagewire_e1000_doorbells_total", "ring=\"tx\""), before + 1);
	give_card_back();
}
