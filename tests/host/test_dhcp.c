// SPDX-License-Identifier: BSD-2-Clause
// The end of a DHCP lease whose server does not answer any more (RFC 2131, 4.4.5), on the test bed's card.
// SOURCES: tests/host/netbed.c tests/host/netbed_peer.c kernel/netdev_list.c kernel/string.c net/netstat.c
// ARCHIVES: build/host/libnet.a
// CFLAGS: -Inet/lwip -Inet/lwip/port -Ibuild/lwip/src/include -fno-sanitize=alignment
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include "lwip/dhcp.h"
#include "lwip/netif.h"
#include "lwip/prot/dhcp.h"
#include "net/iface.h"
#include "net/stack.h"
#include "netbed.h"
#include "shim.h"

#define IP	  14
#define UDP	  34
#define BOOTP	  42
#define XID	  (BOOTP + 4)
#define YIADDR	  (BOOTP + 16)
#define HARDWARE  (BOOTP + 28)
#define COOKIE	  (BOOTP + 236)
#define OPTIONS	  (BOOTP + 240)
#define LEASE_MIN 4 // minutes

static const uint8_t leased[4] = {10, 0, 0, 77}, server[4] = {10, 0, 0, 2};

static bool is_dhcp(const struct bed_packet *packet)
{
	const uint8_t *f = packet->frame;

	return packet->bytes > OPTIONS && f[12] == 8 && f[13] == 0 && f[IP + 9] == 17 &&
	       f[UDP + 3] == 67;
}

// The kind of the next message that goes to a server, 0: none. The frame is in *message.
static uint8_t next_message(const uint8_t **message)
{
	struct bed_packet *packet;

	while ((packet = bed_next()))
		if (is_dhcp(packet)) {
			*message = packet->frame;
			assert_int_equal(packet->frame[OPTIONS], DHCP_OPTION_MESSAGE_TYPE);
			return packet->frame[OPTIONS + 2];
		}
	return 0;
}

static void seal_ip(uint8_t *ip)
{
	uint32_t sum = 0;

	bed_put16(ip + 10, 0);
	for (unsigned i = 0; i < 20; i += 2)
		sum += (uint32_t)ip[i] << 8 | ip[i + 1];
	sum = (sum & 0xffff) + (sum >> 16);
	bed_put16(ip + 10, (uint16_t) ~(sum + (sum >> 16)));
}

static void answer(const uint8_t *question, uint8_t kind)
{
	const uint8_t options[] = {DHCP_OPTION_MESSAGE_TYPE,
				   1,
				   kind,
				   DHCP_OPTION_SERVER_ID,
				   4,
				   10,
				   0,
				   0,
				   2,
				   DHCP_OPTION_LEASE_TIME,
				   4,
				   0,
				   0,
				   0,
				   LEASE_MIN * 60,
				   DHCP_OPTION_SUBNET_MASK,
				   4,
				   255,
				   255,
				   255,
				   0,
				   DHCP_OPTION_END};
	uint8_t f[OPTIONS + 64] = {0};

	memcpy(f, iface_first()->netif.hwaddr, 6);
	memset(f + 6, 2, 6);
	f[12] = 8;
	f[IP] = 0x45;
	bed_put16(f + IP + 2, (uint16_t)(sizeof(f) - IP));
	f[IP + 8] = 64;
	f[IP + 9] = 17;
	memcpy(f + IP + 12, server, 4);
	memset(f + IP + 16, 0xff, 4);
	seal_ip(f + IP);
	f[UDP + 1] = 67;
	f[UDP + 3] = 68;
	bed_put16(f + UDP + 4, (uint16_t)(sizeof(f) - UDP));
	f[BOOTP] = 2;
	f[BOOTP + 1] = 1;
	f[BOOTP + 2] = 6;
	memcpy(f + XID, question + XID, 4);
	memcpy(f + YIADDR, leased, 4);
	memcpy(f + HARDWARE, question + HARDWARE, 6);
	memcpy(f + COOKIE, (uint8_t[]){0x63, 0x82, 0x53, 0x63}, 4);
	memcpy(f + OPTIONS, options, sizeof(options));
	bed_receive(f, sizeof(f));
}

// The server asks for our station, and so we know its own.
static void introduce(void)
{
	uint8_t f[42] = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 2, 2, 2, 2, 2, 2, 8, 6,
			 0,    1,    8,	   0,	 6,    4,    0, 1, 2, 2, 2, 2, 2, 2};

	memcpy(f + 28, server, 4);
	memcpy(f + 38, leased, 4);
	bed_receive(f, sizeof(f));
}

static void lease(struct netif *netif)
{
	const uint8_t *message = NULL;

	assert_int_equal(dhcp_start(netif), ERR_OK);
	stack_flush();
	assert_int_equal(next_message(&message), DHCP_DISCOVER);
	answer(message, DHCP_OFFER);
	assert_int_equal(next_message(&message), DHCP_REQUEST);
	answer(message, DHCP_ACK);
	for (unsigned s = 0; s < 30 && !dhcp_supplied_address(netif); s++)
		shim_advance(NS_PER_SEC); // it is asked whether somebody has the address
	assert_true(dhcp_supplied_address(netif));
	assert_memory_equal(netif_ip4_addr(netif), leased, 4);
	introduce();
}

static void a_lease_that_has_run_out_is_not_released(void **state)
{
	struct netif *netif = &iface_first()->netif;
	ip4_addr_t own = *netif_ip4_addr(netif), mask = *netif_ip4_netmask(netif),
		   gateway = *netif_ip4_gw(netif);
	const uint8_t *message;
	unsigned requests = 0;
	uint8_t kind = 0;

	netif_set_addr(netif, IP4_ADDR_ANY4, IP4_ADDR_ANY4, IP4_ADDR_ANY4);
	lease(netif);
	for (unsigned s = 0; s < 60 * (LEASE_MIN + 2) && kind != DHCP_DISCOVER; s++) {
		shim_advance(NS_PER_SEC);
		while (kind != DHCP_DISCOVER && (kind = next_message(&message))) {
			assert_true(kind == DHCP_REQUEST || kind == DHCP_DISCOVER);
			requests += kind == DHCP_REQUEST;
		}
	}
	assert_int_equal(kind, DHCP_DISCOVER);
	assert_true(requests > 0); // for the same address, while it was ours
	assert_true(ip4_addr_isany(netif_ip4_addr(netif)));
	answer(message, DHCP_OFFER);
	assert_int_equal(next_message(&message), DHCP_REQUEST); // and on it goes
	dhcp_release_and_stop(netif);
	dhcp_cleanup(netif);
	netif_set_addr(netif, &own, &mask, &gateway);
}

static void one_that_is_given_back_is_released(void **state)
{
	struct netif *netif = &iface_first()->netif;
	ip4_addr_t own = *netif_ip4_addr(netif), mask = *netif_ip4_netmask(netif),
		   gateway = *netif_ip4_gw(netif);
	const uint8_t *message;

	netif_set_addr(netif, IP4_ADDR_ANY4, IP4_ADDR_ANY4, IP4_ADDR_ANY4);
	lease(netif);
	bed_skip();
	dhcp_release_and_stop(netif);
	stack_flush();
	assert_int_equal(next_message(&message), DHCP_RELEASE);
	dhcp_cleanup(netif);
	netif_set_addr(netif, &own, &mask, &gateway);
}

#define T(name) cmocka_unit_test_setup_teardown(name, bed_setup, bed_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
	    T(a_lease_that_has_run_out_is_not_released),
	    T(one_that_is_given_back_is_released),
	};

	return cmocka_run_group_tests(tests, bed_group_setup, bed_group_teardown);
}
