// SPDX-License-Identifier: BSD-2-Clause
// Runs: pages of a file whose frames lie behind each other, which sequential reading makes of the blocks that
// frames come in (pagecache_frame.c). A run costs one look-up in the hash, whatever its length. Stage 6 of
// the read path.
#include "fs/pagecache_private.h"

#include "kernel/timer.h"

unsigned pagecache_follow(struct inode *inode, struct page *page, uint64_t index, unsigned most)
{
	struct page_owner *owner = inode_page_owner(inode);
	struct page *end = page + 1, *limit = MIN(end + most, pages + pages_count);

	spin_lock_wtd(&cache.lock);
	if (page->owner != owner || page->index != index)
		limit = end; // a hole's, or replaced meanwhile
	for (; end < limit && end->owner == owner && end->index == ++index; end++) {
		if (!page_readable(end))
			break;
		if (UNLIKELY(end->flags & PAGE_LOOK))
			cache_looked_at(end);
	}
	if (end - 1 > page)
		cache_touch_run(page + 1, end);
	page_wire_get_run(page + 1, (unsigned)(end - page - 1));
	cache.hits += (uint64_t)(end - page - 1);
	spin_unlock_wtd(&cache.lock);
	return (unsigned)(end - page - 1);
}
