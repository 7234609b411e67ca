// SPDX-License-Identifier: BSD-2-Clause
// Time for connections: one list for each thing that can take too long, in order of its clock, so that
// a tick looks at the heads only; and the connections that try again when memory or the bound on
// pinned pages stopped them. One delayed fast WTD, armed while there is a connection on any list.
#include "server/http_conn.h"
#include "kernel/panic.h"
#include "kernel/timer.h"
#include "server/http_recall.h"

static struct http_link lists[HTTP_LISTS]; // circular; lists[NONE] stays empty
static struct http_link retries = {&retries, &retries};
static uint64_t idle_count; // connections on lists[IDLE]
static uint64_t page_limit; // pages on the wire in all: half of what the cache can hold
static void tick(struct wtd *work);
static struct wtd tick_work = WTD_INIT(tick, "http timer");
static int64_t second; // Unix time, until `second_end`, in clock_cycles
static uint64_t second_end;
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
	second_end = 0;
	read_page_limit();
}

static void arm(void)
{
	bool soon = retries.next != &retries, any = soon;

	for (unsigned i = 0; i < HTTP_LISTS; i++)
		any |= lists[i].next != &lists[i];
	if (any && (tick_work.state == WTD_IDLE || (soon && !tick_soon))) {
		tick_soon = soon;
		wtd_post_after(&tick_work, WTD_FAST, soon ? HTTP_RETRY_NS : HTTP_TICK_NS);
	}
}

void http_conn_unwait(struct http_conn *conn)
{
	if (conn->list != HTTP_LIST_NONE)
		http_link_remove(&conn->link);
	idle_count -= conn->list == HTTP_LIST_IDLE;
	conn->list = HTTP_LIST_NONE;
}

void http_conn_wait(struct http_conn *conn, enum http_list list, bool restart)
{
	if (conn->list == list && !restart)
		return;
	http_conn_unwait(conn);
	conn->list = (uint8_t)list;
	if (list == HTTP_LIST_NONE)
		return;
	idle_count += list == HTTP_LIST_IDLE;
	conn->since = clock_cycles();
	http_link_add(&lists[list], &conn->link);
	if (tick_work.state == WTD_IDLE)
		arm();
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

struct http_conn *http_oldest_idle(void)
{
	return first_of(HTTP_LIST_IDLE);
}

uint64_t http_idle_count(void)
{
	return idle_count;
}

bool http_pages_allowed(void)
{
	return page_pinned() < page_limit;
}

int64_t http_now(void)
{
	uint64_t cycles = clock_cycles(), ns;

	if (UNLIKELY(cycles >= second_end)) {
		ns = clock_realtime_ns();
		second = (int64_t)(ns / NS_PER_SEC);
		second_end = cycles + clock_ns_to_cycles(NS_PER_SEC - ns % NS_PER_SEC);
	}
	return second;
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

static void expire(enum http_list list, uint64_t limit, uint64_t now)
{
	struct http_conn *conn;

	while ((conn = first_of(list)) && clock_cycles_to_ns(now - conn->since) >= limit) {
		switch (list) {
		case HTTP_LIST_HEAD:
			head_timed_out(conn);
			break;
		case HTTP_LIST_STALL:
			http_count_timeout(HTTP_TIMEOUT_STALL);
			http_conn_end(conn, true);
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
	struct http_link now = retries;

	if (retries.next == &retries)
		return;
	now.next->prev = now.prev->next = &now;
	retries.next = retries.prev = &retries;
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
	expire(HTTP_LIST_IDLE, http_config.idle_ns, now);
	expire(HTTP_LIST_HEAD, http_config.head_ns, now);
	expire(HTTP_LIST_STALL, http_config.stall_ns, now);
	expire(HTTP_LIST_LINGER, HTTP_LINGER_NS, now);
	retry();
	arm();
}
