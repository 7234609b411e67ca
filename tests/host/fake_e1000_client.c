// SPDX-License-Identifier: BSD-2-Clause
// The stack's side of kernel/netdev.h for tests of a card's driver: see fake_e1000.h.
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

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

static void rx_input(void *ctx, void *cookie, uint32_t bytes)
{
	struct buffer *buffer = cookie;
	assert_in_range(bytes, 14, 1518);
	struct fake_frame *frame = &inputs[client.inputs++ % ARRAY_SIZE(inputs)];
	memcpy(frame->data, page_virt(buffer->page), bytes);
	frame->bytes = bytes;
	client.bytes += bytes;
	take_back(cookie);
	if (client.on_input)
		client.on_input(frame->data, bytes);
}

static void rx_drop(void *ctx, void *cookie)
{
	client.dropped++;
	take_back(cookie);
}

static void rx_batch_end(void *ctx)
{
	client.batches++;
	if (client.on_batch)
		client.on_batch();
	dev->kick(dev);
}

static void tx_release(void *ctx, void *cookie)
{
	struct cookie *mine = cookie;
	assert_true(mine >= cookies && mine < cookies + ARRAY_SIZE(cookies));
	assert_true(mine->out);
	mine->out = false;
	cookies_out--;
	client.released++;
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
    .rx_input = rx_input,
    .rx_drop = rx_drop,
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
