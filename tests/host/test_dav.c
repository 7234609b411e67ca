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
// CFLAGS: -Itests/host/fake $(CRYPTO_CFLAGS) -Wl,--wrap=dav_if_next
// PROPFIND, PROPPATCH, LOCK and UNLOCK in the HTTP server's world: each refusal, locks that hold off others and
// expire, answers in many batches, clients that leave, memory that runs out.
#define _GNU_SOURCE // memmem
#include "http_client.h"
#include "kernel/pool.h"
#include "server/dav_if.h"
#include "server/dav_lock.h"

#define UPDATE(inside)                                                                             \
	"<D:propertyupdate xmlns:D='DAV:'><D:set><D:prop>" inside                                  \
	"</D:prop></D:set></D:propertyupdate>"
#define LOCKINFO(scope)                                                                            \
	"<D:lockinfo xmlns:D='DAV:'><D:lockscope><D:" scope                                        \
	"/></D:lockscope><D:locktype><D:write/></D:locktype><D:owner>me</D:owner></D:lockinfo>"

static struct tcp_pcb *ask(const char *line, const char *fields, const char *body, int status)
{
	static char request[70000];

	snprintf(request, sizeof(request), "%s" H "%sContent-Length: %zu\r\n\r\n%s", line, fields,
		 strlen(body), body);
	return client_ask(request, status);
}

static unsigned responses(const struct tcp_pcb *pcb)
{
	unsigned n = 0;

	for (const char *at = world_heard(pcb); (at = strstr(at, "<D:response>")); at++)
		n++;
	return n;
}

// The token of the lock that was given.
static const char *token_of(const struct tcp_pcb *pcb)
{
	static char token[8][80];
	static unsigned next;
	const char *at = strstr(world_heard(pcb), "Lock-Token: <");
	char *out = token[next++ % 8];

	assert_non_null(at);
	snprintf(out, DAV_TOKEN_LEN + 1, "%s", at + 13);
	return out;
}

static const char *field(const char *format, const char *token)
{
	static char text[4][200];
	static unsigned next;
	char *out = text[next++ % 4];

	snprintf(out, sizeof(text[0]), format, token);
	return out;
}

static void propfind_tells_what_was_asked_for(void **state)
{
	struct tcp_pcb *pcb = ask("PROPFIND /old", "Depth: 0\r\n", "", 207);

	assert_int_equal(responses(pcb), 1);
	client_says(pcb, "<D:getcontentlength>20000</D:getcontentlength>");
	client_says(pcb, "<D:resourcetype></D:resourcetype>");
	client_says(pcb, "Content-Length: ");
	pcb = ask("PROPFIND /d", "Depth: 1\r\n", "", 207);
	assert_int_equal(responses(pcb), 3);
	client_says(pcb, "<D:href>/d/</D:href>");
	client_says(pcb, "<D:href>/d/deep/</D:href>");
	assert_null(strstr(world_heard(pcb), "two"));
	pcb = ask("PROPFIND /d/", "Depth: infinity\r\n",
		  "<D:propfind xmlns:D='DAV:'><D:prop><D:quota-used-bytes/><D:getetag/><x "
		  "xmlns='u&amp;'/>"
		  "</D:prop></D:propfind>",
		  207);
	assert_int_equal(responses(pcb), 4);
	client_says(pcb, "<P:x xmlns:P=\"u&amp;\"/></D:prop><D:status>HTTP/1.1 404");
	pcb =
	    ask("PROPFIND /old", "", "<D:propfind xmlns:D='DAV:'><D:propname/></D:propfind>", 207);
	client_says(pcb, "<D:getetag/>");
}

static void every_refusal_has_its_status(void **state)
{
	static const struct {
		const char *line, *fields, *body;
		int status;
	} cases[] = {
	    {"PROPFIND /none", "Depth: 0\r\n", "", 404},
	    {"PROPFIND /old", "Depth: 2\r\n", "", 400},
	    {"PROPFIND /old", "Depth: 0\r\n", "<a", 400},
	    {"PROPFIND /old", "Depth: 0\r\n", "<!DOCTYPE a><a/>", 400},
	    {"PROPFIND /.pagewire/metrics", "Depth: 0\r\n", "", 405},
	    {"PROPPATCH /none", "", UPDATE("<a/>"), 404},
	    {"PROPPATCH /old", "", "", 400},
	    {"PROPPATCH /old", "", "<a/>", 400},
	    {"PROPPATCH /old", "If: (<urn:x>)\r\n", UPDATE("<a/>"), 412},
	    {"PROPPATCH /old", "If: x\r\n", UPDATE("<a/>"), 400},
	    {"PROPPATCH /old", "If: (<a>)\r\nIf: (<b>)\r\n", UPDATE("<a/>"), 400},
	    {"LOCK /old", "", "<a/>", 400},
	    {"LOCK /old", "", "", 400},
	    {"LOCK /none", "", "", 404},
	    {"LOCK /none/x", "", LOCKINFO("exclusive"), 409},
	    {"LOCK /old", "Depth: 1\r\n", LOCKINFO("exclusive"), 400},
	    {"LOCK /old", "", LOCKINFO("other"), 400},
	    {"LOCK /.pagewire/x", "", LOCKINFO("exclusive"), 405},
	    {"UNLOCK /old", "", "", 400},
	    {"UNLOCK /old", "Lock-Token: <urn:uuid:x>\r\n", "", 409},
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++)
		ask(cases[i].line, cases[i].fields, cases[i].body, cases[i].status);
	client_left_old();
	client_writing("off");
	ask("LOCK /old", "", LOCKINFO("exclusive"), 405);
	ask("PROPPATCH /old", "", UPDATE("<a/>"), 405);
	ask("PROPFIND /old", "Depth: 0\r\n", "", 207);
}

static void properties_are_set_kept_and_copied(void **state)
{
	struct tcp_pcb *pcb = ask("PROPPATCH /old", "", UPDATE("<a xmlns='u'>v<b/></a>"), 207);

	client_says(pcb, "</D:prop><D:status>HTTP/1.1 200");
	assert_int_equal(world_changes, world_committed);
	pcb = ask("PROPFIND /old", "Depth: 0\r\n", "", 207);
	client_says(pcb, "<a xmlns=\"u\">v<b/></a>");
	client_ask("COPY /old" H "Destination: /copy\r\n\r\n", 201);
	pcb = ask("PROPFIND /copy", "Depth: 0\r\n", "", 207);
	client_says(pcb, "<a xmlns=\"u\">v<b/></a>");
	// What replaces the bytes leaves them alone (section 9.7.1).
	client_ask("PUT /old" H "Content-Length: 3\r\n\r\nabc", 204);
	assert_int_equal(world_find("old")->size, 3);
	pcb = ask("PROPFIND /old", "Depth: 0\r\n", "", 207);
	client_says(pcb, "<a xmlns=\"u\">v<b/></a>");
	pcb = ask("PROPPATCH /old", "", UPDATE("<c/><D:getetag/>"), 207);
	client_says(pcb, "cannot-modify-protected-property");
	client_says(pcb, "HTTP/1.1 424");
	pcb = ask("PROPFIND /old", "Depth: 0\r\n", "", 207);
	assert_null(strstr(world_heard(pcb), "<c"));
}

// Each name comes back with its namespace, where every character takes five: more than an answer holds.
static void what_could_not_be_answered_is_not_done(void **state)
{
	static char body[60000], space[3000];
	size_t len = 0;

	for (unsigned i = 0; i < 480; i++)
		len += (size_t)sprintf(space + len, "&amp;");
	len = (size_t)sprintf(body,
			      "<D:propertyupdate xmlns:D='DAV:' xmlns:n='%s'><D:set><D:prop><a/>"
			      "</D:prop></D:set><D:remove><D:prop>",
			      space);
	for (unsigned i = 0; i < 100; i++)
		len += (size_t)sprintf(body + len, "<n:p%u/>", i);
	sprintf(body + len, "</D:prop></D:remove></D:propertyupdate>");
	ask("PROPPATCH /old", "", body, 400);
	assert_string_equal(world_value(world_find("old"), "webdav.properties"), "");
}

// RFC 4918 section 16: which lock should have been submitted.
static void says_locked(struct tcp_pcb *pcb, const char *path)
{
	char body[300];

	snprintf(body, sizeof(body),
		 "\r\n\r\n<?xml version=\"1.0\" encoding=\"utf-8\"?>\n<D:error xmlns:D=\"DAV:\">"
		 "<D:lock-token-submitted><D:href>%s</D:href></D:lock-token-submitted></D:error>\n",
		 path);
	client_says(pcb, body);
	client_says(pcb, "Content-Type: application/xml");
}

static void a_lock_holds_off_who_does_not_know_it(void **state)
{
	struct tcp_pcb *pcb =
	    ask("LOCK /old", "Timeout: Second-100\r\n", LOCKINFO("exclusive"), 200);
	const char *token = token_of(pcb);

	client_says(pcb, "<D:timeout>Second-100</D:timeout>");
	client_says(pcb, "<D:owner xmlns:D=\"DAV:\">me</D:owner>");
	client_says(ask("LOCK /old", "", LOCKINFO("shared"), 423),
		    "<D:no-conflicting-lock><D:href>/old</D:href></D:no-conflicting-lock>");
	says_locked(client_ask("PUT /old" H "Content-Length: 1\r\n\r\nx", 423), "/old");
	says_locked(client_ask("DELETE /old" H "\r\n", 423), "/old");
	says_locked(client_ask("MOVE /old" H "Destination: /new\r\n\r\n", 423), "/old");
	says_locked(client_ask("COPY /d/one" H "Destination: /old\r\n\r\n", 423), "/old");
	says_locked(ask("PROPPATCH /old", "", UPDATE("<a/>"), 423), "/old");
	client_left_old();
	client_says(ask("PROPFIND /old", "Depth: 0\r\n", "", 207), token);
	ask("PROPPATCH /old", field("If: (<%s>)\r\n", token), UPDATE("<a/>"), 207);
	ask("LOCK /old", field("If: (<%s>)\r\nTimeout: Infinite\r\n", token), "", 200);
	ask("UNLOCK /d/one", field("Lock-Token: <%s>\r\n", token), "", 409);
	ask("UNLOCK /old", field("Lock-Token: <%s>\r\n", token), "", 204);
	ask("UNLOCK /old", field("Lock-Token: <%s>\r\n", token), "", 409);
	client_ask("DELETE /old" H "\r\n", 204);
}

static void locks_of_trees_cover_what_is_and_comes_below(void **state)
{
	const char *token = token_of(ask("LOCK /d", "", LOCKINFO("exclusive"), 200));
	const char *in = field("If: </d> (<%s>)\r\nContent-Length: 1\r\n\r\nx", token);
	char request[300];

	says_locked(client_ask("PUT /d/new" H "Content-Length: 1\r\n\r\nx", 423), "/d");
	says_locked(client_ask("MKCOL /d/deep/c" H "\r\n", 423), "/d");
	ask("LOCK /d/one", "Depth: 0\r\n", LOCKINFO("exclusive"), 423);
	snprintf(request, sizeof(request), "PUT /d/new" H "%s", in);
	client_ask(request, 201);
	client_ask("DELETE /d" H "\r\n", 423);
	ask("UNLOCK /d/one", field("Lock-Token: <%s>\r\n", token), "",
	    204); // any resource of its scope
	token = token_of(ask("LOCK /d/one", "Depth: 0\r\n", LOCKINFO("exclusive"), 200));
	says_locked(client_ask("DELETE /d" H "\r\n", 423), "/d/one");
	snprintf(request, sizeof(request), "DELETE /d" H "If: </d/one> (<%s>)\r\n\r\n", token);
	client_ask(request, 204);
	assert_int_equal(client_metric("pagewire_dav_locks"), 0); // gone with it
}

static void whose_directory_is_closed_is_not_told_what_is_locked_there(void **state)
{
	const char *token;

	world_users("user anna $argon2id$secret\nuser zoe $argon2id$secret\ntrustee / + ALL\n"
		    "trustee /d/deep + -\ntrustee /d/deep anna ALL\n");
	token = token_of(ask("LOCK /d/deep/two",
			     "Authorization: Basic YW5uYTpzZWNyZXQ=\r\nDepth: 0\r\n",
			     LOCKINFO("exclusive"), 200));
	client_says(client_ask("DELETE /d" H "Authorization: Basic em9lOnNlY3JldA==\r\n\r\n", 423),
		    "A lock is in the way.");
	says_locked(client_ask("DELETE /d" H "Authorization: Basic YW5uYTpzZWNyZXQ=\r\n\r\n", 423),
		    "/d/deep/two");
	ask("UNLOCK /d/deep/two",
	    field("Authorization: Basic YW5uYTpzZWNyZXQ=\r\nLock-Token: <%s>\r\n", token), "", 204);
}

static void shared_locks_stand_beside_each_other(void **state)
{
	const char *one = token_of(ask("LOCK /old", "", LOCKINFO("shared"), 200));
	const char *two = token_of(ask("LOCK /old", "", LOCKINFO("shared"), 200));

	ask("LOCK /old", "", LOCKINFO("exclusive"), 423);
	ask("PROPPATCH /old", "", UPDATE("<a/>"), 423);
	ask("PROPPATCH /old", field("If: (<%s>)\r\n", one), UPDATE("<a/>"), 207);
	ask("UNLOCK /old", field("Lock-Token: <%s>\r\n", one), "", 204);
	ask("PROPPATCH /old", field("If: (<%s>)\r\n", one), UPDATE("<a/>"), 412);
	ask("PROPPATCH /old", field("If: (Not <%s>)\r\n", one), UPDATE("<a/>"), 423);
	ask("PROPPATCH /old", field("If: (<urn:x>) (<%s>)\r\n", two), UPDATE("<a/>"), 207);
	ask("UNLOCK /old", field("Lock-Token: <%s>\r\n", two), "", 204);
}

static void locks_expire(void **state)
{
	ask("LOCK /old", "Timeout: Second-60\r\n", LOCKINFO("exclusive"), 200);
	ask("LOCK /d", "Timeout: Second-6000\r\n", LOCKINFO("exclusive"), 200);
	client_pass(59000);
	client_ask("DELETE /old" H "\r\n", 423);
	client_pass(2000);
	client_ask("DELETE /old" H "\r\n", 204);
	assert_int_equal(client_metric("pagewire_dav_locks"), 1);
	assert_int_equal(client_metric("pagewire_dav_locks_expired_total") > 0, 1);
}

static void a_lock_on_nothing_makes_an_empty_file(void **state)
{
	struct tcp_pcb *pcb = ask("LOCK /new", "", LOCKINFO("exclusive"), 201);

	client_ask("GET /new" H "\r\n", 200);
	says_locked(client_ask("PUT /new" H "Content-Length: 1\r\n\r\nx", 423), "/new");
	ask("UNLOCK /new", field("Lock-Token: <%s>\r\n", token_of(pcb)), "", 204);
	client_ask("PUT /new" H "Content-Length: 1\r\n\r\nx", 204);
	world.blocks_free = 0;
	world.no_commit = false;
	ask("LOCK /empty/new2", "Depth: infinity\r\n", LOCKINFO("exclusive"), 201);
}

// Everybody waits while a request is weighed: its If field is not read once for each pair of locks.
static uint64_t pieces;
enum dav_if_piece __real_dav_if_next(struct dav_if *f);
enum dav_if_piece __wrap_dav_if_next(struct dav_if *f);
enum dav_if_piece __wrap_dav_if_next(struct dav_if *f)
{
	pieces++;
	return __real_dav_if_next(f);
}

static void a_long_if_field_is_read_a_few_times_however_many_locks_there_are(void **state)
{
	enum { LOCKS = 64, OTHERS = 1000 };
	static char request[16000];
	const char *first = token_of(ask("LOCK /d/one", "", LOCKINFO("shared"), 200));
	size_t len;

	for (unsigned i = 1; i < LOCKS; i++)
		ask("LOCK /d/one", "", LOCKINFO("shared"), 200);
	len = (size_t)sprintf(request, "DELETE /d" H "If: </d/one> (<%s>)", first);
	for (unsigned i = 0; i < OTHERS; i++)
		len += (size_t)sprintf(request + len, " (<u:%u>)", i);
	strcpy(request + len, "\r\n\r\n");
	pieces = 0;
	client_ask(request, 204);
	assert_in_range(pieces, 3 * OTHERS, 20 * OTHERS);
	assert_int_equal(client_metric("pagewire_dav_locks"), 0);
}

static void the_table_of_locks_is_bounded(void **state)
{
	for (unsigned i = 0; i < DAV_LOCKS_MAX; i++)
		ask("LOCK /old", "Timeout: Second-10000\r\n", LOCKINFO("shared"), 200);
	ask("LOCK /old", "", LOCKINFO("shared"), 503);
	client_says(ask("PROPFIND /old", "Depth: 0\r\n", "", 207),
		    "HTTP/1.1"); // with as many as fit
	client_ask("DELETE /old" H "\r\n", 423);
	client_pass(10001000);
	client_ask("DELETE /old" H "\r\n", 204);
	assert_int_equal(client_metric("pagewire_dav_locks"), 0);
}

static void if_etags_are_compared(void **state)
{
	struct tcp_pcb *pcb = client_ask("HEAD /old" H "\r\n", 200);
	const char *etag = strstr(world_heard(pcb), "ETag: ");
	char fields[300], tag[100];

	world.name_miss = 50; // also when the name must be looked up first
	snprintf(tag, sizeof(tag), "%.*s", (int)strcspn(etag + 6, "\r"), etag + 6);
	for (unsigned i = 0; i < 10; i++) {
		snprintf(fields, sizeof(fields), "If: (<urn:x>) ([%s])\r\n", tag);
		ask("PROPPATCH /old", fields, UPDATE("<a/>"), 207);
		snprintf(fields, sizeof(fields), "If: </old> ([%s]) </d> (<urn:x>)\r\n", tag);
		ask("PROPPATCH /d/one", fields, UPDATE("<a/>"), 207);
		snprintf(fields, sizeof(fields), "If: (Not [%s])\r\n", tag);
		ask("PROPPATCH /old", fields, UPDATE("<a/>"), 412);
		snprintf(fields, sizeof(fields), "If: ([W/%s])\r\n", tag);
		ask("PROPPATCH /old", fields, UPDATE("<a/>"), 412);
	}
	world.name_miss = 100; // the cache forgets faster than it learns: that is no 412
	snprintf(fields, sizeof(fields), "If: ([%s])\r\n", tag);
	ask("PROPPATCH /old", fields, UPDATE("<a/>"), 503);
	world.name_miss = 0;
	ask("PROPPATCH /old", fields, UPDATE("<b/>"), 207);
}

// ---- batches -----------------------------------------------------------------------------------------

static void many_files(unsigned count)
{
	char name[300];

	for (unsigned i = 0; i < count; i++) { // each takes 750 bytes of an address
		memset(name, 0xfe, sizeof(name));
		snprintf(name, sizeof(name), "empty/%03u", i);
		memset(name + 9, 0xfe, 240);
		name[249] = 0;
		world_file(name, 500 + i, 10);
	}
}

static void a_long_answer_comes_in_batches(void **state)
{
	struct tcp_pcb *pcb;

	many_files(200);
	pcb = ask("PROPFIND /empty", "Depth: 1\r\n", "", 207);
	client_says(pcb, "Transfer-Encoding: chunked");
	client_says(pcb, "\r\n0\r\n\r\n");
	assert_int_equal(responses(pcb), 201);
	pcb = world_connect(1);
	world_say(pcb, "PROPFIND /empty HTTP/1.0\r\nDepth: 1\r\n\r\n", 0);
	world_settle();
	assert_int_equal(responses(pcb), 201);
	client_says(pcb, "</D:multistatus>");
	assert_null(strstr(world_heard(pcb), "chunked"));
}

// What is promised to uploads under way is not among the free blocks, and not taken off them again.
static void what_others_were_promised_counts_once(void **state)
{
	world.blocks_free = 1000;
	world.blocks_reserved = 900;
	client_says(ask("PROPFIND /d", "Depth: 0\r\n",
			"<propfind xmlns='DAV:'><prop><quota-available-bytes/></prop></propfind>",
			207),
		    "<D:quota-available-bytes>4096000</D:quota-available-bytes>");
	memset(client_content, 'x', LARGE);
	size_t n = client_put_body(client_put_head("new", 200000, false, ""), 200000, false);
	struct tcp_pcb *pcb = world_connect(1);
	world_say_bytes(pcb, client_text, n, 0);
	world_settle();
	assert_int_equal(client_status(pcb), 201);
	client_ask("PUT /newer" H "Content-Length: 5000000\r\n\r\n", 507);
}

static void clients_leave_at_any_moment(void **state)
{
	many_files(200);
	for (unsigned i = 0; i < 300; i++) {
		struct tcp_pcb *pcb = world_connect(i);
		world_say(pcb,
			  i % 3 ? "PROPFIND /empty" H "Depth: 1\r\n\r\n"
				: "LOCK /new" H "Content-Length: 154\r\n\r\n" LOCKINFO("shared"),
			  i % 2 ? 31 : 0);
		for (uint64_t steps = shim_random_below(i % 3 ? 60 : 8); steps > 0; steps--)
			world_step();
		world_reset(pcb);
		if (i % 10 == 0)
			world_settle();
	}
	world_settle();
	client_pass(4000000); // locks whose clients never learnt of them end by themselves
	ask("PROPFIND /old", "Depth: 0\r\n", "", 207);
	client_ask("DELETE /old" H "\r\n", 204);
}

static void too_much_for_depth_infinity_is_told(void **state)
{
	static char name[300];

	for (unsigned i = 0; i < 40; i++) { // deeper than is gone through: the rest is left out
		size_t len = strlen(name);
		snprintf(name + len, sizeof(name) - len, "%sz", i ? "/" : "");
		world_directory(name, 700 + i);
	}
	assert_int_equal(responses(ask("PROPFIND /z", "Depth: infinity\r\n", "", 207)), 33);
}

static void memory_that_runs_out_is_a_503(void **state)
{
	static const char *const requests[] = {
	    "PROPFIND /d" H "Depth: infinity\r\n\r\n",
	    "PROPPATCH /old" H "Content-Length: 97\r\n\r\n" UPDATE("<a/>"),
	    "LOCK /newest" H "Content-Length: 157\r\n\r\n" LOCKINFO("exclusive"),
	};

	for (size_t i = 0; i < ARRAY_SIZE(requests); i++)
		for (unsigned k = 0; k < 12; k++) {
			struct tcp_pcb *pcb = world_connect(1);
			shim_frames_fail_after(k);
			world_say(pcb, requests[i], 0);
			world_settle();
			shim_frames_fail_off();
			world_settle();
			client_pass(100);
			world_reset(pcb);
			client_pass(4000000);
		}
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, client_setup, client_teardown)
int main(void)
{
	const struct CMUnitTest tests[] = {
	    TEST(propfind_tells_what_was_asked_for),
	    TEST(every_refusal_has_its_status),
	    TEST(properties_are_set_kept_and_copied),
	    TEST(what_could_not_be_answered_is_not_done),
	    TEST(a_lock_holds_off_who_does_not_know_it),
	    TEST(locks_of_trees_cover_what_is_and_comes_below),
	    TEST(whose_directory_is_closed_is_not_told_what_is_locked_there),
	    TEST(shared_locks_stand_beside_each_other),
	    TEST(locks_expire),
	    TEST(a_lock_on_nothing_makes_an_empty_file),
	    TEST(a_long_if_field_is_read_a_few_times_however_many_locks_there_are),
	    TEST(the_table_of_locks_is_bounded),
	    TEST(if_etags_are_compared),
	    TEST(a_long_answer_comes_in_batches),
	    TEST(what_others_were_promised_counts_once),
	    TEST(clients_leave_at_any_moment),
	    TEST(too_much_for_depth_infinity_is_told),
	    TEST(memory_that_runs_out_is_a_503),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
