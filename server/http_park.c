// SPDX-License-Identifier: BSD-2-Clause
// Connections that have waited a while for their next request, without a struct http_conn and without a PCB
// (include/net/park.h): what is left of one is a record of a hundred bytes.
//
// All wait equally long, but a record may be made again of a connection that has waited for long already (a segment
// came that was no request). So there is no list in order; records lie in cohorts, by when their clock started. A
// cohort is a tick, or a small part of http_idle= where that is long; the oldest ones' records are looked at when they
// may be due, and nobody else's: those that wait cost nothing.
//
//	cohorts   | first ... |           |           |  now - HTTP_PARK_NS |
//	             due: each is asked      not looked at
//
// A record counts as the connection it is: against http_connections=, for its address (whose struct http_address stays,
// and is found again by the address), as idle. Fast WTD context, or WTDs off.
#include "server/http_conn.h"
#include "net/park.h"

struct http_parked {
	struct http_link link; // of its cohort
	uint32_t since;	       // as in struct http_conn, in CLOCK_SHIFT's unit; wraps, after days
	uint16_t recall;       // as there
	bool ipv6;	       // it is the beginning of a struct http_parked6
	struct tcp_parked tcp; // must be last: IPv6's goes on behind it
};
struct http_parked6 {
	struct http_parked first;
	char rest[sizeof(struct tcp_parked6) - sizeof(struct tcp_parked)];
};
_Static_assert(sizeof(struct http_parked) <= 112, "tens of bytes, not a connection");
_Static_assert(sizeof(struct http_parked6) <= 136, "and two longer addresses");
_Static_assert(offsetof(struct http_parked6, rest) ==
		   offsetof(struct http_parked, tcp) + sizeof(struct tcp_parked),
	       "one struct tcp_parked6");

#define CLOCK_SHIFT 20	// of clock_cycles: less than a millisecond
#define COHORTS	    128 // http_idle= and the ticks that a time-out may be late fit in

// IPv4's, IPv6's; one for each of http_connections=, and together no more of them are in use: set at start.
static struct pool records[] = {POOL_INIT_RAW("http_parked", struct http_parked, 0),
				POOL_INIT_RAW("http_parked6", struct http_parked6, 0)};
static struct http_link cohorts[COHORTS]; // circular
static uint64_t cohort_length;		  // in CLOCK_SHIFT's unit
static uint64_t first;			  // while there are any: no record is in a cohort before it
uint64_t http_parked_count;

// When its clock started, in clock_cycles.
static uint64_t since(const struct http_parked *record)
{
	uint64_t now = clock_cycles() >> CLOCK_SHIFT;

	return (now - (uint32_t)((uint32_t)now - record->since)) << CLOCK_SHIFT;
}

static uint64_t cohort_of(uint64_t cycles)
{
	return (cycles >> CLOCK_SHIFT) / cohort_length;
}

static struct http_link *records_of(uint64_t cohort)
{
	return &cohorts[cohort % COHORTS];
}

static struct http_parked *first_of(uint64_t cohort)
{
	struct http_link *head = records_of(cohort);

	return head->next == head ? NULL : CONTAINER_OF(head->next, struct http_parked, link);
}

// ---- in and out --------------------------------------------------------------------------------------

static bool can_wait(const struct http_conn *conn)
{
	return http_conn_between(conn) && !conn->unacked && !conn->retrying && !conn->busy &&
	       conn->from;
}

enum tcp_park_verdict http_park(struct http_conn *conn)
{
	uint64_t cohort = cohort_of(conn->since);
	uint64_t oldest = http_parked_count ? MIN(first, cohort) : cohort;
	enum tcp_park_verdict verdict;
	bool ipv6 = IP_IS_V6_VAL(conn->pcb->remote_ip);
	struct http_parked *record;

	if (!can_wait(conn) || cohort_of(clock_cycles()) - oldest >= COHORTS)
		return TCP_PARK_LATER;
	record = pool_alloc(&records[ipv6]);
	if (!record)
		return TCP_PARK_LATER;
	verdict = tcp_park(conn->pcb, &record->tcp);
	if (verdict != TCP_PARKED) {
		pool_free(&records[ipv6], record);
		return verdict;
	}
	record->since = (uint32_t)(conn->since >> CLOCK_SHIFT);
	record->recall = conn->recall;
	record->ipv6 = ipv6;
	first = oldest;
	http_link_add(records_of(cohort), &record->link);
	http_parked_count++;
	http_conn_give_up(conn);
	return TCP_PARKED;
}

static void forget(struct http_parked *record)
{
	http_link_remove(&record->link);
	http_parked_count--;
	pool_free(&records[record->ipv6], record);
}

static struct tcp_pcb *wake(struct tcp_parked *tcp)
{
	struct http_parked *record = CONTAINER_OF(tcp, struct http_parked, tcp);
	struct http_conn *conn = pool_alloc(&http_conn_pool);
	struct tcp_pcb *pcb;

	if (!conn)
		return NULL;
	pcb = tcp_unpark(tcp);
	if (!pcb) {
		pool_free(&http_conn_pool, conn);
		return NULL;
	}
	conn->pcb = pcb;
	conn->from = http_address_of(&pcb->remote_ip);
	conn->since = since(record);
	conn->recall = record->recall;
	forget(record);
	http_conn_take_up(conn);
	return pcb;
}

// Ends it with a FIN, or with a reset: if that is asked for, or if there is no memory for more.
static void end(struct http_parked *record, bool reset)
{
	struct tcp_pcb *pcb = reset ? NULL : tcp_unpark(&record->tcp);
	const ip_addr_t peer = pcb ? pcb->remote_ip : tcp_parked_peer(&record->tcp);

	if (!pcb) {
		http_resets++;
		tcp_parked_reset(&record->tcp);
	} else if (tcp_close(pcb) != ERR_OK) {
		tcp_abort(pcb);
	}
	http_address_put(http_address_of(&peer));
	http_conn_count--;
	http_idle--;
	forget(record);
}

static void gone(struct tcp_parked *tcp)
{
	end(CONTAINER_OF(tcp, struct http_parked, tcp), true);
}

void http_park_start(void)
{
	static const struct tcp_park_server server = {wake, gone};
	uint64_t length_ns = MAX(HTTP_TICK_NS, http_config.idle_ns / (COHORTS - 16));

	records[0].maximum = records[1].maximum = http_config.connections_max;
	cohort_length = MAX(clock_ns_to_cycles(length_ns) >> CLOCK_SHIFT, 1UL);
	for (unsigned i = 0; i < COHORTS; i++)
		cohorts[i].next = cohorts[i].prev = &cohorts[i];
	tcp_park_serve(&server);
}

// ---- the oldest --------------------------------------------------------------------------------------

// A record of the oldest cohort that has any, or null.
static struct http_parked *oldest(void)
{
	if (!http_parked_count)
		return NULL;
	while (!first_of(first))
		first++;
	return first_of(first);
}

bool http_parked_end_oldest(uint64_t before)
{
	struct http_parked *record = oldest();

	if (!record || since(record) > before)
		return false;
	end(record, false);
	return true;
}

void http_parked_end_all(void)
{
	struct http_parked *record;

	while ((record = oldest()))
		end(record, true);
}

void http_parked_expire(uint64_t limit_ns, uint64_t now)
{
	uint64_t limit = clock_ns_to_cycles(limit_ns);

	if (now < limit)
		return;
	while (oldest() && first <= cohort_of(now - limit)) {
		struct http_link *head = records_of(first), *next;
		for (struct http_link *link = head->next; link != head; link = next) {
			struct http_parked *record = CONTAINER_OF(link, struct http_parked, link);
			next = link->next;
			if (since(record) > now - limit)
				continue;
			http_count_timeout(HTTP_TIMEOUT_IDLE);
			end(record, false);
		}
		if (first_of(first))
			break; // they are due soon
	}
}
