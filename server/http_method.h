// SPDX-License-Identifier: BSD-2-Clause
// Methods as rows of a table: each file that serves one adds its row, and the exchange asks the table.
//
//	HTTP_METHOD(MKCOL, .on = HTTP_ON_ABSENT, .changes = true, .rights = RIGHT_CREATE, .found = mkcol_found);
//
// The way of a request through its row, all in fast WTD context:
//
//	head complete, path decoded          http_decide_head      501, 405, 400, 414, 503
//	HTTP_STAGE_ADMIT                     http_admit            changes without write=on: 405; rights: 401, 403
//	HTTP_STAGE_FIND, WAIT_NAME           http_exchange.c       the path is looked up
//	row->found(x, status)                the row's file        decides, and leaves x in the stage it wants:
//
//	  http_answer(x, ...)                an answer that is ready (HTTP_STAGE_SEND)
//	  http_job_start(job, x)             work that sleeps (HTTP_STAGE_WAIT_JOB); done sets the stage
//	  http_receive_text(x, ...)          the request's body, small, in memory (HTTP_STAGE_RECEIVE)
//
// An answer with a body of its own: x->made filled, x->made_type, x->status, x->body = HTTP_BODY_MADE and
// HTTP_STAGE_SEND. One with fields of its own: x->fields, called when the head is written.
#pragma once

#include "server/http_conn.h"
#include "server/rights.h"

enum http_resource { // what a path leads to; bits
	HTTP_ON_ABSENT = BIT(0),
	HTTP_ON_FILE = BIT(1),
	HTTP_ON_COLLECTION = BIT(2),
	HTTP_ON_RESERVED = BIT(3), // below /.pagewire
};
#define HTTP_ON_ANY (HTTP_ON_ABSENT | HTTP_ON_FILE | HTTP_ON_COLLECTION | HTTP_ON_RESERVED)

struct http_method_row {
	enum http_method method;
	const char *name;
	uint8_t on;   // enum http_resource: where it stands in Allow
	bool changes; // is there only with write=on
	uint8_t
	    rights; // enum right: asked for the request's path before it is looked up. 0, and it changes
		    // something: any; found asks for what the look-up says it takes
	// The path was looked up. 0: x->inode is a reference, of any type but INODE_SYMLINK; or -ENOENT,
	// -ENOTDIR (a file stands where a directory should), -ELOOP, -ENAMETOOLONG. Everything else was
	// answered. Sets the stage.
	void (*found)(struct http_exchange *x, int status);
};
#define HTTP_METHOD(id, ...)                                                                       \
	static const struct http_method_row http_method_##id TABLE_ROW(http_methods) = {           \
	    .method = HTTP_##id, .name = #id, __VA_ARGS__}

void http_method_start(void); // boot: indexes the rows
// Null: nobody serves it. Fast WTD context.
const struct http_method_row *http_method_row(enum http_method method);
// HTTP_STAGE_ADMIT: whether it may be served at all. Leaves x in HTTP_STAGE_FIND, in WAIT_JOB (it will come
// again) or with an answer.
void http_admit(struct http_exchange *x);
// 0, or the answer (401, 403) was given, or -EAGAIN: as rights_check, which will come back to HTTP_STAGE_ADMIT:
// the caller forgets what it has decided.
int http_may(struct http_exchange *x, const char *path, size_t len, unsigned rights) MUST_CHECK;
// The same as rights_check_any.
int http_may_any(struct http_exchange *x, const char *path, size_t len) MUST_CHECK;
// The value of Allow: the methods for a resource of the kinds x->resource, or of any kind if that is 0.
void http_allow(const struct http_exchange *x, struct text *t);
