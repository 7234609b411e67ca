// SPDX-License-Identifier: BSD-2-Clause
// Request bodies: see http_body.h. Chunked coding is RFC 9112 section 7.1, read strictly: CR LF
// only, at least one hex digit, extensions and trailers bounded and otherwise ignored.
//
//   SIZE --hex--> SIZE --';'--> EXTENSION --CR--> SIZE_LF --LF--> DATA --> DATA_CR --> DATA_LF --> SIZE
//     |  CR ------------------------------------------^  size 0 --> TRAILER_START
//   TRAILER_START --CR--> LAST_LF --LF--> ENDED
//        |  ^---------------------------------------------LF--+
//        +--token--> TRAILER_NAME --':'--> TRAILER --CR--> TRAILER_LF
#include "server/http_body.h"
#include "kernel/kstring.h"

enum state {
	PLAIN,
	SIZE,
	EXTENSION,
	SIZE_LF,
	DATA,
	DATA_CR,
	DATA_LF,
	TRAILER_START,
	TRAILER_NAME,
	TRAILER,
	TRAILER_LF,
	LAST_LF,
	ENDED,
	REFUSED
};

#define LINE_MAX 1024

bool http_body_init(struct http_body *body, const struct http_request *request)
{
	*body = (struct http_body){.left = request->content_length,
				   .state = request->chunked ? SIZE : PLAIN};
	return request->chunked || request->content_length;
}

static int hex_digit(uint8_t c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	c |= 0x20;
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

static enum state at_size(struct http_body *body, uint8_t c)
{
	int digit = hex_digit(c);

	if (digit >= 0) {
		if (body->digits++ == 15)
			return REFUSED;
		body->left = body->left << 4 | (unsigned)digit;
		return SIZE;
	}
	if (body->digits == 0)
		return REFUSED;
	if (c == '\r')
		return SIZE_LF;
	body->line = 0;
	return c == ';' ? EXTENSION : REFUSED;
}

static bool text_byte(struct http_body *body, uint8_t c)
{
	return (c >= ' ' || c == '\t') && c != 0x7f && ++body->line <= LINE_MAX;
}

static enum state step(struct http_body *body, uint8_t c)
{
	switch (body->state) {
	case SIZE:
		return at_size(body, c);
	case EXTENSION:
		if (c == '\r')
			return SIZE_LF;
		return text_byte(body, c) ? EXTENSION : REFUSED;
	case SIZE_LF:
		body->digits = 0;
		body->line = 0;
		if (c != '\n')
			return REFUSED;
		return body->left ? DATA : TRAILER_START;
	case DATA_CR:
		return c == '\r' ? DATA_LF : REFUSED;
	case DATA_LF:
		return c == '\n' ? SIZE : REFUSED;
	case TRAILER_START:
		if (c == '\r')
			return LAST_LF;
		return http_is_tchar(c) && text_byte(body, c) ? TRAILER_NAME : REFUSED;
	case TRAILER_NAME: // without its colon it may be the next request's line
		if (c == ':')
			return TRAILER;
		return http_is_tchar(c) && text_byte(body, c) ? TRAILER_NAME : REFUSED;
	case TRAILER:
		if (c == '\r')
			return TRAILER_LF;
		return text_byte(body, c) ? TRAILER : REFUSED;
	case TRAILER_LF:
		return c == '\n' ? TRAILER_START : REFUSED;
	case LAST_LF:
		return c == '\n' ? ENDED : REFUSED;
	default:
		return REFUSED;
	}
}

enum http_body_result http_body_skip(struct http_body *body, const char *bytes, size_t len,
				     size_t *used)
{
	size_t i = 0;

	while (i < len && body->state < ENDED) {
		if (body->taken >= HTTP_BODY_MAX)
			break;
		if (body->state == PLAIN || body->state == DATA) {
			size_t n = MIN(MIN(body->left, len - i), HTTP_BODY_MAX - body->taken);
			i += n;
			body->taken += n;
			body->left -= n;
			if (body->left == 0)
				body->state = body->state == PLAIN ? ENDED : DATA_CR;
			continue;
		}
		body->state = step(body, (uint8_t)bytes[i]);
		i++;
		body->taken++;
	}
	*used = i;
	if (body->state == REFUSED)
		return HTTP_BODY_BAD;
	if (body->state == ENDED)
		return HTTP_BODY_END;
	return body->taken >= HTTP_BODY_MAX ? HTTP_BODY_TOO_LONG : HTTP_BODY_MORE;
}

enum http_body_result http_body_next(struct http_body *body, const char *bytes, size_t len,
				     size_t *used, size_t *data)
{
	size_t i = 0;

	while (body->state < ENDED) {
		if ((body->state == PLAIN || body->state == DATA) && body->left) {
			*used = i;
			*data = MIN(body->left, len - i);
			return *data ? HTTP_BODY_DATA : HTTP_BODY_MORE;
		}
		if (body->state == PLAIN) {
			body->state = ENDED;
			break;
		}
		if (i == len)
			break;
		body->state = step(body, (uint8_t)bytes[i]);
		i++;
	}
	*used = i;
	*data = 0;
	if (body->state == REFUSED)
		return HTTP_BODY_BAD;
	return body->state == ENDED ? HTTP_BODY_END : HTTP_BODY_MORE;
}

void http_body_took(struct http_body *body, size_t n)
{
	body->left -= n;
	if (body->left == 0)
		body->state = body->state == PLAIN ? ENDED : DATA_CR;
}
