// SPDX-License-Identifier: BSD-2-Clause
// Whether a request's If field holds (RFC 4918 section 10.4.3): its tokens against the table of locks, its
// entity tags against what the paths lead to now. Fast WTD context; a path that the name cache does not know
// is looked up by a worker first, and then the field is weighed anew.
#include "fs/name.h"
#include "kernel/kstring.h"
#include "kernel/pmm.h"
#include "server/dav_if.h"
#include "server/dav_lock.h"
#include "server/http_conn.h"
#include "server/http_file.h"
#include "server/http_job.h"

#define LOOKUPS_MAX                                                                                \
	64 // of one request: one for each path, and again when the cache has forgotten it meanwhile

struct lookup {
	struct http_job job;
	uint16_t len;
	char path[HTTP_PATH_MAX];
};

const char *dav_if_field(const struct http_exchange *x, size_t *len)
{
	*len = x->request.dav_if.len;
	return *len ? x->head + x->request.dav_if.at : NULL;
}

bool dav_if_has_etag(const struct http_exchange *x)
{
	struct dav_if f = {0};
	enum dav_if_piece piece;

	f.text = dav_if_field(x, &f.len);
	while (f.text && (piece = dav_if_next(&f)) != DAV_IF_END && piece != DAV_IF_BAD)
		if (piece == DAV_IF_ETAG)
			return true;
	return false;
}

static void run(struct http_job *job)
{
	struct lookup *l = CONTAINER_OF(job, struct lookup, job);
	struct inode *inode;

	if (name_find_wait(http_root, l->path, l->len, &inode) == 0)
		inode_put(inode);
}

static void done(struct http_job *job)
{
	job->x->stage = HTTP_STAGE_ADMIT;
}

static void drop(struct http_job *job)
{
	struct lookup *l = CONTAINER_OF(job, struct lookup, job);

	kpages_free(l, sizeof(*l));
}

// -EAGAIN: being looked up. -ENOMEM: that cannot be.
static int look_up(struct http_exchange *x, const char *path, size_t len)
{
	struct lookup *l;

	l = x->if_lookups < LOOKUPS_MAX ? kpages_alloc(sizeof(*l)) : NULL;
	if (!l)
		return -ENOMEM;
	x->if_lookups++;
	l->len = (uint16_t)len;
	memcpy(l->path, path, len);
	l->job.run = run;
	l->job.done = done;
	l->job.drop = drop;
	http_job_start(&l->job, x);
	return -EAGAIN;
}

// Strong comparison: a weak tag is never the same. 1, 0, -EAGAIN or -ENOMEM.
static int etag_is(struct http_exchange *x, const char *path, size_t len, const char *tag,
		   size_t tag_len)
{
	char ours[HTTP_ETAG_MAX];
	struct text t = TEXT_OF(ours);
	struct inode *inode;
	int status = name_find_cached(http_root, path, len, &inode);

	if (status == -EAGAIN)
		return look_up(x, path, len);
	if (status)
		return 0;
	if (inode->type == INODE_FILE)
		http_etag_write(&t, inode);
	inode_put(inode);
	return t.len == tag_len && memcmp(ours, tag, tag_len) == 0;
}

// The path that a tag names: a path, or an address of any host that leads here. False: none.
static bool tag_path(const char *uri, size_t len, char *out, uint16_t *out_len)
{
	struct http_path path;
	const char *at = uri, *end = uri + len, *query;

	for (size_t i = 0; i + 3 <= len; i++)
		if (memcmp(uri + i, "://", 3) == 0) {
			at = memchr(uri + i + 3, '/', len - i - 3);
			break;
		}
	if (!at || at == end || *at != '/')
		return false;
	query = memchr(at, '?', (size_t)(end - at));
	if (http_path_decode(at, (size_t)((query ? query : end) - at), out, &path) != 0 ||
	    path.reserved)
		return false;
	*out_len = path.len;
	return true;
}

struct weighing {
	const char *path;
	uint16_t len;
	bool known;    // the tag names a path
	bool all, any; // of this list's conditions; of the lists
};

static int weigh_one(struct http_exchange *x, const struct dav_if *f, enum dav_if_piece piece,
		     struct weighing *w)
{
	int holds = 0;

	if (w->known && piece == DAV_IF_TOKEN)
		holds = dav_lock_find(f->view, f->view_len, w->path, w->len) != NULL;
	else if (w->known)
		holds = etag_is(x, w->path, w->len, f->view, f->view_len);
	if (holds < 0)
		return holds;
	w->all &= (holds != 0) != f->negated;
	return 0;
}

int dav_if_weigh(struct http_exchange *x)
{
	static char tagged[HTTP_PATH_MAX]; // one request at a time: fast WTDs
	struct weighing w = {.path = x->path_text, .len = x->path.len, .known = true};
	struct dav_if f = {0};
	enum dav_if_piece piece;
	int status = 0;

	if (LIKELY(!x->request.dav_if.at))
		return 0;
	f.text = dav_if_field(x, &f.len);
	while (f.text && status == 0 && (piece = dav_if_next(&f)) != DAV_IF_END) {
		switch (piece) {
		case DAV_IF_TAG:
			w.known = tag_path(f.view, f.view_len, tagged, &w.len);
			w.path = tagged;
			break;
		case DAV_IF_OPEN:
			w.all = true;
			break;
		case DAV_IF_TOKEN:
		case DAV_IF_ETAG:
			status = weigh_one(x, &f, piece, &w);
			break;
		case DAV_IF_CLOSE:
			w.any |= w.all;
			break;
		default:
			status = 400;
		}
	}
	if (status == 400 || !f.text) {
		x->reason = "The If field is malformed.";
		return 400;
	}
	if (status == -ENOMEM) {
		x->reason = "The If field names more than can be looked up now.";
		return 503;
	}
	x->reason = "The If field does not hold.";
	return status ? status : w.any ? 0 : 412;
}
