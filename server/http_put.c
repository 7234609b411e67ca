// SPDX-License-Identifier: BSD-2-Clause
// PUT and PATCH: what is decided before the first byte of the body, and what follows the last. The bytes
// between are http_upload.c's. Fast WTD context but for the functions named run.
//
//	PUT                          a new file, which takes the name when it is whole and on the disk
//	PUT, Content-Range: bytes    the file that is there grows from its end: an upload is resumed
//	PATCH, X-Update-Range        the file that is there is changed in place (SabreDAV's partial update)
//
// The last two change a file under the eyes of its readers, and what arrived before a client vanished stays.
// One client at a time may do so to a file.
#include "server/http_upload.h"
#include "fs/name.h"
#include "kernel/kprintf.h"
#include "kernel/kstring.h"
#include "kernel/timer.h"
#include "server/http_file.h"
#include "server/http_mime.h"
#include "server/http_range.h"

static struct http_upload *in_place; // uploads into files that are there

static void put_fields(const struct http_exchange *x, struct text *t)
{
	const struct http_upload *u = x->upload;
	const struct http_file *file;

	if (!u || !u->file || (x->status != 201 && x->status != 204))
		return;
	file = http_file_of(u->file, x->mime);
	text_str(t, "ETag: ");
	text_bytes(t, file->etag, file->etag_len);
	text_str(t, "\r\n");
	if (u->has_mtime)
		text_str(t, "X-OC-Mtime: accepted\r\n");
}

// The one field of that name. False: there is none, or several.
static bool only_field(const struct http_exchange *x, const char *name, struct http_view *v)
{
	struct http_view again;
	uint16_t cursor = 0;

	return http_header_next(x->head, &x->request, name, &cursor, v) &&
	       !http_header_next(x->head, &x->request, name, &cursor, &again);
}

static bool has_field(const struct http_exchange *x, const char *name)
{
	struct http_view v;
	uint16_t cursor = 0;

	return http_header_next(x->head, &x->request, name, &cursor, &v);
}

// ownCloud's way of saying when the file was changed: Unix seconds, whole ones.
static void take_mtime(struct http_exchange *x, struct http_upload *u)
{
	struct http_view v;
	uint64_t n;

	if (!only_field(x, "x-oc-mtime", &v))
		return;
	for (uint16_t i = 0; i < v.len; i++)
		if (x->head[v.at + i] == '.')
			v.len = i;
	u->has_mtime = kparse_u64(x->head + v.at, v.len, &n) && n <= UINT32_MAX;
	u->mtime = u->has_mtime ? (int64_t)n : 0;
}

static bool room_for(struct http_exchange *x, uint64_t bytes)
{
	struct volume_space space;

	volume_space(http_root, &space);
	if (bytes / http_root->block_bytes < space.blocks_free)
		return true;
	http_change_error(x, -ENOSPC);
	return false;
}

// ---- a new file --------------------------------------------------------------------------------------

static void run_create(struct http_change *c)
{
	const char *name;
	size_t len;

	c->error = http_change_parent(c->path, c->path_len, &c->dir, &name, &len);
	if (c->error == 0)
		c->error = file_create(c->dir, 0644, &c->file);
}

static void created(struct http_change *c)
{
	struct http_exchange *x = c->job.x;

	if (c->error) {
		http_change_error(x, c->error);
		return;
	}
	x->upload->dir = c->dir;
	x->upload->file = c->file;
	c->dir = c->file = NULL;
	http_upload_receive(x);
}

// The collection may have been renamed, or have gone, while the body came: then the path is not the one that rights and
// locks were asked about.
static int still_there(struct http_change *c, const char **name, size_t *len)
{
	struct inode *dir;
	int error = http_change_parent(c->path, c->path_len, &dir, name, len);

	if (error)
		return error;
	inode_put(dir);
	return dir == c->dir ? 0 : -ENOENT;
}

// RFC 4918 section 9.7.1: a PUT leaves the properties of what it replaces alone, so they go over to the new file.
// Links are followed, as by who sets properties and asks for them.
static int keep_properties(const struct http_change *c)
{
	struct inode *old;
	int error = name_find_wait(http_root, c->path, c->path_len, &old);

	if (error)
		return error == -ENOENT ? 0 : error;
	if (old->type == INODE_FILE)
		error = http_properties_copy(old, c->file);
	inode_put(old);
	return error;
}

static void run_link(struct http_change *c)
{
	const char *name;
	size_t len;

	c->error = still_there(c, &name, &len);
	if (c->error == 0)
		c->error = http_change_unlocked_still(c, c->path, c->path_len,
						      c->expected ? DAV_ITSELF : DAV_MEMBER);
	if (c->error == 0)
		c->error = keep_properties(c);
	if (c->error == 0 && c->has_mtime)
		c->error = inode_set_attributes(c->file, INODE_SET_MTIME, 0, c->mtime, 0);
	if (c->error)
		return;
	if (c->conditional)
		c->error = file_link_if(c->dir, name, len, c->file, c->expected, c->generation);
	else
		c->error = file_link(c->dir, name, len, c->file, NAME_REPLACE);
}

// Nobody has looked at the name since the body began: an If-Match must hold now, too, and somebody may have locked it.
static void link_new(struct http_exchange *x)
{
	struct http_upload *u = x->upload;
	struct http_change *c;

	if (!http_change_conditions(x) ||
	    !http_change_unlocked(x, x->path_text, x->path.len,
				  u->expected ? DAV_ITSELF : DAV_MEMBER) ||
	    !(c = http_change_new(x, NULL, 0)))
		return;
	inode_get(u->dir);
	inode_get(u->file);
	c->dir = u->dir;
	c->file = u->file;
	c->conditional = u->conditional;
	c->expected = u->expected;
	c->generation = u->generation;
	c->has_mtime = u->has_mtime;
	c->mtime = u->mtime;
	c->status = u->expected ? 204 : 201;
	http_change_start(c, x, run_link, NULL);
}

// ---- a file that is there ----------------------------------------------------------------------------

static void leave_in_place(struct http_upload *u)
{
	struct http_upload **at = &in_place;

	while (*at && *at != u)
		at = &(*at)->next;
	if (*at)
		*at = u->next;
}

static bool enter_in_place(struct http_exchange *x)
{
	for (struct http_upload *u = in_place; u; u = u->next)
		if (u->file == x->inode) {
			http_answer(x, 409, "Another client is writing into the file.");
			return false;
		}
	inode_get(x->inode);
	x->upload->file = x->inode;
	x->upload->next = in_place;
	in_place = x->upload;
	return true;
}

// A new time even if not a byte came: what the client knew of the file is void. A time that the client gives has whole
// seconds; behind them it is now, so that the entity tag is never one that the file had before.
static void run_touch(struct http_change *c)
{
	uint64_t now = clock_realtime_ns();
	int64_t sec = c->has_mtime ? c->mtime : (int64_t)(now / NS_PER_SEC);

	c->error =
	    inode_set_attributes(c->file, INODE_SET_MTIME, 0, sec, (uint32_t)(now % NS_PER_SEC));
}

static void touch(struct http_exchange *x)
{
	struct http_change *c = http_change_new(x, NULL, 0);

	if (!c)
		return;
	inode_get(x->upload->file);
	c->file = x->upload->file;
	c->has_mtime = x->upload->has_mtime;
	c->mtime = x->upload->mtime;
	c->status = 204;
	http_change_start(c, x, run_touch, NULL);
}

static void receive_in_place(struct http_exchange *x, const struct http_place *place)
{
	const struct http_request *r = &x->request;
	struct http_upload *u;

	if (place->length != UINT64_MAX && !r->chunked && place->length != r->content_length) {
		http_answer(x, 400, "The range is not as long as the body.");
		return;
	}
	if (place->first > x->inode->size) {
		http_answer(x, 416, "The file does not reach to where the range begins.");
		return;
	}
	if (!room_for(x, r->content_length) || !(u = http_upload_new(x)) || !enter_in_place(x))
		return;
	u->length = place->length;
	u->write.offset = place->first;
	take_mtime(x, u);
	http_upload_receive(x);
}

// ---- the verbs ---------------------------------------------------------------------------------------

void http_put_written(struct http_exchange *x)
{
	if (x->upload->dir)
		link_new(x);
	else
		touch(x);
}

void http_put_gone(struct http_upload *u)
{
	if (!u->dir)
		leave_in_place(u);
}

static void put_range(struct http_exchange *x, int status)
{
	struct http_view v;
	struct http_place place;

	if (!only_field(x, "content-range", &v) ||
	    !http_content_range_parse(x->head + v.at, v.len, &place))
		http_answer(x, 400, "The Content-Range is malformed.");
	else if (status)
		http_answer(x, 409, "There is no file that could be continued.");
	else if (place.first != x->inode->size)
		http_answer(x, 416, "The file does not end where the range begins.");
	else
		receive_in_place(x, &place);
}

static void put_new(struct http_exchange *x, int status)
{
	struct http_change *c;
	struct http_upload *u;

	if (!room_for(x, x->request.content_length) || !(u = http_upload_new(x)))
		return;
	u->expected = status ? 0 : x->inode->number;
	u->generation = status ? 0 : x->inode->generation;
	u->conditional =
	    http_change_conditional(x) || !http_change_either_way(x, x->path_text, x->path.len);
	take_mtime(x, u);
	c = http_change_new(x, NULL, 0);
	if (c)
		http_change_start(c, x, run_create, created);
}

static bool regular(struct http_exchange *x, int status)
{
	x->fields = put_fields;
	if (status == 0 && x->inode->type == INODE_DIRECTORY) {
		x->resource = HTTP_ON_COLLECTION;
		http_answer(x, 405, "That is a collection.");
		return false;
	}
	if (x->path.directory || (status == 0 && x->inode->type != INODE_FILE)) {
		http_answer(x, 409, "No file has such an address.");
		return false;
	}
	return true;
}

static void put_found(struct http_exchange *x, int status)
{
	size_t len;
	const char *name = http_last_segment(x, &len);

	x->mime = http_mime_find(name, len);
	if (!regular(x, status) ||
	    !http_change_allowed(x, status, status ? RIGHT_CREATE : RIGHT_WRITE) ||
	    !http_change_unlocked(x, x->path_text, x->path.len, status ? DAV_MEMBER : DAV_ITSELF))
		return;
	if (has_field(x, "content-range"))
		put_range(x, status);
	else
		put_new(x, status);
}
HTTP_METHOD(PUT, .on = HTTP_ON_FILE | HTTP_ON_ABSENT, .changes = true, .found = put_found);

static void patch_found(struct http_exchange *x, int status)
{
	static const char type[] = "application/x-sabredav-partialupdate";
	struct http_view v;
	struct http_place place;
	size_t len;
	const char *name = http_last_segment(x, &len);

	x->mime = http_mime_find(name, len);
	if (!regular(x, status))
		return;
	if (status == -ENOENT) {
		http_answer(x, 404, "There is no such file.");
		return;
	}
	if (!http_change_allowed(x, status, RIGHT_WRITE) ||
	    !http_change_unlocked(x, x->path_text, x->path.len, DAV_ITSELF))
		return;
	if (!only_field(x, "content-type", &v) || v.len != sizeof(type) - 1 ||
	    kstrncasecmp(x->head + v.at, type, v.len) != 0)
		http_answer(x, 415, "A PATCH must be an application/x-sabredav-partialupdate.");
	else if (!only_field(x, "x-update-range", &v) ||
		 !http_update_range_parse(x->head + v.at, v.len, x->inode->size, &place))
		http_answer(x, 400, "The X-Update-Range is missing or malformed.");
	else
		receive_in_place(x, &place);
}
HTTP_METHOD(PATCH, .on = HTTP_ON_FILE, .changes = true, .found = patch_found);
