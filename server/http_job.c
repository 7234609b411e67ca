// SPDX-License-Identifier: BSD-2-Clause
// Work for an exchange that may sleep: see http_job.h.
#include "server/http_job.h"
#include "server/http_conn.h"

static void work(struct wtd *node)
{
	struct http_job *job = CONTAINER_OF(node, struct http_job, work);

	if (!job->cancelled)
		job->run(job);
	http_job_finish(job);
}

static void back(struct wtd *node)
{
	struct http_job *job = CONTAINER_OF(node, struct http_job, back);
	struct http_exchange *x = job->x;

	if (!job->cancelled) {
		x->job = NULL;
		job->done(job);
		job->drop(job);
		http_conn_kick(x->conn);
	} else {
		job->drop(job);
	}
}

void http_job_wait(struct http_job *job, struct http_exchange *x)
{
	wtd_init(&job->work, work, "http job");
	wtd_init(&job->back, back, "http job back");
	job->x = x;
	x->job = job;
	x->stage = HTTP_STAGE_WAIT_JOB;
}

void http_job_finish(struct http_job *job)
{
	wtd_post_fast(&job->back);
}

void http_job_start(struct http_job *job, struct http_exchange *x)
{
	http_job_wait(job, x);
	wtd_post(&job->work);
}

void http_job_cancel(struct http_job *job)
{
	job->cancelled = true;
	job->x = NULL;
}
