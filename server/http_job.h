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
//
// Who changes a volume may wait for the journal and for write-behind, which need workers themselves: of such jobs only
// so many run at once (HTTP_CHANGES_MOST, HTTP_TREES_MOST), and the others wait in order without a worker.
#pragma once

#include "kernel/wtd.h"

struct http_exchange;

enum http_job_kind {
	HTTP_JOB_READ,
	HTTP_JOB_CHANGE, // a few transactions
	HTTP_JOB_TREE,	 // a whole file or collection: may take minutes
	HTTP_JOB_KINDS
};
// Together half of the workers that there may be (WORKERS_MAX).
#define HTTP_CHANGES_MOST 48
#define HTTP_TREES_MOST	  16

struct http_job {
	struct wtd work, back;
	struct http_exchange *x;
	enum http_job_kind kind; // before http_job_start
	struct http_job *next;	 // http_job.c's: of those that wait
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
