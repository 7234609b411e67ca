// SPDX-License-Identifier: BSD-2-Clause
// Pipes (kernel/pipe.h). Two streams share one ring; each notifies the other. The ring's lock sleeps, for a copy may
// fault in a page of the program.
#include "kernel/pipe.h"
#include "kernel/kstring.h"
#include "kernel/pmm.h"
#include "kernel/pool.h"
#include "kernel/uspace.h"

#define RING_FRAMES (PIPE_BYTES / PAGE_SIZE) // which count as the programs' memory

struct pipe {
	struct stream end[2]; // 0 reads, 1 writes
	struct mutex lock;
	char *ring;	     // kpages, PIPE_BYTES
	uint32_t in, out;    // (lock) free-running
	bool closed[2];	     // written once
	uint32_t references; // ends that are open
};

// Two descriptors each; as many pipes as half the descriptors of a thousand busy processes would need.
static struct pool pipe_pool = POOL_INIT("pipe", struct pipe, 16384);

static struct pipe *pipe_of(struct stream *s, unsigned end)
{
	return CONTAINER_OF(s, struct pipe, end[end]);
}

static uint32_t used(const struct pipe *p)
{
	return p->in - p->out;
}

static int64_t pipe_read(struct stream *s, struct stream_io *io, uint64_t offset)
{
	struct pipe *p = pipe_of(s, 0);
	int64_t done = 0;
	int error = 0;

	mutex_lock(&p->lock);
	while (io->left && used(p) && !error) {
		uint32_t at = p->out % PIPE_BYTES;
		size_t piece = MIN(MIN(io->left, (uint64_t)used(p)), (uint64_t)PIPE_BYTES - at);

		error = stream_io_out(io, p->ring + at, piece);
		if (!error) {
			p->out += (uint32_t)piece;
			done += (int64_t)piece;
		}
	}
	mutex_unlock(&p->lock);
	if (done)
		stream_notify(&p->end[1]);
	return done ? done : error ? error : p->closed[1] ? 0 : -EAGAIN;
}

static int64_t pipe_write(struct stream *s, struct stream_io *io, uint64_t offset)
{
	struct pipe *p = pipe_of(s, 1);
	int64_t done = 0;
	int error = 0;

	if (p->closed[0])
		return -EPIPE;
	mutex_lock(&p->lock);
	if (io->left <= PIPE_BUF && PIPE_BYTES - used(p) < io->left)
		error = -EAGAIN; // all of it or nothing
	while (io->left && used(p) < PIPE_BYTES && !error) {
		uint32_t at = p->in % PIPE_BYTES;
		size_t piece =
		    MIN(MIN(io->left, (uint64_t)(PIPE_BYTES - used(p))), (uint64_t)PIPE_BYTES - at);

		error = stream_io_in(io, p->ring + at, piece);
		if (!error) {
			p->in += (uint32_t)piece;
			done += (int64_t)piece;
		}
	}
	mutex_unlock(&p->lock);
	if (done)
		stream_notify(&p->end[0]);
	return done ? done : error ? error : -EAGAIN;
}

static unsigned poll_read(struct stream *s)
{
	const struct pipe *p = pipe_of(s, 0);

	return (used(p) ? STREAM_IN : 0) | (p->closed[1] ? STREAM_HUP : 0);
}

static unsigned poll_write(struct stream *s)
{
	const struct pipe *p = pipe_of(s, 1);

	return (PIPE_BYTES - used(p) >= PIPE_BUF ? STREAM_OUT : 0) |
	       (p->closed[0] ? STREAM_ERR : 0);
}

static void close_end(struct pipe *p, unsigned end)
{
	p->closed[end] = true;
	stream_notify(&p->end[!end]);
	if (__atomic_sub_fetch(&p->references, 1, __ATOMIC_ACQ_REL))
		return;
	kpages_free(p->ring, PIPE_BYTES);
	user_memory_give(RING_FRAMES);
	pool_free(&pipe_pool, p);
}
static void close_read(struct stream *s)
{
	close_end(pipe_of(s, 0), 0);
}
static void close_write(struct stream *s)
{
	close_end(pipe_of(s, 1), 1);
}

static const struct stream_ops read_ops = {
    .kind = STREAM_PIPE, .read = pipe_read, .poll = poll_read, .close = close_read};
static const struct stream_ops write_ops = {
    .kind = STREAM_PIPE, .write = pipe_write, .poll = poll_write, .close = close_write};

int pipe_make(struct stream *ends[2], unsigned flags)
{
	struct pipe *p = pool_alloc(&pipe_pool);

	if (!p)
		return -ENFILE;
	if (!user_memory_take(RING_FRAMES)) {
		pool_free(&pipe_pool, p);
		return -ENFILE;
	}
	p->ring = kpages_alloc(PIPE_BYTES);
	if (!p->ring) {
		user_memory_give(RING_FRAMES);
		pool_free(&pipe_pool, p);
		return -ENOMEM;
	}
	p->lock = (struct mutex)MUTEX_INIT("pipe");
	p->references = 2;
	stream_init(&p->end[0], &read_ops, STREAM_RDONLY | flags);
	stream_init(&p->end[1], &write_ops, STREAM_WRONLY | flags);
	ends[0] = &p->end[0];
	ends[1] = &p->end[1];
	return 0;
}
