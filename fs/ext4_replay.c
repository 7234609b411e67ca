// SPDX-License-Identifier: BSD-2-Clause
// The journal of a volume that was not unmounted cleanly: found through its inode, replayed into a
// map, and the map given to the metadata cache. Mounting thread. Until this is over metadata is
// read past the cache, because blocks that the journal replaces must not get into it in their old
// form.
#include "fs/ext4.h"

#include "kernel/kprintf.h"

struct log_inode {
	struct ext4 *fs;
	struct ext4_node node;
};

static int log_map(void *ctx, uint32_t index, uint64_t *block, uint32_t *count)
{
	struct log_inode *log = ctx;
	struct ext4_run run;
	int error = ext4_map_node(log->fs, &log->node, index, &run);
	if (error)
		return error;
	if (run.disk == EXT4_HOLE)
		return ext4_corrupt(log->fs, log->node.number, 0, "hole in the journal at %u",
				    index);
	*block = run.disk + (index - run.first);
	*count = run.count - (index - run.first);
	return 0;
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
	struct log_inode log = {.fs = fs};
	struct inode inode = {.volume = fs->volume};
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
		status = ext4_load_inode(fs, sb->s_journal_inum, &inode, &log.node);
		if (!status && inode.type != INODE_FILE)
			status = ext4_corrupt(fs, inode.number, 0, "journal is not a file");
		struct journal_source source = {
		    .name = fs->volume->dev->name,
		    .dev = fs->volume->dev,
		    .block_bytes = fs->block_bytes,
		    .volume_blocks = fs->blocks,
		    .log_blocks = inode.size >> fs->block_shift,
		    .map = log_map,
		    .ctx = &log,
		};
		if (!status)
			status = journal_needs_replay(&source);
		if (status > 0)
			status = replay_log(fs, &source, result);
	}
	if (status < 0) {
		kprintf("%s: ext4: not mounted, its journal needs recovery and cannot be replayed "
			"(error %d)\n",
			fs->volume->dev->name, -status);
		return status;
	}
	fs->raw = NULL;
	return status;
}
