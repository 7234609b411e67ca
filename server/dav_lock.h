// SPDX-License-Identifier: BSD-2-Clause
// WebDAV locks (RFC 4918 sections 6, 7 and 10.4), as those who change things see them.
#pragma once

#include "kernel/base.h"

struct http_exchange;

enum dav_scope {
	DAV_ITSELF, // the resource
	DAV_MEMBER, // a name is made in, or removed from, its collection, too
	DAV_TREE,   // everything below it, too (DELETE, MOVE of a collection)
};
// Fast WTD context. Evaluates the If field of the request against locks and entity tags, and asks whether a
// lock whose token was not submitted stands in the way. 0, 400 (an If field that is none), 412 or 423.
int dav_lock_check(struct http_exchange *x, const char *path, size_t len,
		   enum dav_scope scope) MUST_CHECK;
// The resource moved away or was removed: locks on it and below it end.
void dav_lock_gone(const char *path, size_t len);
