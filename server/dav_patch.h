// SPDX-License-Identifier: BSD-2-Clause
// What a PROPPATCH wants (RFC 4918 section 14.19), in its order. Pure.
#pragma once

#include "server/dav_dead.h"

#define DAV_CHANGES_MAX 128
#define DAV_PATCH_TEXT	65536UL

struct dav_change {
	uint32_t uri, uri_len, local, local_len; // in text
	uint32_t value, value_len;		 // set: the element as it is kept
	bool set, protected;
};
struct dav_patch {
	unsigned count;
	bool any_protected;
	struct dav_change change[DAV_CHANGES_MAX];
	size_t used;
	char text[DAV_PATCH_TEXT];
};

// False: *reason says why it is no propertyupdate, or too large a one.
bool dav_patch_parse(struct dav_patch *patch, const char *body, size_t len, const char **reason);
// Applies all of it to the text of a resource's dead properties (DAV_DEAD_MAX bytes). -ENOSPC: text is spoilt.
int dav_patch_apply(const struct dav_patch *patch, char *text, size_t *len);
// The multistatus body: what changed has `status`; when something is protected that is 403 and the rest 424.
void dav_patch_answer(const struct dav_patch *patch, const char *path, size_t len, bool collection,
		      unsigned status, struct text *t);
