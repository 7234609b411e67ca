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

// A whole response element. What does not fit: t->full is set.
void dav_response(struct text *t, const struct dav_resource *r, const struct dav_names *names);
