// SPDX-License-Identifier: BSD-2-Clause
// The metrics page: see metrics.h. A worker writes it, because it is long and a packet may not wait for
// it.
#include "server/metrics.h"
#include "kernel/kprintf.h"
#include "kernel/kstat.h"
#include "kernel/kstring.h"
#include "kernel/pmm.h"
#include "server/http_conn.h"
#include "server/http_job.h"

#define FIRST_BYTES (64UL << 10)
#define MOST_BYTES  (4UL << 20) // what cannot be said in 4 MB is left out

struct metrics {
	struct http_job job;
	struct http_made text;
	bool full;
};

// Scrapers come every few seconds; more at once than this are told to wait.
static struct pool pool = POOL_INIT("http_metrics", struct metrics, 16);

static bool grow(struct metrics *m)
{
	size_t size = m->text.size * 2;
	char *bytes = size <= MOST_BYTES ? kpages_alloc(size) : NULL;

	if (!bytes)
		return false;
	memcpy(bytes, m->text.bytes, m->text.len);
	kpages_free(m->text.bytes, m->text.size);
	m->text.bytes = bytes;
	m->text.size = size;
	return true;
}

static void emit(void *ctx, const char *format, ...)
{
	struct metrics *m = ctx;
	va_list args;

	while (!m->full) {
		size_t room = m->text.size - m->text.len;
		va_start(args, format);
		int len = kvsnprintf(m->text.bytes + m->text.len, room, format, args);
		va_end(args);
		if (len >= 0 && (size_t)len < room) {
			m->text.len += (size_t)len;
			return;
		}
		m->full = !grow(m);
	}
}

// A line that did not fit was cut: the text ends with the last whole one.
static void run(struct http_job *job)
{
	struct metrics *m = CONTAINER_OF(job, struct metrics, job);

	kstat_write(emit, m);
	while (m->full && m->text.len && m->text.bytes[m->text.len - 1] != '\n')
		m->text.len--;
}

static void done(struct http_job *job)
{
	struct metrics *m = CONTAINER_OF(job, struct metrics, job);

	job->x->made = m->text;
	job->x->made_type = "text/plain; version=0.0.4; charset=utf-8";
	m->text.bytes = NULL;
	job->x->stage = HTTP_STAGE_SEND;
}

static void drop(struct http_job *job)
{
	struct metrics *m = CONTAINER_OF(job, struct metrics, job);

	if (m->text.bytes)
		kpages_free(m->text.bytes, m->text.size);
	pool_free(&pool, m);
}

bool metrics_start(struct http_exchange *x)
{
	struct metrics *m = pool_alloc(&pool);

	if (!m)
		return false;
	m->text.bytes = kpages_alloc(FIRST_BYTES);
	m->text.size = FIRST_BYTES;
	if (!m->text.bytes) {
		pool_free(&pool, m);
		return false;
	}
	m->job.run = run;
	m->job.done = done;
	m->job.drop = drop;
	http_job_start(&m->job, x);
	return true;
}
