// SPDX-License-Identifier: BSD-2-Clause
// The XML reader: see xml.h. Pure.
#include "server/xml.h"
#include "kernel/kstring.h"

#define XML_NAMESPACE	"http://www.w3.org/XML/1998/namespace"
#define XMLNS_NAMESPACE "http://www.w3.org/2000/xmlns/"
#define VIEW(literal)	((struct xml_view){literal, sizeof(literal) - 1})

void xml_init(struct xml *x, const char *text, size_t len)
{
	memset(x, 0, sizeof(*x));
	x->text = text;
	x->len = len;
	if (len >= 3 && memcmp(text, "\xef\xbb\xbf", 3) == 0)
		x->pos = 3;
}

static bool fail(struct xml *x, const char *error)
{
	if (!x->error)
		x->error = error;
	return false;
}

static bool same(struct xml_view a, struct xml_view b)
{
	return a.len == b.len && (a.len == 0 || memcmp(a.text, b.text, a.len) == 0);
}

bool xml_is(const struct xml_name *name, const char *uri, const char *local)
{
	return same(name->uri, (struct xml_view){uri, strlen(uri)}) &&
	       same(name->local, (struct xml_view){local, strlen(local)});
}

// ---- pieces ------------------------------------------------------------------------------------------

static bool begins(const struct xml *x, const char *with)
{
	size_t n = strlen(with);

	return x->len - x->pos >= n && memcmp(x->text + x->pos, with, n) == 0;
}

static bool blank(char c)
{
	return c == ' ' || c == '\t' || c == '\n' || c == '\r';
}

// Whether there was any.
static bool blanks(struct xml *x)
{
	size_t start = x->pos;

	while (x->pos < x->len && blank(x->text[x->pos]))
		x->pos++;
	return x->pos > start;
}

static bool take(struct xml *x, const char *what)
{
	if (!begins(x, what))
		return fail(x, "another character was expected");
	x->pos += strlen(what);
	return true;
}

// prefix:local or local (Namespaces in XML, section 4). The prefix is not looked up yet.
static bool qualified(struct xml *x, struct xml_name *name)
{
	size_t n = xml_ncname(x->text + x->pos, x->len - x->pos);

	*name = (struct xml_name){.local = {x->text + x->pos, n}};
	x->pos += n;
	if (n == 0)
		return fail(x, "a name was expected");
	if (x->pos < x->len && x->text[x->pos] == ':') {
		x->pos++;
		n = xml_ncname(x->text + x->pos, x->len - x->pos);
		name->prefix = name->local;
		name->local = (struct xml_view){x->text + x->pos, n};
		x->pos += n;
		if (n == 0)
			return fail(x, "a name was expected behind a prefix");
	}
	return true;
}

// A quoted value with characters and references in it.
static bool quoted(struct xml *x, struct xml_view *value)
{
	char quote = x->pos < x->len ? x->text[x->pos] : 0;
	size_t start = ++x->pos, n;
	uint32_t c;

	if (quote != '"' && quote != '\'')
		return fail(x, "a quoted value was expected");
	for (; x->pos < x->len && x->text[x->pos] != quote; x->pos += n) {
		const char *at = x->text + x->pos;
		n = *at == '&'	 ? xml_reference(at, x->len - x->pos, &c)
		    : *at == '<' ? 0
				 : xml_char(at, x->len - x->pos);
		if (n == 0)
			return fail(x, "an attribute has a value that is none");
	}
	*value = (struct xml_view){x->text + start, x->pos - start};
	return take(x, quote == '"' ? "\"" : "'");
}

// ---- namespaces --------------------------------------------------------------------------------------

static struct xml_binding *binding_of(struct xml *x, struct xml_view prefix)
{
	for (unsigned i = x->binding_count; i-- > 0;)
		if (same(x->bindings[i].prefix, prefix))
			return &x->bindings[i];
	return NULL;
}

static bool resolve(struct xml *x, struct xml_name *name, bool attribute)
{
	struct xml_binding *b;

	if (attribute && name->prefix.len == 0)
		return true;
	if (same(name->prefix, VIEW("xml"))) {
		name->uri = VIEW(XML_NAMESPACE);
		return true;
	}
	b = binding_of(x, name->prefix);
	if (!b)
		return name->prefix.len ? fail(x, "a prefix is not declared") : true;
	b->used = true;
	name->uri = b->uri;
	return true;
}

// The namespace name as it is meant: a view of the document, or of the arena.
static bool plain(struct xml *x, struct xml_view raw, struct xml_view *out)
{
	struct text t = {.out = x->arena + x->arena_used, .size = XML_ARENA - x->arena_used};
	bool special = false;

	for (size_t i = 0; i < raw.len; i++)
		special |= raw.text[i] == '&' || raw.text[i] < ' ';
	*out = raw;
	if (special)
		xml_decode_value(&t, raw.text, raw.len);
	if (t.full)
		return fail(x, "the names of namespaces are too long");
	if (special) {
		*out = (struct xml_view){t.out, t.len};
		x->arena_used += (uint16_t)t.len;
	}
	return true;
}

static bool declare(struct xml *x, struct xml_view prefix, struct xml_view raw)
{
	struct xml_binding *b = &x->bindings[x->binding_count];
	uint16_t arena = x->arena_used;
	struct xml_view uri;
	bool is_xml;

	if (x->binding_count == XML_BINDINGS_MAX)
		return fail(x, "too many namespaces");
	if (!plain(x, raw, &uri))
		return false;
	is_xml = same(uri, VIEW(XML_NAMESPACE));
	if (same(prefix, VIEW("xmlns")) || same(uri, VIEW(XMLNS_NAMESPACE)) ||
	    is_xml != same(prefix, VIEW("xml")))
		return fail(x, "a namespace of XML's own is declared");
	if (prefix.len && uri.len == 0)
		return fail(x, "a prefix is declared for nothing");
	for (unsigned i = x->binding_count; i-- > 0 && x->bindings[i].depth == x->depth;)
		if (same(x->bindings[i].prefix, prefix))
			return fail(x, "an attribute stands twice");
	*b = (struct xml_binding){
	    .prefix = prefix, .uri = uri, .arena = arena, .depth = (uint8_t)x->depth};
	x->binding_count++;
	return true;
}

static void leave_scope(struct xml *x)
{
	while (x->binding_count && x->bindings[x->binding_count - 1].depth == x->depth) {
		x->binding_count--;
		x->arena_used = x->bindings[x->binding_count].arena;
	}
	x->depth--;
}

// ---- tags --------------------------------------------------------------------------------------------

static bool attribute(struct xml *x)
{
	struct xml_attribute *a = &x->attributes[x->attribute_count];
	struct xml_name name;
	struct xml_view value;

	if (!qualified(x, &name))
		return false;
	blanks(x);
	if (!take(x, "="))
		return false;
	blanks(x);
	if (!quoted(x, &value))
		return false;
	if (same(name.prefix, VIEW("xmlns")))
		return declare(x, name.local, value);
	if (name.prefix.len == 0 && same(name.local, VIEW("xmlns")))
		return declare(x, name.prefix, value);
	if (x->attribute_count == XML_ATTRIBUTES_MAX)
		return fail(x, "too many attributes");
	*a = (struct xml_attribute){name, value};
	x->attribute_count++;
	return true;
}

static bool resolve_all(struct xml *x)
{
	if (!resolve(x, &x->name, false))
		return false;
	if (same(x->name.prefix, VIEW("xmlns")))
		return fail(x, "a prefix is not declared");
	for (unsigned i = 0; i < x->attribute_count; i++) {
		struct xml_name *name = &x->attributes[i].name;
		if (!resolve(x, name, true))
			return false;
		for (unsigned k = 0; k < i; k++)
			if (same(x->attributes[k].name.uri, name->uri) &&
			    same(x->attributes[k].name.local, name->local))
				return fail(x, "an attribute stands twice");
	}
	return true;
}

static enum xml_event start_tag(struct xml *x)
{
	size_t begin = ++x->pos;

	if (x->depth == XML_DEPTH_MAX)
		fail(x, "elements are nested too deep");
	if (x->depth == 0 && x->root_seen)
		fail(x, "there is more than one document");
	x->attribute_count = 0;
	if (x->error || !qualified(x, &x->name))
		return XML_ERROR;
	x->open[x->depth++] = (struct xml_view){x->text + begin, x->pos - begin};
	x->root_seen = true;
	for (;;) {
		bool apart = blanks(x);
		if (begins(x, ">") || begins(x, "/>"))
			break;
		if (!apart)
			fail(x, "a blank was expected");
		if (x->error || !attribute(x))
			return XML_ERROR;
	}
	x->empty = begins(x, "/>");
	x->pos += x->empty ? 2 : 1;
	return resolve_all(x) ? XML_START : XML_ERROR;
}

static enum xml_event end_tag(struct xml *x)
{
	size_t begin = x->pos += 2;

	if (!qualified(x, &x->name))
		return XML_ERROR;
	if (x->depth == 0 ||
	    !same(x->open[x->depth - 1], (struct xml_view){x->text + begin, x->pos - begin})) {
		fail(x, "an element ends that did not begin");
		return XML_ERROR;
	}
	blanks(x);
	if (!take(x, ">") || !resolve(x, &x->name, false))
		return XML_ERROR;
	x->closing = true;
	return XML_END;
}

// ---- what is between tags ----------------------------------------------------------------------------

// Up to and with `end`, of which `view` gets what is before it.
static bool until(struct xml *x, const char *end, struct xml_view *view)
{
	size_t start = x->pos;

	while (!begins(x, end)) {
		size_t n = xml_char(x->text + x->pos, x->len - x->pos);
		if (n == 0)
			return fail(x,
				    "the document ends too early or has a character that is none");
		x->pos += n;
	}
	*view = (struct xml_view){x->text + start, x->pos - start};
	x->pos += strlen(end);
	return true;
}

static bool comment(struct xml *x)
{
	struct xml_view body;

	x->pos += 4;
	return until(x, "--", &body) && take(x, ">");
}

static enum xml_event characters(struct xml *x)
{
	size_t start = x->pos, n;
	uint32_t c;

	x->cdata = false;
	for (; x->pos < x->len && x->text[x->pos] != '<'; x->pos += n) {
		const char *at = x->text + x->pos;
		n = *at == '&' ? xml_reference(at, x->len - x->pos, &c)
			       : xml_char(at, x->len - x->pos);
		if (n == 0 || begins(x, "]]>")) {
			fail(x, "text has a reference or a character that is none");
			return XML_ERROR;
		}
	}
	x->data = (struct xml_view){x->text + start, x->pos - start};
	return XML_TEXT;
}

static enum xml_event cdata(struct xml *x)
{
	x->pos += 9;
	x->cdata = true;
	return until(x, "]]>", &x->data) ? XML_TEXT : XML_ERROR;
}

// <?xml version="1.0" encoding="utf-8" standalone="yes"?> (section 2.8)
static bool declaration(struct xml *x)
{
	static const char *const words[] = {"version", "encoding", "standalone"};
	unsigned next = 0;

	x->pos += 5;
	for (;;) {
		struct xml_view value;
		bool apart = blanks(x);
		if (begins(x, "?>"))
			break;
		while (next < 3 && !begins(x, words[next])) {
			if (next == 0)
				return fail(x, "the declaration has no version");
			next++;
		}
		if (next == 3 || !apart)
			return fail(x, "the declaration is malformed");
		x->pos += strlen(words[next]);
		blanks(x);
		if (!take(x, "="))
			return false;
		blanks(x);
		if (!quoted(x, &value))
			return false;
		if (next == 0 && !same(value, VIEW("1.0")))
			return fail(x, "only XML 1.0 is read");
		if (next == 1 && (value.len != 5 || kstrncasecmp(value.text, "utf-8", 5) != 0))
			return fail(x, "only UTF-8 is read");
		if (next == 2 && !same(value, VIEW("yes")) && !same(value, VIEW("no")))
			return fail(x, "the declaration is malformed");
		next++;
	}
	x->pos += 2;
	return next > 0 ? true : fail(x, "the declaration has no version");
}

// ---- the events --------------------------------------------------------------------------------------

// Outside of the one element: blanks and comments.
static enum xml_event outside(struct xml *x)
{
	if ((x->pos == 0 || (x->pos == 3 && (uint8_t)x->text[0] == 0xef)) && begins(x, "<?xml") &&
	    x->len - x->pos > 5 && blank(x->text[x->pos + 5]) && !declaration(x))
		return XML_ERROR;
	for (;;) {
		blanks(x);
		if (!begins(x, "<!--"))
			break;
		if (!comment(x))
			return XML_ERROR;
	}
	x->at = x->pos;
	if (x->pos == x->len) {
		if (x->root_seen)
			return XML_DONE;
		fail(x, "there is no document");
		return XML_ERROR;
	}
	if (begins(x, "<!") || begins(x, "<?")) {
		fail(x, "document types and processing instructions are not read");
		return XML_ERROR;
	}
	if (begins(x, "<"))
		return start_tag(x);
	fail(x, "there is text outside of the document");
	return XML_ERROR;
}

static enum xml_event inside(struct xml *x)
{
	while (begins(x, "<!--"))
		if (!comment(x))
			return XML_ERROR;
	x->at = x->pos;
	if (begins(x, "<![CDATA["))
		return cdata(x);
	if (begins(x, "</"))
		return end_tag(x);
	if (begins(x, "<!") || begins(x, "<?"))
		fail(x, "document types and processing instructions are not read");
	else if (x->pos == x->len)
		fail(x, "the document ends too early");
	if (x->error)
		return XML_ERROR;
	return begins(x, "<") ? start_tag(x) : characters(x);
}

enum xml_event xml_next(struct xml *x)
{
	if (x->error)
		return XML_ERROR;
	if (x->closing) {
		x->closing = false;
		leave_scope(x);
	}
	if (x->empty) {
		x->empty = false;
		x->closing = true;
		x->at = x->pos;
		return XML_END;
	}
	return x->depth ? inside(x) : outside(x);
}

bool xml_skip(struct xml *x)
{
	unsigned depth = x->depth;

	for (;;) {
		enum xml_event event = xml_next(x);
		if (event == XML_ERROR)
			return false;
		if (event == XML_END && x->depth == depth)
			return true;
	}
}
