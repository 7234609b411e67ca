// SPDX-License-Identifier: BSD-2-Clause
// The journal of a volume that was not unmounted cleanly: found through its inode, replayed into a
// map, and the map given to the metadata cache. Mounting thread. Until this is over metadata is
// read past the cache, because blocks that the journal replaces must not get into it in their old
// form.
#include "fs/ext4.h"

#include "kernel/kprintf.h"

static int log_map(void *ctx, uint32_t index, uint64_t *block, uint32_t *count)
{
	struct ext4_log *log = ctx;
	struct ext4_run run;
	int error = ext4_map_node(log->fs, &log->node, index, &run);
	if (error)
		return error;
	if (ext4_run_is_hole(&run))
		return ext4_corrupt(log->fs, log->node.number, 0, "hole in the journal at %u",
				    index);
	*block = run.disk + (index - run.first);
	*count = run.count - (index - run.first);
	return 0;
}

int ext4_log_find(struct ext4 *fs, uint32_t number, struct ext4_log *log)
{
	struct inode inode = {.volume = fs->volume};
	*log = (struct ext4_log){.fs = fs};
	int error = ext4_load_inode(fs, number, &inode, &log->node);
	if (!error && inode.type != INODE_FILE)
		error = ext4_corrupt(fs, number, 0, "journal is not a file");
	log->source = (struct journal_source){
	    .name = fs->volume->dev->name,
	    .dev = fs->volume->dev,
	    .block_bytes = fs->block_bytes,
	    .volume_blocks = fs->blocks,
	    .log_blocks = inode.size >> fs->block_shift,
	    .map = log_map,
	    .ctx = log,
	};
	return error;
}

static int tell_cache(void *ctx, uint64_t block, uint64_t value)
{
	return meta_replace(ctx, block, value >> 1, value & 1);
}

static int replay_log(struct ext4 *fs, const struct journal_source *source,
		      struct journal_result *result)
{
	struct journal_map replaced = {.used = 0};
	int error = journal_replay(source, &replaced, result);
	if (!error)
		error = journal_map_each(&replaced, tell_cache, fs->volume);
	fs->has_replaced = replaced.used;
	journal_map_free(&replaced);
	if (error)
		return error;
	kprintf("%s: ext4: journal replayed in memory: %u transactions, %u blocks, %u revoked\n",
		source->name, result->transactions, result->blocks, result->revoked);
	return 1;
}

int ext4_replay(struct ext4 *fs, const struct ext4_super_block *sb, bool from_backup,
		struct journal_result *result)
{
	struct ext4_log log;
	int status = 0;
	bool needed = fs->incompat & INCOMPAT_RECOVER;
	// A backup superblock is not kept up to date: the log itself has to tell.
	bool maybe = from_backup && (fs->compat & COMPAT_HAS_JOURNAL) && sb->s_journal_inum;
	if (needed && !sb->s_journal_inum) {
		kprintf("%s: ext4: not mounted, it needs recovery and has no journal\n",
			fs->volume->dev->name);
		return -EUCLEAN;
	}
	if (needed || maybe) {
		status = ext4_log_find(fs, sb->s_journal_inum, &log);
		if (!status)
			status = journal_needs_replay(&log.source);
		if (status > 0)
			status = replay_log(fs, &log.source, result);
	}
	if (status < 0) {
		kprintf("%s: ext4: not mounted, its journal needs recovery and cannot be replayed "
			"(error %d)\n",
			fs->volume->dev->name, -status);
		return status;
	}
	fs->raw = NULL;
	fs->log_next = result->next;
	fs->from_backup = from_backup;
	return status;
}
