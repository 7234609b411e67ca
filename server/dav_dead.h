// SPDX-License-Identifier: BSD-2-Clause
// Dead properties (RFC 4918 section 4): what clients hang on a resource and the server only keeps. All of one
// resource are the value of one extended attribute, user.webdav.properties, so that a PROPPATCH is one change of one
// attribute: after a crash it happened or did not. The value is the properties' elements one behind the
// other, each a document of its own: with the prefixes its client used, every namespace it uses declared on
// it, and the xml:lang that was in scope (section 4.3).
//
// What is read from a volume may have been written by anybody: it goes through the XML reader before it
// goes into an answer, and ends where it is no XML.
#pragma once

#include "fs/file.h"
#include "server/dav_names.h"

#define DAV_DEAD_MAX  16384 // bytes of a resource's properties; the volume may hold less
#define DAV_DEAD_ATTR "webdav.properties"

// Worker context. The length, 0 when there are none, or an error of fs/file.h.
int dav_dead_read(struct inode *inode, char *text) MUST_CHECK;
int dav_dead_write(struct inode *inode, const char *text, size_t len) MUST_CHECK;

struct dav_dead { // one of them
	struct xml_view raw;
	struct xml_name name; // valid until the next call with the same reader
};
// The element at *pos, of which *pos moves to the end. False: no more.
bool dav_dead_next(struct xml *x, const char *text, size_t len, size_t *pos, struct dav_dead *out);

// Pure. The property whose START is x's last event, as it is kept, appended to t; x is at its END
// afterwards. lang: the xml:lang around it, raw. x->bindings' `used` marks must have been cleared before its
// START. False: an error of x.
bool dav_dead_keep(struct xml *x, struct xml_view lang, struct text *t);
// Takes the property of that name out of text. The new length.
size_t dav_dead_remove(char *text, size_t len, const struct xml_name *name);
