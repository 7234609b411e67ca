// SPDX-License-Identifier: BSD-2-Clause
// Pipes (kernel/pipe.h). Two streams share one ring; each notifies the other. The ring's lock sleeps, for a copy may
// fault in a page of the program.
#include "kernel/pipe.h"
#include "kernel/kstring.h"
#include "kernel/pmm.h"
#include "kernel/pool.h"
#include "kernel/uspace.h"

#define RING_FRAMES (PIPE_BYTES / PAGE_SIZE) // which count as the programs' memory

// What was put in at a time, in order: bytes of the ring, or of a page.
struct piece {
	struct page *page; // wired; null: the ring's next bytes
	uint32_t offset, bytes;
};
#define PIECES 64

struct pipe {
	struct stream end[2]; // 0 reads, 1 writes
	struct mutex lock;
	char *ring;	  // kpages, PIPE_BYTES
	uint32_t in, out; // (lock) of the ring; free-running
	uint32_t bytes;	  // (lock) in all pieces, at most PIPE_BYTES
	struct piece pieces[PIECES];
	uint32_t piece_in, piece_out; // (lock) free-running
	bool closed[2];		      // written once
	uint32_t references;	      // ends that are open
};

// Two descriptors each; as many pipes as half the descriptors of a thousand busy processes would need.
static struct pool pipe_pool = POOL_INIT("pipe", struct pipe, 16384);

static struct pipe *pipe_of(struct stream *s, unsigned end)
{
	return CONTAINER_OF(s, struct pipe, end[end]);
}

static struct piece *first_piece(struct pipe *p)
{
	return p->piece_out == p->piece_in ? NULL : &p->pieces[p->piece_out % PIECES];
}

// (lock) Bytes of the ring that can be written in one go. 0: none, or no piece is left.
static uint32_t ring_room(const struct pipe *p)
{
	const struct piece *last = &p->pieces[(p->piece_in - 1) % PIECES];
	bool goes_on = p->piece_in != p->piece_out && !last->page;

	if (!goes_on && p->piece_in - p->piece_out == PIECES)
		return 0;
	return MIN(PIPE_BYTES - p->bytes, PIPE_BYTES - p->in % PIPE_BYTES);
}

// (lock) So many bytes were written to the ring.
static void ring_add(struct pipe *p, uint32_t bytes)
{
	struct piece *last = &p->pieces[(p->piece_in - 1) % PIECES];

	p->in += bytes;
	p->bytes += bytes;
	if (p->piece_in != p->piece_out && !last->page)
		last->bytes += bytes;
	else
		p->pieces[p->piece_in++ % PIECES] = (struct piece){.bytes = bytes};
}

// (lock) So many bytes of the first piece are read.
static void consume(struct pipe *p, uint32_t bytes)
{
	struct piece *piece = first_piece(p);

	p->bytes -= bytes;
	piece->bytes -= bytes;
	piece->offset += bytes;
	if (!piece->page)
		p->out += bytes;
	if (piece->bytes)
		return;
	if (piece->page)
		page_wire_put(piece->page);
	p->piece_out++;
}

// (lock) Bytes of the piece that lie in one place.
static uint32_t in_one_place(const struct pipe *p, const struct piece *piece)
{
	return piece->page ? piece->bytes : MIN(piece->bytes, PIPE_BYTES - p->out % PIPE_BYTES);
}

static int64_t pipe_read(struct stream *s, struct stream_io *io, uint64_t offset)
{
	struct pipe *p = pipe_of(s, 0);
	struct piece *piece;
	int64_t done = 0;
	int error = 0;

	mutex_lock(&p->lock);
	while (io->left && (piece = first_piece(p)) && !error) {
		uint32_t n = (uint32_t)MIN(io->left, (uint64_t)in_one_place(p, piece));

		error = piece->page ? stream_io_out_page(io, piece->page, piece->offset, n)
				    : stream_io_out(io, p->ring + p->out % PIPE_BYTES, n);
		if (!error) {
			consume(p, n);
			done += n;
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
	if (io->left <= PIPE_BUF && PIPE_BYTES - p->bytes < io->left)
		error = -EAGAIN; // all of it or nothing
	while (io->left && ring_room(p) && !error) {
		uint32_t n = (uint32_t)MIN(io->left, (uint64_t)ring_room(p));

		error = stream_io_in(io, p->ring + p->in % PIPE_BYTES, n);
		if (!error) {
			ring_add(p, n);
			done += n;
		}
	}
	mutex_unlock(&p->lock);
	if (done)
		stream_notify(&p->end[0]);
	return done ? done : error ? error : -EAGAIN;
}

// ---- splice ----

int64_t pipe_put_page(struct stream *s, struct page *page, uint32_t offset, uint32_t bytes)
{
	struct pipe *p = pipe_of(s, 1);
	uint32_t n;

	if (p->closed[0])
		return -EPIPE;
	mutex_lock(&p->lock);
	n = MIN(bytes, PIPE_BYTES - p->bytes);
	if (p->piece_in - p->piece_out == PIECES)
		n = 0;
	if (n) {
		page_wire_get(page);
		p->pieces[p->piece_in++ % PIECES] =
		    (struct piece){.page = page, .offset = offset, .bytes = n};
		p->bytes += n;
	}
	mutex_unlock(&p->lock);
	if (n)
		stream_notify(&p->end[0]);
	return n ? (int64_t)n : -EAGAIN;
}

int64_t pipe_fill(struct stream *s, struct stream *from, uint64_t most)
{
	struct pipe *p = pipe_of(s, 1);
	struct stream_part part;
	struct stream_io io = {.parts = &part, .count = 1, .kernel = true};
	int64_t n;

	if (p->closed[0])
		return -EPIPE;
	mutex_lock(&p->lock);
	part = (struct stream_part){(uintptr_t)(p->ring + p->in % PIPE_BYTES),
				    MIN(most, (uint64_t)ring_room(p))};
	io.left = part.len;
	n = part.len ? from->ops->read(from, &io, 0) : -EAGAIN;
	if (n > 0)
		ring_add(p, (uint32_t)n);
	mutex_unlock(&p->lock);
	if (n > 0)
		stream_notify(&p->end[0]);
	return n;
}

int64_t pipe_empty(struct stream *s, pipe_taker take, void *ctx, uint64_t most)
{
	struct pipe *p = pipe_of(s, 0);
	struct piece *piece;
	int64_t n = 0;

	mutex_lock(&p->lock);
	piece = first_piece(p);
	if (piece) {
		uint32_t bytes = (uint32_t)MIN(most, (uint64_t)in_one_place(p, piece));

		n = take(ctx, piece->page, piece->offset,
			 piece->page ? NULL : p->ring + p->out % PIPE_BYTES, bytes,
			 bytes < MIN((uint64_t)p->bytes, most));
		if (n > 0)
			consume(p, (uint32_t)n);
	}
	mutex_unlock(&p->lock);
	if (n > 0)
		stream_notify(&p->end[1]);
	return n;
}

static unsigned poll_read(struct stream *s)
{
	const struct pipe *p = pipe_of(s, 0);

	return (p->bytes ? STREAM_IN : 0) | (p->closed[1] ? STREAM_HUP : 0);
}

static unsigned poll_write(struct stream *s)
{
	const struct pipe *p = pipe_of(s, 1);
	bool room = PIPE_BYTES - p->bytes >= PIPE_BUF && p->piece_in - p->piece_out < PIECES;

	return (room ? STREAM_OUT : 0) | (p->closed[0] ? STREAM_ERR : 0);
}

static void close_end(struct pipe *p, unsigned end)
{
	p->closed[end] = true;
	stream_notify(&p->end[!end]);
	if (__atomic_sub_fetch(&p->references, 1, __ATOMIC_ACQ_REL))
		return;
	while (first_piece(p))
		consume(p, first_piece(p)->bytes);
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

bool pipe_is(const struct stream *s, bool writing)
{
	return s->ops == (writing ? &write_ops : &read_ops);
}

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
