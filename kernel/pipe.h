// SPDX-License-Identifier: BSD-2-Clause
// Pipes: bytes from a writer to a reader, in order, through a ring of PIPE_BYTES. A write of up to PIPE_BUF bytes is in
// one piece. The high-water mark is a full ring; a writer that waits is told when PIPE_BUF bytes are free.
#pragma once

#include "kernel/stream.h"

#define PIPE_BYTES 65536
#define PIPE_BUF   4096

int pipe_make(struct stream *ends[2],
	      unsigned flags) MUST_CHECK; // reading, writing end; 0 or -ENOMEM

// ---- splice: bytes that go in and out without the program; thread context, nothing waits ----
bool pipe_is(const struct stream *s, bool writing); // one of a pipe's ends
// Bytes of a page by reference, which keeps them from changing. How many, -EAGAIN (full), -EPIPE.
int64_t pipe_put_page(struct stream *s, struct page *page, uint32_t offset, uint32_t bytes);
// What `from` has to be read, at most so much: copied once, into the ring. As its read; -EAGAIN: full, too.
int64_t pipe_fill(struct stream *s, struct stream *from, uint64_t most);
// What `from` received (its lend), at most so much, by reference. As pipe_fill.
int64_t pipe_borrow(struct stream *s, struct stream *from, uint64_t most);
// From a pipe to another, by reference but for bytes that were written to it, which are copied; with `keep` they stay
// there, too (tee). How many; 0: nothing is there, and nobody writes; -EAGAIN: nothing is there, or no room; -EPIPE.
int64_t pipe_transfer(struct stream *from, struct stream *to, uint64_t most, bool keep);
bool pipe_same(const struct stream *reading, const struct stream *writing);
// The first piece to who takes it: bytes of a page, a loan, or (neither) those at `data`; more: others follow. What
// that returns; 0: nothing is there. The pipe's lock is held: `take` may sleep on a disk, not on a peer, and may not
// use a pipe.
typedef int64_t (*pipe_taker)(void *ctx, const struct stream_loan *bytes, bool more);
int64_t pipe_empty(struct stream *s, pipe_taker take, void *ctx, uint64_t most);
