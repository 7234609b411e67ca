// SPDX-License-Identifier: BSD-2-Clause
// Reading the body of a PROPFIND, and the frame of multistatus bodies: see dav_names.h. Pure.
#include "server/dav_names.h"
#include "kernel/kstring.h"
#include "server/http_response.h"

const char *const dav_live_names[DAV_LIVE_COUNT] = {
    "creationdate",  "displayname",	      "getcontentlength", "getcontenttype",
    "getetag",	     "getlastmodified",	      "lockdiscovery",	  "resourcetype",
    "supportedlock", "quota-available-bytes", "quota-used-bytes",
};

enum dav_live dav_live_of(const struct xml_name *name)
{
	for (unsigned i = 0; i < DAV_LIVE_COUNT; i++)
		if (xml_is(name, "DAV:", dav_live_names[i]))
			return i;
	return DAV_DEAD;
}

void dav_name_empty(struct text *t, const char *uri, size_t uri_len, const char *local,
		    size_t local_len)
{
	text_str(t, uri_len ? "<P:" : "<");
	text_bytes(t, local, local_len);
	if (uri_len) {
		text_str(t, " xmlns:P=\"");
		text_html(t, uri, uri_len);
		text_char(t, '"');
	}
	text_str(t, "/>");
}

static bool keep(struct dav_names *n, struct xml_view view, uint16_t *at, uint16_t *len)
{
	if (view.len > DAV_NAMES_TEXT - n->used)
		return false;
	if (view.len)
		memcpy(n->text + n->used, view.text, view.len);
	*at = (uint16_t)n->used;
	*len = (uint16_t)view.len;
	n->used += view.len;
	return true;
}

static bool add(struct dav_names *n, const struct xml_name *name)
{
	enum dav_live live = dav_live_of(name);
	struct dav_name *d = &n->name[n->count];

	if (live != DAV_DEAD) {
		n->live |= (uint32_t)BIT(live);
		return true;
	}
	if (n->count == DAV_NAMES_MAX || !keep(n, name->uri, &d->uri, &d->uri_len) ||
	    !keep(n, name->local, &d->local, &d->local_len))
		return false;
	n->count++;
	return true;
}

// The names in a prop or include element, whose START was the last event.
static const char *read_names(struct xml *x, struct dav_names *n)
{
	for (;;) {
		switch (xml_next(x)) {
		case XML_START:
			if (!add(n, &x->name))
				return "Too many properties are asked for.";
			if (!xml_skip(x))
				return x->error;
			break;
		case XML_END:
			return NULL;
		case XML_TEXT:
			break;
		default:
			return x->error;
		}
	}
}

static const char *read_body(struct xml *x, struct dav_names *n)
{
	static const char *const modes[] = {"allprop", "propname", "prop"};
	bool chosen = false;
	const char *why;

	if (xml_next(x) != XML_START || !xml_is(&x->name, "DAV:", "propfind"))
		return x->error ? x->error : "The body is no propfind element.";
	for (;;) {
		enum xml_event event = xml_next(x);
		if (event == XML_ERROR)
			return x->error;
		if (event == XML_END)
			return chosen ? NULL : "The propfind element asks for nothing.";
		if (event != XML_START)
			continue;
		bool include = xml_is(&x->name, "DAV:", "include");
		for (unsigned i = 0; i < ARRAY_SIZE(modes); i++)
			if (xml_is(&x->name, "DAV:", modes[i])) {
				if (chosen)
					return "The propfind element asks for two things.";
				chosen = true;
				n->mode = i;
				include |= i == DAV_PROP;
			}
		why = include ? read_names(x, n) : xml_skip(x) ? NULL : x->error;
		if (why)
			return why;
	}
}

bool dav_names_parse(struct dav_names *n, const char *body, size_t len, const char **reason)
{
	static struct xml x; // 4 KB; one request at a time: fast WTDs

	n->mode = DAV_ALLPROP;
	n->count = 0;
	n->used = 0;
	n->live = 0;
	if (len) {
		xml_init(&x, body, len);
		*reason = read_body(&x, n);
		while (!*reason && xml_next(&x) != XML_DONE)
			*reason = x.error;
		if (*reason)
			return false;
	}
	if (n->mode != DAV_PROP)
		n->live |= DAV_LIVE_ALL;
	return true;
}

// ---- the frame of an answer ---------------------------------------------------------------------------

void dav_multistatus_begin(struct text *t)
{
	text_str(t,
		 "<?xml version=\"1.0\" encoding=\"utf-8\"?>\n<D:multistatus xmlns:D=\"DAV:\">\n");
}

void dav_multistatus_end(struct text *t)
{
	text_str(t, "</D:multistatus>\n");
}

void dav_href(struct text *t, const char *path, size_t len, bool collection)
{
	text_str(t, "<D:href>/");
	text_uri(t, path, len);
	text_str(t, collection && len ? "/</D:href>" : "</D:href>");
}

void dav_status(struct text *t, unsigned status)
{
	text_str(t, "<D:status>HTTP/1.1 ");
	text_digits(t, status, 3);
	text_char(t, ' ');
	text_str(t, http_status_text(status));
	text_str(t, "</D:status>");
}
