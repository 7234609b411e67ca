// SPDX-License-Identifier: BSD-2-Clause
// The HTTP server: the listening socket, and lwIP's callbacks on each connection. What a callback does
// is always the same: tell the connection what happened, take its work as far as it goes
// (http_conn_run), then settle: end it, or note what it waits for. Fast WTD context but for
// http_start and the shutdown steps.
#include "server/http.h"
#include "fs/volume.h"
#include "kernel/cmdline.h"
#include "kernel/console.h"
#include "kernel/kprintf.h"
#include "kernel/kstring.h"
#include "kernel/lock.h"
#include "kernel/thread.h"
#include "net/pagebuf.h"
#include "net/stack.h"
#include "server/http_conn.h"
#include "server/http_file.h"
#include "server/auth.h"
#include "server/rights_file.h"

#define BACKLOG		255
#define FINISH_NS	(5 * NS_PER_SEC) // what DOWN gives the answers in flight
#define FINISH_CHECK_NS (20 * NS_PER_MS)

struct http_config http_config = {
    .port = 80,
    .connections_max = 20000,
    .per_address_max = 1000,
    .idle_ns = 60 * NS_PER_SEC,
    .head_ns = 10 * NS_PER_SEC,
    .stall_ns = 60 * NS_PER_SEC,
    .limits = {HTTP_HEAD_MAX, HTTP_TARGET_MAX, HTTP_HEADERS_MAX},
};

struct volume *http_root;
static struct tcp_pcb *listener;
static uint32_t refused_open; // connections that only carry a 503

static bool parse_count(const char *value, uint64_t low, uint64_t high, uint64_t *out)
{
	return value && kparse_u64(value, strlen(value), out) && *out >= low && *out <= high;
}
#define COUNT_OPTION(id, word, usage, field, low, high, unit)                                      \
	static bool set_##id(const char *value)                                                    \
	{                                                                                          \
		uint64_t n;                                                                        \
		if (!parse_count(value, low, high, &n))                                            \
			return false;                                                              \
		http_config.field = (__typeof__(http_config.field))(n * (unit));                   \
		return true;                                                                       \
	}                                                                                          \
	CMDLINE_OPTION(id, word, usage, set_##id)

COUNT_OPTION(port, "http_port", "http_port=80  the port the HTTP server listens on", port, 1, 65535,
	     1);
COUNT_OPTION(connections, "http_connections", "http_connections=20000  HTTP connections in all",
	     connections_max, 1, 1000000, 1);
COUNT_OPTION(per_address, "http_per_address",
	     "http_per_address=1000  HTTP connections from one address, 0: any number",
	     per_address_max, 0, 1000000, 1);
COUNT_OPTION(idle, "http_idle", "http_idle=60  seconds a connection may be idle", idle_ns, 1, 86400,
	     NS_PER_SEC);
COUNT_OPTION(head, "http_head", "http_head=10  seconds a request's head may take", head_ns, 1,
	     86400, NS_PER_SEC);
COUNT_OPTION(stall, "http_stall", "http_stall=60  seconds a client may take nothing", stall_ns, 1,
	     86400, NS_PER_SEC);

static err_t on_recv(void *arg, struct tcp_pcb *pcb, struct pbuf *p, err_t err)
{
	struct http_conn *conn = arg;

	if (UNLIKELY(!p)) {
		conn->fin_seen = true;
		if (conn->x)
			http_conn_run(conn);
	} else if (UNLIKELY(!http_conn_input(conn, p))) {
		return ERR_MEM;
	}
	return http_conn_settle(conn);
}

static int on_data(void *arg, struct tcp_pcb *pcb, const void *data, u16_t len)
{
	return http_conn_input_in_place(arg, data, len);
}

static __attribute__((noinline)) err_t sent_in_part(struct http_conn *conn, struct tcp_pcb *pcb,
						    uint16_t len)
{
	http_conn_acked(conn, len);
	if (http_conn_between(conn))
		return http_conn_settle(conn);
	if (conn->x && conn->x->wants > tcp_sndbuf(pcb) && conn->unacked && !conn->unusual)
		return ERR_OK;
	if (conn->x || conn->held)
		http_conn_run(conn);
	return http_conn_settle(conn);
}

static err_t on_sent(void *arg, struct tcp_pcb *pcb, u16_t len)
{
	struct http_conn *conn = arg;

	if (UNLIKELY(len != conn->unacked || !conn->young || !http_conn_between(conn)))
		return sent_in_part(conn, pcb, len);
	conn->unacked = conn->progress = 0;
	http_conn_settle_between(conn, clock_cycles());
	return ERR_OK;
}

// The block is lwIP's no more: reset by the peer, given up after too many retransmissions, or closed.
static void on_err(void *arg, err_t err)
{
	struct http_conn *conn = arg;

	conn->pcb = NULL;
	if (err != ERR_CLSD)
		http_resets++;
	http_conn_end(conn, false);
}

void http_conn_attach(struct http_conn *conn, struct tcp_pcb *pcb)
{
	tcp_arg(pcb, conn);
	tcp_take(pcb, on_data);
	tcp_recv(pcb, on_recv);
	tcp_sent(pcb, on_sent);
	tcp_err(pcb, on_err);
	tcp_nagle_disable(pcb);
}

void http_conn_detach(struct tcp_pcb *pcb)
{
	tcp_arg(pcb, NULL);
	tcp_take(pcb, NULL);
	tcp_recv(pcb, NULL);
	tcp_sent(pcb, NULL);
	tcp_err(pcb, NULL);
}

// A short answer and a FIN for a connection that cannot be served; a reset when even that is too much.
static err_t refuse(struct tcp_pcb *pcb, enum http_refusal why)
{
	static const char answer[] = "HTTP/1.1 503 Service Unavailable\r\n"
				     "Content-Type: text/plain; charset=utf-8\r\n"
				     "Content-Length: 41\r\n"
				     "Retry-After: 1\r\n"
				     "Connection: close\r\n\r\n"
				     "503 The server is busy. Try again later.\n";
	struct http_conn *conn = NULL;

	http_count_refusal(why);
	if (refused_open < HTTP_REFUSE_MAX)
		conn = http_conn_new(pcb, NULL);
	if (!conn) {
		tcp_abort(pcb);
		return ERR_ABRT;
	}
	http_conn_attach(conn, pcb);
	refused_open++;
	if (genbuf_write(pcb, answer, sizeof(answer) - 1, false) == ERR_OK)
		conn->unacked += sizeof(answer) - 1;
	http_conn_linger(conn);
	return http_conn_settle(conn);
}

void http_conn_refused_gone(void)
{
	refused_open--;
}

static err_t on_accept(void *arg, struct tcp_pcb *pcb, err_t err)
{
	struct http_address *from;
	struct http_conn *conn;
	enum http_refusal why;

	if (err != ERR_OK || !pcb)
		return ERR_VAL;
	http_accepted++;
	from = http_address_get(&pcb->remote_ip, &why);
	if (!from)
		return refuse(pcb, why);
	if (http_conn_count >= http_config.connections_max) {
		if (!http_end_oldest_idle()) {
			http_address_put(from);
			return refuse(pcb, HTTP_REFUSED_CONNECTIONS);
		}
		http_evicted++;
	}
	conn = http_conn_new(pcb, from);
	if (!conn) {
		http_address_put(from);
		return refuse(pcb, HTTP_REFUSED_MEMORY);
	}
	http_conn_attach(conn, pcb);
	return http_conn_settle(conn);
}

// DOWN: no new connections; the idle ones end.
static void stop_accepting(void)
{
	wtd_disable();
	if (listener)
		tcp_close(listener);
	listener = NULL;
	while (http_end_oldest_idle())
		;
	stack_flush();
	wtd_enable();
}
SHUTDOWN_STEP(http_accept, 10, "HTTP: stop accepting", stop_accepting);

// DOWN: answers in flight get their time, then are cut off.
static void finish_answers(void)
{
	for (uint64_t waited = 0; waited < FINISH_NS; waited += FINISH_CHECK_NS) {
		wtd_disable();
		while (http_end_oldest_idle())
			;
		stack_flush();
		wtd_enable();
		if (http_conn_count == 0)
			return;
		thread_sleep_ns(FINISH_CHECK_NS);
	}
	wtd_disable();
	http_conn_end_all();
	stack_flush();
	wtd_enable();
}
SHUTDOWN_STEP(http_finish, 20, "HTTP: finish what is in flight", finish_answers);

uint16_t http_port(void)
{
	return http_config.port;
}

void http_start(void)
{
	struct tcp_pcb *pcb;

	http_root = volume_root();
	http_file_start();
	http_conn_start();
	http_timer_start();
	auth_start();
	rights_file_start();
	wtd_disable();
	pcb = tcp_new_ip_type(IPADDR_TYPE_ANY);
	if (pcb && tcp_bind(pcb, IP_ANY_TYPE, http_config.port) == ERR_OK)
		listener = tcp_listen_with_backlog(pcb, BACKLOG);
	if (listener)
		tcp_accept(listener, on_accept);
	wtd_enable();
	if (!listener)
		kprintf("http: cannot listen on port %u\n", http_config.port);
}
