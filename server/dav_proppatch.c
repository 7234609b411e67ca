// SPDX-License-Identifier: BSD-2-Clause
// PROPPATCH (RFC 4918 section 9.2): all of it or nothing, in one change of one extended attribute; answered
// when that is durable.
#include "kernel/kstring.h"
#include "kernel/pmm.h"
#include "kernel/thread.h"
#include "server/dav.h"
#include "server/dav_patch.h"
#include "server/http_change.h"
#include "server/http_receive.h"

struct proppatch {
	struct http_job job;
	struct inode *inode;
	int error;
	char dead[DAV_DEAD_MAX];
	struct dav_patch patch;
};

// Read, change, write: one after the other.
static struct mutex changing = MUTEX_INIT("proppatch");

static void run(struct http_job *job)
{
	struct proppatch *p = CONTAINER_OF(job, struct proppatch, job);
	size_t len;

	mutex_lock(&changing);
	p->error = dav_dead_read(p->inode, p->dead);
	if (p->error >= 0) {
		len = (size_t)p->error;
		p->error = dav_patch_apply(&p->patch, p->dead, &len);
		if (p->error == 0)
			p->error = dav_dead_write(p->inode, p->dead, len);
	}
	mutex_unlock(&changing);
}

static char body[DAV_PATCH_TEXT * 2]; // fast WTDs: one at a time

// The text of the answer. False: it would be too long.
static bool write_answer(const struct http_exchange *x, const struct proppatch *p, unsigned status,
			 struct text *t)
{
	*t = TEXT_OF(body);
	dav_patch_answer(&p->patch, x->path_text, x->path.len, x->inode->type == INODE_DIRECTORY,
			 status, t);
	return !t->full;
}

static void answer(struct http_exchange *x, const struct proppatch *p)
{
	struct text t;
	unsigned status = p->error == 0				       ? 200
			  : p->error == -ENOSPC || p->error == -ERANGE ? 507
								       : 500;

	if (!write_answer(x, p, status, &t))
		http_answer(x, 500, "The answer would be too long.");
	else if (dav_answer_xml(x, 207, t.out, t.len) && p->error == 0 && !p->patch.any_protected)
		http_answer_when_durable(x);
}

static void done(struct http_job *job)
{
	answer(job->x, CONTAINER_OF(job, struct proppatch, job));
}

static void drop(struct http_job *job)
{
	struct proppatch *p = CONTAINER_OF(job, struct proppatch, job);

	inode_put(p->inode);
	kpages_free(p, sizeof(*p));
}

static void body_read(struct http_exchange *x)
{
	struct proppatch *p = kpages_alloc(sizeof(*p));
	const char *reason;
	struct text t;

	if (!p) {
		http_answer(x, 503, "There is no memory for the request.");
		return;
	}
	p->inode = x->inode;
	inode_get(p->inode);
	p->job.run = run;
	p->job.done = done;
	p->job.drop = drop;
	p->job.kind = HTTP_JOB_CHANGE;
	if (!dav_patch_parse(&p->patch, x->text.bytes, x->text.len, &reason)) {
		drop(&p->job);
		http_answer(x, 400, reason);
	} else if (!write_answer(x, p, 500,
				 &t)) { // 500 has the longest text; nothing is changed yet
		drop(&p->job);
		http_answer(x, 400, "The properties' names are too long for an answer.");
	} else if (p->patch.any_protected) {
		answer(x, p);
		drop(&p->job);
	} else {
		http_job_start(&p->job, x);
	}
}

static void proppatch_found(struct http_exchange *x, int status)
{
	if (status == -ENOENT)
		http_answer(x, 404, "There is no such file.");
	else if (http_change_allowed(x, status, RIGHT_WRITE) &&
		 http_change_unlocked(x, x->path_text, x->path.len, DAV_ITSELF))
		http_receive_text(x, DAV_BODY_MAX, body_read);
}
HTTP_METHOD(PROPPATCH, .on = HTTP_ON_FILE | HTTP_ON_COLLECTION, .changes = true,
	    .rights = RIGHT_WRITE, .found = proppatch_found);
