// SPDX-License-Identifier: BSD-2-Clause
// What a request head means: the second step of the parser (http_parse.h). It runs over a head whose
// every byte was checked by http_parse.c, decides everything that the head alone decides, and refuses
// whatever two servers might read in two ways (RFC 9112 section 6.3, section 11.2). Pure.
#include "server/http_parse.h"
#include "kernel/kstring.h"

#define REFUSE(code, text)                                                                         \
	do {                                                                                       \
		*reason = (text);                                                                  \
		return (code);                                                                     \
	} while (0)

struct framing { // what the fields say about the body, before it is weighed
	unsigned hosts, lengths;
	bool coded;	   // a Transfer-Encoding field
	bool chunked_last; // ... whose last coding is chunked
	bool unknown_coding;
	bool chunked_early; // chunked stands before another coding
	bool close, keep;   // Connection options
};

static bool same_word(const char *text, size_t len, const char *lower)
{
	return strlen(lower) == len && kstrncasecmp(text, lower, len) == 0;
}

bool http_list_next(const char *text, size_t len, size_t *at, const char **item, size_t *item_len)
{
	size_t i = *at;

	while (i < len && (text[i] == ',' || text[i] == ' ' || text[i] == '\t'))
		i++;
	size_t start = i;
	bool quoted = false;
	for (; i < len && (quoted || text[i] != ','); i++) {
		if (text[i] == '"')
			quoted = !quoted;
		else if (quoted && text[i] == '\\' && i + 1 < len)
			i++;
	}
	*at = i;
	while (i > start && (text[i - 1] == ' ' || text[i - 1] == '\t'))
		i--;
	*item = text + start;
	*item_len = i - start;
	return i > start;
}

// One field line at `at`: its name and its value, blanks trimmed. Returns where the next line starts.
static uint16_t field_at(const char *head, uint16_t at, struct http_view *name,
			 struct http_view *value)
{
	uint16_t i = at;

	while (head[i] != ':')
		i++;
	*name = (struct http_view){at, i - at};
	i++;
	while (head[i] == ' ' || head[i] == '\t')
		i++;
	uint16_t start = i;
	while (head[i] != '\r')
		i++;
	uint16_t next = i + 2;
	while (i > start && (head[i - 1] == ' ' || head[i - 1] == '\t'))
		i--;
	*value = (struct http_view){start, i - start};
	return next;
}

bool http_header_next(const char *head, const struct http_request *request, const char *name,
		      uint16_t *cursor, struct http_view *value)
{
	uint16_t end = request->headers.at + request->headers.len;
	uint16_t at = *cursor ? *cursor : request->headers.at;

	while (at < end) {
		struct http_view found;
		at = field_at(head, at, &found, value);
		*cursor = at;
		if (same_word(head + found.at, found.len, name))
			return true;
	}
	*cursor = end;
	return false;
}

static bool host_ok(const char *host, size_t len)
{
	size_t i = 0;

	if (len && host[0] == '[') {
		for (i = 1; i < len && host[i] != ']'; i++)
			if (!((host[i] >= '0' && host[i] <= '9') || host[i] == ':' ||
			      host[i] == '.' ||
			      ((host[i] | 0x20) >= 'a' && (host[i] | 0x20) <= 'f')))
				return false;
		if (i++ == len || i == 2)
			return false;
	} else {
		for (; i < len && host[i] != ':'; i++)
			if (!http_is_tchar((uint8_t)host[i]) && !strchr("(),;=", host[i]))
				return false;
		if (i == 0 && len)
			return false;
	}
	if (i < len && host[i++] != ':')
		return false;
	for (; i < len; i++)
		if (host[i] < '0' || host[i] > '9')
			return false;
	return true;
}

// Content-Length = 1*DIGIT (RFC 9110 section 8.6), and one that fits.
static bool length_ok(const char *text, size_t len, uint64_t *out)
{
	uint64_t n = 0;

	for (size_t i = 0; i < len; i++) {
		if (text[i] < '0' || text[i] > '9' || n > (INT64_MAX - 9) / 10)
			return false;
		n = n * 10 + (uint64_t)(text[i] - '0');
	}
	*out = n;
	return len > 0;
}

static void connection_options(const char *text, size_t len, struct framing *f)
{
	const char *item;
	size_t at = 0, n;

	while (http_list_next(text, len, &at, &item, &n)) {
		f->close |= same_word(item, n, "close");
		f->keep |= same_word(item, n, "keep-alive");
	}
}

// An empty element makes some parsers see another list than others: as bad as a misplaced chunked.
static void transfer_codings(const char *text, size_t len, struct framing *f)
{
	f->coded = true;
	for (size_t at = 0; at <= len;) {
		const char *comma = memchr(text + at, ',', len - at);
		size_t end = comma ? (size_t)(comma - text) : len, from = at, to = end;
		while (from < to && (text[from] == ' ' || text[from] == '\t'))
			from++;
		while (to > from && (text[to - 1] == ' ' || text[to - 1] == '\t'))
			to--;
		f->chunked_early |= f->chunked_last || from == to;
		f->chunked_last = same_word(text + from, to - from, "chunked");
		f->unknown_coding |= !f->chunked_last;
		at = end + 1;
	}
}

enum field {
	F_HOST,
	F_LENGTH,
	F_CODING,
	F_CONNECTION,
	F_EXPECT,
	F_RANGE,
	F_IF_RANGE,
	F_IF_MODIFIED,
	F_IF_UNMODIFIED,
	F_REFERER,
	F_AGENT,
	F_IF_MATCH,
	F_IF_NONE_MATCH,
	F_ACCEPT,
	F_DAV_IF,
	F_OTHER
};

#define NAMED(text)                                                                                \
	{                                                                                          \
		text, sizeof(text) - 1                                                             \
	}
static const struct {
	const char *name;
	uint16_t len;
} fields[F_OTHER] = {
    [F_HOST] = NAMED("host"),
    [F_LENGTH] = NAMED("content-length"),
    [F_CODING] = NAMED("transfer-encoding"),
    [F_CONNECTION] = NAMED("connection"),
    [F_EXPECT] = NAMED("expect"),
    [F_RANGE] = NAMED("range"),
    [F_IF_RANGE] = NAMED("if-range"),
    [F_IF_MODIFIED] = NAMED("if-modified-since"),
    [F_IF_UNMODIFIED] = NAMED("if-unmodified-since"),
    [F_REFERER] = NAMED("referer"),
    [F_AGENT] = NAMED("user-agent"),
    [F_IF_MATCH] = NAMED("if-match"),
    [F_IF_NONE_MATCH] = NAMED("if-none-match"),
    [F_ACCEPT] = NAMED("accept"),
    [F_DAV_IF] = NAMED("if"),
};

static enum field field_of(const char *name, uint16_t len)
{
	unsigned id = 0;

	while (id < F_OTHER &&
	       (fields[id].len != len || kstrncasecmp(name, fields[id].name, len) != 0))
		id++;
	return id;
}

// The fields of which only one may stand: a second one makes both void.
static struct http_view *single(struct http_request *out, enum field id)
{
	switch (id) {
	case F_RANGE:
		return &out->range;
	case F_IF_RANGE:
		return &out->if_range;
	case F_IF_MODIFIED:
		return &out->if_modified_since;
	case F_IF_UNMODIFIED:
		return &out->if_unmodified_since;
	case F_REFERER:
		return &out->referer;
	case F_DAV_IF:
		return &out->dav_if;
	default:
		return &out->user_agent;
	}
}

static void once(struct http_view *slot, struct http_view value, uint32_t *seen, enum field id)
{
	*slot = (struct http_view){value.at, *seen & BIT(id) ? 0 : value.len};
	*seen |= BIT(id);
}

static int take_field(const char *head, enum field id, struct http_view v, struct http_request *out,
		      struct framing *f, uint32_t *seen, const char **reason)
{
	const char *text = head + v.at;

	switch (id) {
	case F_HOST:
		f->hosts++;
		if (!host_ok(text, v.len))
			REFUSE(400, "The Host field is malformed.");
		out->host = v;
		break;
	case F_LENGTH:
		if (f->lengths++ || !length_ok(text, v.len, &out->content_length))
			REFUSE(400, "The Content-Length is malformed or repeated.");
		break;
	case F_CODING:
		transfer_codings(text, v.len, f);
		break;
	case F_CONNECTION:
		connection_options(text, v.len, f);
		break;
	case F_EXPECT:
		if (!same_word(text, v.len, "100-continue"))
			REFUSE(417, "The only expectation that can be met is 100-continue.");
		out->expect_continue = true;
		break;
	case F_IF_MATCH:
		out->has_if_match = true;
		break;
	case F_IF_NONE_MATCH:
		out->has_if_none_match = true;
		break;
	case F_ACCEPT:
		out->has_accept = true;
		break;
	case F_OTHER:
		break;
	default:
		once(single(out, id), v, seen, id);
	}
	return 0;
}

static int weigh(const struct framing *f, struct http_request *out, const char **reason)
{
	if (f->hosts > 1 || (f->hosts == 0 && out->minor > 0))
		REFUSE(400, "A request must have one Host field.");
	if (f->coded) {
		if (f->lengths)
			REFUSE(400, "Content-Length and Transfer-Encoding exclude each other.");
		if (out->minor == 0)
			REFUSE(400, "HTTP/1.0 has no Transfer-Encoding.");
		if (f->chunked_early || !f->chunked_last)
			REFUSE(400,
			       "The last transfer coding, and only the last, must be chunked.");
		if (f->unknown_coding)
			REFUSE(501, "The transfer coding is not known here.");
		out->chunked = true;
	}
	if (out->minor == 0)
		out->expect_continue = false; // RFC 9110 section 10.1.1
	out->keep_alive = !f->close && (out->minor > 0 || f->keep);
	return 0;
}

static enum http_method method_of(const char *text, size_t len)
{
	static const char *const served[HTTP_METHODS] = {
	    [HTTP_HEAD] = "HEAD",	  [HTTP_OPTIONS] = "OPTIONS",
	    [HTTP_PUT] = "PUT",		  [HTTP_PATCH] = "PATCH",
	    [HTTP_DELETE] = "DELETE",	  [HTTP_MKCOL] = "MKCOL",
	    [HTTP_COPY] = "COPY",	  [HTTP_MOVE] = "MOVE",
	    [HTTP_PROPFIND] = "PROPFIND", [HTTP_PROPPATCH] = "PROPPATCH",
	    [HTTP_LOCK] = "LOCK",	  [HTTP_UNLOCK] = "UNLOCK"};
	static const char *const known[] = {"POST", "TRACE", "CONNECT", "REPORT", "SEARCH"};

	if (len == 3 && memcmp(text, "GET", 3) == 0)
		return HTTP_GET;
	for (unsigned m = HTTP_HEAD; m < HTTP_METHODS; m++)
		if (strlen(served[m]) == len && memcmp(text, served[m], len) == 0)
			return m;
	for (size_t i = 0; i < ARRAY_SIZE(known); i++)
		if (strlen(known[i]) == len && memcmp(text, known[i], len) == 0)
			return HTTP_KNOWN;
	return HTTP_FOREIGN;
}

// RFC 9112 section 3.2: origin form, absolute form (whose host beats the Host field), "*" for OPTIONS.
// Targets of methods that are not served are not looked at.
static int take_target(const char *head, struct http_request *out, const char **reason)
{
	static const char scheme[] = "http://";
	const size_t scheme_len = sizeof(scheme) - 1;
	const char *t = head + out->target.at;
	uint16_t i = 0, len = out->target.len;

	if (out->method >= HTTP_KNOWN)
		return 0;
	if (len == 1 && t[0] == '*') {
		out->asterisk = out->method == HTTP_OPTIONS;
		if (!out->asterisk)
			REFUSE(400, "The target * is for OPTIONS only.");
		return 0;
	}
	if (t[0] != '/') {
		if (len <= scheme_len || kstrncasecmp(t, scheme, scheme_len) != 0)
			REFUSE(400, "The request target is neither a path nor an http URI.");
		for (i = scheme_len; i < len && t[i] != '/' && t[i] != '?'; i++)
			;
		out->host = (struct http_view){out->target.at + scheme_len, i - scheme_len};
		if (i == scheme_len || !host_ok(t + scheme_len, out->host.len))
			REFUSE(400, "The host in the request target is malformed.");
	}
	const char *q = memchr(t + i, '?', len - i);
	uint16_t path_len = q ? (uint16_t)(q - (t + i)) : len - i;
	out->path = (struct http_view){out->target.at + i, path_len};
	if (q) {
		out->has_query = true;
		out->query =
		    (struct http_view){out->path.at + path_len + 1, len - i - path_len - 1};
	}
	return 0;
}

int http_decode(const char *head, const struct http_parser *p, struct http_request *out,
		const char **reason)
{
	struct framing f = {0};
	uint32_t seen = 0;

	*out = (struct http_request){
	    .minor = p->minor,
	    .method = method_of(head + p->method_at, p->method_len),
	    .method_name = {p->method_at, p->method_len},
	    .target = {p->target_at, p->target_len},
	    .headers = {p->headers_at, p->pos - 2 - p->headers_at},
	};
	for (uint16_t at = p->headers_at; at < p->pos - 2;) {
		struct http_view name, value;
		at = field_at(head, at, &name, &value);
		int status = take_field(head, field_of(head + name.at, name.len), value, out, &f,
					&seen, reason);
		if (status)
			return status;
	}
	int status = weigh(&f, out, reason);
	return status ? status : take_target(head, out, reason);
}
