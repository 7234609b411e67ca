// SPDX-License-Identifier: BSD-2-Clause
// Work for an exchange that may sleep (listings, metrics): runs on a pooled worker, comes back in fast WTD
// context. The job belongs to whoever started it until `done`, then to `drop`; when the client vanishes
// meanwhile the job runs on without it and is dropped.
//
//	job->run = ...; job->done = ...; job->drop = ...;
//	http_job_start(job, x);               // x waits in HTTP_STAGE_WAIT_JOB
//	run(job)                              // worker: may sleep; looks at job->cancelled now and then
//	done(job)                             // fast WTD: hands the result to job->x and sets its stage
//	drop(job)                             // fast WTD: always the last call
#pragma once

#include "kernel/wtd.h"

struct http_exchange;

struct http_job {
	struct wtd work, back;
	struct http_exchange *x;
	volatile bool cancelled;
	void (*run)(struct http_job *job);
	void (*done)(struct http_job *job);
	void (*drop)(struct http_job *job);
};

void http_job_start(struct http_job *job, struct http_exchange *x); // fast WTD context
// The same for what is not done by a pooled worker (a thread of its own, a completion): x waits, `run` is not
// called, and who does the work calls http_job_finish.
void http_job_wait(struct http_job *job, struct http_exchange *x); // fast WTD context
void http_job_finish(struct http_job *job);			   // any context
void http_job_cancel(struct http_job *job);			   // fast WTD context
