// SPDX-License-Identifier: BSD-2-Clause
// Asks llhttp about a request head: see fuzz_llhttp.h.
#include "fuzz_llhttp.h"
#include "llhttp.h"

static int on_head(llhttp_t *parser)
{
	struct llhttp_answer *answer = parser->data;

	answer->accepted = true;
	answer->chunked = parser->flags & F_CHUNKED;
	answer->length = parser->flags & F_CONTENT_LENGTH ? parser->content_length : 0;
	return HPE_PAUSED;
}

void llhttp_ask(const char *head, size_t len, struct llhttp_answer *answer)
{
	static llhttp_settings_t settings;
	static llhttp_t parser;

	*answer = (struct llhttp_answer){0};
	llhttp_settings_init(&settings);
	settings.on_headers_complete = on_head;
	llhttp_init(&parser, HTTP_REQUEST, &settings);
	parser.data = answer;
	llhttp_execute(&parser, head, len);
	answer->reason = answer->accepted ? 0 : llhttp_get_error_reason(&parser);
}
