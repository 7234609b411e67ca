// SPDX-License-Identifier: BSD-2-Clause
// The table of methods, and what every method has in common before its file is looked up: see
// http_method.h. Fast WTD context.
#include "server/http_method.h"
#include "kernel/kstring.h"
#include "kernel/panic.h"
#include "server/dav_lock.h"

extern const struct http_method_row __start_http_methods[], __stop_http_methods[];
static const struct http_method_row *rows[HTTP_METHODS];

void http_method_start(void)
{
	for (const struct http_method_row *r = __start_http_methods; r < __stop_http_methods; r++) {
		ASSERT(r->method < HTTP_METHODS && r->found);
		rows[r->method] = r;
	}
}

const struct http_method_row *http_method_row(enum http_method method)
{
	return method < HTTP_METHODS ? rows[method] : NULL;
}

void http_allow(const struct http_exchange *x, struct text *t)
{
	uint8_t on = x->resource ? x->resource : HTTP_ON_ANY;
	bool first = true;

	for (unsigned m = 0; m < HTTP_METHODS; m++) {
		const struct http_method_row *r = rows[m];
		if (!r || !(r->on & on) || (r->changes && !rights_writing()))
			continue;
		if (!first)
			text_str(t, ", ");
		text_str(t, r->name);
		first = false;
	}
}

int http_may(struct http_exchange *x, const char *path, size_t len, unsigned rights)
{
	int status = rights_check(x, path, len, rights);

	if (status > 0)
		http_answer(x, (uint16_t)status, x->reason);
	return status;
}

int http_may_any(struct http_exchange *x, const char *path, size_t len)
{
	int status = rights_check_any(x, path, len);

	if (status > 0)
		http_answer(x, (uint16_t)status, x->reason);
	return status;
}

// A directory's index file may have lines of its own in the users file. Who may not read it does without.
static int may_read_index(struct http_exchange *x)
{
	static const char index[] = "/index.html";
	const char *tail = x->path.len ? index : index + 1;
	size_t n = strlen(tail);
	int status = 0;

	if (rights_users()) {
		memcpy(x->path_text + x->path.len, tail, n);
		status = rights_check(x, x->path_text, x->path.len + n, RIGHT_READ);
	}
	x->index_now = status == 0;
	return MIN(status, 0);
}

// A directory that may be read and not listed shows its index file; one that may be listed and not read
// shows none.
static int may_read(struct http_exchange *x)
{
	int status = rights_check(x, x->path_text, x->path.len, RIGHT_READ);

	if (x->path.directory && status == 0)
		return may_read_index(x);
	if (status <= 0 || !x->path.directory)
		return status > 0 ? http_may(x, x->path_text, x->path.len, RIGHT_READ) : status;
	return http_may(x, x->path_text, x->path.len, RIGHT_LIST);
}

// Whether its path may be looked up for it.
static int may_look(struct http_exchange *x, const struct http_method_row *row)
{
	const char *path = x->path_text;
	size_t len = x->path.len;

	if (row->method == HTTP_GET || row->method == HTTP_HEAD)
		return may_read(x);
	if (row->rights)
		return http_may(x, path, len, row->rights);
	return row->changes ? http_may_any(x, path, len) : 0;
}

void http_admit(struct http_exchange *x)
{
	const struct http_method_row *row = rows[x->request.method];

	if (x->path.reserved) {
		x->resource = HTTP_ON_RESERVED;
		if (!(row->on & HTTP_ON_RESERVED)) {
			http_answer(x, 405, "That is the server's own.");
			return;
		}
	}
	if (row->changes && !rights_writing()) {
		http_answer(x, 405, "This server only reads: it was started without write=on.");
		return;
	}
	if (x->path.reserved && x->request.method != HTTP_OPTIONS) {
		http_decide_reserved(x);
	} else if (x->path.reserved) {
		row->found(x, -ENOENT);
	} else if (!http_root) {
		http_answer(x, 503, "No volume is mounted.");
	} else {
		if (may_look(x, row) != 0)
			return;
		int status = dav_if_weigh(x);
		if (status > 0)
			http_answer(x, (uint16_t)status, x->reason);
		else if (status == 0)
			x->stage = HTTP_STAGE_FIND;
	}
}

// ---- the methods that read -------------------------------------------------------------------------

static void get_found(struct http_exchange *x, int status)
{
	if (status)
		http_answer(x, 404, "There is no such file.");
	else if (x->inode->type == INODE_DIRECTORY)
		http_decide_directory(x);
	else if (x->inode->type == INODE_FILE && !x->path.directory)
		http_decide_file(x);
	else
		http_answer(x, 404, "There is no such file.");
}
HTTP_METHOD(GET, .on = HTTP_ON_FILE | HTTP_ON_COLLECTION | HTTP_ON_RESERVED, .rights = RIGHT_READ,
	    .found = get_found);
HTTP_METHOD(HEAD, .on = HTTP_ON_FILE | HTTP_ON_COLLECTION | HTTP_ON_RESERVED, .rights = RIGHT_READ,
	    .found = get_found);

static void options_found(struct http_exchange *x, int status)
{
	// Who may do nothing there is told what can be done to anything.
	if (!x->path.reserved && (!rights_users() || rights_of(&x->who, x->path_text, x->path.len)))
		x->resource = status				  ? HTTP_ON_ABSENT
			      : x->inode->type == INODE_DIRECTORY ? HTTP_ON_COLLECTION
								  : HTTP_ON_FILE;
	x->status = 200;
	x->body = HTTP_BODY_NONE;
	x->stage = HTTP_STAGE_SEND;
}
HTTP_METHOD(OPTIONS, .on = HTTP_ON_ANY, .found = options_found);
