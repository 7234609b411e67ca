// SPDX-License-Identifier: BSD-2-Clause
// What a request gets: all decisions, taken on checked values, before the first byte of the answer.
// Each function leaves the exchange in the stage that carries the decision out. Fast WTD context.
#include "server/http_conn.h"
#include "kernel/cpu.h"
#include "kernel/kprintf.h"
#include "kernel/kstring.h"
#include "kernel/timer.h"
#include "server/dirlist.h"
#include "server/http_cond.h"
#include "server/http_file.h"
#include "server/http_method.h"
#include "server/http_mime.h"
#include "server/http_response.h"
#include "server/metrics.h"

void http_answer(struct http_exchange *x, uint16_t status, const char *reason)
{
	if (x->body_begun && !x->body_read)
		x->keep_alive = false; // what is left of the body may be long
	x->status = status;
	x->reason = reason;
	x->body = HTTP_BODY_SHORT;
	x->stage = HTTP_STAGE_SEND;
}

void http_answer_closing(struct http_exchange *x, uint16_t status, const char *reason)
{
	x->keep_alive = false;
	x->started = x->started ? x->started : clock_cycles();
	http_answer(x, status, reason);
}

// Whether an Accept field asks for JSON rather than for HTML: it names application/json with a weight,
// and no text/html.
static bool wants_json(const struct http_exchange *x)
{
	struct http_view line;
	uint16_t cursor = 0;
	bool json = false, html = false;

	if (!x->request.has_accept)
		return false;
	while (http_header_next(x->head, &x->request, "accept", &cursor, &line)) {
		const char *item;
		size_t at = 0, n;
		while (http_list_next(x->head + line.at, line.len, &at, &item, &n)) {
			json |= n >= 16 && kstrncasecmp(item, "application/json", 16) == 0 &&
				(n == 16 || item[16] == ';' || item[16] == ' ');
			html |= n >= 9 && kstrncasecmp(item, "text/html", 9) == 0;
		}
	}
	return json && !html;
}

void http_decide_head(struct http_exchange *x)
{
	const struct http_request *r = &x->request;
	const char *reason = NULL;
	int status;

	x->started = clock_cycles();
	status = http_decode(x->head, &x->parser, &x->request, &reason);
	if (status) {
		http_answer_closing(x, (uint16_t)status, reason);
		return;
	}
	x->parsed = true;
	// A client that waits for "100 Continue" may or may not send its body after a final answer.
	x->keep_alive = r->keep_alive && !r->expect_continue && r->content_length <= HTTP_BODY_MAX;
	x->headless_body = r->method == HTTP_HEAD;
	if (r->method == HTTP_FOREIGN) {
		http_answer(x, 501, "The method is not known here.");
	} else if (!http_method_row(r->method)) {
		http_answer(x, 405, "The method is not served here.");
	} else if (r->content_length > HTTP_BODY_MAX && r->method <= HTTP_OPTIONS) {
		http_answer_closing(x, 413,
				    "No request here needs a body, least of all one so long.");
	} else if (r->asterisk) {
		x->status = 200;
		x->body = HTTP_BODY_NONE;
		x->stage = HTTP_STAGE_SEND;
	} else if ((status = http_path_decode(x->head + r->path.at, r->path.len, x->path_text,
					      &x->path)) != 0) {
		http_answer(x, (uint16_t)status,
			    status == 400   ? "The path has a malformed escape."
			    : status == 414 ? "The path is too long."
					    : "There is no such file.");
	} else {
		x->stage = HTTP_STAGE_ADMIT;
	}
}

const char *http_last_segment(const struct http_exchange *x, size_t *len)
{
	static const char index[] = "index.html";
	size_t at = x->path.len;

	if (x->index_used) {
		*len = sizeof(index) - 1;
		return index;
	}
	while (at && x->path_text[at - 1] != '/')
		at--;
	*len = x->path.len - at;
	return x->path_text + at;
}

static void random_boundary(struct http_parts *parts)
{
	ksnprintf(parts->boundary, sizeof(parts->boundary), "pagewire%015lx",
		  (unsigned long)(cpu_random() >> 4));
}

// RFC 9110 section 14.2: what the Range field makes of a 200.
static void decide_ranges(struct http_exchange *x, const struct http_validators *v)
{
	struct http_range ranges[HTTP_RANGES_MAX];
	unsigned count = 0;
	enum http_range_result result = HTTP_RANGE_NONE;

	x->size = x->inode->size;
	if (http_range_applies(x->head, &x->request, v, http_now()))
		result = http_range_parse(x->head + x->request.range.at, x->request.range.len,
					  x->size, ranges, &count);
	if (result == HTTP_RANGE_UNSATISFIABLE) {
		http_answer(x, 416, "The file has no such range.");
		return;
	}
	x->status = result == HTTP_RANGE_SOME ? 206 : 200;
	x->body = HTTP_BODY_FILE;
	x->range_first = result == HTTP_RANGE_SOME ? ranges[0].first : 0;
	x->range_last = result == HTTP_RANGE_SOME ? ranges[0].last : x->size - 1;
	if (count > 1) {
		if (!x->parts && !(x->parts = http_parts_new())) {
			http_answer(x, 503, "There is no memory for the request.");
			return;
		}
		memcpy(x->parts->ranges, ranges, count * sizeof(*ranges));
		x->parts->count = count;
		random_boundary(x->parts);
		x->body = HTTP_BODY_PARTS;
	}
	x->at = x->range_first;
	x->end = x->range_last + 1;
	x->stage = x->at < x->end && !x->headless_body ? HTTP_STAGE_FIRST : HTTP_STAGE_SEND;
}

void http_decide_file(struct http_exchange *x)
{
	size_t name_len;
	const char *name = http_last_segment(x, &name_len);

	x->mime = http_mime_find(name, name_len);
	http_decide_content(x);
}

void http_decide_content(struct http_exchange *x)
{
	const struct http_file *file = http_file_of(x->inode, x->mime);
	const struct http_validators v = {file->etag, file->etag_len, file->modified};

	switch (http_condition(x->head, &x->request, &v, http_now())) {
	case HTTP_COND_NOT_MODIFIED:
		x->status = 304;
		x->body = HTTP_BODY_NONE;
		x->stage = HTTP_STAGE_SEND;
		break;
	case HTTP_COND_FAILED:
		http_answer(x, 412, "The file is not what the request expects.");
		break;
	default:
		decide_ranges(x, &v);
	}
}

void http_decide_directory(struct http_exchange *x)
{
	int status;

	if (!x->path.directory) {
		http_answer(x, 301, "That is a directory; its address ends with a slash.");
		return;
	}
	status = http_may(x, x->path_text, x->path.len, RIGHT_LIST);
	if (status == -EAGAIN) {
		inode_put(x->inode);
		x->inode = NULL;
	}
	if (status)
		return;
	x->status = 200;
	x->json = wants_json(x);
	x->body = HTTP_BODY_LISTING;
	if (x->headless_body) {
		x->stage = HTTP_STAGE_SEND;
		return;
	}
	if (!http_exchange_keep(x) || !listing_start(x))
		http_answer(x, 503, "There is no memory for the listing.");
}

void http_decide_reserved(struct http_exchange *x)
{
	static const char prefix[] = ".pagewire/";
	const char *name = x->path_text + sizeof(prefix) - 1;
	size_t len = x->path.len > sizeof(prefix) - 1 ? x->path.len - (sizeof(prefix) - 1) : 0;

	if (x->path.directory)
		len = 0;
	if (len == 6 && memcmp(name, "health", 6) == 0) {
		x->json = wants_json(x);
		x->status = 200;
		x->body = HTTP_BODY_HEALTH;
		x->stage = HTTP_STAGE_SEND;
	} else if (len == 7 && memcmp(name, "metrics", 7) == 0) {
		x->status = 200;
		x->body = HTTP_BODY_MADE;
		if (!http_exchange_keep(x) || !metrics_start(x))
			http_answer(x, 503, "There is no memory for the metrics.");
	} else {
		http_answer(x, 404, "Here are /.pagewire/metrics and /.pagewire/health.");
	}
}
