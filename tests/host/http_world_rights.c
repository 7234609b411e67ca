// SPDX-License-Identifier: BSD-2-Clause
// Rights in the HTTP server's world (http_world.h): a users file that the test writes, and passwords that
// are verified by a glance: the hash of "secret" is "$argon2id$secret". The rest is the server's own.
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <cmocka.h>
#include "http_world_private.h"
#include "kernel/kstring.h"
#include "fs/file.h"
#include "server/auth.h"
#include "server/dav_lock.h"
#include "server/http_conn.h"
#include "server/http_job.h"
#include "server/rights_file.h"
#include "server/users.h"
#include "server/verify.h"

uint64_t world_hidden;
unsigned world_verifying, world_verified;

struct glance {
	struct http_job job;
	struct verify_request request;
	int result;
};

static void run(struct http_job *job)
{
	struct glance *g = CONTAINER_OF(job, struct glance, job);
	size_t len = g->request.hash_len - 10;

	world_verified++;
	g->result = g->request.user >= 0 && g->request.len == len &&
			    memcmp(g->request.hash + 10, g->request.password, len) == 0
			? 0
			: -EACCES;
}

static void done(struct http_job *job)
{
	struct glance *g = CONTAINER_OF(job, struct glance, job);
	struct http_exchange *x = job->x;

	auth_verified(x, &g->request, g->result);
	x->stage = HTTP_STAGE_ADMIT;
}

static void drop(struct http_job *job)
{
	struct glance *g = CONTAINER_OF(job, struct glance, job);

	if (g->result != -EAGAIN)
		auth_learn(&g->request, g->result);
	world_verifying--;
	free(g);
}

bool verify_start(struct http_exchange *x, const struct verify_request *request)
{
	struct glance *g;

	if (world_verifying == VERIFY_MAX)
		return false;
	world_verifying++;
	g = calloc(1, sizeof(*g));
	g->request = *request;
	g->result = -EAGAIN;
	g->job.run = run;
	g->job.done = done;
	g->job.drop = drop;
	http_job_start(&g->job, x);
	return true;
}

void verify_start_thread(void) {}

void volume_set_write(bool on) {}

uint64_t volumes_failed(void)
{
	return 0;
}

bool rights_hides(const struct inode *inode)
{
	return world_hidden && inode->number == world_hidden;
}

void rights_file_start(void)
{
	world_hidden = 0;
	world_verified = 0;
	world_users("trustee / * ALL\n");
}

void world_users(const char *text)
{
	struct users_error error;
	struct users *users = text ? users_parse(text, strlen(text), &error) : NULL;

	if (text && !users)
		fail_msg("line %u: %s", error.line, error.reason);
	rights_install(users);
}

void world_rights_finish(void)
{
	dav_lock_gone("", 0);
	rights_install(NULL);
	assert_int_equal(world_verifying, 0);
}
