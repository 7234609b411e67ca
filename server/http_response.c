// SPDX-License-Identifier: BSD-2-Clause
// The heads of answers: see http_response.h.
#include "server/http_response.h"
#include "kernel/kstring.h"
#include "server/dirlist.h"
#include "server/http_date.h"
#include "server/http_file.h"
#include "server/http_method.h"
#include "server/http_mime.h"
#include "server/http_stream.h"
#include "server/rights.h"

static const struct {
	uint16_t status;
	const char *text;
} statuses[] = {
    {200, "OK"},
    {201, "Created"},
    {204, "No Content"},
    {206, "Partial Content"},
    {207, "Multi-Status"},
    {301, "Moved Permanently"},
    {304, "Not Modified"},
    {400, "Bad Request"},
    {401, "Unauthorized"},
    {403, "Forbidden"},
    {404, "Not Found"},
    {405, "Method Not Allowed"},
    {408, "Request Timeout"},
    {409, "Conflict"},
    {411, "Length Required"},
    {412, "Precondition Failed"},
    {413, "Content Too Large"},
    {414, "URI Too Long"},
    {415, "Unsupported Media Type"},
    {416, "Range Not Satisfiable"},
    {417, "Expectation Failed"},
    {422, "Unprocessable Content"},
    {423, "Locked"},
    {424, "Failed Dependency"},
    {429, "Too Many Requests"},
    {431, "Request Header Fields Too Large"},
    {500, "Internal Server Error"},
    {501, "Not Implemented"},
    {502, "Bad Gateway"},
    {503, "Service Unavailable"},
    {505, "HTTP Version Not Supported"},
    {507, "Insufficient Storage"},
};

const char *http_status_text(unsigned status)
{
	for (size_t i = 0; i < ARRAY_SIZE(statuses); i++)
		if (statuses[i].status == status)
			return statuses[i].text;
	return "Unknown";
}

static void field(struct text *t, const char *name, const char *value)
{
	text_str(t, name);
	text_str(t, ": ");
	text_str(t, value);
	text_str(t, "\r\n");
}

static void field_u64(struct text *t, const char *name, uint64_t value)
{
	text_str(t, name);
	text_str(t, ": ");
	text_u64(t, value);
	text_str(t, "\r\n");
}

void http_head_begin(struct text *t, unsigned status, const char *date)
{
	text_str(t, "HTTP/1.1 ");
	text_digits(t, status, 3);
	text_char(t, ' ');
	text_str(t, http_status_text(status));
	text_str(t, "\r\nServer: Pagewire\r\nDate: ");
	text_bytes(t, date, HTTP_DATE_LEN);
	text_str(t, "\r\n");
}

static void validators(struct text *t, const struct http_file *file)
{
	text_str(t, "Last-Modified: ");
	text_bytes(t, file->last_modified, HTTP_DATE_LEN);
	text_str(t, "\r\nETag: ");
	text_bytes(t, file->etag, file->etag_len);
	text_str(t, "\r\nAccept-Ranges: bytes\r\n");
}

static void content_type(struct text *t, uint32_t type)
{
	char value[HTTP_MIME_TEXT_MAX];

	http_mime_text(type, value);
	field(t, "Content-Type", value);
}

void http_head_file(struct text *t, const struct http_file *file, uint64_t length)
{
	content_type(t, file->type);
	field_u64(t, "Content-Length", length);
	validators(t, file);
}

void http_head_end(struct text *t, bool keep_alive, unsigned minor)
{
	if (!keep_alive)
		field(t, "Connection", "close");
	else if (minor == 0)
		field(t, "Connection", "keep-alive");
	text_str(t, "\r\n");
}

static void content_range(struct text *t, const struct http_range *range, uint64_t size)
{
	text_str(t, "Content-Range: bytes ");
	text_u64(t, range->first);
	text_char(t, '-');
	text_u64(t, range->last);
	text_char(t, '/');
	text_u64(t, size);
	text_str(t, "\r\n");
}

void http_part_head(const struct http_exchange *x, unsigned n, struct text *t)
{
	text_str(t, "\r\n--");
	text_str(t, x->parts->boundary);
	if (n == x->parts->count) {
		text_str(t, "--\r\n");
		return;
	}
	text_str(t, "\r\n");
	content_type(t, x->mime);
	content_range(t, &x->parts->ranges[n], x->size);
	text_str(t, "\r\n");
}

static uint64_t parts_length(const struct http_exchange *x)
{
	char head[512];
	uint64_t total = 0;

	for (unsigned n = 0; n <= x->parts->count; n++) {
		struct text t = TEXT_OF(head);
		http_part_head(x, n, &t);
		total += t.len;
		if (n < x->parts->count)
			total += x->parts->ranges[n].last - x->parts->ranges[n].first + 1;
	}
	return total;
}

static void file_fields(const struct http_exchange *x, struct text *t)
{
	const struct http_range range = {x->range_first, x->range_last};
	struct http_file *file = http_file_of(x->inode, x->mime);

	if (x->body == HTTP_BODY_PARTS) {
		text_str(t, "Content-Type: multipart/byteranges; boundary=");
		text_str(t, x->parts->boundary);
		text_str(t, "\r\n");
		field_u64(t, "Content-Length", parts_length(x));
		validators(t, file);
		return;
	}
	if (x->status == 206)
		content_range(t, &range, x->size);
	http_head_file(t, file, x->status == 206 ? range.last - range.first + 1 : x->size);
}

// The path of a redirect: never an authority ("//"), never a byte that could end the field.
static void location(const struct http_exchange *x, struct text *t)
{
	const struct http_request *r = &x->request;

	text_str(t, "Location: /");
	text_uri(t, x->path_text, x->path.len);
	text_char(t, '/');
	if (r->has_query)
		text_char(t, '?');
	for (uint16_t i = 0; r->has_query && i < r->query.len; i++) {
		char c = x->head[r->query.at + i];
		if ((uint8_t)c >= 0x80 || c == '"' || c == '<' || c == '>' || c == '\\')
			text_uri(t, &c, 1);
		else
			text_char(t, c);
	}
	text_str(t, "\r\n");
}

static void allow(const struct http_exchange *x, struct text *t)
{
	text_str(t, "Allow: ");
	http_allow(x, t);
	text_str(t, "\r\n");
}

static size_t short_answer(const struct http_exchange *x, struct text *t)
{
	char body[256];
	struct text b = TEXT_OF(body);

	text_digits(&b, x->status, 3);
	text_char(&b, ' ');
	text_str(&b, http_status_text(x->status));
	text_str(&b, "\n");
	text_str(&b, x->reason);
	text_str(&b, "\n");
	if (x->status == 301)
		location(x, t);
	if (x->status == 401)
		rights_challenge(x, t);
	if (x->status == 405)
		allow(x, t);
	if (x->status == 503 || x->status == 429)
		field(t, "Retry-After", "1");
	if (x->status == 416) {
		text_str(t, "Content-Range: bytes */");
		text_u64(t, x->inode->size);
		text_str(t, "\r\n");
	}
	field(t, "Content-Type", "text/plain; charset=utf-8");
	field(t, "X-Content-Type-Options", "nosniff");
	field_u64(t, "Content-Length", b.len);
	http_head_end(t, x->keep_alive, x->request.minor);
	if (x->headless_body)
		return 0;
	text_bytes(t, b.out, b.len);
	return b.len;
}

static size_t health(const struct http_exchange *x, struct text *t)
{
	bool good = !volumes_failed();
	const char *body = good ? "ok\n" : "degraded: a volume is read-only after an error\n";

	if (x->json)
		body = good ? "{\"status\":\"ok\"}\n" : "{\"status\":\"degraded\"}\n";
	field(t, "Content-Type", x->json ? "application/json" : "text/plain; charset=utf-8");
	field(t, "X-Content-Type-Options", "nosniff");
	field(t, "Cache-Control", "no-store");
	field_u64(t, "Content-Length", strlen(body));
	http_head_end(t, x->keep_alive, x->request.minor);
	if (x->headless_body)
		return 0;
	text_str(t, body);
	return strlen(body);
}

static void generated_fields(const struct http_exchange *x, struct text *t)
{
	if (x->body == HTTP_BODY_MADE) {
		field(t, "Content-Type", x->made_type);
		field(t, "Cache-Control", "no-store");
		field_u64(t, "Content-Length", x->made.len);
	} else if (x->body == HTTP_BODY_STREAM) {
		field(t, "Content-Type", x->made_type);
		field(t, "Cache-Control", "no-store");
		if (x->chunked)
			field(t, "Transfer-Encoding", "chunked");
		else if (x->stream->last)
			field_u64(t, "Content-Length", x->stream->len);
	} else {
		field(t, "Content-Type", x->json ? "application/json" : "text/html; charset=utf-8");
		field(t, "Cache-Control", "no-cache");
		field(t, "Vary", "Accept");
		field(t, "Content-Security-Policy",
		      "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; "
		      "form-action 'none'; frame-ancestors 'none'");
		if (x->chunked)
			field(t, "Transfer-Encoding", "chunked");
		else if (x->listing && x->listing->length)
			field_u64(t, "Content-Length", x->listing->length);
	}
	field(t, "X-Content-Type-Options", "nosniff");
}

// RFC 4918 section 10.1; and what makes Microsoft's clients ask for WebDAV rather than FrontPage. A 200 without a body,
// as other servers give it: some clients take a 204 for a server without WebDAV.
static void options(const struct http_exchange *x, struct text *t)
{
	allow(x, t);
	field(t, "DAV", rights_writing() ? "1, 2, 3" : "1, 3");
	field(t, "MS-Author-Via", "DAV");
	field_u64(t, "Content-Length", 0);
}

size_t http_response_head(const struct http_exchange *x, struct text *t)
{
	char date[HTTP_DATE_LEN];

	http_date_format(http_now(), date);
	http_head_begin(t, x->status, date);
	if (x->fields)
		x->fields(x, t);
	switch (x->body) {
	case HTTP_BODY_SHORT:
		return short_answer(x, t);
	case HTTP_BODY_HEALTH:
		return health(x, t);
	case HTTP_BODY_NONE:
		if (x->status == 304)
			validators(t, http_file_of(x->inode, x->mime));
		else if (x->request.method == HTTP_OPTIONS)
			options(x, t);
		break;
	case HTTP_BODY_FILE:
	case HTTP_BODY_PARTS:
		file_fields(x, t);
		break;
	default:
		generated_fields(x, t);
	}
	http_head_end(t, x->keep_alive, x->request.minor);
	return 0;
}
