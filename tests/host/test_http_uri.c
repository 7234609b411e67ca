// SPDX-License-Identifier: BSD-2-Clause
// SOURCES: server/http_uri.c server/http_text.c server/http_mime.c server/http_mime_table.c
// SOURCES: kernel/string.c
// Paths in and out: decoding once, dot segments, what cannot leave the root, the escapes of generated
// text, and media types.
#include <stdarg.h>
#include <setjmp.h>
#include <stdlib.h>
#include <stdio.h>
#include <cmocka.h>
#include "kernel/kstring.h"
#include "server/http_mime.h"
#include "server/http_text.h"
#include "server/http_uri.h"
#include "shim.h"

static void path_is(const char *raw, const char *want, bool directory)
{
	char out[HTTP_PATH_MAX];
	struct http_path path;

	assert_int_equal(http_path_decode(raw, strlen(raw), out, &path), 0);
	if (path.len != strlen(want) || memcmp(out, want, path.len) != 0)
		fail_msg("%s gave %.*s, expected %s", raw, path.len, out, want);
	assert_int_equal(path.directory, directory);
}

static int status_of(const char *raw, size_t len)
{
	static char out[HTTP_PATH_MAX];
	struct http_path path;
	return http_path_decode(raw, len, out, &path);
}

static void dot_segments_never_leave_the_root(void **state)
{
	path_is("/", "", true);
	path_is("", "", true);
	path_is("/a", "a", false);
	path_is("/a/", "a", true);
	path_is("//a//b", "a/b", false);
	path_is("/a/./b", "a/b", false);
	path_is("/a/../b", "b", false);
	path_is("/a/b/..", "a", true);
	path_is("/a/b/.", "a/b", true);
	path_is("/..", "", true);
	path_is("/../../etc/passwd", "etc/passwd", false);
	path_is("/a/../../../b/", "b", true);
	path_is("/%2e%2e/%2E%2e/x", "x", false);
	path_is("/.%2e/x", "x", false);
	path_is("/...", "...", false);
	path_is("/..a", "..a", false);
	path_is("/a%20b%41", "a bA", false);
	path_is("/%252e%252e/x", "%2e%2e/x", false);
	path_is("/%ff\xc3\xbc", "\xff\xc3\xbc", false);
	path_is("/a\\..\\b", "a\\..\\b", false);
	path_is("/a+b", "a+b", false);
}

static void bad_escapes_are_refused(void **state)
{
	assert_int_equal(status_of("/%", 2), 400);
	assert_int_equal(status_of("/%4", 3), 400);
	assert_int_equal(status_of("/%4/1", 5), 400);
	assert_int_equal(status_of("/%zz", 4), 400);
	assert_int_equal(status_of("/%-1", 4), 400);
	assert_int_equal(status_of("/a%00b", 6), 400);
	assert_int_equal(status_of("/a%2fb", 6), 404);
	assert_int_equal(status_of("/..%2f..%2fetc", 14), 404);
}

static void a_path_of_the_longest_length_fits_and_one_more_does_not(void **state)
{
	char raw[HTTP_PATH_MAX + 2];

	memset(raw, 'a', sizeof(raw));
	raw[0] = '/';
	assert_int_equal(status_of(raw, HTTP_PATH_MAX + 1), 0);
	assert_int_equal(status_of(raw, HTTP_PATH_MAX + 2), 414);
	raw[HTTP_PATH_MAX] = '/';
	assert_int_equal(status_of(raw, HTTP_PATH_MAX + 1), 0);
	assert_int_equal(status_of(raw, HTTP_PATH_MAX + 2), 414);
}

static bool reserved(const char *raw)
{
	char out[HTTP_PATH_MAX];
	struct http_path path;
	assert_int_equal(http_path_decode(raw, strlen(raw), out, &path), 0);
	return path.reserved;
}

static void the_reserved_prefix_is_seen_in_every_spelling(void **state)
{
	assert_true(reserved("/.pagewire"));
	assert_true(reserved("/.pagewire/metrics"));
	assert_true(reserved("/x/..//%2epagewire/health"));
	assert_false(reserved("/.pagewires"));
	assert_false(reserved("/a/.pagewire/metrics"));
}

// Any bytes: whatever is accepted has no empty, "." or ".." segment and no NUL, and escaping it and
// decoding that gives the same.
static void random_paths_stay_inside_and_survive_the_round_trip(void **state)
{
	static const char alphabet[] = "./%2eE/a0f\xff ";

	for (int round = 0; round < 200000; round++) {
		char raw[24], out[HTTP_PATH_MAX], again[HTTP_PATH_MAX], escaped[100];
		size_t len = shim_random_below(sizeof(raw));
		struct http_path path, path2;
		for (size_t i = 0; i < len; i++)
			raw[i] = alphabet[shim_random_below(sizeof(alphabet) - 1)];
		if (http_path_decode(raw, len, out, &path) != 0)
			continue;
		for (size_t at = 0; at < path.len;) {
			const char *slash = memchr(out + at, '/', path.len - at);
			size_t n = slash ? (size_t)(slash - out) - at : path.len - at;
			assert_true(n > 0 && memchr(out + at, 0, n) == NULL);
			assert_false(n == 1 && out[at] == '.');
			assert_false(n == 2 && out[at] == '.' && out[at + 1] == '.');
			at += n + 1;
		}
		struct text t = TEXT_OF(escaped);
		text_uri(&t, out, path.len);
		assert_int_equal(http_path_decode(t.out, t.len, again, &path2), 0);
		assert_int_equal(path2.len, path.len);
		assert_memory_equal(out, again, path.len);
	}
}

static void query_values_are_found(void **state)
{
	const char *q = "xsort=no&sort=size&order=&sort=2", *value;
	size_t n;

	assert_true(http_query_value(q, strlen(q), "sort", &value, &n));
	assert_int_equal(n, 4);
	assert_memory_equal(value, "size", 4);
	assert_true(http_query_value(q, strlen(q), "order", &value, &n));
	assert_int_equal(n, 0);
	assert_false(http_query_value(q, strlen(q), "so", &value, &n));
	assert_false(http_query_value("sort", 4, "sort", &value, &n));
}

static void escape_is(void (*fn)(struct text *, const char *, size_t), const char *in,
		      const char *want)
{
	char out[200];
	struct text t = TEXT_OF(out);
	fn(&t, in, strlen(in));
	assert_false(t.full);
	assert_int_equal(t.len, strlen(want));
	assert_memory_equal(out, want, t.len);
}

static void each_escape_is_exact(void **state)
{
	escape_is(text_html, "<a href=\"x\">'&\xc3\xa4\xff\x01",
		  "&lt;a href=&quot;x&quot;&gt;&#39;&amp;"
		  "\xc3\xa4\xef\xbf\xbd\xef\xbf\xbd");
	escape_is(text_html, "\xc2\x9f\xe2\x82\xac", "\xef\xbf\xbd\xe2\x82\xac");
	// No document of XML may have these two (XML 1.0 section 2.2); the name before them may stand.
	escape_is(text_html, "a\xef\xbf\xbe\xef\xbf\xbf\xef\xbf\xbc",
		  "a\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbc");
	escape_is(text_json, "a\"b\\c\n\x7f\xed\xa0\x80",
		  "a\\\"b\\\\c\\u000a\\u007f\xef\xbf\xbd"
		  "\xef\xbf\xbd\xef\xbf\xbd");
	escape_is(text_uri, "a b/?#%\"<\r\n\xff~", "a%20b/%3F%23%25%22%3C%0D%0A%FF~");
	escape_is(text_log, "a \"b\"\\\x1b[1m\xff\n", "a \\x22b\\x22\\x5c\\x1b[1m\\xff\\x0a");
}

static void utf8_is_what_rfc_3629_says(void **state)
{
	static const char *const good[] = {"a",
					   "\xc2\x80",
					   "\xe0\xa0\x80",
					   "\xed\x9f\xbf",
					   "\xf0\x90\x80\x80",
					   "\xf4\x8f\xbf\xbf"};
	static const char *const bad[] = {"\x80",
					  "\xc1\xbf",
					  "\xe0\x9f\xbf",
					  "\xed\xa0\x80",
					  "\xf0\x8f\xbf\xbf",
					  "\xf4\x90\x80\x80",
					  "\xf5\x80\x80\x80",
					  "\xc3",
					  "\xe2\x82",
					  "\xff"};

	for (size_t i = 0; i < ARRAY_SIZE(good); i++)
		assert_true(utf8_valid(good[i], strlen(good[i])));
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		assert_false(utf8_valid(bad[i], strlen(bad[i])));
}

static void a_full_text_says_so_and_stays_in_its_bounds(void **state)
{
	char out[4];
	struct text t = TEXT_OF(out);
	text_str(&t, "abc");
	assert_false(t.full);
	text_u64(&t, 12);
	assert_true(t.full);
	assert_int_equal(t.len, 4);
}

static void type_is(const char *name, const char *want)
{
	char out[HTTP_MIME_TEXT_MAX];
	size_t n = http_mime_text(http_mime_find(name, strlen(name)), out);
	assert_int_equal(n, strlen(out));
	assert_string_equal(out, want);
}

static void types_by_extension(void **state)
{
	assert_true(http_mime_init() > 1000); // panics on an extension that stands twice
	type_is("index.html", "text/html; charset=utf-8");
	type_is("A.HTM", "text/html; charset=utf-8");
	type_is("a.tar.gz", "application/gzip");
	type_is("x.js", "text/javascript; charset=utf-8");
	type_is("x.svg", "image/svg+xml");
	type_is("x.mp4", "video/mp4");
	type_is("x.woff2", "font/woff2");
	type_is("x.docx",
		"application/vnd.openxmlformats-officedocument.wordprocessingml.document");
	type_is("README", "text/plain; charset=utf-8");
	type_is("copyright", "text/plain; charset=utf-8");
	type_is("none", "application/octet-stream");
	type_is("x.", "application/octet-stream");
	type_is("", "application/octet-stream");
	type_is(".html", "text/html; charset=utf-8");
	type_is("x.averyveryverylongextension", "application/octet-stream");
}

static void a_destination_is_on_this_server_or_nowhere(void **state)
{
	static const struct {
		const char *value, *host, *path; // path null: status
		int status;
	} cases[] = {
	    {"/a/b", "h", "a/b", 0},
	    {"/a/../b/?q#f", "h", "b", 0},
	    {"http://h/a", "h", "a", 0},
	    {"http://H:80/a", "h", "a", 0},
	    {"http://h/a", "h:80", "a", 0},
	    {"https://h:443/a", "h", "a", 0},
	    {"http://h:8080/%61", "h:8080", "a", 0},
	    {"http://[::1]/a", "[::1]", "a", 0},
	    {"http://h", "h", "", 0},
	    {"http://h?x", "h", "", 0},
	    {"http://h:8080/a", "h", NULL, 502},
	    {"http://h2/a", "h", NULL, 502},
	    {"http://h@h2/a", "h", NULL, 502},
	    {"http://u@h/a", "h", NULL, 502},
	    {"ftp://h/a", "h", NULL, 400},
	    {"//h/a", "h", NULL, 400},
	    {"a", "h", NULL, 400},
	    {"", "h", NULL, 400},
	    {"/a b", "h", NULL, 400},
	    {"/a%2", "h", NULL, 400},
	    {"/a%00", "h", NULL, 400},
	    {"/a%2fb", "h", NULL, 404},
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		char out[HTTP_PATH_MAX];
		struct http_path path;
		int status =
		    http_destination_decode(cases[i].value, strlen(cases[i].value), cases[i].host,
					    strlen(cases[i].host), out, &path);
		if (status != cases[i].status)
			fail_msg("%s: %d", cases[i].value, status);
		if (status)
			continue;
		assert_int_equal(path.len, strlen(cases[i].path));
		assert_memory_equal(out, cases[i].path, path.len);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(dot_segments_never_leave_the_root),
	    cmocka_unit_test(bad_escapes_are_refused),
	    cmocka_unit_test(a_path_of_the_longest_length_fits_and_one_more_does_not),
	    cmocka_unit_test(the_reserved_prefix_is_seen_in_every_spelling),
	    cmocka_unit_test(random_paths_stay_inside_and_survive_the_round_trip),
	    cmocka_unit_test(query_values_are_found),
	    cmocka_unit_test(each_escape_is_exact),
	    cmocka_unit_test(utf8_is_what_rfc_3629_says),
	    cmocka_unit_test(a_full_text_says_so_and_stays_in_its_bounds),
	    cmocka_unit_test(types_by_extension),
	    cmocka_unit_test(a_destination_is_on_this_server_or_nowhere),
	};
	shim_seed();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
