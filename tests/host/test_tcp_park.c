// SPDX-License-Identifier: BSD-2-Clause
// Parked connections (net/lwip/tcp_park.c): a peer cannot tell. The same dialogue, of requests, answers, losses, old and
// broken segments, and pauses, once with the connection parked in every pause and once never, must bring the same bytes
// onto the wire, options and windows and time stamps included, and leave the same state. And what is under way is not
// parked; what is parked costs no tick; and without memory to wake one its segment comes again.
// SOURCES: tests/host/netbed.c tests/host/netbed_peer.c tests/host/netbed_digest.c kernel/netdev_list.c
// SOURCES: kernel/string.c net/netstat.c net/lwip/memory.c
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
#include "lwip/etharp.h"
#include "lwip/priv/tcp_priv.h"
#include "net/iface.h"
#include "net/pagebuf.h"
#include "net/park.h"
#include "net/stack.h"
#include "netbed.h"
#include "netbed_digest.h"
#include "shim.h"
#include "tcp_hash.h"
#include "tcp_path.h"

static struct {
	struct bed_peer *peer;
	struct tcp_parked record;
	bool parked;
	unsigned gone;
	uint64_t digest;
	uint32_t iss, irs, ts_base, ts_offset;
	uint32_t next;	   // what the peer has not heard of yet
	uint64_t heard_at; // ms: its clock
} d;
static bool parking;
static unsigned parkings, tries;

// ---- the server --------------------------------------------------------------------------------------

static void answer(struct tcp_pcb *pcb, uint32_t bytes)
{
	static const char data[32768];

	while (bytes) {
		uint16_t n = (uint16_t)MIN(bytes, (uint32_t)sizeof(data));
		bytes -= n;
		if (genbuf_write(pcb, data, n, bytes) != ERR_OK)
			return;
	}
}

static err_t on_recv(void *arg, struct tcp_pcb *pcb, struct pbuf *p, err_t err)
{
	bed_fold_value(&d.digest, 1000 + (p ? p->tot_len : 0));
	if (!p) {
		bed_fold_value(&d.digest, 7);
		return ERR_OK;
	}
	tcp_recved(pcb, p->tot_len);
	pbuf_free(p);
	answer(pcb, bed_draw(3) ? bed_draw(3000) : bed_draw(40000));
	return ERR_OK;
}

static err_t on_sent(void *arg, struct tcp_pcb *pcb, u16_t len)
{
	bed_fold_value(&d.digest, 100000U + len);
	return ERR_OK;
}

static void on_err(void *arg, err_t err)
{
	bed_fold_value(&d.digest, 500U + (uint8_t)err);
	d.peer->pcb = NULL;
}

static void serve(struct tcp_pcb *pcb)
{
	d.peer->pcb = pcb;
	tcp_recv(pcb, on_recv);
	tcp_sent(pcb, on_sent);
	tcp_err(pcb, on_err);
}

static struct tcp_pcb *wake(struct tcp_parked *parked)
{
	struct tcp_pcb *pcb = tcp_unpark(parked);

	assert_true(d.parked && parked == &d.record);
	if (!pcb)
		return NULL;
	memset(&d.record, 0x5a, sizeof(d.record));
	d.parked = false;
	serve(pcb);
	return pcb;
}

static void gone(struct tcp_parked *parked)
{
	assert_true(d.parked && parked == &d.record);
	tcp_parked_reset(parked);
	d.parked = false;
	d.gone++;
}

static const struct tcp_park_server server = {wake, gone};

static enum tcp_park_verdict park(void)
{
	enum tcp_park_verdict verdict = tcp_park(d.peer->pcb, &d.record);

	if (verdict == TCP_PARKED) {
		d.parked = true;
		d.peer->pcb = NULL;
	}
	stack_flush();
	return verdict;
}

// ---- what is compared --------------------------------------------------------------------------------

static void fold_segment(const struct bed_segment *s)
{
	const uint8_t *frame = s->packet->frame;
	const bool reset = s->flags & TCP_RST;

	for (unsigned at = 0; at < 24; at++) // but for the identification
		if (at < 18 || at > 19)
			bed_fold_value(&d.digest, frame[at]);
	bed_fold_value(&d.digest, s->flags);
	bed_fold_value(&d.digest, reset ? 0 : s->seq - d.iss);
	bed_fold_value(&d.digest, reset ? 0 : s->ack - d.irs);
	bed_fold_value(&d.digest, s->window);
	bed_fold_value(&d.digest, s->len);
	bed_fold_value(&d.digest, s->times ? s->ts_value - d.ts_base : 1);
	bed_fold_value(&d.digest, s->ts_echo);
	for (const uint8_t *o = frame + 54; o < s->data; o++) // SACK blocks
		if (!s->times && o + 20 > s->data)
			bed_fold_value(&d.digest, 2);
	if (s->times)
		d.peer->ts_echo = s->ts_value;
	if (!reset && TCP_SEQ_GEQ(d.next, s->seq) && TCP_SEQ_GT(s->seq + s->len, d.next))
		d.next = s->seq + s->len;
}

// What a peer sees sooner or later, but for what an idle time makes anew with the next data.
static void fold_state(const struct tcp_pcb *pcb)
{
	const bool idle = !pcb->unacked && !pcb->unsent;
	const uint32_t state[] = {pcb->state,
				  pcb->flags & (uint32_t)~TF_RARE,
				  pcb->rcv_nxt - d.irs,
				  pcb->rcv_wnd,
				  pcb->rcv_ann_wnd,
				  pcb->rcv_ann_right_edge - d.irs,
				  pcb->rcv_taken,
				  pcb->mss,
				  pcb->tso_limit,
				  (uint32_t)pcb->srtt,
				  (uint32_t)pcb->rttvar,
				  (uint16_t)pcb->rto,
				  pcb->path_ms,
				  pcb->nrtx,
				  pcb->dupacks,
				  pcb->flags & TF_TIMESTAMP ? pcb->ts_lastacksent - d.irs : 0,
				  pcb->ts_recent,
				  pcb->ts_offset != d.ts_offset,
				  idle ? 0 : pcb->cwnd,
				  pcb->ssthresh,
				  pcb->w_max,
				  pcb->lastack - d.iss,
				  pcb->snd_nxt - d.iss,
				  pcb->snd_lbb - d.iss,
				  pcb->snd_wl1 - d.irs,
				  pcb->snd_wl2 - d.iss,
				  pcb->snd_wnd,
				  pcb->snd_wnd_max,
				  pcb->snd_buf,
				  pcb->snd_queuelen,
				  pcb->snd_scale,
				  pcb->rcv_scale,
				  pcb->late_by,
				  pcb->reo_wider,
				  pcb->reo_persist,
				  pcb->persist_backoff,
				  pcb->ooseq != NULL,
				  pcb->keep_idle,
				  pcb->ttl};

	for (unsigned i = 0; i < ARRAY_SIZE(state); i++)
		bed_fold_value(&d.digest, state[i]);
}

static void fold(void)
{
	for (struct bed_segment s = bed_next_tcp(); s.packet; s = bed_next_tcp())
		fold_segment(&s);
	bed_fold_value(&d.digest, d.peer->pcb || d.parked);
	bed_fold_value(&d.digest, kstat_get("pagewire_tcp_connections_established", NULL));
}

// ---- the peer ----------------------------------------------------------------------------------------

static const uint8_t syns[][20] = {
    {2, 4, 5, 180, 4, 2, 8, 10, 0, 0, 9, 9, 0, 0, 0, 0, 1, 3, 3, 7}, // as Linux
    {2, 4, 5, 180, 1, 3, 3, 8, 1, 1, 4, 2},			     // as Windows
    {2, 4, 2, 24, 3, 3, 2, 1},
    {2, 4, 5, 180, 8, 10, 0, 0, 9, 9, 0, 0, 0, 0, 1, 1},
    {2, 4, 5, 180},
};
static const unsigned syn_bytes[] = {20, 12, 8, 16, 4};

static void connected(unsigned kind)
{
	struct bed_peer *peer =
	    bed_syn(syns[kind], syn_bytes[kind], (uint16_t)(20000 + bed_draw(40000)));
	struct bed_segment syn_ack = bed_next_tcp();

	if (!syn_ack.packet)
		syn_ack = bed_next_tcp();
	memset(&d, 0, sizeof(d));
	d.peer = peer;
	d.digest = 1;
	peer->times = syn_ack.times;
	peer->ts_value = 0x909;
	peer->ts_echo = syn_ack.ts_value;
	d.ts_base = syn_ack.times ? syn_ack.ts_value : 0;
	d.iss = syn_ack.seq;
	d.next = syn_ack.seq + 1;
	d.irs = peer->seq;
	bed_ack(peer, syn_ack.seq + 1);
	serve(peer->pcb);
	d.heard_at = clock_ns() / NS_PER_MS;
	d.ts_offset = peer->pcb->ts_offset;
}

static void peer_clock(void)
{
	uint64_t now = clock_ns() / NS_PER_MS;

	d.peer->ts_value += (uint32_t)(now - d.heard_at);
	d.heard_at = now;
}

static void send_from(uint32_t seq, uint8_t flags, unsigned bytes)
{
	static const char request[1400];
	uint32_t next = d.peer->seq;

	d.peer->seq = seq;
	bed_send(d.peer, flags, request, bytes);
	d.peer->seq = next;
}

static void send_odd(void)
{
	struct bed_peer *peer = d.peer;
	uint32_t times = peer->ts_value;

	switch (bed_draw(12)) {
	case 0: // keep-alive, both kinds
		send_from(peer->seq - 1, TCP_ACK, bed_draw(2));
		break;
	case 1: // what came already, or in part
		send_from(peer->seq - bed_draw(200), TCP_ACK, bed_draw(300));
		break;
	case 2: // out of order
		send_from(peer->seq + 1 + bed_draw(3000), TCP_ACK, 1 + bed_draw(500));
		break;
	case 3: // beyond the window
		send_from(peer->seq + BIT(24), TCP_ACK, bed_draw(2));
		break;
	case 4: // RFC 5961
		send_from(peer->seq + 1 + bed_draw(100), TCP_RST, 0);
		break;
	case 5:
		send_from(peer->seq + bed_draw(2), TCP_SYN, 0);
		break;
	case 6: // acknowledges what was never sent
		peer->ack += 5000000;
		send_from(peer->seq, TCP_ACK, bed_draw(2));
		peer->ack -= 5000000;
		break;
	case 7: // from before, by its time stamp
		peer->ts_value -= 1 + bed_draw(100000);
		send_from(peer->seq, TCP_ACK, bed_draw(2));
		peer->ts_value = times;
		break;
	case 8: // without one
		bed_send_options(peer, TCP_ACK, "", 0, "", 0);
		break;
	case 9:
		send_from(peer->seq, TCP_ACK | TCP_URG, 0);
		break;
	case 10: // an old acknowledgement, another window
		peer->ack -= bed_draw(1000);
		peer->window = (uint16_t)bed_draw(65536);
		send_from(peer->seq, TCP_ACK, bed_draw(2));
		break;
	default:
		peer->window = (uint16_t)(bed_draw(4) ? 10000 + bed_draw(50000) : bed_draw(3000));
		send_from(peer->seq, TCP_ACK, 0);
	}
}

// False: it sent nothing.
static bool send_acks(void)
{
	struct bed_peer *peer = d.peer;
	uint8_t sack[12] = {1, 1, 5, 10};
	uint32_t from = d.next - 1000;

	switch (bed_draw(8)) {
	case 0:
		peer->ack += bed_draw(d.next - peer->ack + 1);
		break;
	case 1: // nothing heard
		return false;
	case 2: // a hole, for who has SACK
		if (d.next - peer->ack < 3000 || peer->times)
			return false;
		for (unsigned i = 0; i < 4; i++) {
			sack[4 + i] = (uint8_t)(from >> (24 - 8 * i));
			sack[8 + i] = (uint8_t)(d.next >> (24 - 8 * i));
		}
		bed_send_options(peer, TCP_ACK, sack, sizeof(sack), "", 0);
		return true;
	case 3: // duplicates
		for (unsigned i = 0; i < 3; i++)
			bed_send(peer, TCP_ACK, "", 0);
		return true;
	default:
		peer->ack = d.next;
	}
	bed_send(peer, TCP_ACK, "", 0);
	return true;
}

static bool step(void)
{
	static const char request[1400];
	bool sent = true;

	peer_clock();
	if (!bed_draw(12))
		send_odd();
	else if (!bed_draw(4))
		bed_send(d.peer, TCP_ACK | TCP_PSH, request, 1 + bed_draw(sizeof(request) - 1));
	else
		sent = send_acks();
	if (bed_draw(2))
		shim_advance((1 + bed_draw(60)) * NS_PER_MS);
	return sent;
}

// Mostly everything is acknowledged before.
static void have_a_pause(void)
{
	uint32_t ms = bed_draw(4) ? 1000 + bed_draw(3000) : bed_draw(15000);

	for (unsigned n = 0; n < 50 && d.next != d.peer->ack && bed_draw(30); n++) {
		peer_clock();
		d.peer->window = MAX(d.peer->window, 20000);
		d.peer->ack = d.next;
		bed_send(d.peer, TCP_ACK, "", 0);
		shim_advance(20 * NS_PER_MS);
		fold();
	}
	shim_advance(ms * NS_PER_MS);
	stack_flush(); // as whoever parks
	fold();
	if (!parking || !d.peer->pcb)
		return;
	tries++;
	parkings += park() == TCP_PARKED;
}

static uint64_t dialogue(uint64_t seed)
{
	struct bed_peer
	    *bystander; // so that TCP's clock goes on; each dialogue begins with a tick of it
	bool sent;

	tcp_path_forget_all(); // what the one before learnt is not known to this one
	etharp_cleanup_netif(&iface_first()->netif);
	bystander = bed_connect(1460, 65535);
	for (uint32_t tick = tcp_ticks; tick == tcp_ticks;)
		shim_advance(NS_PER_MS);
	bed_dice(seed);
	bed_tso((uint16_t)(bed_draw(2) ? 30000 : 0));
	bed_skip();
	connected(bed_draw(ARRAY_SIZE(syns)));
	for (unsigned n = 0; n < 400 && (d.peer->pcb || d.parked); n++) {
		if (!bed_draw(12))
			have_a_pause();
		sent = step();
		fold();
		if (sent && d.peer->pcb)
			fold_state(d.peer->pcb);
		assert_non_null(bystander->pcb);
	}
	if (d.parked)
		assert_non_null(wake(&d.record));
	if (d.peer->pcb && bed_draw(2))
		tcp_close(d.peer->pcb);
	stack_flush();
	fold();
	bed_dialogue_end(d.peer);
	bed_peers_forget_one(bystander);
	return d.digest;
}

static void a_peer_sees_no_difference(void **state)
{
	parkings = tries = 0;
	parking = true;
	bed_either_way(dialogue, 120, &parking);
	print_message("%u parked of %u pauses\n", parkings, tries);
	assert_true(parkings > 1000);
}

// ---- when, and when not ------------------------------------------------------------------------------

static void idle(unsigned kind)
{
	connected(kind);
	shim_advance(2 * NS_PER_SEC);
	bed_skip();
}

// The peer acknowledges until there is nothing more to hear.
static void hear_all(void)
{
	do {
		shim_advance(50 * NS_PER_MS);
		fold();
		bed_ack(d.peer, d.next);
	} while (d.next != d.peer->pcb->snd_lbb);
	shim_advance(2 * NS_PER_SEC);
}

static void what_is_under_way_is_not_parked(void **state)
{
	connected(0);
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
	assert_non_null(wake(&d.record));
}

// Who is told when there is more room has to be there.
static void whose_window_was_kept_small_is_not_parked(void **state)
{
	struct tcp_pcb *pcb;
	uint32_t window;

	idle(0);
	pcb = d.peer->pcb;
	window = pcb->rcv_ann_wnd;
	pcb->rcv_ann_wnd = 2920;
	pcb->rcv_ann_right_edge = pcb->rcv_nxt + 2920;
	assert_int_equal(park(), TCP_PARK_LATER);
	pcb->rcv_ann_wnd = window;
	pcb->rcv_ann_right_edge = pcb->rcv_nxt + window;
	assert_int_equal(park(), TCP_PARKED);
	assert_non_null(wake(&d.record));
}

static void what_a_socket_may_have_set_is_never_parked(void **state)
{
	struct tcp_pcb *pcb;

	idle(0);
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
	assert_non_null(wake(&d.record));
}

static void ipv6_is_never_parked(void **state)
{
	bed.ipv6 = true;
	memset(&d, 0, sizeof(d));
	d.peer = bed_connect(1440, 60000);
	shim_advance(2 * NS_PER_SEC);
	assert_int_equal(park(), TCP_PARK_NEVER);
}

static void a_parked_one_counts_and_costs_no_tick(void **state)
{
	uint64_t runs;

	idle(0);
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
	assert_false(d.parked);
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

	idle(0);
	assert_int_equal(park(), TCP_PARKED);
	handed = bed.handed;
	take_all_pcbs();
	bed_send(d.peer, TCP_ACK, "hello", 5);
	bed_send(d.peer, TCP_ACK | TCP_FIN, "", 0);
	bed_ack(d.peer, d.peer->ack);
	give_all_pcbs_back();
	assert_true(d.parked);
	assert_int_equal(bed.handed, handed); // and above all no reset
	assert_true(kstat_get("pagewire_tcp_unpark_refused_total", NULL) >= refused + 3);
	d.peer->seq -= 6;
	bed_send(d.peer, TCP_ACK, "hello", 5);
	assert_false(d.parked);
	shim_advance(50 * NS_PER_MS);
	assert_int_equal(bed_next_tcp().ack, d.peer->seq);
}

static void a_reset_needs_no_pcb(void **state)
{
	struct bed_segment segment;

	idle(0);
	assert_int_equal(park(), TCP_PARKED);
	take_all_pcbs();
	gone(&d.record);
	give_all_pcbs_back();
	stack_flush();
	segment = bed_next_tcp();
	assert_int_equal(segment.flags, TCP_RST | TCP_ACK);
	assert_int_equal(segment.seq, d.next);
	assert_int_equal(segment.ack, d.peer->seq);
	assert_int_equal(kstat_get("pagewire_tcp_connections", NULL), 0);
	assert_int_equal(tcp_hash_count(TCP_HASH_PARKED), 0);
}

static void with_our_address_they_go(void **state)
{
	ip_addr_t other, ours;

	idle(0);
	ours = d.peer->pcb->local_ip;
	ip_addr_set_ip4_u32_val(other, 0x0a09080a);
	assert_int_equal(park(), TCP_PARKED);
	tcp_netif_ip_addr_changed(&other, &ours);
	assert_true(d.parked && !d.gone);
	tcp_netif_ip_addr_changed(&ours, &other);
	assert_true(!d.parked && d.gone == 1);
	stack_flush();
	assert_int_equal(bed_next_tcp().flags, TCP_RST | TCP_ACK);
}

static void a_smaller_link_is_heard_of(void **state)
{
	struct netif *netif = &iface_first()->netif;
	uint16_t mtu = netif->mtu, mss;

	idle(0);
	mss = d.peer->pcb->mss;
	assert_int_equal(park(), TCP_PARKED);
	netif->mtu = 1000;
	assert_non_null(wake(&d.record));
	netif->mtu = mtu;
	assert_int_equal(mss, 1448);
	assert_int_equal(d.peer->pcb->mss, 948);
}

static void a_syn_for_a_parked_one_is_challenged(void **state)
{
	struct bed_segment segment;

	idle(1);
	assert_int_equal(park(), TCP_PARKED);
	send_from(d.peer->seq + 77, TCP_SYN, 0);
	segment = bed_next_tcp();
	assert_int_equal(segment.flags, TCP_ACK);
	assert_int_equal(segment.seq, d.next);
	assert_int_equal(segment.ack, d.peer->seq);
	assert_int_equal(tcp_hash_count(TCP_HASH_SYN), 0);
}

static int setup(void **state)
{
	tcp_park_serve(&server);
	return bed_setup(state);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, bed_teardown)
	const struct CMUnitTest tests[] = {
	    T(a_peer_sees_no_difference),
	    T(what_is_under_way_is_not_parked),
	    T(whose_window_was_kept_small_is_not_parked),
	    T(what_a_socket_may_have_set_is_never_parked),
	    T(ipv6_is_never_parked),
	    T(a_parked_one_counts_and_costs_no_tick),
	    T(without_memory_the_segment_comes_again),
	    T(a_reset_needs_no_pcb),
	    T(with_our_address_they_go),
	    T(a_smaller_link_is_heard_of),
	    T(a_syn_for_a_parked_one_is_challenged),
	};
	return cmocka_run_group_tests_name("parked", tests, bed_group_setup, bed_group_teardown);
}
