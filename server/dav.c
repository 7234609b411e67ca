// SPDX-License-Identifier: BSD-2-Clause
// What the WebDAV methods share: see dav.h; and OPTIONS' word for it.
#include "server/dav.h"
#include "kernel/kstring.h"
#include "kernel/pmm.h"
#include "server/dav_lock.h"
#include "server/rights.h"

static bool depth_field(const struct http_exchange *x, struct http_view *value)
{
	uint16_t cursor = 0;

	return http_header_next(x->head, &x->request, "depth", &cursor, value);
}

bool dav_has_depth(const struct http_exchange *x)
{
	struct http_view value;

	return depth_field(x, &value);
}

int dav_depth(const struct http_exchange *x)
{
	struct http_view value;
	const char *text;

	if (!depth_field(x, &value))
		return DAV_DEPTH_INFINITY;
	text = x->head + value.at;
	if (value.len == 1 && (text[0] == '0' || text[0] == '1'))
		return text[0] - '0';
	return value.len == 8 && kstrncasecmp(text, "infinity", 8) == 0 ? DAV_DEPTH_INFINITY : -1;
}

bool dav_answer_xml(struct http_exchange *x, uint16_t status, const char *text, size_t len)
{
	char *bytes = kpages_alloc(len);

	if (!bytes) {
		http_answer(x, 503, "There is no memory for the answer.");
		return false;
	}
	memcpy(bytes, text, len);
	if (x->body_begun && !x->body_read)
		x->keep_alive = false; // what is left of the body may be long
	x->made = (struct http_made){.bytes = bytes, .len = len, .size = len};
	x->made_type = "application/xml; charset=\"utf-8\"";
	x->status = status;
	x->body = HTTP_BODY_MADE;
	x->stage = HTTP_STAGE_SEND;
	return true;
}

// `path`: whose address stands in the element; null: none.
static void precondition(struct http_exchange *x, uint16_t status, const char *element,
			 const char *path, size_t len)
{
	static char body[3 * HTTP_PATH_MAX + 512]; // fast WTDs: one at a time
	struct text t = TEXT_OF(body);

	text_str(&t, "<?xml version=\"1.0\" encoding=\"utf-8\"?>\n<D:error xmlns:D=\"DAV:\"><D:");
	text_str(&t, element);
	if (path) {
		text_str(&t, "><D:href>/");
		text_uri(&t, path, len);
		text_str(&t, "</D:href></D:");
		text_str(&t, element);
		text_char(&t, '>');
	} else {
		text_str(&t, "/>");
	}
	text_str(&t, "</D:error>\n");
	dav_answer_xml(x, status, t.out, t.len);
}

void dav_precondition(struct http_exchange *x, uint16_t status, const char *element)
{
	precondition(x, status, element, NULL, 0);
}

void dav_answer_locked(struct http_exchange *x, const char *element, const struct dav_lock *lock)
{
	if (rights_of(&x->who, lock->path, lock->path_len) & (RIGHT_READ | RIGHT_LIST))
		precondition(x, 423, element, lock->path, lock->path_len);
	else
		http_answer(x, 423, "A lock is in the way.");
}
