// SPDX-License-Identifier: BSD-2-Clause
// SOURCES: tests/host/http_world_rights.c server/rights.c server/users.c server/auth.c server/auth_digest.c
// SOURCES: server/dav_if.c server/dav_if_weigh.c server/auth_delay.c kernel/siphash.c
// ARCHIVES: build/host/libcrypto.a
// SOURCES: tests/host/http_world.c tests/host/http_world_park.c server/http_park.c
// SOURCES: tests/host/http_client.c tests/host/http_world_files.c server/http.c server/http_conn.c
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
// Each limit and time-out of the HTTP server, and the order and bounds of listings.
#define _GNU_SOURCE // memmem
#include <stdarg.h>
#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>
#include "http_client.h"
#include "kernel/kstat.h"
#include "kernel/pmm.h"
#include "server/dirlist.h"

#define REQUEST(path) "GET " path " HTTP/1.1\r\nHost: x\r\n\r\n"
#define BIG	      1000000

static int setup(void **state)
{
	client_begin("off");
	world_file("big", 10, BIG);
	world_file("one", 12, 1);
	return 0;
}

static void a_slow_head_is_cut_off_with_a_408(void **state)
{
	struct tcp_pcb *pcb = world_connect(1), *drip = world_connect(1);

	world_say(pcb, "GET / HTTP/1.1\r\nHost: ", 0);
	for (int i = 0; i < 9; i++) {
		world_say(drip, "G", 0);
		client_pass(1000);
		assert_int_equal(pcb->out_len, 0);
	}
	client_pass(2000);
	client_says(pcb, "HTTP/1.1 408 ");
	client_says(pcb, "Connection: close\r\n");
	client_says(drip, "HTTP/1.1 408 ");
	world_fin(pcb);
	assert_true(pcb->closed);
	client_pass(3000);
	assert_true(drip->closed);
}

static void a_body_that_does_not_come_ends_the_connection(void **state)
{
	struct tcp_pcb *pcb = world_connect(1);

	world_say(pcb, "GET /one HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\nabc", 0);
	client_pass(9000);
	client_says(pcb, "HTTP/1.1 200 ");
	assert_false(world_gone(pcb) || pcb->fin_sent);
	client_pass(5000);
	assert_true(pcb->closed);
}

static void an_idle_connection_ends_in_silence(void **state)
{
	struct tcp_pcb *pcb = world_connect(1), *fresh = world_connect(1);

	world_say(pcb, REQUEST("/one"), 0);
	world_settle();
	size_t len = pcb->out_len;
	client_pass(59000);
	assert_false(world_gone(pcb) || world_gone(fresh));
	client_pass(2000);
	assert_true(pcb->closed && fresh->closed && pcb->out_len == len && fresh->out_len == 0);
}

static void a_client_that_takes_nothing_is_reset(void **state)
{
	struct tcp_pcb *dead = world_connect(1), *drip = world_connect(1), *slow = world_connect(1);
	uint64_t before = kstat_get("pagewire_http_timeouts_total", "what=\"stall\"");

	world.no_acks = true;
	world_say(dead, REQUEST("/big"), 0);
	world_say(drip, REQUEST("/big"), 0);
	world_say(slow, REQUEST("/big"), 0);
	assert_int_equal(world_pages_wired, 3 * (65536 / PAGE_SIZE - 1));
	for (int i = 0; i < 59; i++) {
		world_ack(drip, 10);
		world_ack(slow, 100);
		client_pass(1000);
	}
	assert_false(world_gone(dead) || world_gone(drip) || world_gone(slow));
	client_pass(3000);
	assert_true(dead->aborted && drip->aborted && !slow->aborted);
	assert_int_equal(kstat_get("pagewire_http_timeouts_total", "what=\"stall\""), before + 2);
	world.no_acks = false;
	world_settle();
	assert_true(slow->out_len > BIG);
	assert_int_equal(world_pages_wired, 0);
}

static void a_long_answer_does_not_run_into_any_deadline(void **state)
{
	struct tcp_pcb *pcb = world_connect(1);

	world.no_acks = true;
	world_say(pcb, REQUEST("/big"), 0);
	for (int i = 0; i < 200; i++) {
		world_ack(pcb, 5000);
		client_pass(30000);
		assert_false(world_gone(pcb));
	}
	assert_true(pcb->out_len > BIG);
}

static void when_full_the_oldest_idle_one_makes_room(void **state)
{
	struct tcp_pcb *pcb[4];

	http_config.connections_max = 3;
	for (int i = 0; i < 3; i++)
		pcb[i] = world_connect(1);
	shim_advance(NS_PER_MS);
	world_say(pcb[0], REQUEST("/one"), 0);
	world_settle();
	pcb[3] = world_connect(2);
	assert_true(pcb[1]->closed && !world_gone(pcb[0]) && !world_gone(pcb[2]));
	world_say(pcb[3], REQUEST("/one"), 0);
	world_settle();
	client_says(pcb[3], "HTTP/1.1 200 ");
}

static void when_full_of_busy_ones_the_new_one_gets_a_503(void **state)
{
	struct tcp_pcb *busy[3];

	http_config.connections_max = 3;
	world.no_acks = true;
	for (int i = 0; i < 3; i++) {
		busy[i] = world_connect(1);
		world_say(busy[i], REQUEST("/big"), 0);
	}
	struct tcp_pcb *late = world_connect(2);
	world_say(late, REQUEST("/one"), 0);
	client_says(late, "HTTP/1.1 503 ");
	assert_true(late->fin_sent && !late->aborted);
	world_ack(late, 10000);
	world_fin(late);
	assert_true(late->closed);
	for (unsigned i = 0; i < HTTP_REFUSE_MAX; i++)
		client_says(world_connect(2), "HTTP/1.1 503 ");
	assert_true(world_connect(2)->aborted);
	assert_int_equal(http_conn_count, 3);
}

static void one_address_has_its_limit_and_others_do_not_feel_it(void **state)
{
	http_config.per_address_max = 2;
	world_connect(1);
	struct tcp_pcb *second = world_connect(1);
	client_says(world_connect(1), "HTTP/1.1 503 ");
	assert_int_equal(world_connect(2)->out_len, 0);
	world_fin(second);
	assert_int_equal(world_connect(1)->out_len, 0);
	// Two hosts of one IPv6 /64 count as one; another /64 does not.
	world_connect(0x10101);
	world_connect(0x10102);
	client_says(world_connect(0x10103), "HTTP/1.1 503 ");
	assert_int_equal(world_connect(0x10203)->out_len, 0);
}

static void pages_on_the_wire_are_bounded_and_waiters_go_on(void **state)
{
	struct tcp_pcb *pcb[6];

	world.no_acks = true;
	world.snd_buf = 262800;
	for (int i = 0; i < 6; i++) {
		char text[60];
		sprintf(text, "big%d", i);
		world_file(text, (uint64_t)(50 + i), BIG);
		sprintf(text, "GET /big%d HTTP/1.1\r\nHost: x\r\n\r\n", i);
		pcb[i] = world_connect(1);
		world_say(pcb[i], text, 0);
		world_settle();
	}
	// Half of the cache's 400, less the page that each holds ready.
	assert_true(world_pages_wired <= 200 && world_pages_wired >= 190);
	client_pass(10000);
	world.no_acks = false;
	client_pass(5000);
	for (int i = 0; i < 6; i++) {
		assert_true(pcb[i]->out_len > BIG);
		assert_false(pcb[i]->aborted);
	}
}

static void who_waits_for_pages_of_others_holds_none(void **state)
{
	struct page *others[200];
	struct tcp_pcb *pcb;
	unsigned n = 0;

	world.no_acks = true;
	world.snd_buf = 9000;
	pcb = world_connect(1);
	world_say(pcb, REQUEST("/big"), 0);
	world_settle();
	assert_in_range(page_pinned(), 2, 4);	    // of which one is the next to be sent
	for (; n < 200; page_wire_get(others[n++])) // half of the cache's 400
		others[n] = pmm_alloc(0);
	world_ack(pcb, (uint32_t)pcb->out_len);
	assert_int_equal(page_pinned(), n);
	for (; n; pmm_free(others[n], 0))
		page_wire_put(others[--n]);
	world.no_acks = false;
	client_pass(1000);
	assert_true(pcb->out_len > BIG);
}

static void bodies_are_skipped_to_the_byte_or_end_the_connection(void **state)
{
	struct tcp_pcb *good = world_connect(1), *bad = world_connect(1),
		       *endless = world_connect(1);

	world_say(good,
		  "GET /one HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
		  "5;x=y\r\nGET /\r\n0\r\nT: v\r\n\r\n" REQUEST("/none"),
		  1);
	world_settle();
	client_says(good, "HTTP/1.1 200 ");
	client_says(good, "HTTP/1.1 404 ");
	world_say(bad,
		  "GET /one HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
		  "5\r\nGET /x0\r\n\r\n" REQUEST("/none"),
		  0);
	world_settle();
	assert_true(bad->fin_sent);
	assert_null(strstr(world_heard(bad), "404"));
	world_say(endless, "GET /one HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n", 0);
	for (int i = 0; i < 20000 && !endless->fin_sent; i++)
		world_say(endless, "8\r\nabcdefgh\r\n", 0);
	assert_true(endless->fin_sent);
	struct tcp_pcb *expects = world_connect(1);
	world_say(
	    expects,
	    "GET /one HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\n", 0);
	world_settle();
	client_says(expects, "Connection: close\r\n");
	assert_true(expects->fin_sent);
}

static void pipelined_bytes_behind_a_busy_answer_are_kept_in_bounds(void **state)
{
	struct tcp_pcb *pcb = world_connect(1);
	unsigned asked = 0, answered = 0;
	uint64_t refused = kstat_get("pagewire_http_held_refused_total", NULL);

	world.no_acks = true;
	world_say(pcb, REQUEST("/big"), 0);
	while (pcb->unread < 200000) {
		world_say(pcb, REQUEST("/one"), 0);
		asked++;
	}
	assert_int_equal(kstat_get("pagewire_http_held_buffers", NULL), HTTP_HELD_MAX);
	assert_true(kstat_get("pagewire_http_held_refused_total", NULL) > refused);
	assert_true(http_text_pool.used <= 1);
	world.no_acks = false;
	client_pass(5000);
	for (const char *at = world_heard(pcb) + BIG, *end = world_heard(pcb) + pcb->out_len;
	     (at = memmem(at, (size_t)(end - at), "HTTP/1.1 200 ", 13)); at++)
		answered++;
	assert_int_equal(answered, asked);
	assert_int_equal(http_text_pool.used, 0);
	assert_int_equal(kstat_get("pagewire_http_held_buffers", NULL), 0);
	assert_int_equal(pcb->unread, 0);
}

static void a_long_pipeline_leaves_others_their_turn(void **state)
{
	enum { COUNT = 1000 };
	struct tcp_pcb *pcb = world_connect(1);
	static char text[COUNT * 40];
	unsigned answered = 0;

	for (int i = 0; i < COUNT; i++)
		strcat(text, REQUEST("/one"));
	world.snd_buf = 262800;
	world.no_acks = true;
	world_say(pcb, text, 0);
	assert_true(pcb->out_len < (HTTP_TURN + 1) * 400);
	world.no_acks = false;
	world_settle();
	for (const char *at = world_heard(pcb), *end = at + pcb->out_len;
	     (at = memmem(at, (size_t)(end - at), "HTTP/1.1 200 ", 13)); at++)
		answered++;
	assert_int_equal(answered, COUNT);
}

// ---- listings ----------------------------------------------------------------------------------------

static struct listing *new_listing(void)
{
	return kpages_alloc(sizeof(struct listing));
}

static void add(struct listing *l, const char *name, enum inode_type type, uint64_t size,
		int64_t mtime)
{
	struct listing_entry *e = listing_add(l, name, (uint8_t)strlen(name));

	assert_non_null(e);
	e->type = (uint8_t)type;
	e->size = size;
	e->mtime = mtime;
}

static void order_is(const char *query, const char *want)
{
	struct listing *l = new_listing();
	char got[100] = "";

	add(l, "b", INODE_FILE, 3, 30);
	add(l, "C", INODE_FILE, 1, 20);
	add(l, "a", INODE_FILE, 2, 20);
	add(l, "z", INODE_DIRECTORY, 0, 10);
	add(l, "aa", INODE_FILE, 2, 5);
	listing_read_query(l, query, strlen(query));
	assert_true(listing_arrange(l));
	for (size_t i = 0; i < l->count; i++)
		sprintf(got + strlen(got), "%.*s ", l->entries[i]->len, l->entries[i]->name);
	assert_string_equal(got, want);
	listing_free(l);
}

static void listings_are_ordered_as_asked(void **state)
{
	order_is("", "z a aa b C ");
	order_is("sort=name&order=desc", "z C b aa a ");
	order_is("sort=size", "z C a aa b ");
	order_is("order=desc&sort=size", "z b aa a C ");
	order_is("sort=date&order=asc", "z aa a C b ");
	order_is("sort=nonsense", "z a aa b C ");
}

static void a_hundred_thousand_entries_are_sorted_within_the_bound(void **state)
{
	struct listing *l = new_listing();
	size_t pieces = 0, bytes = 0;

	for (unsigned i = 0; i < 100000; i++) {
		char name[30];
		sprintf(name, "file-%lu", (unsigned long)shim_random_below(1000000000));
		add(l, name, INODE_FILE, i, i);
	}
	assert_true(listing_arrange(l));
	assert_true(l->memory < 8 << 20);
	for (size_t i = 1; i < l->count; i++) {
		const struct listing_entry *a = l->entries[i - 1], *b = l->entries[i];
		int order = memcmp(a->name, b->name, MIN(a->len, b->len));
		assert_true(order < 0 || (order == 0 && a->len <= b->len));
	}
	while (!listing_done(l)) {
		char out[LISTING_PIECE + 16];
		struct text t = TEXT_OF(out);
		listing_piece(l, &t, true);
		assert_true(t.len > 8 && !t.full);
		pieces++;
		bytes += t.len;
	}
	assert_true(pieces > 1000 && bytes > 100000 * 50);
	listing_free(l);
}

static void a_directory_beyond_the_bound_is_cut_and_says_so(void **state)
{
	struct listing *l = new_listing();
	char name[255], out[LISTING_PIECE + 16];
	bool said = false;

	memset(name, 'n', sizeof(name));
	while (listing_add(l, name, 255))
		l->entries = NULL;
	assert_true(l->cut && l->status == 0 && l->count > 10000);
	assert_true(listing_arrange(l));
	while (!listing_done(l)) {
		struct text t = TEXT_OF(out);
		listing_piece(l, &t, false);
		out[MIN(t.len, sizeof(out) - 1)] = 0;
		said |= strstr(out, "The directory has more") != NULL;
	}
	assert_true(said);
	struct listing *second = new_listing();
	assert_null(listing_add(second, name, 255));
	assert_int_equal(second->status, -ENOMEM);
	listing_free(second);
	listing_free(l);
}

static void the_longest_path_and_names_of_the_worst_bytes_fit(void **state)
{
	struct listing *l = new_listing();
	char name[255], out[LISTING_PIECE + 16];

	memset(l->path, '"', sizeof(l->path));
	l->path_len = sizeof(l->path);
	memset(name, '"', sizeof(name));
	for (int i = 0; i < 10; i++) {
		struct listing_entry *e = listing_add(l, name, 255);
		e->type = INODE_FILE;
		e->size = UINT64_MAX;
		e->mtime = INT64_MAX;
	}
	assert_true(listing_arrange(l));
	for (int json = 0; json < 2; json++) {
		unsigned pieces = 0;
		l->json = json;
		l->place = (struct listing_place){0};
		for (; !listing_done(l); pieces++) {
			struct text t = TEXT_OF(out);
			listing_piece(l, &t, true);
			assert_true(t.len > 8);
			assert_true(pieces < 30);
		}
	}
	listing_free(l);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, client_teardown)
	const struct CMUnitTest tests[] = {
	    TEST(a_slow_head_is_cut_off_with_a_408),
	    TEST(a_body_that_does_not_come_ends_the_connection),
	    TEST(an_idle_connection_ends_in_silence),
	    TEST(a_client_that_takes_nothing_is_reset),
	    TEST(a_long_answer_does_not_run_into_any_deadline),
	    TEST(when_full_the_oldest_idle_one_makes_room),
	    TEST(when_full_of_busy_ones_the_new_one_gets_a_503),
	    TEST(one_address_has_its_limit_and_others_do_not_feel_it),
	    TEST(pages_on_the_wire_are_bounded_and_waiters_go_on),
	    TEST(who_waits_for_pages_of_others_holds_none),
	    TEST(bodies_are_skipped_to_the_byte_or_end_the_connection),
	    TEST(pipelined_bytes_behind_a_busy_answer_are_kept_in_bounds),
	    TEST(a_long_pipeline_leaves_others_their_turn),
	    TEST(listings_are_ordered_as_asked),
	    TEST(a_hundred_thousand_entries_are_sorted_within_the_bound),
	    TEST(a_directory_beyond_the_bound_is_cut_and_says_so),
	    TEST(the_longest_path_and_names_of_the_worst_bytes_fit),
	};
	shim_seed();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
