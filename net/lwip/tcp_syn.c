// SPDX-License-Identifier: BSD-2-Clause
// Half-open connections, see tcp_syn.h. RFC 9293 3.10.7.2-4, RFC 4987 3.
#include "tcp_syn.h"
#include "hooks.h"
#include "kernel/kstat.h"
#include "kernel/kstring.h"
#include "kernel/pool.h"
#include "kernel/siphash.h"
#include "lwip/priv/tcp_priv.h"
#include "lwip/sys.h"
#include "tcp_bare.h"

#define TRIES	 5   // SYN-ACKs sent again, after 1, 2, 4, 8 and 16 s; 32 s later the entry goes
#define BURST	 512 // entries that one tick looks after; the others are late by a tick
#define TICKS(s) ((s)*1000U / TCP_SLOW_INTERVAL)

struct tcp_syn {
	struct tcp_tuple_node id; // must be first
	struct tcp_syn *next, *prev;
	struct tcp_syn_offer offer;
	uint32_t due; // tcp_ticks
	uint8_t tries, netif_idx;
};
_Static_assert(sizeof(struct tcp_syn) <= 128, "tens of bytes, not a PCB");
static struct pool entries = POOL_INIT_RAW("tcp_syn", struct tcp_syn, TCP_SYN_ENTRIES);

// Entries that have sent as many SYN-ACKs again: each waits equally long, so the first is due first.
// Fast WTD context only, so no lock; this holds for everything here.
static struct {
	struct tcp_syn *first, *last;
} waiting[TRIES + 1];

static uint64_t received, cached, again, completed, expired, reset, cookies, accepted, rejected;
KSTAT_COUNTER(received, "pagewire_tcp_syn_received_total", "SYNs for a port that listens.");
KSTAT_COUNTER(cached, "pagewire_tcp_syn_cached_total", "SYNs that were given an entry.");
KSTAT_COUNTER(again, "pagewire_tcp_syn_ack_retransmits_total", "SYN-ACKs sent again.");
KSTAT_COUNTER(completed, "pagewire_tcp_syn_completed_total", "Entries that became connections.");
KSTAT_COUNTER(expired, "pagewire_tcp_syn_expired_total", "Entries whose peer did not go on.");
KSTAT_COUNTER(reset, "pagewire_tcp_syn_reset_total", "Entries whose peer sent a RST.");
KSTAT_COUNTER(cookies, "pagewire_tcp_syn_cookies_sent_total",
	      "SYNs answered with a cookie because the cache was full.");
KSTAT_COUNTER(accepted, "pagewire_tcp_syn_cookies_accepted_total",
	      "Connections made from a cookie.");
KSTAT_COUNTER(rejected, "pagewire_tcp_syn_cookies_rejected_total",
	      "ACKs without a connection that carried no cookie of ours.");

static struct tcp_syn *entry_of(struct tcp_hash_node *node)
{
	return CONTAINER_OF(node, struct tcp_syn, id.node);
}

// ---- the cache --------------------------------------------------------------------------------------

static void wait_for_answer(struct tcp_syn *entry)
{
	struct tcp_syn **last = &waiting[entry->tries].last;

	entry->due = tcp_ticks + TICKS(1U << entry->tries);
	entry->next = NULL;
	entry->prev = *last;
	if (*last)
		(*last)->next = entry;
	else
		waiting[entry->tries].first = entry;
	*last = entry;
}

static void wait_no_more(struct tcp_syn *entry)
{
	if (entry->prev)
		entry->prev->next = entry->next;
	else
		waiting[entry->tries].first = entry->next;
	if (entry->next)
		entry->next->prev = entry->prev;
	else
		waiting[entry->tries].last = entry->prev;
}

static void forget(struct tcp_syn *entry)
{
	wait_no_more(entry);
	tcp_hash_remove(&entry->id.node);
	pool_free(&entries, entry);
}

static void send_syn_ack(const struct tcp_tuple *tuple, const struct tcp_syn_offer *offer,
			 uint8_t netif_idx)
{
	struct tcp_bare segment = {.seqno = offer->iss,
				   .ackno = offer->irs + 1,
				   .window = TCPWND_MIN16(TCP_WND),
				   .flags = TCP_SYN | TCP_ACK,
				   .netif_idx = netif_idx,
				   .mss = TCP_MSS_OFFER,
				   .scale = offer->scaled,
				   .sack = offer->sack,
				   .timestamps = offer->timestamps,
				   .ts_offset = offer->ts_offset,
				   .ts_echo = offer->ts_recent};

	tcp_bare_send(tuple, &segment);
}

static void go_on(struct tcp_syn *entry)
{
	if (entry->tries == TRIES) {
		expired++;
		forget(entry);
		return;
	}
	wait_no_more(entry);
	entry->tries++;
	entry->offer.sent_at = 0; // which of the two is answered? (Karn)
	wait_for_answer(entry);
	again++;
	send_syn_ack(&entry->id.tuple, &entry->offer, entry->netif_idx);
}

void tcp_syn_tmr(void)
{
	unsigned left = BURST;

	for (unsigned tries = TRIES + 1; tries--;) {
		struct tcp_syn *entry;

		while ((entry = waiting[tries].first) && (int32_t)(tcp_ticks - entry->due) >= 0) {
			if (!left--)
				return;
			go_on(entry);
		}
	}
}

void tcp_syn_forget_all(void)
{
	for (unsigned tries = 0; tries <= TRIES; tries++)
		while (waiting[tries].first)
			forget(waiting[tries].first);
}

// ---- cookies ----------------------------------------------------------------------------------------

// Our initial sequence number: 24 bits of a keyed hash over the tuple, the peer's number, the time and
// the byte below; then that byte: parity of the time, SACK, one of eight shifts, one of eight sizes.
// A period is 2^15 ms; a cookie is good for the one it was made in and the next.
#define PERIOD_SHIFT 15
#define PERIOD_MASK  (UINT32_MAX >> PERIOD_SHIFT)
#define NO_SCALE     0xff
static const uint16_t sizes[8] = {
    TCP_MIN_MSS, 536,  1200,	      1400,
    1440,	 1452, TCP_MSS_USUAL, 8940}; // packets of 9,000 bytes over IPv6
static const uint8_t shifts[8] = {NO_SCALE, 0, 2, 4, 6, 7, 8, 10};
static uint32_t last_cookie; // sys_now
static bool any_cookie;

static uint32_t cookie(const struct tcp_tuple *tuple, uint32_t irs, uint32_t period, uint8_t says)
{
	static struct siphash_key key;
	struct {
		struct tcp_tuple tuple;
		uint32_t irs, period, says;
	} input;

	if (!key.k0 && !key.k1) {
		key.k0 = (uint64_t)LWIP_RAND() << 32 | LWIP_RAND();
		key.k1 = (uint64_t)LWIP_RAND() << 32 | LWIP_RAND();
	}
	memset(&input, 0, sizeof(input));
	input.tuple = *tuple;
	input.irs = irs;
	input.period = period;
	input.says = says;
	return (uint32_t)siphash(&key, &input, sizeof(input)) << 8 | says;
}

static void send_cookie(const struct tcp_tuple *tuple, struct tcp_syn_offer *offer,
			uint8_t netif_idx)
{
	uint32_t period = sys_now() >> PERIOD_SHIFT;
	unsigned size = 7, shift = offer->scaled ? 7 : 0;

	while (size && sizes[size] > offer->mss)
		size--;
	while (shift > 1 && shifts[shift] > offer->scale)
		shift--;
	last_cookie = sys_now();
	any_cookie = true;
	offer->ts_offset = tcp_timestamp_offset(tuple);
	offer->iss = cookie(tuple, offer->irs, period,
			    (period & 1) << 7 | offer->sack << 6 | shift << 3 | size);
	cookies++;
	send_syn_ack(tuple, offer, netif_idx);
}

static bool cookies_are_out(void)
{
	any_cookie = any_cookie && sys_now() - last_cookie < 2U << PERIOD_SHIFT;
	return any_cookie;
}

// There is no bit left to say that time stamps were agreed upon. That the peer echoes one which we can have sent with
// a cookie says so as well.
static bool echoes_a_cookies(const struct tcp_tuple *tuple, const struct tcp_times *times)
{
	return tcp_timestamps_on && times->seen &&
	       tcp_now() + tcp_timestamp_offset(tuple) - times->echo < 2U << PERIOD_SHIFT;
}

static bool read_cookie(const struct tcp_tuple *tuple, uint32_t irs, uint32_t iss,
			const struct tcp_times *times, struct tcp_syn_offer *offer)
{
	uint32_t period = sys_now() >> PERIOD_SHIFT;
	uint8_t says = iss;

	if ((period & 1) != says >> 7)
		period = (period - 1) & PERIOD_MASK;
	if (cookie(tuple, irs, period, says) != iss)
		return false;
	*offer = (struct tcp_syn_offer){.irs = irs,
					.iss = iss,
					.mss = sizes[says & 7],
					.scale = shifts[says >> 3 & 7],
					.scaled = says >> 3 & 7,
					.sack = says >> 6 & 1,
					.timestamps = echoes_a_cookies(tuple, times),
					.ts_recent = times->value,
					.ts_offset = tcp_timestamp_offset(tuple)};
	return true;
}

// ---- segments ---------------------------------------------------------------------------------------

void tcp_syn_begin(struct tcp_syn_offer *offer, uint32_t irs)
{
	*offer = (struct tcp_syn_offer){.irs = irs, .mss = MIN(TCP_MSS, 536)}; // RFC 9293, 3.7.1
}

// The length of the option of that kind that may be so long at most; 0: it is wrong.
static unsigned option(struct tcp_syn_offer *offer, const uint8_t *at, unsigned most)
{
	unsigned bytes = at[1];
	uint16_t mss;

	if (bytes < 2 || bytes > most)
		return 0;
	switch (at[0]) {
	case LWIP_TCP_OPT_MSS:
		if (bytes != LWIP_TCP_OPT_LEN_MSS)
			return 0;
		mss = (uint16_t)(at[2] << 8 | at[3]);
		offer->mss = mss && mss <= TCP_MSS ? MAX(mss, TCP_MIN_MSS) : TCP_MSS;
		return bytes;
	case LWIP_TCP_OPT_WS:
		if (bytes != LWIP_TCP_OPT_LEN_WS)
			return 0;
		if (!offer->scaled)
			offer->scale = MIN(at[2], 14);
		offer->scaled = true;
		return bytes;
	case LWIP_TCP_OPT_TS:
		if (bytes != LWIP_TCP_OPT_LEN_TS)
			return 0;
		if (!offer->timestamps && tcp_timestamps_on)
			offer->ts_recent = (uint32_t)at[2] << 24 | at[3] << 16 | at[4] << 8 | at[5];
		offer->timestamps = tcp_timestamps_on;
		return bytes;
	case LWIP_TCP_OPT_SACK_PERM:
		offer->sack |= bytes == LWIP_TCP_OPT_LEN_SACK_PERM;
		return bytes == LWIP_TCP_OPT_LEN_SACK_PERM ? bytes : 0;
	default:
		return bytes;
	}
}

bool tcp_syn_options(struct tcp_syn_offer *offer, const uint8_t *options, unsigned bytes)
{
	for (unsigned at = 0; at < bytes;) {
		unsigned used = 1;

		if (options[at] == LWIP_TCP_OPT_EOL)
			return true;
		if (options[at] != LWIP_TCP_OPT_NOP)
			used = bytes - at < 2 ? 0 : option(offer, options + at, bytes - at);
		if (!used)
			return false;
		at += used;
	}
	return true;
}

static uint32_t sequence_for(const struct tcp_tuple *tuple, uint32_t least, uint32_t *ts_offset)
{
	uint32_t iss = tcp_initial_sequence_tuple(tuple, ts_offset);

	return least && TCP_SEQ_LT(iss, least) ? least : iss;
}

void tcp_syn_received(const struct tcp_tuple *tuple, uint32_t hash, struct tcp_hash_node *node,
		      const struct tcp_syn_offer *offered, uint32_t least_iss, uint8_t netif_idx)
{
	struct tcp_syn *entry = node ? entry_of(node) : NULL;
	struct tcp_syn_offer offer = *offered;

	received++;
	if (entry && entry->offer.irs == offer.irs) {
		entry->offer.sent_at = 0;
		if (offer.timestamps && tcp_time_before(entry->offer.ts_recent, offer.ts_recent))
			entry->offer.ts_recent = offer.ts_recent;
		again++;
		send_syn_ack(&entry->id.tuple, &entry->offer, netif_idx);
		return;
	}
	if (entry)
		forget(entry); // a new attempt from the same port
	entry = pool_alloc(&entries);
	if (!entry) {
		send_cookie(tuple, &offer, netif_idx);
		return;
	}
	offer.iss = sequence_for(tuple, least_iss, &offer.ts_offset);
	offer.sent_at = tcp_now();
	entry->id.tuple = *tuple;
	entry->offer = offer;
	entry->netif_idx = netif_idx;
	entry->tries = 0;
	tcp_hash_add(&entry->id.node, TCP_HASH_SYN, hash);
	wait_for_answer(entry);
	tcp_timer_needed();
	cached++;
	send_syn_ack(tuple, &offer, netif_idx);
}

void tcp_syn_reset(struct tcp_hash_node *node, uint32_t seqno)
{
	struct tcp_syn *entry = entry_of(node);

	// Only the exact number counts (RFC 5961, 3); a challenge would say no more than the SYN-ACK did.
	if (seqno != entry->offer.irs + 1)
		return;
	reset++;
	forget(entry);
}

bool tcp_syn_is_next(const struct tcp_hash_node *node, uint32_t seqno, uint32_t ackno)
{
	const struct tcp_syn_offer *offer =
	    &CONTAINER_OF(node, const struct tcp_syn, id.node)->offer;

	return seqno == offer->irs + 1 && ackno == offer->iss + 1;
}

enum tcp_syn_verdict tcp_syn_acked(const struct tcp_tuple *tuple, struct tcp_hash_node *node,
				   uint32_t seqno, uint32_t ackno, const struct tcp_times *times,
				   struct tcp_syn_offer *offer)
{
	if (node && ackno == entry_of(node)->offer.iss + 1) {
		*offer = entry_of(node)->offer;
		// RFC 7323, 3.2 and 5.3 R1.
		if (offer->timestamps &&
		    (!times->seen || tcp_time_before(times->value, offer->ts_recent)))
			return TCP_SYN_DROP;
		// The first segment may be lost or late: any within the window opens the connection.
		return seqno - (offer->irs + 1) <= TCPWND_MIN16(TCP_WND) ? TCP_SYN_OPEN
									 : TCP_SYN_DROP;
	}
	// A SYN answered with a cookie may have come once more when there was room again for an entry: the peer
	// goes by the first answer.
	if (!cookies_are_out())
		return TCP_SYN_REFUSE;
	if (read_cookie(tuple, seqno - 1, ackno - 1, times, offer)) {
		accepted++;
		return TCP_SYN_OPEN;
	}
	// It may be a later segment of a connection that a cookie stands for, its first still on the way.
	rejected++;
	return TCP_SYN_DROP;
}

void tcp_syn_opened(struct tcp_hash_node *node, struct tcp_pcb *pcb)
{
	if (!node)
		return;
	completed++;
	if (!entry_of(node)->offer.sent_at && !entry_of(node)->offer.timestamps)
		pcb->rto = TCP_RTO_TICKS(3000); // RFC 6298, 5.7: the SYN-ACK was repeated
	forget(entry_of(node));
}
