// SPDX-License-Identifier: BSD-2-Clause
// Parked connections (net/lwip/tcp_park.c): a peer cannot tell. The same dialogue, of requests, answers, losses, old
// and broken segments, and pauses, once with the connection parked in every pause and once never, must bring the
// same bytes
// onto the wire, options and windows and time stamps included, and leave the same state. Over IPv4 and over IPv6. The
// rest is test_tcp_park_when.c's.
// SOURCES: tests/host/netbed.c tests/host/netbed_peer.c tests/host/netbed_digest.c kernel/netdev_list.c
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
#include "lwip/etharp.h"
#include "lwip/priv/tcp_priv.h"
#include "net/iface.h"
#include "net/pagebuf.h"
#include "net/stack.h"
#include "netbed.h"
#include "netbed_digest.h"
#include "netbed_park.h"
#include "shim.h"
#include "tcp_hash.h"
#include "tcp_path.h"

static struct {
	struct bed_peer *peer;
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

static enum tcp_park_verdict park(void)
{
	return bed_park_of(d.peer);
}

// ---- what is compared --------------------------------------------------------------------------------

static void fold_segment(const struct bed_segment *s)
{
	const uint8_t *frame = s->packet->frame;
	const bool reset = s->flags & TCP_RST;
	const unsigned tcp_at = bed_tcp_at(frame);

	// But for the identification; and the flow label, which goes with the ports (bed_check_label).
	for (unsigned at = 0; at < 24; at++)
		if (d.peer->ipv6 ? at < 15 || at > 17 : at < 18 || at > 19)
			bed_fold_value(&d.digest, frame[at]);
	bed_fold_value(&d.digest, s->flags);
	bed_fold_value(&d.digest, reset ? 0 : s->seq - d.iss);
	bed_fold_value(&d.digest, reset ? 0 : s->ack - d.irs);
	bed_fold_value(&d.digest, s->window);
	bed_fold_value(&d.digest, s->len);
	bed_fold_value(&d.digest, s->times ? s->ts_value - d.ts_base : 1);
	bed_fold_value(&d.digest, s->ts_echo);
	for (const uint8_t *o = frame + tcp_at + 20; o < s->data; o++) // SACK blocks
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
	bed_fold_value(&d.digest, d.peer->pcb || bed_park.parked);
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
	bed_park_start(serve);
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
	for (unsigned n = 0; n < 400 && (d.peer->pcb || bed_park.parked); n++) {
		if (!bed_draw(12))
			have_a_pause();
		sent = step();
		fold();
		if (sent && d.peer->pcb)
			fold_state(d.peer->pcb);
		assert_non_null(bystander->pcb);
	}
	if (bed_park.parked)
		assert_non_null(bed_park_wake(&bed_park.record));
	if (d.peer->pcb && bed_draw(2))
		tcp_close(d.peer->pcb);
	stack_flush();
	fold();
	bed_dialogue_end(d.peer);
	bed_peers_forget_one(bystander);
	return d.digest;
}

static void sees_no_difference(void)
{
	parkings = tries = 0;
	parking = true;
	bed_either_way(dialogue, 120, &parking);
	print_message("%u parked of %u pauses\n", parkings, tries);
	assert_true(parkings > 1000);
}

static void a_peer_sees_no_difference(void **state)
{
	sees_no_difference();
}

static void a_peer_over_ipv6_sees_no_difference(void **state)
{
	bed.ipv6 = true;
	sees_no_difference();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup_teardown(a_peer_sees_no_difference, bed_setup, bed_teardown),
	    cmocka_unit_test_setup_teardown(a_peer_over_ipv6_sees_no_difference, bed_setup,
					    bed_teardown),
	};
	return cmocka_run_group_tests_name("parked", tests, bed_group_setup, bed_group_teardown);
}
