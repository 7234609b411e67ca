// SPDX-License-Identifier: BSD-2-Clause
// The stack's side of kernel/netdev.h for tests of a card's driver: see fake_e1000.h.
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "drivers/e1000.h"
#include "fake_e1000.h"
#include "kernel/page.h"
#include "kernel/panic.h"
#include "kernel/pmm.h"
#include "kernel/vmm.h"
#include "shim.h"

struct client client;

// One page a buffer: a write past 2048 bytes would land in junk that is looked at.
struct buffer {
	struct page *page;
	bool out;
};
static struct buffer buffers[CLIENT_BUFFERS];
static struct fake_frame inputs[4096];
static struct cookie {
	bool out;
} cookies[65536];
static unsigned cookies_made, cookies_out;
static struct netdev *dev;
static size_t frames_before;

static bool rx_buffer(void *ctx, paddr_t *addr, void **cookie)
{
	client.asked++;
	if (client.out >= client.limit)
		return false;
	for (unsigned n = 0; n < CLIENT_BUFFERS; n++) {
		if (buffers[n].out)
			continue;
		buffers[n].out = true;
		client.out++;
		*addr = page_phys(buffers[n].page);
		*cookie = &buffers[n];
		shim_dma_fill(*addr + 2048, 0x5a, 2048);
		return true;
	}
	return false;
}

static void take_back(void *cookie)
{
	struct buffer *buffer = cookie;
	assert_true(buffer->out);
	buffer->out = false;
	client.out--;
	const uint8_t *past = (const uint8_t *)page_virt(buffer->page) + 2048;
	for (unsigned n = 0; n < 2048; n++)
		assert_int_equal(past[n], 0x5a);
}

static void rx_unused(void *ctx, void *cookie)
{
	client.unused++;
	take_back(cookie);
}

static void rx_input(void *cookie, uint32_t bytes)
{
	struct buffer *buffer = cookie;
	assert_in_range(bytes, 14, 2048);
	struct fake_frame *frame = &inputs[client.inputs++ % ARRAY_SIZE(inputs)];
	memcpy(frame->data, page_virt(buffer->page), bytes);
	frame->bytes = bytes;
	client.bytes += bytes;
	if (!client.leaves)
		take_back(cookie);
	if (client.on_input)
		client.on_input(frame->data, bytes);
}

// Of a frame longer than a buffer.
static struct fake_frame begun;

static bool rx_part(struct netbuf *part)
{
	struct buffer *buffer = part->cookie;
	struct fake_frame *frame;
	if (part->part == NETBUF_NONE) {
		client.broken += begun.bytes != 0;
		begun.bytes = 0;
		return false;
	}
	assert_true(part->part_bytes == 2048 || part->part == NETBUF_LAST);
	assert_in_range(begun.bytes + part->part_bytes, 14, FAKE_FRAME_MAX);
	memcpy(begun.data + begun.bytes, page_virt(buffer->page), part->part_bytes);
	begun.bytes += part->part_bytes;
	if (part->part != NETBUF_LAST)
		goto kept;
	frame = &inputs[client.inputs++ % ARRAY_SIZE(inputs)];
	memcpy(frame->data, begun.data, begun.bytes);
	frame->bytes = begun.bytes;
	client.bytes += begun.bytes;
	begun.bytes = 0;
kept:
	if (!part->part_bytes)
		return false;
	take_back(buffer);
	part->cookie = NULL;
	return true;
}

static uint32_t rx_frames(void *ctx, struct netbuf *frames, uint32_t count)
{
	uint32_t kept = 0;
	assert_in_range(count, 1, CLIENT_BUFFERS);
	client.shows++;
	for (struct netbuf *frame = frames; frame < frames + count; frame++) {
		assert_true(!frame->cookie || ((const struct buffer *)frame->cookie)->out);
		if (!frame->bytes) {
			kept += rx_part(frame);
			continue;
		}
		rx_input(frame->cookie, frame->bytes);
		if (client.leaves)
			continue;
		frame->cookie = NULL;
		kept++;
	}
	return kept;
}

static void rx_batch_end(void *ctx)
{
	client.batches++;
	if (client.on_batch)
		client.on_batch();
	dev->kick(dev);
}

static void tx_release(void *ctx, void *const *done, unsigned count)
{
	for (unsigned i = 0; i < count; i++) {
		struct cookie *mine = done[i];
		if (!mine)
			continue;
		assert_true(mine >= cookies && mine < cookies + ARRAY_SIZE(cookies));
		assert_true(mine->out);
		mine->out = false;
		cookies_out--;
		client.released++;
	}
}

static void tx_room(void *ctx)
{
	client.rooms++;
	if (client.on_room)
		client.on_room();
}

static void link_changed(void *ctx, bool up)
{
	assert_int_equal(up, dev->link_up);
	client.link = up;
	client.link_calls++;
}

static const struct netdev_client functions = {
    .rx_buffer = rx_buffer,
    .rx_unused = rx_unused,
    .rx_frames = rx_frames,
    .rx_batch_end = rx_batch_end,
    .tx_release = tx_release,
    .tx_room = tx_room,
    .link_changed = link_changed,
};

void client_attach(struct netdev *netdev)
{
	dev = netdev;
	dev->client = &functions;
}

void client_start(void)
{
	frames_before = shim_frames_free();
	for (unsigned n = 0; n < CLIENT_BUFFERS; n++) {
		buffers[n].page = pmm_alloc(0);
		assert_non_null(buffers[n].page);
	}
	client = (struct client){.limit = CLIENT_BUFFERS};
	cookies_made = 0;
	assert_int_equal(dev->start(dev), 0);
	shim_run();
}

void client_finish(void)
{
	dev->stop(dev);
	shim_run();
	assert_int_equal(client.out, 0);
	assert_int_equal(cookies_out, 0);
	assert_false(dev->link_up);
	for (unsigned n = 0; n < CLIENT_BUFFERS; n++) {
		assert_false(buffers[n].out);
		pmm_free(buffers[n].page, 0);
	}
	assert_int_equal(shim_frames_free(), frames_before);
}

const struct fake_frame *client_frame(unsigned n)
{
	assert_true(n < client.inputs && n + ARRAY_SIZE(inputs) >= client.inputs);
	return &inputs[n % ARRAY_SIZE(inputs)];
}

void *client_cookie(void)
{
	struct cookie *cookie = &cookies[cookies_made++ % ARRAY_SIZE(cookies)];
	assert_false(cookie->out);
	cookie->out = true;
	cookies_out++;
	return cookie;
}

unsigned client_cookies_out(void)
{
	return cookies_out;
}

// ---- packets ----

static struct page *head_page, *data_pages; // 64 pages of headers, 32 of payload, contiguous

void packets_init(void)
{
	head_page = pmm_alloc(6);
	data_pages = pmm_alloc(5);
	uint8_t *data = page_virt(data_pages);
	for (unsigned n = 0; n < 32 * PAGE_SIZE; n++)
		data[n] = (uint8_t)shim_random();
}

void packets_finish(void)
{
	pmm_free(head_page, 6);
	pmm_free(data_pages, 5);
}

static void put_be16(uint8_t *p, unsigned value)
{
	p[0] = (uint8_t)(value >> 8);
	p[1] = (uint8_t)value;
}

unsigned get_be16(const uint8_t *p)
{
	return p[0] << 8 | p[1];
}

uint32_t get_be32(const uint8_t *p)
{
	return (uint32_t)get_be16(p) << 16 | get_be16(p + 2);
}

static void add(struct packet *packet, paddr_t addr, uint32_t bytes)
{
	packet->frags[packet->count++] =
	    (struct netfrag){.addr = addr, .bytes = bytes, .cookie = client_cookie()};
	packet->bytes += bytes;
}

// A TCP or UDP header with `payload` bytes of page data behind it, cut every `step` bytes.
void packet_make(struct packet *packet, bool ipv6, bool udp, uint32_t payload, uint32_t step)
{
	*packet = (struct packet){0};
	static unsigned next; // a header stays untouched for longer than a ring's worth of packets
	uint8_t *h = (uint8_t *)page_virt(head_page) + next++ % 2048 * 128;
	packet->header = h += 2 * shim_random_below(8);
	unsigned l4 = ipv6 ? 54 : 34, end = l4 + (udp ? 8 : 32), l4_bytes = end - l4 + payload;
	for (unsigned n = 0; n < end; n++)
		h[n] = (uint8_t)shim_random();
	put_be16(h + 12, ipv6 ? 0x86dd : 0x0800);
	h[14] = ipv6 ? 0x60 : 0x45;
	if (ipv6) {
		put_be16(h + 18, l4_bytes);
		h[20] = udp ? 17 : 6;
	} else {
		put_be16(h + 16, 20 + l4_bytes);
		put_be16(h + 20, 0x4000);
		h[23] = udp ? 17 : 6;
	}
	if (udp)
		put_be16(h + l4 + 4, l4_bytes);
	else
		h[l4 + 12] = 8 << 4;
	packet->offload = (struct netoffload){.ip_csum = !ipv6,
					      .l4_csum = true,
					      .ipv6 = ipv6,
					      .udp = udp,
					      .l3_offset = 14,
					      .l4_offset = (uint16_t)l4,
					      .header_bytes = (uint16_t)end};
	add(packet, virt_to_phys(h), end);
	for (uint32_t at = 0; at < payload; at += step)
		add(packet, page_phys(data_pages) + at, MIN(step, payload - at));
}

// What a sender may have done already (struct netoffload): IPv4's checksum is 0, TCP's the pseudo-header's sum.
static void seed(struct packet *packet)
{
	struct netoffload *offload = &packet->offload;
	uint8_t *ip = packet->header + offload->l3_offset,
		*l4 = packet->header + offload->l4_offset;
	unsigned bytes = offload->mss ? 0 : packet->bytes - offload->l4_offset;
	if (!offload->ipv6)
		put_be16(ip + 10, 0);
	put_be16(l4 + 16,
		 packet_sum(ip + (offload->ipv6 ? 8 : 12), offload->ipv6 ? 32 : 8, 6 + bytes));
	offload->seeded = offload->ipv6 ? 6 : 4;
}

int packet_send(struct packet *packet)
{
	const struct netoffload *offload = &packet->offload;
	if (packet->header && offload->ip_csum != offload->ipv6 && offload->l4_csum &&
	    !offload->udp && shim_random_below(2))
		seed(packet);
	return dev->transmit(dev, packet->frags, packet->count, &packet->offload);
}

void packet_send_and_kick(struct packet *packet)
{
	assert_int_equal(packet_send(packet), 0);
	dev->kick(dev);
}

// RFC 1071 over the whole, in plain steps.
uint32_t packet_sum(const uint8_t *p, unsigned bytes, uint32_t start)
{
	for (unsigned n = 0; n < bytes; n++)
		start += n % 2 ? p[n] : (uint32_t)p[n] << 8;
	while (start >> 16)
		start = (start & 0xffff) + (start >> 16);
	return start;
}

void packet_assert_sums(const struct fake_frame *frame)
{
	const uint8_t *ip = frame->data + 14;
	bool ipv6 = get_be16(frame->data + 12) == 0x86dd;
	unsigned l4 = ipv6 ? 40 : 20, l4_bytes = frame->bytes - 14 - l4;
	uint8_t protocol = ip[ipv6 ? 6 : 9];
	uint32_t pseudo = packet_sum(ip + (ipv6 ? 8 : 12), ipv6 ? 32 : 8, protocol + l4_bytes);
	if (!ipv6) {
		assert_int_equal(packet_sum(ip, 20, 0), 0xffff);
		assert_int_equal(get_be16(ip + 2), frame->bytes - 14);
	}
	assert_int_equal(packet_sum(ip + l4, l4_bytes, pseudo), 0xffff);
}

void packet_assert_payload(const struct fake_frame *frame, unsigned header, unsigned at)
{
	assert_memory_equal(frame->data + header, (uint8_t *)page_virt(data_pages) + at,
			    frame->bytes - header);
}

struct netdev *client_plug(uint16_t device)
{
	shim_init(4096);
	fake_plug(device);
	struct netdev *card = fake_netdev();
	client_attach(card);
	return card;
}

int client_setup(void **state)
{
	fake_reset();
	client_start();
	packets_init();
	fake_forget_counts();
	assert_true(client.link);
	return 0;
}

int client_teardown(void **state)
{
	packets_finish();
	client_finish();
	return 0;
}

int client_setup_rx(void **state)
{
	fake_reset();
	client_start();
	shim_advance(E1000_RX_REST);
	fake_forget_counts();
	return 0;
}

int client_teardown_rx(void **state)
{
	client_finish();
	return 0;
}
