// SPDX-License-Identifier: BSD-2-Clause
// SOURCES: server/http_body.c server/http_parse.c server/http_head.c kernel/string.c
// Bodies of requests as content and framing, whole and in pieces of every size, and the framings that request
// smuggling is made of.
#include <stdarg.h>
#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>
#include "kernel/kstring.h"
#include "server/http_body.h"
#include "shim.h"

struct outcome {
	enum http_body_result result;
	char content[4096];
	size_t len, used;
};

static const struct http_request chunked = {.chunked = true};

// In pieces of `piece` bytes, of which the receiver takes `greed` at a time.
static struct outcome read_body(const struct http_request *r, const char *bytes, size_t len,
				size_t piece, size_t greed)
{
	struct outcome o = {.result = HTTP_BODY_MORE};
	struct http_body body;

	assert_true(http_body_init(&body, r));
	while (o.used < len && (o.result == HTTP_BODY_MORE || o.result == HTTP_BODY_DATA)) {
		size_t n = MIN(piece, len - o.used), used, data;
		char *copy = malloc(n);
		memcpy(copy, bytes + o.used, n);
		o.result = http_body_next(&body, copy, n, &used, &data);
		if (o.result == HTTP_BODY_DATA) {
			data = MIN(data, greed);
			memcpy(o.content + o.len, copy + used, data);
			o.len += data;
			http_body_took(&body, data);
			used += data;
		}
		o.used += used;
		free(copy);
	}
	if (o.result == HTTP_BODY_DATA) {
		size_t used, data;
		o.result = http_body_next(&body, "", 0, &used, &data);
	}
	return o;
}

static void expect(const struct http_request *r, const char *bytes, const char *content,
		   enum http_body_result result, size_t used)
{
	for (size_t piece = 1; piece < 20; piece++)
		for (size_t greed = 1; greed < 9; greed++) {
			struct outcome o = read_body(r, bytes, strlen(bytes), piece, greed);
			if (o.result != result || o.used != used)
				fail_msg("%s: pieces of %zu: %d after %zu", bytes, piece, o.result,
					 o.used);
			assert_int_equal(o.len, strlen(content));
			assert_memory_equal(o.content, content, o.len);
		}
}

static void content_of_a_known_length_ends_where_it_says(void **state)
{
	struct http_request r = {.content_length = 5};
	struct http_body body;

	expect(&r, "helloGET /", "hello", HTTP_BODY_END, 5);
	expect(&r, "hell", "hell", HTTP_BODY_MORE, 4);
	assert_false(http_body_init(&body, &(struct http_request){0}));
}

static void chunks_are_put_together_whatever_their_cut(void **state)
{
	static const char text[] = "3\r\nabc\r\n1;name=\"x\"\r\nd\r\n00a\r\n0123456789\r\n"
				   "0\r\nTrailer: x\r\nOther: y\r\n\r\nGET /";
	expect(&chunked, text, "abcd0123456789", HTTP_BODY_END, sizeof(text) - 1 - 5);
	expect(&chunked, "0\r\n\r\n", "", HTTP_BODY_END, 5);
}

static void ambiguous_framing_is_refused(void **state)
{
	static const struct {
		const char *bytes, *content;
		size_t used;
	} bad[] = {
	    {"\r\n", "", 0},
	    {"x\r\n", "", 0},
	    {"-1\r\n", "", 0},
	    {"+1\r\n", "", 0},
	    {"0x1\r\n", "", 1},
	    {" 1\r\n", "", 0},
	    {"1 \r\n", "", 1},
	    {"1\n", "", 1},
	    {"1\r\r\n", "", 2},
	    {"1\r\nab\r\n", "a", 4},
	    {"1\r\na\n", "a", 4},
	    {"1\r\na\rb", "a", 5},
	    {"1;\x01\r\n", "", 2},
	    {"0\r\n x: y\r\n", "", 3},
	    {"0\r\nT\n", "", 4},
	    {"0\r\nGET / HTTP/1.1\r\nHost: x\r\n\r\n", "", 6},
	    {"0\r\nT\r\n\r\n", "", 4},
	    {"0\r\n\r\r", "", 4},
	    {"ffffffffffffffff\r\n", "", 15},
	};
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		struct outcome o = read_body(&chunked, bad[i].bytes, strlen(bad[i].bytes), 99, 99);
		if (o.result != HTTP_BODY_BAD)
			fail_msg("case %zu: %d", i, o.result);
		assert_int_equal(o.len, strlen(bad[i].content));
	}
}

static void framing_without_end_is_refused(void **state)
{
	static char text[HTTP_BODY_MAX + 4096];
	size_t len = 3;

	memcpy(text, "0\r\n", 3);
	while (len + 5 < sizeof(text)) {
		memcpy(text + len, "T: v\r\n", 6);
		len += 6;
	}
	assert_int_equal(read_body(&chunked, text, len, 1000, 99).result, HTTP_BODY_BAD);
	memset(text + 2, 'x', 3000);
	memcpy(text, "1;", 2);
	assert_int_equal(read_body(&chunked, text, 3000, 1000, 99).result, HTTP_BODY_BAD);
}

// Random content in random chunks, cut at random.
static void any_cut_gives_the_same_content(void **state)
{
	for (int round = 0; round < 2000; round++) {
		char text[8192], content[1500];
		size_t len = 0, total = shim_random_below(sizeof(content)), at = 0;

		for (size_t i = 0; i < total; i++)
			content[i] = (char)shim_random();
		while (at < total) {
			size_t n = 1 + shim_random_below(MIN(total - at, (size_t)600));
			len +=
			    (size_t)sprintf(text + len, shim_random_below(2) ? "%zx" : "0%zX", n);
			len +=
			    (size_t)sprintf(text + len, shim_random_below(3) ? "\r\n" : ";a=b\r\n");
			memcpy(text + len, content + at, n);
			memcpy(text + len + n, "\r\n", 2);
			len += n + 2;
			at += n;
		}
		len += (size_t)sprintf(text + len, "0\r\n\r\n");
		struct outcome o = read_body(&chunked, text, len, 1 + shim_random_below(700),
					     1 + shim_random_below(700));
		assert_int_equal(o.result, HTTP_BODY_END);
		assert_int_equal(o.used, len);
		assert_int_equal(o.len, total);
		assert_memory_equal(o.content, content, total);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(content_of_a_known_length_ends_where_it_says),
	    cmocka_unit_test(chunks_are_put_together_whatever_their_cut),
	    cmocka_unit_test(ambiguous_framing_is_refused),
	    cmocka_unit_test(framing_without_end_is_refused),
	    cmocka_unit_test(any_cut_gives_the_same_content),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
