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
// SOURCES: server/http_put.c server/http_upload.c server/http_change.c server/http_tree.c
// SOURCES: server/http_copy.c server/http_collection.c tests/host/http_world_write.c kernel/copy.c server/dav_lock.c
// SOURCES: tests/host/http_client.c
// SOURCES: server/dav.c server/dav_propfind.c server/dav_proppatch.c server/dav_locking.c server/dav_names.c
// SOURCES: server/dav_live.c server/dav_dead.c server/dav_patch.c server/xml.c server/xml_chars.c
// CFLAGS: -Itests/host/fake $(CRYPTO_CFLAGS)
// What others do while a request waits: files that grow before their answer begins, names that are taken, locked and
// moved while a body comes, trees that are moved out of what rights say of them, clocks that do not stand still.
#define _GNU_SOURCE // memmem
#include "http_client.h"
#include "server/dav_lock.h"
#include "shim_private.h"

static uint64_t tick_ns; // what each look at the clock takes

uint64_t clock_ns(void)
{
	shim_now += tick_ns;
	return shim_now;
}

static int setup(void **state)
{
	tick_ns = 0;
	return client_setup(state);
}

// Bytes at the end of a file, as PATCH or a program puts them there.
static void grow(const char *path, size_t bytes)
{
	struct inode *inode = world_find(path);
	unsigned wait = world.write_wait;
	struct file_write write = {
	    .inode = inode, .offset = inode->size, .bytes = client_content, .len = bytes};

	world.write_wait = 0;
	inode_get(inode);
	assert_int_equal(file_write(&write), 0);
	inode_put(inode);
	world.write_wait = wait;
}

// One answer from `at` on has the bytes that the file has now, as many as its head says; where the next begins.
static const char *whole_answer(const char *at, const char *path)
{
	uint64_t size = world_find(path)->size;
	const uint8_t *bytes = world_bytes(path, &size);
	struct inode *inode = world_find(path);
	const char *length = strstr(at, "\r\nContent-Length: "), *body = strstr(at, "\r\n\r\n");

	assert_memory_equal(at, "HTTP/1.1 200 ", 13);
	assert_true(length && body);
	assert_int_equal(strtoul(length + 18, NULL, 10), size);
	for (uint64_t i = 0; i < size; i++)
		assert_int_equal((uint8_t)body[4 + i],
				 bytes ? bytes[i] : world_byte(inode->number, i));
	return body + 4 + size;
}

static void a_file_that_grows_before_its_answer_begins_is_answered_as_it_is_then(void **state)
{
	client_fill(LARGE);
	for (unsigned round = 0; round < 60; round++) {
		struct tcp_pcb *pcb = world_connect(1);
		const char *at;

		world.page_miss = 100;
		world_say(pcb, "GET /old" H "\r\nHEAD /old" H "\r\nGET /d/one" H "\r\n", 0);
		world.page_miss = round % 2 ? 50 : 0;
		for (uint64_t n = shim_random_below(3); n; n--)
			world_step();
		if (!pcb->out_len)
			grow("old", 1 + shim_random_below(9000));
		world_settle();
		at = whole_answer(world_heard(pcb), "old");
		assert_memory_equal(at, "HTTP/1.1 200 ", 13); // HEAD
		at = strstr(at, "\r\n\r\n") + 4;
		assert_memory_equal(at, "HTTP/1.1 200 ", 13);
		assert_int_equal(pcb->out + pcb->out_len - (strstr(at, "\r\n\r\n") + 4), 17);
		world_reset(pcb);
		if (world_find("old")->size > LARGE / 2)
			break;
	}
}

static void a_head_that_waits_for_memory_says_what_there_is_when_it_goes(void **state)
{
	struct tcp_pcb *pcb = world_connect(1);

	client_fill(100);
	world_fail_writes(0);
	world_say(pcb, "GET /d/one" H "\r\n", 0);
	assert_int_equal(pcb->out_len, 0);
	grow("d/one", 50);
	world_writes_ok();
	client_pass(100);
	assert_ptr_equal(whole_answer(world_heard(pcb), "d/one"), pcb->out + pcb->out_len);
}

// The digits of the size stand in each part's head, and their number in the length of the whole.
static void parts_keep_the_length_that_was_said(void **state)
{
	struct tcp_pcb *pcb = world_connect(1);
	const char *length, *body;

	world_file("nines", 99, 9999);
	client_fill(100);
	world.no_acks = true;
	world.snd_buf = 4096;
	pcb = world_connect(1);
	world_say(pcb, "GET /nines" H "Range: bytes=0-4500,6000-6099,8000-8099\r\n\r\n", 0);
	world_settle();
	assert_int_equal(client_status(pcb), 206);
	grow("nines", 100);
	world.no_acks = false;
	world_settle();
	length = strstr(world_heard(pcb), "\r\nContent-Length: ");
	body = strstr(world_heard(pcb), "\r\n\r\n") + 4;
	assert_int_equal(strtoul(length + 18, NULL, 10), pcb->out + pcb->out_len - body);
}

// ---- names while a body comes ------------------------------------------------------------------------

// A PUT of which all but the last byte has arrived.
static struct tcp_pcb *put_half(const char *name, const char *fields)
{
	struct tcp_pcb *pcb = world_connect(1);

	client_fill(100);
	size_t n = client_put_body(client_put_head(name, 100, false, fields), 100, false);
	world_say_bytes(pcb, client_text, n - 1, 0);
	world_settle();
	return pcb;
}

static void put_rest(struct tcp_pcb *pcb, int status)
{
	world_say_bytes(pcb, client_content + 99, 1, 0);
	world_settle();
	assert_int_equal(client_status(pcb), status);
}

static void if_unmodified_since_holds_when_the_name_is_taken_too(void **state)
{
	struct tcp_pcb *pcb =
	    put_half("old", "If-Unmodified-Since: Fri, 01 Jan 2027 00:00:00 GMT\r\n");

	client_ask("PUT /old" H "Content-Length: 3\r\n\r\nabc", 204);
	put_rest(pcb, 412);
	assert_int_equal(world_find("old")->size, 3);
}

// Whichever of the two comes first: what was put is not what the condition allowed to go.
static void a_condition_holds_when_the_name_goes_too(void **state)
{
	static const char *const requests[] = {"DELETE /old" H "If-Match: %s\r\n\r\n",
					       "MOVE /old" H
					       "Destination: /moved\r\nIf-Match: %s\r\n\r\n",
					       "DELETE /old" H "If: ([%s])\r\n\r\n"};
	unsigned refused = 0, done = 0;

	for (unsigned i = 0; i < ARRAY_SIZE(requests); i++)
		for (unsigned steps = 0; steps < 30; steps++) {
			char request[200], tag[80];
			struct tcp_pcb *pcb = client_ask("HEAD /old" H "\r\n", 200), *other;
			const char *at = strstr(world_heard(pcb), "ETag: ");

			assert_non_null(at);
			snprintf(tag, sizeof(tag), "%.*s", (int)strcspn(at + 6, "\r"), at + 6);
			snprintf(request, sizeof(request), requests[i], tag);
			pcb = put_half("old", "");
			world_say_bytes(pcb, client_content + 99, 1, 0);
			for (unsigned n = 0; n < steps && world_step(); n++)
				;
			other = world_connect(2);
			world_say(other, request, 0);
			world_settle();
			assert_in_range(client_status(pcb), 201, 204);
			client_has_content("old", 100);
			refused += client_status(other) == 412;
			done += client_status(other) != 412;
		}
	assert_true(refused && done);
}

#define LOCKINFO                                                                                   \
	"<lockinfo xmlns='DAV:'><lockscope><exclusive/></lockscope><locktype><write/></locktype>"  \
	"</lockinfo>"

static void a_name_locked_while_a_body_comes_is_locked(void **state)
{
	char lock[400];
	struct tcp_pcb *pcb = put_half("old", ""), *fresh = put_half("d/new", "");

	snprintf(lock, sizeof(lock), "LOCK /old" H "Content-Length: %zu\r\n\r\n" LOCKINFO,
		 strlen(LOCKINFO));
	client_ask(lock, 200);
	snprintf(lock, sizeof(lock), "LOCK /d" H "Content-Length: %zu\r\n\r\n" LOCKINFO,
		 strlen(LOCKINFO));
	client_ask(lock, 200);
	put_rest(pcb, 423);
	put_rest(fresh, 423);
	client_left_old();
}

// Somebody is given a lock when the locks in the way of a change were weighed and it is not done yet.
static void a_lock_that_is_given_before_the_work_is_done_holds_it_off(void **state)
{
	static const struct {
		const char *lock, *request;
		int status;
	} cases[] = {
	    {"/old", "DELETE /old" H "\r\n", 423},
	    {"/", "DELETE /old" H "\r\n", 423},
	    {"/old", "MOVE /old" H "Destination: /x\r\n\r\n", 423},
	    {"/d/deep/two", "MOVE /d" H "Destination: /x\r\n\r\n", 423},
	    {"/old", "MOVE /d/one" H "Destination: /old\r\n\r\n", 423},
	    {"/old", "COPY /d/one" H "Destination: /old\r\n\r\n", 423},
	    {"/d", "MKCOL /d/new" H "\r\n", 423},
	    {"/old", "PUT /old" H "Content-Length: 3\r\n\r\nabc", 423},
	    {"/d", "PUT /d/new" H "Content-Length: 3\r\n\r\nabc", 423},
	    {"/d/deep/two", "DELETE /d" H "\r\n", 207},
	    {"/d/deep", "DELETE /d" H "\r\n", 207},
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		char lock[400], unlock[200];
		struct tcp_pcb *pcb = world_connect(1), *other = world_connect(2);

		world_say(pcb, cases[i].request, 0);
		snprintf(lock, sizeof(lock),
			 "LOCK %s" H "Depth: 0\r\nContent-Length: %zu\r\n\r\n%s", cases[i].lock,
			 strlen(LOCKINFO), LOCKINFO);
		world_say(other, lock, 0);
		world_settle();
		assert_int_equal(client_status(other), 200);
		assert_int_equal(client_status(pcb), cases[i].status);
		assert_non_null(world_find("old"));
		assert_non_null(world_find("d/deep/two"));
		const char *at = strstr(world_heard(other), "Lock-Token: ");
		assert_non_null(at);
		snprintf(unlock, sizeof(unlock), "UNLOCK %s" H "%.*s\r\n\r\n", cases[i].lock,
			 (int)strcspn(at, "\r"), at);
		client_ask(unlock, 204);
	}
	assert_int_equal(world_find("old")->size, SIZE);
}

// RFC 4918 section 9.6, also where something else of the collection had to stay.
static void the_lock_on_a_member_that_is_gone_ends(void **state)
{
	char request[400], token[80];
	struct tcp_pcb *pcb;

	snprintf(request, sizeof(request), "LOCK /d/one" H "Content-Length: %zu\r\n\r\n%s",
		 strlen(LOCKINFO), LOCKINFO);
	pcb = client_ask(request, 200);
	const char *at = strstr(world_heard(pcb), "Lock-Token: ");
	assert_non_null(at);
	snprintf(token, sizeof(token), "%.*s", (int)strcspn(at + 12, "\r"), at + 12);
	snprintf(request, sizeof(request), "DELETE /d" H "If: </d/one> (%s)\r\n\r\n", token);
	world.remove_error = -EIO;
	world.remove_error_path = "d/deep/two";
	client_ask(request, 207);
	world.remove_error = 0;
	assert_null(world_find("d/one"));
	client_ask("PUT /d/one" H "Content-Length: 3\r\n\r\nabc", 201);
}

static void a_collection_that_moves_while_a_body_comes_does_not_take_it_along(void **state)
{
	struct tcp_pcb *pcb = put_half("d/new", ""), *gone = put_half("empty/new", "");

	client_ask("MOVE /d" H "Destination: /elsewhere\r\n\r\n", 201);
	client_ask("DELETE /empty" H "\r\n", 204);
	put_rest(pcb, 409);
	put_rest(gone, 409);
	assert_null(world_find("elsewhere/new"));
	assert_int_equal(world_inodes(), client_inodes - 1);
}

// ---- rights ------------------------------------------------------------------------------------------

#define ANNA "Authorization: Basic YW5uYTpzZWNyZXQ=\r\n" // anna:secret

static void install(const char *trustees)
{
	char text[1000];

	snprintf(text, sizeof(text), "user anna $argon2id$secret\n%s", trustees);
	world_users(text);
}

static void a_tree_is_not_moved_away_from_what_closes_a_part_of_it(void **state)
{
	install("trustee / anna ALL\ntrustee /d/deep anna -\n");
	client_ask("MOVE /d" H ANNA "Destination: /x\r\n\r\n", 403);
	client_ask("GET /d/deep/two" H ANNA "\r\n", 403);
	install("trustee / * ALL\ntrustee /d/deep * RL\ntrustee /d/deep anna RLE\n");
	client_ask("MOVE /d" H "Destination: /x\r\n\r\n", 401);
	client_left_old();
	client_ask("MOVE /d" H ANNA "Destination: /x\r\n\r\n", 201);
	install("trustee / anna ALL\ntrustee /y/deep anna RL\n");
	client_ask("MOVE /x" H ANNA "Destination: /y\r\n\r\n", 403);
	client_ask("MOVE /x" H ANNA "Destination: /d\r\n\r\n", 201);
	client_left_old();
}

static void a_file_with_a_line_of_its_own_keeps_it_in_its_tree(void **state)
{
	install("trustee / anna ALL\ntrustee /d/one anna -\ntrustee /empty anna -\n");
	client_ask("DELETE /d" H ANNA "\r\n", 207);
	assert_non_null(world_find("d/one"));
	client_ask("COPY /d" H ANNA "Destination: /x\r\n\r\n", 207);
	assert_null(world_find("x/one"));
	client_ask("MOVE /d" H ANNA "Destination: /y\r\n\r\n", 403);
	world_directory("d/none", 30);
	install("trustee / anna ALL\ntrustee /d/none anna -\n");
	client_ask("DELETE /d" H ANNA "\r\n", 207);
	assert_non_null(world_find("d/none"));
}

static void a_collection_in_the_place_of_a_file_erases_it(void **state)
{
	install("trustee / anna RLW\ntrustee /d anna ALL\n");
	client_ask("COPY /d" H ANNA "Destination: /old\r\n\r\n", 403);
	client_ask("COPY /d/one" H ANNA "Destination: /old\r\n\r\n", 204);
}

static void who_is_asked_for_the_destination_only_leaves_nothing_held(void **state)
{
	install("trustee / * RL\ntrustee /d anna ALL\n");
	client_ask("COPY /old" H ANNA "Destination: /d/copy\r\n\r\n", 201);
	assert_int_equal(world_verified, 1);
}

// ---- the rest ----------------------------------------------------------------------------------------

static void a_copy_that_a_link_leads_into_its_source_has_an_end(void **state)
{
	world_link("way", 40, "d");
	client_ask("COPY /d" H "Destination: /way/copy\r\n\r\n", 201);
	assert_non_null(world_find("d/copy/deep/two"));
	assert_null(world_find("d/copy/copy"));
}

// The tag of a file after one more byte was put into it, which was said to be of that time.
static void patched_tag(char *tag, size_t size)
{
	static const char patch[] =
	    "PATCH /old" H "Content-Type: application/x-sabredav-partialupdate\r\n"
	    "X-Update-Range: bytes=0-0\r\nX-OC-Mtime: 1000\r\nContent-Length: 1\r\n\r\nx";
	const char *at;

	shim_advance(1);
	client_says(client_ask(patch, 204), "X-OC-Mtime: accepted");
	struct tcp_pcb *pcb = client_ask("HEAD /old" H "\r\n", 200);
	client_says(pcb, "Last-Modified: Thu, 01 Jan 1970 00:16:40 GMT");
	at = strstr(world_heard(pcb), "\r\nETag: ");
	assert_non_null(at);
	snprintf(tag, size, "%.*s", (int)strcspn(at + 8, "\r"), at + 8);
}

static void a_file_changed_in_place_has_another_tag_whatever_time_it_is_given(void **state)
{
	char first[100], second[100];

	patched_tag(first, sizeof(first));
	patched_tag(second, sizeof(second));
	assert_string_not_equal(first, second);
}

static void a_lock_may_end_while_others_are_looked_at(void **state)
{
	char lock[400];

	for (unsigned round = 0; round < 200; round++) {
		tick_ns = 0;
		for (unsigned n = 0; n < 3; n++) {
			snprintf(lock, sizeof(lock),
				 "LOCK /d/f%u" H
				 "Timeout: Second-%u\r\nContent-Length: %zu\r\n\r\n" LOCKINFO,
				 n, 12 - n, strlen(LOCKINFO));
			client_ask(lock, round ? 200 : 201);
		}
		shim_advance(10 * NS_PER_SEC - 1 - round * 1000);
		tick_ns = 1000;
		client_ask("MOVE /d" H "Destination: /x\r\n\r\n", 423);
		tick_ns = 0;
		shim_advance(20 * NS_PER_SEC);
		world_settle();
	}
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, client_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
	    TEST(a_file_that_grows_before_its_answer_begins_is_answered_as_it_is_then),
	    TEST(a_head_that_waits_for_memory_says_what_there_is_when_it_goes),
	    TEST(parts_keep_the_length_that_was_said),
	    TEST(if_unmodified_since_holds_when_the_name_is_taken_too),
	    TEST(a_condition_holds_when_the_name_goes_too),
	    TEST(a_name_locked_while_a_body_comes_is_locked),
	    TEST(a_lock_that_is_given_before_the_work_is_done_holds_it_off),
	    TEST(the_lock_on_a_member_that_is_gone_ends),
	    TEST(a_collection_that_moves_while_a_body_comes_does_not_take_it_along),
	    TEST(a_tree_is_not_moved_away_from_what_closes_a_part_of_it),
	    TEST(a_file_with_a_line_of_its_own_keeps_it_in_its_tree),
	    TEST(a_collection_in_the_place_of_a_file_erases_it),
	    TEST(who_is_asked_for_the_destination_only_leaves_nothing_held),
	    TEST(a_copy_that_a_link_leads_into_its_source_has_an_end),
	    TEST(a_file_changed_in_place_has_another_tag_whatever_time_it_is_given),
	    TEST(a_lock_may_end_while_others_are_looked_at),
	};
	if (getenv("FILTER"))
		cmocka_set_test_filter(getenv("FILTER"));
	return cmocka_run_group_tests(tests, NULL, NULL);
}
