// SPDX-License-Identifier: BSD-2-Clause
// Packets of the machine to itself: by reference, never on the card; a refused one comes again; and what claims on
// the wire to be from here is dropped.
// SOURCES: tests/host/netbed.c tests/host/netbed_peer.c kernel/netdev_list.c kernel/string.c kernel/copy.c
// SOURCES: net/netstat.c
// ARCHIVES: build/host/libnet.a
// CFLAGS: -Inet/lwip -Inet/lwip/port -Ibuild/lwip/src/include -fno-sanitize=alignment
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include "kernel/copy.h"
#include "kernel/kstat.h"
#include "kernel/vmm.h"
#include "lwip/priv/tcp_priv.h"
#include "lwip/udp.h"
#include "net/iface.h"
#include "net/loopback.h"
#include "net/pagebuf.h"
#include "net/stack.h"
#include "netbed.h"
#include "shim.h"

#define PORT 7000

static struct tcp_pcb *listener, *client, *server;
static struct pbuf *received;
static uint32_t received_bytes, acknowledged;
static bool hold; // the server keeps what it gets

static err_t server_receives(void *arg, struct tcp_pcb *pcb, struct pbuf *p, err_t err)
{
	if (!p)
		return ERR_OK;
	received_bytes += p->tot_len;
	tcp_recved(pcb, p->tot_len);
	if (!hold)
		pbuf_free(p);
	else if (received)
		pbuf_cat(received, p);
	else
		received = p;
	return ERR_OK;
}

static err_t server_accepts(void *arg, struct tcp_pcb *pcb, err_t err)
{
	server = pcb;
	tcp_recv(pcb, server_receives);
	return ERR_OK;
}

static err_t client_sent(void *arg, struct tcp_pcb *pcb, u16_t len)
{
	acknowledged += len;
	return ERR_OK;
}

static err_t client_connected(void *arg, struct tcp_pcb *pcb, err_t err)
{
	return ERR_OK;
}

// A connection from the machine to itself at that address.
static void meet(const ip_addr_t *at)
{
	ip_addr_t from;

	received_bytes = acknowledged = 0;
	client = server = NULL;
	listener = tcp_new_ip_type(IPADDR_TYPE_ANY);
	assert_int_equal(tcp_bind(listener, at, PORT), ERR_OK);
	listener = tcp_listen(listener);
	tcp_accept(listener, server_accepts);
	client = tcp_new_ip_type(IPADDR_TYPE_ANY);
	tcp_sent(client, client_sent);
	assert_non_null(loopback_source(at, &from));
	client->local_ip = from;
	assert_int_equal(tcp_connect(client, at, PORT, client_connected), ERR_OK);
	shim_run();
	assert_non_null(server);
	assert_int_equal(client->state, ESTABLISHED);
}

static void part(void)
{
	tcp_abort(client);
	shim_run();
	tcp_close(listener);
}

static void a_page_arrives_as_itself(void **state)
{
	ip_addr_t at = IPADDR4_INIT_BYTES(127, 0, 0, 1);
	struct page *page = bed_page(5);

	hold = true;
	meet(&at);
	assert_int_equal(pagebuf_write(client, page, 100, 3000, false), ERR_OK);
	bed_page_done(page);
	tcp_output(client);
	shim_run();
	shim_advance(NS_PER_SEC);
	assert_int_equal(received_bytes, 3000);
	assert_int_equal(acknowledged, 3000);
	assert_non_null(received);
	for (struct pbuf *q = received; q; q = q->next)
		assert_true(!q->len || page_of_phys(virt_to_phys(q->payload)) == page);
	assert_int_equal(bed_pages_released, 0); // who has it unread keeps it from changing

	// A server that reads it gets it mapped.
	received = stack_readable(received);
	assert_non_null(received);
	assert_int_equal(received->tot_len, 3000);
	assert_int_equal(pbuf_get_at(received, 0), bed_pattern(5, 100));
	assert_int_equal(pbuf_get_at(received, 2999), bed_pattern(5, 3099));
	pbuf_free(received);
	received = NULL;
	assert_int_equal(bed_pages_released, 1);
	assert_null(bed_next_tcp().packet);
	part();
	hold = false;
}

static void each_address_of_the_machine_is_reached(void **state)
{
	ip_addr_t at[] = {IPADDR4_INIT_BYTES(127, 9, 8, 7), *netif_ip_addr4(&iface_first()->netif),
			  IPADDR6_INIT_HOST(0, 0, 0, 1)};
	static const uint8_t data[20000];

	for (unsigned i = 0; i < 3; i++) {
		meet(&at[i]);
		assert_true(ip_addr_eq(&server->local_ip, &at[i]));
		assert_int_equal(tcp_write(client, data, sizeof(data), TCP_WRITE_FLAG_COPY),
				 ERR_OK);
		tcp_output(client);
		for (unsigned n = 0; n < 10; n++) {
			shim_run();
			shim_advance(NS_PER_SEC);
		}
		assert_int_equal(received_bytes, sizeof(data));
		assert_int_equal(acknowledged, sizeof(data));
		part();
	}
	assert_null(bed_next_tcp().packet);
}

static void without_memory_it_goes_later(void **state)
{
	ip_addr_t at = IPADDR4_INIT_BYTES(127, 0, 0, 1);
	static const uint8_t data[5000];

	for (unsigned k = 0; k < 12; k++) {
		meet(&at);
		shim_frames_fail_after(k);
		while (tcp_write(client, data, sizeof(data), TCP_WRITE_FLAG_COPY) != ERR_OK) {
			shim_frames_fail_off();
			shim_run();
		}
		tcp_output(client);
		shim_run();
		shim_frames_fail_off();
		for (unsigned n = 0; n < 20; n++) {
			shim_advance(NS_PER_SEC);
			shim_run();
		}
		assert_int_equal(received_bytes, sizeof(data));
		part();
	}
}

static struct pbuf *datagram;
static void datagram_comes(void *arg, struct udp_pcb *pcb, struct pbuf *p, const ip_addr_t *from,
			   u16_t port)
{
	datagram = p;
}

// Of any size: what the receiver gets lies where the sender wrote it, and nothing was copied but headers.
static void a_datagram_arrives_where_it_was_written(void **state)
{
	static const uint16_t sizes[] = {0, 1, 50, 99, 100, 101, 1472, 9000, 65507};
	ip_addr_t at[] = {IPADDR4_INIT_BYTES(127, 0, 0, 1), IPADDR6_INIT_HOST(0, 0, 0, 1)};

	for (unsigned i = 0; i < 2 * sizeof(sizes) / sizeof(sizes[0]); i++) {
		const ip_addr_t *to = &at[i % 2];
		uint16_t bytes =
		    (uint16_t)(sizes[i / 2] - (i % 2 && sizes[i / 2] > 65000 ? 20 : 0));
		struct udp_pcb *in = udp_new_ip_type(IPADDR_TYPE_ANY),
			       *out = udp_new_ip_type(IPADDR_TYPE_ANY);
		struct pbuf *p = pbuf_alloc(PBUF_TRANSPORT, bytes, PBUF_RAM), *q;
		const uint8_t *payload = p->payload;
		uint32_t have = 0;
		ip_addr_t from;
		struct netif *lo = loopback_source(to, &from);

		datagram = NULL;
		assert_int_equal(udp_bind(in, to, PORT), ERR_OK);
		udp_recv(in, datagram_comes, NULL);
		memset(p->payload, 0x5a, bytes);
		assert_int_equal(udp_sendto_if_src(out, p, to, PORT, lo, &from), ERR_OK);
		pbuf_free(p);
		shim_run();
		assert_non_null(datagram);
		assert_int_equal(datagram->tot_len, bytes);
		for (q = datagram; q; have += q->len, q = q->next)
			assert_true(!q->len || q->payload == payload + have);
		assert_int_equal(have, bytes);
		pbuf_free(datagram);
		udp_remove(in);
		udp_remove(out);
	}
	assert_int_equal(copy_bytes(COPY_OTHER), 0);
}

static void put_sum(uint8_t *ip)
{
	uint32_t sum = 0;

	ip[10] = ip[11] = 0;
	for (unsigned i = 0; i < 20; i += 2)
		sum += (uint32_t)ip[i] << 8 | ip[i + 1];
	while (sum >> 16)
		sum = (sum & 0xffff) + (sum >> 16);
	ip[10] = (uint8_t)(~sum >> 8);
	ip[11] = (uint8_t)~sum;
}

static void what_claims_to_be_from_here_is_dropped(void **state)
{
	static const uint8_t from_us[4] = {10, 0, 0, 1}, lo[4] = {127, 0, 0, 1};
	uint8_t syn[60] = {0x52, 0x54, 0, 0, 0, 1, 0x52, 0x54, 0, 0, 0, 2, 8, 0, 0x45};
	const struct netif *card = &iface_first()->netif;
	uint64_t handed = bed.handed, before = lwip_stats.tcp.recv;
	uint8_t ours[4];

	memcpy(ours, netif_ip4_addr(card), 4);
	syn[17] = 40;
	syn[22] = 64;
	syn[23] = 6;
	syn[34] = 0x80; // ports
	syn[37] = 80;
	syn[46] = 0x50;
	syn[47] = 2;
	for (unsigned i = 0; i < 4; i++) {
		memcpy(syn + 26, i == 0 ? lo : i == 1 ? ours : from_us, 4);
		memcpy(syn + 30, i < 2 ? ours : lo, 4);
		put_sum(syn + 14);
		bed_receive(syn, sizeof(syn));
	}
	assert_true(lwip_stats.tcp.recv ==
		    before); // TCP has seen none, not even to count it as wrong
	assert_true(bed.handed == handed);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup_teardown(a_page_arrives_as_itself, bed_setup, bed_teardown),
	    cmocka_unit_test_setup_teardown(each_address_of_the_machine_is_reached, bed_setup,
					    bed_teardown),
	    cmocka_unit_test_setup_teardown(a_datagram_arrives_where_it_was_written, bed_setup,
					    bed_teardown),
	    cmocka_unit_test_setup_teardown(without_memory_it_goes_later, bed_setup, bed_teardown),
	    cmocka_unit_test_setup_teardown(what_claims_to_be_from_here_is_dropped, bed_setup,
					    bed_teardown),
	};

	return cmocka_run_group_tests(tests, bed_group_setup, bed_group_teardown);
}
