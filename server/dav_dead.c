// SPDX-License-Identifier: BSD-2-Clause
// Dead properties: see dav_dead.h.
#include "server/dav_dead.h"
#include "kernel/kstring.h"

int dav_dead_read(struct inode *inode, char *text)
{
	int n = xattr_get(inode, DAV_DEAD_ATTR, text, DAV_DEAD_MAX);

	return n == -ENODATA || n == -EOPNOTSUPP || n == -ERANGE ? 0 : n;
}

int dav_dead_write(struct inode *inode, const char *text, size_t len)
{
	int status = xattr_set(inode, DAV_DEAD_ATTR, len ? text : NULL, len);

	return status == -ENODATA ? 0 : status;
}

bool dav_dead_next(struct xml *x, const char *text, size_t len, size_t *pos, struct dav_dead *out)
{
	xml_init(x, text + *pos, len - *pos);
	if (*pos >= len || xml_next(x) != XML_START)
		return false;
	out->name = x->name;
	out->raw.text = text + *pos;
	// Its bindings go out of scope with its end, but their texts stay where they are.
	if (!xml_skip(x))
		return false;
	out->raw.len = x->pos;
	*pos += x->pos;
	return true;
}

static void write_attribute(struct text *t, struct xml_view prefix, struct xml_view local,
			    struct xml_view raw)
{
	char quote = raw.len && memchr(raw.text, '"', raw.len) ? '\'' : '"';

	text_char(t, ' ');
	if (prefix.len) {
		text_bytes(t, prefix.text, prefix.len);
		text_char(t, ':');
	}
	text_bytes(t, local.text, local.len);
	text_char(t, '=');
	text_char(t, quote);
	text_bytes(t, raw.text, raw.len);
	text_char(t, quote);
}

static bool same(struct xml_view a, struct xml_view b)
{
	return a.len == b.len && (a.len == 0 || memcmp(a.text, b.text, a.len) == 0);
}

// Each prefix that the element or what is in it uses, with the innermost meaning it has there.
static void write_bindings(const struct xml *x, struct text *t)
{
	static const struct xml_view xmlns = {"xmlns", 5};

	for (unsigned i = x->binding_count; i-- > 0;) {
		const struct xml_binding *b = &x->bindings[i];
		bool hidden = false;
		for (unsigned k = i + 1; k < x->binding_count; k++)
			hidden |= same(x->bindings[k].prefix, b->prefix);
		if (!b->used || hidden || (b->prefix.len == 0 && b->uri.len == 0))
			continue;
		text_char(t, ' ');
		text_bytes(t, xmlns.text, xmlns.len);
		if (b->prefix.len)
			text_char(t, ':');
		text_bytes(t, b->prefix.text, b->prefix.len);
		text_str(t, "=\"");
		text_html(t, b->uri.text, b->uri.len);
		text_char(t, '"');
	}
}

static void write_qname(const struct xml_name *name, struct text *t)
{
	if (name->prefix.len) {
		text_bytes(t, name->prefix.text, name->prefix.len);
		text_char(t, ':');
	}
	text_bytes(t, name->local.text, name->local.len);
}

bool dav_dead_keep(struct xml *x, struct xml_view lang, struct text *t)
{
	static struct xml_attribute attributes[XML_ATTRIBUTES_MAX]; // fast WTDs: one at a time
	static const struct xml_view xml = {"xml", 3}, lang_name = {"lang", 4};
	unsigned count = x->attribute_count;
	struct xml_name name = x->name;
	size_t first = x->pos, last;
	bool empty = x->empty;

	memcpy(attributes, x->attributes, count * sizeof(*attributes));
	if (!xml_skip(x))
		return false;
	last = x->at; // where its end tag begins
	text_char(t, '<');
	write_qname(&name, t);
	write_bindings(x, t); // the element's own are still in scope at its END
	for (unsigned i = 0; i < count; i++) {
		const struct xml_name *a = &attributes[i].name;
		if (same(a->prefix, xml) && same(a->local, lang_name))
			lang.len = 0;
		write_attribute(t, a->prefix, a->local, attributes[i].raw);
	}
	if (lang.len)
		write_attribute(t, xml, lang_name, lang);
	text_char(t, '>');
	if (!empty)
		text_bytes(t, x->text + first, last - first);
	text_str(t, "</");
	write_qname(&name, t);
	text_char(t, '>');
	return true;
}

size_t dav_dead_remove(char *text, size_t len, const struct xml_name *name)
{
	static struct xml x; // fast WTDs and workers that hold the lock of proppatch: one at a time
	struct dav_dead d;
	size_t pos = 0;

	while (dav_dead_next(&x, text, len, &pos, &d))
		if (same(d.name.uri, name->uri) && same(d.name.local, name->local)) {
			memmove(text + pos - d.raw.len, text + pos, len - pos);
			len -= d.raw.len;
			pos -= d.raw.len;
		}
	return pos;
}
