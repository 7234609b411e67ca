// SPDX-License-Identifier: BSD-2-Clause
// Pipes (kernel/pipe.h). Two streams share one ring; each notifies the other. The ring's lock sleeps, for a copy may
// fault in a page of the program.
#include "kernel/pipe.h"
#include "kernel/copy.h"
#include "kernel/kstring.h"
#include "kernel/pmm.h"
#include "kernel/pool.h"
#include "kernel/uspace.h"

#define RING_FRAMES (PIPE_BYTES / PAGE_SIZE) // which count as the programs' memory

// What was put in at a time, in order: bytes of a page, of a loan, or (neither) the ring's next ones.
#define PIECES 64

struct pipe {
	struct stream end[2]; // 0 reads, 1 writes
	struct mutex lock;
	char *ring;	  // kpages, PIPE_BYTES
	uint32_t in, out; // (lock) of the ring; free-running
	uint32_t bytes;	  // (lock) in all pieces, at most PIPE_BYTES
	struct stream_loan pieces[PIECES];
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

static bool in_ring(const struct stream_loan *piece)
{
	return !piece->page && !piece->kind;
}

// (lock) Where the first piece's bytes are, if not in a page.
static const char *data_of(const struct pipe *p, const struct stream_loan *piece)
{
	return piece->kind ? piece->data : p->ring + p->out % PIPE_BYTES;
}

static struct stream_loan *first_piece(struct pipe *p)
{
	return p->piece_out == p->piece_in ? NULL : &p->pieces[p->piece_out % PIECES];
}

// (lock) Bytes of the ring that can be written in one go. 0: none, or no piece is left.
static uint32_t ring_room(const struct pipe *p)
{
	const struct stream_loan *last = &p->pieces[(p->piece_in - 1) % PIECES];
	bool goes_on = p->piece_in != p->piece_out && in_ring(last);

	if (!goes_on && p->piece_in - p->piece_out == PIECES)
		return 0;
	return MIN(PIPE_BYTES - p->bytes, PIPE_BYTES - p->in % PIPE_BYTES);
}

// (lock) So many bytes were written to the ring.
static void ring_add(struct pipe *p, uint32_t bytes)
{
	struct stream_loan *last = &p->pieces[(p->piece_in - 1) % PIECES];

	p->in += bytes;
	p->bytes += bytes;
	if (p->piece_in != p->piece_out && in_ring(last))
		last->bytes += bytes;
	else
		p->pieces[p->piece_in++ % PIECES] = (struct stream_loan){.bytes = bytes};
}

// (lock) So many bytes of the first piece are read.
static void consume(struct pipe *p, uint32_t bytes)
{
	struct stream_loan *piece = first_piece(p);

	p->bytes -= bytes;
	piece->bytes -= bytes;
	piece->offset += bytes;
	if (in_ring(piece))
		p->out += bytes;
	else if (piece->kind)
		piece->data += bytes;
	if (piece->bytes)
		return;
	if (piece->page)
		page_wire_put(piece->page);
	else if (piece->kind)
		piece->kind->put(piece->owner);
	p->piece_out++;
}

// (lock) Bytes of the piece that lie in one place.
static uint32_t in_one_place(const struct pipe *p, const struct stream_loan *piece)
{
	return in_ring(piece) ? MIN(piece->bytes, PIPE_BYTES - p->out % PIPE_BYTES) : piece->bytes;
}

static int64_t pipe_read(struct stream *s, struct stream_io *io, uint64_t offset)
{
	struct pipe *p = pipe_of(s, 0);
	struct stream_loan *piece;
	int64_t done = 0;
	int error = 0;

	mutex_lock(&p->lock);
	while (io->left && (piece = first_piece(p)) && !error) {
		uint32_t n = (uint32_t)MIN(io->left, (uint64_t)in_one_place(p, piece));

		error = piece->page ? stream_io_out_page(io, piece->page, piece->offset, n)
				    : stream_io_out(io, data_of(p, piece), n);
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
		    (struct stream_loan){.page = page, .offset = offset, .bytes = n};
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

int64_t pipe_borrow(struct stream *s, struct stream *from, uint64_t most)
{
	struct pipe *p = pipe_of(s, 1);
	struct stream_loan loan;
	int64_t n = -EAGAIN;

	if (p->closed[0])
		return -EPIPE;
	mutex_lock(&p->lock);
	most = MIN(most, (uint64_t)(PIPE_BYTES - p->bytes));
	if (most && p->piece_in - p->piece_out < PIECES)
		n = from->ops->lend(from, (uint32_t)most, &loan);
	if (n > 0) {
		p->pieces[p->piece_in++ % PIECES] = loan;
		p->bytes += loan.bytes;
	}
	mutex_unlock(&p->lock);
	if (n > 0)
		stream_notify(&p->end[0]);
	return n;
}

// (both locks) Of a piece of p, whose ring bytes are `at` bytes behind the next one: so much of it as q has room for.
static uint32_t put_piece(struct pipe *q, const struct pipe *p, const struct stream_loan *piece,
			  uint32_t at, uint32_t most)
{
	uint32_t from = (p->out + at) % PIPE_BYTES;
	uint32_t n = MIN(MIN(piece->bytes, most), PIPE_BYTES - q->bytes);

	if (in_ring(piece)) {
		n = MIN(MIN(n, ring_room(q)), PIPE_BYTES - from);
		if (!n)
			return 0;
		memcpy(q->ring + q->in % PIPE_BYTES, p->ring + from, n);
		copy_count(COPY_STREAM_HEAD, n);
		ring_add(q, n);
		return n;
	}
	if (!n || q->piece_in - q->piece_out == PIECES)
		return 0;
	if (piece->page)
		page_wire_get(piece->page);
	else
		piece->kind->get(piece->owner);
	q->pieces[q->piece_in % PIECES] = *piece;
	q->pieces[q->piece_in++ % PIECES].bytes = n;
	q->bytes += n;
	return n;
}

static int64_t transfer(struct pipe *p, struct pipe *q, uint64_t most, bool keep)
{
	uint32_t next = p->piece_out, at = 0, n, in_piece = 0;
	int64_t done = 0;

	while ((uint64_t)done < most && next != p->piece_in) {
		struct stream_loan rest = p->pieces[next % PIECES];

		rest.offset += in_piece;
		rest.bytes -= in_piece;
		if (rest.kind)
			rest.data += in_piece;
		n = put_piece(q, p, &rest, at, (uint32_t)MIN(most - (uint64_t)done, PIPE_BYTES));
		if (!n)
			break;
		done += n;
		if (!keep) {
			consume(p, n);
			next = p->piece_out;
			continue;
		}
		at += in_ring(&rest) ? n : 0;
		in_piece = n < rest.bytes ? in_piece + n : 0;
		next += !in_piece;
	}
	return done ? done : p->bytes || !p->closed[1] ? -EAGAIN : 0;
}

int64_t pipe_transfer(struct stream *from, struct stream *to, uint64_t most, bool keep)
{
	struct pipe *p = pipe_of(from, 0), *q = pipe_of(to, 1), *first = MIN(p, q),
		    *second = MAX(p, q);
	int64_t n;

	if (q->closed[0])
		return -EPIPE;
	mutex_lock(&first->lock);
	mutex_lock(&second->lock);
	n = transfer(p, q, most, keep);
	mutex_unlock(&second->lock);
	mutex_unlock(&first->lock);
	if (n > 0)
		stream_notify(&q->end[0]);
	if (n > 0 && !keep)
		stream_notify(&p->end[1]);
	return n;
}

bool pipe_same(const struct stream *reading, const struct stream *writing)
{
	return reading + 1 == writing;
}

int64_t pipe_empty(struct stream *s, pipe_taker take, void *ctx, uint64_t most)
{
	struct pipe *p = pipe_of(s, 0);
	struct stream_loan *piece, bytes;
	int64_t n = 0;

	mutex_lock(&p->lock);
	piece = first_piece(p);
	if (piece) {
		bytes = *piece;
		bytes.bytes = (uint32_t)MIN(most, (uint64_t)in_one_place(p, piece));
		bytes.data = piece->page ? NULL : data_of(p, piece);
		n = take(ctx, &bytes, bytes.bytes < MIN((uint64_t)p->bytes, most));
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
