// SPDX-License-Identifier: BSD-2-Clause
// Send buffers that grow with the path, see tcp_sndbuf.h.
#include "tcp_sndbuf.h"
#include "hooks.h"
#include "kernel/kstat.h"
#include "kernel/panic.h"
#include "kernel/pool.h"
#include "lwip/priv/tcp_priv.h"

// What a gigabit carries in a millisecond, twice.
#define PATH_BYTES_MS 250000
#define STEP	      65536 // given at a time, at least
#define RECLAIM_MS    100   // between two looks for who needs no more what it has

// One for each that can be given a step.
static struct pool sndbufs = POOL_INIT("tcp_sndbuf", struct tcp_sndbuf, TCP_SND_GROWN_MAX / STEP);
static struct tcp_sndbuf *all;
static uint32_t reclaimed_at; // tcp_now()

static uint64_t given, refused;
KSTAT_GAUGE(given, "pagewire_tcp_send_room_bytes",
	    "Bytes that connections may have queued beyond what each may.");
KSTAT_COUNTER(refused, "pagewire_tcp_send_room_refused_total",
	      "Times a connection's send buffer did not grow because others, or pages on the wire, "
	      "have the memory.");

static void give_back(struct tcp_sndbuf *grown)
{
	grown->pcb->snd_buf -= MIN(grown->bytes, grown->pcb->snd_buf);
	grown->pcb->grown = NULL;
	given -= grown->bytes;
	*grown->link = grown->next;
	if (grown->next)
		grown->next->link = grown->link;
	pool_free(&sndbufs, grown);
}

// A window larger than what can be queued would never be used and so never grow: slow start leads back to where it was.
static void take(struct tcp_sndbuf *grown)
{
	struct tcp_pcb *pcb = grown->pcb;

	give_back(grown);
	pcb->ssthresh = MAX(pcb->ssthresh, pcb->cwnd);
	pcb->cwnd = MIN(pcb->cwnd, (uint32_t)TCP_SND_BUF);
}

// From those that have nothing queued.
static void reclaim(const struct tcp_pcb *but)
{
	struct tcp_sndbuf *next;

	if (tcp_now() - reclaimed_at < RECLAIM_MS)
		return;
	reclaimed_at = tcp_now();
	for (struct tcp_sndbuf *grown = all; grown; grown = next) {
		next = grown->next;
		if (grown->pcb != but && grown->pcb->snd_buf == tcp_sndbuf_limit(grown->pcb))
			take(grown);
	}
}

static struct tcp_sndbuf *begin(struct tcp_pcb *pcb)
{
	struct tcp_sndbuf *grown = pool_alloc(&sndbufs);

	if (!grown)
		return NULL;
	*grown = (struct tcp_sndbuf){.pcb = pcb, .next = all, .link = &all};
	if (all)
		all->link = &grown->next;
	all = grown;
	pcb->grown = grown;
	return grown;
}

// What is there to give, in steps.
static uint32_t left(void)
{
	uint64_t most = tcp_sndbuf_most();

	return most > given ? (uint32_t)((most - given) / STEP * STEP) : 0;
}

void tcp_sndbuf_grow(struct tcp_pcb *pcb)
{
	uint32_t limit = tcp_sndbuf_limit(pcb), most, more;
	struct tcp_sndbuf *grown = pcb->grown;

	most = (uint32_t)MIN((uint64_t)(pcb->path_ms - 1U) * PATH_BYTES_MS, TCP_SND_BUF_MAX);
	most = MIN(2 * pcb->cwnd, MAX(most, TCP_SND_BUF_NEAR));
	if (!pcb->path_ms || most < limit + STEP)
		return;
	more = (most - limit) / STEP * STEP;
	if (given + more > tcp_sndbuf_most())
		reclaim(pcb);
	more = MIN(more, left());
	if (!more || (!grown && !(grown = begin(pcb)))) {
		refused++;
		return;
	}
	grown->bytes += more;
	given += more;
	pcb->snd_buf += more;
}

void tcp_sndbuf_end(struct tcp_pcb *pcb)
{
	if (pcb->grown)
		give_back(pcb->grown);
}
