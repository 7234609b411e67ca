// SPDX-License-Identifier: BSD-2-Clause
// The byte machine of the request parser: RFC 9112's grammar for a request head, one look at each
// byte. See http_parse.h for the contract; http_head.c gives the meaning.
//
//   START --tchar--> METHOD --SP--> TARGET --SP--> VERSION --CR--> LINE_LF --LF--> FIELD
//     ^ CR LF (at most four)                                                         |  |
//     +--> BLANK_LF                            FIELD --tchar--> NAME --':'--> VALUE  |  CR
//                                                ^------LF-- VALUE_LF <--CR----+     v
//   any: a byte that does not belong --> BAD                      DONE <--LF-- END_LF
#include "server/http_parse.h"
#include "kernel/kstring.h"

enum state {
	START,
	BLANK_LF,
	METHOD,
	TARGET,
	VERSION, // and so on: VERSION + n after n bytes of "HTTP/1.1"
	VERSION_LAST = VERSION + 7,
	LINE_CR,
	LINE_LF,
	FIELD,
	NAME,
	VALUE,
	VALUE_LF,
	END_LF,
	DONE,
	BAD
};

#define METHOD_MAX	32
#define BLANK_LINES_MAX 4

enum { C_TOKEN = 1, C_TARGET = 2, C_VALUE = 4 };

// RFC 9110 section 5.6.2 (token), section 5.5 (field values: VCHAR, obs-text, SP, HTAB). In a target
// every visible byte but '#' is taken and so are bytes above 0x7f, which curl sends unescaped.
#define TOKEN_PUNCTUATION "!#$%&'*+-.^_`|~"
static uint8_t class_of(uint8_t c)
{
	uint8_t class = 0;

	if ((c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') ||
	    (c != 0 && strchr(TOKEN_PUNCTUATION, c)))
		class |= C_TOKEN;
	if (c > ' ' && c != 0x7f && c != '#')
		class |= C_TARGET;
	if ((c >= ' ' && c != 0x7f) || c == '\t')
		class |= C_VALUE;
	return class;
}

static uint8_t classes[256];

static void classes_fill(void)
{
	for (unsigned c = 0; c < 256; c++)
		classes[c] = class_of((uint8_t)c);
}

bool http_is_tchar(uint8_t c)
{
	if (UNLIKELY(!classes['a']))
		classes_fill();
	return classes[c] & C_TOKEN;
}

void http_parser_init(struct http_parser *p)
{
	if (UNLIKELY(!classes['a']))
		classes_fill();
	memset(p, 0, sizeof(*p));
}

bool http_parser_started(const struct http_parser *p)
{
	return p->state != START && p->state != BLANK_LF;
}

static enum state bad(struct http_parser *p, uint16_t status, const char *reason)
{
	p->status = status;
	p->reason = reason;
	return BAD;
}

static enum state at_start(struct http_parser *p, uint8_t c)
{
	if (c == '\r') {
		if (++p->blank_lines > BLANK_LINES_MAX)
			return bad(p, 400, "Too many empty lines before the request.");
		return BLANK_LF;
	}
	if (!(classes[c] & C_TOKEN))
		return bad(p, 400, "The request does not begin with a method.");
	p->method_at = p->pos;
	return METHOD;
}

static enum state at_method(struct http_parser *p, uint8_t c)
{
	p->method_len = p->pos - p->method_at;
	if (c == ' ') {
		p->target_at = p->pos + 1;
		return TARGET;
	}
	if (!(classes[c] & C_TOKEN))
		return bad(p, 400, "The method has a character that no method has.");
	if (p->method_len >= METHOD_MAX)
		return bad(p, 501, "The method is not known here.");
	return METHOD;
}

static enum state at_target(struct http_parser *p, const struct http_parse_limits *limits,
			    uint8_t c)
{
	p->target_len = p->pos - p->target_at;
	if (c == ' ')
		return p->target_len ? VERSION : bad(p, 400, "The request target is empty.");
	if (!(classes[c] & C_TARGET))
		return bad(p, 400, "The request target has a character that must be escaped.");
	if (p->target_len >= limits->target_max)
		return bad(p, 414, "The request target is too long.");
	return TARGET;
}

// "HTTP/" 1*DIGIT "." 1*DIGIT; RFC 9112 section 2.3 has one digit each.
static enum state at_version(struct http_parser *p, enum state state, uint8_t c)
{
	static const char form[] = "HTTP/0.0";
	unsigned i = state - VERSION;

	if (form[i] != '0') {
		if (c != (uint8_t)form[i])
			return bad(p, 400, "The request line does not end with an HTTP version.");
	} else if (c < '0' || c > '9') {
		return bad(p, 400, "The HTTP version is malformed.");
	} else if (i == 5 && c != '1') {
		return bad(p, 505, "Only HTTP/1.0 and HTTP/1.1 are spoken here.");
	} else if (i == 7) {
		p->minor = c - '0';
	}
	return state + 1;
}

static enum state at_field(struct http_parser *p, const struct http_parse_limits *limits, uint8_t c)
{
	if (c == '\r')
		return END_LF;
	if (c == ' ' || c == '\t')
		return bad(p, 400, "A field line is folded.");
	if (!(classes[c] & C_TOKEN))
		return bad(p, 400, "A field name is malformed.");
	if (++p->header_count > limits->headers_max)
		return bad(p, 431, "The request has too many fields.");
	return NAME;
}

static enum state step(struct http_parser *p, const struct http_parse_limits *limits, uint8_t c)
{
	switch (p->state) {
	case START:
		return at_start(p, c);
	case BLANK_LF:
		return c == '\n' ? START : bad(p, 400, "A carriage return stands alone.");
	case METHOD:
		return at_method(p, c);
	case TARGET:
		return at_target(p, limits, c);
	case LINE_CR:
		return c == '\r' ? LINE_LF : bad(p, 400, "The request line is malformed.");
	case LINE_LF:
		p->headers_at = p->pos + 1;
		return c == '\n' ? FIELD : bad(p, 400, "A carriage return stands alone.");
	case FIELD:
		return at_field(p, limits, c);
	case NAME:
		if (c == ':')
			return VALUE;
		return classes[c] & C_TOKEN ? NAME : bad(p, 400, "A field name is malformed.");
	case VALUE:
		if (c == '\r')
			return VALUE_LF;
		return classes[c] & C_VALUE ? VALUE
					    : bad(p, 400, "A field value has a control character.");
	case VALUE_LF:
		return c == '\n' ? FIELD : bad(p, 400, "A carriage return stands alone.");
	case END_LF:
		return c == '\n' ? DONE : bad(p, 400, "A carriage return stands alone.");
	default:
		return at_version(p, p->state, c);
	}
}

// The long runs of a head: how many of the bytes the present state takes without looking up, and the end
// of nearly every request line in one step.
static size_t run_of(struct http_parser *p, const struct http_parse_limits *limits,
		     const char *bytes, size_t len)
{
	static const char newest[] = "HTTP/1.1\r\n";
	uint8_t mask;
	size_t i = 0;

	switch (p->state) {
	case TARGET:
		mask = C_TARGET;
		len = MIN(len, (size_t)(p->target_at + limits->target_max - p->pos));
		break;
	case NAME:
		mask = C_TOKEN;
		break;
	case VALUE:
		mask = C_VALUE;
		break;
	case VERSION:
		if (len < sizeof(newest) - 1 || memcmp(bytes, newest, sizeof(newest) - 1) != 0)
			return 0;
		p->minor = 1;
		p->headers_at = p->pos + sizeof(newest) - 1;
		p->state = FIELD;
		return sizeof(newest) - 1;
	default:
		return 0;
	}
	while (i < len && (classes[(uint8_t)bytes[i]] & mask))
		i++;
	return i;
}

enum http_parse_result http_parse(struct http_parser *p, const struct http_parse_limits *limits,
				  const char *bytes, size_t len, size_t *used)
{
	size_t i = 0, end = MIN(len, (size_t)(limits->head_max - p->pos));

	while (i < end && p->state < DONE) {
		size_t run = run_of(p, limits, bytes + i, end - i);
		i += run;
		p->pos += (uint16_t)run;
		if (i == end)
			break;
		p->state = step(p, limits, (uint8_t)bytes[i]);
		if (p->state == BAD)
			break;
		i++;
		p->pos++;
	}
	*used = i;
	if (i == end && end < len && p->state < DONE)
		p->state = p->state == TARGET
			       ? bad(p, 414, "The request target is too long.")
			       : bad(p, 431, "The request's header section is too large.");
	if (p->state == BAD)
		return HTTP_PARSE_ERROR;
	return p->state == DONE ? HTTP_PARSE_HEAD : HTTP_PARSE_MORE;
}
