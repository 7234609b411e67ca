// SPDX-License-Identifier: BSD-2-Clause
// The thread that verifies passwords: see verify.h.
#include "server/verify.h"
#include "kernel/kprintf.h"
#include "kernel/kstat.h"
#include "kernel/kstring.h"
#include "kernel/pool.h"
#include "kernel/thread.h"
#include "server/auth.h"
#include "server/http_conn.h"
#include "server/http_job.h"

struct verify {
	struct http_job job;
	struct verify *next; // (V)
	struct verify_request request;
	int result; // the thread's, then done's
};

// V: the queue's lock. Those that wait, in order.
static struct spinlock lock = SPINLOCK_INIT("verify", RANK_HTTP);
static struct verify *first; // (V)
static struct waitq more;
static bool running;
static struct pool pool = POOL_INIT("verify", struct verify, VERIFY_MAX);
// Of those that wait or are verified: who they are for. Fast WTDs only.
static struct verify *waiting[VERIFY_MAX];
static uint64_t verified;
KSTAT_COUNTER(verified, "pagewire_auth_verified_total", "Passwords hashed to verify them");

static void done(struct http_job *job)
{
	struct verify *v = CONTAINER_OF(job, struct verify, job);
	struct http_exchange *x = job->x;

	auth_verified(x, &v->request, v->result);
	x->stage = HTTP_STAGE_ADMIT;
}

// Counted also when the client did not wait for the answer.
static void drop(struct http_job *job)
{
	struct verify *v = CONTAINER_OF(job, struct verify, job);

	if (v->result != -EAGAIN)
		auth_learn(&v->request, v->result);
	for (unsigned i = 0; i < VERIFY_MAX; i++)
		if (waiting[i] == v)
			waiting[i] = NULL;
	memset(&v->request, 0, sizeof(v->request));
	pool_free(&pool, v);
}

bool verify_start(struct http_exchange *x, const struct verify_request *request)
{
	struct verify *v, **at = &first;
	unsigned same = 0, place = VERIFY_MAX;

	for (unsigned i = 0; i < VERIFY_MAX; i++)
		if (!waiting[i])
			place = i;
		else
			same += memcmp(waiting[i]->request.source.address, request->source.address,
				       sizeof(request->source.address)) == 0;
	if (place == VERIFY_MAX || same >= VERIFY_PER_ADDRESS || !running ||
	    !(v = pool_alloc(&pool)))
		return false;
	waiting[place] = v;
	v->request = *request;
	v->result = -EAGAIN;
	v->job.done = done;
	v->job.drop = drop;
	http_job_wait(&v->job, x);
	spin_lock_wtd(&lock);
	while (*at)
		at = &(*at)->next;
	*at = v;
	spin_unlock_wtd(&lock);
	waitq_wake_one(&more);
	return true;
}

static void thread(void *arg)
{
	for (;;) {
		struct verify *v;
		spin_lock_wtd(&lock);
		while (!first)
			waitq_sleep(&more, &lock);
		v = first;
		first = v->next;
		spin_unlock_wtd(&lock);
		wtd_disable();
		bool known = auth_knows(&v->request); // another one asked the same meanwhile
		wtd_enable();
		if (known) {
			v->result = 0;
		} else if (!v->job.cancelled) {
			verified++;
			v->result = password_verify(v->request.hash, v->request.hash_len,
						    v->request.password, v->request.len);
		}
		http_job_finish(&v->job);
	}
}

void verify_start_thread(void)
{
	waitq_init(&more);
	running = thread_create("passwords", THREAD_NORMAL, thread, NULL);
	if (!running)
		kprintf("rights: no memory for the thread that verifies passwords\n");
}
