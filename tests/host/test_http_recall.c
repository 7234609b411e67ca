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
// Remembered requests: that one is never answered with other bytes than the parser's, whatever requests
// come in whatever pieces, and that nothing outlives what it was learnt from.
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
#include "server/http_recall.h"
#include "shim.h"

#define SIZE	    20000
#define SCRIPTS	    40
#define SCRIPT_MOST 8192
#define PLAIN	    "GET /a.txt HTTP/1.1\r\nHost: x\r\n\r\n"

static struct inode *a_txt;

static int setup(void **state)
{
	shim_init(8192);
	world_start();
	a_txt = world_file("a.txt", 10, SIZE);
	world_file("empty", 11, 0);
	world_file("b.html", 12, 4096);
	world_file("big", 13, 16 * 4096 + 1);
	world_file("full", 14, 16 * 4096);
	world_file("long", 15, 100 * 4096 + 7);
	world_directory("d", 20);
	world_file("d/index.html", 21, 4097);
	world.snd_buf = 262144;
	return 0;
}

static int teardown(void **state)
{
	world_finish();
	shim_finish();
	return 0;
}

static uint64_t recalled(void)
{
	return kstat_get("pagewire_http_remembered_total", NULL);
}

static void say(struct tcp_pcb *pcb, const char *request, unsigned times)
{
	while (times--) {
		world_say(pcb, request, 0);
		world_settle();
	}
}

static void the_third_time_needs_no_parser_and_answers_the_same(void **state)
{
	struct tcp_pcb *pcb = world_connect(1);
	uint64_t before = recalled();

	say(pcb, PLAIN, 2);
	assert_int_equal(recalled(), before);
	size_t two = pcb->out_len;
	say(pcb, PLAIN, 1);
	assert_int_equal(recalled(), before + 1);
	assert_int_equal(pcb->out_len, two / 2 * 3);
	assert_memory_equal(pcb->out, pcb->out + two, two / 2);
	assert_int_equal(pcb->unread, 0);
	assert_int_equal(kstat_get("pagewire_http_remembered_heads", NULL), 1);
}

static void a_pipeline_of_remembered_requests_is_answered_in_one_pass(void **state)
{
	struct tcp_pcb *pcb = world_connect(1);
	uint64_t before = recalled();

	say(pcb, PLAIN, 2);
	size_t one = pcb->out_len / 2;
	world_say(pcb, PLAIN PLAIN PLAIN PLAIN "GET /empty HTTP/1.1\r\nHost: x\r\n\r\n", 0);
	assert_true(pcb->out_len > 6 * one);
	assert_int_equal(recalled(), before + 4);
	for (unsigned i = 1; i < 6; i++)
		assert_memory_equal(pcb->out, pcb->out + i * one, one);
}

static void a_head_that_only_begins_like_a_remembered_one_is_parsed(void **state)
{
	static const char *const others[] = {
	    "GET /a.txt HTTP/1.1\r\nHost: x\r\nRange: bytes=0-1\r\n\r\n",
	    "GET /a.txt HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
	    "GET /a.txt HTTP/1.1\r\nhost: x\r\n\r\n",
	    "GET /a.txu HTTP/1.1\r\nHost: x\r\n\r\n",
	    "GET /a.txt HTTP/1.0\r\nHost: x\r\n\r\n",
	    "HEAD /a.txt HTTP/1.1\r\nHost: x\r\n\r\n",
	    "\r\nGET /a.txt HTTP/1.1\r\nHost: x\r\n\r\n",
	};
	struct tcp_pcb *pcb = world_connect(1);

	say(pcb, PLAIN, 3);
	uint64_t before = recalled();
	for (unsigned i = 0; i < ARRAY_SIZE(others); i++)
		say(world_connect(2 + i), others[i], 1);
	assert_int_equal(recalled(), before);
}

static void what_is_not_a_whole_file_is_never_remembered(void **state)
{
	static const char *const requests[] = {
	    "GET /absent HTTP/1.1\r\nHost: x\r\n\r\n",
	    "GET /d HTTP/1.1\r\nHost: x\r\n\r\n",
	    "HEAD /a.txt HTTP/1.1\r\nHost: x\r\n\r\n",
	    "GET /.pagewire/health HTTP/1.1\r\nHost: x\r\n\r\n",
	    "GET /a.txt HTTP/1.1\r\nHost: x\r\nRange: bytes=0-0\r\n\r\n",
	    "GET /a.txt HTTP/1.1\r\nHost: x\r\nIf-None-Match: \"x\"\r\n\r\n",
	    "GET /a.txt HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\nab",
	    "GET /a.txt HTTP/1.0\r\nHost: x\r\nConnection: keep-alive\r\n\r\n",
	};
	uint64_t before = recalled();

	for (unsigned i = 0; i < ARRAY_SIZE(requests); i++)
		say(world_connect(1 + i), requests[i], 4);
	assert_int_equal(recalled(), before);
	assert_int_equal(kstat_get("pagewire_http_remembered_heads", NULL), 0);
}

static void a_large_file_needs_no_parser_either(void **state)
{
	static const char *const paths[] = {"/full", "/big", "/long"};

	for (unsigned i = 0; i < ARRAY_SIZE(paths); i++) {
		struct tcp_pcb *pcb = world_connect(1);
		uint64_t before = recalled();
		char request[64];

		sprintf(request, "GET %s HTTP/1.1\r\nHost: x\r\n\r\n", paths[i]);
		say(pcb, request, 3);
		size_t one = pcb->out_len / 3;
		assert_int_equal(recalled(), before + 1);
		world.page_miss = 30;
		world_say(pcb, request, 0);
		world_say(pcb, request, 0);
		world_settle();
		world.page_miss = 0;
		assert_int_equal(recalled(), before + 3);
		assert_int_equal(pcb->out_len, 5 * one);
		for (unsigned k = 1; k < 5; k++)
			assert_memory_equal(pcb->out, pcb->out + k * one, one);
		assert_int_equal(kstat_get("pagewire_http_remembered_heads", NULL), i + 1);
		world_reset(pcb);
	}
}

static void a_head_is_remembered_once_however_it_comes(void **state)
{
	struct tcp_pcb *pcb = world_connect(1);

	for (unsigned i = 0; i < 20; i++) {
		world_say_bytes(pcb, PLAIN, 20, 0);
		world_say_bytes(pcb, PLAIN + 20, sizeof(PLAIN) - 21, 0);
		world_settle();
	}
	assert_int_equal(kstat_get("pagewire_http_remembered_heads", NULL), 1);
	uint64_t before = recalled();
	say(pcb, PLAIN, 1);
	assert_int_equal(recalled(), before + 1);
	size_t one = pcb->out_len / 21;
	assert_int_equal(pcb->out_len, 21 * one);
	assert_memory_equal(pcb->out, pcb->out + 20 * one, one);
}

static void a_changed_name_makes_what_was_remembered_void(void **state)
{
	struct tcp_pcb *pcb = world_connect(1);

	say(pcb, PLAIN, 3);
	uint64_t before = recalled();
	world_names++;
	say(pcb, PLAIN, 1);
	assert_int_equal(recalled(), before);
	say(pcb, PLAIN, 2); // learnt anew
	assert_true(recalled() > before);
	world_names++;
	shim_advance(2 * NS_PER_SEC); // and without being asked for
	assert_int_equal(kstat_get("pagewire_http_remembered_heads", NULL), 0);
}

static void the_date_is_that_of_the_second(void **state)
{
	struct tcp_pcb *pcb = world_connect(1);

	say(pcb, PLAIN, 3);
	size_t at = pcb->out_len;
	shim_advance(3 * NS_PER_SEC);
	say(pcb, PLAIN, 1);
	assert_non_null(strstr(pcb->out + at, "Date: Mon, 21 Sep 2026 14:13:23 GMT\r\n"));
}

static void memory_that_runs_out_within_an_answer_only_delays_it(void **state)
{
	struct tcp_pcb *pcb = world_connect(1);

	say(pcb, PLAIN, 3);
	size_t one = pcb->out_len / 3;
	for (unsigned k = 0; k < 6; k++) {
		size_t at = pcb->out_len;
		world_fail_writes(k);
		world_say(pcb, PLAIN, 0);
		assert_true(pcb->out_len < at + one);
		world_writes_ok();
		shim_advance(NS_PER_SEC);
		world_settle();
		assert_int_equal(pcb->out_len, at + one);
		assert_memory_equal(pcb->out + 200, pcb->out + at + 200, one - 200);
	}
}

// ---- the seeded comparison ---------------------------------------------------------------------------

static const char *pick(const char *const *of, unsigned count)
{
	return of[shim_random_below(count)];
}

// A request as clients and their enemies make them: mostly the same few, sometimes with a byte changed.
static size_t random_request(char *out)
{
	static const char *const methods[] = {"GET", "GET", "GET", "GET", "HEAD", "get", "OPTIONS"};
	static const char *const paths[] = {"/a.txt", "/a.txt",	  "/b.html", "/empty",
					    "/full",  "/big",	  "/d/",     "/d",
					    "/none",  "/%61.txt", "/a.txt?q"};
	static const char *const fields[] = {
	    "",
	    "",
	    "",
	    "",
	    "User-Agent: test\r\n",
	    "Accept: */*\r\n",
	    "Range: bytes=1-2\r\n",
	    "Connection: keep-alive\r\n",
	    "If-Modified-Since: Sun, 06 Nov 1994 08:49:37 GMT\r\n"};
	if (shim_random_below(2))
		return (size_t)sprintf(out, "GET %s HTTP/1.1\r\nHost: x\r\n\r\n",
				       pick(paths, ARRAY_SIZE(paths)));
	size_t n = (size_t)sprintf(
	    out, "%s %s HTTP/1.%c\r\nHost: x\r\n%s%s\r\n", pick(methods, ARRAY_SIZE(methods)),
	    pick(paths, ARRAY_SIZE(paths)), shim_random_below(12) ? '1' : '0',
	    pick(fields, ARRAY_SIZE(fields)), pick(fields, ARRAY_SIZE(fields)));

	if (shim_random_below(40) == 0)
		out[shim_random_below(n)] = (char)shim_random_below(256);
	return n;
}

static void talk(struct tcp_pcb *pcb, const char *bytes, size_t len, bool forgetful)
{
	for (size_t at = 0, n; at < len; at += n) {
		n = 1 + shim_random_below(shim_random_below(3) ? 4000 : 60);
		n = MIN(n, len - at);
		if (forgetful)
			http_recall_forget();
		world_say_bytes(pcb, bytes + at, n, 0);
		for (unsigned i = shim_random_below(6); i; i--)
			world_step();
	}
	world_settle();
}

static void random_requests_are_answered_alike_with_and_without_memory(void **state)
{
	static char script[SCRIPTS][SCRIPT_MOST];
	struct tcp_pcb *remembering[SCRIPTS];
	size_t len[SCRIPTS];
	uint64_t known = 0;

	world.page_miss = 2;
	world.name_miss = 2;
	for (unsigned round = 0; round < 10; round++) {
		uint64_t before = recalled();
		for (unsigned n = 0; n < SCRIPTS; n++) {
			len[n] = 0;
			for (uint64_t i = 1 + shim_random_below(30); i; i--)
				len[n] += random_request(script[n] + len[n]);
			remembering[n] = world_connect(1);
			remembering[n]->snd_buf = (u32_t)(4096 + shim_random_below(200000));
			talk(remembering[n], script[n], len[n], false);
		}
		known += recalled() - before;
		for (unsigned n = 0; n < SCRIPTS; n++) {
			struct tcp_pcb *one = remembering[n], *other = world_connect(2);
			talk(other, script[n], len[n], true);
			assert_int_equal(one->out_len, other->out_len);
			if (one->out_len)
				assert_memory_equal(one->out, other->out, one->out_len);
			world_reset(one);
			world_reset(other);
		}
	}
	assert_true(known > 500);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	    T(the_third_time_needs_no_parser_and_answers_the_same),
	    T(a_pipeline_of_remembered_requests_is_answered_in_one_pass),
	    T(a_head_that_only_begins_like_a_remembered_one_is_parsed),
	    T(what_is_not_a_whole_file_is_never_remembered),
	    T(a_large_file_needs_no_parser_either),
	    T(a_head_is_remembered_once_however_it_comes),
	    T(a_changed_name_makes_what_was_remembered_void),
	    T(the_date_is_that_of_the_second),
	    T(memory_that_runs_out_within_an_answer_only_delays_it),
	    T(random_requests_are_answered_alike_with_and_without_memory),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
