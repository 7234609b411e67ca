// SPDX-License-Identifier: BSD-2-Clause
// WebDAV locks (RFC 4918 sections 6, 7 and 10.4): the table of them, and what stands in whose way. In memory:
// a restart ends them all, as a time-out would. Fast WTD context, or WTDs disabled.
//
//	LOCK --dav_lock_new--> PENDING --the resource is there--> HELD --UNLOCK, time-out, DELETE--> gone
//	                          |                                ^  |
//	                          +--it could not be made--> gone  +--+ LOCK without a body
//
// The If field is weighed once for each request, before its path is looked up (http_admit); here only counts
// which tokens it submits.
#pragma once

#include "kernel/base.h"

struct dav_lock;
struct http_exchange;
struct text;

#define DAV_LOCKS_MAX	 1024
#define DAV_OWNER_MAX	 1024  // bytes of XML
#define DAV_TOKEN_LEN	 45    // "urn:uuid:" and a UUID
#define DAV_TIMEOUT_MAX	 86400 // seconds
#define DAV_TIMEOUT_MIN	 10
#define DAV_TIMEOUT_NONE 3600 // when the client asks for nothing it gets that

enum dav_scope {
	DAV_ITSELF, // the resource
	DAV_MEMBER, // a name is made in, or removed from, its collection, too
	DAV_TREE,   // everything below it, too (DELETE, MOVE of a collection)
};
// Fast WTD context. A lock that stands in the way, because the request did not submit its token; null: none.
const struct dav_lock *dav_lock_check(struct http_exchange *x, const char *path, size_t len,
				      enum dav_scope scope);
// How many locks were made so far; and whether one that was made since, and lasts, stands in the way: for work that
// began when the locks had been weighed, and takes place later. A worker calls them with WTDs off.
uint64_t dav_locks_made(void);
bool dav_lock_since(uint64_t locks_made, const char *path, size_t len, enum dav_scope scope);
// The resource moved away or was removed: locks on it and below it end.
void dav_lock_gone(const char *path, size_t len);

struct dav_lock {
	struct dav_lock *next;
	uint64_t expires; // clock_ns
	uint64_t number;  // of dav_locks_made
	uint32_t timeout; // seconds
	bool shared, infinite;
	bool submitted; // by the request that is being weighed: dav_lock_check's
	uint8_t user_len;
	uint16_t path_len, owner_len;
	char token[DAV_TOKEN_LEN];
	char user[64]; // user_len 0: nobody that is known
	char owner[DAV_OWNER_MAX];
	char path[];
};

// Null: another lock stands in the way (*conflict), or the table is full or memory short (*conflict null).
struct dav_lock *dav_lock_new(struct http_exchange *x, const char *path, size_t len, bool shared,
			      bool infinite, uint32_t timeout, const struct dav_lock **conflict);
void dav_lock_end(struct dav_lock *lock);
void dav_lock_refresh(struct dav_lock *lock, uint32_t timeout);
// The lock with that token, if it covers the path; null: none.
struct dav_lock *dav_lock_find(const char *token, size_t token_len, const char *path, size_t len);
// Whether the exchange's user made it.
bool dav_lock_mine(const struct http_exchange *x, const struct dav_lock *lock);
// The locks that cover a path, one after the other (after null: the first).
struct dav_lock *dav_lock_covering(const char *path, size_t len, const struct dav_lock *after);
// One activelock element. False: it did not fit, and t is as before.
bool dav_lock_write(const struct dav_lock *lock, struct text *t);

// dav_if_weigh.c. At admission: 0: go on; 400, 412, 503; -EAGAIN: an entity tag is being looked for, x waits and
// comes back to HTTP_STAGE_ADMIT.
int dav_if_weigh(struct http_exchange *x) MUST_CHECK;
// Whether the If field, which was weighed, names an entity tag.
bool dav_if_has_etag(const struct http_exchange *x);
// The request's If field; null: none.
const char *dav_if_field(const struct http_exchange *x, size_t *len);
