// SPDX-License-Identifier: BSD-2-Clause
// IPv6: addresses by SLAAC, neighbour discovery, a TCP connection that sends a file page.
// SOURCES: tests/host/netbed.c tests/host/netbed_peer.c kernel/netdev_list.c kernel/string.c net/netstat.c
// ARCHIVES: build/host/libnet.a
// CFLAGS: -Inet/lwip -Inet/lwip/port -Ibuild/lwip/src/include -fno-sanitize=alignment
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include "lwip/priv/tcp_priv.h"
#include "net/iface.h"
#include "net/pagebuf.h"
#include "net/stack.h"
#include "netbed.h"
#include "shim.h"

#define PEER_PORT 30000

static const uint8_t our_mac[6] = {0x52, 0x54, 0, 0, 0, 1};
static const uint8_t peer_mac[6] = {0x52, 0x54, 0, 0, 0, 2};
static const uint8_t ours[16] = {0xfe, 0x80, [8] = 0x50, 0x54, 0, 0xff, 0xfe, 0, 0, 1};
static const uint8_t theirs[16] = {0xfe, 0x80, [8] = 0x50, 0x54, 0, 0xff, 0xfe, 0, 0, 2};
static const uint8_t all_nodes[16] = {0xff, 2, [15] = 1};

static uint16_t checksum6(const uint8_t *ip, uint8_t protocol, const uint8_t *data, unsigned len)
{
	uint32_t sum = protocol + len;

	for (unsigned i = 8; i < 40; i += 2)
		sum += ip[i] << 8 | ip[i + 1];
	for (unsigned i = 0; i < len; i++)
		sum += i & 1 ? data[i] : data[i] << 8;
	while (sum >> 16)
		sum = (sum & 0xffff) + (sum >> 16);
	return ~sum;
}

// An IPv6 packet from the peer; `at` is where its checksum goes.
static void receive6(const uint8_t *to, uint8_t protocol, uint8_t hops, uint8_t *payload,
		     unsigned len, unsigned at)
{
	uint8_t frame[300] = {0};
	uint16_t sum;

	memcpy(frame, our_mac, 6);
	if (to[0] == 0xff)
		memcpy(frame, (uint8_t[]){0x33, 0x33, to[12], to[13], to[14], to[15]}, 6);
	memcpy(frame + 6, peer_mac, 6);
	frame[12] = 0x86;
	frame[13] = 0xdd;
	frame[14] = 0x60;
	frame[18] = len >> 8;
	frame[19] = len;
	frame[20] = protocol;
	frame[21] = hops;
	memcpy(frame + 22, theirs, 16);
	memcpy(frame + 38, to, 16);
	sum = checksum6(frame + 14, protocol, payload, len);
	payload[at] = sum >> 8;
	payload[at + 1] = sum;
	memcpy(frame + 54, payload, len);
	bed_receive(frame, 54 + len);
}

// The next packet of that protocol (and ICMP type).
static struct bed_packet *next6(uint8_t protocol, int type)
{
	struct bed_packet *packet;

	while ((packet = bed_next())) {
		if (packet->frame[12] != 0x86 || packet->frame[20] != protocol ||
		    (type >= 0 && packet->frame[54] != type))
			continue;
		assert_int_equal(
		    checksum6(packet->frame + 14, protocol, packet->frame + 54, packet->bytes - 54),
		    0);
		return packet;
	}
	return NULL;
}

static void solicit(void)
{
	uint8_t ns[32] = {135, [24] = 1, 1};

	memcpy(ns + 8, ours, 16);
	memcpy(ns + 26, peer_mac, 6);
	receive6(ours, 58, 255, ns, sizeof(ns), 2);
}

static void a_neighbour_is_answered(void **state)
{
	struct bed_packet *advert;

	solicit();
	advert = next6(58, 136);
	assert_non_null(advert);
	assert_memory_equal(advert->frame + 62, ours, 16);
	assert_false(advert->offload.l4_csum);
}

static void a_solicitation_from_afar_is_ignored(void **state)
{
	uint8_t ns[32] = {135, [24] = 1, 1};

	memcpy(ns + 8, ours, 16);
	memcpy(ns + 26, peer_mac, 6);
	receive6(ours, 58, 64, ns, sizeof(ns), 2); // RFC 4861, 7.1.1: hop limit 255
	assert_null(next6(58, 136));
}

static void a_router_gives_an_address(void **state)
{
	uint8_t ra[16 + 32] = {134, 0, 0, 0, 64, 0, 7, 8, [16] = 3, 4, 64, 0xc0};
	struct netif *netif = &iface_first()->netif;
	bool found = false;

	memset(ra + 20, 0xff, 8);		// lifetimes
	memcpy(ra + 32, "\x20\x01\x0d\xb8", 4); // 2001:db8::/64
	receive6(all_nodes, 58, 255, ra, sizeof(ra), 2);
	for (unsigned i = 0; i < 3; i++)
		shim_advance(NS_PER_SEC); // duplicate address detection
	for (unsigned i = 0; i < LWIP_IPV6_NUM_ADDRESSES; i++)
		found |= ip6_addr_ispreferred(netif_ip6_addr_state(netif, i)) &&
			 netif_ip6_addr(netif, i)->addr[0] == PP_HTONL(0x20010db8);
	assert_true(found);
	bed_skip();
}

static struct tcp_pcb *accepted;

static void segment6(uint32_t seq, uint32_t ack, uint8_t flags)
{
	uint8_t tcp[24] = {PEER_PORT >> 8,
			   PEER_PORT & 0xff,
			   0,
			   80,
			   seq >> 24,
			   seq >> 16,
			   seq >> 8,
			   seq,
			   ack >> 24,
			   ack >> 16,
			   ack >> 8,
			   ack,
			   0x60,
			   flags,
			   0xff,
			   0xff,
			   [20] = 2,
			   4,
			   5,
			   0xa0};

	receive6(ours, 6, 64, tcp, sizeof(tcp), 16);
}

static err_t accept6(void *arg, struct tcp_pcb *pcb, err_t err)
{
	accepted = pcb;
	tcp_nagle_disable(pcb);
	return ERR_OK;
}

static uint32_t get32(const uint8_t *p)
{
	return (uint32_t)p[0] << 24 | p[1] << 16 | p[2] << 8 | p[3];
}

static void a_page_goes_out(void **state)
{
	struct bed_packet *packet;
	struct page *page = bed_page(5);
	uint32_t seq;

	for (struct tcp_pcb_listen *pcb = tcp_listen_pcbs.listen_pcbs; pcb; pcb = pcb->next)
		pcb->accept = accept6;
	solicit();
	bed_skip();
	segment6(100, 0, TCP_SYN);
	packet = next6(6, -1);
	assert_non_null(packet);
	assert_int_equal(packet->frame[54 + 13], TCP_SYN | TCP_ACK);
	assert_int_equal(packet->frame[54 + 22] << 8 | packet->frame[54 + 23], 1440);
	seq = get32(packet->frame + 54 + 4) + 1;
	segment6(101, seq, TCP_ACK);
	assert_non_null(accepted);
	assert_int_equal(accepted->mss, 1440);
	bed.manual = true;
	assert_int_equal(pagebuf_write(accepted, page, 0, 2000, false), ERR_OK);
	bed_page_done(page);
	tcp_output(accepted);
	stack_flush();
	packet = next6(6, -1);
	assert_int_equal(packet->bytes, 54 + 20 + 1440);
	assert_int_equal(packet->offload.mss, 0);
	assert_true(packet->offload.ipv6 && packet->offload.l4_csum && !packet->offload.ip_csum);
	assert_int_equal(packet->offload.header_bytes, 74);
	for (unsigned i = 0; i < 1440; i++)
		assert_int_equal(packet->frame[74 + i], bed_pattern(5, i));
	segment6(101, seq + 2000, TCP_ACK);
	assert_int_equal(bed_pages_released, 0);
	bed_complete_all();
	assert_int_equal(bed_pages_released, 1);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, bed_setup, bed_teardown)
// RFC 5952, 4.
static void addresses_are_written_as_rfc_5952_has_them(void **state)
{
	static const struct {
		uint32_t words[4];
		const char *text;
	} addresses[] = {
	    {{0xfe800000, 0, 0x505400ff, 0xfe12abcd}, "fe80::5054:ff:fe12:abcd"},
	    {{0x20010db8, 0, 0, 0x0000000a}, "2001:db8::a"},
	    {{0, 0, 0xffff, 0x0a580002}, "::ffff:10.88.0.2"},
	    // RFC 5952: 4.2.2, one group is not shortened; 4.2.3, the longest run, and the first of two
	    {{0x20010db8, 0x00000001, 0x00010001, 0x00010001}, "2001:db8:0:1:1:1:1:1"},
	    {{0x20010000, 0x00000001, 0, 1}, "2001:0:0:1::1"},
	    {{0x20010db8, 0, 0x00010000, 0x00000001}, "2001:db8::1:0:0:1"},
	    {{0x20010db8, 0x00000001, 0, 0}, "2001:db8:0:1::"},
	    {{0, 0, 0, 1}, "::1"},
	    {{0, 0, 0, 0}, "::"},
	    {{0, 1, 0, 0x00010000}, "::1:0:0:1:0"},
	    {{0x00010000, 0x00010000, 0x00010000, 0x00010000}, "1:0:1:0:1:0:1:0"},
	};

	for (unsigned i = 0; i < ARRAY_SIZE(addresses); i++) {
		ip6_addr_t address = {0};
		char text[IP6ADDR_STRLEN_MAX];

		for (unsigned w = 0; w < 4; w++)
			address.addr[w] = lwip_htonl(addresses[i].words[w]);
		assert_non_null(ip6addr_ntoa_r(&address, text, sizeof(text)));
		assert_string_equal(text, addresses[i].text);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    TEST(addresses_are_written_as_rfc_5952_has_them),
	    TEST(a_neighbour_is_answered),
	    TEST(a_solicitation_from_afar_is_ignored),
	    TEST(a_router_gives_an_address),
	    TEST(a_page_goes_out),
	};
	return cmocka_run_group_tests_name("ipv6", tests, bed_group_setup, bed_group_teardown);
}
