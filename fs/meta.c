// SPDX-License-Identifier: BSD-2-Clause
// Metadata blocks, through the page cache: a volume's metadata is a file of its own whose bytes are the
// device's, sector by sector. Its pages stay mapped, for the processor reads them, and are evicted like
// any other. A journal that was replayed in memory sends some blocks elsewhere (meta_replace).
#include "fs/transaction_private.h"

#include "kernel/kstring.h"
#include "kernel/panic.h"
#include "kernel/vmm.h"

static uint16_t verified_bit(const void *data)
{
	return (uint16_t)(PAGE_VERIFIED << (((uintptr_t)data & (PAGE_SIZE - 1)) >> 10));
}

bool meta_verified(const struct page *page, const void *data)
{
	return page->flags & verified_bit(data);
}

void meta_set_verified(struct page *page, const void *data)
{
	spin_lock_wtd(&cache.lock);
	page->flags |= verified_bit(data);
	spin_unlock_wtd(&cache.lock);
}

static int get_page(struct page_owner *owner, uint64_t index, struct page **page)
{
	spin_lock_wtd(&cache.lock);
	struct page *found = cache_find(owner, index);
	if (found && page_readable(found)) {
		cache_touch(found);
		page_wire_get(found);
		cache.hits++;
		*page = found;
		spin_unlock_wtd(&cache.lock);
		return 0;
	}
	spin_unlock_wtd(&cache.lock);
	return get_sync(owner, index, page);
}

int meta_get(struct volume *volume, uint64_t block, const void **data, struct page **page)
{
	static const uint8_t magic[4] = {0xc0, 0x3b, 0x39, 0x98}; // jbd2's, which begins the block
	struct volume_private *private = volume_private(volume);
	uint64_t limit = (volume->dev->sectors << SECTOR_SHIFT) / volume->block_bytes,
		 where = block;
	bool escaped = false;

	meta_replaced(volume, block, &where, &escaped);
	if (block >= limit || where >= limit)
		return -ERANGE;
	uint64_t at = where * volume->block_bytes;
	int error = get_page(&private->meta, at >> PAGE_SHIFT, page);
	if (error)
		return error;
	uint8_t *found = (uint8_t *)page_virt(*page) + (at & (PAGE_SIZE - 1));
	if (escaped && memcmp(found, magic, sizeof(magic)))
		memcpy(found, magic, sizeof(magic));
	*data = found;
	return 0;
}

int meta_replace(struct volume *volume, uint64_t block, uint64_t replacement, bool escaped)
{
	int error = journal_map_set(&volume_private(volume)->replaced, block,
				    journal_value(replacement, escaped));
	return error ? -ENOMEM : 0;
}

bool meta_replaced(struct volume *volume, uint64_t block, uint64_t *replacement, bool *escaped)
{
	return journal_map_get(&volume_private(volume)->replaced, block, replacement, escaped);
}

// ---- for changing ----

// The page, claimed and zeroed when it is not in the cache and all of it is the block; else null.
static struct page *claim_unread(struct page_owner *owner, uint64_t index, int *error)
{
	spin_lock_wtd(&cache.lock);
	struct page *page = cache_find(owner, index);
	*error = 0;
	if (!page) {
		page = cache_claim(owner, index);
		*error = page ? 0 : -ENOMEM;
		if (page) {
			memset(page_virt(page), 0, PAGE_SIZE);
			cache_publish(page); // wired, as cache_claim gives it
		}
	} else {
		page = NULL;
	}
	spin_unlock_wtd(&cache.lock);
	return page;
}

int meta_get_fresh(struct volume *volume, uint64_t block, void **data, struct page **page)
{
	const void *found;
	int error = 0;
	*page = NULL;
	if (block >= volume->blocks)
		return -ERANGE;
	if (volume->block_bytes == PAGE_SIZE)
		*page = claim_unread(&volume_private(volume)->meta, block, &error);
	if (*page || error) {
		*data = *page ? page_virt(*page) : NULL;
		return error;
	}
	error = meta_get(volume, block, &found, page);
	*data = (void *)(uintptr_t)found;
	return error;
}

void meta_hold(struct page *page)
{
	spin_lock_wtd(&cache.lock);
	if (!(page->flags & PAGE_META) || page->state != PAGE_CLEAN)
		PANIC("page %lx of metadata is in state %u, flags %x", (unsigned long)page->index,
		      page->state, page->flags);
	if (!(page->flags & PAGE_HELD))
		cache_unlru(page);
	page->flags |= PAGE_HELD;
	spin_unlock_wtd(&cache.lock);
}

void meta_release(struct page *page)
{
	spin_lock_wtd(&cache.lock);
	ASSERT(page->flags & PAGE_HELD);
	page->flags &= (uint16_t)~PAGE_HELD;
	cache_lru_add(page);
	spin_unlock_wtd(&cache.lock);
}

void meta_clear_verified(struct page *page, const void *data)
{
	spin_lock_wtd(&cache.lock);
	page->flags &= (uint16_t)~verified_bit(data);
	spin_unlock_wtd(&cache.lock);
}

void meta_forget(struct volume *volume, uint64_t block)
{
	struct page_owner *owner = &volume_private(volume)->meta;
	uint64_t at = block * volume->block_bytes;
	spin_lock_wtd(&cache.lock);
	struct page *page = cache_find(owner, at >> PAGE_SHIFT);
	if (page && page->state == PAGE_CLEAN) {
		page->flags &=
		    (uint16_t)~verified_bit((uint8_t *)page_virt(page) + (at & (PAGE_SIZE - 1)));
		if (volume->block_bytes == PAGE_SIZE && !(page->flags & PAGE_HELD))
			cache_detach(page);
	}
	spin_unlock_wtd(&cache.lock);
}
