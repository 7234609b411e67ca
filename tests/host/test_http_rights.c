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
// Rights where a path is not all there is to it: names that appear while a request waits, index files, links that lead
// to what is the server's own, trees that are locked, and what a refusal tells of closed places.
#define _GNU_SOURCE // memmem
#include "http_client.h"

#define ANNA "Authorization: Basic YW5uYTpzZWNyZXQ=\r\n" // anna:secret

static void install(const char *trustees)
{
	char text[1000];

	snprintf(text, sizeof(text), "user anna $argon2id$secret\n%s", trustees);
	world_users(text);
}

// A file of a client's own, as another request would put it there.
static void appears(const char *path, const char *content)
{
	char request[300];

	snprintf(request, sizeof(request), "PUT /%s" H ANNA "Content-Length: %zu\r\n\r\n%s", path,
		 strlen(content), content);
	client_ask(request, 201);
}

static void has(const char *path, const char *content)
{
	uint64_t len;
	const uint8_t *bytes = world_bytes(path, &len);

	assert_non_null(bytes);
	assert_int_equal(len, strlen(content));
	assert_memory_equal(bytes, content, len);
}

// ---- names that appear -------------------------------------------------------------------------------

static void who_may_only_create_does_not_replace_what_appeared_while_the_body_came(void **state)
{
	struct tcp_pcb *pcb = world_connect(1);

	install("trustee / * RL\ntrustee /d * RLC\ntrustee /d anna ALL\n");
	world_say(pcb, "PUT /d/report" H "Content-Length: 8\r\n\r\nattacke", 0);
	world_settle();
	appears("d/report", "precious");
	world_say(pcb, "r", 0);
	world_settle();
	assert_int_equal(client_status(pcb), 412);
	has("d/report", "precious");
	client_ask("PUT /d/report" H "Content-Length: 1\r\n\r\nx", 401);
	client_ask("PUT /d/report" H ANNA "Content-Length: 3\r\n\r\nnew", 204);
	has("d/report", "new");
}

static void who_may_only_change_does_not_make_anew_what_went_while_the_body_came(void **state)
{
	struct tcp_pcb *pcb = world_connect(1);

	install("trustee / * RL\ntrustee /d * RLW\ntrustee /d anna ALL\n");
	world_say(pcb, "PUT /d/one" H "Content-Length: 2\r\n\r\na", 0);
	world_settle();
	client_ask("DELETE /d/one" H ANNA "\r\n", 204);
	world_say(pcb, "b", 0);
	world_settle();
	assert_int_equal(client_status(pcb), 412);
	assert_null(world_find("d/one"));
}

static void who_may_only_create_copies_onto_nothing_that_appeared(void **state)
{
	unsigned refused = 0;

	install("trustee / * RLE\ntrustee /d * RLC\ntrustee /d anna ALL\n");
	for (unsigned round = 0; round < 40; round++) {
		struct tcp_pcb *pcb = world_connect(1);
		const char *verb = round % 2 ? "MOVE" : "COPY";
		char name[40], path[40], request[200];

		snprintf(name, sizeof(name), "from%u", round);
		snprintf(path, sizeof(path), "d/to%u", round);
		world_file(name, 100 + round, 3000);
		snprintf(request, sizeof(request), "%s /%s" H "Destination: /%s\r\n\r\n", verb,
			 name, path);
		world_say(pcb, request, 0);
		for (unsigned n = round / 2; n; n--)
			world_step();
		bool ours = !world_find(path);
		if (ours)
			world_file(path, 200 + round, 7);
		world_settle();
		refused += client_status(pcb) == 412;
		if (ours) // met by the look before, or by the act
			assert_true(client_status(pcb) == 401 || client_status(pcb) == 412);
		else
			assert_int_equal(client_status(pcb), 201);
		assert_int_equal(world_find(path)->size, ours ? 7 : 3000);
		world_fin(pcb);
		world_settle();
	}
	assert_true(refused > 0);
}

// ---- index files -------------------------------------------------------------------------------------

static void an_index_file_with_a_line_of_its_own_keeps_it(void **state)
{
	struct tcp_pcb *pcb;

	world_file("d/index.html", 50, 1000);
	client_says(client_ask("GET /d/" H "\r\n", 200), "Content-Length: 1000\r\n");
	install("trustee / * RL\ntrustee /d/index.html * -\ntrustee /d/index.html anna R\n");
	client_ask("GET /d/index.html" H "\r\n", 401);
	pcb = client_ask("GET /d/" H "\r\n", 200); // what may be listed is listed
	client_says(pcb, "one");
	assert_null(strstr(world_heard(pcb), "Content-Length: 1000\r\n"));
	client_says(client_ask("GET /d/" H ANNA "\r\n", 200), "Content-Length: 1000\r\n");
	install("trustee / * R\ntrustee /d/index.html * -\ntrustee /d/index.html anna R\n");
	client_ask("GET /d/" H "\r\n", 401);
	client_says(client_ask("GET /d/" H ANNA "\r\n", 200), "Content-Length: 1000\r\n");
	install("trustee / * L\ntrustee /d/index.html * R\n");
	client_says(client_ask("GET /d/" H "\r\n", 200), "deep");
}

// ---- what a refusal tells ----------------------------------------------------------------------------

// Who may do nothing somewhere does not learn what is there.
static void closed_places_answer_alike_whether_something_is_there_or_not(void **state)
{
	static const char *const fields[] = {
	    "PUT /%s" H "Content-Length: 1\r\n\r\nx",
	    "PATCH /%s" H "Content-Length: 1\r\n\r\nx",
	    "MKCOL /%s" H "\r\n",
	    "DELETE /%s" H "\r\n",
	    "COPY /%s" H "Destination: /x\r\n\r\n",
	    "MOVE /%s" H "Destination: /x\r\n\r\n",
	    "COPY /old" H "Destination: /%s/x\r\n\r\n",
	    "LOCK /%s" H "Content-Length: 0\r\n\r\n",
	    "UNLOCK /%s" H "Lock-Token: <urn:x>\r\n\r\n",
	    "PROPFIND /%s" H "Depth: 0\r\n\r\n",
	    "PROPPATCH /%s" H "Content-Length: 1\r\n\r\nx",
	    "GET /%s" H "\r\n",
	};
	static const char *const paths[] = {"d", "d/", "d/one", "d/none", "d/one/x", "d/none/"};
	char request[300];

	install("trustee / * ALL\ntrustee /d * -\ntrustee /d anna ALL\n");
	for (unsigned i = 0; i < ARRAY_SIZE(fields); i++)
		for (unsigned k = 0; k < ARRAY_SIZE(paths); k++) {
			snprintf(request, sizeof(request), fields[i], paths[k]);
			client_ask(request, 401);
		}
	client_left_old();
	client_says(client_ask("OPTIONS /d/one" H "\r\n", 200), "MKCOL");
	client_says(client_ask("OPTIONS /d/none" H "\r\n", 200), "DELETE");
	client_says(client_ask("OPTIONS /d/none" H ANNA "\r\n", 200), "DELETE");
	client_ask("DELETE /d/none" H ANNA "\r\n", 404);
	install("trustee / * ALL\ntrustee /d * -\ntrustee /d anna -\n");
	client_ask("DELETE /d/none" H ANNA "\r\n", 403);
	client_ask("DELETE /d/one" H ANNA "\r\n", 403);
	// Who may only create is told what that takes to know.
	install("trustee / * RL\ntrustee /d * -\ntrustee /d anna C\n");
	client_ask("MKCOL /d/one" H ANNA "\r\n", 405);
	client_ask("MKCOL /d/c" H ANNA "\r\n", 201);
}

// ---- what is the server's own ------------------------------------------------------------------------

// A hard link to a file of /.pagewire, or a symbolic link to the root in the way: no path says what it is.
static void what_is_hidden_is_not_copied_out_of_a_collection(void **state)
{
	world_hidden = 23; // d/deep/two
	client_says(client_ask("COPY /d" H "Destination: /x\r\n\r\n", 207),
		    "<D:href>/x/deep/two</D:href>");
	assert_non_null(world_find("x/one"));
	assert_null(world_find("x/deep/two"));
	world_hidden = 22; // d/deep
	client_says(client_ask("COPY /d" H "Destination: /y\r\n\r\n", 207),
		    "<D:href>/y/deep/</D:href>");
	assert_non_null(world_find("y/one"));
	assert_null(world_find("y/deep"));
}

static void what_is_hidden_is_replaced_by_nothing(void **state)
{
	static const unsigned hidden[] = {22, 23}; // d/deep, d/deep/two
	static const char *const paths[] = {"/way/deep", "/way/deep/two"};

	world_link("way", 40, "d");
	for (unsigned i = 0; i < ARRAY_SIZE(hidden); i++) {
		char request[200];
		world_hidden = hidden[i];
		for (unsigned move = 0; move < 2; move++) {
			snprintf(request, sizeof(request), "%s /old" H "Destination: %s\r\n\r\n",
				 move ? "MOVE" : "COPY", paths[i]);
			client_ask(request, 403);
		}
		assert_int_equal(world_find("d/deep")->number, 22);
		assert_int_equal(world_find("d/deep/two")->number, 23);
	}
	world_hidden = 22;
	client_says(client_ask("DELETE /d" H "\r\n", 207), "<D:href>/d/deep/</D:href>");
	assert_int_equal(world_find("d/deep/two")->number, 23);
}

// ---- locks -------------------------------------------------------------------------------------------

#define LOCKINFO                                                                                   \
	"<lockinfo xmlns='DAV:'><lockscope><exclusive/></lockscope><locktype><write/></locktype>"  \
	"</lockinfo>"

static void lock(const char *path, const char *fields, int status)
{
	char request[500];

	snprintf(request, sizeof(request), "LOCK /%s" H "%sContent-Length: %zu\r\n\r\n" LOCKINFO,
		 path, fields, strlen(LOCKINFO));
	client_ask(request, status);
}

// A lock on a tree holds off others wherever it reaches: whoever may not write there may not do that.
static void a_tree_is_not_locked_over_what_is_closed_to_who_locks_it(void **state)
{
	install("trustee / * ALL\ntrustee /d/deep * R\ntrustee /d/deep anna ALL\n");
	lock("d", "Depth: infinity\r\n", 401);
	lock("", "", 401);
	appears("d/deep/three", "3");
	lock("d", "Depth: 0\r\n", 200);
	lock("d/one", "", 200);
	install("trustee / anna ALL\ntrustee /d/deep anna RL\n");
	lock("empty", ANNA, 200);
	lock("", ANNA, 403);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, client_setup, client_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
	    TEST(who_may_only_create_does_not_replace_what_appeared_while_the_body_came),
	    TEST(who_may_only_change_does_not_make_anew_what_went_while_the_body_came),
	    TEST(who_may_only_create_copies_onto_nothing_that_appeared),
	    TEST(an_index_file_with_a_line_of_its_own_keeps_it),
	    TEST(closed_places_answer_alike_whether_something_is_there_or_not),
	    TEST(what_is_hidden_is_not_copied_out_of_a_collection),
	    TEST(what_is_hidden_is_replaced_by_nothing),
	    TEST(a_tree_is_not_locked_over_what_is_closed_to_who_locks_it),
	};
	if (getenv("FILTER"))
		cmocka_set_test_filter(getenv("FILTER"));
	return cmocka_run_group_tests(tests, NULL, NULL);
}
