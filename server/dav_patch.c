// SPDX-License-Identifier: BSD-2-Clause
// Reading, applying and answering a PROPPATCH: see dav_patch.h. Pure.
#include "server/dav_patch.h"
#include "kernel/kstring.h"

static bool keep(struct dav_patch *p, struct xml_view view, uint32_t *at, uint32_t *len)
{
	if (view.len > DAV_PATCH_TEXT - p->used)
		return false;
	if (view.len)
		memcpy(p->text + p->used, view.text, view.len);
	*at = (uint32_t)p->used;
	*len = (uint32_t)view.len;
	p->used += view.len;
	return true;
}

// xml:lang of the element whose START was the last event, or what was in scope.
static struct xml_view lang_of(const struct xml *x, struct xml_view outer)
{
	for (unsigned i = 0; i < x->attribute_count; i++)
		if (xml_is(&x->attributes[i].name, "http://www.w3.org/XML/1998/namespace", "lang"))
			return x->attributes[i].raw;
	return outer;
}

static const char *read_property(struct xml *x, struct dav_patch *p, bool set, struct xml_view lang)
{
	static const char many[] = "The properties are too many or too long.";
	struct dav_change *c = &p->change[p->count];
	struct text t;

	if (p->count == DAV_CHANGES_MAX || !keep(p, x->name.uri, &c->uri, &c->uri_len) ||
	    !keep(p, x->name.local, &c->local, &c->local_len))
		return many;
	c->set = set;
	c->protected = dav_live_of(&x->name) != DAV_DEAD;
	p->any_protected |= c->protected;
	p->count++;
	if (!set || c->protected)
		return xml_skip(x) ? NULL : x->error;
	t = (struct text){.out = p->text + p->used, .size = DAV_PATCH_TEXT - p->used};
	if (!dav_dead_keep(x, lang, &t))
		return x->error;
	if (t.full)
		return many;
	c->value = (uint32_t)p->used;
	c->value_len = (uint32_t)t.len;
	p->used += t.len;
	return NULL;
}

// The next element inside of the current one. *why null and false: its END came.
static bool child(struct xml *x, const char **why)
{
	for (;;) {
		for (unsigned i = 0; i < x->binding_count; i++)
			x->bindings[i].used = false;
		switch (xml_next(x)) {
		case XML_START:
			return true;
		case XML_END:
			return false;
		case XML_TEXT:
			break;
		default:
			*why = x->error;
			return false;
		}
	}
}

static const char *read_prop(struct xml *x, struct dav_patch *p, bool set, struct xml_view lang)
{
	const char *why = NULL;

	while (!why && child(x, &why))
		why = read_property(x, p, set, lang);
	return why;
}

static const char *read_instruction(struct xml *x, struct dav_patch *p, bool set,
				    struct xml_view lang)
{
	const char *why = NULL;

	while (!why && child(x, &why))
		if (xml_is(&x->name, "DAV:", "prop"))
			why = read_prop(x, p, set, lang_of(x, lang));
		else
			why = xml_skip(x) ? NULL : x->error;
	return why;
}

static const char *read_body(struct xml *x, struct dav_patch *p)
{
	struct xml_view lang = {0};
	const char *why = NULL;

	if (!child(x, &why) || !xml_is(&x->name, "DAV:", "propertyupdate"))
		return why ? why : "The body is no propertyupdate element.";
	lang = lang_of(x, lang);
	while (!why && child(x, &why)) {
		bool set = xml_is(&x->name, "DAV:", "set");
		if (set || xml_is(&x->name, "DAV:", "remove"))
			why = read_instruction(x, p, set, lang_of(x, lang));
		else
			why = xml_skip(x) ? NULL : x->error;
	}
	if (!why && xml_next(x) != XML_DONE)
		why = x->error;
	return why ? why : p->count ? NULL : "The propertyupdate element changes nothing.";
}

bool dav_patch_parse(struct dav_patch *p, const char *body, size_t len, const char **reason)
{
	static struct xml x; // fast WTDs: one at a time

	p->count = 0;
	p->used = 0;
	p->any_protected = false;
	xml_init(&x, body, len);
	*reason = read_body(&x, p);
	return !*reason;
}

int dav_patch_apply(const struct dav_patch *p, char *text, size_t *len)
{
	for (unsigned i = 0; i < p->count; i++) {
		const struct dav_change *c = &p->change[i];
		const struct xml_name name = {.uri = {p->text + c->uri, c->uri_len},
					      .local = {p->text + c->local, c->local_len}};
		*len = dav_dead_remove(text, *len, &name);
		if (!c->set)
			continue;
		if (c->value_len > DAV_DEAD_MAX - *len)
			return -ENOSPC;
		memcpy(text + *len, p->text + c->value, c->value_len);
		*len += c->value_len;
	}
	return 0;
}

static void propstat(const struct dav_patch *p, int protected, unsigned status, struct text *t)
{
	bool any = false;

	for (unsigned i = 0; i < p->count; i++) {
		const struct dav_change *c = &p->change[i];
		if (protected >= 0 && c->protected != (protected > 0))
			continue;
		text_str(t, any ? "" : "<D:propstat><D:prop>");
		any = true;
		dav_name_empty(t, p->text + c->uri, c->uri_len, p->text + c->local, c->local_len);
	}
	if (!any)
		return;
	text_str(t, "</D:prop>");
	dav_status(t, status);
	if (protected > 0)
		text_str(t, "<D:error><D:cannot-modify-protected-property/></D:error>");
	text_str(t, "</D:propstat>");
}

void dav_patch_answer(const struct dav_patch *p, const char *path, size_t len, bool collection,
		      unsigned status, struct text *t)
{
	dav_multistatus_begin(t);
	text_str(t, "<D:response>");
	dav_href(t, path, len, collection);
	if (p->any_protected) {
		propstat(p, 1, 403, t);
		propstat(p, 0, 424, t);
	} else {
		propstat(p, -1, status, t);
	}
	text_str(t, "</D:response>\n");
	dav_multistatus_end(t);
}
