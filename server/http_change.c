// SPDX-License-Identifier: BSD-2-Clause
// What the verbs that change a volume have in common: see http_change.h.
#include "server/http_change.h"
#include "fs/name.h"
#include "kernel/kstring.h"
#include "kernel/lock.h"
#include "kernel/pmm.h"
#include "server/dav.h"
#include "server/http_cond.h"
#include "server/http_file.h"
#include "server/http_mime.h"
#include "server/http_response.h"

static const struct {
	int error;
	uint16_t status;
	const char *reason;
} errors[] = {
    {-ENOENT, 409, "The collection it would belong to is not there."},
    {-ENOTDIR, 409, "A file stands where a collection is needed."},
    {-EISDIR, 409, "A collection has that name."},
    {-ENOTEMPTY, 409, "The collection is not empty."},
    {-EEXIST, 412, "Something has that name already."},
    {-ESTALE, 412, "The name leads to something else by now."},
    {-EBUSY, 423, "A lock is in the way."},
    {-EINVAL, 403, "Nothing can have that name there."},
    {-EPERM, 403, "That cannot be done to a collection."},
    {-ENAMETOOLONG, 414, "A name is longer than the volume can hold."},
    {-ELOOP, 409, "The symbolic links on the way lead nowhere."},
    {-EROFS, 403, "The volume is read-only."},
    {-EOPNOTSUPP, 403, "The file has a format that is read and not written."},
    {-EXDEV, 502, "The destination is on another volume."},
    {-EMLINK, 507, "There are too many links to it."},
    {-EFBIG, 507, "No file of the volume can be so large."},
    {-ENOSPC, 507, "The volume is full."},
    {-ENOMEM, 503, "There is no memory for the request."},
    {-EUCLEAN, 500, "The volume is damaged there."},
};

static unsigned place_of(int error)
{
	unsigned i = 0;

	while (i < ARRAY_SIZE(errors) && errors[i].error != error)
		i++;
	return i;
}

uint16_t http_change_status(int error)
{
	unsigned i = place_of(error);

	return i < ARRAY_SIZE(errors) ? errors[i].status : 500;
}

void http_change_error(struct http_exchange *x, int error)
{
	unsigned i = place_of(error);

	if (i < ARRAY_SIZE(errors))
		http_answer(x, errors[i].status, errors[i].reason);
	else
		http_answer(x, 500, "The disk failed.");
}

// ---- may it? -----------------------------------------------------------------------------------------

bool http_change_conditions(struct http_exchange *x)
{
	struct http_validators v = {.etag = ""}, *there = NULL;

	if (x->inode && x->inode->type == INODE_FILE) {
		const struct http_file *file = http_file_of(x->inode, x->mime);
		v = (struct http_validators){file->etag, file->etag_len, file->modified};
		there = &v;
	} else if (x->inode) {
		v.modified = x->inode->mtime_sec;
		there = &v;
	}
	if (http_condition_to_change(x->head, &x->request, there, http_now()))
		return true;
	http_answer(x, 412, "The file is not what the request expects.");
	return false;
}

bool http_change_conditional(const struct http_exchange *x)
{
	const struct http_request *r = &x->request;

	return r->has_if_match || r->has_if_none_match || r->if_unmodified_since.len ||
	       dav_if_has_etag(x);
}

// Who waits for a password to be verified is looked up anew afterwards.
static bool goes_on(struct http_exchange *x, int why)
{
	if (why == -EAGAIN && x->inode) {
		inode_put(x->inode);
		x->inode = NULL;
	}
	return !why;
}

bool http_change_rights(struct http_exchange *x, const char *path, size_t len, unsigned rights)
{
	return goes_on(x, http_may(x, path, len, rights));
}

bool http_change_any(struct http_exchange *x, const char *path, size_t len)
{
	return goes_on(x, http_may_any(x, path, len));
}

bool http_change_rights_below(struct http_exchange *x, const char *path, size_t len,
			      unsigned rights)
{
	const char *line;
	size_t line_len;
	uint32_t cursor = 0;

	while ((line = rights_line_below(path, len, &cursor, &line_len)))
		if (!http_change_rights(x, line, line_len, rights))
			return false;
	return true;
}

bool http_change_either_way(const struct http_exchange *x, const char *path, size_t len)
{
	const unsigned both = RIGHT_WRITE | RIGHT_CREATE;

	return (rights_of(&x->who, path, len) & both) == both;
}

bool http_change_allowed(struct http_exchange *x, int status, unsigned rights)
{
	x->resource = status				  ? HTTP_ON_ABSENT
		      : x->inode->type == INODE_DIRECTORY ? HTTP_ON_COLLECTION
							  : HTTP_ON_FILE;
	if (!http_change_rights(x, x->path_text, x->path.len, rights))
		return false;
	if (status && status != -ENOENT) {
		http_change_error(x, status);
		return false;
	}
	if (!x->path.len) {
		http_answer(x, 403, "The root stays as it is.");
		return false;
	}
	if (!volume_writable(http_root)) {
		http_change_error(x, -EROFS);
		return false;
	}
	return http_change_conditions(x);
}

bool http_change_unlocked(struct http_exchange *x, const char *path, size_t len,
			  enum dav_scope scope)
{
	const struct dav_lock *lock = dav_lock_check(x, path, len, scope);

	if (lock)
		dav_answer_locked(x, "lock-token-submitted", lock);
	return !lock;
}

// ---- the work ----------------------------------------------------------------------------------------

struct http_change *http_change_new(struct http_exchange *x, const char *to, size_t to_len)
{
	size_t size = sizeof(struct http_change) + (to ? 2 : 1) * HTTP_PATH_MAX;
	struct http_change *c = kpages_alloc(size);

	if (!c) {
		http_answer(x, 503, "There is no memory for the request.");
		return NULL;
	}
	*c = (struct http_change){.size = size,
				  .locks_made = dav_locks_made(),
				  .path_len = x->path.len,
				  .to_len = (uint16_t)to_len,
				  .path = c->text,
				  .to = c->text + HTTP_PATH_MAX};
	memcpy(c->path, x->path_text, x->path.len);
	if (to)
		memcpy(c->to, to, to_len);
	return c;
}

static void change_run(struct http_job *job)
{
	struct http_change *c = CONTAINER_OF(job, struct http_change, job);

	c->run(c);
}

static void change_done(struct http_job *job)
{
	struct http_change *c = CONTAINER_OF(job, struct http_change, job);

	if (c->done)
		c->done(c);
	else
		http_change_answer(job->x, c);
}

static void change_drop(struct http_job *job)
{
	struct http_change *c = CONTAINER_OF(job, struct http_change, job);

	if (c->dir)
		inode_put(c->dir);
	if (c->file)
		inode_put(c->file);
	if (c->failures.xml)
		kpages_free(c->failures.xml, HTTP_FAILURES_BYTES);
	kpages_free(c, c->size);
}

void http_change_start(struct http_change *c, struct http_exchange *x,
		       void (*run)(struct http_change *c), void (*done)(struct http_change *c))
{
	c->who = x->who;
	c->run = run;
	c->done = done;
	c->job.run = change_run;
	c->job.done = change_done;
	c->job.drop = change_drop;
	c->job.kind = c->tree ? HTTP_JOB_TREE : HTTP_JOB_CHANGE;
	http_job_start(&c->job, x);
}

int http_change_parent(const char *path, size_t len, struct inode **dir, const char **name,
		       size_t *name_len)
{
	size_t at = len;
	struct inode *found;
	int error;

	*dir = NULL;
	while (at && path[at - 1] != '/')
		at--;
	*name = path + at;
	*name_len = len - at;
	error = name_find_wait(http_root, path, at ? at - 1 : 0, &found);
	if (error)
		return error;
	if (found->type != INODE_DIRECTORY)
		error = -ENOTDIR;
	else if (http_change_hides(found)) // through a symbolic link
		error = -EPERM;
	if (error)
		inode_put(found);
	else
		*dir = found;
	return error;
}

bool http_change_may(struct http_change *c, const char *path, size_t len, unsigned rights)
{
	bool may;

	wtd_disable();
	may = (rights_of(&c->who, path, len) & rights) == rights;
	wtd_enable();
	return may;
}

int http_change_unlocked_still(const struct http_change *c, const char *path, size_t len,
			       enum dav_scope scope)
{
	bool locked;

	wtd_disable();
	locked = dav_lock_since(c->locks_made, path, len, scope);
	wtd_enable();
	return locked ? -EBUSY : 0;
}

void http_change_gone(const char *path, size_t len)
{
	wtd_disable();
	dav_lock_gone(path, len);
	wtd_enable();
}

bool http_change_hides(const struct inode *inode)
{
	bool hides;

	wtd_disable();
	hides = rights_hides(inode);
	wtd_enable();
	return hides;
}

void http_change_failed(struct http_change *c, const char *path, size_t len, bool collection,
			uint16_t status)
{
	static const char head[] = "<?xml version=\"1.0\" encoding=\"utf-8\"?>\n"
				   "<D:multistatus xmlns:D=\"DAV:\">\n";
	struct http_failures *f = &c->failures;
	struct text t;

	f->count++;
	if (!f->xml && !(f->xml = kpages_alloc(HTTP_FAILURES_BYTES)))
		return;
	t = (struct text){.out = f->xml, .len = f->len, .size = HTTP_FAILURES_BYTES - 32};
	if (f->len == 0)
		text_str(&t, head);
	text_str(&t, "<D:response><D:href>/");
	text_uri(&t, path, len);
	text_str(&t, collection && len ? "/</D:href>" : "</D:href>");
	text_str(&t, "<D:status>HTTP/1.1 ");
	text_digits(&t, status, 3);
	text_char(&t, ' ');
	text_str(&t, http_status_text(status));
	text_str(&t, "</D:status></D:response>\n");
	if (!t.full)
		f->len = t.len;
}

// ---- the answer --------------------------------------------------------------------------------------

static void answer_failures(struct http_exchange *x, struct http_change *c)
{
	struct text t = {
	    .out = c->failures.xml, .len = c->failures.len, .size = HTTP_FAILURES_BYTES};

	if (!t.out) {
		http_change_error(x, -ENOMEM);
		return;
	}
	text_str(&t, "</D:multistatus>\n");
	x->status = 207;
	x->body = HTTP_BODY_MADE;
	x->made = (struct http_made){.bytes = t.out, .len = t.len, .size = HTTP_FAILURES_BYTES};
	x->made_type = "application/xml; charset=utf-8";
	c->failures.xml = NULL;
	http_answer_when_durable(x);
}

void http_change_answer(struct http_exchange *x, struct http_change *c)
{
	if (c->error) {
		http_change_error(x, c->error);
		return;
	}
	if (c->failures.count) {
		answer_failures(x, c);
		return;
	}
	if (c->status == 204) {
		x->status = 204;
		x->body = HTTP_BODY_NONE;
	} else {
		http_answer(x, c->status, "It is there.");
	}
	http_answer_when_durable(x);
}

static void durable_done(struct durable *durable)
{
	struct http_exchange *x = CONTAINER_OF(durable, struct http_exchange, durable);

	x->disk_pending = false;
	if (!x->conn) {
		http_exchange_orphan(x);
		return;
	}
	if (durable->status)
		http_answer(x, 500, "The disk failed, and what was changed may not last.");
	else
		x->stage = HTTP_STAGE_SEND;
	http_conn_kick(x->conn);
}

void http_answer_when_durable(struct http_exchange *x)
{
	x->durable = (struct durable){
	    .volume = http_root, .ticket = volume_ticket(http_root), .done = durable_done};
	x->stage = HTTP_STAGE_WAIT_DISK;
	x->disk_pending = true;
	durable_wait(&x->durable);
}
