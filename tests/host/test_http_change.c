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
// Requests that change what is on the volume: their refusals, MKCOL, DELETE, COPY and MOVE, answers that come when
// they are durable and not before, and many clients at once against a model.
#define _GNU_SOURCE // memmem
#include "http_client.h"
#include "kernel/pool.h"

static void the_answer_waits_until_it_is_durable(void **state)
{
	static const char *const requests[] = {
	    "PUT /new" H "Content-Length: 3\r\n\r\nabc",
	    "PUT /old" H "Content-Length: 0\r\n\r\n",
	    "PATCH /old" H "Content-Type: application/x-sabredav-partialupdate\r\n"
	    "X-Update-Range: append\r\nContent-Length: 3\r\n\r\nabc",
	    "MKCOL /c" H "\r\n",
	    "COPY /old" H "Destination: /copy\r\n\r\n",
	    "MOVE /old" H "Destination: /moved\r\n\r\n",
	    "DELETE /d" H "\r\n",
	};

	for (size_t i = 0; i < ARRAY_SIZE(requests); i++) {
		struct tcp_pcb *pcb = world_connect(1);
		world.no_commit = true;
		world_say(pcb, requests[i], 0);
		client_pass(100);
		assert_true(world_changes > world_committed);
		assert_int_equal(pcb->out_len, 0);
		world.no_commit = false;
		client_pass(10);
		assert_in_range(client_status(pcb), 201, 204);
		assert_int_equal(world_changes, world_committed);
	}
}

static void a_commit_that_fails_is_a_500(void **state)
{
	world.durable_error = -EIO;
	client_ask("PUT /new" H "Content-Length: 3\r\n\r\nabc", 500);
	client_ask("MKCOL /c" H "\r\n", 500);
	client_ask("DELETE /empty" H "\r\n", 500);
}

static void every_refusal_has_its_status(void **state)
{
	static const struct {
		const char *request;
		int status;
	} cases[] = {
	    {"PUT /none/new" H "Content-Length: 1\r\n\r\na", 409},
	    {"PUT /old/new" H "Content-Length: 1\r\n\r\na", 409},
	    {"PUT /d" H "Content-Length: 1\r\n\r\na", 405},
	    {"PUT /d/" H "Content-Length: 1\r\n\r\na", 405},
	    {"PUT /new/" H "Content-Length: 1\r\n\r\na", 409},
	    {"PUT /" H "Content-Length: 1\r\n\r\na", 405},
	    {"PUT /.pagewire/x" H "Content-Length: 1\r\n\r\na", 405},
	    {"PUT /a%2fb" H "Content-Length: 1\r\n\r\na", 404},
	    {"PUT /new" H "Content-Length: 8000000000\r\n\r\n", 507},
	    {"PUT /old" H "If-None-Match: *\r\nContent-Length: 1\r\n\r\na", 412},
	    {"PUT /new" H "If-Match: *\r\nContent-Length: 1\r\n\r\na", 412},
	    {"PUT /old" H "If-Match: \"x\"\r\nContent-Length: 1\r\n\r\na", 412},
	    {"PUT /old" H "If-Unmodified-Since: Thu, 01 Jan 1970 00:00:01 GMT\r\n"
	     "Content-Length: 1\r\n\r\na",
	     412},
	    {"PUT /new" H "Transfer-Encoding: chunked\r\n\r\nzz\r\n", 400},
	    {"PUT /new" H "Transfer-Encoding: chunked\r\n\r\n3\r\nabcd\r\n", 400},
	    {"PATCH /none" H "Content-Length: 1\r\n\r\na", 404},
	    {"PATCH /old" H "Content-Length: 1\r\n\r\na", 415},
	    {"PATCH /old" H "Content-Type: application/x-sabredav-partialupdate\r\n"
	     "Content-Length: 1\r\n\r\na",
	     400},
	    {"PATCH /old" H "Content-Type: application/x-sabredav-partialupdate\r\n"
	     "X-Update-Range: bytes=30000-\r\nContent-Length: 1\r\n\r\na",
	     416},
	    {"PUT /old" H "Content-Range: bytes 3-5/6\r\nContent-Length: 3\r\n\r\nabc", 416},
	    {"PUT /new" H "Content-Range: bytes 3-5/6\r\nContent-Length: 3\r\n\r\nabc", 409},
	    {"PUT /old" H "Content-Range: bytes 5-3/6\r\nContent-Length: 3\r\n\r\nabc", 400},
	    {"PUT /old" H "Content-Range: bytes 20000-20001/*\r\nContent-Length: 3\r\n\r\nabc",
	     400},
	    {"MKCOL /old" H "\r\n", 405},
	    {"MKCOL /d" H "\r\n", 405},
	    {"MKCOL /none/c" H "\r\n", 409},
	    {"MKCOL /old/c" H "\r\n", 409},
	    {"MKCOL /c" H "Content-Length: 3\r\n\r\nabc", 415},
	    {"DELETE /none" H "\r\n", 404},
	    {"DELETE /" H "\r\n", 403},
	    {"DELETE /old/" H "\r\n", 404},
	    {"DELETE /d" H "Depth: 0\r\n\r\n", 400},
	    {"COPY /none" H "Destination: /x\r\n\r\n", 404},
	    {"COPY /old" H "\r\n", 400},
	    {"COPY /old" H "Destination: x\r\n\r\n", 400},
	    {"COPY /old" H "Destination: //evil/x\r\n\r\n", 400},
	    {"COPY /old" H "Destination: http://y/x\r\n\r\n", 502},
	    {"COPY /old" H "Destination: http://x:81/x\r\n\r\n", 502},
	    {"COPY /old" H "Destination: http://u@x/x\r\n\r\n", 502},
	    {"COPY /old" H "Destination: /old\r\n\r\n", 403},
	    {"COPY /old" H "Destination: /.pagewire/x\r\n\r\n", 403},
	    {"COPY /old" H "Destination: /\r\n\r\n", 403},
	    {"COPY /old" H "Destination: /none/x\r\n\r\n", 409},
	    {"COPY /d" H "Destination: /d/deep/x\r\n\r\n", 403},
	    {"COPY /d/deep" H "Destination: /d\r\n\r\n", 403},
	    {"COPY /d" H "Destination: /x\r\nDepth: 1\r\n\r\n", 400},
	    {"MOVE /d" H "Destination: /x\r\nDepth: 0\r\n\r\n", 400},
	    {"MOVE /old" H "Destination: /d/one\r\nOverwrite: F\r\n\r\n", 412},
	    {"MOVE /old" H "Destination: /d/one\r\nOverwrite: maybe\r\n\r\n", 400},
	    {"MOVE /d" H "Destination: /d/x\r\n\r\n", 403},
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		client_ask(cases[i].request, cases[i].status);
		client_left_old();
	}
}

static void a_name_that_no_volume_can_hold_is_a_414(void **state)
{
	char name[301];

	memset(name, 'n', 300);
	name[300] = 0;
	size_t n = client_put_head(name, 1, false, "");
	client_text[n] = 'a';
	client_text[n + 1] = 0;
	client_ask(client_text, 414);
	client_left_old();
}

static void without_write_on_nothing_is_there_to_change(void **state)
{
	client_writing("off");
	client_says(client_ask("PUT /new" H "Content-Length: 1\r\n\r\na", 405),
		    "\r\nAllow: GET, HEAD, OPTIONS");
	client_ask("DELETE /old" H "\r\n", 405);
	client_says(client_ask("OPTIONS /old" H "\r\n", 200), "\r\nAllow: GET, HEAD, OPTIONS");
	client_left_old();
}

static void a_volume_that_is_read_only_says_so(void **state)
{
	world.read_only = true;
	client_says(client_ask("PUT /new" H "Content-Length: 1\r\n\r\na", 403), "read-only");
	client_ask("DELETE /old" H "\r\n", 403);
	client_ask("MKCOL /c" H "\r\n", 403);
	client_left_old();
}

static void allow_tells_what_each_resource_takes(void **state)
{
	client_says(client_ask("OPTIONS /old" H "\r\n", 200),
		    "Allow: GET, HEAD, OPTIONS, PUT, PATCH, DELETE, COPY, MOVE");
	client_says(client_ask("OPTIONS /d/" H "\r\n", 200),
		    "Allow: GET, HEAD, OPTIONS, DELETE, COPY, MOVE");
	client_says(client_ask("OPTIONS /none" H "\r\n", 200), "Allow: OPTIONS, PUT, MKCOL");
	client_says(client_ask("OPTIONS /.pagewire/x" H "\r\n", 200),
		    "Allow: GET, HEAD, OPTIONS\r\n");
	client_says(client_ask("PUT /d" H "\r\n", 405), "Allow: GET, HEAD, OPTIONS, DELETE");
}

static void every_allocation_may_fail(void **state)
{
	static const char *const requests[] = {
	    "PUT /old" H "Content-Length: 3\r\n\r\nabc",
	    "PUT /new" H "Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
	    "MKCOL /c" H "\r\n",
	    "COPY /d" H "Destination: /copy\r\n\r\n",
	    "MOVE /d" H "Destination: /moved\r\n\r\n",
	    "DELETE /d" H "\r\n",
	};

	for (size_t s = 0; s < ARRAY_SIZE(requests); s++)
		for (unsigned k = 0; k < 16; k++) {
			struct tcp_pcb *pcb = world_connect(1);
			bool pools = k % 2;
			if (pools)
				pool_fail_after(k / 2);
			else
				shim_frames_fail_after(k / 2);
			world_say(pcb, requests[s], k % 4 ? 0 : 50);
			world_settle();
			pool_fail_off();
			shim_frames_fail_off();
			client_pass(50);
			assert_true(pcb->aborted || client_status(pcb));
			if (client_status(pcb) >= 200 && client_status(pcb) < 300)
				break;
			world_fin(pcb);
			world_settle();
			assert_int_equal(http_exchange_pool.used, 0);
			assert_int_equal(http_upload_pool.used, 0);
		}
}

// The rest comes in a buffer of its own, shorter than what is kept already.
static void a_head_that_cannot_be_kept_is_refused_and_logged_without_what_is_not_there(void **state)
{
	for (unsigned blocked = 0; blocked < 2; blocked++) {
		struct tcp_pcb *pcb = world_connect(1);
		size_t at = (size_t)sprintf(client_text, "GET /old" H "X: ");

		memset(client_text + at, 'x', 2000 - at);
		world_say_bytes(pcb, client_text, 2000, 0);
		shim_frames_fail_after(0);
		if (blocked)
			world_fail_writes(0);
		world_say_bytes(pcb, client_text + at, 100, 0);
		shim_frames_fail_off();
		world_writes_ok();
		client_pass(100);
		if (!pcb->aborted)
			assert_int_equal(client_status(pcb), 503);
		world_reset(pcb);
	}
}

// Each job takes a worker, and what it waits for needs workers, too.
static void a_crowd_of_changes_is_let_in_bit_by_bit(void **state)
{
	enum { CROWD = 150 };
	static struct tcp_pcb *clients[CROWD];
	uint64_t before = client_metric("pagewire_http_jobs_held_back_total");
	char request[200];

	for (unsigned i = 0; i < CROWD; i++) {
		static const char *const forms[] = {
		    "MKCOL /c%u" H "\r\n",
		    "COPY /empty" H "Destination: /copy%u\r\n\r\n",
		    "PUT /new%u" H "Content-Length: 1\r\n\r\nx",
		    "COPY /d/one" H "Destination: /file%u\r\n\r\n",
		};
		snprintf(request, sizeof(request), forms[i % 4], i);
		clients[i] = world_connect(i);
		world_say(clients[i], request, 0);
	}
	assert_int_equal(client_metric("pagewire_http_jobs_held_back_total") - before,
			 CROWD - HTTP_CHANGES_MOST);
	for (unsigned i = 0; i < CROWD; i += 10) // some leave while they wait
		world_reset(clients[i]);
	world_settle();
	for (unsigned i = 0; i < CROWD; i++)
		if (i % 10)
			assert_int_equal(client_status(clients[i]), 201);
	client_ask("DELETE /copy1" H "\r\n", 204);
}

static void is_there(const char *const *paths, size_t count)
{
	for (size_t i = 0; i < count; i++)
		if (!world_find(paths[i]))
			fail_msg("%s is not there", paths[i]);
	assert_int_equal(world_inodes(), count + 1); // and the root
}
#define THERE(...)                                                                                 \
	do {                                                                                       \
		static const char *const paths[] = {__VA_ARGS__};                                  \
		is_there(paths, ARRAY_SIZE(paths));                                                \
	} while (0)

static void a_collection_is_made_and_goes_with_all_that_is_in_it(void **state)
{
	client_ask("MKCOL /c/" H "\r\n", 201);
	client_ask("MKCOL /c/b" H "Content-Length: 0\r\n\r\n", 201);
	assert_int_equal(world_find("c/b")->type, INODE_DIRECTORY);
	client_ask("DELETE /c" H "Depth: infinity\r\n\r\n", 204);
	client_left_old();
	for (int i = 0; i < 40; i++) {
		char path[40];
		sprintf(path, "d/deep/%d", i);
		world_file(path, (uint64_t)(100 + i), 10);
	}
	client_ask("DELETE /d/" H "\r\n", 204);
	client_ask("DELETE /empty" H "\r\n", 204);
	THERE("old");
	client_ask("DELETE /old" H "If-Match: \"x\"\r\n\r\n", 412);
	client_ask("DELETE /old" H "\r\n", 204);
	client_ask("GET /old" H "\r\n", 404);
}

static void a_member_that_cannot_go_is_named(void **state)
{
	world.remove_error = -EIO;
	world.remove_error_path = "d/deep/two";
	struct tcp_pcb *pcb = client_ask("DELETE /d" H "\r\n", 207);
	client_says(pcb, "Content-Type: application/xml; charset=utf-8\r\n");
	client_says(pcb, "<D:response><D:href>/d/deep/two</D:href>"
			 "<D:status>HTTP/1.1 500 Internal Server Error</D:status></D:response>\n"
			 "</D:multistatus>\n");
	THERE("old", "d", "d/deep", "d/deep/two", "empty");
}

static void below_a_collection_the_rights_are_asked_again(void **state)
{
	world_users("trustee / * ALL\ntrustee /d/deep * RL\n");
	client_says(client_ask("DELETE /d" H "\r\n", 207), "<D:href>/d/deep/</D:href>");
	THERE("old", "d", "d/deep", "d/deep/two", "empty");
	client_ask("DELETE /d/deep/two" H "\r\n", 403);
}

static void a_copy_has_bytes_and_properties(void **state)
{
	strcpy(world_value(world_find("old"), "color"), "blue");
	client_ask("COPY /old" H "Destination: http://x/copy\r\n\r\n", 201);
	assert_int_equal(world_find("copy")->size, SIZE);
	for (size_t i = 0; i < SIZE; i++)
		client_content[i] = (char)world_byte(10, i);
	client_has_content("copy", SIZE);
	assert_string_equal(world_value(world_find("copy"), "color"), "blue");
	client_ask("COPY /old" H "Destination: /d/one\r\nOverwrite: F\r\n\r\n", 412);
	client_ask("COPY /old" H "Destination: http://X:80/d/%6fne?x\r\nOverwrite: T\r\n\r\n", 204);
	client_has_content("d/one", SIZE);
	world.write_wait = 70;
	client_ask("COPY /old" H "Destination: /empty\r\n\r\n", 204);
	client_has_content("empty", SIZE);
	THERE("old", "copy", "d", "d/one", "d/deep", "d/deep/two", "empty");
}

static void a_collection_is_copied_with_all_or_nothing_in_it(void **state)
{
	world_link("d/link", 30, "one");
	client_ask("COPY /d" H "Destination: /x\r\n\r\n", 201);
	assert_int_equal(world_find("x/link")->type, INODE_SYMLINK);
	assert_int_equal(world_find("x/deep/two")->size, 5);
	client_ask("COPY /d" H "Destination: /y/\r\nDepth: 0\r\n\r\n", 201);
	assert_int_equal(world_find("y")->type, INODE_DIRECTORY);
	client_ask("COPY /d/deep" H "Destination: /x\r\n\r\n", 204);
	client_ask("COPY /d/deep" H "Destination: /old\r\n\r\n", 204);
	THERE("d", "d/one", "d/link", "d/deep", "d/deep/two", "empty", "x", "x/two", "y", "old",
	      "old/two");
}

static void a_move_takes_everything_along(void **state)
{
	client_ask("MOVE /d" H "Destination: /x\r\n\r\n", 201);
	assert_int_equal(world_find("x/deep/two")->number, 23);
	client_ask("MOVE /old" H "Destination: /x/one\r\n\r\n", 204);
	assert_int_equal(world_find("x/one")->number, 10);
	client_ask("MOVE /x/one" H "Destination: /x/deep\r\n\r\n", 204);
	assert_int_equal(world_find("x/deep")->number, 10);
	client_ask("MOVE /x" H "Destination: /empty\r\nOverwrite: F\r\n\r\n", 412);
	client_ask("MOVE /x" H "Destination: /empty\r\n\r\n", 204);
	client_ask("GET /empty/deep" H "\r\n", 200);
	THERE("empty", "empty/deep");
}

// ---- many clients ------------------------------------------------------------------------------------

// Version v of a file is v % 30000 bytes long, each of them world_byte(v, offset).
static size_t version_put(unsigned v, const char *name)
{
	size_t len = v % 30000;

	for (size_t i = 0; i < len; i++)
		client_content[i] = (char)world_byte(v, i);
	return client_put_body(client_put_head(name, len, v % 2, "Connection: close\r\n"), len,
			       v % 2);
}

// A GET's answer is 404, or one version whole.
static void is_a_version(const struct tcp_pcb *pcb, const unsigned *versions, unsigned count)
{
	const char *heard = world_heard(pcb), *body = strstr(heard, "\r\n\r\n") + 4;
	size_t len = pcb->out_len - (size_t)(body - heard);
	bool found = client_status(pcb) == 404;

	for (unsigned i = 0; i < count && !found; i++) {
		found = versions[i] % 30000 == len;
		for (size_t at = 0; at < len && found; at++)
			found = (uint8_t)body[at] == world_byte(versions[i], at);
	}
	if (!found)
		fail_msg("neither 404 nor a version: %d, %zu bytes", client_status(pcb), len);
}

static void every_answer_is_one_version_whole(void **state)
{
	enum { CLIENTS = 8, ROUNDS = 1500 };
	struct {
		struct tcp_pcb *pcb;
		char *rest; // of its request
		size_t at, len;
		bool get;
	} clients[CLIENTS] = {0};
	static unsigned versions[ROUNDS];
	unsigned count = 0, gets = 0;

	world.write_wait = 30;
	world.name_miss = world.page_miss = 30;
	for (unsigned round = 0; round < ROUNDS || count == 0; round++) {
		unsigned i = (unsigned)shim_random_below(CLIENTS);
		__typeof__(clients[0]) *c = &clients[i];
		unsigned what = (unsigned)shim_random_below(10);
		if (!c->pcb) {
			c->pcb = world_connect(i);
			c->get = what < 5;
			if (c->get) {
				c->len = (size_t)sprintf(client_text,
							 "GET /v" H "Connection: close\r\n\r\n");
			} else if (what == 9) {
				c->len = (size_t)sprintf(client_text,
							 "DELETE /v" H "Connection: close\r\n\r\n");
			} else {
				versions[count] = 1 + (unsigned)shim_random_below(1000000);
				c->len = version_put(versions[count++], "v");
			}
			c->rest = memcpy(malloc(c->len), client_text, c->len);
			c->at = 0;
		}
		size_t n = shim_random_below(12000);
		n = MIN(n, c->len - c->at);
		world_say_bytes(c->pcb, c->rest + c->at, n, 1460);
		c->at += n;
		for (uint64_t s = shim_random_below(40); s && world_step(); s--)
			;
		bool answered = c->pcb->fin_sent && c->at == c->len && !c->pcb->queued;
		if (answered && c->get)
			is_a_version(c->pcb, versions, count);
		gets += answered && c->get;
		if (answered)
			world_fin(c->pcb);
		else if (what == 0 && shim_random_below(4) == 0)
			world_reset(c->pcb);
		if (world_gone(c->pcb)) {
			free(c->rest);
			c->pcb = NULL;
		}
	}
	assert_true(gets > 50);
	for (unsigned i = 0; i < CLIENTS; i++)
		if (clients[i].pcb) {
			world_reset(clients[i].pcb);
			free(clients[i].rest);
		}
	world_settle();
	client_pass(2000); // a remembered head holds the file it named until the next tick
	assert_in_range(world_inodes(), client_inodes, client_inodes + 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup_teardown(the_answer_waits_until_it_is_durable, client_setup,
					    client_teardown),
	    cmocka_unit_test_setup_teardown(a_commit_that_fails_is_a_500, client_setup,
					    client_teardown),
	    cmocka_unit_test_setup_teardown(every_refusal_has_its_status, client_setup,
					    client_teardown),
	    cmocka_unit_test_setup_teardown(a_name_that_no_volume_can_hold_is_a_414, client_setup,
					    client_teardown),
	    cmocka_unit_test_setup_teardown(without_write_on_nothing_is_there_to_change,
					    client_setup, client_teardown),
	    cmocka_unit_test_setup_teardown(a_volume_that_is_read_only_says_so, client_setup,
					    client_teardown),
	    cmocka_unit_test_setup_teardown(allow_tells_what_each_resource_takes, client_setup,
					    client_teardown),
	    cmocka_unit_test_setup_teardown(every_allocation_may_fail, client_setup,
					    client_teardown),
	    cmocka_unit_test_setup_teardown(
		a_head_that_cannot_be_kept_is_refused_and_logged_without_what_is_not_there,
		client_setup, client_teardown),
	    cmocka_unit_test_setup_teardown(a_crowd_of_changes_is_let_in_bit_by_bit, client_setup,
					    client_teardown),
	    cmocka_unit_test_setup_teardown(a_collection_is_made_and_goes_with_all_that_is_in_it,
					    client_setup, client_teardown),
	    cmocka_unit_test_setup_teardown(a_member_that_cannot_go_is_named, client_setup,
					    client_teardown),
	    cmocka_unit_test_setup_teardown(below_a_collection_the_rights_are_asked_again,
					    client_setup, client_teardown),
	    cmocka_unit_test_setup_teardown(a_copy_has_bytes_and_properties, client_setup,
					    client_teardown),
	    cmocka_unit_test_setup_teardown(a_collection_is_copied_with_all_or_nothing_in_it,
					    client_setup, client_teardown),
	    cmocka_unit_test_setup_teardown(a_move_takes_everything_along, client_setup,
					    client_teardown),
	    cmocka_unit_test_setup_teardown(every_answer_is_one_version_whole, client_setup,
					    client_teardown),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
