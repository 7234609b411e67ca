// SPDX-License-Identifier: BSD-2-Clause
// Paths of requests: see http_uri.h.
#include "server/http_uri.h"
#include "kernel/kstring.h"

static int hex_digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	c |= 0x20;
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

// Decodes one segment to out[at...]. 0 and the new end in *end, or a status.
static int decode_segment(const char *raw, size_t len, char *out, size_t at, size_t *end)
{
	for (size_t i = 0; i < len; i++) {
		char c = raw[i];
		if (c == '%') {
			int high = i + 1 < len ? hex_digit(raw[i + 1]) : -1;
			int low = i + 2 < len ? hex_digit(raw[i + 2]) : -1;
			if (high < 0 || low < 0)
				return 400;
			c = (char)(high << 4 | low);
			if (c == 0)
				return 400;
			if (c == '/')
				return 404;
			i += 2;
		}
		if (at == HTTP_PATH_MAX)
			return 414;
		out[at++] = c;
	}
	*end = at;
	return 0;
}

// The end of the path without its last segment.
static size_t parent_of(const char *path, size_t len)
{
	while (len && path[len - 1] != '/')
		len--;
	return len ? len - 1 : 0;
}

int http_path_decode(const char *raw, size_t len, char *out, struct http_path *path)
{
	static const char reserved[] = ".pagewire";
	size_t at = 0, i = 0;

	*path = (struct http_path){.directory = true};
	while (i < len) {
		if (raw[i] == '/') {
			path->directory = true;
			i++;
			continue;
		}
		const char *slash = memchr(raw + i, '/', len - i);
		size_t n = slash ? (size_t)(slash - (raw + i)) : len - i;
		size_t start = at ? at + 1 : 0, end;
		if (start >= HTTP_PATH_MAX)
			return 414;
		int status = decode_segment(raw + i, n, out, start, &end);
		if (status)
			return status;
		i += n;
		path->directory = true;
		if (end - start == 1 && out[start] == '.')
			continue;
		if (end - start == 2 && out[start] == '.' && out[start + 1] == '.') {
			at = parent_of(out, at);
			continue;
		}
		if (at)
			out[at] = '/';
		at = end;
		path->directory = false;
	}
	path->len = (uint16_t)at;
	size_t first = sizeof(reserved) - 1;
	path->reserved =
	    at >= first && memcmp(out, reserved, first) == 0 && (at == first || out[first] == '/');
	return 0;
}

static bool starts(const char *text, size_t len, const char *lower)
{
	size_t n = strlen(lower);

	return len >= n && kstrncasecmp(text, lower, n) == 0;
}

// Without the port that goes without saying.
static size_t authority_len(const char *text, size_t len, const char *port)
{
	size_t n = strlen(port);

	return len > n && memcmp(text + len - n, port, n) == 0 ? len - n : len;
}

int http_destination_decode(const char *value, size_t len, const char *host, size_t host_len,
			    char *out, struct http_path *path)
{
	bool plain = starts(value, len, "http://"), secure = starts(value, len, "https://");
	size_t at = plain ? 7 : secure ? 8 : 0, from = at, end;

	if (plain || secure) {
		const char *port = plain ? ":80" : ":443";
		while (at < len && value[at] != '/' && value[at] != '?' && value[at] != '#')
			at++;
		end = authority_len(value + from, at - from, port);
		host_len = authority_len(host, host_len, port);
		if (end != host_len || kstrncasecmp(value + from, host, end) != 0)
			return 502;
	} else if (len == 0 || value[0] != '/' || (len > 1 && value[1] == '/')) {
		return 400;
	}
	for (end = at; end < len && value[end] != '?' && value[end] != '#'; end++)
		if ((uint8_t)value[end] <= ' ')
			return 400;
	return http_path_decode(value + at, end - at, out, path);
}

bool http_query_value(const char *query, size_t len, const char *key, const char **value,
		      size_t *value_len)
{
	size_t key_len = strlen(key), at = 0;

	while (at < len) {
		const char *amp = memchr(query + at, '&', len - at);
		size_t n = amp ? (size_t)(amp - (query + at)) : len - at;
		if (n > key_len && query[at + key_len] == '=' &&
		    memcmp(query + at, key, key_len) == 0) {
			*value = query + at + key_len + 1;
			*value_len = n - key_len - 1;
			return true;
		}
		at += n + 1;
	}
	return false;
}
