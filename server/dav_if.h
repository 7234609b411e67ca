// SPDX-License-Identifier: BSD-2-Clause
// The If field of WebDAV (RFC 4918 section 10.4), read piece by piece. Pure.
//
//	struct dav_if f = {text, len};
//	while ((piece = dav_if_next(&f)) != DAV_IF_END)   // DAV_IF_BAD stays so
//
//	If: </a> (<urn:uuid:1> ["e"]) (Not <urn:uuid:2>)
//	    TAG   OPEN TOKEN   ETAG CLOSE OPEN TOKEN(not) CLOSE END
#pragma once

#include "kernel/base.h"

enum dav_if_piece {
	DAV_IF_TAG,   // the lists that follow are about that resource: view, a URI reference
	DAV_IF_OPEN,  // a list begins: it holds if all its conditions do
	DAV_IF_TOKEN, // the resource is locked with the token in view; negated: not so
	DAV_IF_ETAG,  // its entity tag is the one in view, quotes included
	DAV_IF_CLOSE,
	DAV_IF_END,
	DAV_IF_BAD
};

struct dav_if {
	const char *text;
	size_t len, pos;
	const char *view; // of the piece
	size_t view_len;
	bool negated;
	bool inside, tagged, bad; // dav_if.c's
	unsigned lists, conditions;
};
enum dav_if_piece dav_if_next(struct dav_if *f);
