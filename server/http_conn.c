// SPDX-License-Identifier: BSD-2-Clause
// A connection's life between lwIP's callbacks: feeding requests, running the exchange, settling what
// it waits for, lingering and ending. See http_conn.h for the objects and the states. Fast WTD context.
#include "server/http_conn.h"
#include "kernel/panic.h"
#include "kernel/timer.h"
#include "net/stack.h"
#include "server/http_method.h"
#include "server/http_recall.h"
#include "server/http_receive.h"

// http_connections= of them and HTTP_REFUSE_MAX that carry a refusal: set in http_conn_start.
struct pool http_conn_pool = POOL_INIT("http_conn", struct http_conn, 0);
uint32_t http_conn_count; // those that count against the maximum
static struct http_link all = {&all, &all};

void http_conn_start(void)
{
	http_held_start();
	http_conn_pool.maximum = http_config.connections_max + HTTP_REFUSE_MAX;
	http_method_start();
	http_exchange_start();
	http_recall_start();
	http_park_start();
}

struct http_conn *http_conn_new(struct tcp_pcb *pcb, struct http_address *from)
{
	struct http_conn *conn = pool_alloc(&http_conn_pool);

	if (!conn)
		return NULL;
	conn->pcb = pcb;
	conn->from = from;
	http_conn_count += from != NULL;
	http_link_add(&all, &conn->all);
	return conn;
}

void http_conn_doom(struct http_conn *conn)
{
	conn->doomed = true;
}

err_t http_conn_end(struct http_conn *conn, bool reset)
{
	struct tcp_pcb *pcb = conn->pcb;
	err_t result = ERR_OK;

	ASSERT(!conn->busy);
	if (conn->x)
		http_exchange_end(conn->x);
	while (conn->held)
		http_held_drop(conn);
	http_conn_unwait(conn);
	http_conn_unretry(conn);
	http_link_remove(&conn->all);
	if (conn->from) {
		http_address_put(conn->from);
		http_conn_count--;
	} else {
		http_conn_refused_gone();
	}
	pool_free(&http_conn_pool, conn);
	if (pcb) {
		http_conn_detach(pcb);
		if (reset || tcp_close(pcb) != ERR_OK) {
			tcp_abort(pcb);
			result = ERR_ABRT;
		}
	}
	http_retry_all();
	return result;
}

void http_conn_give_up(struct http_conn *conn)
{
	http_link_remove(&conn->all);
	pool_free(&http_conn_pool, conn);
}

void http_conn_take_up(struct http_conn *conn)
{
	http_link_add(&all, &conn->all);
	http_conn_attach(conn, conn->pcb);
	http_conn_wait_again(conn);
}

void http_conn_end_all(void)
{
	while (all.next != &all)
		http_conn_end(CONTAINER_OF(all.next, struct http_conn, all), true);
	http_parked_end_all();
	http_recall_forget();
}

void http_conn_linger(struct http_conn *conn)
{
	conn->lingering = true;
	conn->in_body = false;
	conn->linger_since = clock_cycles();
	if (conn->pcb && tcp_shutdown(conn->pcb, 0, 1) != ERR_OK)
		conn->doomed = true;
}

// What comes after the last answer is forgotten; the connection stays while it comes, so that the answer is read. One
// that only carries a refusal does not.
static void forget_more(struct http_conn *conn)
{
	uint64_t ns = clock_cycles_to_ns(clock_cycles() - conn->linger_since);

	if (conn->list == HTTP_LIST_LINGER && conn->from && ns < HTTP_LINGER_MOST_NS)
		http_conn_wait(conn, HTTP_LIST_LINGER, true);
}

void http_conn_acked(struct http_conn *conn, uint32_t bytes)
{
	conn->unacked -= MIN(conn->unacked, bytes);
	conn->progress += bytes;
	if (conn->progress < HTTP_STALL_BYTES && conn->unacked)
		return;
	conn->progress = 0;
	if (conn->list == HTTP_LIST_STALL && (conn->unacked || conn->x))
		http_conn_wait(conn, HTTP_LIST_STALL, true);
}

// The exchange is over: what follows it on the connection.
static void answered(struct http_conn *conn)
{
	struct http_exchange *x = conn->x;
	bool keep = x->keep_alive;

	ASSERT(!keep || !x->body_begun || x->body_read);
	if (keep && x->parsed && !x->body_begun)
		conn->in_body = http_body_init(&conn->body, &x->request);
	http_count_answer(x);
	http_remember(x);
	http_exchange_end(x);
	if (!keep)
		http_conn_linger(conn);
}

static void skip_body(struct http_conn *conn, const char *bytes, size_t len, size_t *used)
{
	enum http_body_result result = http_body_skip(&conn->body, bytes, len, used);

	conn->in_body = result == HTTP_BODY_MORE;
	if (result == HTTP_BODY_BAD || result == HTTP_BODY_TOO_LONG)
		http_conn_linger(conn);
}

// Begins the request that the bytes begin with. False: not now. A remembered one is over at once: `used`
// says how long it was.
static bool begin(struct http_conn *conn, const char *bytes, size_t len, size_t *used)
{
	if (tcp_sndbuf(conn->pcb) < HTTP_SMALL_ROOM && conn->unacked)
		return false;
	if (conn->turn == HTTP_TURN) {
		http_conn_retry(conn);
		http_retry_all();
		return false;
	}
	conn->turn++;
	*used = http_recall(conn, bytes, len);
	if (*used)
		return true;
	conn->x = http_exchange_new(conn);
	if (!conn->x) {
		http_count_refusal(HTTP_REFUSED_MEMORY);
		conn->doomed = true;
	}
	return conn->x;
}

// Uses the bytes as far as the connection can go now; returns how many.
static size_t take(struct http_conn *conn, const char *bytes, size_t len)
{
	size_t done = 0;

	while (done < len && !conn->doomed) {
		size_t used = 0;
		if (conn->lingering) {
			forget_more(conn);
			return len;
		}
		if (conn->in_body) {
			skip_body(conn, bytes + done, len - done, &used);
			done += used;
			continue;
		}
		if (!conn->x) {
			if (!begin(conn, bytes + done, len - done, &used))
				break;
			done += used;
			if (used && !conn->x)
				continue;
		}
		if (conn->x->stage == HTTP_STAGE_HEAD)
			used = http_exchange_feed(conn->x, bytes + done, len - done);
		else if (conn->x->stage == HTTP_STAGE_RECEIVE)
			used = http_receive(conn->x, bytes + done, len - done);
		else if (used) // a remembered request, answered in part
			used = 0;
		else
			break;
		done += used;
		if (conn->x->stage == HTTP_STAGE_HEAD)
			continue;
		if (http_exchange_run(conn->x))
			answered(conn);
		else if (conn->x->stage != HTTP_STAGE_RECEIVE || conn->x->receive_waits)
			break;
	}
	return done;
}

static void taken(struct http_conn *conn, size_t bytes)
{
	if (bytes && conn->pcb)
		tcp_recved(conn->pcb, (u16_t)bytes);
}

// What is not a remembered request on an otherwise idle connection. `used` bytes of it were answered; `begun`:
// in part. False: the rest of it, and what is chained behind it, is held now.
static bool input_slowly(struct http_conn *conn, struct pbuf *p, size_t used, bool begun)
{
	const char *bytes = p->payload;
	bool all;

	conn->busy = true;
	if (!conn->held || conn->lingering)
		used += take(conn, bytes + used, p->len - used);
	taken(conn, used);
	all = used == p->len;
	if (!all)
		http_held_add(conn, p, used);
	conn->busy = false;
	if (UNLIKELY(begun))
		http_conn_run(conn);
	return all;
}

bool http_conn_input_in_place(struct http_conn *conn, const char *bytes, size_t len)
{
	return http_conn_between(conn) && http_recall_all(conn, bytes, len);
}

bool http_conn_input(struct http_conn *conn, struct pbuf *p)
{
	if (UNLIKELY(conn->held) && http_held_enough(conn) && !conn->lingering) {
		return false;
	}
	p = stack_readable(p);
	if (UNLIKELY(!p))
		return false;
	for (struct pbuf *q = p; q; q = q->next) {
		size_t used = 0;
		bool begun = false;    // an answer of which memory allowed a part
		if (UNLIKELY(!q->len)) // where the headers were, over loopback
			continue;
		conn->turn = 0;
		if (LIKELY(!conn->x && !conn->held && !conn->unusual)) {
			used = http_recall(conn, q->payload, q->len);
			begun = conn->x;
			if (LIKELY(used == q->len && !begun)) {
				tcp_recved(conn->pcb, (u16_t)used);
				continue;
			}
		}
		if (!input_slowly(conn, q, used, begun))
			break;
	}
	pbuf_free(p);
	return true;
}

// The client has ended its side in the middle of the body.
static bool cut_short(struct http_conn *conn)
{
	struct http_exchange *x = conn->x;

	if (!conn->fin_seen || !x || x->stage != HTTP_STAGE_RECEIVE || x->receive_waits)
		return false;
	http_answer(x, 400, "The body ended before its end.");
	return true;
}

void http_conn_run(struct http_conn *conn)
{
	if (conn->busy)
		return;
	conn->busy = true;
	conn->turn = 0;
	while (!conn->doomed) {
		if (conn->x && conn->x->stage != HTTP_STAGE_HEAD) {
			if (http_exchange_run(conn->x)) {
				answered(conn);
				continue;
			}
			if (conn->x->stage != HTTP_STAGE_RECEIVE || conn->x->receive_waits)
				break;
		}
		if (!conn->held) {
			if (!cut_short(conn))
				break;
			continue;
		}
		struct pbuf *first = conn->held->next;
		size_t used = take(conn, first->payload, first->len);
		taken(conn, used);
		if (used == 0)
			break;
		pbuf_remove_header(first, used);
		if (first->len == 0)
			http_held_drop(conn);
	}
	conn->busy = false;
}

// What the connection waits for now.
static void settle_open(struct http_conn *conn)
{
	const struct http_exchange *x = conn->x;

	bool ours = conn->retrying && !conn->unacked; // our memory is short, not their window

	if (x && x->stage == HTTP_STAGE_RECEIVE)
		http_conn_wait(conn, x->receive_waits ? HTTP_LIST_NONE : HTTP_LIST_STALL, false);
	else if (x && x->stage != HTTP_STAGE_HEAD)
		http_conn_wait(conn,
			       x->stage == HTTP_STAGE_SEND && !x->getting && !ours ? HTTP_LIST_STALL
										   : HTTP_LIST_NONE,
			       false);
	else if (!x && conn->held && conn->retrying)
		http_conn_wait(conn, HTTP_LIST_NONE, false); // its next turn comes by itself
	else if (conn->in_body || (x && http_parser_started(&x->parser)))
		http_conn_wait(conn, HTTP_LIST_HEAD, false);
	else
		http_conn_wait(conn, conn->unacked ? HTTP_LIST_STALL : HTTP_LIST_IDLE, false);
}

err_t http_conn_settle_slowly(struct http_conn *conn)
{
	bool reading = !conn->x || conn->x->stage == HTTP_STAGE_HEAD;

	if (conn->doomed) {
		http_resets++;
		return http_conn_end(conn, true);
	}
	// The client has said all it will say, and has its answers: nothing can follow.
	if (conn->fin_seen && reading && !conn->held && !conn->lingering) {
		http_conn_linger(conn);
		if (conn->doomed)
			return http_conn_end(conn, true);
	}
	if (!conn->lingering) {
		settle_open(conn);
		return ERR_OK;
	}
	if (conn->unacked) {
		http_conn_wait(conn, HTTP_LIST_STALL, false);
		return ERR_OK;
	}
	if (conn->fin_seen)
		return http_conn_end(conn, false);
	http_conn_wait(conn, HTTP_LIST_LINGER, false);
	return ERR_OK;
}

void http_conn_kick(struct http_conn *conn)
{
	http_conn_run(conn);
	if (conn->pcb && !conn->doomed)
		tcp_output(conn->pcb);
	http_conn_settle(conn);
	stack_flush();
}
