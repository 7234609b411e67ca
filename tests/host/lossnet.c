// SPDX-License-Identifier: BSD-2-Clause
// A lossy path and a receiver at its end, see lossnet.h.
#include "lossnet.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "kernel/kstat.h"
#include "lwip/priv/tcp_priv.h"
#include "net/pagebuf.h"
#include "net/stack.h"
#include "shim.h"

#define FLIGHTS 65536
#define SHIFT	7
#define WINDOW	(4U << 20)

// On the way: a segment to the receiver (len), or an ACK with its blocks to the server.
struct flight {
	uint64_t due; // ms
	uint32_t seq, len, ack;
	uint32_t stamp; // down: TSval; up: TSecr
	uint8_t seed;
	unsigned blocks;
	uint32_t block[8];
};
static struct flight flights[2][FLIGHTS]; // down, up: rings, in the order of due
static uint32_t heads[2], tails[2];

static void count(struct lossnet *net, int sign)
{
	net->timeouts += sign * kstat_get("pagewire_tcp_timeouts_total", NULL);
	net->probes += sign * kstat_get("pagewire_tcp_tail_loss_probes_total", NULL);
	net->fast += sign * kstat_get("pagewire_tcp_fast_recoveries_total", NULL);
	net->resent_bytes += sign * kstat_get("pagewire_tcp_resent_bytes_total", NULL);
	net->undone += sign * kstat_get("pagewire_tcp_recoveries_undone_total", NULL);
	net->overdue += sign * kstat_get("pagewire_tcp_overdue_total", NULL);
	net->lost_again += sign * kstat_get("pagewire_tcp_lost_again_total", NULL);
}

void lossnet_open(struct lossnet *net)
{
	static const uint8_t with[] = {2, 4, 5, 0xb4, 1, 3, 3, SHIFT, 4, 2, 1, 1,
				       1, 1, 8, 10,   0, 0, 0, 0,     0, 0, 0, 0};
	struct bed_segment syn_ack;

	heads[0] = heads[1] = tails[0] = tails[1] = 0;
	net->page = bed_page(1);
	net->peer = bed_syn(with, net->times ? sizeof(with) : net->sack ? 12 : 8, 65535);
	syn_ack = bed_next_tcp();
	if (!syn_ack.packet)
		syn_ack = bed_next_tcp();
	shim_advance(net->rtt * NS_PER_MS);
	net->peer->times = net->times;
	net->peer->ts_echo = net->ts_recent = syn_ack.ts_value;
	net->peer->window = WINDOW >> SHIFT;
	net->base = net->edge = syn_ack.seq + 1;
	bed_ack(net->peer, net->base);
	bed_send(net->peer, TCP_ACK, "w", 1);
	bed_skip();
	count(net, -1);
}

void lossnet_close(struct lossnet *net)
{
	bed_page_done(net->page);
	net->peer->ack = net->edge;
	bed_send(net->peer, TCP_RST, "", 0);
	bed_skip();
}

static struct flight *launch(const struct lossnet *net, int way)
{
	uint64_t due =
	    (way ? net->now_ms : MAX(net->now_ms, net->busy_until / 1000)) + net->rtt / 2;
	struct flight *flight = &flights[way][heads[way]++ % FLIGHTS];

	assert_true(heads[way] - tails[way] < FLIGHTS);
	if (due >= net->spike_at && due < net->spike_at + net->spike_ms)
		due = net->spike_at + net->spike_ms;
	*flight = (struct flight){.due = due};
	return flight;
}

static struct flight *land(const struct lossnet *net, int way)
{
	struct flight *flight = &flights[way][tails[way] % FLIGHTS];

	if (heads[way] == tails[way] || flight->due > net->now_ms)
		return NULL;
	tails[way]++;
	return flight;
}

// ---- the receiver -----------------------------------------------------------------------------------

static bool have(const struct lossnet *net, uint32_t seq, uint32_t len)
{
	if ((int32_t)(seq + len - net->edge) <= 0)
		return true;
	for (unsigned i = 0; i < net->ranges; i++)
		if ((int32_t)(seq - net->got[i].left) >= 0 &&
		    (int32_t)(net->got[i].right - seq - len) >= 0)
			return true;
	return false;
}

// The newest range comes first, as it is reported.
static void add(struct lossnet *net, uint32_t left, uint32_t right)
{
	unsigned kept = 0;

	for (unsigned i = 0; i < net->ranges; i++) {
		uint32_t l = net->got[i].left, r = net->got[i].right;

		if ((int32_t)(l - right) <= 0 && (int32_t)(left - r) <= 0) {
			left = (int32_t)(l - left) < 0 ? l : left;
			right = (int32_t)(r - right) > 0 ? r : right;
		} else {
			net->got[kept++] = net->got[i];
		}
	}
	if ((int32_t)(left - net->edge) <= 0) {
		net->edge = (int32_t)(right - net->edge) > 0 ? right : net->edge;
		net->ranges = kept;
		return;
	}
	assert_true(kept < LOSSNET_RANGES);
	memmove(&net->got[1], &net->got[0], kept * sizeof(net->got[0]));
	net->got[0].left = left;
	net->got[0].right = right;
	net->ranges = kept + 1;
}

static void receive(struct lossnet *net, const struct flight *in)
{
	bool twice = have(net, in->seq, in->len);
	bool old = (int32_t)(in->seq + in->len - net->edge) <= 0;
	struct flight *out;

	net->repeated += twice;
	if (!old && (int32_t)(in->seq - net->edge) <= 0 &&
	    (int32_t)(in->stamp - net->ts_recent) >= 0)
		net->ts_recent = in->stamp; // RFC 7323, 5.3, R2, R3
	if (!twice)
		add(net, in->seq, in->seq + in->len);
	if (net->drops_ack && net->drops_ack(net))
		return;
	out = launch(net, 1);
	out->ack = net->edge;
	out->stamp = net->ts_recent;
	if (!net->sack)
		return;
	if (twice && net->duplicate_sack) {
		out->block[0] = in->seq;
		out->block[1] = in->seq + in->len;
		out->blocks = 1;
	}
	for (unsigned i = 0; i < net->ranges && out->blocks < 3; i++, out->blocks++) {
		out->block[2 * out->blocks] = net->got[i].left;
		out->block[2 * out->blocks + 1] = net->got[i].right;
	}
}

static void put32(uint8_t *to, uint32_t value)
{
	for (unsigned b = 0; b < 4; b++)
		to[b] = (uint8_t)(value >> (24 - 8 * b));
}

static void acknowledge(struct lossnet *net, const struct flight *ack)
{
	uint8_t options[40], *at = options;

	if (net->times) {
		memcpy(at, (const uint8_t[]){1, 1, 8, 10}, 4);
		put32(at + 4, (uint32_t)net->now_ms);
		put32(at + 8, ack->stamp);
		at += 12;
	}
	if (ack->blocks) {
		memcpy(at, (const uint8_t[]){1, 1, 5, (uint8_t)(2 + 8 * ack->blocks)}, 4);
		at += 4;
	}
	for (unsigned i = 0; i < 2 * ack->blocks; i++, at += 4)
		put32(at, ack->block[i]);
	net->peer->ack = ack->ack;
	bed_send_options(net->peer, TCP_ACK, options, (unsigned)(at - options), "", 0);
}

// ---- the path ---------------------------------------------------------------------------------------

// The narrow place takes the segment, or its queue is full.
static bool fits(struct lossnet *net, uint32_t len)
{
	uint64_t start = MAX(net->now_ms * 1000, net->busy_until);

	if (!net->rate)
		return true;
	if ((start - net->now_ms * 1000) * net->rate / 1000 > net->queue)
		return false;
	net->busy_until = start + (len + 52) * 1000 / net->rate;
	return true;
}

static void take(struct lossnet *net, const struct bed_segment *segment)
{
	uint32_t most = net->late_by ? net->late_by : 3;
	struct flight *flight;
	bool late;

	if (!segment->len)
		return;
	net->segments++;
	for (uint32_t i = 0; i < segment->len; i++)
		assert_int_equal(segment->data[i],
				 bed_pattern(1, (segment->seq - net->base + i) % PAGE_SIZE));
	if (!fits(net, segment->len) || shim_random_below(1000) < net->loss ||
	    (net->drops && net->drops(net, segment))) {
		net->lost++;
		return;
	}
	// A late one changes places with each that comes after it.
	late = shim_random_below(1000) < net->reorder;
	flight = launch(net, 0);
	flight->seq = segment->seq;
	flight->len = segment->len;
	flight->stamp = segment->ts_value;
	if (!late)
		for (unsigned i = 1; i <= most && heads[0] - tails[0] > i; i++) {
			struct flight *before = &flights[0][(heads[0] - 1 - i) % FLIGHTS], swap;

			if (!before->seed)
				continue;
			if (--before->seed)
				continue;
			swap = *before;
			*before = flights[0][(heads[0] - 1) % FLIGHTS];
			flights[0][(heads[0] - 1) % FLIGHTS] = swap;
			break;
		}
	else
		flight->seed = (uint8_t)most;
}

static void write_more(struct lossnet *net, uint32_t bytes)
{
	while (net->written < bytes && net->peer->pcb) {
		uint32_t at = net->written % PAGE_SIZE,
			 len = MIN(PAGE_SIZE - at, bytes - net->written);

		if (tcp_sndbuf(net->peer->pcb) < len ||
		    pagebuf_write(net->peer->pcb, net->page, at, len, net->written + len < bytes) !=
			ERR_OK)
			break;
		net->written += len;
	}
	if (net->peer->pcb)
		tcp_output(net->peer->pcb);
	stack_flush();
}

uint32_t lossnet_transfer(struct lossnet *net, uint32_t bytes)
{
	uint64_t start = net->now_ms, longest = 60000 + bytes / 1000 * 60;
	uint32_t goal = net->edge + bytes;

	bytes += net->written;
	while (net->edge != goal) {
		struct bed_segment segment;
		struct flight *flight;

		assert_true(net->now_ms - start < longest);
		assert_non_null(net->peer->pcb);
		write_more(net, bytes);
		while ((segment = bed_next_tcp()).packet)
			take(net, &segment);
		shim_advance(NS_PER_MS);
		net->now_ms++;
		while ((flight = land(net, 0)))
			receive(net, flight);
		while ((flight = land(net, 1)))
			acknowledge(net, flight);
	}
	lossnet_rest(net, net->rtt); // the last ACKs
	count(net, 1);
	return net->now_ms - start - net->rtt;
}

void lossnet_rest(struct lossnet *net, uint32_t ms)
{
	while (ms--) {
		struct bed_segment segment;
		struct flight *flight;

		while ((segment = bed_next_tcp()).packet)
			take(net, &segment);
		shim_advance(NS_PER_MS);
		net->now_ms++;
		while ((flight = land(net, 0)))
			receive(net, flight);
		while ((flight = land(net, 1)))
			acknowledge(net, flight);
	}
}
