// SPDX-License-Identifier: BSD-2-Clause
// Datagrams in fragments, over IPv6: those that come, up to the longest that their fields can say, and those that go.
// SOURCES: tests/host/netbed.c tests/host/netbed_peer.c kernel/netdev_list.c kernel/string.c net/netstat.c
// ARCHIVES: build/host/libnet.a
// CFLAGS: -Inet/lwip -Inet/lwip/port -Ibuild/lwip/src/include -fno-sanitize=alignment
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "lwip/nd6.h"
#include "lwip/udp.h"
#include "net/iface.h"
#include "net/stack.h"
#include "netbed.h"
#include "shim.h"

#define ETHERNET     14U
#define IPV6	     40U
#define FRAGMENT     8U
#define PIECE	     1448U // bytes of a fragment: 1,500 - 40 - 8, a multiple of 8
#define ICMP	     58U
#define UDP	     17U
#define ECHO_REQUEST 128
#define ECHO_REPLY   129

static const uint8_t our_mac[6] = {0x52, 0x54, 0, 0, 0, 1};
static const uint8_t peer_mac[6] = {0x52, 0x54, 0, 0, 0, 2};
static const uint8_t ours[16] = {0xfe, 0x80, [8] = 0x50, 0x54, 0, 0xff, 0xfe, 0, 0, 1};
static const uint8_t theirs[16] = {0xfe, 0x80, [8] = 0x50, 0x54, 0, 0xff, 0xfe, 0, 0, 2};

static void put_headers(uint8_t *frame, uint8_t next, uint32_t payload)
{
	memset(frame, 0, ETHERNET + IPV6);
	memcpy(frame, our_mac, 6);
	memcpy(frame + 6, peer_mac, 6);
	frame[12] = 0x86;
	frame[13] = 0xdd;
	frame[14] = 0x60;
	bed_put16(frame + 18, (uint16_t)payload);
	frame[20] = next;
	frame[21] = 255;
	memcpy(frame + 22, theirs, 16);
	memcpy(frame + 38, ours, 16);
}

static uint16_t checksum(uint8_t protocol, const uint8_t *data, uint32_t bytes)
{
	uint32_t sum = protocol + (bytes & 0xffff) + (bytes >> 16);

	for (unsigned i = 0; i < 16; i += 2)
		sum += (uint32_t)(ours[i] << 8 | ours[i + 1]) + (theirs[i] << 8 | theirs[i + 1]);
	for (uint32_t i = 0; i < bytes; i++)
		sum += i & 1 ? data[i] : (uint32_t)data[i] << 8;
	while (sum >> 16)
		sum = (sum & 0xffff) + (sum >> 16);
	return (uint16_t)~sum;
}

// An echo request of so many bytes, ICMP's header among them, in fragments; behind `options` bytes of destination
// options in each.
static void ping(uint32_t bytes, uint32_t options)
{
	static uint8_t identification;
	uint8_t *data = calloc(1, bytes), frame[1514];

	data[0] = ECHO_REQUEST;
	for (uint32_t i = 8; i < bytes; i++)
		data[i] = (uint8_t)(i * 7);
	bed_put16(data + 2, checksum(ICMP, data, bytes));
	identification++;
	for (uint32_t at = 0; at < bytes; at += PIECE - options) {
		uint32_t piece = MIN(bytes - at, PIECE - options);
		uint8_t *header = frame + ETHERNET + IPV6;

		put_headers(frame, options ? 60 : 44, options + FRAGMENT + piece);
		if (options) {
			memset(header, 0, options);
			header[0] = 44;
			header[1] = (uint8_t)(options / 8 - 1);
			header[2] = 1; // PadN
			header[3] = (uint8_t)(options - 4);
			header += options;
		}
		memset(header, 0, FRAGMENT);
		header[0] = ICMP;
		bed_put16(header + 2, (uint16_t)(at | (at + piece < bytes)));
		header[7] = identification;
		memcpy(header + FRAGMENT, data + at, piece);
		bed_receive(frame, ETHERNET + IPV6 + options + FRAGMENT + piece);
	}
	free(data);
}

// The bytes of the echo reply that went out, in how many fragments it ever did; 0: none.
static uint32_t replied(void)
{
	struct bed_packet *packet;
	uint32_t bytes = 0;
	bool reply = false;

	while ((packet = bed_next())) {
		const uint8_t *ip = packet->frame + ETHERNET;

		if (packet->frame[12] != 0x86)
			continue;
		if (ip[6] == ICMP && ip[IPV6] == ECHO_REPLY)
			return packet->bytes - ETHERNET - IPV6;
		if (ip[6] != 44 || ip[IPV6] != ICMP)
			continue;
		if (!(ip[IPV6 + 2] | (ip[IPV6 + 3] & ~7)))
			reply = ip[IPV6 + FRAGMENT] == ECHO_REPLY;
		bytes += packet->bytes - ETHERNET - IPV6 - FRAGMENT;
	}
	return reply ? bytes : 0;
}

// They know each other's address.
static int acquainted(void **state)
{
	uint8_t frame[ETHERNET + IPV6 + 32];
	uint8_t *ns = frame + ETHERNET + IPV6;

	bed_setup(state);
	for (unsigned i = 0; i < 50; i++)
		shim_advance(100 * NS_PER_MS); // duplicate address detection
	put_headers(frame, ICMP, 32);
	memset(ns, 0, 32);
	ns[0] = 135;
	memcpy(ns + 8, ours, 16);
	ns[24] = ns[25] = 1;
	memcpy(ns + 26, peer_mac, 6);
	bed_put16(ns + 2, checksum(ICMP, ns, 32));
	bed_receive(frame, sizeof(frame));
	bed_skip();
	return 0;
}

static int forgotten(void **state)
{
	nd6_cleanup_netif(&iface_first()->netif);
	return bed_teardown(state);
}

static void a_datagram_in_fragments_is_one(void **state)
{
	ping(100, 0);
	assert_int_equal(replied(), 100);
	ping(5000, 0);
	assert_int_equal(replied(), 5000);
	ping(5000, 32);
	assert_int_equal(replied(), 5000);
	ping(60000, 0);
	assert_int_equal(replied(), 60000);
}

// A packet's length, headers included, has 16 bits here; what is longer when it is put together is dropped.
static void one_too_long_to_be_put_together_is_dropped(void **state)
{
	for (uint32_t bytes = 65535 - 64; bytes <= 65535; bytes++) {
		ping(bytes, 0);
		assert_int_equal(replied(), bytes + IPV6 <= 65535 ? bytes : 0);
	}
	for (uint32_t options = 8; options <= 256; options += 8) {
		ping(65535 - IPV6 - options, options);
		assert_int_equal(replied(), 65535 - IPV6 - options);
		ping(65535 - IPV6 - options + 1, options);
		assert_int_equal(replied(), 0);
	}
	ping(100, 0);
	assert_int_equal(replied(), 100);
}

// No card makes a checksum over several packets, and without one a datagram over IPv6 is dropped (RFC 8200, 8.1).
static void one_that_goes_out_in_fragments_has_its_checksum(void **state)
{
	static uint8_t got[65536];
	struct netif *netif = &iface_first()->netif;
	struct udp_pcb *pcb = udp_new_ip_type(IPADDR_TYPE_V6);
	ip_addr_t from = {.type = IPADDR_TYPE_V6}, to = {.type = IPADDR_TYPE_V6};

	memcpy(ip_2_ip6(&from)->addr, ours, 16);
	memcpy(ip_2_ip6(&to)->addr, theirs, 16);
	ip6_addr_assign_zone(ip_2_ip6(&from), IP6_UNICAST, netif);
	ip6_addr_assign_zone(ip_2_ip6(&to), IP6_UNICAST, netif);
	for (uint16_t bytes = 1000; bytes < 9000; bytes += 997) {
		struct pbuf *p = pbuf_alloc(PBUF_TRANSPORT, bytes, PBUF_RAM);
		struct bed_packet *packet;
		uint32_t total = 0;

		for (unsigned i = 0; i < bytes; i++)
			((uint8_t *)p->payload)[i] = (uint8_t)(i * 13);
		assert_int_equal(udp_sendto_if_src(pcb, p, &to, 9, netif, &from), ERR_OK);
		pbuf_free(p);
		stack_flush();
		while ((packet = bed_next())) {
			const uint8_t *ip = packet->frame + ETHERNET;
			uint32_t head = ip[6] == 44 ? IPV6 + FRAGMENT : IPV6, at = 0;

			assert_int_equal(ip[6] == 44 ? ip[IPV6] : ip[6], UDP);
			if (ip[6] == 44)
				at = (uint32_t)(ip[IPV6 + 2] << 8 | (ip[IPV6 + 3] & ~7));
			memcpy(got + at, ip + head, packet->bytes - ETHERNET - head);
			total += packet->bytes - ETHERNET - head;
		}
		assert_int_equal(total, bytes + 8);
		assert_true(got[6] | got[7]);
		assert_int_equal(checksum(UDP, got, total), 0);
	}
	udp_remove(pcb);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, acquainted, forgotten)
int main(void)
{
	const struct CMUnitTest tests[] = {
	    TEST(a_datagram_in_fragments_is_one),
	    TEST(one_too_long_to_be_put_together_is_dropped),
	    TEST(one_that_goes_out_in_fragments_has_its_checksum),
	};
	return cmocka_run_group_tests_name("reassembly", tests, bed_group_setup,
					   bed_group_teardown);
}
