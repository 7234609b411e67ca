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
// SOURCES: tests/host/http_client.c
// CFLAGS: -Itests/host/fake $(CRYPTO_CFLAGS)
// Bodies of requests on their way into files: every cut and every wait, clients that vanish anywhere, a disk that
// is slow, full or broken, conditions that no longer hold, uploads that are resumed.
#define _GNU_SOURCE // memmem
#include "http_client.h"
#include "kernel/pool.h"
#include "server/http_recall.h"

static void a_file_of_any_size_arrives_in_any_pieces(void **state)
{
	static const size_t sizes[] = {0, 1, 4095, 4096, 4097, 65536, LARGE};

	for (unsigned round = 0; round < 40; round++) {
		size_t len = sizes[round % ARRAY_SIZE(sizes)];
		bool chunked = shim_random_below(2);
		struct tcp_pcb *pcb = world_connect(1);

		world.write_wait = (round % 3) * 45;
		client_fill(len);
		size_t n = client_put_body(client_put_head("new", len, chunked, ""), len, chunked);
		world_say_bytes(pcb, client_text, n, round % 5 ? 1 + shim_random_below(3000) : 0);
		world_settle();
		assert_int_equal(client_status(pcb), round ? 204 : 201);
		client_has_content("new", len);
		client_says(pcb, "\r\nETag: \"");
		http_recall_age(); // the last round's request is remembered, with the file that it was for
		assert_int_equal(world_inodes(), client_inodes + 1);
		world_say(pcb, "GET /new" H "Connection: close\r\n\r\n", 0);
		world_settle();
		world_fin(pcb);
		world_settle();
		assert_true(pcb->closed);
		assert_memory_equal(pcb->out + pcb->out_len - len, client_content, len);
	}
	assert_int_equal(client_metric("pagewire_http_held_buffers"), 0);
}

// Many clients send a body to its end before they look at what was answered; a reset would take the answer from them.
static void a_refused_body_may_go_on_for_a_while(void **state)
{
	static const struct {
		unsigned seconds; // that it comes
		bool whole;	  // nothing was cut off
	} cases[] = {{0, true}, {25, true}, {60, false}};

	for (unsigned i = 0; i < ARRAY_SIZE(cases); i++) {
		struct tcp_pcb *pcb = world_connect(1);
		unsigned second = 0;

		world_say(pcb, "PUT /d" H "Content-Length: 10000000\r\n\r\n", 0);
		world_settle();
		assert_int_equal(client_status(pcb), 405);
		for (; second < cases[i].seconds && !world_gone(pcb); second++) {
			world_say(pcb, "more", 0);
			client_pass(1000);
		}
		assert_int_equal(second == cases[i].seconds, cases[i].whole);
		assert_int_equal(world_gone(pcb), !cases[i].whole);
		client_pass(3500);
		assert_true(world_gone(pcb));
	}
}

static void continue_is_said_when_the_body_will_be_taken(void **state)
{
	struct tcp_pcb *pcb = world_connect(1);
	size_t n;

	client_fill(5000);
	n = client_put_head("new", 5000, false, "Expect: 100-continue\r\n");
	world_say_bytes(pcb, client_text, n, 0);
	world_settle();
	assert_string_equal(world_heard(pcb), "HTTP/1.1 100 Continue\r\n\r\n");
	world_say_bytes(pcb, client_content, 5000, 1000);
	world_settle();
	client_says(pcb, "\r\n\r\nHTTP/1.1 201 ");
	client_has_content("new", 5000);
	assert_false(pcb->fin_sent);
	// And not when it will not: the connection ends, for the body may follow all the same.
	n = client_put_head("d", 5000, false, "Expect: 100-continue\r\n");
	struct tcp_pcb *refused = world_connect(1);
	world_say_bytes(refused, client_text, n, 0);
	world_settle();
	assert_int_equal(client_status(refused), 405);
	assert_true(refused->fin_sent);
}

static void continue_waits_for_tcp_to_have_memory(void **state)
{
	struct tcp_pcb *pcb = world_connect(1);

	client_fill(10);
	size_t n = client_put_head("new", 10, false, "Expect: 100-continue\r\n");
	world_fail_writes(0);
	world_say_bytes(pcb, client_text, n, 0);
	world_settle();
	assert_int_equal(pcb->out_len, 0);
	world_writes_ok();
	client_pass(50);
	assert_int_equal(client_status(pcb), 100);
	world_say_bytes(pcb, client_content, 10, 0);
	world_settle();
	client_has_content("new", 10);
}

static void a_body_that_stands_still_gets_a_408(void **state)
{
	struct tcp_pcb *dead = world_connect(1), *drip = world_connect(1), *slow = world_connect(1);

	client_fill(LARGE);
	size_t n = client_put_head("old", LARGE, false, "");
	world_say_bytes(dead, client_text, n, 0);
	world_say_bytes(drip, client_text, n, 0);
	world_say_bytes(slow, client_text, n, 0);
	for (int i = 0; i < 59; i++) {
		world_say_bytes(drip, client_content, 10, 0);
		world_say_bytes(slow, client_content, 100, 0);
		client_pass(1000);
	}
	assert_int_equal(dead->out_len + drip->out_len + slow->out_len, 0);
	client_pass(2500);
	assert_int_equal(client_status(dead), 408);
	assert_int_equal(client_status(drip), 408);
	assert_true(dead->fin_sent && slow->out_len == 0);
	world_reset(slow);
	world_settle();
	client_left_old();
}

static void a_client_may_vanish_anywhere_and_the_old_file_stays(void **state)
{
	client_fill(SIZE);
	for (unsigned round = 0; round < 300; round++) {
		bool chunked = shim_random_below(2);
		size_t n =
		    client_put_body(client_put_head("old", SIZE, chunked, ""), SIZE, chunked);
		struct tcp_pcb *pcb = world_connect(1);

		world.write_wait = (round % 3) * 45;
		world.name_miss = round % 2 ? 100 : 0;
		world_say_bytes(pcb, client_text, shim_random_below(n), 700);
		for (uint64_t s = shim_random_below(30); s && world_step(); s--)
			;
		if (round % 2)
			world_reset(pcb);
		else
			world_fin(pcb);
		world_settle();
		if (round % 2 == 0 && pcb->out_len)
			assert_int_equal(client_status(pcb), 400);
		world_fin(pcb);
		world_settle();
		assert_true(world_gone(pcb));
		assert_int_equal(http_exchange_pool.used, 0);
		assert_int_equal(http_upload_pool.used, 0);
		assert_int_equal(world_buffers, 0);
		client_left_old();
	}
}

// The whole body was sent: either file may be the one, and nothing else is left.
static void a_client_may_vanish_after_its_last_byte(void **state)
{
	client_fill(SIZE);
	for (unsigned after = 0; after < 80; after++) {
		size_t n = client_put_body(client_put_head("new", SIZE, false, ""), SIZE, false);
		struct tcp_pcb *pcb = world_connect(1);

		world.write_wait = (after % 2) * 60;
		world_say_bytes(pcb, client_text, n, 1400);
		for (unsigned step = 0; step < after / 2 && world_step(); step++)
			;
		world_reset(pcb);
		world_settle();
		assert_int_equal(http_exchange_pool.used, 0);
		assert_int_equal(http_upload_pool.used, 0);
		assert_int_equal(world_buffers, 0);
		if (world_find("new")) {
			client_has_content("new", SIZE);
			client_ask("DELETE /new" H "\r\n", 204);
		}
		client_left_old();
	}
}

static void a_slow_disk_holds_back_its_writer_and_nobody_else(void **state)
{
	struct tcp_pcb *pcb = world_connect(1);
	size_t n;

	client_fill(LARGE);
	n = client_put_body(client_put_head("new", LARGE, false, ""), LARGE, false);
	world.no_room = true;
	world_say_bytes(pcb, client_text, n, 600);
	client_pass(100);
	assert_in_range(client_metric("pagewire_http_held_buffers"), 200, HTTP_HELD_MAX);
	assert_true(pcb->unread > 250000); // the window that the peer sees is closed
	for (int i = 0; i < 20; i++)
		client_ask("GET /old" H "\r\n", 200);
	client_pass(200000); // our disk is slow, not the client
	assert_int_equal(pcb->out_len, 0);
	world.no_room = false;
	client_pass(100);
	assert_int_equal(client_status(pcb), 201);
	assert_int_equal(pcb->unread, 0);
	client_has_content("new", LARGE);
	assert_int_equal(client_metric("pagewire_http_held_buffers"), 0);
}

static void requests_may_stand_before_and_behind_a_body(void **state)
{
	struct tcp_pcb *pcb = world_connect(1);
	size_t n = (size_t)sprintf(client_text, "GET /old" H "\r\n"), at = n;

	world.page_miss = 100;
	world.write_wait = 50;
	client_fill(5000);
	n += (size_t)sprintf(client_text + n, "PUT /new" H "Content-Length: 5000\r\n\r\n");
	memcpy(client_text + n, client_content, 5000);
	n += 5000;
	n += (size_t)sprintf(client_text + n, "GET /new" H "\r\nDELETE /new" H "\r\nGET /new" H
					      "Connection: close\r\n\r\n");
	world_say_bytes(pcb, client_text, at + 100, 0);
	world_say_bytes(pcb, client_text + at + 100, n - at - 100, 0);
	world_settle();
	assert_true(pcb->fin_sent);
	assert_null(world_find("new"));
	char *second = memmem(pcb->out, pcb->out_len, "HTTP/1.1 201 ", 13);
	assert_non_null(second);
	char *third = strstr(second, "HTTP/1.1 200 ");
	assert_non_null(third);
	assert_memory_equal(strstr(third, "\r\n\r\n") + 4, client_content, 5000);
	assert_non_null(strstr(strstr(third, "\r\n\r\n") + 5004, "HTTP/1.1 204 "));
	assert_non_null(strstr(strstr(third, "\r\n\r\n") + 5004, "HTTP/1.1 404 "));
}

static void a_full_or_failing_disk_ends_the_upload_and_leaves_the_old_file(void **state)
{
	static const int errors[] = {-ENOSPC, -EIO, -EROFS};
	static const int statuses[] = {507, 500, 403};

	client_fill(SIZE);
	for (unsigned i = 0; i < 30; i++) {
		size_t n = client_put_body(client_put_head("old", SIZE, false, ""), SIZE, false);
		struct tcp_pcb *pcb = world_connect(1);

		world.write_wait = (i % 2) * 60;
		world.write_error = errors[i % 3];
		world.write_error_at = i * 600;
		world_say_bytes(pcb, client_text, n, 1000);
		world_settle();
		assert_int_equal(client_status(pcb), statuses[i % 3]);
		assert_true(pcb->fin_sent);
		world_fin(pcb);
		world_settle();
		client_left_old();
	}
	world.write_error = 0;
	world.sync_error = -ENOSPC;
	client_ask("PUT /old" H "Content-Length: 1\r\n\r\na", 507);
	client_left_old();
}

static void a_condition_holds_when_the_file_gets_its_name(void **state)
{
	char etag[100];
	struct tcp_pcb *pcb = client_ask("PUT /new" H "Content-Length: 3\r\n\r\nabc", 201);

	sscanf(strstr(world_heard(pcb), "ETag: "), "ETag: %99[^\r]", etag);
	sprintf(client_text, "PUT /new" H "If-Match: %s\r\nContent-Length: 3\r\n\r\nab", etag);
	struct tcp_pcb *slow = world_connect(1);
	world_say(slow, client_text, 0);
	world_settle();
	client_ask("PUT /new" H "Content-Length: 3\r\n\r\nxyz", 204);
	world_say(slow, "c", 0);
	world_settle();
	assert_int_equal(client_status(slow), 412);
	slow = world_connect(1);
	world_say(slow, "PUT /n2" H "If-None-Match: *\r\nContent-Length: 3\r\n\r\nab", 0);
	world_settle();
	client_ask("PUT /n2" H "If-None-Match: *\r\nContent-Length: 3\r\n\r\nxyz", 201);
	world_say(slow, "c", 0);
	world_settle();
	assert_int_equal(client_status(slow), 412);
	memcpy(client_content, "xyz", 3);
	client_has_content("new", 3);
	client_has_content("n2", 3);
	assert_int_equal(world_inodes(), client_inodes + 2);
}

static void an_upload_is_resumed_where_the_file_ends(void **state)
{
	client_fill(9);
	sprintf(client_text, "PUT /new" H "Content-Length: 4\r\n\r\n%.0s", "");
	size_t n = strlen(client_text);
	memcpy(client_text + n, client_content, 4);
	struct tcp_pcb *pcb = world_connect(1);
	world_say_bytes(pcb, client_text, n + 4, 0);
	n = (size_t)sprintf(client_text,
			    "PUT /new" H "Content-Range: bytes 4-8/9\r\nContent-Length: 5\r\n\r\n");
	memcpy(client_text + n, client_content + 4, 5);
	world_settle();
	world_say_bytes(pcb, client_text, n + 5, 0);
	world_settle();
	client_has_content("new", 9);
	client_says(pcb, "HTTP/1.1 204 ");
	client_ask("PATCH /new" H "Content-Type: application/x-sabredav-partialupdate\r\n"
		   "X-Update-Range: bytes=2-4\r\nContent-Length: 3\r\n\r\nabc",
		   204);
	memcpy(client_content + 2, "abc", 3);
	client_has_content("new", 9);
	client_ask(
	    "PATCH /new" H "Content-Type: application/x-sabredav-partialupdate\r\n"
	    "X-Update-Range: append\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nde\r\n0\r\n\r\n",
	    204);
	memcpy(client_content + 9, "de", 2);
	client_has_content("new", 11);
	client_ask("PATCH /new" H "Content-Type: application/x-sabredav-partialupdate\r\n"
		   "X-Update-Range: bytes=-2\r\nContent-Length: 2\r\n\r\nfg",
		   204);
	memcpy(client_content + 9, "fg", 2);
	client_has_content("new", 11);
}

static void one_client_at_a_time_writes_into_a_file(void **state)
{
	struct tcp_pcb *first = world_connect(1);

	world_say(first,
		  "PUT /old" H "Content-Range: bytes 20000-20003/20004\r\n"
		  "Content-Length: 4\r\n\r\nab",
		  0);
	world_settle();
	client_ask("PATCH /old" H "Content-Type: application/x-sabredav-partialupdate\r\n"
		   "X-Update-Range: append\r\nContent-Length: 3\r\n\r\nabc",
		   409);
	world_say(first, "cd", 0);
	world_settle();
	assert_int_equal(client_status(first), 204);
	assert_int_equal(world_find("old")->size, 20004);
	client_ask("PATCH /old" H "Content-Type: application/x-sabredav-partialupdate\r\n"
		   "X-Update-Range: append\r\nContent-Length: 3\r\n\r\nabc",
		   204);
	assert_int_equal(world_find("old")->size, 20007);
}

static void the_time_that_the_client_names_is_kept(void **state)
{
	client_says(
	    client_ask("PUT /new" H "X-OC-Mtime: 1234567890\r\nContent-Length: 3\r\n\r\nabc", 201),
	    "X-OC-Mtime: accepted\r\n");
	assert_int_equal(world_find("new")->mtime_sec, 1234567890);
	client_ask("PUT /new" H "X-OC-Mtime: 1x\r\nContent-Length: 3\r\n\r\nabc", 204);
	assert_int_not_equal(world_find("new")->mtime_sec, 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup_teardown(a_file_of_any_size_arrives_in_any_pieces, client_setup,
					    client_teardown),
	    cmocka_unit_test_setup_teardown(a_refused_body_may_go_on_for_a_while, client_setup,
					    client_teardown),
	    cmocka_unit_test_setup_teardown(continue_is_said_when_the_body_will_be_taken,
					    client_setup, client_teardown),
	    cmocka_unit_test_setup_teardown(continue_waits_for_tcp_to_have_memory, client_setup,
					    client_teardown),
	    cmocka_unit_test_setup_teardown(a_body_that_stands_still_gets_a_408, client_setup,
					    client_teardown),
	    cmocka_unit_test_setup_teardown(a_client_may_vanish_anywhere_and_the_old_file_stays,
					    client_setup, client_teardown),
	    cmocka_unit_test_setup_teardown(a_client_may_vanish_after_its_last_byte, client_setup,
					    client_teardown),
	    cmocka_unit_test_setup_teardown(a_slow_disk_holds_back_its_writer_and_nobody_else,
					    client_setup, client_teardown),
	    cmocka_unit_test_setup_teardown(requests_may_stand_before_and_behind_a_body,
					    client_setup, client_teardown),
	    cmocka_unit_test_setup_teardown(
		a_full_or_failing_disk_ends_the_upload_and_leaves_the_old_file, client_setup,
		client_teardown),
	    cmocka_unit_test_setup_teardown(a_condition_holds_when_the_file_gets_its_name,
					    client_setup, client_teardown),
	    cmocka_unit_test_setup_teardown(an_upload_is_resumed_where_the_file_ends, client_setup,
					    client_teardown),
	    cmocka_unit_test_setup_teardown(one_client_at_a_time_writes_into_a_file, client_setup,
					    client_teardown),
	    cmocka_unit_test_setup_teardown(the_time_that_the_client_names_is_kept, client_setup,
					    client_teardown),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
