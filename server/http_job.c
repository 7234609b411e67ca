// SPDX-License-Identifier: BSD-2-Clause
// Work for an exchange that may sleep: see http_job.h.
#include "server/http_job.h"
#include "kernel/kstat.h"
#include "server/http_conn.h"

// Fast WTDs only.
static struct gate {
	unsigned most, running;
	struct http_job *first, *last; // that wait
} gates[HTTP_JOB_KINDS] = {
    [HTTP_JOB_CHANGE] = {.most = HTTP_CHANGES_MOST},
    [HTTP_JOB_TREE] = {.most = HTTP_TREES_MOST},
};
static uint64_t held_back;
KSTAT_COUNTER(held_back, "pagewire_http_jobs_held_back_total",
	      "Changes that waited for others to be done before they got a worker");

static void enter(struct gate *gate, struct http_job *job)
{
	if (gate->running < gate->most) {
		gate->running++;
		wtd_post(&job->work);
		return;
	}
	held_back++;
	job->next = NULL;
	*(gate->first ? &gate->last->next : &gate->first) = job;
	gate->last = job;
}

static void leave(struct gate *gate)
{
	struct http_job *next = gate->first;

	gate->running--;
	if (!next)
		return;
	gate->first = next->next;
	gate->running++;
	wtd_post(&next->work);
}

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

	if (job->kind != HTTP_JOB_READ)
		leave(&gates[job->kind]);
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
	if (job->kind == HTTP_JOB_READ)
		wtd_post(&job->work);
	else
		enter(&gates[job->kind], job);
}

void http_job_cancel(struct http_job *job)
{
	job->cancelled = true;
	job->x = NULL;
}
