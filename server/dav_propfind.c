// SPDX-License-Identifier: BSD-2-Clause
// PROPFIND (RFC 4918 section 9.1). A worker walks the collection and writes the answer a batch at a time,
// going on where it stopped when the batch before is with TCP: a collection of any size costs two buffers.
//
//	body read, names known --> count (depth infinity only: more than FIND_MOST resources are refused
//	with 403 propfind-finite-depth) --> batch --> sent --> batch ... --> the last
//
// Directories are read some entries at a time with a cursor. What is made or removed meanwhile may be in the
// answer or not; nothing is in it twice unless it was renamed.
#include "fs/name.h"
#include "kernel/kstring.h"
#include "kernel/pmm.h"
#include "kernel/lock.h"
#include "kernel/thread.h"
#include "server/dav_dead.h"
#include "server/dav_live.h"
#include "server/dav.h"
#include "server/http_job.h"
#include "server/http_method.h"
#include "server/http_receive.h"
#include "server/http_stream.h"
#include "server/rights.h"

#define BATCH 65536UL
#define RESPONSE                                                                                   \
	24576UL // no response element is begun with less room: 4 KB of path, escaped, and properties
#define DEPTH_MOST  32	  // directories below each other
#define FIND_MOST   20000 // resources of one answer with depth infinity
#define FINDS_MOST  128	  // at once: 17 MB
#define ENTRIES	    29	  // of a directory read at a time: a level is two pages
#define YIELD_EVERY 256	  // resources

struct entry {
	uint64_t number;
	uint8_t type, len;
	char name[255];
};

struct level { // a directory on the way down
	struct level *up;
	struct inode *dir;
	uint64_t cursor;
	uint16_t path_len;
	bool over; // everything was read from it
	unsigned now, count;
	struct entry entries[ENTRIES];
};
_Static_assert(sizeof(struct level) <= 2 * PAGE_SIZE, "two pages");

struct find {
	struct http_job job;
	struct http_stream stream;
	struct inode *inode;	      // what was asked for
	struct level *level;	      // the innermost; worker
	bool working, orphaned;	      // a worker has it; its exchange is gone
	bool counting, ended, handed; // handed: the exchange frees it
	int error;
	unsigned depth;	 // of directories that are gone through: 0, 1, DEPTH_MOST
	unsigned levels; // now open
	unsigned count;	 // resources so far
	struct rights_who who;
	uint16_t path_len, root_len;
	struct xml reader;
	struct dav_names names;
	char path[HTTP_PATH_MAX];
	char dead[DAV_DEAD_MAX];
	char batch[BATCH];
};
static unsigned finds; // fast WTDs only

static void leave(struct find *f)
{
	struct level *l = f->level;

	f->level = l->up;
	f->levels--;
	inode_put(l->dir);
	kpages_free(l, sizeof(*l));
}

static void find_free(struct find *f)
{
	while (f->level)
		leave(f);
	inode_put(f->inode);
	kpages_free(f, sizeof(*f));
	finds--;
}

// ---- the walk; worker --------------------------------------------------------------------------------

static bool may(const struct find *f, size_t len, unsigned rights)
{
	bool yes;

	wtd_disable();
	yes = (rights_of(&f->who, f->path, len) & rights) == rights;
	wtd_enable();
	return yes;
}

static bool hidden(const struct inode *inode)
{
	bool yes;

	wtd_disable();
	yes = rights_hides(inode);
	wtd_enable();
	return yes;
}

static void tell(struct find *f, struct text *t, struct inode *inode)
{
	struct dav_resource r = {.inode = inode,
				 .path = f->path,
				 .len = f->path_len,
				 .dead = f->dead,
				 .reader = &f->reader};
	size_t start = t->len;
	bool collection = inode->type == INODE_DIRECTORY;

	f->count++;
	if (f->counting)
		return;
	if (f->names.mode != DAV_PROP || f->names.count) {
		int n = dav_dead_read(inode, f->dead);
		r.dead_len = n > 0 ? (size_t)n : 0;
	}
	dav_response(t, &r, &f->names);
	if (!t->full)
		return;
	t->len = start;
	t->full = false;
	text_str(t, "<D:response>");
	dav_href(t, f->path, f->path_len, collection);
	dav_status(t, 507);
	text_str(t, "</D:response>\n");
}

static bool visit(void *ctx, const struct dir_entry *entry)
{
	struct level *l = ctx;
	struct entry *e = &l->entries[l->count++];

	e->number = entry->number;
	e->type = (uint8_t)entry->type;
	e->len = entry->name_len;
	memcpy(e->name, entry->name, entry->name_len);
	return l->count < ENTRIES;
}

// The next entries of the innermost directory. False: there are none, or none that can be read.
static bool refill(struct level *l)
{
	int status;

	l->now = l->count = 0;
	if (l->over)
		return false;
	status = inode_read_dir(l->dir, &l->cursor, visit, l);
	l->over = status || l->count < ENTRIES;
	return l->count > 0;
}

// f->path gets the entry behind the directory's own. False: too long.
static bool append(struct find *f, const struct entry *e)
{
	uint16_t at = f->level->path_len;

	if (at + 1 + e->len > HTTP_PATH_MAX)
		return false;
	if (at)
		f->path[at++] = '/';
	memcpy(f->path + at, e->name, e->len);
	f->path_len = at + e->len;
	return true;
}

static void descend(struct find *f, struct inode *dir)
{
	struct level *l = kpages_alloc(sizeof(*l));

	if (!l) {
		f->error = -ENOMEM;
		return;
	}
	inode_get(dir);
	l->up = f->level;
	l->dir = dir;
	l->path_len = f->path_len;
	f->level = l;
	f->levels++;
}

// One entry. A link is told as what it leads to, and never followed further.
static void take(struct find *f, struct text *t, const struct entry *e)
{
	struct volume *volume = f->inode->volume;
	struct inode *inode;
	int status;

	if (!append(f, e))
		return;
	status = e->type == INODE_SYMLINK ? name_find_wait(volume, f->path, f->path_len, &inode)
					  : inode_open(volume, e->number, &inode);
	if (status)
		return;
	if ((inode->type == INODE_FILE || inode->type == INODE_DIRECTORY) && !hidden(inode)) {
		tell(f, t, inode);
		if (inode->type == INODE_DIRECTORY && e->type != INODE_SYMLINK &&
		    f->levels < f->depth && may(f, f->path_len, RIGHT_LIST))
			descend(f, inode);
	}
	inode_put(inode);
}

// As far as there is room in the batch, or to the end.
static void walk(struct find *f, struct text *t)
{
	while (f->level && !f->job.cancelled && !f->error) {
		struct level *l = f->level;
		if (f->counting ? f->count > FIND_MOST : t->size - t->len < RESPONSE)
			return;
		if (l->now < l->count || refill(l))
			take(f, t, &l->entries[l->now++]);
		else
			leave(f);
		if (f->count % YIELD_EVERY == 0)
			thread_yield();
	}
}

static void begin(struct find *f, struct text *t)
{
	f->path_len = f->root_len;
	f->count = 0;
	tell(f, t, f->inode);
	if (f->depth && f->inode->type == INODE_DIRECTORY && may(f, f->path_len, RIGHT_LIST))
		descend(f, f->inode);
}

static void run(struct http_job *job)
{
	struct find *f = CONTAINER_OF(job, struct find, job);
	struct text t = {.out = f->batch, .size = BATCH - 64}; // with room for the end

	if (f->counting) {
		begin(f, &t);
		walk(f, &t);
		if (f->level || f->error)
			return; // too many, or cancelled
		f->counting = false;
	}
	if (!f->stream.bytes) {
		dav_multistatus_begin(&t);
		begin(f, &t);
	}
	walk(f, &t);
	if (!f->level && !f->job.cancelled) {
		t.size = BATCH;
		dav_multistatus_end(&t);
		f->ended = true;
	}
	f->stream.bytes = f->batch;
	f->stream.len = t.len;
	f->stream.at = 0;
	f->stream.last = f->ended;
}

// ---- around it; fast WTD -----------------------------------------------------------------------------

static void finite_depth(struct http_exchange *x)
{
	dav_precondition(x, 403, "propfind-finite-depth");
}

static void done(struct http_job *job)
{
	struct find *f = CONTAINER_OF(job, struct find, job);
	struct http_exchange *x = job->x;

	f->working = false;
	if (x->stream) {
		if (f->error) // in the middle of the answer: it must not look whole
			http_conn_doom(x->conn);
		x->stage = HTTP_STAGE_SEND;
	} else if (f->counting && !f->error) {
		finite_depth(x);
	} else if (f->error) {
		http_answer(x, 503, "There is no memory for the request.");
	} else {
		f->handed = true;
		http_stream_begin(x, &f->stream, 207, "application/xml; charset=\"utf-8\"");
	}
}

static void drop(struct http_job *job)
{
	struct find *f = CONTAINER_OF(job, struct find, job);

	f->working = false;
	if (job->cancelled || !f->handed || f->orphaned)
		find_free(f);
}

static void more(struct http_exchange *x, struct http_stream *stream)
{
	struct find *f = CONTAINER_OF(stream, struct find, stream);

	f->working = true;
	http_job_start(&f->job, x);
}

// The exchange ends. While a worker has it, drop does this.
static void stream_free(struct http_stream *stream)
{
	struct find *f = CONTAINER_OF(stream, struct find, stream);

	if (f->working)
		f->orphaned = true;
	else
		find_free(f);
}

static void body_read(struct http_exchange *x)
{
	unsigned depth = x->propfind_depth;
	struct find *f = finds < FINDS_MOST ? kpages_alloc(sizeof(*f)) : NULL;
	const char *reason;

	if (!f) {
		http_answer(x, 503, "There is no memory for the request.");
		return;
	}
	finds++;
	f->inode = x->inode;
	inode_get(f->inode);
	if (!dav_names_parse(&f->names, x->text.bytes, x->text.len, &reason)) {
		find_free(f);
		http_answer(x, 400, reason);
		return;
	}
	f->depth = depth;
	f->counting = depth == DEPTH_MOST && x->inode->type == INODE_DIRECTORY;
	f->who = x->who;
	f->root_len = x->path.len;
	memcpy(f->path, x->path_text, x->path.len);
	f->stream.more = more;
	f->stream.free = stream_free;
	f->job.run = run;
	f->job.done = done;
	f->job.drop = drop;
	more(x, &f->stream);
}

static void propfind_found(struct http_exchange *x, int status)
{
	int depth = dav_depth(x);

	if (status) {
		http_answer(x, 404, "There is no such file.");
	} else if (x->inode->type != INODE_FILE && x->inode->type != INODE_DIRECTORY) {
		http_answer(x, 404, "There is no such file.");
	} else if (depth < 0) {
		http_answer(x, 400, "The Depth field is none of 0, 1, infinity.");
	} else {
		x->propfind_depth = depth == DAV_DEPTH_INFINITY ? DEPTH_MOST : (uint8_t)depth;
		http_receive_text(x, DAV_BODY_MAX, body_read);
	}
}
HTTP_METHOD(PROPFIND, .on = HTTP_ON_FILE | HTTP_ON_COLLECTION, .rights = RIGHT_LIST,
	    .found = propfind_found);
