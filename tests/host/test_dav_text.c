// SPDX-License-Identifier: BSD-2-Clause
// SOURCES: server/dav_names.c server/dav_patch.c server/dav_dead.c server/dav_if.c server/xml.c
// SOURCES: server/xml_chars.c server/http_text.c kernel/string.c
// CFLAGS: -Itests/host/fake
// WebDAV's texts: what a PROPFIND and a PROPPATCH ask for, properties as they are kept, the If field.
#include <stdarg.h>
#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>
#include "kernel/kstring.h"
#include "server/dav_if.h"
#include "server/dav_patch.h"
#include "server/http_response.h"
#include "shim.h"

// What the volume has, and what a status is called.
static char kept[DAV_DEAD_MAX];
static size_t kept_len;

int xattr_get(struct inode *inode, const char *name, void *value, size_t size)
{
	memcpy(value, kept, kept_len);
	return kept_len ? (int)kept_len : -ENODATA;
}

int xattr_set(struct inode *inode, const char *name, const void *value, size_t size)
{
	if (size)
		memcpy(kept, value, size);
	kept_len = size;
	return 0;
}

const char *http_status_text(unsigned status)
{
	return "?";
}

static struct dav_patch patch;
static struct dav_names names;

static void patched(const char *body, const char *want)
{
	const char *why = NULL;
	char text[DAV_DEAD_MAX];
	int n = dav_dead_read(NULL, text);
	size_t len = (size_t)n;

	if (!dav_patch_parse(&patch, body, strlen(body), &why))
		fail_msg("%s: %s", body, why);
	assert_int_equal(dav_patch_apply(&patch, text, &len), 0);
	assert_int_equal(dav_dead_write(NULL, text, len), 0);
	if (want && (kept_len != strlen(want) || memcmp(kept, want, kept_len) != 0))
		fail_msg("%.*s instead of %s", (int)kept_len, kept, want);
}

#define UPDATE(inside) "<D:propertyupdate xmlns:D='DAV:'>" inside "</D:propertyupdate>"
#define SET(inside)    UPDATE("<D:set><D:prop>" inside "</D:prop></D:set>")
#define REMOVE(inside) UPDATE("<D:remove><D:prop>" inside "</D:prop></D:remove>")

static int setup(void **state)
{
	kept_len = 0;
	return 0;
}

static void properties_are_kept_with_what_they_mean(void **state)
{
	patched(SET("<a xmlns='u'>x</a>"), "<a xmlns=\"u\">x</a>");
	patched(REMOVE("<z:a xmlns:z='u'/>"), "");
	// Namespaces from outside, the innermost meaning of each, and only those that are used.
	patched("<D:propertyupdate xmlns:D='DAV:' xmlns:p='one' xmlns:q='not used'><D:set><D:prop "
		"xmlns:p='two'>"
		"<p:a><p:b/><D:c d='1'/></p:a></D:prop></D:set></D:propertyupdate>",
		"<p:a xmlns:p=\"two\" xmlns:D=\"DAV:\"><p:b/><D:c d='1'/></p:a>");
	patched(REMOVE("<a xmlns='two'/>"), "");
	// xml:lang from outside, overruled by the property's own.
	patched("<D:propertyupdate xmlns:D='DAV:' xml:lang='de'><D:set><D:prop xml:lang='en'>"
		"<a/><b xml:lang='fr'/></D:prop></D:set></D:propertyupdate>",
		"<a xml:lang=\"en\"></a><b xml:lang=\"fr\"></b>");
	patched(REMOVE("<a/><b/>"), "");
	// References in names of namespaces, quotes in values, sections and comments as they were.
	patched(SET("<a xmlns='u&amp;v' k='\"'>&lt;<![CDATA[<]]><!-- c --></a>"),
		"<a xmlns=\"u&amp;v\" k='\"'>&lt;<![CDATA[<]]><!-- c --></a>");
	patched(REMOVE("<a xmlns='u&#38;v'/>"), "");
	patched(SET("<a xmlns='u'/>"), "<a xmlns=\"u\"></a>");
}

static void instructions_are_carried_out_in_order(void **state)
{
	patched(UPDATE("<D:set><D:prop><a>1</a><b>1</b></D:prop></D:set><D:remove><D:prop><a/></"
		       "D:prop></D:remove>"
		       "<D:set><D:prop><b>2</b><c/></D:prop></D:set>"),
		"<b>2</b><c></c>");
	patched(UPDATE("<D:remove><D:prop><b/></D:prop></D:remove><D:set><D:prop><b>3</b></"
		       "D:prop></D:set>"),
		"<c></c><b>3</b>");
}

static void a_protected_property_stops_all(void **state)
{
	static const char body[] = SET("<a/><D:getetag>x</D:getetag>");
	char out[2000];
	struct text t = TEXT_OF(out);
	const char *why;

	assert_true(dav_patch_parse(&patch, body, sizeof(body) - 1, &why));
	assert_true(patch.any_protected);
	dav_patch_answer(&patch, "f", 1, false, 200, &t);
	text_char(&t, 0);
	assert_non_null(strstr(out, "getetag xmlns:P=\"DAV:\"/></D:prop><D:status>HTTP/1.1 403"));
	assert_non_null(strstr(out, "<a/></D:prop><D:status>HTTP/1.1 424"));
	assert_null(strstr(out, "HTTP/1.1 200"));
}

static void what_is_no_propertyupdate_is_refused(void **state)
{
	static const char *const bodies[] = {"",
					     "<a/>",
					     "<propertyupdate/>",
					     UPDATE(""),
					     SET(""),
					     "<",
					     UPDATE("<D:set><D:prop><a></D:prop></D:set>")};
	const char *why;

	for (size_t i = 0; i < ARRAY_SIZE(bodies); i++) {
		why = NULL;
		if (dav_patch_parse(&patch, bodies[i], strlen(bodies[i]), &why))
			fail_msg("%s was read", bodies[i]);
		assert_non_null(why);
	}
}

static void more_than_fits_is_refused_whole(void **state)
{
	static char body[60000], text[DAV_DEAD_MAX];
	size_t at = 0, len = 0;
	const char *why;

	at += (size_t)snprintf(body, sizeof(body),
			       "<D:propertyupdate xmlns:D='DAV:'><D:set><D:prop><a>");
	memset(body + at, 'x', DAV_DEAD_MAX);
	at += DAV_DEAD_MAX;
	snprintf(body + at, sizeof(body) - at, "</a></D:prop></D:set></D:propertyupdate>");
	assert_true(dav_patch_parse(&patch, body, strlen(body), &why));
	assert_int_equal(dav_patch_apply(&patch, text, &len), -ENOSPC);
}

static void damage_on_the_volume_ends_the_list(void **state)
{
	static const char text[] = "<a>1</a><b></a>";
	static struct xml x;
	struct dav_dead d;
	size_t pos = 0;

	assert_true(dav_dead_next(&x, text, sizeof(text) - 1, &pos, &d));
	assert_int_equal(d.raw.len, 8);
	assert_false(dav_dead_next(&x, text, sizeof(text) - 1, &pos, &d));
	kept_len = sizeof(text) - 1;
	memcpy(kept, text, kept_len);
	patched(SET("<c/>"), "<a>1</a><c></c>");
}

static void a_propfind_says_what_it_wants(void **state)
{
	static const char *const bad[] = {
	    "<propfind xmlns='DAV:'/>", "<propfind xmlns='DAV:'><prop/><allprop/></propfind>",
	    "<propfind xmlns='u'><prop/></propfind>", "<propfind xmlns='DAV:'><prop>",
	    "<D:propfind xmlns:D='DAV:'><D:prop><bar:foo/></D:prop></D:propfind>"};
	static const char good[] =
	    "<propfind xmlns='DAV:'><x/><prop><getetag/><a xmlns='u'/><nothing/></prop></propfind>";
	const char *why;

	assert_true(dav_names_parse(&names, "", 0, &why));
	assert_int_equal(names.mode, DAV_ALLPROP);
	assert_int_equal(names.live, DAV_LIVE_ALL);
	assert_true(dav_names_parse(&names, good, sizeof(good) - 1, &why));
	assert_int_equal(names.mode, DAV_PROP);
	assert_int_equal(names.live, BIT(DAV_GETETAG));
	assert_int_equal(names.count, 2);
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		if (dav_names_parse(&names, bad[i], strlen(bad[i]), &why))
			fail_msg("%s was read", bad[i]);
}

// ---- the If field ------------------------------------------------------------------------------------

static void field_is(const char *text, const char *want)
{
	static const char letters[] = "T(te).!";
	char out[100], *copy = malloc(strlen(text));
	struct dav_if f = {.text = copy, .len = strlen(text)};
	enum dav_if_piece piece;
	size_t n = 0;

	memcpy(copy, text, f.len);
	do {
		piece = dav_if_next(&f);
		assert_true(n + 3 < sizeof(out));
		if ((piece == DAV_IF_TOKEN || piece == DAV_IF_ETAG) && f.negated)
			out[n++] = '~';
		out[n++] = letters[piece];
	} while (piece != DAV_IF_END && piece != DAV_IF_BAD);
	out[n] = 0;
	if (strcmp(out, want) != 0)
		fail_msg("%s is %s, not %s", text, out, want);
	free(copy);
}

static void the_if_field_is_read_or_refused(void **state)
{
	field_is("(<urn:a>)", "(t).");
	field_is("(<urn:a> [\"x y\"]) (Not <urn:b>[W/\"e\"])", "(te)(~te).");
	field_is("</a> (<urn:a>) (<b>) <http://h/x> ([\"\"])", "T(t)(t)T(e).");
	field_is("(not<urn:a>)", "(~t).");
	field_is("", "!");
	field_is("()", "(!");
	field_is("(<a>", "(t!");
	field_is("<a>", "T!");
	field_is("<a> <b> (<c>)", "T!");
	field_is("(<a>) <b> (<c>)", "(t)!");
	field_is("(<a b>)", "(!");
	field_is("(<>)", "(!");
	field_is("([x])", "(!");
	field_is("([\"x\")", "(!");
	field_is("(<a>) x", "(t)!");
}

static void random_if_fields_are_read_within_bounds(void **state)
{
	static const char likely[] = "()<>[]\"Not W/a \t";

	for (unsigned n = 0; n < 50000; n++) {
		size_t len = shim_random_below(30);
		char *text = malloc(len ? len : 1);
		struct dav_if f = {.text = text, .len = len};
		enum dav_if_piece piece;
		for (size_t i = 0; i < len; i++)
			text[i] = likely[shim_random_below(sizeof(likely) - 1)];
		do {
			piece = dav_if_next(&f);
			assert_true(f.pos <= f.len);
		} while (piece != DAV_IF_END && piece != DAV_IF_BAD);
		free(text);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup(properties_are_kept_with_what_they_mean, setup),
	    cmocka_unit_test_setup(instructions_are_carried_out_in_order, setup),
	    cmocka_unit_test(a_protected_property_stops_all),
	    cmocka_unit_test(what_is_no_propertyupdate_is_refused),
	    cmocka_unit_test(more_than_fits_is_refused_whole),
	    cmocka_unit_test_setup(damage_on_the_volume_ends_the_list, setup),
	    cmocka_unit_test(a_propfind_says_what_it_wants),
	    cmocka_unit_test(the_if_field_is_read_or_refused),
	    cmocka_unit_test(random_if_fields_are_read_within_bounds),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
