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
// Who gets what: Basic and Digest, what is remembered and forgotten, delays after wrong passwords, clients
// that leave while theirs is verified.
#include <stdarg.h>
#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>
#include "bearssl_hash.h"
#include "http_world.h"
#include "kernel/kstat.h"
#include "kernel/kstring.h"
#include "kernel/timer.h"
#include "server/auth_digest.h"
#include "server/http_conn.h"
#include "server/verify.h"
#include "shim.h"

#define ANNA   "Authorization: Basic YW5uYTpzZWNyZXQ=\r\n" // anna:secret
#define WRONG  "Authorization: Basic YW5uYTp3cm9uZyE=\r\n" // anna:wrong!
#define NOBODY "Authorization: Basic em9lOnNlY3JldA==\r\n" // zoe:secret

static struct http_config defaults;
static char digest_line[400];

static void install(const char *trustees)
{
	char text[1000], secret[DIGEST_SECRET_MAX];

	digest_secret(false, "dora", 4, "secret", 6, secret);
	snprintf(digest_line, sizeof(digest_line), "user dora $argon2id$secret digest-sha256=%s\n",
		 secret);
	snprintf(text, sizeof(text), "user anna $argon2id$secret\n%s%s", digest_line, trustees);
	world_users(text);
}

static int setup(void **state)
{
	if (!defaults.port)
		defaults = http_config;
	http_config = defaults;
	shim_init(8192);
	world_start();
	world_file("a.txt", 10, 100);
	world_directory("d", 20);
	world_file("d/x", 21, 17);
	install("trustee / + RL\ntrustee /d anna -\n");
	return 0;
}

static int teardown(void **state)
{
	world_finish();
	shim_finish();
	return 0;
}

// The whole answer to one request from a host of its own.
static char *ask_from(unsigned host, const char *path, const char *fields)
{
	static char answer[5000];
	struct tcp_pcb *pcb = world_connect(host);
	char request[1500];

	snprintf(request, sizeof(request), "GET %s HTTP/1.1\r\nHost: x\r\n%s\r\n", path, fields);
	world_say(pcb, request, shim_random_below(2) ? 7 : 0);
	world_settle();
	snprintf(answer, sizeof(answer), "%s", world_heard(pcb));
	return answer;
}

static int get_from(unsigned host, const char *path, const char *fields)
{
	return atoi(ask_from(host, path, fields) + 9);
}

static int get(const char *path, const char *fields)
{
	return get_from(1, path, fields);
}

static void basic_is_verified_once_and_then_remembered(void **state)
{
	assert_int_equal(get("/a.txt", ""), 401);
	assert_non_null(
	    strstr(ask_from(1, "/a.txt", ""), "\r\nWWW-Authenticate: Basic realm=\"Pagewire\""));
	assert_int_equal(get("/a.txt", ANNA), 200);
	assert_int_equal(world_verified, 1);
	for (int i = 0; i < 5; i++)
		assert_int_equal(get("/a.txt", ANNA), 200);
	assert_int_equal(world_verified, 1);
	shim_advance(601 * NS_PER_SEC);
	assert_int_equal(get("/a.txt", ANNA), 200);
	assert_int_equal(world_verified, 2);
	install("trustee / + RL\n");
	assert_int_equal(get("/a.txt", ANNA), 200);
	assert_int_equal(world_verified, 3);
}

static void what_is_wrong_is_refused(void **state)
{
	assert_int_equal(get("/a.txt", WRONG), 401);
	assert_int_equal(get_from(2, "/a.txt", NOBODY), 401);
	assert_int_equal(world_verified, 2); // the time does not tell which of them is no user
	assert_int_equal(get_from(3, "/a.txt", "Authorization: Basic YW5uYTpzZWNyZXR=\r\n"), 401);
	assert_int_equal(get_from(3, "/a.txt", "Authorization: Basic YW5uYTpzZWNyZXQ\r\n"), 401);
	assert_int_equal(get_from(3, "/a.txt", "Authorization: Basic YW5uYQ==\r\n"), 401);
	assert_int_equal(get_from(3, "/a.txt", "Authorization: Bearer YW5uYQ==\r\n"), 401);
	assert_int_equal(get_from(3, "/a.txt", ANNA ANNA), 401);
	assert_int_equal(get("/nothing", ""), 401);
	assert_int_equal(get("/d/x", ANNA), 200);
}

static void rights_hold_at_once_also_for_what_was_remembered(void **state)
{
	install("trustee / * RL\n");
	for (int i = 0; i < 4; i++)
		assert_int_equal(get("/a.txt", ""), 200);
	install("trustee / anna R\n");
	assert_int_equal(get("/a.txt", ""), 401);
	for (int i = 0; i < 4; i++)
		assert_int_equal(get("/a.txt", ANNA), 200);
	assert_int_equal(get("/", ANNA), 403);
	install("trustee / dora R\n");
	assert_int_equal(get("/a.txt", ANNA), 403);
	world_users("trustee / + R\n");
	assert_int_equal(get("/a.txt", ANNA), 403); // nobody is known
}

static void a_link_to_what_is_hidden_leads_nowhere(void **state)
{
	install("trustee / * ALL\n");
	assert_int_equal(get("/d/x", ""), 200);
	world_hidden = 21;
	assert_int_equal(get("/d/x", ""), 404);
	world_hidden = 20;
	assert_int_equal(get("/d/", ""), 404);
}

static void wrong_passwords_make_the_next_wait(void **state)
{
	unsigned before;

	for (int i = 0; i < 4; i++)
		assert_int_equal(get("/a.txt", WRONG), 401);
	before = world_verified;
	assert_int_equal(get("/a.txt", WRONG), 429);
	assert_int_equal(get("/a.txt", ANNA), 429);	    // the address waits
	assert_int_equal(get_from(2, "/a.txt", ANNA), 429); // the name waits
	assert_int_equal(world_verified, before);
	assert_non_null(strstr(ask_from(1, "/a.txt", ANNA), "\r\nRetry-After: "));
	shim_advance(1100 * NS_PER_MS);
	assert_int_equal(get_from(2, "/a.txt", ANNA), 200);
	for (int i = 0; i < 4;
	     i++) { // others go on guessing: who was right before is not locked out
		shim_advance(9 * NS_PER_SEC);
		assert_int_equal(get_from(3 + (unsigned)i, "/a.txt", WRONG), 401);
	}
	shim_advance(601 * NS_PER_SEC);
	assert_int_equal(get("/a.txt", ANNA), 200);
}

static void too_many_at_once_are_sent_away(void **state)
{
	struct tcp_pcb *pcb[VERIFY_MAX + 1];
	unsigned busy = 0;

	world.no_acks = true;
	for (unsigned i = 0; i <= VERIFY_MAX; i++) {
		char request[200];
		snprintf(request, sizeof(request),
			 "GET /a.txt HTTP/1.1\r\nHost: x\r\n" ANNA "X: %u\r\n\r\n", i);
		pcb[i] = world_connect(i + 1);
		world_say(pcb[i], request, 0);
	}
	for (unsigned i = 0; i <= VERIFY_MAX; i++)
		busy += strncmp(world_heard(pcb[i]), "HTTP/1.1 503", 12) == 0;
	assert_int_equal(busy, 1);
	world.no_acks = false;
	world_settle();
	for (unsigned i = 0; i < VERIFY_MAX; i++)
		assert_int_equal(atoi(world_heard(pcb[i]) + 9), 200);
}

static void a_client_that_leaves_is_counted_all_the_same(void **state)
{
	uint64_t before = kstat_get("pagewire_auth_failures_total", NULL);
	unsigned left = 0;

	for (unsigned i = 0; i < 40; i++) {
		struct tcp_pcb *pcb = world_connect(100 + i);
		world_say(pcb, "GET /a.txt HTTP/1.1\r\nHost: x\r\n" WRONG "\r\n", 0);
		for (uint64_t steps = shim_random_below(3); steps > 0; steps--)
			world_step();
		left += !*world_heard(pcb);
		world_reset(pcb);
		world_settle();
		shim_advance(60 * NS_PER_SEC);
	}
	assert_true(left > 0);
	assert_true(kstat_get("pagewire_auth_failures_total", NULL) > before);
}

// ---- Digest ------------------------------------------------------------------------------------------

static void hex_of(const char *text, char out[DIGEST_SECRET_MAX])
{

	br_sha256_context ctx;
	uint8_t bytes[32];

	br_sha256_init(&ctx);
	br_sha256_update(&ctx, text, strlen(text));
	br_sha256_out(&ctx, bytes);
	for (unsigned i = 0; i < 32; i++)
		snprintf(out + 2 * i, 3, "%02x", bytes[i]);
}

static void nonce_of(char out[65])
{
	char *answer, *at;

	shim_advance(1); // a nonce made when the table was replaced is stale
	answer = ask_from(9, "/a.txt", "");
	at = strstr(answer, "nonce=\"");

	assert_non_null(at);
	snprintf(out, 65, "%s", at + 7);
}

static int digest_get(const char *path, const char *uri, const char *nonce, unsigned count,
		      const char *password)
{
	char secret[DIGEST_SECRET_MAX], request[DIGEST_SECRET_MAX], response[DIGEST_SECRET_MAX];
	char text[600], fields[900];

	digest_secret(false, "dora", 4, password, strlen(password), secret);
	snprintf(text, sizeof(text), "GET:%s", uri);
	hex_of(text, request);
	snprintf(text, sizeof(text), "%s:%s:%08x:c:auth:%s", secret, nonce, count, request);
	hex_of(text, response);
	snprintf(
	    fields, sizeof(fields),
	    "Authorization: Digest username=\"dora\", realm=\"Pagewire\", uri=\"%s\", "
	    "algorithm=SHA-256, nonce=\"%s\", nc=%08x, cnonce=\"c\", qop=auth, response=\"%s\"\r\n",
	    uri, nonce, count, response);
	return get_from(9, path, fields);
}

static void digest_counts_each_use_of_a_nonce(void **state)
{
	char nonce[65], other[65];

	nonce_of(nonce);
	assert_int_equal(digest_get("/a.txt", "/a.txt", nonce, 1, "secret"), 200);
	assert_int_equal(digest_get("/a.txt", "/a.txt", nonce, 1, "secret"), 401);
	assert_int_equal(digest_get("/a.txt", "/a.txt", nonce, 3, "secret"), 200);
	assert_int_equal(digest_get("/a.txt", "/a.txt", nonce, 2, "secret"), 200);
	assert_int_equal(digest_get("/a.txt", "/a.txt", nonce, 2, "secret"), 401);
	assert_int_equal(digest_get("/a.txt", "/d/x", nonce, 4, "secret"), 401);
	assert_int_equal(digest_get("/a.txt", "/a.txt", nonce, 100, "secret"), 200);
	assert_int_equal(digest_get("/a.txt", "/a.txt", nonce, 36, "secret"),
			 401); // out of the window
	shim_advance(60 * NS_PER_SEC);
	assert_int_equal(digest_get("/a.txt", "/a.txt", nonce, 101, "wrong"), 401);
	memcpy(other, nonce, 65);
	other[3] = other[3] == '0' ? '1' : '0';
	assert_int_equal(digest_get("/a.txt", "/a.txt", other, 1, "secret"), 401);
	assert_int_equal(world_verified, 0);
}

static void an_old_nonce_is_stale_and_not_wrong(void **state)
{
	uint64_t before = kstat_get("pagewire_auth_failures_total", NULL);
	char nonce[65];

	nonce_of(nonce);
	shim_advance(DIGEST_NONCE_NS + NS_PER_SEC);
	assert_int_equal(digest_get("/a.txt", "/a.txt", nonce, 1, "secret"), 401);
	assert_int_equal(kstat_get("pagewire_auth_failures_total", NULL), before);
	nonce_of(nonce);
	install("trustee / + RL\n"); // another table: all nonces are stale
	assert_int_equal(digest_get("/a.txt", "/a.txt", nonce, 1, "secret"), 401);
	shim_advance(1);
	assert_int_equal(kstat_get("pagewire_auth_failures_total", NULL), before);
	nonce_of(nonce);
	assert_int_equal(digest_get("/a.txt", "/a.txt", nonce, 1, "secret"), 200);
}

static void a_nonce_whose_place_was_needed_is_not_used_again(void **state)
{
	char first[65], nonce[65];

	nonce_of(first);
	assert_int_equal(digest_get("/a.txt", "/a.txt", first, 1, "secret"), 200);
	for (unsigned i = 0; i < 256; i++) {
		shim_advance(NS_PER_MS);
		nonce_of(nonce);
		assert_int_equal(digest_get("/a.txt", "/a.txt", nonce, 1, "secret"), 200);
	}
	assert_int_equal(digest_get("/a.txt", "/a.txt", first, 1, "secret"), 401);
	assert_int_equal(digest_get("/a.txt", "/a.txt", first, 2, "secret"), 401);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
int main(void)
{
	const struct CMUnitTest tests[] = {
	    TEST(basic_is_verified_once_and_then_remembered),
	    TEST(what_is_wrong_is_refused),
	    TEST(rights_hold_at_once_also_for_what_was_remembered),
	    TEST(a_link_to_what_is_hidden_leads_nowhere),
	    TEST(wrong_passwords_make_the_next_wait),
	    TEST(too_many_at_once_are_sent_away),
	    TEST(a_client_that_leaves_is_counted_all_the_same),
	    TEST(digest_counts_each_use_of_a_nonce),
	    TEST(an_old_nonce_is_stale_and_not_wrong),
	    TEST(a_nonce_whose_place_was_needed_is_not_used_again),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
