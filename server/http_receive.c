// SPDX-License-Identifier: BSD-2-Clause
// Bodies of requests: see http_receive.h.
#include "server/http_receive.h"
#include "kernel/kstat.h"
#include "kernel/kstring.h"
#include "kernel/panic.h"
#include "kernel/pmm.h"
#include "net/pagebuf.h"

#define TEXTS_MAX  (16UL << 20) // bytes of all bodies that are collected in memory
#define TEXT_FIRST PAGE_SIZE	// what one of unknown length gets at first

static uint64_t texts_now;
static uint64_t received;
KSTAT_COUNTER(received, "pagewire_http_received_bytes_total",
	      "Bytes of request bodies that somebody wanted, framing not counted");

static void complete(struct http_exchange *x)
{
	x->body_read = true;
	x->keep_alive = x->request.keep_alive;
	x->receiver->complete(x);
}

void http_receive_begin(struct http_exchange *x, const struct http_receiver *receiver)
{
	x->receiver = receiver;
	x->body_begun = true;
	x->received = 0;
	x->stage = HTTP_STAGE_RECEIVE;
	if (!http_body_init(&x->conn->body, &x->request)) {
		complete(x);
		return;
	}
	x->continue_due = x->request.expect_continue;
	x->conn->progress = 0;
	http_conn_wait(x->conn, HTTP_LIST_STALL, true);
}

// RFC 9110 section 10.1.1: not needed when the body has begun to come.
void http_receive_continue(struct http_exchange *x)
{
	static const char line[] = "HTTP/1.1 100 Continue\r\n\r\n";
	err_t err;

	if (!x->continue_due || x->conn->held) {
		x->continue_due = false;
		return;
	}
	err = genbuf_write(x->conn->pcb, line, sizeof(line) - 1, false);
	if (err == ERR_MEM) {
		http_conn_retry(x->conn);
		return;
	}
	x->continue_due = false;
	if (err != ERR_OK) {
		http_conn_doom(x->conn);
		return;
	}
	x->conn->unacked += sizeof(line) - 1;
	http_bytes_sent += sizeof(line) - 1;
}

static void progress(struct http_conn *conn, size_t bytes)
{
	received += bytes;
	conn->x->received += bytes;
	conn->progress += (uint32_t)bytes;
	if (conn->progress < HTTP_STALL_BYTES)
		return;
	conn->progress = 0;
	if (conn->list == HTTP_LIST_STALL)
		http_conn_wait(conn, HTTP_LIST_STALL, true);
}

size_t http_receive(struct http_exchange *x, const char *bytes, size_t len)
{
	struct http_conn *conn = x->conn;
	size_t done = 0;

	x->continue_due = false;
	while (x->stage == HTTP_STAGE_RECEIVE && !x->receive_waits) {
		size_t used, data, n;
		enum http_body_result result =
		    http_body_next(&conn->body, bytes + done, len - done, &used, &data);
		done += used;
		if (result == HTTP_BODY_MORE)
			break;
		if (result == HTTP_BODY_END) {
			complete(x);
			break;
		}
		if (result != HTTP_BODY_DATA) {
			http_answer(x, 400, "The framing of the body is malformed.");
			break;
		}
		n = x->receiver->take(x, bytes + done, data);
		ASSERT(n == data || x->receive_waits || x->stage != HTTP_STAGE_RECEIVE);
		http_body_took(&conn->body, n);
		progress(conn, n);
		done += n;
	}
	return done;
}

// ---- documents ---------------------------------------------------------------------------------------

void http_receive_free(struct http_exchange *x)
{
	if (!x->text.bytes)
		return;
	kpages_free(x->text.bytes, x->text.size);
	texts_now -= x->text.size;
	x->text.bytes = NULL;
	x->text.len = x->text.size = 0;
}

static bool text_grow(struct http_exchange *x, size_t size)
{
	char *to;

	size = ALIGN_UP(size, PAGE_SIZE);
	if (texts_now + size > TEXTS_MAX || !(to = kpages_alloc(size)))
		return false;
	if (x->text.bytes) {
		memcpy(to, x->text.bytes, x->text.len);
		kpages_free(x->text.bytes, x->text.size);
		texts_now -= x->text.size;
	}
	texts_now += size;
	x->text.bytes = to;
	x->text.size = size;
	return true;
}

static size_t text_take(struct http_exchange *x, const char *bytes, size_t len)
{
	size_t need = x->text.len + len;

	if (need > x->text.most) {
		http_answer(x, 413, "The body is longer than such a request needs.");
		return 0;
	}
	if (need > x->text.size && !text_grow(x, MAX(MAX(need, 2 * x->text.size), TEXT_FIRST))) {
		http_answer(x, 503, "There is no memory for the request's body.");
		return 0;
	}
	memcpy(x->text.bytes + x->text.len, bytes, len);
	x->text.len += len;
	return len;
}

static void text_complete(struct http_exchange *x)
{
	x->text_done(x);
}

void http_receive_text(struct http_exchange *x, size_t most, void (*done)(struct http_exchange *x))
{
	static const struct http_receiver text = {text_take, text_complete};

	x->text.most = most;
	x->text_done = done;
	if (x->request.content_length > most)
		http_answer_closing(x, 413, "The body is longer than such a request needs.");
	else
		http_receive_begin(x, &text);
}
