// SPDX-License-Identifier: BSD-2-Clause
// A strict, small XML reader for the bodies of WebDAV requests (XML 1.0, Namespaces in XML 1.0). Pure: a
// document in memory in, one event at a time out, each a view of the document; nothing is copied but
// namespace names with references in them.
//
//	xml_init(&x, text, len);
//	while ((event = xml_next(&x)) != XML_DONE)
//		switch (event) ... XML_START, XML_END, XML_TEXT; XML_ERROR: x.error says why, it stays so
//
// It refuses what a body has no use for and attackers have: document types, entities but the five that XML
// has itself, processing instructions, other encodings than UTF-8 (RFC 4918 section 20.6). Bounds: below.
// What may be written in many ways and means one thing is decided here once: names by namespace and local
// part, references, CDATA sections, comments (skipped).
#pragma once

#include "kernel/base.h"
#include "server/http_text.h"

#define XML_DEPTH_MAX	   32
#define XML_ATTRIBUTES_MAX 32	// of one element, declarations of namespaces included
#define XML_BINDINGS_MAX   64	// in scope at once
#define XML_ARENA	   1024 // bytes of namespace names in scope that have references in them

enum xml_event { XML_START, XML_END, XML_TEXT, XML_DONE, XML_ERROR };

struct xml_view {
	const char *text;
	size_t len;
};

struct xml_name {
	struct xml_view uri; // len 0: no namespace
	struct xml_view prefix, local;
};

struct xml_attribute {
	struct xml_name name;
	struct xml_view raw; // the value between its quotes, references and all: xml_decode
};

struct xml_binding {
	struct xml_view prefix, uri; // uri.len 0: the default namespace is taken back
	uint16_t arena;		     // how full it was before
	uint8_t depth;
	bool used; // by a name, since whoever asks cleared it
};

struct xml {
	const char *text;
	size_t len, pos;
	// The event.
	size_t at;	      // where it begins; pos: where it ends
	struct xml_name name; // START, END
	struct xml_attribute attributes[XML_ATTRIBUTES_MAX];
	unsigned attribute_count; // START; declarations of namespaces are not among them
	struct xml_view data;	  // TEXT: raw, unless cdata
	bool cdata;
	const char *error;
	// The reader's own.
	unsigned depth; // elements that are open; at END the element is still counted
	bool empty;	// the START was of an empty element: its END comes next
	bool closing;	// the END was told: the element goes with the next call
	bool root_seen;
	struct xml_view open[XML_DEPTH_MAX]; // qualified names
	struct xml_binding bindings[XML_BINDINGS_MAX];
	unsigned binding_count;
	char arena[XML_ARENA];
	uint16_t arena_used;
};

void xml_init(struct xml *x, const char *text, size_t len);
enum xml_event xml_next(struct xml *x);
// Whether an element or attribute has that name.
bool xml_is(const struct xml_name *name, const char *uri, const char *local);
// Reads on to the END of the element whose START was the last event. The events in between are gone.
// False: an error.
bool xml_skip(struct xml *x);

// Appends what raw text, or an attribute's raw value, stands for. It was checked by xml_next.
void xml_decode(struct text *t, const char *raw, size_t len);
void xml_decode_value(struct text *t, const char *raw, size_t len);

// xml_chars.c's. Bytes of the name, the character or the reference that the text begins with; 0: none.
size_t xml_ncname(const char *text, size_t len);
size_t xml_char(const char *text, size_t len);
size_t xml_reference(const char *text, size_t len, uint32_t *value);
