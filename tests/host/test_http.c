// SPDX-License-Identifier: BSD-2-Clause
// SOURCES: tests/host/http_world_rights.c server/rights.c server/users.c server/auth.c server/auth_digest.c
// SOURCES: server/dav_if.c server/dav_if_weigh.c server/auth_delay.c kernel/siphash.c
// ARCHIVES: build/host/libcrypto.a
// SOURCES: tests/host/http_world.c tests/host/http_world_park.c server/http_park.c
// SOURCES: tests/host/http_world_files.c server/http.c server/http_conn.c
// SOURCES: server/http_timer.c server/http_address.c server/http_exchange.c server/http_decide.c
// SOURCES: server/http_send.c server/http_response.c server/http_file.c server/http_job.c
// SOURCES: server/http_stats.c server/http_parse.c server/http_head.c server/http_body.c
// SOURCES: server/http_uri.c server/http_range.c server/http_date.c server/http_cond.c
// SOURCES: server/http_mime.c server/http_mime_table.c server/http_text.c server/dirlist.c
// SOURCES: server/dirlist_write.c server/metrics.c server/access_log.c kernel/civil.c
// SOURCES: kernel/string.c server/http_recall.c
// SOURCES: server/http_method.c server/http_receive.c server/http_held.c
// SOURCES: server/http_put.c server/http_upload.c server/http_change.c server/http_tree.c server/dav.c
// SOURCES: server/http_copy.c server/http_collection.c tests/host/http_world_write.c kernel/copy.c server/dav_lock.c
// CFLAGS: -Itests/host/fake $(CRYPTO_CFLAGS)
// The connection machine against a TCP, a volume and a cache played by hand: what is answered, what is
// given back whatever happens, and each time-out and limit.
#include <stdarg.h>
#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>
#include "http_world.h"
#include "kernel/kstat.h"
#include "kernel/kstring.h"
#include "kernel/timer.h"
#include "server/http_conn.h"
#include "shim.h"

#define REQUEST(path) "GET " path " HTTP/1.1\r\nHost: x\r\n\r\n"
#define SIZE	      20000

static struct http_config defaults;

static int setup(void **state)
{
	if (!defaults.port)
		defaults = http_config;
	http_config = defaults;
	shim_init(8192);
	world_start();
	world_file("a.txt", 10, SIZE);
	world_file("empty", 11, 0);
	world_file("one", 12, 1);
	world_directory("d", 20);
	world_file("d/index.html", 21, 17);
	world_directory("plain", 22);
	world_file("plain/<b>&\"", 23, 5);
	world_file("plain/\xff\xfe", 24, 6);
	return 0;
}

static int teardown(void **state)
{
	world_finish();
	shim_finish();
	return 0;
}

struct answer {
	int status;
	char head[3000];
	const char *body;
	size_t body_len, total;
};

// The first answer in the bytes, framed as its head says. False: it is not all there.
static bool read_answer(const char *bytes, size_t len, bool head_only, struct answer *a)
{
	const char *end = len ? strstr(bytes, "\r\n\r\n") : NULL;

	if (!end)
		return false;
	size_t head_len = (size_t)(end - bytes) + 4;
	assert_true(head_len < sizeof(a->head));
	memcpy(a->head, bytes, head_len);
	a->head[head_len] = 0;
	a->status = atoi(bytes + 9);
	a->body = bytes + head_len;
	const char *length = strstr(a->head, "Content-Length: ");
	a->body_len = length ? strtoull(length + 16, NULL, 10) : 0;
	if (!head_only && strstr(a->head, "Transfer-Encoding: chunked")) {
		const char *last = strstr(a->body, "\r\n0\r\n\r\n");
		if (!last)
			return false;
		a->body_len = (size_t)(last + 7 - a->body);
	}
	if (head_only || a->status == 304 || a->status == 204)
		a->body_len = 0;
	a->total = head_len + a->body_len;
	return a->total <= len;
}

static struct answer heard(struct tcp_pcb *pcb, int status)
{
	struct answer a = {0};

	world_settle();
	if (!read_answer(world_heard(pcb), pcb->out_len, false, &a))
		fail_msg("no answer in: %.300s", world_heard(pcb));
	if (a.status != status)
		fail_msg("expected %d: %.300s", status, world_heard(pcb));
	return a;
}

static struct answer ask(const char *request, int status)
{
	struct tcp_pcb *pcb = world_connect(1);

	world_say(pcb, request, 0);
	struct answer a = heard(pcb, status);
	assert_int_equal(a.total, pcb->out_len);
	return a;
}

static void is_file(const char *bytes, uint64_t number, uint64_t from, size_t len)
{
	for (size_t i = 0; i < len; i++)
		assert_int_equal((uint8_t)bytes[i], world_byte(number, from + i));
}

static void a_cached_file_is_answered_in_the_pass_that_receives_the_request(void **state)
{
	struct tcp_pcb *pcb = world_connect(1);
	uint64_t before = kstat_get("pagewire_http_one_pass_total", NULL);

	world_say(pcb, REQUEST("/a.txt"), 0);
	assert_true(pcb->out_len > SIZE); // nothing ran in between
	assert_int_equal(kstat_get("pagewire_http_one_pass_total", NULL), before + 1);
	assert_int_equal(http_exchange_pool.used, 0);
	assert_int_equal(world_pages_wired, 5);
	struct answer a = heard(pcb, 200);
	assert_non_null(strstr(a.head, "Content-Type: text/plain; charset=utf-8\r\n"));
	assert_non_null(strstr(a.head, "Last-Modified: Sun, 06 Nov 1994 08:49:37 GMT\r\n"));
	assert_non_null(strstr(a.head, "ETag: \"1-a-7-2ebc98a1.5\"\r\n"));
	assert_non_null(strstr(a.head, "Date: Mon, 21 Sep 2026 14:13:20 GMT\r\n"));
	is_file(a.body, 10, 0, SIZE);
	assert_int_equal(world_pages_wired, 0);
}

static void each_kind_of_request_has_its_status(void **state)
{
	static const struct {
		const char *request;
		int status;
		const char *has;
	} cases[] = {
	    {REQUEST("/empty"), 200, "Content-Length: 0\r\n"},
	    {REQUEST("/d/"), 200, "Content-Length: 17\r\n"},
	    {REQUEST("/d"), 301, "Location: /d/\r\n"},
	    {REQUEST("/d?x=\"1\""), 301, "Location: /d/?x=%221%22\r\n"},
	    {REQUEST("//d"), 301, "Location: /d/\r\n"},
	    {REQUEST("/none"), 404, "text/plain"},
	    {REQUEST("/one/"), 404, ""},
	    {REQUEST("/one/x"), 404, ""},
	    {REQUEST("/%2e%2e/one"), 200, ""},
	    {REQUEST("/%00"), 400, ""},
	    {REQUEST("/.pagewire/health"), 200, "Content-Length: 3\r\n"},
	    {REQUEST("/.pagewire/x"), 404, ""},
	    {"OPTIONS * HTTP/1.1\r\nHost: x\r\n\r\n", 200, "Allow: GET, HEAD, OPTIONS\r\n"},
	    {"OPTIONS /one HTTP/1.1\r\nHost: x\r\n\r\n", 200, "\r\nContent-Length: 0\r\n"},
	    {"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabc", 405, "Allow: GET"},
	    {"BREW / HTTP/1.1\r\nHost: x\r\n\r\n", 501, ""},
	    {"GET / HTTP/1.1\r\n\r\n", 400, "Connection: close\r\n"},
	    {"GET / HTTP/3.0\r\n\r\n", 505, "Connection: close\r\n"},
	    {"GET / HTTP/1.1\r\nHost: x\r\nContent-Length: 99999\r\n\r\n", 413, "close"},
	    {"GET /one HTTP/1.1\r\nHost: x\r\nRange: bytes=1-\r\n\r\n", 416, "bytes */1\r\n"},
	    {"GET /one HTTP/1.1\r\nHost: x\r\nIf-Match: \"x\"\r\n\r\n", 412, ""},
	    {"GET /one HTTP/1.1\r\nHost: x\r\nIf-None-Match: *\r\n\r\n", 304, "ETag: "},
	    {"GET /one HTTP/1.0\r\nConnection: keep-alive\r\n\r\n", 200, "Connection: keep-alive"},
	    {"GET /one HTTP/1.0\r\n\r\n", 200, "Connection: close\r\n"},
	};
	for (unsigned miss = 0; miss <= 100; miss += 50)
		for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
			world.name_miss = world.page_miss = miss;
			struct answer a = ask(cases[i].request, cases[i].status);
			if (!strstr(a.head, cases[i].has))
				fail_msg("%s lacks %s", a.head, cases[i].has);
			assert_true(a.status < 400 || a.body_len > 10);
		}
}

static void head_answers_have_no_body(void **state)
{
	static const char *const paths[] = {
	    "/a.txt", "/none", "/d", "/plain/", "/.pagewire/health", "/.pagewire/metrics"};

	for (size_t i = 0; i < ARRAY_SIZE(paths); i++) {
		struct tcp_pcb *pcb = world_connect(1);
		char request[100];
		struct answer a;
		snprintf(request, sizeof(request), "HEAD %s HTTP/1.1\r\nHost: x\r\n\r\n", paths[i]);
		world_say(pcb, request, 0);
		world_settle();
		assert_true(read_answer(world_heard(pcb), pcb->out_len, true, &a));
		assert_int_equal(a.total, pcb->out_len);
	}
}

static void ranges_are_cut_out_of_the_pages(void **state)
{
	struct answer a =
	    ask("GET /a.txt HTTP/1.1\r\nHost: x\r\nRange: bytes=4095-8192\r\n\r\n", 206);

	assert_non_null(strstr(a.head, "Content-Range: bytes 4095-8192/20000\r\n"));
	assert_int_equal(a.body_len, 4098);
	is_file(a.body, 10, 4095, 4098);
	a = ask("GET /a.txt HTTP/1.1\r\nHost: x\r\nRange: bytes=0-9,5000-5999,-7\r\n\r\n", 206);
	const char *at = a.body;
	static const struct {
		unsigned from, len;
	} parts[] = {{0, 10}, {5000, 1000}, {19993, 7}};
	for (size_t i = 0; i < 3; i++) {
		char range[60];
		snprintf(range, sizeof(range), "Content-Range: bytes %u-%u/20000\r\n\r\n",
			 parts[i].from, parts[i].from + parts[i].len - 1);
		at = strstr(at, range);
		assert_non_null(at);
		at += strlen(range);
		is_file(at, 10, parts[i].from, parts[i].len);
		at += parts[i].len;
	}
	assert_memory_equal(a.body + a.body_len - 4, "--\r\n", 4);
}

static void listings_name_every_entry_in_both_forms(void **state)
{
	struct answer a = ask(REQUEST("/plain/"), 200);

	assert_non_null(strstr(a.body, "<a href=\"%3Cb%3E%26%22\">&lt;b&gt;&amp;&quot;</a>"));
	assert_non_null(strstr(a.body, "<a href=\"%FF%FE\">\xef\xbf\xbd\xef\xbf\xbd</a>"));
	assert_null(strstr(a.body, "<b>"));
	assert_non_null(strstr(a.head, "Content-Security-Policy: default-src 'none'"));
	a = ask("GET /plain/ HTTP/1.1\r\nHost: x\r\nAccept: application/json\r\n\r\n", 200);
	assert_non_null(strstr(a.body, "{\"name\":\"<b>&\\\"\",\"href\":\"%3Cb%3E%26%22\""));
	assert_non_null(strstr(a.body, "\"utf8\":false}"));
	a = ask(REQUEST("/.pagewire/metrics"), 200);
	assert_non_null(strstr(a.body, "pagewire_world{n=\"4999\"} 1\n"));
}

// Random requests, cuts, misses, acknowledgements and refusals of TCP, on several connections; every
// answer in order and to the byte.
static void pipelines_of_random_requests_under_random_weather(void **state)
{
	static const struct {
		const char *path;
		int status;
		uint64_t number;
		size_t size;
	} targets[] = {{"/a.txt", 200, 10, SIZE}, {"/empty", 200, 11, 0},
		       {"/one", 200, 12, 1},	  {"/none", 404, 0, 0},
		       {"/d/", 200, 21, 17},	  {"/d", 301, 0, 0},
		       {"/plain/", 200, 0, 0},	  {"/.pagewire/health", 200, 0, 0}};
	for (int round = 0; round < 150; round++) {
		static char text[200000];
		unsigned picks[60], count = 1 + (unsigned)shim_random_below(60);
		size_t len = 0, at = 0;
		world.name_miss = (unsigned)shim_random_below(3) * 30;
		world.page_miss = (unsigned)shim_random_below(3) * 30;
		world.snd_buf = 5000 + (uint32_t)shim_random_below(100000);
		struct tcp_pcb *pcb = world_connect(1);
		for (unsigned i = 0; i < count; i++) {
			picks[i] = (unsigned)shim_random_below(ARRAY_SIZE(targets));
			bool body = shim_random_below(4) == 0;
			len += (size_t)sprintf(text + len, "GET %s HTTP/1.1\r\nHost: x\r\n%s\r\n%s",
					       targets[picks[i]].path,
					       body ? "Content-Length: 9\r\n" : "",
					       body ? "GET / HTT" : "");
		}
		while (at < len && !world_gone(pcb)) {
			size_t n = 1 + shim_random_below(shim_random_below(2) ? 40 : 4000);
			n = MIN(n, len - at);
			world_say_bytes(pcb, text + at, n, 0);
			at += n;
			if (shim_random_below(8) == 0)
				world_fail_writes((unsigned)shim_random_below(4));
			for (uint64_t steps = shim_random_below(4); steps && world_step(); steps--)
				;
			world_writes_ok();
		}
		world_settle();
		shim_advance(HTTP_RETRY_NS * 2);
		world_settle();
		const char *out = world_heard(pcb);
		size_t left = pcb->out_len;
		for (unsigned i = 0; i < count; i++) {
			struct answer a;
			if (!read_answer(out, left, false, &a))
				fail_msg("answer %u of %u is missing", i, count);
			assert_int_equal(a.status, targets[picks[i]].status);
			if (targets[picks[i]].number) {
				assert_int_equal(a.body_len, targets[picks[i]].size);
				is_file(a.body, targets[picks[i]].number, 0, a.body_len);
			}
			out += a.total;
			left -= a.total;
		}
		if (left)
			fail_msg("%zu bytes too many: %.300s", left, out);
		world_fin(pcb);
		world_settle();
		assert_true(world_gone(pcb) && !pcb->aborted);
	}
}

static const char *const scenes[] = {
    REQUEST("/a.txt"),
    REQUEST("/a.txt") REQUEST("/plain/") REQUEST("/d"),
    "GET /a.txt HTTP/1.1\r\nHost: x\r\nRange: bytes=0-9,5000-5999,-7\r\n\r\n",
    REQUEST("/plain/") REQUEST("/.pagewire/metrics") REQUEST("/one"),
    "GET /a.txt HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nabcdeGET /one HTTP/1.0\r\n\r\n",
};

// teardown counts pages, references, pools and connections after each.
static void a_client_may_vanish_after_any_step(void **state)
{
	for (size_t s = 0; s < ARRAY_SIZE(scenes); s++)
		for (unsigned way = 0; way < 3; way++)
			for (unsigned after = 0; after < 60; after++) {
				world.name_miss = world.page_miss = after % 2 ? 100 : 0;
				world.snd_buf = 9000;
				struct tcp_pcb *pcb = world_connect(1);
				world_say(pcb, scenes[s], after % 3 ? 0 : 37);
				for (unsigned step = 0; step < after && world_step(); step++)
					;
				if (way == 0)
					world_reset(pcb);
				else if (way == 1)
					world_fin(pcb);
				else
					world_say(pcb, "\x01garbage", 1);
				world_settle();
				world_fin(pcb);
				world_settle();
				assert_true(world_gone(pcb));
				assert_int_equal(http_exchange_pool.used, 0);
				assert_int_equal(http_text_pool.used, 0);
			}
}

static void every_write_may_find_tcp_without_memory(void **state)
{
	for (size_t s = 0; s < ARRAY_SIZE(scenes); s++)
		for (unsigned k = 0; k < 20; k++) {
			static char want[60000];
			world_writes_ok();
			struct tcp_pcb *good = world_connect(1), *pcb = world_connect(2);
			world_say(good, scenes[s], 0);
			world_settle();
			strncpy(want, world_heard(good), sizeof(want) - 1);
			world_fail_writes(k);
			world_say(pcb, scenes[s], 0);
			world_settle();
			world_writes_ok();
			shim_advance(2 * HTTP_RETRY_NS);
			world_settle();
			assert_int_equal(pcb->out_len, good->out_len);
			assert_false(pcb->aborted);
			world_fin(good);
			world_fin(pcb);
			world_settle();
		}
}

static void every_allocation_may_fail(void **state)
{
	for (size_t s = 0; s < ARRAY_SIZE(scenes); s++)
		for (unsigned k = 0; k < 24; k++) {
			world.snd_buf = k < 12 ? 5000 : 65536;
			struct tcp_pcb *pcb = world_connect(1);
			world.name_miss = k % 2 ? 100 : 0;
			pool_fail_after(k);
			if (k % 3 == 0)
				shim_frames_fail_after(0);
			world_say(pcb, scenes[s], k % 4 ? 0 : 50);
			world_settle();
			pool_fail_off();
			shim_frames_fail_off();
			shim_advance(2 * HTTP_RETRY_NS);
			world_settle();
			world_fin(pcb);
			world_settle();
			assert_true(world_gone(pcb));
		}
}

static void an_unreadable_page_is_a_500_first_and_a_reset_later(void **state)
{
	struct inode *first = world_file("bad0", 30, SIZE), *later = world_file("bad3", 31, SIZE);

	world_spoil(first, 0);
	world_spoil(later, 3);
	ask(REQUEST("/bad0"), 500);
	struct tcp_pcb *pcb = world_connect(1);
	world_say(pcb, REQUEST("/bad3"), 0);
	world_settle();
	assert_true(pcb->aborted);
	assert_true(pcb->out_len < SIZE);
}

static void the_client_may_close_its_half_before_the_answer(void **state)
{
	struct tcp_pcb *pcb = world_connect(1);

	world.name_miss = world.page_miss = 100;
	world_say(pcb, REQUEST("/a.txt"), 0);
	world_fin(pcb);
	assert_false(world_gone(pcb));
	struct answer a = heard(pcb, 200);
	is_file(a.body, 10, 0, SIZE);
	assert_true(pcb->closed);
}

static void after_the_last_answer_the_connection_lingers(void **state)
{
	struct tcp_pcb *pcb = world_connect(1);

	world_say(pcb, "GET / HTTP/1.1\r\n\r\n", 0);
	heard(pcb, 400);
	assert_true(pcb->fin_sent && !world_gone(pcb));
	world_say(pcb, "more that nobody reads", 3);
	assert_int_equal(pcb->unread, 0);
	shim_advance(HTTP_LINGER_NS + 2 * HTTP_TICK_NS);
	assert_true(pcb->closed && !pcb->aborted);
}

static void the_log_has_a_line_for_each_answer(void **state)
{
	ask("GET /one?\"q\x80 HTTP/1.1\r\nHost: x\r\nReferer: r\r\nUser-Agent: a\"b\r\n\r\n", 200);
	assert_string_equal(world_log,
			    "10.0.0.1 - - [21/Sep/2026:14:13:20 +0000] "
			    "\"GET /one?\\x22q\\x80 HTTP/1.1\" 200 1 \"r\" \"a\\x22b\"\r\n");
	for (size_t len = 1; len <= 20; len++) // an escape at every place of every length
		for (size_t at = 0; at < len; at++) {
			char request[128], agent[32] = "", expected[64];

			for (size_t i = 0; i < len; i++)
				strcat(agent, i == at ? "\\" : "~");
			snprintf(request, sizeof(request),
				 "GET /one HTTP/1.1\r\nHost: x\r\nUser-Agent: %s\r\n\r\n", agent);
			ask(request, 200);
			snprintf(expected, sizeof(expected), " \"%.*s\\x5c%s\"\r\n", (int)at, agent,
				 agent + at + 1);
			assert_string_equal(world_log + strlen(world_log) - strlen(expected),
					    expected);
		}
	world_log_full = true;
	ask(REQUEST("/one"), 200);
	assert_int_equal(kstat_get("pagewire_access_log_lost_total", NULL), 1);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
	    TEST(a_cached_file_is_answered_in_the_pass_that_receives_the_request),
	    TEST(each_kind_of_request_has_its_status),
	    TEST(head_answers_have_no_body),
	    TEST(ranges_are_cut_out_of_the_pages),
	    TEST(listings_name_every_entry_in_both_forms),
	    TEST(pipelines_of_random_requests_under_random_weather),
	    TEST(a_client_may_vanish_after_any_step),
	    TEST(every_write_may_find_tcp_without_memory),
	    TEST(every_allocation_may_fail),
	    TEST(an_unreadable_page_is_a_500_first_and_a_reset_later),
	    TEST(the_client_may_close_its_half_before_the_answer),
	    TEST(after_the_last_answer_the_connection_lingers),
	    TEST(the_log_has_a_line_for_each_answer),
	};
	shim_seed();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
