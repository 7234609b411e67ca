// SPDX-License-Identifier: BSD-2-Clause
// The page cache under a random load: a slow disk that fails, a format that must sleep, too little
// memory, cancels, drops, detached pages, fast WTDs that run wherever they may. A page that is given
// must hold what was asked for, stay as it is while it is held, and everything must come back.
// SOURCES: tests/host/fakefs*.c fs/pagecache*.c fs/meta.c fs/inode.c fs/name.c
// SOURCES: fs/name_cache.c fs/volume.c fs/zeros.c fs/journal_map.c kernel/rwlock.c kernel/copy.c kernel/string.c
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "fakefs.h"
#include "fs/pagecache_private.h"
#include "kernel/panic.h"
#include "kernel/pmm.h"
#include "kernel/pool.h"
#include "kernel/vmm.h"
#include "shim.h"

#define FILES 12
#define ASKED 48
#define HELD  200

static struct {
	uint64_t number, pages;
	struct inode *inode;
	uint64_t at; // where a sequential reader of it is
} files[FILES];

static struct asked {
	struct page_get get;
	bool busy;
	unsigned file;
} asked[ASKED];

static struct held {
	struct page *page;
	unsigned file;
	uint64_t index;
} held[HELD];
static unsigned held_count;
static uint64_t given, failed, refused, followed;

static void hold(struct page *page, unsigned file, uint64_t index)
{
	ASSERT(page->wire && page_readable(page));
	ASSERT(fake_page_right(files[file].number, index, page_phys(page)));
	given++;
	if (held_count == HELD) {
		page_wire_put(page);
		return;
	}
	held[held_count++] = (struct held){page, file, index};
}

static void let_go(void)
{
	if (!held_count)
		return;
	struct held *h = &held[shim_random_below(held_count)];
	ASSERT(fake_page_right(files[h->file].number, h->index, page_phys(h->page)));
	page_wire_put(h->page);
	*h = held[--held_count];
}

static void told(struct page_get *get)
{
	struct asked *a = CONTAINER_OF(get, struct asked, get);
	ASSERT(a->busy);
	a->busy = false;
	if (!get->status) {
		hold(get->page, a->file, get->index);
	} else if (get->status == -ENOMEM) {
		refused++;
	} else {
		failed++;
		ASSERT(get->status == -EIO || get->status == -EUCLEAN);
		ASSERT(fake_page_bad(files[a->file].number, get->index) ||
		       fake_rules.disk_fails_pct || fake_rules.submit_fails_pct);
	}
}

static uint64_t some_index(unsigned file)
{
	if (shim_random_below(3))
		return files[file].at++ % files[file].pages;
	if (!shim_random_below(20))
		files[file].at = shim_random_below(files[file].pages);
	return shim_random_below(files[file].pages);
}

static void ask(void)
{
	struct asked *a = &asked[shim_random_below(ASKED)];
	if (a->busy)
		return;
	a->file = (unsigned)shim_random_below(FILES);
	uint64_t index = some_index(a->file);
	struct page *page = pagecache_probe(files[a->file].inode, index);
	if (page) {
		unsigned most =
		    (unsigned)shim_random_below(3) ? 0 : (unsigned)shim_random_below(20);
		unsigned more = pagecache_follow(files[a->file].inode, page, index, most);
		ASSERT(more <= most);
		followed += more;
		for (unsigned i = 0; i <= more; i++)
			hold(page + i, a->file, index + i);
		return;
	}
	a->get = (struct page_get){.inode = files[a->file].inode, .index = index, .done = told};
	a->busy = true;
	pagecache_get(&a->get);
}

static void cancel(void)
{
	struct asked *a = &asked[shim_random_below(ASKED)];
	if (!a->busy)
		return;
	ASSERT(pagecache_cancel(&a->get));
	memset(&a->get, 0xa5, sizeof(a->get)); // nobody may look at it again
	a->busy = false;
}

static void disturb(void)
{
	unsigned file = (unsigned)shim_random_below(FILES);
	size_t bytes = PAGE_SIZE << shim_random_below(4);
	void *p;
	switch (shim_random_below(8)) {
	case 0:
		pagecache_drop();
		break;
	case 1:
		pagecache_detach(files[file].inode, shim_random_below(files[file].pages));
		break;
	case 2: // somebody else wants memory for a moment
		p = kpages_alloc(bytes);
		shim_advance(shim_random_below(5000));
		if (p)
			kpages_free(p, bytes);
		break;
	case 3:
		pool_fail_after((uint32_t)shim_random_below(4));
		ask();
		ask();
		pool_fail_off();
		break;
	case 4: // long enough for pages to be asked for again
		shim_advance(shim_random_below(20) ? 1 : NS_PER_SEC);
		break;
	default:
		shim_advance(shim_random_below(20000));
	}
}

// Every page of the list has one identity, is found under it, and bears the list's flag. Returns how many there are.
static uint64_t check_list(const struct page_list *list, unsigned flag)
{
	uint64_t n = 0;
	struct page *before = NULL;
	for (struct page *page = list->first; page; before = page, page = page->lru_next) {
		ASSERT(page->lru_prev == before && (page->flags & PAGE_CACHE));
		ASSERT((page->flags & PAGE_AGAIN) == flag);
		ASSERT(!(page->flags & PAGE_DETACHED) && page_readable(page) && !page->waiters);
		ASSERT(cache_find(page->owner, page->index) == page);
		n++;
	}
	ASSERT(list->last == before && n == list->pages);
	return n;
}

// Each page of the hash says truly whether the next frame has the next page.
static void check_followed(void)
{
	for (const struct page *page = pages, *next = page + 1; next < pages + pages_count;
	     page = next++)
		ASSERT(!page->owner || page->followed == (next->owner == page->owner &&
							  next->index == page->index + 1));
}

static void check(void)
{
	uint64_t listed, owned = 0;
	spin_lock_wtd(&cache.lock);
	listed = check_list(&cache.once, 0) + check_list(&cache.again, PAGE_AGAIN);
	ASSERT(listed + cache.reading == cache.pages);
	for (unsigned i = 0; i < FILES; i++)
		owned += inode_page_owner(files[i].inode)->pages;
	ASSERT(owned == cache.pages);
	check_followed();
	spin_unlock_wtd(&cache.lock);
	for (unsigned i = 0; i < held_count; i++)
		ASSERT(held[i].page->wire);
}

static void make_files(void)
{
	struct volume *volume = volume_first();
	for (unsigned i = 0; i < FILES; i++) {
		uint64_t size = 1 + shim_random_below(i < 4 ? 70000 : 3000000);
		files[i].number = fake_file(FAKE_ROOT, "f", size);
		files[i].pages = (size + PAGE_SIZE - 1) / PAGE_SIZE;
		fake_layout(files[i].number, 1 + (uint32_t)shim_random_below(60),
			    shim_random_below(2), shim_random_below(2));
		if (i % 3 == 2)
			fake_bad_block(files[i].number,
				       shim_random_below(size / fake_rules.block_bytes + 1), i % 2,
				       !(i % 2));
		assert_int_equal(inode_open(volume, files[i].number, &files[i].inode), 0);
		files[i].at = 0;
	}
}

static void random_load(uint32_t block_bytes, unsigned steps, bool failing)
{
	fake_rules = (struct fake_rules){.block_bytes = block_bytes,
					 .delay_max_ns = 3000,
					 .map_again_pct = 20,
					 .disk_fails_pct = failing ? 5 : 0,
					 .submit_fails_pct = failing ? 3 : 0,
					 .format_sleeps = true,
					 .max_segs = failing ? 3 : 0,
					 .max_sectors = failing ? 24 : 0};
	fake_start(700);
	memset(asked, 0, sizeof(asked));
	make_files();
	shim_set_unmapped(block_bytes != 1024);
	shim_preempt(shim_random());
	given = failed = refused = followed = 0;
	uint64_t evictions = cache.evictions, used = cache.ahead_used;
	for (unsigned i = 0; i < steps; i++) {
		uint64_t what = shim_random_below(100);
		if (what < 50)
			ask();
		else if (what < 90)
			let_go();
		else if (what < 93)
			cancel();
		else
			disturb();
		if (i % 500 == 0)
			check();
	}
	for (unsigned i = 0; i < ASKED; i++)
		if (asked[i].busy && i % 2)
			assert_true(pagecache_cancel(&asked[i].get)), asked[i].busy = false;
	shim_advance(NS_PER_SEC);
	for (unsigned i = 0; i < ASKED; i++)
		assert_false(asked[i].busy);
	while (held_count)
		let_go();
	check();
	print_message("given %lu, %lu of them in runs, failed %lu, refused %lu, evicted %lu, read "
		      "ahead and used %lu\n",
		      given, followed, failed, refused, cache.evictions - evictions,
		      cache.ahead_used - used);
	assert_true(given > steps / 10 && cache.evictions - evictions > steps / 100);
	assert_true(followed > steps / 1000);
	assert_int_equal(page_pinned(), 0);
	assert_int_equal(cache.reads, 0);
	for (unsigned i = 0; i < FILES; i++)
		inode_put(files[i].inode);
	pagecache_drop();
	assert_int_equal(cache.pages, 0);
	assert_int_equal(fake_stop(), 0);
}

static void random_load_on_a_sound_disk(void **state)
{
	random_load(4096, 60000, false);
	random_load(1024, 60000, false);
}

static void random_load_on_a_failing_disk(void **state)
{
	random_load(4096, 60000, true);
	random_load(2048, 60000, true);
	random_load(1024, 60000, true);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(random_load_on_a_sound_disk),
	    cmocka_unit_test(random_load_on_a_failing_disk),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
