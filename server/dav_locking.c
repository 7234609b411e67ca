// SPDX-License-Identifier: BSD-2-Clause
// LOCK and UNLOCK (RFC 4918 sections 9.10 and 9.11). A lock on a name that leads nowhere makes an empty file
// there (section 7.3).
#include "kernel/kstring.h"
#include "server/dav.h"
#include "server/dav_dead.h"
#include "server/dav_if.h"
#include "server/dav_lock.h"
#include "server/http_change.h"
#include "server/http_receive.h"

struct wish { // what a lockinfo element asks for
	bool scope, type, shared;
	char owner[DAV_OWNER_MAX];
	struct text text;
};

// ---- the body ----------------------------------------------------------------------------------------

// The one child of lockscope or locktype.
static const char *read_choice(struct xml *x, struct wish *w, bool scope)
{
	const char *why = "The lockinfo element asks for a lock that is not known here.";
	enum xml_event event;

	while ((event = xml_next(x)) != XML_END) {
		if (event == XML_ERROR)
			return x->error;
		if (event != XML_START)
			continue;
		if (scope &&
		    (xml_is(&x->name, "DAV:", "exclusive") || xml_is(&x->name, "DAV:", "shared"))) {
			w->scope = true;
			w->shared = xml_is(&x->name, "DAV:", "shared");
		} else if (!scope && xml_is(&x->name, "DAV:", "write")) {
			w->type = true;
		} else {
			return why;
		}
		if (!xml_skip(x))
			return x->error;
	}
	return NULL;
}

static const char *read_lockinfo(struct xml *x, struct wish *w)
{
	const char *why = NULL;
	enum xml_event event;

	if (xml_next(x) != XML_START || !xml_is(&x->name, "DAV:", "lockinfo"))
		return x->error ? x->error : "The body is no lockinfo element.";
	for (;;) {
		for (unsigned i = 0; i < x->binding_count; i++)
			x->bindings[i].used = false;
		event = xml_next(x);
		if (event == XML_END)
			break;
		if (event == XML_START && xml_is(&x->name, "DAV:", "lockscope"))
			why = read_choice(x, w, true);
		else if (event == XML_START && xml_is(&x->name, "DAV:", "locktype"))
			why = read_choice(x, w, false);
		else if (event == XML_START && xml_is(&x->name, "DAV:", "owner"))
			why = dav_dead_keep(x, (struct xml_view){0}, &w->text) ? NULL : x->error;
		else if (event == XML_START)
			why = xml_skip(x) ? NULL : x->error;
		if (why || event == XML_ERROR)
			return why ? why : x->error;
	}
	if (xml_next(x) != XML_DONE)
		return x->error;
	return w->text.full	       ? "The lock's owner is too long."
	       : !w->scope || !w->type ? "The lockinfo element lacks scope or type."
				       : NULL;
}

// Section 10.7: the first time that can be read, within bounds.
static uint32_t timeout_of(const struct http_exchange *x)
{
	struct http_view value;
	uint16_t cursor = 0;
	const char *item;
	size_t at = 0, n;
	uint64_t seconds;

	if (!http_header_next(x->head, &x->request, "timeout", &cursor, &value))
		return DAV_TIMEOUT_NONE;
	while (http_list_next(x->head + value.at, value.len, &at, &item, &n)) {
		if (n == 8 && kstrncasecmp(item, "infinite", 8) == 0)
			return DAV_TIMEOUT_MAX;
		if (n > 7 && n < 20 && kstrncasecmp(item, "second-", 7) == 0 &&
		    kparse_u64(item + 7, n - 7, &seconds))
			return (uint32_t)MAX(MIN(seconds, (uint64_t)DAV_TIMEOUT_MAX),
					     (uint64_t)DAV_TIMEOUT_MIN);
	}
	return DAV_TIMEOUT_NONE;
}

// ---- answers -----------------------------------------------------------------------------------------

static void token_field(const struct http_exchange *x, struct text *t)
{
	text_str(t, "Lock-Token: <");
	text_bytes(t, x->lock_token, DAV_TOKEN_LEN);
	text_str(t, ">\r\n");
}

static bool answer_lock(struct http_exchange *x, const struct dav_lock *lock, uint16_t status)
{
	static char body[3 * HTTP_PATH_MAX + DAV_OWNER_MAX + 1024]; // fast WTDs: one at a time
	struct text t = TEXT_OF(body);

	text_str(&t, "<?xml version=\"1.0\" encoding=\"utf-8\"?>\n"
		     "<D:prop xmlns:D=\"DAV:\"><D:lockdiscovery>");
	dav_lock_write(lock, &t);
	text_str(&t, "</D:lockdiscovery></D:prop>\n");
	return dav_answer_xml(x, status, t.out, t.len);
}

static void refresh(struct http_exchange *x)
{
	struct dav_if f = {0};
	enum dav_if_piece piece;
	struct dav_lock *lock = NULL;

	f.text = dav_if_field(x, &f.len);
	if (!f.text) {
		http_answer(x, 400, "A lock is refreshed with an If field that names it.");
		return;
	}
	while (!lock && (piece = dav_if_next(&f)) != DAV_IF_END && piece != DAV_IF_BAD)
		if (piece == DAV_IF_TOKEN && !f.negated)
			lock = dav_lock_find(f.view, f.view_len, x->path_text, x->path.len);
	if (!lock || !dav_lock_mine(x, lock)) {
		dav_precondition(x, 412, "lock-token-matches-request-uri");
		return;
	}
	dav_lock_refresh(lock, timeout_of(x));
	answer_lock(x, lock, 200);
}

// ---- the empty file ----------------------------------------------------------------------------------

static void make_run(struct http_change *c)
{
	struct inode *dir, *file;
	const char *name;
	size_t len;

	c->error = http_change_parent(c->path, c->path_len, &dir, &name, &len);
	if (c->error)
		return;
	c->error = file_create(dir, 0644, &file);
	if (c->error == 0) {
		c->error = file_link(dir, name, len, file, NAME_NEW);
		inode_put(file);
	}
	inode_put(dir);
	c->status = c->error == -EEXIST ? 200 : 201; // somebody was faster: it is there, and locked
	if (c->error == -EEXIST)
		c->error = 0;
}

static void make_done(struct http_change *c)
{
	struct http_exchange *x = c->job.x;
	// The token is in the exchange; without one the lock ends by itself.
	struct dav_lock *lock =
	    x ? dav_lock_find(x->lock_token, DAV_TOKEN_LEN, x->path_text, x->path.len) : NULL;

	if (!x)
		return;
	if (c->error) {
		if (lock)
			dav_lock_end(lock);
		x->fields = NULL;
		http_change_error(x, c->error == -ENOENT ? -ENOTDIR : c->error);
	} else if (!lock) {
		http_answer(x, 503, "The lock is gone again.");
	} else if (answer_lock(x, lock, c->status)) {
		http_answer_when_durable(x);
	}
}

static void make_file(struct http_exchange *x)
{
	struct http_change *c = http_change_new(x, NULL, 0);
	struct dav_lock *lock;

	if (c) {
		http_change_start(c, x, make_run, make_done);
		return;
	}
	lock = dav_lock_find(x->lock_token, DAV_TOKEN_LEN, x->path_text, x->path.len);
	if (lock)
		dav_lock_end(lock);
}

// ---- the methods -------------------------------------------------------------------------------------

static void lock_read(struct http_exchange *x)
{
	static struct xml xml; // fast WTDs: one at a time
	static struct wish w;
	const struct dav_lock *conflict;
	struct dav_lock *lock;
	const char *why;

	if (!x->text.len) {
		if (x->inode)
			refresh(x);
		else
			http_answer(x, 404, "There is no such file.");
		return;
	}
	w = (struct wish){.text = TEXT_OF(w.owner)};
	xml_init(&xml, x->text.bytes, x->text.len);
	why = read_lockinfo(&xml, &w);
	if (why) {
		http_answer(x, 400, why);
		return;
	}
	lock = dav_lock_new(x, x->path_text, x->path.len, w.shared,
			    dav_depth(x) == DAV_DEPTH_INFINITY, timeout_of(x), &conflict);
	if (!lock && conflict) {
		dav_answer_locked(x, "no-conflicting-lock", conflict);
		return;
	}
	if (!lock) {
		http_answer(x, 503, "There are too many locks.");
		return;
	}
	lock->owner_len = (uint16_t)w.text.len;
	memcpy(lock->owner, w.owner, w.text.len);
	memcpy(x->lock_token, lock->token, DAV_TOKEN_LEN);
	x->fields = token_field;
	if (x->inode)
		answer_lock(x, lock, 200);
	else
		make_file(x);
}

static void lock_found(struct http_exchange *x, int status)
{
	int depth = dav_depth(x);

	if (depth != 0 && depth != DAV_DEPTH_INFINITY) {
		http_answer(x, 400, "A lock's depth is 0 or infinity.");
		return;
	}
	if (status && x->path.directory) {
		http_answer(x, 409, "A lock makes no collection.");
		return;
	}
	if (status) {
		if (!http_change_allowed(x, status, RIGHT_CREATE) ||
		    !http_change_unlocked(x, x->path_text, x->path.len, DAV_MEMBER))
			return;
	} else {
		bool tree = depth != 0 && x->inode->type == INODE_DIRECTORY;
		if (!http_change_rights(x, x->path_text, x->path.len, RIGHT_WRITE) ||
		    (tree && !http_change_rights_below(x, x->path_text, x->path.len, RIGHT_WRITE)))
			return;
	}
	http_receive_text(x, DAV_BODY_MAX, lock_read);
}
HTTP_METHOD(LOCK, .on = HTTP_ON_ANY & ~HTTP_ON_RESERVED, .changes = true, .found = lock_found);

static void unlock_found(struct http_exchange *x, int status)
{
	struct http_view value;
	uint16_t cursor = 0;
	const char *text;
	struct dav_lock *lock;

	status = http_may(x, x->path_text, x->path.len, RIGHT_WRITE);
	if (status == -EAGAIN && x->inode) {
		inode_put(x->inode);
		x->inode = NULL;
	}
	if (status)
		return;
	if (!http_header_next(x->head, &x->request, "lock-token", &cursor, &value) ||
	    value.len < 3 || x->head[value.at] != '<' || x->head[value.at + value.len - 1] != '>') {
		http_answer(x, 400, "UNLOCK names its lock in a Lock-Token field.");
		return;
	}
	text = x->head + value.at + 1;
	lock = dav_lock_find(text, value.len - 2U, x->path_text, x->path.len);
	if (!lock) {
		dav_precondition(x, 409, "lock-token-matches-request-uri");
	} else if (!dav_lock_mine(x, lock)) {
		http_answer(x, 403, "The lock is another user's.");
	} else {
		dav_lock_end(lock);
		x->status = 204;
		x->body = HTTP_BODY_NONE;
		x->stage = HTTP_STAGE_SEND;
	}
}
HTTP_METHOD(UNLOCK, .on = HTTP_ON_FILE | HTTP_ON_COLLECTION, .changes = true, .rights = RIGHT_WRITE,
	    .found = unlock_found);
