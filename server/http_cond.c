// SPDX-License-Identifier: BSD-2-Clause
// Conditional requests: see http_cond.h.
#include "server/http_cond.h"
#include "server/http_date.h"
#include "kernel/kstring.h"

// Whether one entity-tag of a list is ours. A weak tag matches only in a weak comparison (RFC 9110
// section 8.8.3.2).
static bool tag_is(const char *tag, size_t len, const struct http_validators *v, bool weak)
{
	if (weak && len > 2 && tag[0] == 'W' && tag[1] == '/') {
		tag += 2;
		len -= 2;
	}
	return len == v->etag_len && memcmp(tag, v->etag, len) == 0;
}

static bool list_names_it(const char *head, const struct http_request *request, const char *field,
			  const struct http_validators *v, bool weak)
{
	struct http_view line;
	uint16_t cursor = 0;

	while (http_header_next(head, request, field, &cursor, &line)) {
		const char *item;
		size_t at = 0, n;
		while (http_list_next(head + line.at, line.len, &at, &item, &n))
			if ((n == 1 && item[0] == '*') || tag_is(item, n, v, weak))
				return true;
	}
	return false;
}

static bool date_of(const char *head, struct http_view field, int64_t now, int64_t *out)
{
	return field.len && http_date_parse(head + field.at, field.len, now, out);
}

enum http_condition http_condition(const char *head, const struct http_request *request,
				   const struct http_validators *v, int64_t now)
{
	int64_t date;

	if (request->has_if_match) {
		if (!list_names_it(head, request, "if-match", v, false))
			return HTTP_COND_FAILED;
	} else if (date_of(head, request->if_unmodified_since, now, &date) && v->modified > date) {
		return HTTP_COND_FAILED;
	}
	if (request->has_if_none_match)
		return list_names_it(head, request, "if-none-match", v, true)
			   ? HTTP_COND_NOT_MODIFIED
			   : HTTP_COND_SERVE;
	if (date_of(head, request->if_modified_since, now, &date) && v->modified <= date)
		return HTTP_COND_NOT_MODIFIED;
	return HTTP_COND_SERVE;
}

bool http_condition_to_change(const char *head, const struct http_request *request,
			      const struct http_validators *v, int64_t now)
{
	int64_t date;

	if (request->has_if_match) {
		if (!v || !list_names_it(head, request, "if-match", v, false))
			return false;
	} else if (v && date_of(head, request->if_unmodified_since, now, &date) &&
		   v->modified > date) {
		return false;
	}
	return !v || !request->has_if_none_match ||
	       !list_names_it(head, request, "if-none-match", v, true);
}

bool http_range_applies(const char *head, const struct http_request *request,
			const struct http_validators *v, int64_t now)
{
	const char *text = head + request->if_range.at;
	size_t len = request->if_range.len;
	int64_t date;

	if (request->range.len == 0 || request->method != HTTP_GET)
		return false;
	if (request->if_range.at == 0)
		return true;
	if (len == 0)
		return false;
	if (text[0] == '"' || text[0] == 'W')
		if (len > 1 && (text[0] == '"' || text[1] == '/'))
			return tag_is(text, len, v, false);
	return date_of(head, request->if_range, now, &date) && date == v->modified &&
	       v->modified < now;
}
