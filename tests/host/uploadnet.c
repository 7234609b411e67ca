// SPDX-License-Identifier: BSD-2-Clause
// Clients that upload, and the server and the path between, see uploadnet.h.
#include "uploadnet.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include "lwip/priv/tcp_priv.h"
#include "net/stack.h"
#include "shim.h"

#define BEGIN	14600
#define LARGEST (16U << 20)

struct upload uploads[UPLOADS_MOST];
static uint64_t now_ms;

static uint8_t pattern(uint32_t at)
{
	return (uint8_t)(at * 7 + (at >> 8) * 13 + (at >> 16));
}

// ---- the server -------------------------------------------------------------------------------------

static void check(struct upload *up, const struct pbuf *p, uint32_t from, uint32_t bytes)
{
	for (uint32_t i = 0; i < bytes; i++)
		assert_int_equal(((const uint8_t *)p->payload)[from + i],
				 pattern(up->peer->received + i));
	up->peer->received += bytes;
}

static void take(struct upload *up)
{
	while (up->held && up->allowed) {
		struct pbuf *p = up->held;
		uint32_t n = MIN(up->allowed, (uint32_t)p->len);

		check(up, p, 0, n);
		up->allowed -= n;
		if (up->peer->pcb)
			tcp_recved(up->peer->pcb, (u16_t)n);
		if (n < p->len) {
			p->payload = (uint8_t *)p->payload + n;
			p->len = (u16_t)(p->len - n);
			return;
		}
		up->held = p->next;
		p->next = NULL;
		pbuf_free(p);
	}
}

static err_t received(void *arg, struct tcp_pcb *pcb, struct pbuf *p, err_t err)
{
	struct upload *up = arg;
	struct pbuf **last = &up->held;

	if (!p)
		return ERR_OK;
	while (*last)
		last = &(*last)->next;
	*last = p;
	if (!up->takes)
		up->allowed = UINT32_MAX;
	take(up);
	return ERR_OK;
}

static void gone(void *arg, err_t err)
{
	struct upload *up = arg;

	up->peer->pcb = NULL;
	up->peer->error = err;
}

// ---- the path ---------------------------------------------------------------------------------------

void upload_begin(struct upload *up, uint32_t rtt)
{
	static const uint8_t options[] = {2, 4, 5, 0xb4, 1, 3, 3, 7, 4, 2, 1, 1};
	struct bed_segment syn_ack;

	memset(up, 0, sizeof(*up));
	up->rtt = rtt;
	up->peer = bed_syn(options, sizeof(options), 65535);
	syn_ack = bed_next_tcp();
	if (!syn_ack.packet)
		syn_ack = bed_next_tcp(); // behind ARP
	shim_advance(rtt * NS_PER_MS);
	bed_ack(up->peer, syn_ack.seq + 1);
	up->base = up->next = up->una = up->peer->seq;
	up->goal = up->base;
	up->edge = up->base + syn_ack.window;
	up->cwnd = BEGIN;
	tcp_arg(up->peer->pcb, up);
	tcp_recv(up->peer->pcb, received);
	tcp_err(up->peer->pcb, gone);
	bed_skip();
}

static void launch(struct upload *up, int way, uint32_t seq, uint32_t len, uint32_t window)
{
	uint32_t slot = up->heads[way]++ % UPLOAD_FLIGHTS;

	assert_true(up->heads[way] - up->tails[way] < UPLOAD_FLIGHTS);
	up->flights[way][slot] =
	    (__typeof__(up->flights[0][0])){now_ms + up->rtt / 2, seq, len, window};
}

static void send(struct upload *up)
{
	uint32_t budget = up->rate ? up->rate : UINT32_MAX;

	if (now_ms - up->progress_at > 4 * up->rtt + 20 && up->una != up->goal) {
		up->next = up->una;
		up->cwnd = BEGIN;
		up->progress_at = now_ms;
	}
	while (up->next != up->goal) {
		uint32_t len = MIN(UPLOAD_SEGMENT, up->goal - up->next);

		if (TCP_SEQ_GT(up->next + len, up->edge) ||
		    TCP_SEQ_GT(up->next + len, up->una + up->cwnd) || budget < len)
			break;
		budget -= len;
		if (up->lose && TCP_SEQ_GEQ(up->next, up->base + up->lose_at))
			up->lose--;
		else
			launch(up, 0, up->next, len, 0);
		up->next += len;
	}
}

static void arrive(struct upload *up)
{
	static uint8_t data[UPLOAD_SEGMENT];

	for (; up->heads[0] != up->tails[0]; up->tails[0]++) {
		__typeof__(up->flights[0][0]) *f = &up->flights[0][up->tails[0] % UPLOAD_FLIGHTS];

		if (f->due > now_ms)
			return;
		for (uint32_t i = 0; i < f->len; i++)
			data[i] = pattern(f->seq - up->base + i);
		up->peer->seq = f->seq;
		bed_send(up->peer, TCP_ACK, data, f->len);
	}
}

static void hear(struct upload *up)
{
	for (; up->heads[1] != up->tails[1]; up->tails[1]++) {
		__typeof__(up->flights[0][0]) *f = &up->flights[1][up->tails[1] % UPLOAD_FLIGHTS];
		uint32_t edge = f->seq + f->window;

		if (f->due > now_ms)
			return;
		// The least that the window can say is 128 bytes.
		assert_true(TCP_SEQ_GT(edge + (1U << TCP_RCV_SCALE), up->edge));
		if (TCP_SEQ_GT(edge, up->edge))
			up->edge = edge;
		up->widest = MAX(up->widest, f->window);
		if (TCP_SEQ_GT(f->seq, up->una)) {
			up->cwnd = MIN(up->cwnd + (f->seq - up->una), LARGEST);
			up->una = f->seq;
			up->progress_at = now_ms;
			if (TCP_SEQ_LT(up->next, up->una))
				up->next = up->una;
		}
	}
}

static void answers(unsigned count)
{
	struct bed_segment segment;

	while ((segment = bed_next_tcp()).packet)
		for (unsigned i = 0; i < count; i++)
			if (uploads[i].peer && uploads[i].peer->port == segment.dest)
				launch(&uploads[i], 1, segment.ack, 0,
				       (uint32_t)segment.window << TCP_RCV_SCALE);
}

void upload_millisecond(unsigned count)
{
	for (unsigned i = 0; i < count; i++) {
		if (!uploads[i].peer)
			continue;
		hear(&uploads[i]);
		send(&uploads[i]);
		arrive(&uploads[i]);
		if (uploads[i].takes) {
			uploads[i].allowed = uploads[i].takes;
			take(&uploads[i]);
			stack_flush();
		}
		answers(count);
	}
	shim_advance(NS_PER_MS);
	now_ms++;
	answers(count);
}

static bool done(unsigned count)
{
	for (unsigned i = 0; i < count; i++)
		if (uploads[i].peer && uploads[i].una != uploads[i].goal)
			return false;
	return true;
}

void upload_ask(struct upload *up, uint32_t bytes)
{
	up->goal += bytes;
	up->progress_at = now_ms;
}

uint32_t upload_run(unsigned count)
{
	uint64_t start = now_ms;

	while (!done(count)) {
		assert_true(now_ms - start < 600000);
		upload_millisecond(count);
	}
	return (uint32_t)(now_ms - start);
}

void upload_finish(struct upload *up)
{
	assert_null(up->held);
	up->peer->seq = up->next;
	bed_send(up->peer, TCP_RST, "", 0);
	bed_skip();
	assert_null(up->peer->pcb);
	up->peer = NULL;
}
