// SPDX-License-Identifier: BSD-2-Clause
// SOURCES: server/xml.c server/xml_chars.c server/http_text.c kernel/string.c tests/fuzz/xml_oracle.c
// CFLAGS: -Itests/fuzz -Wl,--no-as-needed -lexpat
// The XML reader: what it reads, what it refuses, its bounds; each document beside expat; and documents
// that chance has damaged.
#include <stdarg.h>
#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>
#include "kernel/kstring.h"
#include "server/xml.h"
#include "shim.h"
#include "xml_oracle.h"

// The document in memory of its exact size: true and its events, or false and why not.
static bool reads(const char *text, size_t len, const char **error)
{
	static struct xml x;
	enum xml_event event;
	const char *why;
	char *copy = malloc(len + 1);

	memcpy(copy, text, len);
	if (xml_oracle(copy, len, &why) == ORACLE_DIFFER)
		fail_msg("%.*s: %s", (int)len, text, why);
	copy = realloc(copy, len ? len : 1);
	xml_init(&x, copy, len);
	while ((event = xml_next(&x)) != XML_DONE && event != XML_ERROR)
		;
	*error = x.error;
	free(copy);
	return event == XML_DONE;
}

static void good(const char *text)
{
	const char *error;

	if (!reads(text, strlen(text), &error))
		fail_msg("%s: %s", text, error);
}

static void bad(const char *text)
{
	const char *error;

	if (reads(text, strlen(text), &error))
		fail_msg("%s was read", text);
	assert_non_null(error);
}

static void documents_are_read(void **state)
{
	good("<a/>");
	good("\xef\xbb\xbf<?xml version='1.0' encoding=\"UTF-8\" standalone='no' ?>\n<!-- - c --> "
	     "<a></a ><!---->\n");
	good("<D:a xmlns:D='DAV:' D:b='1' b='2'>x&#x20ac;&#8364;&lt;]]<![CDATA[<&]]></D:a>");
	good("<a xmlns='u'><b xmlns=''/><c xmlns='v'/></a>");
	good("<a xml:lang='en' xmlns:xml='http://www.w3.org/XML/1998/namespace'/>");
	good("<\xc3\xa9l\xc3\xa9ment/>");
	good("<a>\r\n\r</a>");
}

static void what_is_no_document_is_refused(void **state)
{
	static const char *const documents[] = {
	    "",
	    " ",
	    "<a>",
	    "<a></b>",
	    "<a/><b/>",
	    "x<a/>",
	    "<a/>x",
	    "<a b/>",
	    "<a b=c/>",
	    "<a b='1' b='2'/>",
	    "<a b='1'c='2'/>",
	    "<a b='<'/>",
	    "<a>&nbsp;</a>",
	    "<a>&</a>",
	    "<a>&#0;</a>",
	    "<a>&#xd800;</a>",
	    "<a>&#x110000;</a>",
	    "<a>]]></a>",
	    "<a>\x01</a>",
	    "<a>\xff</a>",
	    "<a>\xef\xbf\xbf</a>",
	    "<a><!-- -- --></a>",
	    "<p:a/>",
	    "<a p:b=''/>",
	    "<:a/>",
	    "<a:/>",
	    "<a:b:c xmlns:a='u'/>",
	    "<a xmlns:p=''/>",
	    "<a xmlns:xmlns='u'/>",
	    "<a xmlns:xml='u'/>",
	    "<a xmlns='http://www.w3.org/2000/xmlns/'/>",
	    "<a xmlns:p='u' xmlns:q='u' p:b='' q:b=''/>",
	    "<1/>",
	    "<a><?x y?></a>",
	    "<?x y?><a/>",
	    "<!DOCTYPE a><a/>",
	    "<!DOCTYPE a [<!ENTITY x 'y'>]><a>&x;</a>",
	    "<a><![CDATA[</a>",
	    " <?xml version='1.0'?><a/>",
	    "<?xml version='1.1'?><a/>",
	    "<?xml version='1.0' encoding='utf-16'?><a/>",
	    "<?xml encoding='utf-8'?><a/>",
	};

	for (size_t i = 0; i < ARRAY_SIZE(documents); i++)
		bad(documents[i]);
}

static void each_bound_is_kept(void **state)
{
	char text[20000];
	size_t len = 0;

	for (unsigned i = 0; i <= XML_DEPTH_MAX; i++)
		len += (size_t)snprintf(text + len, sizeof(text) - len, "<a>");
	bad(text);
	for (unsigned n = XML_ATTRIBUTES_MAX; n <= XML_ATTRIBUTES_MAX + 1; n++) {
		len = (size_t)snprintf(text, sizeof(text), "<a");
		for (unsigned i = 0; i < n; i++)
			len += (size_t)snprintf(text + len, sizeof(text) - len, " b%u=''", i);
		snprintf(text + len, sizeof(text) - len, "/>");
		(n > XML_ATTRIBUTES_MAX ? bad : good)(text);
	}
	len = (size_t)snprintf(text, sizeof(text), "<a");
	for (unsigned i = 0; i <= XML_BINDINGS_MAX; i++)
		len += (size_t)snprintf(text + len, sizeof(text) - len, " xmlns:b%u='u'", i);
	snprintf(text + len, sizeof(text) - len, "/>");
	bad(text);
	len = (size_t)snprintf(text, sizeof(text), "<a xmlns='");
	for (unsigned i = 0; i <= XML_ARENA; i++)
		len += (size_t)snprintf(text + len, sizeof(text) - len, "&lt;");
	snprintf(text + len, sizeof(text) - len, "'/>");
	bad(text);
}

static void names_are_told_by_namespace(void **state)
{
	static const char text[] =
	    "<x:a xmlns:x='DA&#86;:'><b xmlns='DAV:' c='&quot;&#10;'/></x:a>";
	static struct xml x;
	char out[32];
	struct text t = TEXT_OF(out);

	xml_init(&x, text, sizeof(text) - 1);
	assert_int_equal(xml_next(&x), XML_START);
	assert_true(xml_is(&x.name, "DAV:", "a"));
	assert_int_equal(xml_next(&x), XML_START);
	assert_true(xml_is(&x.name, "DAV:", "b") && xml_is(&x.attributes[0].name, "", "c"));
	xml_decode_value(&t, x.attributes[0].raw.text, x.attributes[0].raw.len);
	assert_int_equal(t.len, 2);
	assert_memory_equal(out, "\"\n", 2);
	assert_int_equal(xml_next(&x), XML_END);
	assert_int_equal(x.depth, 2);
	assert_int_equal(xml_next(&x), XML_END);
	assert_int_equal(xml_next(&x), XML_DONE);
}

static void damaged_documents_are_read_as_expat_reads_them(void **state)
{
	static const char text[] = "<?xml version=\"1.0\" encoding=\"utf-8\"?><D:p xmlns:D='DAV:' "
				   "xmlns:e=\"u&amp;v\"><D:set><D:prop><e:a xml:lang='en'>x&#x41;"
				   "<![CDATA[ ]] ]]><!-- c --></e:a><D:b/></D:prop></D:set></D:p>";
	static const char likely[] = "<>/&;:='\"! ?-[]xmlnsD\n\r\xc3\xa9";
	const char *error;

	for (unsigned n = 0; n < 30000; n++) {
		char copy[sizeof(text) + 8];
		size_t len = sizeof(text) - 1;
		memcpy(copy, text, len);
		for (unsigned i = 1 + (unsigned)shim_random_below(3); i > 0; i--) {
			size_t at = shim_random_below(len);
			if (shim_random_below(3) == 0) {
				memmove(copy + at, copy + at + 1, len - at - 1);
				len--;
			} else {
				copy[at] = likely[shim_random_below(sizeof(likely) - 1)];
			}
		}
		(void)reads(copy, len, &error);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(documents_are_read),
	    cmocka_unit_test(what_is_no_document_is_refused),
	    cmocka_unit_test(each_bound_is_kept),
	    cmocka_unit_test(names_are_told_by_namespace),
	    cmocka_unit_test(damaged_documents_are_read_as_expat_reads_them),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
