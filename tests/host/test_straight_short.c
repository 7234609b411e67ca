// SPDX-License-Identifier: BSD-2-Clause
// Short connections, from their SYN to TIME_WAIT, give the same answers by the straight ways of their beginning and
// end as by the general one: the same dialogue, once with each, in and out of order, with wrong numbers, with options
// of all kinds, frames harmed and sound, must make the stack send the same segments, tell the server the same,
// and leave the same state after each step.
// SOURCES: tests/host/netbed.c tests/host/netbed_peer.c tests/host/netbed_digest.c kernel/netdev_list.c
// SOURCES: kernel/string.c net/netstat.c
// ARCHIVES: build/host/libnet.a
// CFLAGS: -Inet/lwip -Inet/lwip/port -Ibuild/lwip/src/include -fno-sanitize=alignment
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "kernel/kstat.h"
#include "kernel/timer.h"
#include "lwip/priv/tcp_priv.h"
#include "net/pagebuf.h"
#include "net/stack.h"
#include "net/straight.h"
#include "netbed.h"
#include "netbed_digest.h"
#include "netbed_private.h"
#include "shim.h"
#include "tcp_hash.h"
#include "tcp_straight.h"

// One connection's dialogue.
static struct {
	struct bed_peer *peer;
	uint64_t digest;
	uint32_t iss, irs; // iss: of the last SYN-ACK
	uint32_t next;	   // what the peer expects of the server
	bool served;	   // the server has it
	bool closing;	   // it answers once, and ends
	bool in_place;	   // and takes requests where they lie
	unsigned answer;   // bytes
} d;

// ---- the server --------------------------------------------------------------------------------------

static void detach(struct tcp_pcb *pcb)
{
	tcp_arg(pcb, NULL);
	tcp_take(pcb, NULL);
	tcp_recv(pcb, NULL);
	tcp_sent(pcb, NULL);
	tcp_err(pcb, NULL);
}

static void leave(struct tcp_pcb *pcb)
{
	detach(pcb);
	d.peer->pcb = NULL;
	d.served = false;
	assert_int_equal(tcp_close(pcb), ERR_OK);
}

static void answer(struct tcp_pcb *pcb)
{
	static const char bytes[8000];

	if (d.answer && genbuf_write(pcb, bytes, d.answer, false) != ERR_OK)
		bed_fold_value(&d.digest, 0xbad);
	if (d.closing)
		tcp_shutdown(pcb, 0, 1);
}

static err_t on_recv(void *arg, struct tcp_pcb *pcb, struct pbuf *p, err_t err)
{
	bed_fold_value(&d.digest, 1000 + (p ? p->tot_len : 0));
	if (!p) {
		if (bed_draw(4))
			leave(pcb);
		return ERR_OK;
	}
	d.peer->received += p->tot_len;
	tcp_recved(pcb, p->tot_len);
	pbuf_free(p);
	answer(pcb);
	return ERR_OK;
}

static int on_data(void *arg, struct tcp_pcb *pcb, const void *data, u16_t len)
{
	// The general way does not ask: it tells of the same.
	if (!d.in_place || d.closing)
		return 0;
	bed_fold_value(&d.digest, 1000U + len);
	d.peer->received += len;
	answer(pcb);
	return 1;
}

static err_t on_sent(void *arg, struct tcp_pcb *pcb, u16_t len)
{
	bed_fold_value(&d.digest, 100000U + len);
	d.peer->sent += len;
	return ERR_OK;
}

static void on_err(void *arg, err_t err)
{
	bed_fold_value(&d.digest, 500U + (uint8_t)err);
	d.peer->pcb = NULL;
	d.served = false;
}

static void serve(void)
{
	struct tcp_pcb *pcb = d.peer->pcb;

	if (!pcb || d.served)
		return;
	d.served = true;
	pcb->snd_ticks = tcp_ticks; // how long it has been up is not what is compared
	tcp_recv(pcb, on_recv);
	tcp_take(pcb, on_data);
	tcp_sent(pcb, on_sent);
	tcp_err(pcb, on_err);
}

// ---- what is compared --------------------------------------------------------------------------------

static struct tcp_pcb *find(struct tcp_pcb *list)
{
	while (list && list->remote_port != d.peer->port)
		list = list->next;
	return list;
}

static void fold_segment(const struct bed_segment *s)
{
	const uint8_t *frame = s->packet->frame;
	uint32_t base = d.iss;

	if ((s->flags & (TCP_SYN | TCP_ACK)) == (TCP_SYN | TCP_ACK)) {
		base = d.iss = s->seq;
		d.next = s->seq + 1;
	}
	for (unsigned at = 0; at < 24; at++) // but for the identification
		if (at < 18 || at > 19)
			bed_fold_value(&d.digest, frame[at]);
	bed_fold_value(&d.digest, s->flags);
	bed_fold_value(&d.digest, s->flags & TCP_RST ? 0 : s->seq - base);
	bed_fold_value(&d.digest, s->flags & TCP_RST ? 0 : s->ack - d.irs);
	bed_fold_value(&d.digest, s->window);
	bed_fold_value(&d.digest, s->len);
	bed_fold_value(&d.digest, s->mss);
	bed_fold_value(&d.digest, s->times + 2 * (s->times && s->ts_echo == d.peer->ts_value));
	if (s->flags & TCP_SYN && !s->times)
		for (const uint8_t *o = frame + 54; o < s->data; o++)
			bed_fold_value(&d.digest, *o);
	if (s->times)
		d.peer->ts_echo = s->ts_value;
	if (s->seq == d.next && !(s->flags & TCP_RST))
		d.next += s->len + !!(s->flags & TCP_FIN);
}

static void fold(void)
{
	struct tcp_pcb *pcb;

	for (struct bed_segment s = bed_next_tcp(); s.packet; s = bed_next_tcp())
		fold_segment(&s);
	serve();
	for (enum tcp_hash_kind kind = 0; kind < TCP_HASH_KINDS; kind++)
		bed_fold_value(&d.digest, tcp_hash_count(kind));
	bed_fold_value(&d.digest, d.peer->pcb != NULL);
	if ((pcb = find(tcp_active_pcbs)) || (pcb = find(tcp_tw_pcbs)))
		bed_fold_state(&d.digest, pcb, d.iss, d.irs);
}

// ---- the peer ----------------------------------------------------------------------------------------

// Mostly what Linux and Windows offer; else options in any order, broken ones among them.
static unsigned draw_options(uint8_t out[40])
{
	static const uint8_t linux_like[] = {2, 4, 5, 180, 4, 2, 8, 10, 0, 0,
					     9, 9, 0, 0,   0, 0, 1, 3,	3, 7};
	static const uint8_t plain[] = {2, 4, 5, 180, 1, 3, 3, 8, 1, 1, 4, 2};
	static const uint8_t parts[][11] = {
	    {1, 1},	     {4, 2, 4, 5, 180}, {4, 2, 4, 0, 0}, {4, 2, 4, 0, 20},  {3, 3, 3, 200},
	    {3, 3, 3, 2},    {2, 4, 2},		{1, 0},		 {4, 254, 4, 1, 2}, {2, 77, 1},
	    {4, 2, 5, 1, 1}, {2, 77, 0},	{1, 2},		 {10, 5, 10},	    {2, 8, 10}};
	unsigned bytes = 0;

	switch (bed_draw(4)) {
	case 0:
	case 1:
		memcpy(out, linux_like, sizeof(linux_like));
		return sizeof(linux_like);
	case 2:
		memcpy(out, plain, sizeof(plain));
		return sizeof(plain);
	default:
		while (bed_draw(6) && bytes < 24) {
			const uint8_t *part = parts[bed_draw(ARRAY_SIZE(parts))];
			memcpy(out + bytes, part + 1, part[0]);
			bytes += part[0];
		}
		return bytes;
	}
}

static void say_syn(uint32_t seq)
{
	uint8_t options[40] = {0};
	unsigned bytes = draw_options(options);

	d.peer->times = bytes == 20 && options[6] == 8;
	d.peer->ts_value = 0x909 << 16;
	d.peer->seq = d.irs = seq;
	bed_send_options(d.peer, TCP_SYN, options, bytes, "", 0);
}

// One number of the next segment is a little wrong, or its time stamp old.
static void be_wrong(void)
{
	switch (bed_draw(4)) {
	case 0:
		d.peer->seq += bed_draw(5) - 2;
		break;
	case 1:
		d.peer->ack += bed_draw(5) - 2;
		break;
	case 2:
		d.peer->ts_value -= 5;
		break;
	default:
		d.peer->window = bed_draw(2) ? 0 : 20000;
	}
}

static uint32_t harm(uint8_t *frame, uint32_t bytes)
{
	static const uint8_t places[] = {14, 15, 16, 17,
					 22, 23, 24, 25}; // fragments would be remembered
	if (bed_draw(12))
		return bytes;
	frame[bed_draw(2) ? 47 : places[bed_draw(ARRAY_SIZE(places))]] ^=
	    (uint8_t)(1 << bed_draw(8));
	if (bed_draw(2))
		bed_seal(frame, bytes);
	return bytes;
}

static void say_something(void)
{
	static const char request[400] = "GET / HTTP/1.1";
	uint32_t seq = d.peer->seq;
	uint16_t window = d.peer->window;
	bool wrong = !bed_draw(6);

	if (find(tcp_active_pcbs) || tcp_hash_count(TCP_HASH_SYN) ? !bed_draw(16) : bed_draw(2)) {
		say_syn(bed_draw(2) ? d.irs : d.irs + bed_draw(100000));
		return;
	}
	d.peer->ack = d.next;
	d.peer->ts_value += bed_draw(2);
	if (wrong)
		be_wrong();
	switch (bed_draw(16)) {
	case 0:
		bed_send(d.peer, bed_draw(3) ? TCP_RST | TCP_ACK : TCP_RST, "", 0);
		break;
	case 1:
	case 2:
	case 3:
	case 4:
		bed_send(d.peer, TCP_ACK | TCP_PSH, request, 1 + bed_draw(sizeof(request) - 1));
		break;
	case 5:
	case 6:
	case 7:
		bed_send(d.peer, TCP_ACK | TCP_FIN | (bed_draw(2) ? TCP_PSH : 0), "", 0);
		break;
	case 8:
	case 9:
		d.peer->ack -= bed_draw(MIN(d.next - d.iss, 3000U) + 1); // not all of it yet
		bed_send(d.peer, TCP_ACK, "", 0);
		break;
	default:
		bed_send(d.peer, TCP_ACK, "", 0);
	}
	if (wrong) {
		d.peer->seq = seq;
		d.peer->window = window;
	}
}

static void server_acts(void)
{
	if (!d.peer->pcb)
		return;
	if (bed_draw(2))
		answer(d.peer->pcb);
	else
		leave(d.peer->pcb);
	if (d.peer->pcb)
		tcp_output(d.peer->pcb);
	stack_flush();
}

static void clear_away(void)
{
	struct tcp_pcb *pcb;

	bed_harm = NULL;
	if (d.peer->pcb)
		detach(d.peer->pcb);
	while ((pcb = find(tcp_active_pcbs)) || (pcb = find(tcp_tw_pcbs)))
		tcp_abort(pcb);
	bed_skip();
	bed_complete_all();
	shim_run();
	shim_advance(100 * NS_PER_SEC);
	bed_skip();
	bed_complete_all();
	shim_run();
	bed_peers_forget_one(d.peer);
}

static uint64_t dialogue(uint64_t seed)
{
	uint8_t options[40] = {0};

	shim_advance(100 * NS_PER_SEC - clock_ns() % (100 * NS_PER_SEC));
	bed_dice(seed);
	memset(&d, 0, sizeof(d));
	d.closing = bed_draw(2);
	d.in_place = bed_draw(2);
	d.answer = bed_draw(3) ? bed_draw(8000) : 0;
	d.peer = bed_syn(options, 0, 20000);
	d.irs = d.peer->seq - 1;
	fold();
	say_syn(0x2000);
	fold();
	if (bed_draw(4))
		bed_harm = harm;
	for (unsigned n = 0; n < 30; n++) {
		say_something();
		fold();
		if (!bed_draw(5))
			server_acts();
		fold();
	}
	clear_away();
	return d.digest;
}

static void short_connections_are_the_same_both_ways(void **state)
{
	assert_true(bed_both_ways(dialogue, 1500, "pagewire_net_straight_established_total") >
		    5000);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup_teardown(short_connections_are_the_same_both_ways, bed_setup,
					    bed_teardown),
	};
	return cmocka_run_group_tests_name("straight_short", tests, bed_group_setup,
					   bed_group_teardown);
}
