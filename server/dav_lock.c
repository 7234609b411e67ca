// SPDX-License-Identifier: BSD-2-Clause
// WebDAV locks: see dav_lock.h. As yet there are none.
#include "server/dav_lock.h"

int dav_lock_check(struct http_exchange *x, const char *path, size_t len, enum dav_scope scope)
{
	return 0;
}

void dav_lock_gone(const char *path, size_t len) {}
