// SPDX-License-Identifier: BSD-2-Clause
// Characters of XML: what may stand in a document, in a name, in a reference: see xml.h. Pure.
#include "kernel/kstring.h"
#include "server/xml.h"

static uint32_t code_point(const char *bytes, size_t n)
{
	const uint8_t *b = (const uint8_t *)bytes;
	uint32_t c = n == 1 ? b[0] : n == 2 ? b[0] & 0x1fU : n == 3 ? b[0] & 0xfU : b[0] & 7U;

	for (size_t i = 1; i < n; i++)
		c = c << 6 | (b[i] & 0x3fU);
	return c;
}

// XML 1.0 section 2.2, Char.
static bool allowed(uint32_t c)
{
	return c >= 0x20 ? c < 0xd800 || (c > 0xdfff && c < 0xfffe) || (c > 0xffff && c < 0x110000)
			 : c == '\t' || c == '\n' || c == '\r';
}

size_t xml_char(const char *text, size_t len)
{
	size_t n = len ? utf8_sequence(text, len) : 0;

	return n && allowed(code_point(text, n)) ? n : 0;
}

struct range {
	uint32_t first, last;
};
// XML 1.0 (fifth edition) section 2.3, NameStartChar without the colon; then what NameChar adds.
static const struct range starts[] = {
    {'A', 'Z'},	      {'_', '_'},	{'a', 'z'},	  {0xc0, 0xd6},	    {0xd8, 0xf6},
    {0xf8, 0x2ff},    {0x370, 0x37d},	{0x37f, 0x1fff},  {0x200c, 0x200d}, {0x2070, 0x218f},
    {0x2c00, 0x2fef}, {0x3001, 0xd7ff}, {0xf900, 0xfdcf}, {0xfdf0, 0xfffd}, {0x10000, 0xeffff},
};
static const struct range others[] = {
    {'-', '.'}, {'0', '9'}, {0xb7, 0xb7}, {0x300, 0x36f}, {0x203f, 0x2040},
};

static bool in(uint32_t c, const struct range *ranges, size_t count)
{
	for (size_t i = 0; i < count; i++)
		if (c >= ranges[i].first && c <= ranges[i].last)
			return true;
	return false;
}

size_t xml_ncname(const char *text, size_t len)
{
	size_t at = 0;

	while (at < len) {
		size_t n = utf8_sequence(text + at, len - at);
		uint32_t c = n ? code_point(text + at, n) : 0;
		if (!in(c, starts, ARRAY_SIZE(starts)) &&
		    (at == 0 || !in(c, others, ARRAY_SIZE(others))))
			break;
		at += n;
	}
	return at;
}

static const struct {
	const char *name;
	char c;
} entities[] = {{"lt;", '<'}, {"gt;", '>'}, {"amp;", '&'}, {"quot;", '"'}, {"apos;", '\''}};

static int digit_of(char c, unsigned base)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (base == 16 && (c | 0x20) >= 'a' && (c | 0x20) <= 'f')
		return (c | 0x20) - 'a' + 10;
	return -1;
}

// XML 1.0 section 4.1: "&lt;" and its four kin, "&#60;", "&#x3c;".
size_t xml_reference(const char *text, size_t len, uint32_t *value)
{
	unsigned base = 10;
	size_t at = 2;

	if (len < 2 || text[0] != '&')
		return 0;
	for (size_t i = 0; text[1] != '#' && i < ARRAY_SIZE(entities); i++) {
		size_t n = strlen(entities[i].name);
		if (len > n && memcmp(text + 1, entities[i].name, n) == 0) {
			*value = (uint8_t)entities[i].c;
			return n + 1;
		}
	}
	if (text[1] != '#')
		return 0;
	if (len > 2 && text[2] == 'x') {
		base = 16;
		at = 3;
	}
	*value = 0;
	for (size_t first = at; at < len; at++) {
		int digit = digit_of(text[at], base);
		if (digit < 0)
			return text[at] == ';' && at > first && allowed(*value) ? at + 1 : 0;
		*value = *value * base + (unsigned)digit;
		if (*value > 0x10ffff)
			return 0;
	}
	return 0;
}

static void put(struct text *t, uint32_t c)
{
	if (c < 0x80) {
		text_char(t, (char)c);
		return;
	}
	unsigned n = c < 0x800 ? 1 : c < 0x10000 ? 2 : 3; // bytes that follow the first
	text_char(t, (char)((0xff00U >> (n + 1)) | c >> (6 * n)));
	while (n-- > 0)
		text_char(t, (char)(0x80 | (c >> (6 * n) & 0x3f)));
}

// XML 1.0 section 2.11: the end of a line is one byte; section 3.3.3: in a value every blank is a space.
static void decode(struct text *t, const char *raw, size_t len, bool value)
{
	for (size_t i = 0; i < len;) {
		uint32_t c;
		size_t n = xml_reference(raw + i, len - i, &c);
		if (n)
			put(t, c);
		else if (raw[i] == '\r' && i + 1 < len && raw[i + 1] == '\n')
			n = 1; // the line feed comes next
		else if (raw[i] == '\r' || raw[i] == '\n' || raw[i] == '\t')
			text_char(t, value ? ' ' : raw[i] == '\t' ? '\t' : '\n');
		else
			text_char(t, raw[i]);
		i += n ? n : 1;
	}
}

void xml_decode(struct text *t, const char *raw, size_t len)
{
	decode(t, raw, len, false);
}

void xml_decode_value(struct text *t, const char *raw, size_t len)
{
	decode(t, raw, len, true);
}
