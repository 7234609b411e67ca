// SPDX-License-Identifier: BSD-2-Clause
// SOURCES: server/http_parse.c server/http_head.c kernel/string.c
// The request parser against tables: what is accepted and what it means, what is refused and with which
// status, the limits, and that no way of cutting the bytes changes anything.
#include <stdarg.h>
#include <setjmp.h>
#include <stdlib.h>
#include <stdio.h>
#include <cmocka.h>
#include "kernel/kstring.h"
#include "server/http_parse.h"

static const struct http_parse_limits limits = {HTTP_HEAD_MAX, HTTP_TARGET_MAX, HTTP_HEADERS_MAX};

struct outcome {
	int status; // 0: a request
	size_t used;
	struct http_request request;
};

// Gives the text in pieces of `piece` bytes (the last one shorter) and decodes what comes out. -1: the
// head is not complete.
static struct outcome parse_in(const char *text, size_t len, size_t piece)
{
	struct http_parser p;
	struct outcome o = {.status = -1};
	enum http_parse_result result = HTTP_PARSE_MORE;
	const char *reason = NULL;

	http_parser_init(&p);
	for (size_t at = 0, used; at < len && result == HTTP_PARSE_MORE; at += used) {
		result = http_parse(&p, &limits, text + at, MIN(piece, len - at), &used);
		o.used += used;
	}
	if (result == HTTP_PARSE_ERROR) {
		assert_non_null(p.reason);
		o.status = p.status;
	} else if (result == HTTP_PARSE_HEAD) {
		assert_int_equal(p.pos, o.used);
		char *copy = malloc(p.pos); // exactly as long, so that ASan sees a read past it
		memcpy(copy, text, p.pos);
		o.status = http_decode(copy, &p, &o.request, &reason);
		assert_true((o.status == 0) == (reason == NULL));
		free(copy);
	}
	return o;
}

static struct outcome parse(const char *text)
{
	return parse_in(text, strlen(text), strlen(text));
}

#define H "Host: x\r\n"
static const struct {
	const char *text;
	int status;
} cases[] = {
    {"GET / HTTP/1.1\r\n" H "\r\n", 0},
    {"GET / HTTP/1.0\r\n\r\n", 0},
    {"\r\nGET / HTTP/1.1\r\n" H "\r\n", 0},
    {"GET / HTTP/1.1\r\nHost:\r\n\r\n", 0},
    {"GET / HTTP/1.1\r\nhOST:\t x:80 \t\r\n\r\n", 0},
    {"GET / HTTP/1.1\r\nHost: [::1]:8080\r\n\r\n", 0},
    {"GET /a?b=c&d HTTP/1.1\r\n" H "\r\n", 0},
    {"GET /\xc3\xbc HTTP/1.1\r\n" H "\r\n", 0},
    {"GET http://y/a HTTP/1.1\r\n" H "\r\n", 0},
    {"GET HTTP://y HTTP/1.1\r\n" H "\r\n", 0},
    {"OPTIONS * HTTP/1.1\r\n" H "\r\n", 0},
    {"CONNECT a:1 HTTP/1.1\r\n" H "\r\n", 0},
    {"GET / HTTP/1.2\r\n" H "\r\n", 0},
    {"GET / HTTP/1.1\r\n" H "Content-Length: 5\r\n\r\n", 0},
    {"GET / HTTP/1.1\r\n" H "Transfer-Encoding: chunked\r\n\r\n", 0},
    {"GET / HTTP/1.1\r\n" H "Transfer-Encoding: \t Chunked \r\n\r\n", 0},
    {"GET / HTTP/1.1\r\n" H "Expect: 100-Continue\r\n\r\n", 0},
    {"GET / HTTP/1.1\r\n" H "X-Empty:\r\nX-Obs: \xff\xfe\r\n\r\n", 0},
    // the request line
    {"GET  / HTTP/1.1\r\n" H "\r\n", 400},
    {"GET /  HTTP/1.1\r\n" H "\r\n", 400},
    {"GET / HTTP/1.1 \r\n" H "\r\n", 400},
    {" GET / HTTP/1.1\r\n" H "\r\n", 400},
    {"GET /\r\n" H "\r\n", 400},
    {"GET\t/ HTTP/1.1\r\n" H "\r\n", 400},
    {"G@T / HTTP/1.1\r\n" H "\r\n", 400},
    {"GET /#a HTTP/1.1\r\n" H "\r\n", 400},
    {"GET /a\x7f HTTP/1.1\r\n" H "\r\n", 400},
    {"GET a HTTP/1.1\r\n" H "\r\n", 400},
    {"GET * HTTP/1.1\r\n" H "\r\n", 400},
    {"GET https://y/ HTTP/1.1\r\n" H "\r\n", 400},
    {"GET http:// HTTP/1.1\r\n" H "\r\n", 400},
    {"GET http://u@y/ HTTP/1.1\r\n" H "\r\n", 400},
    {"GET / http/1.1\r\n" H "\r\n", 400},
    {"GET / HTTP/1.11\r\n" H "\r\n", 400},
    {"GET / HTTP/11\r\n" H "\r\n", 400},
    {"GET / HTTP/2.0\r\n" H "\r\n", 505},
    {"GET / HTTP/0.9\r\n" H "\r\n", 505},
    {"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505},
    {"\r\n\r\n\r\n\r\n\r\nGET / HTTP/1.1\r\n" H "\r\n", 400},
    {"\x16\x03\x01\x02", 400}, // TLS
    {"THISISAMETHODWITHMORETHANTHIRTYTWOLETTERS / HTTP/1.1\r\n" H "\r\n", 501},
    // line ends
    {"GET / HTTP/1.1\n" H "\r\n", 400},
    {"GET / HTTP/1.1\r\nHost: x\n\r\n", 400},
    {"GET / HTTP/1.1\r\nHost: x\r\r\n\r\n", 400},
    {"GET / HTTP/1.1\r\n" H "\n", 400},
    {"GET / HTTP/1.1\r\n" H "\rX", 400},
    {"\nGET / HTTP/1.1\r\n" H "\r\n", 400},
    // fields
    {"GET / HTTP/1.1\r\n\r\n", 400},
    {"GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n", 400},
    {"GET / HTTP/1.0\r\nHost: a\r\nHost: b\r\n\r\n", 400},
    {"GET / HTTP/1.1\r\nHost : x\r\n\r\n", 400},
    {"GET / HTTP/1.1\r\n Host: x\r\n\r\n", 400},
    {"GET / HTTP/1.1\r\nHost: x\r\n folded\r\n\r\n", 400},
    {"GET / HTTP/1.1\r\nHost: x\r\n\tfolded\r\n\r\n", 400},
    {"GET / HTTP/1.1\r\n" H ": nameless\r\n\r\n", 400},
    {"GET / HTTP/1.1\r\n" H "Nameless\r\n\r\n", 400},
    {"GET / HTTP/1.1\r\n" H "X-A: \x01\r\n\r\n", 400},
    {"GET / HTTP/1.1\r\n" H "X\x80: a\r\n\r\n", 400},
    {"GET / HTTP/1.1\r\nHost: a b\r\n\r\n", 400},
    {"GET / HTTP/1.1\r\nHost: a/b\r\n\r\n", 400},
    {"GET / HTTP/1.1\r\nHost: a, b\r\n\r\n", 400},
    {"GET / HTTP/1.1\r\nHost: a:b\r\n\r\n", 400},
    {"GET / HTTP/1.1\r\nHost: :80\r\n\r\n", 400},
    {"GET / HTTP/1.1\r\nHost: []\r\n\r\n", 400},
    {"GET / HTTP/1.1\r\nHost: [::1\r\n\r\n", 400},
    {"GET / HTTP/1.1\r\nHost: u@x\r\n\r\n", 400},
    {"GET / HTTP/1.1\r\n" H "Expect: tea\r\n\r\n", 417},
    // framing: what smuggling lives on
    {"GET / HTTP/1.1\r\n" H "Content-Length: 5\r\nContent-Length: 5\r\n\r\n", 400},
    {"GET / HTTP/1.1\r\n" H "Content-Length: 5, 5\r\n\r\n", 400},
    {"GET / HTTP/1.1\r\n" H "Content-Length: +5\r\n\r\n", 400},
    {"GET / HTTP/1.1\r\n" H "Content-Length: -1\r\n\r\n", 400},
    {"GET / HTTP/1.1\r\n" H "Content-Length: 0x5\r\n\r\n", 400},
    {"GET / HTTP/1.1\r\n" H "Content-Length: 5 \t5\r\n\r\n", 400},
    {"GET / HTTP/1.1\r\n" H "Content-Length:\r\n\r\n", 400},
    {"GET / HTTP/1.1\r\n" H "Content-Length: 99999999999999999999\r\n\r\n", 400},
    {"GET / HTTP/1.1\r\n" H "Content-Length : 5\r\n\r\n", 400},
    {"GET / HTTP/1.1\r\n" H "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n", 400},
    {"GET / HTTP/1.1\r\n" H "Transfer-Encoding: chunked\r\nContent-Length: 0\r\n\r\n", 400},
    {"GET / HTTP/1.0\r\n" H "Transfer-Encoding: chunked\r\n\r\n", 400},
    {"GET / HTTP/1.1\r\n" H "Transfer-Encoding: chunked, chunked\r\n\r\n", 400},
    {"GET / HTTP/1.1\r\n" H "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n",
     400},
    {"GET / HTTP/1.1\r\n" H "Transfer-Encoding: chunked, gzip\r\n\r\n", 400},
    {"GET / HTTP/1.1\r\n" H "Transfer-Encoding: chunked, identity\r\n\r\n", 400},
    {"GET / HTTP/1.1\r\n" H "Transfer-Encoding: chunked,\r\n\r\n", 400},
    {"GET / HTTP/1.1\r\n" H "Transfer-Encoding: ,chunked\r\n\r\n", 400},
    {"GET / HTTP/1.1\r\n" H "Transfer-Encoding: identity\r\n\r\n", 400},
    {"GET / HTTP/1.1\r\n" H "Transfer-Encoding: xchunked\r\n\r\n", 400},
    {"GET / HTTP/1.1\r\n" H "Transfer-Encoding: \"chunked\"\r\n\r\n", 400},
    {"GET / HTTP/1.1\r\n" H "Transfer-Encoding: chunked;a=b\r\n\r\n", 400},
    {"GET / HTTP/1.1\r\n" H "Transfer-Encoding:\r\n\r\n", 400},
    {"GET / HTTP/1.1\r\n" H "Transfer-Encoding: \x0b chunked\r\n\r\n", 400},
    {"GET / HTTP/1.1\r\n" H "Transfer-Encoding: gzip, chunked\r\n\r\n", 501},
    // not yet
    {"GET / HTTP/1.1\r\n" H "\r", -1},
    {"GET / HTTP/1.1\r\n" H, -1},
    {"GET", -1},
    {"\r\n", -1},
};

static void each_case_has_its_status(void **state)
{
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct outcome o = parse(cases[i].text);
		if (o.status != cases[i].status)
			fail_msg("case %zu: %d, expected %d: %s", i, o.status, cases[i].status,
				 cases[i].text);
	}
}

static void no_way_of_cutting_changes_anything(void **state)
{
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		size_t len = strlen(cases[i].text);
		struct outcome whole = parse_in(cases[i].text, len, len);
		for (size_t piece = 1; piece < len; piece++) {
			struct outcome o = parse_in(cases[i].text, len, piece);
			assert_int_equal(o.status, whole.status);
			assert_int_equal(o.used, whole.used);
			assert_memory_equal(&o.request, &whole.request, sizeof(o.request));
		}
	}
}

static void a_nul_anywhere_is_refused(void **state)
{
	static const char text[] = "GET /a?b HTTP/1.1\r\nHost: x\r\nX-Y: z\r\n\r\n";

	for (size_t i = 0; i < sizeof(text) - 1; i++) {
		char copy[sizeof(text)];
		memcpy(copy, text, sizeof(text));
		copy[i] = 0;
		assert_int_equal(parse_in(copy, sizeof(text) - 1, 7).status, 400);
	}
}

static void the_next_request_begins_where_the_head_ends(void **state)
{
	static const char one[] = "GET /1 HTTP/1.1\r\nHost: x\r\n\r\n";
	struct outcome o = parse("GET /1 HTTP/1.1\r\nHost: x\r\n\r\nGET /2 HTTP/1.1\r\n");

	assert_int_equal(o.status, 0);
	assert_int_equal(o.used, sizeof(one) - 1);
}

static void view_is(const char *text, struct http_view v, const char *want)
{
	assert_int_equal(v.len, strlen(want));
	assert_memory_equal(text + v.at, want, v.len);
}

static void the_parts_are_found(void **state)
{
	const char *text = "\r\nHEAD http://h:1/p%20q/r?s=t HTTP/1.1\r\nHost: other\r\n"
			   "Range:  bytes=0-1 \r\nIf-Range: \"e\"\r\nUser-Agent: a b\r\n"
			   "Referer: r1\r\nReferer: r2\r\nIf-None-Match: \"a\"\r\n\r\n";
	struct outcome o = parse(text);
	const struct http_request *r = &o.request;

	assert_int_equal(o.status, 0);
	assert_int_equal(r->method, HTTP_HEAD);
	view_is(text, r->target, "http://h:1/p%20q/r?s=t");
	view_is(text, r->host, "h:1");
	view_is(text, r->path, "/p%20q/r");
	view_is(text, r->query, "s=t");
	view_is(text, r->range, "bytes=0-1");
	view_is(text, r->if_range, "\"e\"");
	view_is(text, r->user_agent, "a b");
	assert_int_equal(r->referer.len, 0);
	assert_true(r->has_if_none_match && !r->has_if_match && r->has_query && r->keep_alive);
}

static bool keeps(const char *text)
{
	struct outcome o = parse(text);
	assert_int_equal(o.status, 0);
	return o.request.keep_alive;
}

static void persistence_follows_version_and_connection(void **state)
{
	assert_true(keeps("GET / HTTP/1.1\r\n" H "\r\n"));
	assert_false(keeps("GET / HTTP/1.1\r\n" H "Connection: close\r\n\r\n"));
	assert_false(keeps("GET / HTTP/1.1\r\n" H "Connection: x, Close\r\n\r\n"));
	assert_false(
	    keeps("GET / HTTP/1.1\r\n" H "Connection: keep-alive\r\nConnection: close\r\n\r\n"));
	assert_false(keeps("GET / HTTP/1.0\r\n\r\n"));
	assert_true(keeps("GET / HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\n"));
	assert_false(keeps("GET / HTTP/1.0\r\nConnection: keep-alive, close\r\n\r\n"));
}

static int filled(const char *before, size_t count, const char *unit, const char *after)
{
	size_t size = strlen(before) + count * strlen(unit) + strlen(after) + 1;
	char *text = malloc(size);
	char *at = text + sprintf(text, "%s", before);
	for (size_t i = 0; i < count; i++)
		at += sprintf(at, "%s", unit);
	sprintf(at, "%s", after);
	int status = parse_in(text, size - 1, 977).status;
	free(text);
	return status;
}

static void each_limit_is_exact(void **state)
{
	const char *rest = " HTTP/1.1\r\n" H "\r\n";
	assert_int_equal(filled("GET /", HTTP_TARGET_MAX - 1, "a", rest), 0);
	assert_int_equal(filled("GET /", HTTP_TARGET_MAX, "a", rest), 414);
	const char *line = "GET / HTTP/1.1\r\n" H;
	assert_int_equal(filled(line, HTTP_HEADERS_MAX - 1, "a: b\r\n", "\r\n"), 0);
	assert_int_equal(filled(line, HTTP_HEADERS_MAX, "a: b\r\n", "\r\n"), 431);
	size_t fixed = strlen(line) + strlen("X: ") + 4;
	assert_int_equal(
	    filled("GET / HTTP/1.1\r\n" H "X: ", HTTP_HEAD_MAX - fixed, "v", "\r\n\r\n"), 0);
	assert_int_equal(
	    filled("GET / HTTP/1.1\r\n" H "X: ", HTTP_HEAD_MAX - fixed + 1, "v", "\r\n\r\n"), 431);
}

static void lists_are_cut_at_commas_outside_quotes(void **state)
{
	const char *text = " ,a ,\"b,c\\\"d\" , ,e", *item;
	static const char *const want[] = {"a", "\"b,c\\\"d\"", "e"};
	size_t at = 0, n, count = 0;

	while (http_list_next(text, strlen(text), &at, &item, &n)) {
		assert_int_equal(n, strlen(want[count]));
		assert_memory_equal(item, want[count++], n);
	}
	assert_int_equal(count, 3);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(each_case_has_its_status),
	    cmocka_unit_test(no_way_of_cutting_changes_anything),
	    cmocka_unit_test(a_nul_anywhere_is_refused),
	    cmocka_unit_test(the_next_request_begins_where_the_head_ends),
	    cmocka_unit_test(the_parts_are_found),
	    cmocka_unit_test(persistence_follows_version_and_connection),
	    cmocka_unit_test(each_limit_is_exact),
	    cmocka_unit_test(lists_are_cut_at_commas_outside_quotes),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
