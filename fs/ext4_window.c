// SPDX-License-Identifier: BSD-2-Clause
// Windows: stretches of free blocks that lie next to a file being streamed and that other files leave alone,
// so that several streams at once each stay in one piece. They are in memory only: on the disk those
// blocks are free, a crash leaks nothing, and who finds no other room takes them (ext4_balloc.c).
#include "fs/ext4_alloc.h"

static struct ext4_window *find(struct ext4 *fs, uint32_t inode)
{
	for (size_t i = 0; i < EXT4_WINDOWS; i++)
		if (fs->windows[i].count && fs->windows[i].inode == inode)
			return &fs->windows[i];
	return NULL;
}

bool ext4_window_of(struct ext4 *fs, uint32_t inode, struct ext4_window *out)
{
	spin_lock_wtd(&fs->lock);
	struct ext4_window *window = find(fs, inode);
	if (window) {
		window->used = ++fs->window_clock;
		*out = *window;
	}
	spin_unlock_wtd(&fs->lock);
	return window;
}

// Lock held. One not in use, or the one not used for longest.
static struct ext4_window *idlest(struct ext4 *fs)
{
	struct ext4_window *best = &fs->windows[0];
	for (size_t i = 0; i < EXT4_WINDOWS && best->count; i++)
		if (!fs->windows[i].count || fs->windows[i].used < best->used)
			best = &fs->windows[i];
	return best;
}

void ext4_window_set(struct ext4 *fs, uint32_t inode, uint64_t first, uint64_t count)
{
	spin_lock_wtd(&fs->lock);
	struct ext4_window *window = find(fs, inode);
	if (!window)
		window = idlest(fs);
	*window = (struct ext4_window){
	    .first = first, .count = count, .inode = inode, .used = ++fs->window_clock};
	spin_unlock_wtd(&fs->lock);
}

uint64_t ext4_window_free(struct ext4 *fs, uint32_t inode, uint64_t first, uint64_t end,
			  uint64_t *free_end)
{
	bool moved = true;
	spin_lock_wtd(&fs->lock);
	while (moved && first < end) { // out of windows that it lies in: each is left once
		moved = false;
		for (size_t i = 0; i < EXT4_WINDOWS; i++) {
			const struct ext4_window *w = &fs->windows[i];
			if (w->count && w->inode != inode && first >= w->first &&
			    first - w->first < w->count) {
				first = w->first + w->count;
				moved = true;
			}
		}
	}
	first = MIN(first, end);
	for (size_t i = 0; i < EXT4_WINDOWS; i++) {
		const struct ext4_window *w = &fs->windows[i];
		if (w->count && w->inode != inode && w->first >= first)
			end = MIN(end, w->first);
	}
	spin_unlock_wtd(&fs->lock);
	*free_end = end;
	return first;
}

void ext4_release_preallocation(struct inode *inode)
{
	struct ext4 *fs = ext4_of(inode);
	if (!__atomic_load_n(&fs->window_clock, __ATOMIC_RELAXED))
		return; // nothing was ever streamed
	spin_lock_wtd(&fs->lock);
	struct ext4_window *window = find(fs, (uint32_t)inode->number);
	if (window)
		window->count = 0;
	spin_unlock_wtd(&fs->lock);
}
