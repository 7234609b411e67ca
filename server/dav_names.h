// SPDX-License-Identifier: BSD-2-Clause
// What a PROPFIND asks for (RFC 4918 section 14.20), and names of properties in answers. Pure.
#pragma once

#include "kernel/base.h"
#include "server/http_text.h"
#include "server/xml.h"

#define DAV_NAMES_MAX  128   // properties asked for in one request
#define DAV_NAMES_TEXT 16384 // bytes of their names
#define DAV_BODY_MAX   65536

enum dav_live { // DAV: properties that the server itself knows; the order in which they are written
	DAV_CREATIONDATE,
	DAV_DISPLAYNAME,
	DAV_GETCONTENTLENGTH,
	DAV_GETCONTENTTYPE,
	DAV_GETETAG,
	DAV_GETLASTMODIFIED,
	DAV_LOCKDISCOVERY,
	DAV_RESOURCETYPE,
	DAV_SUPPORTEDLOCK,
	DAV_QUOTA_AVAILABLE, // RFC 4331; not part of allprop
	DAV_QUOTA_USED,
	DAV_LIVE_COUNT,
	DAV_DEAD = DAV_LIVE_COUNT
};
#define DAV_LIVE_ALL (BIT(DAV_QUOTA_AVAILABLE) - 1)
extern const char *const dav_live_names[DAV_LIVE_COUNT];
// DAV_DEAD: the server does not know it.
enum dav_live dav_live_of(const struct xml_name *name);

enum dav_find_mode { DAV_ALLPROP, DAV_PROPNAME, DAV_PROP };

struct dav_name { // offsets into `text`
	uint16_t uri, uri_len, local, local_len;
};
struct dav_names {
	enum dav_find_mode mode;
	uint32_t live; // bits: the live ones that were asked for
	unsigned count;
	struct dav_name name[DAV_NAMES_MAX]; // the others
	size_t used;
	char text[DAV_NAMES_TEXT];
};

// An empty body means allprop. False: *reason says why it is no propfind.
bool dav_names_parse(struct dav_names *names, const char *body, size_t len, const char **reason);
// <P:local xmlns:P="uri"/>
void dav_name_empty(struct text *t, const char *uri, size_t uri_len, const char *local,
		    size_t local_len);

// The head of a multistatus body, and its end.
void dav_multistatus_begin(struct text *t);
void dav_multistatus_end(struct text *t);
// <D:href> with the path as its clients ask for it: a collection's ends with a slash.
void dav_href(struct text *t, const char *path, size_t len, bool collection);
// <D:status>
void dav_status(struct text *t, unsigned status);
