// SPDX-License-Identifier: BSD-2-Clause
// Which connections are parked (net/lwip/tcp_park.c) and when, what a parked one costs and counts as, and how it ends
// or goes on: without memory its segment comes again. Each over IPv4 and over IPv6. What a peer sees is
// test_tcp_park.c's.
// SOURCES: tests/host/netbed.c tests/host/netbed_peer.c kernel/netdev_list.c
// SOURCES: tests/host/netbed_park.c kernel/string.c net/netstat.c net/lwip/memory.c
// ARCHIVES: build/host/libnet.a
// CFLAGS: -Inet/lwip -Inet/lwip/port -Ibuild/lwip/src/include -fno-sanitize=alignment
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include "kernel/kstat.h"
#include "kernel/pool.h"
#include "kernel/timer.h"
#include "lwip/ip.h"
#include "lwip/priv/tcp_priv.h"
#include "net/iface.h"
#include "net/pagebuf.h"
#include "net/stack.h"
#include "net/straight.h"
#include "netbed_park.h"
#include "shim.h"
#include "tcp_hash.h"
#include "tcp_park.h"
#include "tcp_path.h"
#include "tcp_straight_find.h"

static struct {
	struct bed_peer *peer;
	uint32_t next; // what the peer has not heard of yet
} d;

static err_t on_recv(void *arg, struct tcp_pcb *pcb, struct pbuf *p, err_t err)
{
	static const char data[10000];

	if (!p)
		return ERR_OK;
	tcp_recved(pcb, p->tot_len);
	pbuf_free(p);
	assert_int_equal(genbuf_write(pcb, data, sizeof(data), false), ERR_OK);
	return ERR_OK;
}

static void serve(struct tcp_pcb *pcb)
{
	d.peer->pcb = pcb;
	tcp_arg(pcb, d.peer);
	tcp_recv(pcb, on_recv);
}

static enum tcp_park_verdict park(void)
{
	return bed_park_of(d.peer);
}

static void connected(bool times)
{
	memset(&d, 0, sizeof(d));
	bed_park_start(serve);
	d.peer = times ? bed_connect_times(1460, 60000, 0x909) : bed_connect(1460, 60000);
	d.next = bed_iss(d.peer);
	serve(d.peer->pcb);
}

static void send_from(uint32_t seq, uint8_t flags, unsigned bytes)
{
	static const char data[1400];
	uint32_t next = d.peer->seq;

	d.peer->seq = seq;
	bed_send(d.peer, flags, data, bytes);
	d.peer->seq = next;
}

static void hear(void)
{
	for (struct bed_segment s = bed_next_tcp(); s.packet; s = bed_next_tcp())
		if (s.seq == d.next)
			d.next += s.len;
}

static void idle(bool times)
{
	connected(times);
	shim_advance(2 * NS_PER_SEC);
	bed_skip();
}

// The peer acknowledges until there is nothing more to hear.
static void hear_all(void)
{
	do {
		shim_advance(50 * NS_PER_MS);
		hear();
		bed_ack(d.peer, d.next);
	} while (d.next != d.peer->pcb->snd_lbb);
	shim_advance(2 * NS_PER_SEC);
}

static void what_is_under_way_is_not_parked(void **state)
{
	connected(true);
	assert_int_equal(park(), TCP_PARK_LATER); // it has only just begun
	shim_advance(2 * NS_PER_SEC);
	bed_send(d.peer, TCP_ACK, "x", 1);
	assert_int_equal(park(),
			 TCP_PARK_LATER); // an answer, or the acknowledgement of the request
	hear_all();
	send_from(d.peer->seq + 10, TCP_ACK, 5);
	shim_advance(2 * NS_PER_SEC);
	assert_int_equal(park(), TCP_PARK_LATER); // out of order
	bed_send(d.peer, TCP_ACK, "0123456789", 10);
	d.peer->seq += 5;
	hear_all();
	assert_int_equal(park(), TCP_PARKED);
	assert_non_null(bed_park_wake(&bed_park.record));
}

// Who is told when there is more room has to be there.
static void whose_window_was_kept_small_is_not_parked(void **state)
{
	struct tcp_pcb *pcb;
	uint32_t window;

	idle(true);
	pcb = d.peer->pcb;
	window = pcb->rcv_ann_wnd;
	pcb->rcv_ann_wnd = 2920;
	pcb->rcv_ann_right_edge = pcb->rcv_nxt + 2920;
	assert_int_equal(park(), TCP_PARK_LATER);
	pcb->rcv_ann_wnd = window;
	pcb->rcv_ann_right_edge = pcb->rcv_nxt + window;
	assert_int_equal(park(), TCP_PARKED);
	assert_non_null(bed_park_wake(&bed_park.record));
}

static void what_a_socket_may_have_set_is_never_parked(void **state)
{
	struct tcp_pcb *pcb;

	idle(true);
	pcb = d.peer->pcb;
	ip_set_option(pcb, SOF_KEEPALIVE);
	assert_int_equal(park(), TCP_PARK_NEVER);
	ip_reset_option(pcb, SOF_KEEPALIVE);
	pcb->tos = 8;
	assert_int_equal(park(), TCP_PARK_NEVER);
	pcb->tos = 0;
	pcb->timers.user_timeout = 1000;
	assert_int_equal(park(), TCP_PARK_NEVER);
	pcb->timers.user_timeout = 0;
	assert_int_equal(park(), TCP_PARKED);
	assert_non_null(bed_park_wake(&bed_park.record));
}

// Its segments never come by wire.
static void a_connection_with_ourselves_is_never_parked(void **state)
{
	struct tcp_pcb *pcb;

	idle(true);
	pcb = d.peer->pcb;
	TCP_RMV_ACTIVE(pcb);
	tcp_clear_flags(pcb, TF_WIRE6);
	pcb->remote_ip = pcb->local_ip;
	if (bed.ipv6) { // link-local addresses of our own are not reached that way
		IP_ADDR6_HOST(&pcb->local_ip, 0, 0, 0, 1);
		IP_ADDR6_HOST(&pcb->remote_ip, 0, 0, 0, 1);
		ip6_addr_clear_zone(ip_2_ip6(&pcb->local_ip));
		ip6_addr_clear_zone(ip_2_ip6(&pcb->remote_ip));
	}
	tcp_pcb_reg(&tcp_active_pcbs, pcb);
	assert_int_equal(park(), TCP_PARK_NEVER);
}

// Both of its ends, a zone where they have one, and what the straight way makes of them.
static void one_that_is_woken_has_its_ends(void **state)
{
	struct tcp_pcb before;
	const struct tcp_pcb *pcb;
	ip_addr_t peer;

	idle(true);
	before = *d.peer->pcb;
	assert_int_equal(park(), TCP_PARKED);
	peer = tcp_parked_peer(&bed_park.record);
	assert_true(ip_addr_eq(&peer, &before.remote_ip));
	assert_non_null(bed_park_wake(&bed_park.record));
	pcb = d.peer->pcb;
	assert_true(ip_addr_eq(&pcb->local_ip, &before.local_ip));
	assert_true(ip_addr_eq(&pcb->remote_ip, &before.remote_ip));
	assert_int_equal(pcb->local_port, before.local_port);
	assert_int_equal(pcb->remote_port, before.remote_port);
	assert_int_equal(pcb->wire_addresses, before.wire_addresses);
	assert_int_equal(pcb->wire_ports, before.wire_ports);
	assert_int_equal(pcb->wire_seed, before.wire_seed);
	assert_int_equal(pcb->node.hash, before.node.hash);
	assert_int_equal(pcb->flags & TF_WIRE6, before.flags & TF_WIRE6);
}

// What somebody else sends, who differs in one thing, and on IPv6 from the same address on another link.
static void it_is_not_taken_for_anothers(void **state)
{
	struct tcp_addresses6 addresses;
	struct tcp_hash_node *node;
	struct tcp_pcb before;
	uint8_t index = netif_get_index(&iface_first()->netif);
	uint64_t words;

	idle(true);
	before = *d.peer->pcb;
	memcpy(addresses.dest, ip_2_ip6(&before.local_ip)->addr, 16);
	memcpy(addresses.source, ip_2_ip6(&before.remote_ip)->addr, 16);
	assert_int_equal(park(), TCP_PARKED);
	node = tcp_hash_find(before.node.hash, NULL);
	assert_int_equal(node->kind, TCP_HASH_PARKED);
	assert_int_equal(tcp_park_is_between(node, before.wire_addresses, before.wire_ports),
			 !bed.ipv6);
	assert_false(tcp_park_is_between(node, before.wire_addresses ^ 1, before.wire_ports));
	assert_int_equal(tcp_park_is_between6(node, &addresses, before.wire_ports, index),
			 bed.ipv6);
	memcpy(&words, addresses.dest, sizeof(words)); // what would be IPv4's addresses
	assert_false(tcp_park_is_between(node, words, before.wire_ports));
	assert_false(tcp_park_is_between6(node, &addresses, before.wire_ports, index + 1));
	assert_false(tcp_park_is_between6(node, &addresses, before.wire_ports ^ 1, index));
	addresses.source[15] ^= 1;
	assert_false(tcp_park_is_between6(node, &addresses, before.wire_ports, index));
	addresses.source[15] ^= 1;
	addresses.dest[0] ^= 1;
	assert_false(tcp_park_is_between6(node, &addresses, before.wire_ports, index));
	d.peer->port++;
	bed_send(d.peer, TCP_ACK, "x", 1);
	d.peer->port--;
	assert_true(bed_park.parked);
	assert_non_null(bed_park_wake(&bed_park.record));
}

// Whatever comes of it: on the general way as on the straight one.
static void any_segment_wakes_it(void **state)
{
	static const uint8_t flags[] = {TCP_ACK,	   TCP_ACK | TCP_PSH, TCP_RST,
					TCP_FIN | TCP_ACK, TCP_SYN,	      TCP_ACK | TCP_URG};

	for (unsigned i = 0; i < 2 * ARRAY_SIZE(flags); i++) {
		straight_on = i % 2;
		idle(true);
		assert_int_equal(park(), TCP_PARKED);
		send_from(d.peer->seq - (i < 2), flags[i / 2], 0); // the first: a keep-alive
		assert_false(bed_park.parked);
		shim_advance(100 * NS_PER_MS);
		bed_skip();
		while (tcp_active_pcbs)
			tcp_abort(tcp_active_pcbs);
		stack_flush();
		bed_skip();
	}
	straight_on = true;
}

static void a_parked_one_counts_and_costs_no_tick(void **state)
{
	uint64_t runs;

	idle(true);
	assert_int_equal(park(), TCP_PARKED);
	assert_int_equal(kstat_get("pagewire_tcp_connections", NULL), 1);
	assert_int_equal(kstat_get("pagewire_tcp_connections_established", NULL), 1);
	assert_int_equal(kstat_get("pagewire_tcp_connections_parked", NULL), 1);
	assert_null(tcp_active_pcbs);
	shim_advance(NS_PER_SEC);
	runs = kstat_get("pagewire_tcp_timer_visits_total", NULL);
	shim_advance(1000 * NS_PER_SEC);
	assert_int_equal(kstat_get("pagewire_tcp_timer_visits_total", NULL), runs);
	bed_send(d.peer, TCP_ACK, "x", 1);
	assert_false(bed_park.parked);
	assert_int_equal(kstat_get("pagewire_tcp_connections", NULL), 1);
	assert_int_equal(kstat_get("pagewire_tcp_connections_parked", NULL), 0);
	shim_advance(50 * NS_PER_MS);
	assert_int_equal(bed_next_tcp().ack, d.peer->seq);
}

// Takes all PCBs that there may be, and gives them back.
static void *taken[512];

static struct pool *pcb_pool(void)
{
	struct pool *pool = pool_first();

	while (strcmp(pool->name, "lwip_TCP_PCB"))
		pool = pool->next;
	return pool;
}

static void take_all_pcbs(void)
{
	unsigned n = 0;

	pcb_pool()->maximum = pcb_pool()->total;
	while ((taken[n] = memp_malloc(MEMP_TCP_PCB)))
		assert_true(++n < ARRAY_SIZE(taken));
}

static void give_all_pcbs_back(void)
{
	pcb_pool()->maximum = MEMP_NUM_TCP_PCB;
	for (unsigned n = 0; taken[n]; n++)
		memp_free(MEMP_TCP_PCB, taken[n]);
}

static void without_memory_the_segment_comes_again(void **state)
{
	uint64_t refused = kstat_get("pagewire_tcp_unpark_refused_total", NULL);
	uint64_t handed;

	idle(true);
	assert_int_equal(park(), TCP_PARKED);
	handed = bed.handed;
	take_all_pcbs();
	bed_send(d.peer, TCP_ACK, "hello", 5);
	bed_send(d.peer, TCP_ACK | TCP_FIN, "", 0);
	bed_ack(d.peer, d.peer->ack);
	give_all_pcbs_back();
	assert_true(bed_park.parked);
	assert_int_equal(bed.handed, handed); // and above all no reset
	assert_true(kstat_get("pagewire_tcp_unpark_refused_total", NULL) >= refused + 3);
	d.peer->seq -= 6;
	bed_send(d.peer, TCP_ACK, "hello", 5);
	assert_false(bed_park.parked);
	shim_advance(50 * NS_PER_MS);
	assert_int_equal(bed_next_tcp().ack, d.peer->seq);
}

static void a_reset_needs_no_pcb(void **state)
{
	struct bed_segment segment;

	idle(true);
	assert_int_equal(park(), TCP_PARKED);
	take_all_pcbs();
	bed_park_gone(&bed_park.record);
	give_all_pcbs_back();
	stack_flush();
	segment = bed_next_tcp();
	assert_int_equal(segment.flags, TCP_RST | TCP_ACK);
	assert_int_equal(segment.seq, d.next);
	assert_int_equal(segment.ack, d.peer->seq);
	assert_int_equal(kstat_get("pagewire_tcp_connections", NULL), 0);
	assert_int_equal(tcp_hash_count(TCP_HASH_PARKED), 0);
}

static err_t another_link_init(struct netif *netif)
{
	netif->name[0] = netif->name[1] = 'x';
	netif->mtu = 1500;
	return ERR_OK;
}

// Which is a link-local address's own, whatever the default is.
static void a_reset_goes_by_the_peers_link(void **state)
{
	static struct netif another;
	struct bed_segment segment;

	idle(true);
	assert_int_equal(park(), TCP_PARKED);
	netif_add_noaddr(&another, NULL, another_link_init, NULL);
	netif_set_up(&another);
	netif_set_link_up(&another);
	netif_set_default(&another);
	bed_park_gone(&bed_park.record);
	netif_set_default(&iface_first()->netif);
	netif_remove(&another);
	stack_flush();
	segment = bed_next_tcp();
	assert_int_equal(segment.flags, TCP_RST | TCP_ACK);
	assert_int_equal(segment.seq, d.next);
}

static void with_our_address_they_go(void **state)
{
	ip_addr_t other, ours, nearly;

	idle(true);
	ours = nearly = d.peer->pcb->local_ip;
	ip_addr_set_ip4_u32_val(other, 0x0a09080a);
	ip_2_ip6(&nearly)->addr[bed.ipv6 ? 3 : 0] ^= BIT(31);
	assert_int_equal(park(), TCP_PARKED);
	tcp_netif_ip_addr_changed(&other, &ours);
	tcp_netif_ip_addr_changed(&nearly, &ours);
	if (bed.ipv6) { // the same on another link
		ip_addr_copy(nearly, ours);
		ip6_addr_set_zone(ip_2_ip6(&nearly), ip6_addr_zone(ip_2_ip6(&ours)) + 1);
		tcp_netif_ip_addr_changed(&nearly, &ours);
	}
	assert_true(bed_park.parked && !bed_park.gone);
	tcp_netif_ip_addr_changed(&ours, &other);
	assert_true(!bed_park.parked && bed_park.gone == 1);
	stack_flush();
	assert_int_equal(bed_next_tcp().flags, TCP_RST | TCP_ACK);
}

static void a_smaller_link_is_heard_of(void **state)
{
	struct netif *netif = &iface_first()->netif;
	uint16_t *link =
	    bed.ipv6 ? &netif->mtu6 : &netif->mtu; // a router may say less for IPv6 alone
	uint16_t mtu = *link, mss, headers = bed.ipv6 ? 72 : 52;

	idle(true);
	mss = d.peer->pcb->mss;
	assert_int_equal(park(), TCP_PARKED);
	*link = 1300;
	assert_non_null(bed_park_wake(&bed_park.record));
	*link = mtu;
	assert_int_equal(mss, 1500 - headers);
	assert_int_equal(d.peer->pcb->mss, 1300 - headers);
}

static void a_syn_for_a_parked_one_is_challenged(void **state)
{
	struct bed_segment segment;

	idle(false);
	assert_int_equal(park(), TCP_PARKED);
	send_from(d.peer->seq + 77, TCP_SYN, 0);
	segment = bed_next_tcp();
	assert_int_equal(segment.flags, TCP_ACK);
	assert_int_equal(segment.seq, d.next);
	assert_int_equal(segment.ack, d.peer->seq);
	assert_int_equal(tcp_hash_count(TCP_HASH_SYN), 0);
}

// A path that was found to take less while the connection waited, by another to the same address.
static void a_smaller_path_is_heard_of(void **state)
{
	struct tcp_pcb *pcb;
	uint16_t mss;

	tcp_path_forget_all();
	idle(true);
	pcb = d.peer->pcb;
	mss = pcb->mss;
	pcb->mss -= 100;
	tcp_path_got_through(pcb);
	pcb->mss = mss;
	assert_int_equal(park(), TCP_PARKED);
	assert_non_null(bed_park_wake(&bed_park.record));
	tcp_path_forget_all();
	assert_int_equal(d.peer->pcb->mss, mss - 100);
}

static int setup6(void **state)
{
	int err = bed_setup(state);

	bed.ipv6 = true;
	return err;
}

int main(void)
{
#define BOTH(name)                                                                                 \
	cmocka_unit_test_setup_teardown(name, bed_setup, bed_teardown),                            \
	    cmocka_unit_test_setup_teardown(name, setup6, bed_teardown)
	const struct CMUnitTest tests[] = {
	    BOTH(what_is_under_way_is_not_parked),
	    BOTH(whose_window_was_kept_small_is_not_parked),
	    BOTH(what_a_socket_may_have_set_is_never_parked),
	    BOTH(a_connection_with_ourselves_is_never_parked),
	    BOTH(one_that_is_woken_has_its_ends),
	    BOTH(it_is_not_taken_for_anothers),
	    BOTH(any_segment_wakes_it),
	    BOTH(a_parked_one_counts_and_costs_no_tick),
	    BOTH(without_memory_the_segment_comes_again),
	    BOTH(a_reset_needs_no_pcb),
	    BOTH(a_reset_goes_by_the_peers_link),
	    BOTH(with_our_address_they_go),
	    BOTH(a_smaller_link_is_heard_of),
	    BOTH(a_smaller_path_is_heard_of),
	    BOTH(a_syn_for_a_parked_one_is_challenged),
	};
	return cmocka_run_group_tests_name("when parked", tests, bed_group_setup,
					   bed_group_teardown);
}
