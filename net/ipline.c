// SPDX-License-Identifier: BSD-2-Clause
// Parses the `ip=` word, see the header. Strict: four decimal numbers of one to three digits for an
// address, a contiguous mask, a client that can be a host's.
#include "net/ipline.h"
#include "kernel/kstring.h"

struct field {
	const char *text;
	size_t len;
};
enum { CLIENT, SERVER, GATEWAY, MASK, HOST, DEVICE, AUTOCONF, FIELDS };

static bool is(const struct field *field, const char *word)
{
	return field->len == strlen(word) && !memcmp(field->text, word, field->len);
}

static bool parse_address(const struct field *field, uint32_t *out)
{
	const char *at = field->text, *end = field->text + field->len;
	uint8_t *byte = (uint8_t *)out;

	for (unsigned i = 0; i < 4; i++) {
		unsigned value = 0, digits = 0;

		for (; at < end && *at >= '0' && *at <= '9' && digits < 3; at++, digits++)
			value = value * 10 + (*at - '0');
		if (!digits || value > 255)
			return false;
		byte[i] = value;
		if (i < 3 && (at == end || *at++ != '.'))
			return false;
	}
	return at == end;
}

static bool parse_optional(const struct field *field, uint32_t *out)
{
	*out = 0;
	return !field->len || parse_address(field, out);
}

static uint32_t host_order(uint32_t address)
{
	return __builtin_bswap32(address);
}

// As Linux does when no mask is given: by the old classes.
static uint32_t class_mask(uint32_t client)
{
	uint8_t first = client & 0xff;

	return host_order(first < 128 ? 0xff000000 : first < 192 ? 0xffff0000 : 0xffffff00);
}

static bool host_address(uint32_t client, uint32_t mask)
{
	uint32_t address = host_order(client), bits = ~host_order(mask);
	uint8_t first = address >> 24;

	if (first == 0 || first == 127 || first >= 224)
		return false;
	return bits <= 1 || ((address & bits) != 0 && (address & bits) != bits);
}

static bool copy_word(const struct field *field, char *out, size_t size)
{
	if (field->len >= size)
		return false;
	memcpy(out, field->text, field->len);
	out[field->len] = 0;
	return true;
}

static bool method_word(const struct field *field, enum ip_method *method, enum ip_method off)
{
	if (is(field, "dhcp") || is(field, "on") || is(field, "any"))
		*method = IP_DHCP;
	else if (is(field, "off") || is(field, "none"))
		*method = off;
	else
		return false;
	return true;
}

static bool parse_fields(const struct field *fields, struct ip_line *line)
{
	uint32_t server, bits;

	if (!parse_optional(&fields[CLIENT], &line->client) ||
	    !parse_optional(&fields[SERVER], &server) ||
	    !parse_optional(&fields[GATEWAY], &line->gateway) ||
	    !parse_optional(&fields[MASK], &line->mask) ||
	    !copy_word(&fields[HOST], line->host, sizeof(line->host)) ||
	    !copy_word(&fields[DEVICE], line->device, sizeof(line->device)))
		return false;
	line->method = line->client ? IP_STATIC : IP_DHCP;
	if (fields[AUTOCONF].len) {
		enum ip_method asked;

		if (!method_word(&fields[AUTOCONF], &asked, IP_STATIC))
			return false;
		line->method = asked;
	}
	if (line->method == IP_DHCP)
		return true;
	if (!line->client)
		return false;
	if (!line->mask)
		line->mask = class_mask(line->client);
	bits = ~host_order(line->mask);
	return !(bits & (bits + 1)) && host_address(line->client, line->mask);
}

bool ip_line_parse(const char *text, struct ip_line *line)
{
	struct field fields[FIELDS] = {0};
	struct field whole = {text, strlen(text)};
	unsigned n = 0;

	memset(line, 0, sizeof(*line));
	if (method_word(&whole, &line->method, IP_OFF))
		return true;
	if (!strchr(text, ':') && !strchr(text, '.'))
		return false;
	for (const char *at = text;; at++) {
		const char *end = strchr(at, ':');

		if (n == FIELDS)
			return false;
		fields[n++] = (struct field){at, end ? (size_t)(end - at) : strlen(at)};
		if (!end)
			break;
		at = end;
	}
	for (unsigned i = n; i < FIELDS; i++)
		fields[i].text = "";
	return parse_fields(fields, line);
}
