// SPDX-License-Identifier: BSD-2-Clause
// The If field: see dav_if.h. Pure.
#include "server/dav_if.h"
#include "kernel/kstring.h"

static void blanks(struct dav_if *f)
{
	while (f->pos < f->len && (f->text[f->pos] == ' ' || f->text[f->pos] == '\t'))
		f->pos++;
}

static char at(const struct dav_if *f)
{
	return f->pos < f->len ? f->text[f->pos] : 0;
}

static enum dav_if_piece bad(struct dav_if *f)
{
	f->bad = true;
	return DAV_IF_BAD;
}

// What stands between two brackets, of which pos is at the first; not empty, no blank and no bracket in it.
static bool bracketed(struct dav_if *f, char close)
{
	size_t start = ++f->pos;

	while (f->pos < f->len && f->text[f->pos] != close && f->text[f->pos] != '<' &&
	       f->text[f->pos] != ' ')
		f->pos++;
	f->view = f->text + start;
	f->view_len = f->pos - start;
	return at(f) == close && f->pos++ > start;
}

// entity-tag = [ "W/" ] DQUOTE *etagc DQUOTE (RFC 9110 section 8.8.3)
static bool etag(struct dav_if *f)
{
	size_t start = ++f->pos;

	if (f->len - f->pos > 2 && memcmp(f->text + f->pos, "W/", 2) == 0)
		f->pos += 2;
	if (at(f) != '"')
		return false;
	f->pos++;
	while (f->pos < f->len && f->text[f->pos] != '"')
		f->pos++;
	if (at(f) != '"')
		return false;
	f->pos++;
	f->view = f->text + start;
	f->view_len = f->pos - start;
	return at(f) == ']' && f->pos++;
}

static enum dav_if_piece condition(struct dav_if *f)
{
	f->negated = false;
	if (at(f) == ')') {
		f->pos++;
		f->inside = false;
		return f->conditions ? DAV_IF_CLOSE : bad(f);
	}
	f->conditions++;
	if (f->len - f->pos > 3 && kstrncasecmp(f->text + f->pos, "not", 3) == 0) {
		f->negated = true;
		f->pos += 3;
		blanks(f);
	}
	if (at(f) == '<')
		return bracketed(f, '>') ? DAV_IF_TOKEN : bad(f);
	if (at(f) == '[')
		return etag(f) ? DAV_IF_ETAG : bad(f);
	return bad(f);
}

// All lists are tagged, or none is.
enum dav_if_piece dav_if_next(struct dav_if *f)
{
	if (f->bad)
		return DAV_IF_BAD;
	blanks(f);
	if (f->inside)
		return condition(f);
	if (f->pos == f->len)
		return f->lists ? DAV_IF_END : bad(f);
	if (at(f) == '(') {
		f->pos++;
		f->inside = true;
		f->lists++;
		f->conditions = 0;
		return DAV_IF_OPEN;
	}
	if (at(f) != '<' || (f->lists && !f->tagged) || !bracketed(f, '>'))
		return bad(f);
	if (f->tagged && !f->lists)
		return bad(f); // a tag without a list
	f->tagged = true;
	f->lists = 0;
	return DAV_IF_TAG;
}
