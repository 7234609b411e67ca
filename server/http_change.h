// SPDX-License-Identifier: BSD-2-Clause
// What the verbs that change a volume have in common: whether they may, the work on a worker, the wait for
// the journal, the answer.
//
//	found(x, status)                        fast WTD: http_change_allowed, then
//	    c = http_change_new(x, ...)         the path, copied; what else the work needs
//	    http_change_start(c, x, run, done)  HTTP_STAGE_WAIT_JOB
//	run(c)                                  worker: sleeps; changes; c->error, c->status
//	done(c)                                 fast WTD; x = c->job.x. When null: http_change_answer
//	    http_change_answer(x, c)            error: at once; success: when it is durable (WAIT_DISK)
//
// When the client vanishes meanwhile the work goes on without it: what was asked is done or not done, and never
// half of what one call of fs/file.h does.
#pragma once

#include "fs/file.h"
#include "server/dav_lock.h"
#include "server/http_job.h"
#include "server/http_method.h"

#define HTTP_FAILURES_BYTES 65536 // of the body of a 207; what does not fit is not named

// Members of a collection that a verb for the whole of it could not deal with (RFC 4918 section 9.6.1).
struct http_failures {
	char *xml; // kpages of HTTP_FAILURES_BYTES, from the first failure on
	size_t len;
	unsigned count;
};

struct http_change {
	struct http_job job;   // first
	size_t size;	       // of this: kpages
	struct rights_who who; // whose rights hold, also when the client is gone
	uint64_t locks_made;   // when the locks were weighed
	int error;	       // of run: 0, or why nothing was changed
	uint16_t status;       // of run: the answer when error is 0
	void (*run)(struct http_change *c);
	void (*done)(struct http_change *c);
	struct inode *dir, *file; // references, or null: verb by verb
	uint64_t expected;	  // the inode that the name must lead to (0: none) ...
	uint32_t generation;
	bool
	    conditional; // ... if this is set; of DELETE and MOVE: that the source's must lead to `file`
	bool overwrite, deep, move;
	bool tree; // it may take long: a collection, or bytes that are copied
	bool has_mtime;
	int64_t mtime; // Unix
	struct http_failures failures;
	uint16_t path_len, to_len;
	char *path,
	    *to; // of the request, of Destination: in `text`, each with room for HTTP_PATH_MAX
	char text[];
};

// The checks common to all: the resource's kind, rights, whether the volume is writable, preconditions (RFC
// 9110 section 13). status: the look-up's. True: go on. False: it was answered, or it waits and
// will be decided anew.
bool http_change_allowed(struct http_exchange *x, int status, unsigned rights);
// The rights alone, for the path; or for every place below it that the users file speaks of, because a request for a
// whole tree needs them there as well. False: it was answered, or it waits and will be decided anew.
bool http_change_rights(struct http_exchange *x, const char *path, size_t len, unsigned rights);
bool http_change_rights_below(struct http_exchange *x, const char *path, size_t len,
			      unsigned rights);
// Whether they have any right there: before it is looked at what is there. False: as http_change_rights.
bool http_change_any(struct http_exchange *x, const char *path, size_t len);
// Whether they may change what has the name as well as make it: otherwise what was asked for when the name was
// looked at is not enough for what may be there when it is taken.
bool http_change_either_way(const struct http_exchange *x, const char *path, size_t len);
// Whether no lock stands in the way. False: answered with 423.
bool http_change_unlocked(struct http_exchange *x, const char *path, size_t len,
			  enum dav_scope scope);
// The preconditions alone, on x->inode as it is now. False: answered with 412.
bool http_change_conditions(struct http_exchange *x);
// Whether the request has any that speak of what the name leads to: then it must lead there still when it is changed.
bool http_change_conditional(const struct http_exchange *x);
// Null: no memory, and it was answered.
struct http_change *http_change_new(struct http_exchange *x, const char *to, size_t to_len);
void http_change_start(struct http_change *c, struct http_exchange *x,
		       void (*run)(struct http_change *c), void (*done)(struct http_change *c));
void http_change_answer(struct http_exchange *x, struct http_change *c);
// The answer to an error of fs/file.h.
void http_change_error(struct http_exchange *x, int error);
uint16_t http_change_status(int error); // its status alone
// An answer that is decided goes out when everything changed so far is durable; 500 if it cannot be.
void http_answer_when_durable(struct http_exchange *x);

// Worker: the directory that the last segment of the path lies in, with a reference, and that segment.
int http_change_parent(const char *path, size_t len, struct inode **dir, const char **name,
		       size_t *name_len) MUST_CHECK;
// Worker: whether who asked may do that below what they asked for, as far as it was asked who they are.
bool http_change_may(struct http_change *c, const char *path, size_t len, unsigned rights);
// Worker: -EBUSY: somebody was given a lock there after the locks were weighed.
int http_change_unlocked_still(const struct http_change *c, const char *path, size_t len,
			       enum dav_scope scope);
// Worker: what had that path is not there any more: the locks on it and below it end.
void http_change_gone(const char *path, size_t len);
// Worker: rights_hides, of what a look-up or a directory's entry led to.
bool http_change_hides(const struct inode *inode);
// Worker: one more member that failed.
void http_change_failed(struct http_change *c, const char *path, size_t len, bool collection,
			uint16_t status);

// http_tree.c. Worker. Everything that the name leads to, if that is `only` (null: whatever it is; else -ESTALE);
// what fails is in c->failures, and then it is there still. 0, or an error about the name itself.
int http_tree_remove(struct http_change *c, const char *path, size_t len, const struct inode *only);
// c->path, which is `from`, to c->to; mode: enum name_mode, for a file. Members that fail are in c->failures.
int http_tree_copy(struct http_change *c, struct inode *from, unsigned mode);
// http_copy.c. Worker. One regular file into another that is new: bytes, on the disk, and properties; the
// properties alone (extended attributes).
int http_file_copy(struct inode *from, struct inode *to);
int http_properties_copy(struct inode *from, struct inode *to);
