// SPDX-License-Identifier: BSD-2-Clause
// jbd2's log written (fs/jbd2_write.h). A transaction lies in the log as
//
//	[revoke blocks] [descriptor: tags] data ... [descriptor: tags] data ... commit
//
// Data blocks go to the log from the copies as they lie, descriptors from buffers here, in batches; then the
// disk's cache is flushed, then the commit block is written with FUA. All fields are big-endian.
#include "fs/jbd2_write.h"

#include "fs/jbd2_disk.h"
#include "kernel/crc32.h"
#include "kernel/kstring.h"
#include "kernel/panic.h"
#include "kernel/timer.h"

static const uint8_t zeros[16];

static bool has_csum(const struct journal_writer *w)
{
	return w->incompat & (JBD2_INCOMPAT_CSUM_V2 | JBD2_INCOMPAT_CSUM_V3);
}

// Where tags and revoke records end.
static uint32_t usable(const struct journal_writer *w)
{
	return w->block_bytes - (has_csum(w) ? JBD2_TAIL_BYTES : 0);
}

static uint32_t revoke_bytes(const struct journal_writer *w)
{
	return w->incompat & JBD2_INCOMPAT_64BIT ? 8 : 4;
}

uint32_t journal_space(const struct journal_writer *w, uint32_t blocks, uint32_t revokes)
{
	uint32_t tags = (usable(w) - JBD2_HEADER_BYTES - JBD2_UUID_BYTES) / w->tag_bytes;
	uint32_t records = (usable(w) - JBD2_HEADER_BYTES - 4) / revoke_bytes(w);
	// A full batch ends a descriptor early: one more for as many blocks as the smallest batch holds.
	uint32_t descriptors = blocks / tags + blocks / (BATCH_REQUESTS - 1) + 1;
	return blocks + descriptors + (revokes + records - 1) / records + 1;
}

// Where the log block lies.
static uint64_t log_lba(struct journal_writer *w, uint32_t index)
{
	const struct journal_run *run = &w->runs[w->last_run];
	while (index < run->first || index - run->first >= run->count) {
		w->last_run = (w->last_run + 1) % w->run_count;
		run = &w->runs[w->last_run];
	}
	return (run->disk + (index - run->first)) * (w->block_bytes >> SECTOR_SHIFT);
}

static bool add_next(struct journal_writer *w, const void *memory)
{
	if (!batch_add(w->batch, log_lba(w, w->head), memory, w->block_bytes))
		return false;
	if (++w->head == w->last)
		w->head = w->first;
	w->written++;
	return true;
}

static void put_header(const struct journal_writer *w, uint8_t *block, uint32_t type)
{
	memset(block, 0, w->block_bytes);
	put_be32(block, JBD2_MAGIC);
	put_be32(block + 4, type);
	put_be32(block + 8, w->sequence);
}

static void put_tail(const struct journal_writer *w, uint8_t *block)
{
	uint32_t bytes = w->block_bytes - JBD2_TAIL_BYTES;
	if (!has_csum(w))
		return;
	uint32_t sum = crc32c(crc32c(w->csum_seed, block, bytes), zeros, JBD2_TAIL_BYTES);
	put_be32(block + bytes, sum);
}

static void end_descriptor(struct journal_writer *w)
{
	if (!w->descriptor)
		return;
	w->last_tag[7] |= JBD2_FLAG_LAST_TAG; // the flags' last byte, in every kind of tag
	put_tail(w, w->descriptor);
	w->descriptor = NULL;
}

static void end_revoke(struct journal_writer *w)
{
	if (!w->revoke)
		return;
	put_be32(w->revoke + JBD2_HEADER_BYTES, w->offset);
	put_tail(w, w->revoke);
	w->revoke = NULL;
}

static int run(struct journal_writer *w)
{
	end_descriptor(w);
	end_revoke(w);
	w->buffers_used = 0;
	return batch_run(w->batch, false);
}

// A block of our own, for the next place in the log. There is room for a data block behind it.
static int begin_block(struct journal_writer *w, uint32_t type, uint8_t **block)
{
	int error = 0;
	if (w->buffers_used == JOURNAL_DESCRIPTORS || batch_room(w->batch) < 2)
		error = run(w);
	if (error)
		return error;
	*block = w->buffer[w->buffers_used++];
	put_header(w, *block, type);
	w->offset = JBD2_HEADER_BYTES;
	return add_next(w, *block) ? 0 : -EIO;
}

// The superblock says where the log begins before there is anything in it.
int journal_begin(struct journal_writer *w, uint32_t sequence)
{
	ASSERT(!w->descriptor && !w->revoke && !w->batch->count);
	w->sequence = sequence;
	w->written = 0;
	w->buffers_used = 0;
	return w->empty ? journal_tail(w, w->head, sequence) : 0;
}

int journal_revoke(struct journal_writer *w, uint64_t block)
{
	uint32_t bytes = revoke_bytes(w);
	if (w->revoke && w->offset + bytes > usable(w))
		end_revoke(w);
	if (!w->revoke) {
		int error = begin_block(w, JBD2_REVOKE, &w->revoke);
		if (error)
			return error;
		w->offset += 4; // the count of bytes
	}
	if (bytes == 8)
		put_be32(w->revoke + w->offset, (uint32_t)(block >> 32));
	put_be32(w->revoke + w->offset + bytes - 4, (uint32_t)block);
	w->offset += bytes;
	return 0;
}

// The sum of a block in the log, with the transaction's number.
static uint32_t data_csum(const struct journal_writer *w, const void *data)
{
	uint8_t number[4];
	put_be32(number, w->sequence);
	return crc32c(crc32c(w->csum_seed, number, sizeof(number)), data, w->block_bytes);
}

static void put_tag(struct journal_writer *w, uint64_t block, const void *data, bool escaped)
{
	uint8_t *tag = w->descriptor + w->offset;
	bool first = w->offset == JBD2_HEADER_BYTES;
	uint32_t flags =
	    (escaped ? JBD2_FLAG_ESCAPE : 0) | (first ? 0 : (uint32_t)JBD2_FLAG_SAME_UUID);
	uint32_t sum = has_csum(w) ? data_csum(w, data) : 0;
	put_be32(tag, (uint32_t)block);
	if (w->incompat & JBD2_INCOMPAT_CSUM_V3) {
		put_be32(tag + 4, flags);
		put_be32(tag + 12, sum);
	} else {
		put_be32(tag + 4, sum << 16 | flags); // 16 bits of each
	}
	if (w->incompat & JBD2_INCOMPAT_64BIT)
		put_be32(tag + 8, (uint32_t)(block >> 32));
	w->last_tag = tag;
	w->offset += w->tag_bytes;
	if (first) {
		memcpy(w->descriptor + w->offset, w->super + JBD2_S_UUID, JBD2_UUID_BYTES);
		w->offset += JBD2_UUID_BYTES;
	}
}

void journal_unescape(void *copy)
{
	put_be32(copy, JBD2_MAGIC);
}

int journal_put(struct journal_writer *w, uint64_t block, void *copy, bool *escaped)
{
	int error = 0;
	end_revoke(w);
	*escaped = be32(copy) == JBD2_MAGIC;
	if (*escaped)
		put_be32(copy, 0);
	if (w->descriptor && w->offset + w->tag_bytes > usable(w))
		end_descriptor(w);
	if (!w->descriptor)
		error = begin_block(w, JBD2_DESCRIPTOR, &w->descriptor);
	if (!error && !add_next(w, copy)) {
		error = run(w);
		if (!error)
			error = begin_block(w, JBD2_DESCRIPTOR, &w->descriptor);
		if (!error && !add_next(w, copy))
			error = -EIO;
	}
	if (!error)
		put_tag(w, block, copy, *escaped);
	return error;
}

static void put_commit(struct journal_writer *w, uint8_t *block)
{
	uint64_t now = clock_realtime_ns();
	put_header(w, block, JBD2_COMMIT);
	put_be32(block + JBD2_COMMIT_SEC, (uint32_t)(now / NS_PER_SEC >> 32));
	put_be32(block + JBD2_COMMIT_SEC + 4, (uint32_t)(now / NS_PER_SEC));
	put_be32(block + JBD2_COMMIT_SEC + 8, (uint32_t)(now % NS_PER_SEC));
	if (has_csum(w)) // over the whole block, the sum itself taken as zero
		put_be32(block + JBD2_COMMIT_CHECKSUM, crc32c(w->csum_seed, block, w->block_bytes));
}

// A commit block that is torn must not look like a damaged one: its place is zeros before it is written, so that its
// first sector alone makes it whole. (What readers look at lies in there; the sum is over the whole block.)
static int clear_commit(struct journal_writer *w)
{
	uint64_t lba = log_lba(w, w->head);
	int error = 0;
	if (!batch_add(w->batch, lba, w->zero, w->block_bytes)) {
		error = run(w);
		if (!error && !batch_add(w->batch, lba, w->zero, w->block_bytes))
			error = -EIO;
	}
	return error;
}

int journal_commit(struct journal_writer *w)
{
	int error = clear_commit(w);
	if (!error)
		error = run(w);
	if (!error)
		error = batch_flush(w->batch);
	if (error)
		return error;
	put_commit(w, w->buffer[0]);
	return add_next(w, w->buffer[0]) ? batch_run(w->batch, true) : -EIO;
}
