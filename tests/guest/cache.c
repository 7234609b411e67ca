// SPDX-License-Identifier: BSD-2-Clause
// The file cache on the running machine: file bytes come by DMA into pages that the processor cannot
// reach, and everything comes back. Needs the test volume's /pages.bin: 64-bit numbers that count up.
#include "tests/guest/sched_tools.h"
#include "fs/name.h"
#include "fs/pagecache.h"
#include "fs/volume.h"
#include "kernel/kstat.h"
#include "kernel/kstring.h"
#include "kernel/ktest.h"
#include "kernel/lock.h"
#include "kernel/pmm.h"
#include "kernel/thread.h"
#include "kernel/timer.h"
#include "kernel/vmm.h"

#define WORDS (PAGE_SIZE / 8)

static struct inode *test_file(void)
{
	struct volume *volume = volume_root();
	struct inode *inode = NULL;
	if (!volume || name_find_wait(volume, "pages.bin", 9, &inode))
		ktest_skip("no volume with /pages.bin");
	return inode;
}

static uint64_t page_count(const struct inode *inode)
{
	return inode->size / PAGE_SIZE;
}

static bool page_right(struct page *page, uint64_t index)
{
	const uint64_t *words = vmm_window_open(page);
	bool right = true;
	for (uint64_t i = 0; i < WORDS; i++)
		right &= words[i] == index * WORDS + i;
	vmm_window_close(page);
	return right;
}

static void expect_file_right(struct inode *inode)
{
	uint64_t wrong = 0;
	for (uint64_t i = 0; i < page_count(inode); i++) {
		struct page *page;
		int error = pagecache_get_wait(inode, i, &page);
		EXPECT_EQ(error, 0);
		if (error)
			return;
		wrong += !page_right(page, i);
		page_wire_put(page);
	}
	EXPECT_EQ(wrong, 0);
}

static void read_byte(void *arg)
{
	(void)*(volatile uint8_t *)arg;
}

KTEST("cache", bytes, "file-pages-hold-the-file-read-ahead-or-not")
{
	struct inode *inode = test_file();
	struct pagecache_stats before, after;
	if (!inode)
		return;
	pagecache_drop();
	pagecache_stats(&before);
	expect_file_right(inode);
	pagecache_stats(&after);
	EXPECT(after.readahead_used > before.readahead_used);
	EXPECT(after.misses - before.misses < page_count(inode) / 4);
	expect_file_right(inode); // all of them hits
	pagecache_stats(&before);
	EXPECT_EQ(before.misses, after.misses);
	inode_put(inode);
}

KTEST("cache", unreachable, "a-file-page-in-the-cache-cannot-be-touched")
{
	struct inode *inode = test_file();
	struct page *page;
	if (!inode)
		return;
	if (!vmm_cache_unmapped()) {
		ktest_skip("without cache=unmapped nothing is hidden");
		inode_put(inode);
		return;
	}
	EXPECT_EQ(pagecache_get_wait(inode, 1, &page), 0);
	EXPECT(ktest_panics(read_byte, page_virt(page)));
	EXPECT(page_right(page, 1));
	page_wire_put(page);
	inode_put(inode);
}

KTEST("cache", frames, "frames-come-back-when-the-cache-is-dropped")
{
	struct inode *inode = test_file();
	uint64_t before;
	if (!inode)
		return;
	expect_file_right(inode);
	pagecache_drop();
	before = frames_but_used();
	for (unsigned i = 0; i < 3; i++) {
		expect_file_right(inode);
		pagecache_drop();
	}
	EXPECT_EQ(frames_but_used(), before);
	EXPECT_EQ(kstat_get("pagewire_cache_spare_pages", NULL), 0);
	inode_put(inode);
}

// Takes all memory there is, as kernel structures would.
KTEST("cache", pressure, "memory-wanted-elsewhere-comes-from-the-cache")
{
	struct inode *inode = test_file();
	struct pagecache_stats full, squeezed;
	void **taken = NULL, **next;
	struct pmm_stats pmm;
	if (!inode)
		return;
	pmm_stats(&pmm);
	if (pmm.frames_total > 65536) { // 256 MB: filling more takes too long
		ktest_skip("more memory than is worth filling");
		inode_put(inode);
		return;
	}
	expect_file_right(inode);
	pagecache_stats(&full);
	while ((next = kpages_alloc(PAGE_SIZE))) {
		*next = taken;
		taken = next;
	}
	pagecache_stats(&squeezed);
	for (; taken; taken = next) {
		next = *taken;
		kpages_free(taken, PAGE_SIZE);
	}
	EXPECT(full.pages >= page_count(inode));
	EXPECT(squeezed.pages < 8);
	expect_file_right(inode);
	inode_put(inode);
}

// ---- from fast WTDs, as a server asks ----

static struct spinlock lock = SPINLOCK_INIT("cache test", RANK_HTTP);
static struct waitq waitq;
static unsigned told, errors; // (lock)
static struct page_get gets[32];
static struct wtd asker;
static struct inode *asked_inode;

static void get_done(struct page_get *get)
{
	bool wrong = get->status || !page_right(get->page, get->index);
	if (!get->status)
		page_wire_put(get->page);
	spin_lock_wtd(&lock);
	told++;
	errors += wrong;
	waitq_wake_all(&waitq);
	spin_unlock_wtd(&lock);
}

// Two for each page, every fourth cancelled at once.
static void ask_all(struct wtd *work)
{
	for (unsigned i = 0; i < ARRAY_SIZE(gets); i++) {
		gets[i] =
		    (struct page_get){.inode = asked_inode, .index = i / 2 * 3, .done = get_done};
		pagecache_get(&gets[i]);
	}
	for (unsigned i = 0; i < ARRAY_SIZE(gets); i += 4)
		if (!pagecache_cancel(&gets[i]))
			errors++;
}

static void wait_told(unsigned count)
{
	spin_lock_wtd(&lock);
	while (told < count)
		if (!waitq_sleep_for(&waitq, &lock, 60 * NS_PER_SEC))
			break;
	spin_unlock_wtd(&lock);
	EXPECT_EQ(told, count);
	EXPECT_EQ(errors, 0);
}

KTEST("cache", async, "pages-asked-for-in-a-fast-wtd-arrive-once-and-cancelled-ones-never")
{
	asked_inode = test_file();
	if (!asked_inode)
		return;
	pagecache_drop();
	told = errors = 0;
	wtd_init(&asker, ask_all, "cache test");
	wtd_post_fast(&asker);
	wait_told(ARRAY_SIZE(gets) * 3 / 4);
	thread_sleep_ns(50 * NS_PER_MS);
	wait_told(ARRAY_SIZE(gets) * 3 / 4);
	inode_put(asked_inode);
}

static struct name_request requests[2];
static void name_done(struct name_request *request)
{
	bool good = request == &requests[0] ? !request->status && request->inode
					    : request->status == -ENOENT;
	if (!request->status)
		inode_put(request->inode);
	spin_lock_wtd(&lock);
	told++;
	errors += !good;
	waitq_wake_all(&waitq);
	spin_unlock_wtd(&lock);
}

KTEST("cache", names, "names-are-found-by-a-worker-and-then-at-once")
{
	static const char *const paths[] = {"pages.bin", "no-such-file"};
	struct inode *inode = test_file();
	if (!inode)
		return;
	inode_put(inode);
	told = errors = 0;
	for (unsigned i = 0; i < 2; i++) {
		requests[i] = (struct name_request){.volume = volume_root(),
						    .path = paths[i],
						    .len = strlen(paths[i]),
						    .done = name_done};
		name_find(&requests[i]);
	}
	wait_told(2);
	EXPECT_EQ(name_find_cached(volume_root(), paths[1], strlen(paths[1]), &inode), -ENOENT);
	EXPECT_EQ(name_find_cached(volume_root(), paths[0], strlen(paths[0]), &inode), 0);
	inode_put(inode);
}

// The read path's stage 6, counted. The bounds are what the design promises, with room for a compiler.
KTEST("cache", cost, "a-hit-costs-a-few-hundred-instructions")
{
	struct inode *inode = test_file(), *found;
	struct page *page;
	uint64_t start, probe = UINT64_MAX, name = UINT64_MAX, absent = UINT64_MAX;
	if (!inode)
		return;
	if (!ktest_counts_instructions()) {
		ktest_skip("without icount there is nothing to count with");
		inode_put(inode);
		return;
	}
	struct volume *volume = volume_root();
	expect_file_right(inode);
	for (unsigned i = 0; i < 10; i++) {
		start = clock_cycles();
		page = pagecache_probe(inode, i);
		probe = MIN(probe, clock_cycles() - start);
		page_wire_put(page);
		start = clock_cycles();
		int error = name_find_cached(volume, "pages.bin", 9, &found);
		name = MIN(name, clock_cycles() - start);
		EXPECT_EQ(error, 0);
		inode_put(found);
		if (name_find_wait(volume, "lost+found/none", 15, &found) != -ENOENT)
			ktest_fail(__FILE__, __LINE__, "/lost+found/none is there");
		start = clock_cycles();
		error = name_find_cached(volume, "lost+found/none", 15, &found);
		absent = MIN(absent, clock_cycles() - start);
		EXPECT_EQ(error, -ENOENT);
	}
	ktest_note(
	    "a page found in %lu instructions, an inode by name in %lu, an absent name in %lu",
	    (unsigned long)probe, (unsigned long)name, (unsigned long)absent);
	EXPECT(probe < 250 && name < 430 && absent < 330);
	inode_put(inode);
}
