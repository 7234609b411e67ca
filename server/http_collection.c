// SPDX-License-Identifier: BSD-2-Clause
// MKCOL, DELETE, COPY and MOVE (RFC 4918 section 9). What is asked is decided in fast WTD context; what is done
// is done by a worker (the functions named run), and answered when it is durable.
//
//	COPY, MOVE   found --> look up the destination (worker) --> rights, locks, Overwrite --> act (worker)
#include "fs/name.h"
#include "kernel/kstring.h"
#include "kernel/lock.h"
#include "server/http_change.h"

// ---- MKCOL -------------------------------------------------------------------------------------------

static void run_mkcol(struct http_change *c)
{
	struct inode *made;
	const char *name;
	size_t len;

	c->error = http_change_parent(c->path, c->path_len, &c->dir, &name, &len);
	if (c->error == 0)
		c->error = http_change_unlocked_still(c, c->path, c->path_len, DAV_MEMBER);
	if (c->error == 0)
		c->error = dir_create(c->dir, name, len, 0755, &made);
	if (c->error == 0)
		inode_put(made);
	c->status = 201;
}

static void mkcol_done(struct http_change *c)
{
	if (c->error == -EEXIST)
		http_answer(c->job.x, 405, "Something has that name already.");
	else
		http_change_answer(c->job.x, c);
}

static void mkcol_found(struct http_exchange *x, int status)
{
	struct http_change *c;

	if (status == 0) {
		x->resource = x->inode->type == INODE_DIRECTORY ? HTTP_ON_COLLECTION : HTTP_ON_FILE;
		http_answer(x, 405, "Something has that name already.");
		return;
	}
	if (!http_change_allowed(x, status, RIGHT_CREATE) ||
	    !http_change_unlocked(x, x->path_text, x->path.len, DAV_MEMBER))
		return;
	if (x->request.content_length || x->request.chunked) {
		http_answer(x, 415, "A MKCOL with a body has no meaning here.");
		return;
	}
	c = http_change_new(x, NULL, 0);
	if (c)
		http_change_start(c, x, run_mkcol, mkcol_done);
}
HTTP_METHOD(MKCOL, .on = HTTP_ON_ABSENT, .changes = true, .found = mkcol_found);

// ---- DELETE ------------------------------------------------------------------------------------------

// The Depth field: 0, 1, or UINT32_MAX for infinity and for none. False: malformed.
static bool depth_of(const struct http_exchange *x, uint32_t *depth)
{
	struct http_view v;
	uint16_t cursor = 0;

	*depth = UINT32_MAX;
	if (!http_header_next(x->head, &x->request, "depth", &cursor, &v))
		return true;
	if (v.len == 1 && (x->head[v.at] == '0' || x->head[v.at] == '1')) {
		*depth = (uint32_t)(x->head[v.at] - '0');
		return true;
	}
	return v.len == 8 && kstrncasecmp(x->head + v.at, "infinity", 8) == 0;
}

// Worker: the locks on what is gone end, whether the client is there to be told or not.
static void gone(const struct http_change *c)
{
	if (!c->error && !c->failures.count)
		http_change_gone(c->path, c->path_len);
}

static void run_delete(struct http_change *c)
{
	c->error = http_change_unlocked_still(c, c->path, c->path_len, DAV_MEMBER);
	if (c->error == 0)
		c->error =
		    http_tree_remove(c, c->path, c->path_len, c->conditional ? c->file : NULL);
	c->status = 204;
	gone(c);
}

static void delete_done(struct http_change *c)
{
	if (c->error == -ENOENT)
		http_answer(c->job.x, 404, "There is no such file.");
	else
		http_change_answer(c->job.x, c);
}

static bool is_there(struct http_exchange *x, int status)
{
	if (status == 0 && x->path.directory && x->inode->type != INODE_DIRECTORY)
		status = -ENOTDIR;
	if (status == -ENOENT || status == -ENOTDIR)
		http_answer(x, 404, "There is no such file.");
	return status != -ENOENT && status != -ENOTDIR;
}

static void delete_found(struct http_exchange *x, int status)
{
	struct http_change *c;
	uint32_t depth;

	if (!is_there(x, status) || !http_change_allowed(x, status, RIGHT_ERASE))
		return;
	bool collection = x->inode->type == INODE_DIRECTORY;
	if (!depth_of(x, &depth) || (collection && depth != UINT32_MAX)) {
		http_answer(x, 400, "A collection is deleted with all that is in it.");
		return;
	}
	if (!http_change_unlocked(x, x->path_text, x->path.len, collection ? DAV_TREE : DAV_MEMBER))
		return;
	if (!(c = http_change_new(x, NULL, 0)))
		return;
	c->tree = collection;
	c->conditional = http_change_conditional(x);
	c->file = x->inode;
	inode_get(c->file);
	http_change_start(c, x, run_delete, delete_done);
}
HTTP_METHOD(DELETE, .on = HTTP_ON_FILE | HTTP_ON_COLLECTION, .changes = true,
	    .found = delete_found);

// ---- COPY, MOVE --------------------------------------------------------------------------------------

// In the job for what they do: c->file is the source, c->expected and c->dir what is at the destination.

static bool in_the_way(int error)
{
	return error == -EEXIST || error == -EISDIR || error == -ENOTDIR || error == -ENOTEMPTY;
}

static int rename(struct http_change *c)
{
	struct inode *from, *to, *left;
	const char *name, *new_name;
	size_t len, new_len;
	int error = http_change_parent(c->path, c->path_len, &from, &name, &len);

	if (error)
		return error;
	error = http_change_parent(c->to, c->to_len, &to, &new_name, &new_len);
	if (error == 0) {
		error = name_rename_if(from, name, len, to, new_name, new_len,
				       c->overwrite ? NAME_REPLACE : NAME_NEW,
				       c->conditional ? c->file : NULL);
		inode_put(to);
	}
	// Two names of one file: nothing was renamed, and the old name is to go all the same.
	if (error == 0 && c->expected == c->file->number && c->file->links > 1 &&
	    name_find_wait(http_root, c->path, c->path_len, &left) == 0) {
		if (left == c->file)
			error = name_remove(from, name, len);
		inode_put(left);
	}
	inode_put(from);
	return error;
}

static int act(struct http_change *c)
{
	int error =
	    http_change_unlocked_still(c, c->to, c->to_len, c->expected ? DAV_ITSELF : DAV_MEMBER);

	if (error == 0 && c->move)
		error = http_change_unlocked_still(c, c->path, c->path_len, DAV_TREE);
	if (error)
		return error;
	if (c->move)
		return rename(c);
	return http_tree_copy(c, c->file, c->overwrite ? NAME_REPLACE : NAME_NEW);
}

// What stands at the destination and cannot be replaced by a name goes first, as DELETE would do it.
static void run_act(struct http_change *c)
{
	c->error = act(c);
	c->status = c->expected ? 204 : 201;
	if (c->overwrite && in_the_way(c->error) && c->expected) {
		c->error = http_tree_remove(c, c->to, c->to_len, NULL);
		if (c->error == 0 && !c->failures.count)
			c->error = act(c);
	}
	if (c->move)
		gone(c);
}

static void run_look(struct http_change *c)
{
	struct inode *parent;
	const char *name;
	size_t len;

	c->error = http_change_parent(c->to, c->to_len, &parent, &name, &len);
	if (c->error)
		return;
	inode_put(parent);
	c->error = name_find_wait(http_root, c->to, c->to_len, &parent);
	if (c->error == 0)
		c->dir = parent;
	if (c->error == 0 && http_change_hides(parent)) // however the path got there
		c->error = -EPERM;
	if (c->error == -ENOENT)
		c->error = 0;
}

static void looked(struct http_change *seen)
{
	struct http_exchange *x = seen->job.x;
	const struct inode *there = seen->dir;
	struct http_change *c;
	bool tree = x->inode->type == INODE_DIRECTORY;
	unsigned rights = !there				   ? RIGHT_CREATE
			  : tree || there->type == INODE_DIRECTORY ? RIGHT_CREATE | RIGHT_ERASE
								   : RIGHT_WRITE;

	if (seen->error) {
		http_change_error(x, seen->error);
		return;
	}
	if (!http_change_rights(x, seen->to, seen->to_len, rights) ||
	    (seen->move && tree &&
	     !http_change_rights_below(x, seen->to, seen->to_len, RIGHT_CREATE)))
		return;
	if (there && !seen->overwrite) {
		http_answer(x, 412, "Something is at the destination already.");
		return;
	}
	if (!http_change_unlocked(x, seen->to, seen->to_len,
				  !there			   ? DAV_MEMBER
				  : there->type == INODE_DIRECTORY ? DAV_TREE
								   : DAV_ITSELF))
		return;
	if (!(c = http_change_new(x, seen->to, seen->to_len)))
		return;
	// What comes to be there meanwhile is replaced only by who may do that.
	c->overwrite =
	    seen->overwrite && (there || http_change_either_way(x, seen->to, seen->to_len));
	c->deep = seen->deep;
	c->move = seen->move;
	c->tree = !c->move || (there && there->type == INODE_DIRECTORY);
	c->expected = there ? there->number : 0;
	c->conditional = http_change_conditional(x);
	c->locks_made = seen->locks_made; // the source's were weighed then
	c->file = x->inode;
	inode_get(c->file);
	http_change_start(c, x, run_act, NULL);
}

static bool is_below(const char *path, size_t len, const char *above, size_t above_len)
{
	return len > above_len && memcmp(path, above, above_len) == 0 && path[above_len] == '/';
}

// Where it goes, decoded into `to`. False: answered.
static bool destination_of(struct http_exchange *x, char *to, struct http_path *path)
{
	const struct http_request *r = &x->request;
	struct http_view v;
	uint16_t cursor = 0;
	int status = 400;

	if (http_header_next(x->head, r, "destination", &cursor, &v))
		status = http_destination_decode(x->head + v.at, v.len, x->head + r->host.at,
						 r->host.len, to, path);
	if (status)
		http_answer(x, (uint16_t)status,
			    status == 502   ? "The destination is on another server."
			    : status == 414 ? "The destination is too long."
			    : status == 404 ? "No file can have the destination's name."
					    : "The Destination is missing or malformed.");
	else if (path->reserved || !path->len)
		http_answer(x, 403, "The destination is the server's own.");
	else if (path->len == x->path.len && memcmp(to, x->path_text, path->len) == 0)
		http_answer(x, 403, "The destination is where it is.");
	else if (is_below(to, path->len, x->path_text, x->path.len) ||
		 is_below(x->path_text, x->path.len, to, path->len))
		http_answer(x, 403, "One of the two is within the other.");
	return x->stage != HTTP_STAGE_SEND;
}

// Overwrite: T, which is the default, or F. False: malformed.
static bool overwrite_of(const struct http_exchange *x, bool *overwrite)
{
	struct http_view v;
	uint16_t cursor = 0;

	*overwrite = true;
	if (!http_header_next(x->head, &x->request, "overwrite", &cursor, &v))
		return true;
	*overwrite = v.len && (x->head[v.at] | 0x20) == 't';
	return v.len == 1 && (*overwrite || (x->head[v.at] | 0x20) == 'f');
}

static void begin(struct http_exchange *x, int status, bool move)
{
	static char to[HTTP_PATH_MAX]; // until it is copied: one at a time runs here
	struct http_change *c;
	struct http_path path;
	bool overwrite;
	uint32_t depth;

	if (!is_there(x, status) ||
	    !http_change_allowed(x, status, move ? RIGHT_READ | RIGHT_ERASE : RIGHT_READ))
		return;
	bool collection = x->inode->type == INODE_DIRECTORY;
	// What lies below comes along and is not met one by one, and the rights there are those of the new place.
	if (move && collection &&
	    !http_change_rights_below(x, x->path_text, x->path.len,
				      RIGHT_READ | RIGHT_LIST | RIGHT_ERASE))
		return;
	if (!depth_of(x, &depth) || !overwrite_of(x, &overwrite) ||
	    (collection && (depth == 1 || (move && depth == 0)))) {
		http_answer(x, 400, "The Depth or the Overwrite field makes no sense here.");
		return;
	}
	if (!destination_of(x, to, &path) || !http_change_any(x, to, path.len))
		return;
	if (move && !http_change_unlocked(x, x->path_text, x->path.len, DAV_TREE))
		return;
	if (!(c = http_change_new(x, to, path.len)))
		return;
	c->move = move;
	c->overwrite = overwrite;
	c->deep = depth != 0;
	http_change_start(c, x, run_look, looked);
}

static void copy_found(struct http_exchange *x, int status)
{
	begin(x, status, false);
}
HTTP_METHOD(COPY, .on = HTTP_ON_FILE | HTTP_ON_COLLECTION, .changes = true, .found = copy_found);

static void move_found(struct http_exchange *x, int status)
{
	begin(x, status, true);
}
HTTP_METHOD(MOVE, .on = HTTP_ON_FILE | HTTP_ON_COLLECTION, .changes = true, .found = move_found);
