// SPDX-License-Identifier: BSD-2-Clause
// Thousands of neighbours on one link, and one that has our address.
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
#include "lwip/etharp.h"
#include "net/iface.h"
#include "net/stack.h"
#include "netbed.h"
#include "shim.h"

static ip4_addr_t address(unsigned n)
{
	ip4_addr_t ip;

	IP4_ADDR(&ip, 10, 1, n >> 8, n);
	return ip;
}

static void put_mac(uint8_t *to, unsigned n)
{
	uint8_t mac[6] = {0x52, 0x54, 1, 0, n >> 8, n};

	memcpy(to, mac, 6);
}

// The n-th neighbour asks for us (operation 1) or answers us (2), RFC 826.
static void says(unsigned n, uint8_t operation)
{
	uint8_t frame[60] = {0x52, 0x54, 0, 0, 0, 1, [12] = 8, 6, 0, 1, 8, 0, 6, 4, 0, operation};
	static const uint8_t us[] = {10, 0, 0, 1};
	ip4_addr_t ip = address(n);

	put_mac(frame + 6, n);
	put_mac(frame + 22, n);
	memcpy(frame + 28, &ip.addr, 4);
	memcpy(frame + 38, us, 4);
	bed_receive(frame, sizeof(frame));
	bed_skip();
}

static bool known(unsigned n)
{
	ip4_addr_t ip = address(n);
	const ip4_addr_t *found_ip;
	struct eth_addr *mac;
	uint8_t wanted[6];

	put_mac(wanted, n);
	return etharp_find_addr(&iface_first()->netif, &ip, &mac, &found_ip) >= 0 &&
	       !memcmp(mac->addr, wanted, 6);
}

static unsigned count_known(unsigned from, unsigned to)
{
	unsigned count = 0;

	for (unsigned n = from; n < to; n++)
		count += known(n);
	return count;
}

static uint64_t entries(void)
{
	return kstat_get("pagewire_arp_entries", NULL);
}

static void five_thousand_neighbours_are_known(void **state)
{
	for (unsigned n = 0; n < 5000; n++)
		says(n, 1);
	assert_int_equal(count_known(0, 5000), 5000);
	assert_int_equal(entries(), 5000);
	assert_false(known(5000));
	etharp_cleanup_netif(&iface_first()->netif);
	assert_int_equal(entries(), 0);
	assert_int_equal(count_known(0, 5000), 0);
}

static void a_full_table_recycles_what_nobody_answered_for(void **state)
{
	uint64_t before = kstat_get("pagewire_arp_recycled_total", NULL);
	ip4_addr_t ip;

	for (unsigned n = 0; n < ARP_TABLE_SIZE; n++) {
		ip = address(n);
		if (n % 2) {
			etharp_query(&iface_first()->netif, &ip, NULL);
			bed_skip();
		} else {
			says(n, 1);
		}
	}
	assert_int_equal(entries(), ARP_TABLE_SIZE);
	for (unsigned n = 0; n < 500; n++)
		says(ARP_TABLE_SIZE + n, 1);
	assert_int_equal(entries(), ARP_TABLE_SIZE);
	assert_int_equal(kstat_get("pagewire_arp_recycled_total", NULL) - before, 500);
	assert_int_equal(count_known(ARP_TABLE_SIZE, ARP_TABLE_SIZE + 500), 500);
	assert_int_equal(count_known(0, ARP_TABLE_SIZE), ARP_TABLE_SIZE / 2);
}

static void the_unanswered_are_not_asked_for_in_one_burst(void **state)
{
	uint64_t before;

	for (unsigned n = 0; n < 2000; n++) {
		ip4_addr_t ip = address(n);

		etharp_query(&iface_first()->netif, &ip, NULL);
		stack_flush();
		bed_skip();
	}
	before = bed.handed;
	etharp_tmr();
	assert_in_range(bed.handed - before, 1, 200);
	stack_flush();
	bed_skip();
	for (unsigned second = 0; second < 10; second++) {
		shim_advance(NS_PER_SEC);
		bed_skip();
	}
	assert_int_equal(entries(), 0);
}

static void a_waiting_packet_goes_out_with_the_answer(void **state)
{
	struct netif *netif = &iface_first()->netif;
	struct pbuf *p = pbuf_alloc(PBUF_IP, 100, PBUF_RAM);
	ip4_addr_t ip = address(7);
	struct bed_packet *packet;
	uint8_t mac[6];

	for (unsigned n = 1000; n < 1000 + ARP_TABLE_SIZE; n++)
		says(n, 1);
	memset(p->payload, 0x45, 100);
	assert_int_equal(etharp_query(netif, &ip, p), ERR_OK);
	pbuf_free(p);
	stack_flush();
	packet = bed_next();
	assert_int_equal(packet->frame[13], 6); // who has 10.1.0.7?
	put_mac(mac, 7);
	uint8_t frame[60] = {0x52, 0x54, 0, 0, 0, 1, [12] = 8, 6, 0, 1, 8, 0, 6, 4, 0, 2};
	memcpy(frame + 6, mac, 6);
	memcpy(frame + 22, mac, 6);
	memcpy(frame + 28, &ip.addr, 4);
	memcpy(frame + 32, netif->hwaddr, 6);
	memcpy(frame + 38, netif_ip4_addr(netif), 4);
	bed_receive(frame, sizeof(frame));
	packet = bed_next();
	assert_non_null(packet);
	assert_memory_equal(packet->frame, mac, 6);
	assert_int_equal(packet->bytes, 114);
}

static void a_connection_knows_where_its_neighbour_stands(void **state)
{
	struct netif *netif = &iface_first()->netif;
	struct bed_peer *peer;

	etharp_cleanup_netif(netif);
	for (unsigned n = 0; n < 1000; n++)
		says(n, 1);
	bed_connect(1460, 65535); // the peer comes last
	peer = bed_connect(1460, 65535);
	assert_non_null(
	    etharp_known(netif, ip_2_ip4(&peer->pcb->remote_ip), peer->pcb->netif_hints.addr_hint));
}

// A machine of another MAC says that our address is its own (RFC 5227, 2.4): asking, announcing, or in an answer.
static void who_else_has_our_address_is_told_of(void **state)
{
	static const uint8_t us[] = {10, 0, 0, 1};
	uint64_t before = kstat_get("pagewire_arp_conflicts_total", NULL);
	uint8_t frame[60] = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff, [12] = 8, 6,
			     0,	   1,	 8,    0,    6,	   4,	 0,	   1};
	struct bed_packet *packet;

	put_mac(frame + 6, 9);
	put_mac(frame + 22, 9);
	memcpy(frame + 28, us, 4);
	memcpy(frame + 38, us, 4);
	bed_skip();
	bed_receive(frame, sizeof(frame));
	assert_int_equal(kstat_get("pagewire_arp_conflicts_total", NULL) - before, 1);
	packet = bed_next(); // ours is announced again
	assert_non_null(packet);
	assert_memory_equal(packet->frame + 22, iface_first()->netif.hwaddr, 6);
	assert_memory_equal(packet->frame + 28, us, 4);
	assert_memory_equal(packet->frame + 38, us, 4);
	frame[21] = 2; // within ten seconds it is counted, and no more
	bed_receive(frame, sizeof(frame));
	assert_int_equal(kstat_get("pagewire_arp_conflicts_total", NULL) - before, 2);
	assert_null(bed_next());
	shim_advance(11 * NS_PER_SEC);
	bed_skip();
	bed_receive(frame, sizeof(frame));
	assert_non_null(bed_next());
}

static void our_own_announcement_and_a_probe_for_our_address_are_no_conflict(void **state)
{
	static const uint8_t us[] = {10, 0, 0, 1};
	uint64_t before = kstat_get("pagewire_arp_conflicts_total", NULL);
	uint8_t frame[60] = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff, [12] = 8, 6,
			     0,	   1,	 8,    0,    6,	   4,	 0,	   1};

	memcpy(frame + 6, iface_first()->netif.hwaddr, 6);
	memcpy(frame + 22, iface_first()->netif.hwaddr, 6);
	memcpy(frame + 28, us, 4);
	memcpy(frame + 38, us, 4);
	bed_receive(frame, sizeof(frame));
	put_mac(frame + 6, 9);
	put_mac(frame + 22, 9);
	memset(frame + 28, 0, 4); // a probe (2.1.1) has no sender's address, and is answered
	bed_skip();
	bed_receive(frame, sizeof(frame));
	assert_non_null(bed_next());
	bed_receive(frame, 14 + 20); // cut short
	says(9, 1);
	assert_int_equal(kstat_get("pagewire_arp_conflicts_total", NULL) - before, 0);
}

#define T(name) cmocka_unit_test_setup_teardown(name, bed_setup, bed_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
	    T(five_thousand_neighbours_are_known),
	    T(a_full_table_recycles_what_nobody_answered_for),
	    T(the_unanswered_are_not_asked_for_in_one_burst),
	    T(a_waiting_packet_goes_out_with_the_answer),
	    T(a_connection_knows_where_its_neighbour_stands),
	    T(who_else_has_our_address_is_told_of),
	    T(our_own_announcement_and_a_probe_for_our_address_are_no_conflict),
	};

	return cmocka_run_group_tests(tests, bed_group_setup, bed_group_teardown);
}
