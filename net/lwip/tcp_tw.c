// SPDX-License-Identifier: BSD-2-Clause
// TIME_WAIT, see tcp_tw.h.
#include "tcp_tw.h"
#include "kernel/kstat.h"
#include "kernel/pool.h"
#include "lwip/priv/tcp_priv.h"
#include "tcp_bare.h"

#define WAIT_TICKS (2 * TCP_MSL / TCP_SLOW_INTERVAL)

struct tcp_tw {
	struct tcp_tuple_node id; // must be first
	struct tcp_tw *next, *prev;
	struct tcp_tw_facts facts;
	uint32_t due; // tcp_ticks
};
_Static_assert(sizeof(struct tcp_tw) <= 112, "tens of bytes, not a PCB");
static struct pool entries = POOL_INIT_RAW("tcp_tw", struct tcp_tw, TCP_TW_ENTRIES);

// All wait equally long: the first is due first. Fast WTD context only, so no lock.
static struct tcp_tw *first, *last;

static uint64_t reclaimed, reopened, forgotten;
KSTAT_COUNTER(reclaimed, "pagewire_tcp_time_wait_reclaimed_total",
	      "Connections taken out of TIME_WAIT early, to make room.");
KSTAT_COUNTER(reopened, "pagewire_tcp_time_wait_reopened_total",
	      "Connections in TIME_WAIT that a new SYN took the place of.");
KSTAT_COUNTER(forgotten, "pagewire_tcp_time_wait_forgotten_total",
	      "Connections that had no TIME_WAIT for lack of memory.");

static void wait_full(struct tcp_tw *entry)
{
	entry->due = tcp_ticks + WAIT_TICKS;
	entry->next = NULL;
	entry->prev = last;
	if (last)
		last->next = entry;
	else
		first = entry;
	last = entry;
}

static void wait_no_more(struct tcp_tw *entry)
{
	if (entry->prev)
		entry->prev->next = entry->next;
	else
		first = entry->next;
	if (entry->next)
		entry->next->prev = entry->prev;
	else
		last = entry->prev;
}

static void forget(struct tcp_tw *entry)
{
	wait_no_more(entry);
	tcp_hash_remove(&entry->id.node);
	pool_free(&entries, entry);
}

void tcp_tw_enter(const struct tcp_tuple *tuple, uint32_t hash, const struct tcp_tw_facts *facts)
{
	struct tcp_tw *entry = pool_alloc(&entries);

	if (!entry && first) {
		reclaimed++;
		forget(first);
		entry = pool_alloc(&entries);
	}
	if (!entry) {
		forgotten++;
		return;
	}
	entry->id.tuple = *tuple;
	entry->facts = *facts;
	tcp_hash_add(&entry->id.node, TCP_HASH_TW, hash);
	wait_full(entry);
	tcp_timer_needed();
}

void tcp_tw_acknowledge(const struct tcp_tuple *tuple, const struct tcp_tw_facts *facts)
{
	struct tcp_bare segment = {.seqno = facts->snd_nxt,
				   .ackno = facts->rcv_nxt,
				   .window = facts->window,
				   .flags = TCP_ACK,
				   .netif_idx = facts->netif_idx,
				   .timestamps = facts->timestamps,
				   .ts_offset = facts->ts_offset,
				   .ts_echo = facts->ts_recent};

	tcp_bare_send(tuple, &segment);
}

// RFC 6191, 2: whether a SYN is from after all that the old connection had. Where there are time stamps before and
// after it is they that tell; a new connection that has them where the old one had none is protected by its own.
static bool is_newer(const struct tcp_tw_facts *facts, uint32_t seqno,
		     const struct tcp_times *times)
{
	bool later = TCP_SEQ_GT(seqno, facts->rcv_nxt);

	if (!times->seen || !tcp_timestamps_on)
		return later;
	if (!facts->timestamps)
		return true;
	return tcp_time_before(facts->ts_recent, times->value) ||
	       (facts->ts_recent == times->value && later);
}

bool tcp_tw_input(struct tcp_hash_node *node, uint8_t flags, uint32_t seqno, uint32_t length,
		  const struct tcp_times *times, uint32_t *least_iss)
{
	struct tcp_tw *entry = CONTAINER_OF(node, struct tcp_tw, id.node);

	if (flags & TCP_RST)
		return true; // RFC 1337: it could be an old one, and there is nothing left to reset
	if ((flags & (TCP_SYN | TCP_ACK)) == TCP_SYN && is_newer(&entry->facts, seqno, times)) {
		// Beyond all that the old connection may still have on the way.
		*least_iss = entry->facts.snd_nxt + UINT16_MAX + 2;
		reopened++;
		forget(entry);
		return false;
	}
	if (!(flags & TCP_SYN) && entry->facts.timestamps) {
		if (!times->seen)
			return true; // RFC 7323, 3.2
		if (tcp_time_before(times->value, entry->facts.ts_recent))
			flags &= (uint8_t)~TCP_FIN; // 5.3: old; it is answered, and changes nothing
		else if (TCP_SEQ_LEQ(seqno, entry->facts.rcv_nxt))
			entry->facts.ts_recent = times->value;
	}
	if (flags & TCP_FIN) {
		wait_no_more(entry); // our ACK of it was lost: 2 MSL from now
		wait_full(entry);
	}
	if (length)
		tcp_tw_acknowledge(&entry->id.tuple, &entry->facts);
	return true;
}

void tcp_tw_tmr(void)
{
	while (first && (int32_t)(tcp_ticks - first->due) >= 0)
		forget(first);
}

void tcp_tw_forget_all(void)
{
	while (first)
		forget(first);
}
