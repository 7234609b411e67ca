// SPDX-License-Identifier: BSD-2-Clause
// jbd2's log read, transaction by transaction, three times as jbd2 does: SCAN finds the last
// complete transaction, REVOKE collects what later transactions took back, REPLAY notes for every
// other block where in the log its newest content is. Mounting thread. The format is described in
// the kernel's documentation (ext4, "Journal (jbd2)"); all its fields are big-endian.
//
// A log ends where a block does not begin with the magic and the sequence number expected: the rest
// is an older round or a transaction that was never committed. A transaction that was committed but
// does not match its checksums is damage, not an end, and the volume is refused: blocks of it may
// have reached their places already, so that an earlier state cannot be had either.
#include "fs/journal.h"

#include "fs/jbd2_disk.h"
#include "kernel/block.h"
#include "kernel/crc32.h"
#include "kernel/kprintf.h"
#include "kernel/kstring.h"
#include "kernel/pmm.h"

#define WINDOW_BYTES 65536U // the log is read in pieces of this size

enum pass { PASS_SCAN, PASS_REVOKE, PASS_REPLAY };

struct journal {
	const struct journal_source *source;
	uint8_t *window; // WINDOW_BYTES: log blocks [window_first, +window_count)
	uint32_t window_first, window_count;
	uint8_t *descriptor;	  // a copy of the block whose tags are followed
	uint32_t first, last;	  // log blocks that hold the log: [first, last)
	uint32_t start, sequence; // where the oldest transaction begins, and its number
	uint32_t end;		  // number of the first transaction that is not replayed
	uint32_t incompat, compat, csum_seed, tag_bytes;
	struct journal_map revoked; // block to the last transaction that revoked it
	struct journal_map *map;
	struct journal_result *result;
};

// One walk through the log.
struct walk {
	enum pass pass;
	uint32_t at, sequence;
	uint32_t left;	      // log blocks not yet seen: nothing is looked at twice
	bool doubtful;	      // SCAN: a checksum of this transaction is wrong
	uint32_t crc;	      // SCAN: version 1's sum over the transaction
	uint64_t commit_time; // SCAN: of the last good transaction
};

static bool has_csum(const struct journal *j)
{
	return j->incompat & (JBD2_INCOMPAT_CSUM_V2 | JBD2_INCOMPAT_CSUM_V3);
}

static int damaged(const struct journal *j, uint32_t log_block, const char *what)
{
	kprintf("%s: journal: damaged at its block %u: %s\n", j->source->name, log_block, what);
	return -EUCLEAN;
}

// The block, until the next call.
static int log_read(struct journal *j, uint32_t index, const uint8_t **data)
{
	const struct journal_source *source = j->source;
	uint64_t block;
	uint32_t count;
	if (index - j->window_first >= j->window_count) {
		j->window_count = 0;
		int error = source->map(source->ctx, index, &block, &count);
		if (error)
			return error;
		uint32_t sectors = source->block_bytes >> SECTOR_SHIFT, room = WINDOW_BYTES;
		if (source->dev->max_sectors)
			room = MIN(room, source->dev->max_sectors << SECTOR_SHIFT);
		count = MIN(count, MAX(room / source->block_bytes, 1U));
		count = MIN(count, j->last - index);
		if (block >= source->volume_blocks || count > source->volume_blocks - block)
			return damaged(j, index, "it lies outside the volume");
		error = block_rw_sync(source->dev, BLOCK_READ, block * sectors, j->window,
				      count * source->block_bytes);
		if (error)
			return error;
		j->window_first = index;
		j->window_count = count;
	}
	*data = j->window + (size_t)(index - j->window_first) * source->block_bytes;
	return 0;
}

static uint32_t advance(const struct journal *j, uint32_t at, uint32_t blocks)
{
	at += blocks;
	return at >= j->last ? at - (j->last - j->first) : at;
}

// Checksum in the last four bytes of descriptor and revoke blocks, taken as zero.
static bool tail_csum_ok(const struct journal *j, const uint8_t *data)
{
	static const uint8_t zeros[JBD2_TAIL_BYTES];
	uint32_t bytes = j->source->block_bytes - JBD2_TAIL_BYTES;
	if (!has_csum(j))
		return true;
	uint32_t sum = crc32c(crc32c(j->csum_seed, data, bytes), zeros, sizeof(zeros));
	return sum == be32(data + bytes);
}

// ---- tags: which block of the volume each following log block is ----

struct tag {
	uint64_t block;
	uint32_t flags, checksum;
};

// Reads the tag at *offset and moves past it; false: no room for one more.
static bool next_tag(const struct journal *j, uint32_t *offset, struct tag *tag)
{
	const uint8_t *at = j->descriptor + *offset;
	uint32_t room = j->source->block_bytes - (has_csum(j) ? JBD2_TAIL_BYTES : 0);
	if (*offset + j->tag_bytes > room)
		return false;
	tag->block = be32(at);
	if (j->incompat & JBD2_INCOMPAT_CSUM_V3) {
		tag->flags = be32(at + 4);
		tag->checksum = be32(at + 12);
	} else {
		tag->checksum = be16(at + 4);
		tag->flags = be16(at + 6);
	}
	if (j->incompat & JBD2_INCOMPAT_64BIT)
		tag->block |= (uint64_t)be32(at + 8) << 32;
	*offset += j->tag_bytes;
	if (!(tag->flags & JBD2_FLAG_SAME_UUID))
		*offset += JBD2_UUID_BYTES;
	return true;
}

static bool tag_csum_ok(const struct journal *j, uint32_t sequence, const struct tag *tag,
			const uint8_t *data)
{
	uint8_t number[4];
	if (!has_csum(j))
		return true;
	put_be32(number, sequence);
	uint32_t sum =
	    crc32c(crc32c(j->csum_seed, number, sizeof(number)), data, j->source->block_bytes);
	if (j->incompat & JBD2_INCOMPAT_CSUM_V3)
		return sum == tag->checksum;
	return (uint16_t)sum == tag->checksum;
}

static int replay_tag(struct journal *j, uint32_t sequence, uint32_t at, const struct tag *tag)
{
	uint64_t revoked, block;
	uint32_t count;
	const uint8_t *data;
	if (tag->block >= j->source->volume_blocks)
		return damaged(j, at, "a block outside the volume");
	if (journal_map_find(&j->revoked, tag->block, &revoked) &&
	    (int32_t)((uint32_t)revoked - sequence) >= 0) {
		j->result->revoked++;
		return 0;
	}
	int error = log_read(j, at, &data);
	if (error)
		return error;
	if (!tag_csum_ok(j, sequence, tag, data))
		return damaged(j, at, "checksum of a block");
	error = j->source->map(j->source->ctx, at, &block, &count);
	if (error)
		return error;
	return journal_map_set(j->map, tag->block,
			       journal_value(block, tag->flags & JBD2_FLAG_ESCAPE));
}

static int walk_descriptor(struct journal *j, struct walk *walk, const uint8_t *data)
{
	uint32_t offset = JBD2_HEADER_BYTES;
	bool sum_v1 = walk->pass == PASS_SCAN && (j->compat & JBD2_COMPAT_CHECKSUM);
	struct tag tag = {.flags = 0};
	if (walk->pass == PASS_SCAN && !tail_csum_ok(j, data))
		walk->doubtful = true;
	memcpy(j->descriptor, data, j->source->block_bytes);
	if (sum_v1)
		walk->crc = jbd2_crc32_be(walk->crc, data, j->source->block_bytes);
	while (!(tag.flags & JBD2_FLAG_LAST_TAG) && next_tag(j, &offset, &tag)) {
		int error = 0;
		if (!walk->left)
			return 0; // the walk ends here
		if (walk->pass == PASS_REPLAY)
			error = replay_tag(j, walk->sequence, walk->at, &tag);
		else if (sum_v1 && !(error = log_read(j, walk->at, &data)))
			walk->crc = jbd2_crc32_be(walk->crc, data, j->source->block_bytes);
		if (error)
			return error;
		walk->at = advance(j, walk->at, 1);
		walk->left--;
	}
	return 0;
}

static int walk_revoke(struct journal *j, struct walk *walk, const uint8_t *data)
{
	const uint32_t size = j->incompat & JBD2_INCOMPAT_64BIT ? 8 : 4;
	uint32_t room = j->source->block_bytes - (has_csum(j) ? JBD2_TAIL_BYTES : 0);
	uint32_t bytes = be32(data + JBD2_HEADER_BYTES); // of the block, header included
	if (walk->pass == PASS_SCAN && !tail_csum_ok(j, data))
		walk->doubtful = true;
	if (walk->pass != PASS_REVOKE)
		return 0;
	if (bytes > room)
		return damaged(j, walk->at, "length of a revoke block");
	for (uint32_t at = JBD2_HEADER_BYTES + 4; at + size <= bytes; at += size) {
		uint64_t block = size == 8 ? be64(data + at) : be32(data + at), known;
		if (journal_map_find(&j->revoked, block, &known) &&
		    (int32_t)((uint32_t)known - walk->sequence) >= 0)
			continue;
		int error = journal_map_set(&j->revoked, block, walk->sequence);
		if (error)
			return error;
	}
	return 0;
}

// Over the whole block. One that was torn may have anything behind its fields; it was written with zeros there.
static bool commit_block_sum_ok(const struct journal *j, const uint8_t *data)
{
	static const uint8_t zeros[JBD2_COMMIT_BYTES];
	const size_t sum_at = JBD2_COMMIT_CHECKSUM;
	uint32_t found = be32(data + sum_at), bytes = j->source->block_bytes;
	uint32_t sum = crc32c(crc32c(j->csum_seed, data, sum_at), zeros, 4);
	if (crc32c(sum, data + sum_at + 4, bytes - sum_at - 4) == found)
		return true;
	sum = crc32c(sum, data + sum_at + 4, JBD2_COMMIT_BYTES - sum_at - 4);
	for (uint32_t at = JBD2_COMMIT_BYTES; at < bytes; at += MIN(sizeof(zeros), bytes - at))
		sum = crc32c(sum, zeros, MIN(sizeof(zeros), bytes - at));
	return sum == found;
}

static bool commit_csum_ok(const struct journal *j, const struct walk *walk, const uint8_t *data)
{
	uint32_t found = be32(data + JBD2_COMMIT_CHECKSUM);
	if (has_csum(j))
		return commit_block_sum_ok(j, data);
	if (!(j->compat & JBD2_COMPAT_CHECKSUM))
		return true;
	uint8_t type = data[JBD2_COMMIT_CHECKSUM_TYPE], size = data[JBD2_COMMIT_CHECKSUM_SIZE];
	if (!type && !size && !found)
		return true; // not computed
	return type == JBD2_CHECKSUM_CRC32 && size == 4 && found == walk->crc;
}

// 1: the transaction is complete, go on; 0: the log ends before it.
static int walk_commit(struct journal *j, struct walk *walk, const uint8_t *data, uint32_t at)
{
	if (walk->pass == PASS_SCAN) {
		uint64_t time = be64(data + JBD2_COMMIT_SEC);
		bool sound = !walk->doubtful && commit_csum_ok(j, walk, data);
		// Left over from an older round of the log, which happened to have this number.
		if (!sound && time < walk->commit_time)
			return 0;
		// Without a barrier before it, a commit block may be there before what it commits.
		if (!sound && (j->incompat & JBD2_INCOMPAT_ASYNC_COMMIT))
			return 0;
		if (!sound)
			return damaged(j, at, "checksum of a committed transaction");
		walk->commit_time = time;
		walk->crc = ~0U;
	}
	walk->sequence++;
	return 1;
}

static int walk_log(struct journal *j, enum pass pass)
{
	struct walk walk = {.pass = pass,
			    .at = j->start,
			    .sequence = j->sequence,
			    .left = j->last - j->first,
			    .crc = ~0U};
	int error = 0, more = 1;
	while (more > 0 && walk.left && (pass == PASS_SCAN || walk.sequence != j->end)) {
		const uint8_t *data;
		uint32_t at = walk.at;
		error = log_read(j, at, &data);
		if (error)
			return error;
		if (be32(data) != JBD2_MAGIC || be32(data + 8) != walk.sequence)
			break;
		walk.at = advance(j, at, 1);
		walk.left--;
		switch (be32(data + 4)) {
		case JBD2_DESCRIPTOR:
			error = walk_descriptor(j, &walk, data);
			break;
		case JBD2_REVOKE:
			error = walk_revoke(j, &walk, data);
			break;
		case JBD2_COMMIT:
			more = walk_commit(j, &walk, data, at);
			break;
		default:
			more = 0;
		}
		if (error)
			return error;
	}
	if (more < 0)
		return more;
	if (pass == PASS_SCAN)
		j->end = walk.sequence;
	return pass == PASS_SCAN || walk.sequence == j->end
		   ? 0
		   : damaged(j, walk.at, "it reads differently the second time");
}

// ---- its superblock ----

static int check_features(struct journal *j, const uint8_t *sb)
{
	bool v2 = be32(sb + 4) == JBD2_SUPER_V2;
	if (!v2 && be32(sb + 4) != JBD2_SUPER_V1)
		return damaged(j, 0, "kind of superblock");
	j->compat = v2 ? be32(sb + JBD2_S_COMPAT) : 0;
	j->incompat = v2 ? be32(sb + JBD2_S_INCOMPAT) : 0;
	if (j->incompat & JBD2_INCOMPAT_FAST_COMMIT) {
		kprintf("%s: journal: fast_commit is not supported\n", j->source->name);
		return -EOPNOTSUPP;
	}
	if (j->incompat & ~(uint32_t)JBD2_INCOMPAT_READ) {
		kprintf("%s: journal: features incompat:%#x are not supported\n", j->source->name,
			j->incompat & ~(uint32_t)JBD2_INCOMPAT_READ);
		return -EOPNOTSUPP;
	}
	if (has_csum(j)) {
		static const uint8_t zeros[4];
		const size_t sum_at = JBD2_S_CHECKSUM;
		if (sb[JBD2_S_CHECKSUM_TYPE] != JBD2_CHECKSUM_CRC32C)
			return damaged(j, 0, "kind of checksum");
		uint32_t sum = crc32c(crc32c(~0U, sb, sum_at), zeros, sizeof(zeros));
		sum = crc32c(sum, sb + sum_at + 4, JBD2_SUPER_BYTES - sum_at - 4);
		if (sum != be32(sb + sum_at))
			return damaged(j, 0, "checksum of the superblock");
		j->csum_seed = crc32c(~0U, sb + JBD2_S_UUID, JBD2_UUID_BYTES);
	}
	bool wide = j->incompat & JBD2_INCOMPAT_64BIT;
	// Two bytes more with version 2 than the fields need: a slip that became the format.
	j->tag_bytes = (wide ? 12 : 8) + (j->incompat & JBD2_INCOMPAT_CSUM_V2 ? 2 : 0);
	if (j->incompat & JBD2_INCOMPAT_CSUM_V3)
		j->tag_bytes = 16;
	return 0;
}

static int load_super(struct journal *j)
{
	const uint8_t *sb;
	j->last = 1; // as much as is known to exist
	if (!j->source->log_blocks)
		return damaged(j, 0, "it is empty");
	int error = log_read(j, 0, &sb);
	if (error)
		return error;
	if (be32(sb) != JBD2_MAGIC)
		return damaged(j, 0, "magic of the superblock");
	error = check_features(j, sb);
	if (error)
		return error;
	if (be32(sb + JBD2_S_BLOCKSIZE) != j->source->block_bytes)
		return damaged(j, 0, "block size");
	j->last = be32(sb + JBD2_S_MAXLEN);
	j->first = be32(sb + JBD2_S_FIRST);
	j->start = be32(sb + JBD2_S_START);
	j->sequence = be32(sb + JBD2_S_SEQUENCE);
	if (j->last > j->source->log_blocks || !j->first || j->first >= j->last)
		return damaged(j, 0, "length of the log");
	if (j->start && (j->start < j->first || j->start >= j->last))
		return damaged(j, 0, "start of the log");
	if (j->result)
		j->result->error = be32(sb + JBD2_S_ERRNO);
	return 0;
}

static int open_journal(struct journal *j)
{
	j->window = kpages_alloc(WINDOW_BYTES);
	j->descriptor = kpages_alloc(j->source->block_bytes);
	return j->window && j->descriptor ? load_super(j) : -ENOMEM;
}

static void close_journal(struct journal *j)
{
	if (j->window)
		kpages_free(j->window, WINDOW_BYTES);
	if (j->descriptor)
		kpages_free(j->descriptor, j->source->block_bytes);
	journal_map_free(&j->revoked);
}

int journal_needs_replay(const struct journal_source *source)
{
	struct journal j = {.source = source};
	int error = open_journal(&j);
	close_journal(&j);
	return error ? error : j.start != 0;
}

int journal_replay(const struct journal_source *source, struct journal_map *map,
		   struct journal_result *result)
{
	struct journal j = {.source = source, .map = map, .result = result};
	*result = (struct journal_result){.transactions = 0};
	int error = open_journal(&j);
	for (enum pass pass = PASS_SCAN; !error && j.start && pass <= PASS_REPLAY; pass++)
		error = walk_log(&j, pass);
	close_journal(&j);
	if (error)
		return error;
	result->transactions = j.start ? j.end - j.sequence : 0;
	// What was not committed may be there in part, with the number of the end.
	result->next = j.start ? MAX(j.end + 1, 1U) : 0;
	result->blocks = map->used;
	return 0;
}
