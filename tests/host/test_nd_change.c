// SPDX-License-Identifier: BSD-2-Clause
// IPv6 neighbours and routers that change: another card behind the same address, a router that is silent, addresses
// that somebody else claims.
// SOURCES: tests/host/netbed.c tests/host/netbed_peer.c kernel/netdev_list.c kernel/string.c net/netstat.c
// ARCHIVES: build/host/libnet.a
// CFLAGS: -Inet/lwip -Inet/lwip/port -Ibuild/lwip/src/include -fno-sanitize=alignment
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include "hooks.h"
#include "lwip/nd6.h"
#include "lwip/prot/dhcp.h"
#include "net/iface.h"
#include "net/stack.h"
#include "netbed.h"
#include "shim.h"

#define ROUTER	  134 // RFC 4861, 4
#define SOLICIT	  135
#define ADVERTISE 136
#define REDIRECT  137
#define SOLICITED 0x40
#define OVERRIDE  0x20
#define SOURCE	  1
#define TARGET	  2

static const uint8_t our_mac[6] = {0x52, 0x54, 0, 0, 0, 1};
static const uint8_t ours[16] = {0xfe, 0x80, [8] = 0x50, 0x54, 0, 0xff, 0xfe, 0, 0, 1};
static const uint8_t all_nodes[16] = {0xff, 2, [15] = 1};
static const uint8_t our_group[16] = {0xff, 2, [11] = 1, 0xff, 0, 0, 1}; // solicited-node
static const uint8_t far_away[16] = {0x20, 1, 0x0d, 0xb8, 0xff, [15] = 1};

static struct netif *netif(void)
{
	return &iface_first()->netif;
}

static void put_address(uint8_t *to, uint8_t n)
{
	uint8_t address[16] = {0xfe, 0x80, [8] = 7, [15] = n};

	memcpy(to, address, 16);
}

// A message of neighbour n's, sealed; `icmp` begins with its type.
static void receive(uint8_t n, const uint8_t *to, const uint8_t *icmp, unsigned bytes)
{
	uint8_t frame[200] = {[12] = 0x86, 0xdd, 0x60, [19] = bytes, 58, 255};
	uint32_t sum = 58 + bytes;

	memcpy(frame, our_mac, 6);
	memcpy(frame + 6, (uint8_t[]){0x52, 0x54, 9, 9, 9, n}, 6);
	put_address(frame + 22, n);
	memcpy(frame + 38, to, 16);
	memcpy(frame + 54, icmp, bytes);
	for (unsigned i = 22; i < 54 + bytes; i += 2)
		sum += frame[i] << 8 | frame[i + 1];
	while (sum >> 16)
		sum = (sum & 0xffff) + (sum >> 16);
	frame[56] = ~sum >> 8;
	frame[57] = ~sum;
	bed_receive(frame, 54 + bytes);
	stack_flush();
}

static void put_option(uint8_t *to, uint8_t type, uint8_t card)
{
	memcpy(to, (uint8_t[]){type, 1, 0x52, 0x54, 1, 0, 0, card}, 8);
}

static void solicits(uint8_t n, uint8_t card)
{
	uint8_t icmp[32] = {SOLICIT};

	memcpy(icmp + 8, ours, 16);
	put_option(icmp + 24, SOURCE, card);
	receive(n, ours, icmp, sizeof(icmp));
}

static void advertises(uint8_t n, uint8_t flags, uint8_t card)
{
	uint8_t icmp[32] = {ADVERTISE, [4] = flags};

	put_address(icmp + 8, n);
	put_option(icmp + 24, TARGET, card);
	receive(n, flags & SOLICITED ? ours : all_nodes, icmp, sizeof(icmp));
}

static void is_router(uint8_t n, uint16_t seconds, uint8_t card)
{
	uint8_t icmp[24] = {ROUTER, [4] = 64, [6] = seconds >> 8, seconds};

	put_option(icmp + 16, SOURCE, card);
	receive(n, all_nodes, icmp, sizeof(icmp));
}

// The last byte of the link-layer address to which a packet goes; 0: it waits; a negative number: there is no way.
static int goes_to(const uint8_t *to)
{
	struct pbuf *p = pbuf_alloc(PBUF_LINK, 60, PBUF_RAM);
	const uint8_t *mac = NULL;
	ip6_addr_t ip = {0};
	err_t err;

	memset(p->payload, 0, 60);
	memcpy((uint8_t *)p->payload + 24, to, 16);
	memcpy(ip.addr, to, 16);
	ip6_addr_assign_zone(&ip, IP6_UNICAST, netif());
	err = nd6_get_next_hop_addr_or_queue(netif(), p, &ip, &mac);
	pbuf_free(p);
	stack_flush();
	bed_skip();
	return err != ERR_OK ? err : mac ? mac[5] : 0;
}

static int goes_to_neighbour(uint8_t n)
{
	uint8_t address[16];

	put_address(address, n);
	return goes_to(address);
}

// Seconds in which packets go to that address each second, and neighbour n, where it is not 0, answers who asks.
static void pass(unsigned seconds, const uint8_t *to, uint8_t n, uint8_t card)
{
	while (seconds--) {
		shim_advance(NS_PER_SEC);
		bed_skip();
		if (n)
			advertises(n, SOLICITED, card);
		if (to)
			goes_to(to);
	}
}

static int settled(void **state)
{
	bed_setup(state);
	pass(5, NULL, 0, 0); // duplicate address detection
	return 0;
}

static int forgotten(void **state)
{
	nd6_cleanup_netif(netif());
	return bed_teardown(state);
}

static void a_neighbour_with_another_card_is_believed(void **state)
{
	solicits(5, 50);
	assert_int_equal(goes_to_neighbour(5), 50);
	advertises(5, SOLICITED | OVERRIDE, 50);
	solicits(5, 51); // RFC 4861, 7.2.3
	assert_int_equal(goes_to_neighbour(5), 51);
	advertises(5, OVERRIDE, 52); // 7.2.6
	assert_int_equal(goes_to_neighbour(5), 52);
	advertises(5, SOLICITED, 53); // 7.2.5: a proxy's, not believed before the other is silent
	assert_int_equal(goes_to_neighbour(5), 52);
}

static void options_that_make_no_sense_change_nothing(void **state)
{
	uint8_t icmp[40] = {ADVERTISE, [4] = OVERRIDE};

	solicits(5, 50);
	put_address(icmp + 8, 5);
	put_option(icmp + 24, TARGET, 66);
	icmp[25] = 0;
	receive(5, all_nodes, icmp, 32);
	assert_int_equal(goes_to_neighbour(5), 50);
	receive(5, all_nodes, icmp, 26); // cut off, behind the option's head
	assert_int_equal(goes_to_neighbour(5), 50);
	put_option(icmp + 24, SOURCE, 66);
	receive(5, all_nodes, icmp, 32);
	assert_int_equal(goes_to_neighbour(5), 50);
	memcpy(icmp + 24, (uint8_t[]){14, 1}, 2); // another option in front of it: a nonce
	put_option(icmp + 32, TARGET, 67);
	receive(5, all_nodes, icmp, 40);
	assert_int_equal(goes_to_neighbour(5), 67);
}

static void a_router_with_another_card_is_believed(void **state)
{
	is_router(1, 1800, 10);
	assert_int_equal(goes_to(far_away), 10);
	advertises(1, SOLICITED, 10);
	is_router(1, 1800, 11); // the new one's first words
	assert_int_equal(goes_to(far_away), 11);
}

static void a_silent_router_is_left_for_another(void **state)
{
	is_router(1, 1800, 10);
	is_router(2, 1800, 20);
	assert_int_equal(goes_to(far_away), 10);
	pass(60, far_away, 2, 20);
	assert_int_equal(goes_to(far_away), 20);
}

static void a_lone_router_is_looked_for_where_it_is_now(void **state)
{
	is_router(1, 1800, 10);
	assert_int_equal(goes_to(far_away), 10);
	pass(60, far_away, 0, 0);
	assert_int_equal(goes_to(far_away), 0);
	advertises(1, SOLICITED, 11);
	assert_int_equal(goes_to(far_away), 11);
}

static void one_that_is_no_router_is_not_used_as_one(void **state)
{
	is_router(1, 0, 10);
	assert_true(goes_to(far_away) < 0);
	is_router(1, 1800, 10);
	assert_int_equal(goes_to(far_away), 10);
	is_router(1, 0, 10);
	pass(2, NULL, 0, 0);
	assert_true(goes_to(far_away) < 0);
}

static void who_is_not_the_way_redirects_nothing(void **state)
{
	uint8_t icmp[48] = {REDIRECT};

	is_router(1, 1800, 10);
	solicits(5, 50);
	assert_int_equal(goes_to(far_away), 10);
	put_address(icmp + 8, 5);
	memcpy(icmp + 24, far_away, 16);
	put_option(icmp + 40, TARGET, 50);
	receive(5, ours, icmp, sizeof(icmp)); // RFC 4861, 8.1
	assert_int_equal(goes_to(far_away), 10);
	receive(1, ours, icmp, sizeof(icmp));
	assert_int_equal(goes_to(far_away), 50);
}

static void an_address_in_use_is_not_given_up_for_a_claim(void **state)
{
	uint8_t icmp[32] = {ADVERTISE, [4] = OVERRIDE};

	memcpy(icmp + 8, ours, 16);
	put_option(icmp + 24, TARGET, 66);
	receive(6, all_nodes, icmp, sizeof(icmp));
	assert_true(ip6_addr_isvalid(netif_ip6_addr_state(netif(), 0)));
	solicits(5, 50);
	assert_int_equal(goes_to_neighbour(5), 50);
}

// The index of our address in 2001:db8:N::/64, which a router has just told us of.
static int offered(uint8_t n)
{
	uint8_t icmp[16 + 32] = {ROUTER, [16] = 3, 4, 64, 0x40};

	icmp[22] = icmp[26] = 1; // lifetimes of 256 s
	memcpy(icmp + 32, (uint8_t[]){0x20, 1, 0x0d, 0xb8, 0, n}, 6);
	receive(1, all_nodes, icmp, sizeof(icmp));
	for (int i = 1; i < LWIP_IPV6_NUM_ADDRESSES; i++)
		if (!ip6_addr_isinvalid(netif_ip6_addr_state(netif(), i)) &&
		    netif_ip6_addr(netif(), i)->addr[1] == lwip_htonl(n << 16))
			return i;
	return 0;
}

static void an_address_that_others_have_is_not_taken(void **state)
{
	static const uint8_t types[] = {ADVERTISE, SOLICIT};

	for (unsigned n = 0; n < sizeof(types); n++) {
		uint8_t icmp[24] = {types[n], [4] = types[n] == ADVERTISE ? OVERRIDE : 0};
		int i = offered((uint8_t)(n + 1));

		assert_true(i && ip6_addr_istentative(netif_ip6_addr_state(netif(), i)));
		memcpy(icmp + 8, netif_ip6_addr(netif(), i)->addr, 16);
		if (types[n] == SOLICIT) { // they want it at the same time
			uint8_t frame[78] = {[12] = 0x86, 0xdd, 0x60, [19] = 24, 58, 255};
			uint32_t sum = 58 + 24;

			memcpy(frame, our_mac, 6);
			memcpy(frame + 38, our_group, 16);
			memcpy(frame + 54, icmp, 24);
			for (unsigned at = 22; at < sizeof(frame); at += 2)
				sum += frame[at] << 8 | frame[at + 1];
			while (sum >> 16)
				sum = (sum & 0xffff) + (sum >> 16);
			frame[56] = ~sum >> 8;
			frame[57] = ~sum;
			bed_receive(frame, sizeof(frame));
		} else {
			receive(6, all_nodes, icmp, sizeof(icmp));
		}
		assert_true(ip6_addr_isduplicated(netif_ip6_addr_state(netif(), i)));
	}
	for (unsigned i = 0; i < 270; i++) { // they expire
		shim_advance(NS_PER_SEC);
		bed_skip();
	}
}

// Packets of a neighbour that does not answer: a few wait, not all.
static void few_packets_wait_for_a_neighbour(void **state)
{
	unsigned sent = 0;
	struct bed_packet *packet;

	for (unsigned i = 0; i < 200; i++)
		assert_int_equal(goes_to_neighbour(7), 0);
	advertises(7, SOLICITED, 70);
	while ((packet = bed_next()))
		sent += packet->frame[5] == 70;
	assert_int_equal(sent, 16);
}

// RFC 4861, 4.6.4.
static void router_says_mtu(uint16_t mtu)
{
	uint8_t icmp[24] = {ROUTER, [4] = 64, [16] = 5, 1, [22] = mtu >> 8, mtu};

	receive(1, all_nodes, icmp, sizeof(icmp));
}

static void dhcp_says_mtu(uint16_t mtu)
{
	struct pbuf *p = pbuf_alloc(PBUF_RAW, 2, PBUF_RAM);

	bed_put16(p->payload, mtu);
	mtu_dhcp_option(netif(), DHCP_ACK, DHCP_OPTION_MTU, 2, p, 0);
	pbuf_free(p);
}

// Whoever comes first: RFC 2464, 2.
static void what_a_router_says_of_the_mtu_stays(void **state)
{
	router_says_mtu(1500);
	dhcp_says_mtu(9000);
	assert_int_equal(netif()->mtu, 9000);
	assert_int_equal(netif_mtu6(netif()), 1500);
	dhcp_says_mtu(1400);
	assert_int_equal(netif_mtu6(netif()), 1400);
	dhcp_says_mtu(9000);
	assert_int_equal(netif_mtu6(netif()), 1500);
	router_says_mtu(9000);
	assert_int_equal(netif_mtu6(netif()), 9000);
	dhcp_says_mtu(1500);
	assert_int_equal(netif_mtu6(netif()), 1500);
	dhcp_says_mtu(4000);
	assert_int_equal(netif_mtu6(netif()), 4000);
	dhcp_says_mtu(1500);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, settled, forgotten)
int main(void)
{
	const struct CMUnitTest tests[] = {
	    TEST(a_neighbour_with_another_card_is_believed),
	    TEST(options_that_make_no_sense_change_nothing),
	    TEST(a_router_with_another_card_is_believed),
	    TEST(a_silent_router_is_left_for_another),
	    TEST(a_lone_router_is_looked_for_where_it_is_now),
	    TEST(one_that_is_no_router_is_not_used_as_one),
	    TEST(who_is_not_the_way_redirects_nothing),
	    TEST(an_address_in_use_is_not_given_up_for_a_claim),
	    TEST(an_address_that_others_have_is_not_taken),
	    TEST(few_packets_wait_for_a_neighbour),
	    TEST(what_a_router_says_of_the_mtu_stays),
	};
	return cmocka_run_group_tests_name("nd_change", tests, bed_group_setup, bed_group_teardown);
}
