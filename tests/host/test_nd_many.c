// SPDX-License-Identifier: BSD-2-Clause
// Thousands of IPv6 neighbours on one link.
// SOURCES: tests/host/netbed.c tests/host/netbed_peer.c kernel/netdev_list.c kernel/string.c
// SOURCES: net/netstat.c net/lwip/memory.c
// ARCHIVES: build/host/libnet.a
// CFLAGS: -Inet/lwip -Inet/lwip/port -Ibuild/lwip/src/include -fno-sanitize=alignment
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include "kernel/kstat.h"
#include "lwip/nd6.h"
#include "net/iface.h"
#include "net/stack.h"
#include "netbed.h"
#include "shim.h"

#define MANY	  LWIP_ND6_NUM_NEIGHBORS
#define SOLICIT	  135 // RFC 4861, 4.3
#define ADVERTISE 136

static const uint8_t our_mac[6] = {0x52, 0x54, 0, 0, 0, 1};
static const uint8_t ours[16] = {0xfe, 0x80, [8] = 0x50, 0x54, 0, 0xff, 0xfe, 0, 0, 1};

static void put_address(uint8_t *to, unsigned n)
{
	uint8_t address[16] = {0xfe, 0x80, [8] = 7, [14] = n >> 8, n};

	memcpy(to, address, 16);
}

static void put_mac(uint8_t *to, unsigned n)
{
	uint8_t mac[6] = {0x52, 0x54, 1, 0, n >> 8, n};

	memcpy(to, mac, 6);
}

// The n-th neighbour asks for our address, or tells us its own.
static void says(unsigned n, uint8_t type)
{
	uint8_t frame[86] = {[12] = 0x86, 0xdd, 0x60, [19] = 32, 58, 255};
	uint8_t *icmp = frame + 54;
	uint32_t sum = 58 + 32;

	memcpy(frame, our_mac, 6);
	put_mac(frame + 6, n);
	put_address(frame + 22, n);
	memcpy(frame + 38, ours, 16);
	icmp[0] = type;
	icmp[4] = type == ADVERTISE ? 0x60 : 0; // solicited, override
	memcpy(icmp + 8, ours, 16);
	if (type == ADVERTISE)
		put_address(icmp + 8, n);
	icmp[24] = type == ADVERTISE ? 2 : 1; // target's, source's address
	icmp[25] = 1;
	put_mac(icmp + 26, n);
	for (unsigned i = 22; i < sizeof(frame); i += 2)
		sum += frame[i] << 8 | frame[i + 1];
	while (sum >> 16)
		sum = (sum & 0xffff) + (sum >> 16);
	icmp[2] = ~sum >> 8;
	icmp[3] = ~sum;
	bed_receive(frame, sizeof(frame));
}

// Where a packet for it would go; null: it is asked for, and the packet waits.
static const uint8_t *known(unsigned n)
{
	struct netif *netif = &iface_first()->netif;
	struct pbuf *p = pbuf_alloc(PBUF_LINK, 60, PBUF_RAM);
	const uint8_t *mac = NULL;
	uint8_t raw[16];
	ip6_addr_t ip;

	memset(p->payload, 0, 60);
	put_address((uint8_t *)p->payload + 24, n);
	put_address(raw, n);
	memset(&ip, 0, sizeof(ip));
	memcpy(ip.addr, raw, 16);
	ip6_addr_assign_zone(&ip, IP6_UNICAST, netif);
	assert_int_equal(nd6_get_next_hop_addr_or_queue(netif, p, &ip, &mac), ERR_OK);
	pbuf_free(p);
	return mac;
}

static void assert_knows(unsigned n)
{
	const uint8_t *mac = known(n);
	uint8_t wanted[6];

	put_mac(wanted, n);
	assert_non_null(mac);
	assert_memory_equal(mac, wanted, 6);
}

static uint64_t entries(void)
{
	return kstat_get("pagewire_nd_entries", NULL);
}

static int settled(void **state)
{
	bed_setup(state);
	for (unsigned i = 0; i < 50; i++) { // duplicate address detection
		shim_advance(100 * NS_PER_MS);
		bed_skip();
	}
	return 0;
}

static int forgotten(void **state)
{
	nd6_cleanup_netif(&iface_first()->netif);
	assert_int_equal(entries(), 0);
	return bed_teardown(state);
}

static void five_thousand_neighbours_are_known(void **state)
{
	for (unsigned n = 0; n < 5000; n++) {
		says(n, SOLICIT);
		bed_skip();
	}
	assert_int_equal(entries(), 5000);
	for (unsigned n = 0; n < 5000; n++)
		assert_knows(n);
}

static void a_full_table_makes_room(void **state)
{
	uint64_t before = kstat_get("pagewire_nd_recycled_total", NULL);

	for (unsigned n = 0; n < MANY + 500; n++) {
		says(n, SOLICIT);
		bed_skip();
	}
	assert_int_equal(entries(), MANY);
	assert_int_equal(kstat_get("pagewire_nd_recycled_total", NULL) - before, 500);
	for (unsigned n = MANY + 400; n < MANY + 500; n++)
		assert_knows(n);
}

static void the_unanswered_are_not_asked_for_in_one_burst(void **state)
{
	uint64_t before;

	for (unsigned n = 0; n < 900; n++) {
		assert_null(known(n));
		stack_flush();
		bed_skip();
	}
	before = bed.handed;
	shim_advance(NS_PER_SEC);
	assert_in_range(bed.handed - before, 1, 300);
	bed_skip();
	for (unsigned second = 0; second < 40; second++) {
		shim_advance(NS_PER_SEC);
		bed_skip();
	}
	assert_int_equal(entries(), 0);
}

static void a_waiting_packet_goes_out_with_the_answer(void **state)
{
	struct bed_packet *packet;
	uint8_t mac[6];

	for (unsigned n = 100; n < 100 + MANY; n++) {
		says(n, SOLICIT);
		bed_skip();
	}
	assert_null(known(7));
	stack_flush();
	bed_skip();
	says(7, ADVERTISE);
	stack_flush();
	packet = bed_next();
	assert_non_null(packet);
	put_mac(mac, 7);
	assert_memory_equal(packet->frame, mac, 6);
	bed_skip();
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, settled, forgotten)
int main(void)
{
	const struct CMUnitTest tests[] = {
	    TEST(five_thousand_neighbours_are_known),
	    TEST(a_full_table_makes_room),
	    TEST(the_unanswered_are_not_asked_for_in_one_burst),
	    TEST(a_waiting_packet_goes_out_with_the_answer),
	};
	return cmocka_run_group_tests_name("nd_many", tests, bed_group_setup, bed_group_teardown);
}
