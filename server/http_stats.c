// SPDX-License-Identifier: BSD-2-Clause
// What the HTTP server counts. The counters are touched in fast WTD context and read in any.
#include "kernel/kstat.h"
#include "kernel/timer.h"
#include "server/access_log.h"
#include "server/http_conn.h"

uint64_t http_accepted, http_evicted, http_resets, http_read_errors, http_bytes_sent;
KSTAT_COUNTER(http_accepted, "pagewire_http_accepted_total", "Connections accepted");
KSTAT_COUNTER(http_evicted, "pagewire_http_evicted_total",
	      "Idle connections closed to make room for new ones");
KSTAT_COUNTER(http_resets, "pagewire_http_resets_total",
	      "Connections that ended by a reset of either side");
KSTAT_COUNTER(http_read_errors, "pagewire_http_read_errors_total",
	      "Requests that a volume's read error ended");
KSTAT_COUNTER(http_bytes_sent, "pagewire_http_sent_bytes_total",
	      "Bytes of answers queued for sending, heads included");

static uint64_t one_pass;
KSTAT_COUNTER(one_pass, "pagewire_http_one_pass_total",
	      "Requests answered in the pass that received them");

static uint64_t codes[33];
#define CODE(place, text)                                                                          \
	KSTAT_COUNTER_L(code_##text, "pagewire_http_requests_total", "code=\"" #text "\"",         \
			"Answers by status code", codes[place])
CODE(0, 200);
CODE(1, 201);
CODE(2, 204);
CODE(3, 206);
CODE(4, 207);
CODE(5, 301);
CODE(6, 304);
CODE(7, 400);
CODE(8, 401);
CODE(9, 403);
CODE(10, 404);
CODE(11, 405);
CODE(12, 408);
CODE(13, 409);
CODE(14, 411);
CODE(15, 412);
CODE(16, 413);
CODE(17, 414);
CODE(18, 415);
CODE(19, 416);
CODE(20, 417);
CODE(21, 422);
CODE(22, 423);
CODE(23, 424);
CODE(24, 429);
CODE(25, 431);
CODE(26, 500);
CODE(27, 501);
CODE(28, 502);
CODE(29, 503);
CODE(30, 505);
CODE(31, 507);
CODE(32, other);

static const uint16_t code_of[] = {200, 201, 204, 206, 207, 301, 304, 400, 401, 403, 404,
				   405, 408, 409, 411, 412, 413, 414, 415, 416, 417, 422,
				   423, 424, 429, 431, 500, 501, 502, 503, 505, 507};
_Static_assert(ARRAY_SIZE(codes) == ARRAY_SIZE(code_of) + 1, "one for each, one for the rest");

static uint64_t timeouts[4], refusals[3];
#define TIMEOUT(place, text)                                                                       \
	KSTAT_COUNTER_L(timeout_##text, "pagewire_http_timeouts_total", "what=\"" #text "\"",      \
			"Connections that took too long, by what they took too long for",          \
			timeouts[place])
TIMEOUT(HTTP_TIMEOUT_IDLE, idle);
TIMEOUT(HTTP_TIMEOUT_HEAD, head);
TIMEOUT(HTTP_TIMEOUT_STALL, stall);
TIMEOUT(HTTP_TIMEOUT_LINGER, linger);
#define REFUSAL(place, text)                                                                       \
	KSTAT_COUNTER_L(refusal_##text, "pagewire_http_refused_total", "why=\"" #text "\"",        \
			"Connections and requests refused, by reason", refusals[place])
REFUSAL(HTTP_REFUSED_CONNECTIONS, connections);
REFUSAL(HTTP_REFUSED_ADDRESS, address);
REFUSAL(HTTP_REFUSED_MEMORY, memory);

static uint64_t connections_open(void)
{
	return http_conn_count;
}
static uint64_t connections_idle(void)
{
	return http_idle;
}
static uint64_t connections_parked(void)
{
	return http_parked_count;
}
static uint64_t connections_busy(void)
{
	return http_exchange_pool.used;
}
#define CONNECTIONS_HELP                                                                           \
	"Connections now: all, those without a request, of these the parked ones, requests in "    \
	"progress"
KSTAT_GAUGE_FN(conn_open, "pagewire_http_connections", "state=\"open\"", CONNECTIONS_HELP,
	       connections_open);
KSTAT_GAUGE_FN(conn_idle, "pagewire_http_connections", "state=\"idle\"", CONNECTIONS_HELP,
	       connections_idle);
KSTAT_GAUGE_FN(conn_parked, "pagewire_http_connections", "state=\"parked\"", CONNECTIONS_HELP,
	       connections_parked);
KSTAT_GAUGE_FN(conn_busy, "pagewire_http_connections", "state=\"request\"", CONNECTIONS_HELP,
	       connections_busy);

// From the head complete to the last byte queued: bucket n counts those below 2^(n+13) ns.
#define BUCKETS 20
#define SHIFT	13
static uint64_t latency[BUCKETS + 1], latency_sum_ns;

static void write_latency(void (*emit)(void *ctx, const char *format, ...), void *ctx)
{
	static const char name[] = "pagewire_http_request_seconds";
	uint64_t count = 0;

	emit(ctx, "# HELP %s From a complete request to its answer's last byte queued\n", name);
	emit(ctx, "# TYPE %s histogram\n", name);
	for (unsigned n = 0; n < BUCKETS; n++) {
		uint64_t below = 1UL << (n + SHIFT);
		count += latency[n];
		emit(ctx, "%s_bucket{le=\"%lu.%09lu\"} %lu\n", name,
		     (unsigned long)(below / NS_PER_SEC), (unsigned long)(below % NS_PER_SEC),
		     (unsigned long)count);
	}
	count += latency[BUCKETS];
	emit(ctx, "%s_bucket{le=\"+Inf\"} %lu\n", name, (unsigned long)count);
	emit(ctx, "%s_sum %lu.%09lu\n", name, (unsigned long)(latency_sum_ns / NS_PER_SEC),
	     (unsigned long)(latency_sum_ns % NS_PER_SEC));
	emit(ctx, "%s_count %lu\n", name, (unsigned long)count);
}
KSTAT_FAMILY(http_latency, write_latency);

static void count_latency(uint64_t ns)
{
	unsigned n = 0;

	if (ns >> SHIFT)
		n = MIN(64 - SHIFT - (unsigned)__builtin_clzll(ns), BUCKETS);
	latency[n]++;
	latency_sum_ns += ns;
}

void http_count_answer(const struct http_exchange *x)
{
	unsigned i = 0;

	while (i < ARRAY_SIZE(code_of) && code_of[i] != x->status)
		i++;
	codes[i]++;
	one_pass += x->stage == HTTP_STAGE_DONE && !x->all_kept;
	count_latency(clock_cycles_to_ns(clock_cycles() - x->started));
	access_log(x);
}

void http_count_recalled(struct http_conn *conn, const char *head,
			 const struct http_request *request, uint64_t sent, uint64_t started)
{
	static struct http_exchange told; // the log's view of it

	codes[0]++;
	one_pass++;
	count_latency(clock_cycles_to_ns(clock_cycles() - started));
	if (!access_log_on())
		return;
	told.conn = conn;
	told.head = head;
	told.request = *request;
	told.parsed = true;
	told.status = 200;
	told.sent = sent;
	access_log(&told);
}

void http_count_timeout(enum http_timeout what)
{
	timeouts[what]++;
}

void http_count_refusal(enum http_refusal why)
{
	refusals[why]++;
}
