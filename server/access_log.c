// SPDX-License-Identifier: BSD-2-Clause
// The access log: see access_log.h.
#include "server/access_log.h"
#include "kernel/cmdline.h"
#include "kernel/kstat.h"
#include "kernel/kstring.h"
#include "kernel/serial.h"
#include "kernel/timer.h"
#include "server/http_conn.h"

static uint64_t lines, lost;
KSTAT_COUNTER(lines, "pagewire_access_log_lines_total", "Lines given to the access log's port");
KSTAT_COUNTER(lost, "pagewire_access_log_lost_total", "Access log lines lost to a full ring");

// Every byte of a field may become four; what is longer than its share is cut.
#define TARGET_MOST 2048
#define FIELD_MOST  512
#define LINE_MOST   (4 * (TARGET_MOST + 3 * FIELD_MOST) + 256)

static bool wanted = true;

static bool parse_log(const char *value)
{
	if (!value || (strcmp(value, "on") && strcmp(value, "off")))
		return false;
	wanted = !strcmp(value, "on");
	return true;
}
CMDLINE_OPTION(log, "log", "log=on | log=off  the access log on the second serial port", parse_log);

// Every put_* writes at `to` and returns where the next byte goes. `line` has room for the longest.
static inline char *put(char *to, const char *bytes, size_t len)
{
	memcpy(to, bytes, len);
	return to + len;
}

static char *put_u64(char *to, uint64_t value)
{
	char digits[20];
	size_t at = sizeof(digits);

	do {
		digits[--at] = (char)('0' + value % 10);
		value /= 10;
	} while (value);
	return put(to, digits + at, sizeof(digits) - at);
}

static char *put_time(char *to, int64_t now)
{
	static char stamp[32]; // of the second `made`
	static size_t len;
	static int64_t made = -1;

	if (UNLIKELY(now != made)) {
		struct text s = TEXT_OF(stamp);
		struct civil_time c;
		civil_from_unix(now, &c);
		text_digits(&s, c.day, 2);
		text_char(&s, '/');
		text_bytes(&s, "JanFebMarAprMayJunJulAugSepOctNovDec" + 3 * (c.month - 1), 3);
		text_char(&s, '/');
		text_digits(&s, (unsigned)c.year, 4);
		text_char(&s, ':');
		text_digits(&s, c.hour, 2);
		text_char(&s, ':');
		text_digits(&s, c.minute, 2);
		text_char(&s, ':');
		text_digits(&s, c.second, 2);
		text_str(&s, " +0000");
		len = s.len;
		made = now;
	}
	return put(to, stamp, len);
}

// Whether none of the eight bytes needs an escape: all of 0x20 to 0x7e, no quote, no backslash. Where the
// high bits are clear, adding carries nothing from byte to byte.
static inline bool plain(uint64_t word)
{
	const uint64_t ones = 0x0101010101010101, high = 0x80 * ones;
	uint64_t fits = word + 0x60 * ones; // high bit: 0x20 or more

	fits &= (word ^ '"' * ones) + 0x7f * ones; // high bit: is another
	fits &= (word ^ '\\' * ones) + 0x7f * ones;
	fits &= (word ^ 0x7f * ones) + 0x7f * ones;
	return (fits & ~word & high) == high;
}

// A client's bytes, escaped as text_log does it. Nearly all are plain: eight at a time, the last eight of
// them once more when the length is no multiple.
static char *put_log(char *to, const char *bytes, size_t len)
{
	struct text slow = {.out = to, .size = 4 * len};
	size_t at = 0;
	uint64_t word;

	for (; at + 8 <= len; at += 8) {
		memcpy(&word, bytes + at, 8);
		if (!plain(word))
			break;
		memcpy(to + at, &word, 8);
	}
	if (at && at + 8 > len) {
		memcpy(&word, bytes + len - 8, 8);
		if (plain(word)) {
			memcpy(to + len - 8, &word, 8);
			return to + len;
		}
	}
	slow.len = at;
	text_log(&slow, bytes + at, len - at);
	return to + slow.len;
}

static char *put_field(char *to, const char *head, struct http_view v, size_t most)
{
	if (!v.len)
		return put(to, "-", 1);
	return put_log(to, head + v.at, MIN((size_t)v.len, most));
}

// What there is of a request line that was refused: its first line, as far as it came.
static char *put_raw(char *to, const struct http_exchange *x)
{
	size_t len = MIN((size_t)x->parser.pos, (size_t)TARGET_MOST);
	const char *end = x->head ? memchr(x->head, '\r', len) : NULL;

	if (!x->head || !len)
		return put(to, "-", 1);
	return put_log(to, x->head, end ? (size_t)(end - x->head) : len);
}

static char *put_request(char *to, const struct http_exchange *x)
{
	const struct http_request *r = &x->request;

	if (!x->parsed)
		return put_raw(to, x);
	to = put_field(to, x->head, r->method_name, FIELD_MOST);
	*to++ = ' ';
	to = put_field(to, x->head, r->target, TARGET_MOST);
	to = put(to, " HTTP/1.", 8);
	*to++ = (char)('0' + r->minor); // one digit (RFC 9112, 2.3)
	return to;
}

bool access_log_on(void)
{
	return wanted && serial_present(SERIAL_2);
}

void access_log(const struct http_exchange *x)
{
	static char line[LINE_MOST];
	static const struct http_view none;
	const struct http_request *r = &x->request;
	const char *from = x->conn->from ? x->conn->from->text : "-";
	char *to = line;

	if (!access_log_on())
		return;
	to = put(to, from, strlen(from));
	to = put(to, " - - [", 6);
	to = put_time(to, http_now());
	to = put(to, "] \"", 3);
	to = put_request(to, x);
	to = put(to, "\" ", 2);
	*to++ = (char)('0' + x->status / 100 % 10);
	*to++ = (char)('0' + x->status / 10 % 10);
	*to++ = (char)('0' + x->status % 10);
	*to++ = ' ';
	to = put_u64(to, x->sent);
	to = put(to, " \"", 2);
	to = put_field(to, x->head, x->parsed ? r->referer : none, FIELD_MOST);
	to = put(to, "\" \"", 3);
	to = put_field(to, x->head, x->parsed ? r->user_agent : none, FIELD_MOST);
	to = put(to, "\"\r\n", 3);
	if (serial_queue(SERIAL_2, line, (size_t)(to - line)))
		lines++;
	else
		lost++;
}
