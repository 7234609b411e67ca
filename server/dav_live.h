// SPDX-License-Identifier: BSD-2-Clause
// One resource in a multistatus body: its address, and the properties that were asked for (RFC 4918 sections
// 14.24, 15). Worker context.
#pragma once

#include "fs/inode.h"
#include "server/dav_names.h"

struct dav_resource {
	struct inode *inode;
	const char *path; // decoded, from the root
	size_t len;
	const char *dead; // dav_dead.h's text, read for it
	size_t dead_len;
	struct xml *reader; // for it
};

// The head of the body, and its end.
void dav_multistatus_begin(struct text *t);
void dav_multistatus_end(struct text *t);
// <D:href> with the path as its clients ask for it: a collection's ends with a slash.
void dav_href(struct text *t, const char *path, size_t len, bool collection);
// A whole response element. What does not fit: t->full is set.
void dav_response(struct text *t, const struct dav_resource *r, const struct dav_names *names);
// <D:status>
void dav_status(struct text *t, unsigned status);
