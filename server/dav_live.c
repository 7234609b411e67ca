// SPDX-License-Identifier: BSD-2-Clause
// Properties of a resource as XML: see dav_live.h. Worker context.
#include "server/dav_live.h"
#include "fs/file.h"
#include "kernel/kstring.h"
#include "kernel/lock.h"
#include "kernel/timer.h"
#include "server/dav_dead.h"
#include "server/dav_lock.h"
#include "server/http_date.h"
#include "server/http_file.h"
#include "server/http_mime.h"
#include "server/rights.h"

static bool collection(const struct dav_resource *r)
{
	return r->inode->type == INODE_DIRECTORY;
}

static const char *last_segment(const struct dav_resource *r, size_t *len)
{
	size_t at = r->len;

	while (at && r->path[at - 1] != '/')
		at--;
	*len = r->len - at;
	return r->path + at;
}

// RFC 3339, as section 15.1 wants it. There is no time of creation in memory; it was not later than this.
static void creation_date(struct text *t, const struct dav_resource *r)
{
	struct civil_time c;

	civil_from_unix(MAX(-62135596800LL, MIN(r->inode->mtime_sec, 253402300799LL)), &c);
	text_digits(t, (unsigned)c.year, 4);
	text_char(t, '-');
	text_digits(t, c.month, 2);
	text_char(t, '-');
	text_digits(t, c.day, 2);
	text_char(t, 'T');
	text_digits(t, c.hour, 2);
	text_char(t, ':');
	text_digits(t, c.minute, 2);
	text_char(t, ':');
	text_digits(t, c.second, 2);
	text_char(t, 'Z');
}

static void lock_discovery(struct text *t, const struct dav_resource *r)
{
	wtd_disable();
	for (const struct dav_lock *lock = dav_lock_covering(r->path, r->len, NULL); lock;
	     lock = dav_lock_covering(r->path, r->len, lock))
		if (!dav_lock_write(lock, t))
			break;
	wtd_enable();
}

static void quota(struct text *t, const struct dav_resource *r, bool available)
{
	struct volume_space space;

	volume_space(r->inode->volume, &space);
	text_u64(t, (available ? space.blocks_free : space.blocks - space.blocks_free) *
			r->inode->volume->block_bytes);
}

// Whether the resource has it.
static bool has(const struct dav_resource *r, enum dav_live live)
{
	switch (live) {
	case DAV_GETCONTENTLENGTH:
	case DAV_GETCONTENTTYPE:
	case DAV_GETETAG:
		return !collection(r);
	case DAV_QUOTA_AVAILABLE:
	case DAV_QUOTA_USED:
		return collection(r);
	default:
		return true;
	}
}

static void text_value(struct text *t, const struct dav_resource *r, enum dav_live live)
{
	char small[MAX(HTTP_MIME_TEXT_MAX, HTTP_ETAG_MAX)];
	struct text s = TEXT_OF(small);
	size_t len;
	const char *name = last_segment(r, &len);

	switch (live) {
	case DAV_DISPLAYNAME:
		text_html(t, len ? name : "/", len ? len : 1);
		break;
	case DAV_GETCONTENTLENGTH:
		text_u64(t, r->inode->size);
		break;
	case DAV_GETCONTENTTYPE:
		len = http_mime_text(http_mime_find(name, len), small);
		text_html(t, small, len);
		break;
	case DAV_GETETAG:
		http_etag_write(&s, r->inode);
		text_html(t, s.out, s.len);
		break;
	default:
		http_date_format(r->inode->mtime_sec, small);
		text_bytes(t, small, HTTP_DATE_LEN);
	}
}

static void value(struct text *t, const struct dav_resource *r, enum dav_live live)
{
	switch (live) {
	case DAV_CREATIONDATE:
		creation_date(t, r);
		break;
	case DAV_LOCKDISCOVERY:
		lock_discovery(t, r);
		break;
	case DAV_RESOURCETYPE:
		text_str(t, collection(r) ? "<D:collection/>" : "");
		break;
	case DAV_SUPPORTEDLOCK:
		if (rights_writing())
			text_str(t, "<D:lockentry><D:lockscope><D:exclusive/></D:lockscope>"
				    "<D:locktype><D:write/></D:locktype></D:lockentry>"
				    "<D:lockentry><D:lockscope><D:shared/></D:lockscope>"
				    "<D:locktype><D:write/></D:locktype></D:lockentry>");
		break;
	case DAV_QUOTA_AVAILABLE:
	case DAV_QUOTA_USED:
		quota(t, r, live == DAV_QUOTA_AVAILABLE);
		break;
	default:
		text_value(t, r, live);
	}
}

static void write_live(struct text *t, const struct dav_resource *r, const struct dav_names *names)
{
	for (unsigned live = 0; live < DAV_LIVE_COUNT; live++) {
		if (!(names->live & BIT(live)) || !has(r, live))
			continue;
		text_str(t, "<D:");
		text_str(t, dav_live_names[live]);
		if (names->mode == DAV_PROPNAME) {
			text_str(t, "/>");
			continue;
		}
		text_char(t, '>');
		value(t, r, live);
		text_str(t, "</D:");
		text_str(t, dav_live_names[live]);
		text_char(t, '>');
	}
}

static bool named(const struct dav_names *names, unsigned i, const struct xml_name *name)
{
	const struct dav_name *n = &names->name[i];

	return n->uri_len == name->uri.len && n->local_len == name->local.len &&
	       memcmp(names->text + n->uri, name->uri.text, n->uri_len) == 0 &&
	       memcmp(names->text + n->local, name->local.text, n->local_len) == 0;
}

// Writes those that were asked for; `found` gets a bit for each name that is there.
static void write_dead(struct text *t, const struct dav_resource *r, const struct dav_names *names,
		       uint64_t found[2])
{
	struct xml *x = r->reader;
	struct dav_dead d;
	size_t pos = 0;

	_Static_assert(DAV_NAMES_MAX <= 128, "two words of bits");
	while (dav_dead_next(x, r->dead, r->dead_len, &pos, &d)) {
		bool wanted = names->mode != DAV_PROP;
		for (unsigned i = 0; i < names->count; i++)
			if (named(names, i, &d.name)) {
				found[i / 64] |= BIT(i % 64);
				wanted = true;
			}
		if (wanted && names->mode == DAV_PROPNAME)
			dav_name_empty(t, d.name.uri.text, d.name.uri.len, d.name.local.text,
				       d.name.local.len);
		else if (wanted)
			text_bytes(t, d.raw.text, d.raw.len);
	}
}

// The second propstat: what was asked for by name and is not there.
static void write_missing(struct text *t, const struct dav_resource *r,
			  const struct dav_names *names, const uint64_t found[2])
{
	bool any = false;

	for (unsigned live = 0; live < DAV_LIVE_COUNT + names->count; live++) {
		unsigned i = live - DAV_LIVE_COUNT;
		bool known = live < DAV_LIVE_COUNT;
		if (known ? !(names->live & BIT(live)) || has(r, live)
			  : (found[i / 64] >> (i % 64) & 1) != 0)
			continue;
		if (!any)
			text_str(t, "<D:propstat><D:prop>");
		any = true;
		if (known)
			dav_name_empty(t, "DAV:", 4, dav_live_names[live],
				       strlen(dav_live_names[live]));
		else
			dav_name_empty(t, names->text + names->name[i].uri, names->name[i].uri_len,
				       names->text + names->name[i].local,
				       names->name[i].local_len);
	}
	if (!any)
		return;
	text_str(t, "</D:prop>");
	dav_status(t, 404);
	text_str(t, "</D:propstat>");
}

void dav_response(struct text *t, const struct dav_resource *r, const struct dav_names *names)
{
	uint64_t found[2] = {0, 0};

	text_str(t, "<D:response>");
	dav_href(t, r->path, r->len, collection(r));
	text_str(t, "<D:propstat><D:prop>");
	write_live(t, r, names);
	write_dead(t, r, names, found);
	text_str(t, "</D:prop>");
	dav_status(t, 200);
	text_str(t, "</D:propstat>");
	if (names->mode == DAV_PROP)
		write_missing(t, r, names, found);
	text_str(t, "</D:response>\n");
}
