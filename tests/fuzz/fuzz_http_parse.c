// SPDX-License-Identifier: BSD-2-Clause
// libFuzzer target for all that reads bytes from a client: the request parser, paths, ranges, dates,
// conditions, bodies. Besides "no crash, no sanitizer report":
//   - cutting the same bytes in any pieces gives the same result;
//   - an accepted request, written out again in canonical form, means the same;
//   - no accepted path has a segment that could leave the root;
//   - a request that is served is one that llhttp (Node's parser) accepts, and both see the same framing.
//     llhttp may accept what we refuse; where we accept what llhttp refuses, excused() gives the reason.
// Build and run: make fuzz (tests/fuzz/fuzz.mk).
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "server/http_body.h"
#include "server/http_cond.h"
#include "server/http_date.h"
#include "server/http_parse.h"
#include "server/http_range.h"
#include "server/http_uri.h"
#include "fuzz_llhttp.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

// Small limits, so that they are met often.
static const struct http_parse_limits limits = {2048, 512, 20};

static const uint8_t *shown;
static size_t shown_len;

#define CHECK(cond)                                                                                \
	do {                                                                                       \
		if (!(cond)) {                                                                     \
			fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #cond);                 \
			fprintf(stderr, "%.*s\n", (int)shown_len, (const char *)shown);            \
			abort();                                                                   \
		}                                                                                  \
	} while (0)

struct outcome {
	enum http_parse_result result;
	struct http_parser p;
	size_t used;
	int status;
	struct http_request request;
};

// Cuts by the bits of `seed`; 0: one piece.
static struct outcome parse(const uint8_t *data, size_t size, uint32_t seed)
{
	struct outcome o = {0};
	const char *reason = NULL;

	http_parser_init(&o.p);
	while (o.used < size && o.result == HTTP_PARSE_MORE) {
		size_t left = size - o.used, used;
		size_t piece = seed ? 1 + seed % 17 : left;
		seed = seed ? seed * 1664525u + 1013904223u : 0;
		if (seed == 0 && piece != left)
			seed = 1;
		piece = piece < left ? piece : left;
		char *copy = malloc(piece); // exact, so that reading past it is seen
		memcpy(copy, data + o.used, piece);
		o.result = http_parse(&o.p, &limits, copy, piece, &used);
		free(copy);
		o.used += used;
		CHECK(used <= piece && (used == piece || o.result != HTTP_PARSE_MORE));
	}
	if (o.result == HTTP_PARSE_ERROR) {
		CHECK(o.p.status >= 400 && o.p.reason);
		o.status = o.p.status;
	} else if (o.result == HTTP_PARSE_HEAD) {
		CHECK(o.p.pos == o.used);
		char *head = malloc(o.p.pos);
		memcpy(head, data, o.p.pos);
		o.status = http_decode(head, &o.p, &o.request, &reason);
		CHECK((o.status == 0) == (reason == NULL));
		free(head);
	}
	return o;
}

static bool same_text(const char *a, struct http_view va, const char *b, struct http_view vb)
{
	return va.len == vb.len && memcmp(a + va.at, b + vb.at, va.len) == 0;
}

// Method, target and every field with one blank after the colon, parsed again.
static void reserialise(const char *head, const struct outcome *o)
{
	char *out = malloc(o->p.pos + 2 * o->p.header_count + 16);
	size_t n =
	    (size_t)sprintf(out, "%.*s %.*s HTTP/1.%d\r\n", o->p.method_len, head + o->p.method_at,
			    o->p.target_len, head + o->p.target_at, o->p.minor);
	const char *line = head + o->p.headers_at, *end = head + o->p.pos - 2;

	while (line < end) {
		const char *colon = memchr(line, ':', (size_t)(end - line));
		const char *cr = memchr(line, '\r', (size_t)(end - line));
		const char *value = colon + 1, *last = cr;
		while (*value == ' ' || *value == '\t')
			value++;
		while (last > value && (last[-1] == ' ' || last[-1] == '\t'))
			last--;
		n += (size_t)sprintf(out + n, "%.*s: %.*s\r\n", (int)(colon - line), line,
				     (int)(last - value), value);
		line = cr + 2;
	}
	n += (size_t)sprintf(out + n, "\r\n");
	struct outcome again = parse((const uint8_t *)out, n, 0);
	const struct http_request *a = &o->request, *b = &again.request;
	if (n <= limits.head_max) {
		CHECK(again.result == HTTP_PARSE_HEAD && again.status == 0 && again.used == n);
		CHECK(a->method == b->method && a->minor == b->minor);
		CHECK(a->keep_alive == b->keep_alive && a->chunked == b->chunked);
		CHECK(a->content_length == b->content_length && a->asterisk == b->asterisk);
		CHECK(same_text(head, a->target, out, b->target));
		CHECK(same_text(head, a->path, out, b->path) &&
		      same_text(head, a->host, out, b->host));
		CHECK(same_text(head, a->range, out, b->range));
		CHECK(same_text(head, a->if_range, out, b->if_range));
	}
	free(out);
}

static void use_fields(const char *head, const struct http_request *r)
{
	static const struct http_validators v = {"\"e\"", 3, 784111777};
	struct http_range ranges[HTTP_RANGES_MAX];
	char path[HTTP_PATH_MAX];
	struct http_path found;
	unsigned count;
	int64_t t;

	http_condition(head, r, &v, 1790000000);
	http_range_applies(head, r, &v, 1790000000);
	if (http_date_parse(head + r->if_modified_since.at, r->if_modified_since.len, 0, &t)) {
		char text[HTTP_DATE_LEN];
		int64_t back;
		http_date_format(t, text);
		CHECK(http_date_parse(text, HTTP_DATE_LEN, 0, &back) && back == t);
	}
	if (http_range_parse(head + r->range.at, r->range.len, 10000, ranges, &count) ==
	    HTTP_RANGE_SOME) {
		CHECK(count >= 1 && count <= HTTP_RANGES_MAX);
		for (unsigned i = 0; i < count; i++)
			CHECK(ranges[i].first <= ranges[i].last && ranges[i].last < 10000);
	}
	if (http_path_decode(head + r->path.at, r->path.len, path, &found) != 0)
		return;
	for (size_t at = 0; at < found.len;) {
		const char *slash = memchr(path + at, '/', found.len - at);
		size_t n = slash ? (size_t)(slash - path) - at : found.len - at;
		CHECK(n > 0 && !memchr(path + at, 0, n));
		CHECK(!(n == 1 && path[at] == '.'));
		CHECK(!(n == 2 && path[at] == '.' && path[at + 1] == '.'));
		at += n + 1;
	}
}

// Any text where the fields of COPY, MOVE, PUT and PATCH are read.
static void use_write_fields(const uint8_t *data, size_t size)
{
	static const char host[] = "h:80";
	char *text = malloc(size), out[HTTP_PATH_MAX];
	struct http_place place;
	struct http_path path;

	memcpy(text, data, size);
	if (http_content_range_parse(text, size, &place))
		CHECK(place.length && place.first + place.length <= INT64_MAX);
	if (http_update_range_parse(text, size, 1000, &place))
		CHECK(place.first <= INT64_MAX && place.length);
	if (http_destination_decode(text, size, host, sizeof(host) - 1, out, &path) == 0)
		CHECK(path.len <= HTTP_PATH_MAX && !memchr(out, 0, path.len));
	free(text);
}

static enum http_body_result skip_body(const struct http_request *r, const uint8_t *data,
				       size_t size, size_t piece, size_t *total)
{
	struct http_body body;
	enum http_body_result result = HTTP_BODY_MORE;

	*total = 0;
	if (!http_body_init(&body, r))
		return HTTP_BODY_END;
	while (*total < size && result == HTTP_BODY_MORE) {
		size_t n = size - *total < piece ? size - *total : piece, used;
		result = http_body_skip(&body, (const char *)data + *total, n, &used);
		*total += used;
	}
	return result;
}

// The same body as content: takes at most `greed` bytes of it at a time. *sum: of the content, in order.
static enum http_body_result receive_body(const struct http_request *r, const uint8_t *data,
					  size_t size, size_t piece, size_t greed, size_t *total,
					  uint64_t *sum)
{
	struct http_body body;
	enum http_body_result result = HTTP_BODY_MORE;

	*total = 0;
	*sum = 0;
	if (!http_body_init(&body, r))
		return HTTP_BODY_END;
	while (*total < size && (result == HTTP_BODY_MORE || result == HTTP_BODY_DATA)) {
		size_t n = size - *total < piece ? size - *total : piece, used, content;
		char *copy = malloc(n);
		memcpy(copy, data + *total, n);
		result = http_body_next(&body, copy, n, &used, &content);
		CHECK(used + content <= n && (result == HTTP_BODY_DATA) == (content > 0));
		CHECK(result != HTTP_BODY_MORE || used == n);
		content = content < greed ? content : greed;
		for (size_t i = 0; i < content; i++)
			*sum = *sum * 31 + (uint8_t)copy[used + i];
		if (content)
			http_body_took(&body, content);
		*total += used + content;
		free(copy);
	}
	if (result == HTTP_BODY_DATA) { // the bytes end with content: whether the body does, too
		size_t used, content;
		result = http_body_next(&body, "", 0, &used, &content);
	}
	return result;
}

static void use_body(const struct http_request *r, const uint8_t *data, size_t size, uint32_t seed)
{
	size_t skipped, again, taken, retaken;
	uint64_t sum, resum;
	enum http_body_result one = skip_body(r, data, size, size, &skipped);
	enum http_body_result many = skip_body(r, data, size, 1 + seed % 5, &again);
	CHECK(one == many && skipped == again);
	one = receive_body(r, data, size, size + 1, size + 1, &taken, &sum);
	many = receive_body(r, data, size, 1 + seed % 5, 1 + seed % 3, &retaken, &resum);
	CHECK(one == many && taken == retaken && sum == resum);
	CHECK(one == skip_body(r, data, size, size, &skipped) && taken == skipped);
}

// What we serve on purpose though llhttp refuses it.
static bool excused(const char *head, const struct outcome *o)
{
	// A minor version above 1 is spoken to as 1.1 (RFC 9110 section 2.5).
	if (o->p.minor > 1)
		return true;
	// curl sends unescaped bytes above 0x7f in a target; on the volume they are ordinary names. And
	// bytes such as '"' or '{' that RFC 3986 wants escaped hurt nobody.
	for (int i = 0; i < o->p.target_len; i++) {
		char c = head[o->p.target_at + i];
		if ((uint8_t)c >= 0x80 || strchr("\"<>\\^`{|}", c))
			return true;
	}
	// llhttp's URL machine knows fewer hosts in absolute form (underscores and such).
	return head[o->p.target_at] != '/' && head[o->p.target_at] != '*';
}

// White space behind a field's value may be a tab (RFC 9110, section 5.6.3); llhttp takes one for a part of a length or
// a coding.
static bool tab_behind_a_value(const char *head, int size)
{
	for (int i = 0; i < size; i++) {
		int end = i + 1;

		while (head[i] == '\t' && end < size && (head[end] == ' ' || head[end] == '\t'))
			end++;
		if (head[i] == '\t' && end < size && (head[end] == '\r' || head[end] == '\n'))
			return true;
	}
	return false;
}

static void ask_llhttp(const char *head, const struct outcome *o)
{
	struct llhttp_answer answer;

	if (o->request.method >= HTTP_METHODS || tab_behind_a_value(head, (int)o->p.pos))
		return;
	llhttp_ask(head, o->p.pos, &answer);
	if (!answer.accepted) {
		if (!excused(head, o))
			fprintf(stderr, "llhttp: %s\n", answer.reason);
		CHECK(excused(head, o));
		return;
	}
	CHECK(answer.chunked == o->request.chunked);
	CHECK(answer.length == o->request.content_length);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (size < 4)
		return 0;
	uint32_t seed = data[0] | (uint32_t)data[1] << 8;
	data += 2;
	size -= 2;
	shown = data;
	shown_len = size;
	use_write_fields(data, size);
	struct outcome whole = parse(data, size, 0), cut = parse(data, size, seed | 1);
	CHECK(whole.result == cut.result && whole.status == cut.status && whole.used == cut.used);
	CHECK(memcmp(&whole.request, &cut.request, sizeof(whole.request)) == 0);
	if (whole.result != HTTP_PARSE_HEAD || whole.status)
		return 0;
	char *head = malloc(whole.p.pos);
	memcpy(head, data, whole.p.pos);
	use_fields(head, &whole.request);
	reserialise(head, &whole);
	ask_llhttp(head, &whole);
	free(head);
	use_body(&whole.request, data + whole.used, size - whole.used, seed);
	return 0;
}
