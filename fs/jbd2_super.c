// SPDX-License-Identifier: BSD-2-Clause
// The log's superblock, and where the log lies: what jbd2_write.c needs before it can write. The superblock says
// where the oldest transaction begins that may have to be replayed, and which features the log has; they may
// change only while the log is empty.
#include "fs/jbd2_write.h"

#include "fs/jbd2_disk.h"
#include "kernel/crc32.h"
#include "kernel/kprintf.h"
#include "kernel/kstring.h"
#include "kernel/panic.h"
#include "kernel/pmm.h"

#define LOG_BLOCKS_MIN 1000 // jbd2 makes none smaller; a quarter of it is the largest transaction
#define RUNS_MAX       4096

static int refuse(const struct journal_writer *w, int error, const char *why)
{
	kprintf("%s: journal: not written: %s\n", w->name, why);
	return error;
}

// Walks the log's runs; null: only counts.
static int find_runs(const struct journal_source *source, struct journal_run *runs, uint32_t *count)
{
	uint64_t disk;
	uint32_t length;
	*count = 0;
	for (uint32_t at = 0; at < source->log_blocks; at += length, ++*count) {
		int error = source->map(source->ctx, at, &disk, &length);
		if (error)
			return error;
		length = (uint32_t)MIN((uint64_t)length, source->log_blocks - at);
		if (disk >= source->volume_blocks || length > source->volume_blocks - disk)
			return -EUCLEAN;
		if (*count == RUNS_MAX)
			return -EOPNOTSUPP;
		if (runs)
			runs[*count] = (struct journal_run){at, length, disk};
	}
	return 0;
}

static int map_log(struct journal_writer *w, const struct journal_source *source)
{
	uint32_t count;
	int error = find_runs(source, NULL, &count);
	if (error == -EOPNOTSUPP)
		return refuse(w, error, "it lies in too many pieces");
	if (error)
		return error;
	w->runs_bytes = count * sizeof(*w->runs);
	w->runs = kpages_alloc(w->runs_bytes);
	return w->runs ? find_runs(source, w->runs, &w->run_count) : -ENOMEM;
}

static uint32_t super_csum(const uint8_t *sb)
{
	static const uint8_t zero[4];
	uint32_t sum = crc32c(crc32c(~0U, sb, JBD2_S_CHECKSUM), zero, sizeof(zero));
	return crc32c(sum, sb + JBD2_S_CHECKSUM + 4, JBD2_SUPER_BYTES - JBD2_S_CHECKSUM - 4);
}

static bool sums(uint32_t incompat)
{
	return incompat & (JBD2_INCOMPAT_CSUM_V2 | JBD2_INCOMPAT_CSUM_V3);
}

static int check_super(struct journal_writer *w, const struct journal_source *source)
{
	const uint8_t *sb = w->super;
	uint32_t incompat = be32(sb + JBD2_S_INCOMPAT);
	if (be32(sb) != JBD2_MAGIC || be32(sb + JBD2_S_BLOCKSIZE) != source->block_bytes)
		return refuse(w, -EUCLEAN, "its superblock is damaged");
	if (be32(sb + 4) != JBD2_SUPER_V2)
		return refuse(w, -EOPNOTSUPP, "its superblock is of version 1");
	if (incompat & ~(uint32_t)JBD2_INCOMPAT_READ)
		return refuse(w, -EOPNOTSUPP, "it has features that are not supported");
	if (sums(incompat) && super_csum(sb) != be32(sb + JBD2_S_CHECKSUM))
		return refuse(w, -EUCLEAN, "its superblock is damaged");
	if (be32(sb + JBD2_S_ERRNO))
		return refuse(w, -EUCLEAN, "whoever wrote it last gave up with an error");
	w->first = be32(sb + JBD2_S_FIRST);
	w->last = be32(sb + JBD2_S_MAXLEN);
	if (!w->first || w->first >= w->last || w->last > source->log_blocks)
		return refuse(w, -EUCLEAN, "its length is wrong");
	if (w->last - w->first < LOG_BLOCKS_MIN)
		return refuse(w, -EOPNOTSUPP, "it is too small");
	return 0;
}

// Tags are as large as the features make them (fs/journal.c: check_features).
static void set_features(struct journal_writer *w, const struct journal_format *format)
{
	uint32_t drop = JBD2_INCOMPAT_ASYNC_COMMIT; // our commit blocks come after a flush
	w->compat = be32(w->super + JBD2_S_COMPAT) & ~(uint32_t)JBD2_COMPAT_CHECKSUM;
	w->incompat = be32(w->super + JBD2_S_INCOMPAT) | JBD2_INCOMPAT_REVOKE;
	if (format->wide)
		w->incompat |= JBD2_INCOMPAT_64BIT;
	if (format->checksums) {
		w->incompat |= JBD2_INCOMPAT_CSUM_V3;
		drop |= JBD2_INCOMPAT_CSUM_V2;
	}
	w->incompat &= ~drop;
	bool wide = w->incompat & JBD2_INCOMPAT_64BIT;
	w->tag_bytes = (wide ? 12 : 8) + (w->incompat & JBD2_INCOMPAT_CSUM_V2 ? 2 : 0);
	if (w->incompat & JBD2_INCOMPAT_CSUM_V3)
		w->tag_bytes = 16;
	w->csum_seed = crc32c(~0U, w->super + JBD2_S_UUID, JBD2_UUID_BYTES);
	put_be32(w->super + JBD2_S_COMPAT, w->compat);
	put_be32(w->super + JBD2_S_INCOMPAT, w->incompat);
	w->super[JBD2_S_CHECKSUM_TYPE] = sums(w->incompat) ? JBD2_CHECKSUM_CRC32C : 0;
}

static int write_super(struct journal_writer *w)
{
	if (sums(w->incompat))
		put_be32(w->super + JBD2_S_CHECKSUM, super_csum(w->super));
	uint64_t lba = w->runs[0].disk * (w->block_bytes >> SECTOR_SHIFT);
	if (!batch_add(w->super_batch, lba, w->super, w->block_bytes))
		return -EIO;
	return batch_run(w->super_batch, true);
}

int journal_tail(struct journal_writer *w, uint32_t start, uint32_t sequence)
{
	mutex_lock(&w->super_lock);
	put_be32(w->super + JBD2_S_START, start);
	put_be32(w->super + JBD2_S_SEQUENCE, sequence);
	int error = write_super(w);
	w->empty = !start;
	mutex_unlock(&w->super_lock);
	return error;
}

int journal_note_error(struct journal_writer *w, int error)
{
	mutex_lock(&w->super_lock);
	put_be32(w->super + JBD2_S_ERRNO, (uint32_t)error);
	error = write_super(w);
	mutex_unlock(&w->super_lock);
	return error;
}

static int get_memory(struct journal_writer *w)
{
	w->super = kpages_alloc(w->block_bytes);
	w->zero = kpages_alloc(w->block_bytes);
	w->batch = batch_make(w->dev);
	w->super_batch = batch_make(w->dev);
	for (unsigned n = 0; n < JOURNAL_DESCRIPTORS; n++)
		if (!(w->buffer[n] = kpages_alloc(w->block_bytes)))
			return -ENOMEM;
	return w->super && w->zero && w->batch && w->super_batch ? 0 : -ENOMEM;
}

int journal_writer_open(struct journal_writer *w, const struct journal_source *source,
			const struct journal_format *format, uint32_t sequence)
{
	*w = (struct journal_writer){
	    .name = source->name,
	    .dev = source->dev,
	    .block_bytes = source->block_bytes,
	    .super_lock = MUTEX_INIT("journal superblock"),
	};
	int error = get_memory(w);
	if (!error)
		error = map_log(w, source);
	if (!error)
		error = block_rw_sync(w->dev, BLOCK_READ,
				      w->runs[0].disk * (w->block_bytes >> SECTOR_SHIFT), w->super,
				      w->block_bytes);
	if (!error)
		error = check_super(w, source);
	if (!error && be32(w->super + JBD2_S_START) && !sequence)
		error = refuse(w, -EUCLEAN, "it is not empty");
	if (!error) {
		set_features(w, format);
		w->head = w->first;
		w->sequence = sequence ? sequence : be32(w->super + JBD2_S_SEQUENCE);
		error = journal_tail(w, 0, w->sequence);
	}
	if (error)
		journal_writer_close(w);
	return error;
}

void journal_writer_close(struct journal_writer *w)
{
	for (unsigned n = 0; n < JOURNAL_DESCRIPTORS; n++)
		if (w->buffer[n])
			kpages_free(w->buffer[n], w->block_bytes);
	if (w->super)
		kpages_free(w->super, w->block_bytes);
	if (w->zero)
		kpages_free(w->zero, w->block_bytes);
	if (w->runs)
		kpages_free(w->runs, w->runs_bytes);
	batch_free(w->batch);
	batch_free(w->super_batch);
	*w = (struct journal_writer){.name = w->name};
}
