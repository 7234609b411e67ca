// SPDX-License-Identifier: BSD-2-Clause
// Expat beside our XML reader: see xml_oracle.h.
#include "xml_oracle.h"
#include <expat.h>
#include <stdlib.h>
#include <string.h>
#include "server/xml.h"

#define APART "\f" // no character of XML

struct told {
	char out[ORACLE_MAX];
	struct text t;
	bool special; // a document type or a processing instruction
};

static void begin(struct told *told)
{
	told->t = (struct text){.out = told->out, .size = sizeof(told->out)};
	told->special = false;
}

// ---- expat -------------------------------------------------------------------------------------------

static void XMLCALL on_start(void *user, const XML_Char *name, const XML_Char **attributes)
{
	struct told *told = user;

	text_str(&told->t, "\1");
	text_str(&told->t, name);
	for (; *attributes; attributes += 2) {
		text_str(&told->t, "\2");
		text_str(&told->t, attributes[0]);
		text_str(&told->t, "\3");
		text_str(&told->t, attributes[1]);
	}
	text_str(&told->t, "\4");
}

static void XMLCALL on_end(void *user, const XML_Char *name)
{
	struct told *told = user;

	text_str(&told->t, "\5");
	text_str(&told->t, name);
	text_str(&told->t, "\6");
}

static void XMLCALL on_text(void *user, const XML_Char *text, int len)
{
	struct told *told = user;

	text_bytes(&told->t, text, (size_t)len);
}

static void XMLCALL on_type(void *user, const XML_Char *name, const XML_Char *system_id,
			    const XML_Char *public_id, int internal)
{
	((struct told *)user)->special = true;
}

static void XMLCALL on_instruction(void *user, const XML_Char *target, const XML_Char *data)
{
	((struct told *)user)->special = true;
}

static bool expat_reads(const char *text, size_t len, struct told *told)
{
	XML_Parser p = XML_ParserCreateNS("UTF-8", APART[0]);
	bool good;

	begin(told);
	XML_SetUserData(p, told);
	XML_SetElementHandler(p, on_start, on_end);
	XML_SetCharacterDataHandler(p, on_text);
	XML_SetStartDoctypeDeclHandler(p, on_type);
	XML_SetProcessingInstructionHandler(p, on_instruction);
	good = XML_Parse(p, text, (int)len, 1) == XML_STATUS_OK;
	XML_ParserFree(p);
	return good;
}

// ---- ours --------------------------------------------------------------------------------------------

static void name(struct text *t, const struct xml_name *n)
{
	if (n->uri.len) {
		text_bytes(t, n->uri.text, n->uri.len);
		text_str(t, APART);
	}
	text_bytes(t, n->local.text, n->local.len);
}

static bool ours_reads(struct xml *x, struct told *told)
{
	struct text *t = &told->t;

	begin(told);
	for (;;) {
		switch (xml_next(x)) {
		case XML_START:
			text_str(t, "\1");
			name(t, &x->name);
			for (unsigned i = 0; i < x->attribute_count; i++) {
				text_str(t, "\2");
				name(t, &x->attributes[i].name);
				text_str(t, "\3");
				xml_decode_value(t, x->attributes[i].raw.text,
						 x->attributes[i].raw.len);
			}
			text_str(t, "\4");
			break;
		case XML_END:
			text_str(t, "\5");
			name(t, &x->name);
			text_str(t, "\6");
			break;
		case XML_TEXT:
			if (!x->cdata) {
				xml_decode(t, x->data.text, x->data.len);
				break;
			}
			for (size_t i = 0; i < x->data.len; i++)
				if (x->data.text[i] != '\r')
					text_char(t, x->data.text[i]);
				else if (i + 1 == x->data.len || x->data.text[i + 1] != '\n')
					text_char(t, '\n');
			break;
		case XML_DONE:
			return true;
		default:
			return false;
		}
	}
}

static bool stricter_on_purpose(const char *error)
{
	static const char *const reasons[] = {
	    "too many namespaces",
	    "too many attributes",
	    "elements are nested too deep",
	    "the names of namespaces are too long",
	    "only XML 1.0 is read",
	    "only UTF-8 is read",
	    "document types and processing instructions are not read"};

	for (size_t i = 0; i < ARRAY_SIZE(reasons); i++)
		if (strcmp(error, reasons[i]) == 0)
			return true;
	return false;
}

// Expat knows the names of XML 1.0's fourth edition, ours those of the fifth, which are more.
static bool ascii(const char *text, size_t len)
{
	for (size_t i = 0; i < len; i++)
		if ((uint8_t)text[i] >= 0x80)
			return false;
	return true;
}

enum oracle_verdict xml_oracle(const char *text, size_t len, const char **why)
{
	static struct told theirs, ours;
	static struct xml x;
	bool they = expat_reads(text, len, &theirs), we;

	xml_init(&x, text, len);
	we = ours_reads(&x, &ours);
	if (!we && they && (theirs.special || stricter_on_purpose(x.error)))
		return ORACLE_STRICTER;
	if (we && !they && !ascii(text, len))
		return ORACLE_STRICTER;
	*why = we ? "ours reads what expat refuses" : x.error;
	if (we != they)
		return ORACLE_DIFFER;
	*why = "they read different things";
	if (we && !ours.t.full &&
	    (theirs.t.len != ours.t.len || memcmp(theirs.out, ours.out, ours.t.len) != 0))
		return ORACLE_DIFFER;
	return ORACLE_AGREE;
}
