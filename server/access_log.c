// SPDX-License-Identifier: BSD-2-Clause
// The access log: see access_log.h.
#include "server/access_log.h"
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
#define LINE_MOST   (4 * (TARGET_MOST + 2 * FIELD_MOST) + 256)

static void time_stamp(struct text *t, int64_t now)
{
	static char stamp[32]; // of the second `made`
	static size_t len;
	static int64_t made = -1;

	if (now != made) {
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
	text_bytes(t, stamp, len);
}

static void field(struct text *t, const char *head, struct http_view v, size_t most)
{
	if (v.len)
		text_log(t, head + v.at, MIN((size_t)v.len, most));
	else
		text_char(t, '-');
}

// What there is of a request line that was refused: its first line, as far as it came.
static void raw_line(struct text *t, const struct http_exchange *x)
{
	size_t len = MIN((size_t)x->parser.pos, (size_t)TARGET_MOST);
	const char *end = x->head ? memchr(x->head, '\r', len) : NULL;

	if (x->head && len)
		text_log(t, x->head, end ? (size_t)(end - x->head) : len);
	else
		text_char(t, '-');
}

void access_log(const struct http_exchange *x)
{
	static char line[LINE_MOST];
	static const struct http_view none;
	const struct http_request *r = &x->request;
	struct text t = TEXT_OF(line);

	if (!serial_present(SERIAL_2))
		return;
	text_str(&t, x->conn->from ? x->conn->from->text : "-");
	text_str(&t, " - - [");
	time_stamp(&t, http_now());
	text_str(&t, "] \"");
	if (x->parsed) {
		field(&t, x->head, r->method_name, FIELD_MOST);
		text_char(&t, ' ');
		field(&t, x->head, r->target, TARGET_MOST);
		text_str(&t, " HTTP/1.");
		text_u64(&t, r->minor);
	} else {
		raw_line(&t, x);
	}
	text_str(&t, "\" ");
	text_digits(&t, x->status, 3);
	text_char(&t, ' ');
	text_u64(&t, x->sent);
	text_str(&t, " \"");
	field(&t, x->head, x->parsed ? r->referer : none, FIELD_MOST);
	text_str(&t, "\" \"");
	field(&t, x->head, x->parsed ? r->user_agent : none, FIELD_MOST);
	text_str(&t, "\"\n");
	if (serial_queue(SERIAL_2, t.out, t.len))
		lines++;
	else
		lost++;
}
