// SPDX-License-Identifier: BSD-2-Clause
// The test bed for the stack, see netbed.h: card, life of a test, pages. The peer is netbed_peer.c.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <stdlib.h>
#include <cmocka.h>

#include "kernel/cmdline.h"
#include "kernel/copy.h"
#include "kernel/pmm.h"
#include "kernel/pool.h"
#include "kernel/vmm.h"
#include "lwip/etharp.h"
#include "lwip/nd6.h"
#include "lwip/priv/tcp_priv.h"
#include "net/iface.h"
#include "net/rxpool.h"
#include "kernel/kstat.h"
#include "net/stack.h"
#include "net/socket.h"
#include "netbed.h"
#include "netbed_private.h"
#include "shim.h"
#include "tcp_path.h"
#include "tcp_syn.h"
#include "tcp_tw.h"

#define PACKETS 4096
#define RX_RING 8
#define BATCH	32
#define POOLS	128
#define FRAMES	4096 // 16 MB

struct bed bed;
const char *bed_mtu;
unsigned bed_pages_released;

static struct bed_packet *packets; // ring of PACKETS, by number
static uint64_t looked, completed_low;
static struct netbuf rx_ring[RX_RING], waiting[BATCH]; // frames of a batch, in order
static unsigned waiting_count;
static bool tx_refused;

static struct {
	struct pool *pool;
	uint32_t used;
} baseline[POOLS];

// cache=unmapped is on: a copy that touches a file page is SIGSEGV.
__attribute__((weak)) void *copy_other(void *to, const void *from, size_t len)
{
	return memmove(to, from, len);
}

// ---- card: transmit ---------------------------------------------------------------------------------

static struct bed_packet *packet_at(uint64_t number)
{
	return &packets[number % PACKETS];
}

unsigned bed_outstanding(void)
{
	unsigned count = 0;

	for (uint64_t n = completed_low; n < bed.handed; n++)
		count += !packet_at(n)->done;
	return count;
}

static void gather(const struct bed_packet *packet, uint8_t *out)
{
	uint32_t at = 0;

	for (unsigned i = 0; i < packet->count; i++) {
		shim_dma_read(packet->frags[i].addr, out + at, packet->frags[i].bytes);
		at += packet->frags[i].bytes;
	}
}

static int transmit(struct netdev *dev, const struct netfrag *frags, unsigned count,
		    const struct netoffload *offload)
{
	struct bed_packet *packet = packet_at(bed.handed);

	if (!dev->link_up)
		return -ENODEV;
	if (bed_outstanding() >= bed.ring_room) {
		tx_refused = true;
		return -ENOBUFS;
	}
	assert_true(bed.handed - looked < PACKETS && bed.handed - completed_low < PACKETS);
	assert_in_range(count, 1, NETDEV_MAX_FRAGS);
	free(packet->frame);
	free(packet->lent);
	memset(packet, 0, sizeof(*packet));
	memcpy(packet->frags, frags, count * sizeof(frags[0]));
	packet->count = count;
	packet->offload = *offload;
	for (unsigned i = 0; i < count; i++) {
		assert_non_null(frags[i].cookie);
		assert_int_not_equal(frags[i].bytes, 0);
		packet->bytes += frags[i].bytes;
	}
	if (offload->mss) {
		uint32_t payload = packet->bytes - offload->header_bytes;

		assert_true(packet->bytes - 14 <= iface_first()->netif.tso_max);
		assert_true(payload > offload->mss && !offload->udp);
		assert_true(offload->ip_csum != offload->ipv6 && offload->l4_csum);
	} else {
		assert_true(packet->bytes <= iface_first()->netif.mtu + 14U);
	}
	assert_true(frags[0].bytes >= offload->header_bytes);
	packet->frame = malloc(packet->bytes);
	packet->lent = malloc(packet->bytes);
	gather(packet, packet->lent);
	memcpy(packet->frame, packet->lent, packet->bytes);
	if (offload->ipv6 && offload->l4_csum && !offload->udp)
		bed_check_label(packet->frame);
	bed_make_checksums(packet);
	bed.handed++;
	return 0;
}

void bed_complete(struct bed_packet *packet)
{
	static uint8_t now[14 + UINT16_MAX];

	assert_false(packet->done);
	gather(packet, now);
	assert_memory_equal(now, packet->lent, packet->bytes);
	packet->done = true;
	for (unsigned i = 0; i < packet->count; i++)
		bed.card.client->tx_release(bed.card.client_ctx, &packet->frags[i].cookie, 1);
	while (completed_low < bed.handed && packet_at(completed_low)->done)
		completed_low++;
	if (tx_refused) {
		tx_refused = false;
		bed.card.client->tx_room(bed.card.client_ctx);
		shim_run();
	}
}

void bed_complete_oldest(void)
{
	if (completed_low < bed.handed)
		bed_complete(packet_at(completed_low));
}

void bed_complete_all(void)
{
	while (completed_low < bed.handed)
		bed_complete(packet_at(completed_low));
}

static void kick(struct netdev *dev)
{
	bed.kicks++;
	if (!bed.manual)
		bed_complete_all();
}

struct bed_packet *bed_next(void)
{
	return looked < bed.handed ? packet_at(looked++) : NULL;
}

void bed_skip(void)
{
	bed_cut_forget();
	looked = bed.handed;
}

void bed_tso(uint16_t most)
{
	iface_first()->netif.tso_max = most;
}

// ---- card: receive ----------------------------------------------------------------------------------

static void refill(struct netdev *dev)
{
	for (unsigned i = 0; i < RX_RING; i++)
		if (!rx_ring[i].cookie)
			dev->client->rx_buffer(dev->client_ctx, &rx_ring[i].addr,
					       &rx_ring[i].cookie);
}

static void rx_refill(struct netdev *dev)
{
	bed.refills++;
	refill(dev);
}

static int start(struct netdev *dev)
{
	refill(dev);
	return 0;
}

uint32_t (*bed_harm)(uint8_t *frame, uint32_t bytes);

// The buffer is the card's again.
static void put_back(struct netbuf buffer)
{
	for (unsigned i = 0; i < RX_RING; i++)
		if (!rx_ring[i].cookie) {
			rx_ring[i] = buffer;
			return;
		}
	bed.card.client->rx_unused(bed.card.client_ctx, buffer.cookie);
}

// Frames that came as one batch, as a driver shows them.
static void show_frames(void)
{
	uint64_t before = kstat_get("pagewire_net_straight_passed_over_total", NULL);

	if (waiting_count)
		bed.card.client->rx_frames(bed.card.client_ctx, waiting, waiting_count);
	bed.passed_over += kstat_get("pagewire_net_straight_passed_over_total", NULL) - before;
	for (unsigned i = 0; i < waiting_count; i++)
		if (waiting[i].cookie)
			put_back(waiting[i]);
	waiting_count = 0;
}

// A buffer of the ring with so many bytes in it is among those that are shown next.
static struct netbuf *arrives(const void *bytes, uint32_t count)
{
	struct netbuf *shown = &waiting[waiting_count++];

	for (unsigned i = 0; i < RX_RING; i++) {
		if (!rx_ring[i].cookie)
			continue;
		shim_dma_fill(rx_ring[i].addr, 0xee, RXBUF_BYTES);
		shim_dma_write(rx_ring[i].addr, bytes, count);
		*shown = rx_ring[i];
		shown->bytes = count;
		rx_ring[i].cookie = NULL;
		return shown;
	}
	fail_msg("the card has no receive buffer");
	return shown;
}

static void shown(void)
{
	if (!bed.batch || waiting_count == BATCH)
		show_frames();
	refill(&bed.card);
	if (!bed.batch)
		bed_batch_end();
}

void bed_receive_parts(const void *frame, uint32_t bytes, unsigned parts, bool whole)
{
	for (unsigned part = 0; part < parts; part++) {
		uint32_t at = part * RXBUF_BYTES, n = MIN(bytes - at, (uint32_t)RXBUF_BYTES);
		struct netbuf *buf = arrives((const uint8_t *)frame + at, n);

		buf->bytes = 0;
		buf->part_bytes = (uint16_t)n;
		buf->part = part + 1 < parts ? NETBUF_PART : whole ? NETBUF_LAST : NETBUF_NONE;
		shown();
	}
}

void bed_receive(const void *frame, uint32_t bytes)
{
	uint8_t harmed[BED_FRAME_MAX];

	if (bed_harm && bytes <= sizeof(harmed)) {
		memcpy(harmed, frame, bytes);
		bytes = bed_harm(harmed, bytes);
		frame = harmed;
	}
	if (bytes > RXBUF_BYTES) {
		bed_receive_parts(frame, bytes, (bytes - 1) / RXBUF_BYTES + 1, true);
		return;
	}
	arrives(frame, bytes);
	shown();
}

void bed_batch_end(void)
{
	show_frames();
	bed.card.client->rx_batch_end(bed.card.client_ctx);
	shim_run();
}

void bed_link(bool up)
{
	bed.card.link_up = up;
	bed.card.client->link_changed(bed.card.client_ctx, up);
	shim_run();
}

// ---- pages ------------------------------------------------------------------------------------------

uint8_t bed_pattern(uint8_t seed, unsigned offset)
{
	return (uint8_t)(seed + offset * 7 + (offset >> 8) * 13);
}

static void released(struct page *page)
{
	bed_pages_released++;
	vmm_show(page);
	pmm_free(page, 0);
}

static void fill(struct page *page, uint8_t seed)
{
	uint8_t bytes[PAGE_SIZE];

	for (unsigned i = 0; i < PAGE_SIZE; i++)
		bytes[i] = bed_pattern(seed, i);
	shim_dma_write(page_phys(page), bytes, PAGE_SIZE);
	page_wire_get(page);
	vmm_hide(page);
}

struct page *bed_page(uint8_t seed)
{
	struct page *page = pmm_alloc(0);

	assert_non_null(page);
	fill(page, seed);
	return page;
}

struct page *bed_run(uint8_t seed, unsigned order)
{
	struct page *first = pmm_alloc(order);

	assert_non_null(first);
	for (unsigned i = 0; i < BIT(order); i++)
		fill(first + i, (uint8_t)(seed + i));
	return first;
}

void bed_page_done(struct page *page)
{
	page_wire_put(page);
}

// ---- life of a test ---------------------------------------------------------------------------------

// The rows of the command line's table that the stack has: found without kernel/cmdline.c.
extern const struct cmdline_option __start_cmdline_options[], __stop_cmdline_options[];

static void say(const char *key, const char *value)
{
	for (const struct cmdline_option *o = __start_cmdline_options; o < __stop_cmdline_options;
	     o++)
		if (!strcmp(o->key, key))
			assert_true(o->parse(value));
}

int bed_group_setup(void **state)
{
	static const uint8_t mac[] = {0x52, 0x54, 0, 0, 0, 1};

	shim_init(FRAMES);
	shim_set_unmapped(true);
	packets = calloc(PACKETS, sizeof(packets[0]));
	page_set_release_hook(released);
	bed.card = (struct netdev){.name = "fake.0",
				   .model = "fake",
				   .link_up = true,
				   .mtu = 16110,
				   .rx_buffer_bytes = RXBUF_BYTES,
				   .rx_ring_size = RX_RING,
				   .tx_ring_size = 256,
				   .transmit = transmit,
				   .kick = kick,
				   .start = start,
				   .rx_refill = rx_refill};
	memcpy(bed.card.mac, mac, sizeof(mac));
	bed.ring_room = 1000;
	netdev_register(&bed.card);
	if (bed_mtu)
		say("mtu", bed_mtu);
	say("ip", "10.0.0.1::10.0.0.254:255.255.255.0:::off");
	stack_init();
	shim_run();
	bed_server_start();
	shim_advance(3 * NS_PER_SEC); // duplicate address detection, router solicitation
	bed_complete_all();
	return 0;
}

int bed_group_teardown(void **state)
{
	for (unsigned i = 0; i < PACKETS; i++) {
		free(packets[i].frame);
		free(packets[i].lent);
	}
	free(packets);
	return 0;
}

int bed_setup(void **state)
{
	unsigned n = 0;

	bed.ring_room = 1000;
	bed.manual = bed.ipv6 = false;
	bed_tso(0);
	bed.kicks = bed.refills = 0;
	bed_pages_released = 0;
	bed_complete_all();
	bed_skip();
	for (struct pool *pool = pool_first(); pool; pool = pool->next) {
		assert_true(n < POOLS);
		baseline[n].pool = pool;
		baseline[n++].used = pool->used;
	}
	return 0;
}

static uint32_t used_before(const struct pool *pool)
{
	for (unsigned i = 0; i < POOLS; i++)
		if (baseline[i].pool == pool)
			return baseline[i].used;
	return 0;
}

int bed_teardown(void **state)
{
	bed.ring_room = 1000;
	if (!bed.card.link_up)
		bed_link(true);
	if (tx_refused)
		bed.card.client->tx_room(bed.card.client_ctx);
	tx_refused = false;
	shim_run();
	while (tcp_active_pcbs)
		tcp_abort(tcp_active_pcbs);
	while (tcp_tw_pcbs)
		tcp_abort(tcp_tw_pcbs);
	tcp_syn_forget_all();
	tcp_tw_forget_all();
	tcp_path_forget_all();
	etharp_cleanup_netif(&iface_first()->netif); // what waits for an address
	nd6_cleanup_netif(&iface_first()->netif);
	stack_flush();
	shim_run();
	bed_complete_all();
	bed_peers_forget();
	shim_run();
	assert_int_equal(page_pinned(), 0);
	for (struct pool *pool = pool_first(); pool; pool = pool->next)
		if (strcmp(pool->name, "rxbuf") && strcmp(pool->name, "lwip_SYS_TIMEOUT") &&
		    pool->used != used_before(pool))
			fail_msg("pool %s: %u in use, %u before", pool->name, pool->used,
				 used_before(pool));
	assert_int_equal(kstat_get_held(), 0);
	return 0;
}

// ---- what is above the stack and not in these tests -----------------------------------------------

void socket_init(void) {}
