// SPDX-License-Identifier: BSD-2-Clause
// Building text with escapes: see http_text.h.
#include "server/http_text.h"
#include "kernel/kstring.h"

static const char hex[] = "0123456789abcdef";
static const char replacement[] = "\xef\xbf\xbd"; // U+FFFD

void text_bytes(struct text *t, const void *bytes, size_t len)
{
	size_t room = t->size - t->len;

	if (len > room) {
		t->full = true;
		len = room;
	}
	if (len)
		memcpy(t->out + t->len, bytes, len);
	t->len += len;
}

void text_str(struct text *t, const char *str)
{
	text_bytes(t, str, strlen(str));
}

void text_char(struct text *t, char c)
{
	if (t->len < t->size)
		t->out[t->len++] = c;
	else
		t->full = true;
}

void text_u64(struct text *t, uint64_t value)
{
	char digits[20];
	size_t at = sizeof(digits);

	do {
		digits[--at] = (char)('0' + value % 10);
		value /= 10;
	} while (value);
	text_bytes(t, digits + at, sizeof(digits) - at);
}

void text_hex(struct text *t, uint64_t value)
{
	char digits[16];
	size_t at = sizeof(digits);

	do {
		digits[--at] = hex[value & 15];
		value >>= 4;
	} while (value);
	text_bytes(t, digits + at, sizeof(digits) - at);
}

void text_digits(struct text *t, unsigned value, unsigned digits)
{
	char out[10];

	for (unsigned i = digits; i-- > 0; value /= 10)
		out[i] = (char)('0' + value % 10);
	text_bytes(t, out, digits);
}

static bool alphanumeric(char c)
{
	return (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z');
}

void text_uri(struct text *t, const char *bytes, size_t len)
{
	for (size_t i = 0; i < len; i++) {
		uint8_t c = (uint8_t)bytes[i];
		if (alphanumeric((char)c) || (c != 0 && strchr("-._~/", c))) {
			text_char(t, (char)c);
		} else {
			text_char(t, '%');
			text_char(t, "0123456789ABCDEF"[c >> 4]);
			text_char(t, "0123456789ABCDEF"[c & 15]);
		}
	}
}

size_t utf8_sequence(const char *bytes, size_t len)
{
	const uint8_t *b = (const uint8_t *)bytes;
	// The lead byte decides the length and the range of the second byte (RFC 3629 section 4).
	size_t n = b[0] < 0x80 ? 1 : b[0] < 0xc2 ? 0 : b[0] < 0xe0 ? 2 : b[0] < 0xf0 ? 3 : 4;

	if (b[0] > 0xf4 || n == 0 || n > len)
		return 0;
	if (n > 1) {
		uint8_t low = b[0] == 0xe0 ? 0xa0 : b[0] == 0xf0 ? 0x90 : 0x80;
		uint8_t high = b[0] == 0xed ? 0x9f : b[0] == 0xf4 ? 0x8f : 0xbf;
		if (b[1] < low || b[1] > high)
			return 0;
	}
	for (size_t i = 2; i < n; i++)
		if ((b[i] & 0xc0) != 0x80)
			return 0;
	return n;
}

bool utf8_valid(const char *bytes, size_t len)
{
	for (size_t i = 0, n; i < len; i += n) {
		n = utf8_sequence(bytes + i, len - i);
		if (n == 0)
			return false;
	}
	return true;
}

static const char *html_entity(char c)
{
	switch (c) {
	case '&':
		return "&amp;";
	case '<':
		return "&lt;";
	case '>':
		return "&gt;";
	case '"':
		return "&quot;";
	case '\'':
		return "&#39;";
	default:
		return NULL;
	}
}

// C0, DEL and C1 (U+0080 to U+009F, whose UTF-8 begins with c2); U+FFFE and U+FFFF, which XML does not have.
static bool refused(const char *bytes, size_t n)
{
	const uint8_t *b = (const uint8_t *)bytes;

	return b[0] < ' ' || b[0] == 0x7f || (n == 2 && b[0] == 0xc2 && b[1] < 0xa0) ||
	       (n == 3 && b[0] == 0xef && b[1] == 0xbf && b[2] >= 0xbe);
}

void text_html(struct text *t, const char *bytes, size_t len)
{
	for (size_t i = 0, n; i < len; i += MAX(n, 1UL)) {
		n = utf8_sequence(bytes + i, len - i);
		const char *entity = html_entity(bytes[i]);
		if (entity)
			text_str(t, entity);
		else if (n == 0 || refused(bytes + i, n))
			text_str(t, replacement);
		else
			text_bytes(t, bytes + i, n);
	}
}

void text_json(struct text *t, const char *bytes, size_t len)
{
	for (size_t i = 0, n; i < len; i += MAX(n, 1UL)) {
		char c = bytes[i];
		n = utf8_sequence(bytes + i, len - i);
		if (n == 0) {
			text_str(t, replacement);
		} else if (c == '"' || c == '\\') {
			text_char(t, '\\');
			text_char(t, c);
		} else if ((uint8_t)c < ' ' || c == 0x7f) {
			text_str(t, "\\u00");
			text_char(t, hex[c >> 4]);
			text_char(t, hex[c & 15]);
		} else {
			text_bytes(t, bytes + i, n);
		}
	}
}

void text_log(struct text *t, const char *bytes, size_t len)
{
	for (size_t i = 0; i < len; i++) {
		uint8_t c = (uint8_t)bytes[i];
		if (c >= ' ' && c < 0x7f && c != '"' && c != '\\') {
			text_char(t, (char)c);
		} else {
			text_str(t, "\\x");
			text_char(t, hex[c >> 4]);
			text_char(t, hex[c & 15]);
		}
	}
}
