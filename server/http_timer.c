// SPDX-License-Identifier: BSD-2-Clause
// Time for connections: one list for each thing that can take too long, in order of its clock, so that
// a tick looks at the heads only; and the connections that try again when memory or the bound on
// pinned pages stopped them. One delayed fast WTD, armed while there is a connection on any list.
//
// A busy connection changes between waiting for a request and waiting for acknowledgements thousands of
// times a second. While it does, it stays where it is, on the list of the young, and only its clock is set;
// the tick after its last change puts it on the list where it belongs.
//
//	            a change to IDLE or STALL                tick, half a tick after its last change
//	any list ------------------------------> young ---------------------------------------> STALL
//	                                           |  tick, idle for a second
//	                                           +----------------------> parked, and gone from here (http_park.c)
//	                                           '-- it cannot be parked --> IDLE
#include "server/http_conn.h"
#include "kernel/panic.h"
#include "kernel/timer.h"
#include "net/stack.h"
#include "server/http_recall.h"

#define OLDEST_LOOK 64 // of the young: how many of them may be asked which is idle longest

static struct http_link lists[HTTP_LISTS]; // circular; lists[NONE] stays empty
static struct http_link young;		   // circular, in the order in which they came
static struct http_link retries = {&retries, &retries};
uint64_t http_idle;	    // young ones included
static uint64_t page_limit; // pages on the wire in all: half of what the cache can hold
static void tick(struct wtd *work);
static struct wtd tick_work = WTD_INIT(tick, "http timer");
int64_t http_second;
uint64_t http_second_end;
static bool tick_soon; // armed for HTTP_RETRY_NS or sooner, not for HTTP_TICK_NS

static void read_page_limit(void)
{
	struct pagecache_stats stats;

	pagecache_stats(&stats);
	page_limit = MAX(stats.pages_max / 2, 64UL);
}

void http_timer_start(void)
{
	for (unsigned i = 0; i < HTTP_LISTS; i++)
		lists[i].next = lists[i].prev = &lists[i];
	young.next = young.prev = &young;
	http_second_end = 0;
	read_page_limit();
}

static void arm(void)
{
	bool soon = retries.next != &retries,
	     any = soon || young.next != &young || http_parked_count;

	for (unsigned i = 0; i < HTTP_LISTS; i++)
		any |= lists[i].next != &lists[i];
	if (any && (tick_work.state == WTD_IDLE || (soon && !tick_soon))) {
		tick_soon = soon;
		wtd_post_after(&tick_work, WTD_FAST, soon ? HTTP_RETRY_NS : HTTP_TICK_NS);
	}
}

void http_conn_wait_again(struct http_conn *conn)
{
	conn->list = HTTP_LIST_IDLE; // http_idle has it still
	conn->young = true;
	http_link_add(&young, &conn->link);
}

static void leave_list(struct http_conn *conn)
{
	if (conn->young || conn->list != HTTP_LIST_NONE)
		http_link_remove(&conn->link);
	conn->young = false;
}

void http_conn_unwait(struct http_conn *conn)
{
	leave_list(conn);
	http_idle -= conn->list == HTTP_LIST_IDLE;
	conn->list = HTTP_LIST_NONE;
}

void http_conn_wait(struct http_conn *conn, enum http_list list, bool restart)
{
	bool quiet = list == HTTP_LIST_IDLE || list == HTTP_LIST_STALL;

	if (conn->list == list && !restart)
		return;
	http_idle += (list == HTTP_LIST_IDLE) - (conn->list == HTTP_LIST_IDLE);
	conn->since = clock_cycles();
	if (LIKELY(quiet && conn->young)) {
		conn->list = (uint8_t)list;
		return;
	}
	leave_list(conn);
	conn->list = (uint8_t)list;
	conn->young = quiet;
	if (list == HTTP_LIST_NONE)
		return;
	http_link_add(quiet ? &young : &lists[list], &conn->link);
	if (tick_work.state == WTD_IDLE)
		arm();
}

// Makes `from` an empty list and gives what was on it to `to`.
static void take_all(struct http_link *from, struct http_link *to)
{
	to->next = to->prev = to;
	if (from->next == from)
		return;
	*to = *from;
	to->next->prev = to->prev->next = to;
	from->next = from->prev = from;
}

// Whether the last list's order bears it at its end. One that was parked meanwhile may have been idle for longer.
static bool in_order(const struct http_conn *conn)
{
	const struct http_link *last = lists[HTTP_LIST_IDLE].prev;

	return last == &lists[HTTP_LIST_IDLE] ||
	       CONTAINER_OF(last, const struct http_conn, link)->since <=
		   conn->since + clock_ns_to_cycles(2 * HTTP_TICK_NS);
}

// Where one belongs that is on no list, behind what it is put: null: it was parked, and is gone.
static struct http_link *place_of(struct http_conn *conn, uint64_t now)
{
	uint64_t quiet = clock_cycles_to_ns(now - conn->since);
	enum tcp_park_verdict verdict;

	if (conn->list != HTTP_LIST_IDLE)
		return quiet < HTTP_TICK_NS / 2 ? &young : &lists[conn->list];
	if (quiet < HTTP_PARK_NS)
		return &young;
	verdict = http_park(conn);
	if (verdict == TCP_PARKED)
		return NULL;
	if ((verdict == TCP_PARK_NEVER || quiet >= HTTP_PARK_LATEST_NS) && in_order(conn))
		return &lists[HTTP_LIST_IDLE];
	return quiet < http_config.idle_ns ? &young : lists[HTTP_LIST_IDLE].next;
}

// Those that were not heard of for a while go where they belong.
static void sort_young(uint64_t now)
{
	struct http_link all, *place;

	take_all(&young, &all);
	while (all.next != &all) {
		struct http_conn *conn = CONTAINER_OF(all.next, struct http_conn, link);
		http_link_remove(&conn->link);
		place = place_of(conn, now);
		if (!place)
			continue;
		conn->young = place == &young;
		http_link_add(place, &conn->link);
	}
}

void http_conn_retry(struct http_conn *conn)
{
	if (conn->retrying)
		return;
	conn->retrying = true;
	http_link_add(&retries, &conn->retry);
	arm();
}

void http_conn_unretry(struct http_conn *conn)
{
	if (conn->retrying)
		http_link_remove(&conn->retry);
	conn->retrying = false;
}

void http_retry_all(void)
{
	if (retries.next != &retries && http_pages_allowed())
		wtd_post_fast(&tick_work);
}

static struct http_conn *first_of(enum http_list list)
{
	struct http_link *link = lists[list].next;

	return link == &lists[list] ? NULL : CONTAINER_OF(link, struct http_conn, link);
}

// Of the young ones' first: their clocks are less than a second apart.
static struct http_conn *oldest_idle_young(void)
{
	struct http_conn *oldest = NULL;
	unsigned looked_at = 0;

	for (struct http_link *link = young.next; link != &young; link = link->next) {
		struct http_conn *conn = CONTAINER_OF(link, struct http_conn, link);
		if (conn->list == HTTP_LIST_IDLE && (!oldest || conn->since < oldest->since))
			oldest = conn;
		if (++looked_at >= OLDEST_LOOK && oldest)
			break;
	}
	return oldest;
}

bool http_end_oldest_idle(void)
{
	struct http_conn *conn = first_of(HTTP_LIST_IDLE);

	if (http_parked_end_oldest(conn ? conn->since : UINT64_MAX))
		return true;
	if (!conn && http_idle)
		conn = oldest_idle_young();
	if (conn)
		http_conn_end(conn, false);
	return conn;
}

bool http_pages_allowed(void)
{
	return page_pinned() < page_limit;
}

int64_t http_now_anew(uint64_t cycles)
{
	uint64_t ns = clock_realtime_ns();

	http_second = (int64_t)(ns / NS_PER_SEC);
	http_second_end = cycles + clock_ns_to_cycles(NS_PER_SEC - ns % NS_PER_SEC);
	return http_second;
}

int64_t http_now(void)
{
	return http_now_at(clock_cycles());
}

// The request did not come in time: say so where there is a request at all.
static void head_timed_out(struct http_conn *conn)
{
	http_count_timeout(HTTP_TIMEOUT_HEAD);
	http_conn_unwait(conn);
	if (conn->x && conn->x->stage == HTTP_STAGE_HEAD)
		http_answer_closing(conn->x, 408, "The request did not arrive in time.");
	else
		http_conn_linger(conn);
	http_conn_kick(conn);
}

// A body that stands still gets an answer; an answer that stands still cannot.
static void stalled(struct http_conn *conn)
{
	http_count_timeout(HTTP_TIMEOUT_STALL);
	if (!conn->x || conn->x->stage != HTTP_STAGE_RECEIVE) {
		http_conn_end(conn, true);
		return;
	}
	http_conn_unwait(conn);
	http_answer(conn->x, 408, "The body did not arrive in time.");
	http_conn_kick(conn);
}

static void expire(enum http_list list, uint64_t limit, uint64_t now)
{
	struct http_conn *conn;

	while ((conn = first_of(list)) && clock_cycles_to_ns(now - conn->since) >= limit) {
		switch (list) {
		case HTTP_LIST_HEAD:
			head_timed_out(conn);
			break;
		case HTTP_LIST_STALL:
			stalled(conn);
			break;
		case HTTP_LIST_IDLE:
			http_count_timeout(HTTP_TIMEOUT_IDLE);
			http_conn_end(conn, false);
			break;
		default:
			http_count_timeout(HTTP_TIMEOUT_LINGER);
			http_conn_end(conn, false);
		}
	}
}

// Each that waits tries once; those that are stopped again stand at the end of the new list.
static void retry(void)
{
	struct http_link now;

	take_all(&retries, &now);
	while (now.next != &now) {
		struct http_conn *conn = CONTAINER_OF(now.next, struct http_conn, retry);
		http_conn_unretry(conn);
		http_conn_kick(conn);
	}
}

static void tick(struct wtd *work)
{
	uint64_t now = clock_cycles();

	tick_soon = false;
	read_page_limit();
	http_recall_age();
	sort_young(now);
	http_parked_expire(http_config.idle_ns, now);
	expire(HTTP_LIST_IDLE, http_config.idle_ns, now);
	expire(HTTP_LIST_HEAD, http_config.head_ns, now);
	expire(HTTP_LIST_STALL, http_config.stall_ns, now);
	expire(HTTP_LIST_LINGER, HTTP_LINGER_NS, now);
	retry();
	arm();
	stack_flush();
}
