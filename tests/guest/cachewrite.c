// SPDX-License-Identifier: BSD-2-Clause
// Writing into the file cache on the running machine, whose pages the processor reaches through the copy's window
// only (cache=unmapped): what was written is found by readers and by the disk, a page that somebody holds is
// replaced, write-behind asks nobody, and what was lent comes back. Needs a writable volume labelled SCRATCH
// (tests/e2e/test_guest.py makes one).
#include "fs/file.h"
#include "fs/name.h"
#include "kernel/copy.h"
#include "kernel/kstat.h"
#include "kernel/kstring.h"
#include "kernel/ktest.h"
#include "kernel/lock.h"
#include "kernel/thread.h"
#include "kernel/timer.h"
#include "kernel/vmm.h"

#define PAGES 16
#define NAME  "cache-write"

static uint64_t words[PAGES * PAGE_SIZE / 8];
static struct spinlock lock = SPINLOCK_INIT("cache write test", RANK_HTTP);
static struct waitq waitq;

static struct inode *new_file(void)
{
	struct volume *volume = volume_find("SCRATCH");
	struct inode *root, *file = NULL;

	if (!volume || !volume_writable(volume)) {
		ktest_skip("no writable volume SCRATCH");
		return NULL;
	}
	root = volume_root_inode(volume);
	EXPECT_EQ(file_create(root, 0644, &file), 0);
	if (file)
		EXPECT_EQ(file_link(root, NAME, strlen(NAME), file, NAME_NEW), 0);
	inode_put(root);
	return file;
}

static void end_file(struct inode *file)
{
	struct volume *volume = volume_find("SCRATCH");
	struct inode *root = volume_root_inode(volume);

	EXPECT_EQ(name_remove(root, NAME, strlen(NAME)), 0);
	inode_put(root);
	inode_put(file);
	EXPECT_EQ(durable_wait_sync(volume, volume_ticket(volume)), 0);
}

// What word `at` of the file is in a version.
static uint64_t word_of(unsigned version, uint64_t at)
{
	return (uint64_t)version << 48 | at;
}

struct waiting {
	struct file_write write; // first
	bool over;		 // (lock)
};

static void write_over(struct file_write *write)
{
	struct waiting *w = CONTAINER_OF(write, struct waiting, write);

	spin_lock_wtd(&lock);
	w->over = true;
	waitq_wake_all(&waitq);
	spin_unlock_wtd(&lock);
}

static int write_bytes(struct inode *file, uint64_t offset, const void *bytes, size_t len)
{
	struct waiting w = {
	    .write = {
		.inode = file, .offset = offset, .bytes = bytes, .len = len, .done = write_over}};
	int error;

	while ((error = file_write(&w.write)) == -EAGAIN) {
		spin_lock_wtd(&lock);
		while (!w.over)
			waitq_sleep(&waitq, &lock);
		w.over = false;
		spin_unlock_wtd(&lock);
		if (w.write.status || !w.write.len)
			return w.write.status;
	}
	return error;
}

// The bytes from..to of that version. offset and length need not be a page's.
static void write_version(struct inode *file, unsigned version, uint64_t from, uint64_t to)
{
	uint64_t before = copy_bytes(COPY_CACHE_WRITE);

	for (uint64_t at = 0; at < ARRAY_SIZE(words); at++)
		words[at] = word_of(version, at);
	EXPECT_EQ(write_bytes(file, from, (const uint8_t *)words + from, to - from), 0);
	EXPECT_EQ(copy_bytes(COPY_CACHE_WRITE) - before, to - from);
}

// Whether words first..last of a page are that version's.
static bool page_has(struct page *page, uint64_t index, unsigned version, unsigned first,
		     unsigned last)
{
	const uint64_t *found = vmm_window_open(page);
	bool right = true;

	for (unsigned i = first; i <= last; i++)
		right &= found[i] == word_of(version, index * (PAGE_SIZE / 8) + i);
	vmm_window_close(page);
	return right;
}

static bool whole_page_has(struct page *page, uint64_t index, unsigned version)
{
	return page_has(page, index, version, 0, PAGE_SIZE / 8 - 1);
}

static void expect_version(struct inode *file, unsigned version)
{
	unsigned wrong = 0;

	for (uint64_t i = 0; i < PAGES; i++) {
		struct page *page;
		if (pagecache_get_wait(file, i, &page)) {
			wrong++;
			continue;
		}
		wrong += !whole_page_has(page, i, version);
		page_wire_put(page);
	}
	EXPECT_EQ(wrong, 0);
}

static uint64_t dirty(void)
{
	return kstat_get("pagewire_cache_dirty_pages", NULL);
}

static void read_byte(void *arg)
{
	(void)*(volatile uint8_t *)arg;
}

KTEST("write", found, "bytes-written-are-found-in-the-cache-and-on-the-disk")
{
	struct inode *file = new_file();

	if (!file)
		return;
	write_version(file, 1, 0, 5000); // in pieces that end anywhere
	write_version(file, 1, 5000, 50001);
	write_version(file, 1, 50001, sizeof(words));
	EXPECT_EQ(file->size, sizeof(words));
	expect_version(file, 1);
	EXPECT_EQ(file_sync_wait(file), 0);
	EXPECT_EQ(dirty(), 0);
	pagecache_drop();
	expect_version(file, 1);
	end_file(file);
}

KTEST("write", unreachable, "a-dirty-page-cannot-be-touched")
{
	struct inode *file = new_file();
	struct page *page;

	if (!file)
		return;
	write_version(file, 1, 0, sizeof(words));
	page = pagecache_probe(file, 3);
	EXPECT(page);
	if (page) {
		if (vmm_cache_unmapped())
			EXPECT(ktest_panics(read_byte, page_virt(page)));
		EXPECT(whole_page_has(page, 3, 1));
		page_wire_put(page);
	}
	end_file(file);
}

// Writes version 2 over from..to of page `index`, which a client holds in version 1, and looks at both.
static void replace_held(struct inode *file, uint64_t index, unsigned from, unsigned to)
{
	uint64_t at = index * PAGE_SIZE, last = PAGE_SIZE / 8 - 1;
	struct page *held, *now;

	EXPECT_EQ(pagecache_get_wait(file, index, &held), 0);
	write_version(file, 2, at + from, at + to);
	EXPECT_EQ(pagecache_get_wait(file, index, &now), 0);
	EXPECT(now != held);
	EXPECT(whole_page_has(held, index, 1)); // as it went on the wire
	EXPECT(page_has(now, index, 2, from / 8, to / 8 - 1));
	EXPECT(!from || page_has(now, index, 1, 0, from / 8 - 1));
	EXPECT(to == PAGE_SIZE || page_has(now, index, 1, to / 8, (unsigned)last));
	page_wire_put(now);
	EXPECT_EQ(file_sync_wait(file), 0); // the disk takes the new page while the old one is held
	EXPECT(whole_page_has(held, index, 1));
	page_wire_put(held);
}

KTEST("write", replaced, "a-page-on-the-wire-is-replaced-and-stays-as-it-was")
{
	struct inode *file = new_file();
	uint64_t before = kstat_get("pagewire_cache_replaced_pages_total", NULL);

	if (!file)
		return;
	write_version(file, 1, 0, sizeof(words));
	replace_held(file, 0, 0, PAGE_SIZE); // DIRTY
	EXPECT_EQ(file_sync_wait(file), 0);
	replace_held(file, 1, 0, PAGE_SIZE); // CLEAN
	replace_held(file, 2, 800, 1600);    // CLEAN, and a part of it remains
	write_version(file, 1, 3 * PAGE_SIZE, 4 * PAGE_SIZE);
	replace_held(file, 3, 800, PAGE_SIZE); // DIRTY, and a part of it remains
	EXPECT(kstat_get("pagewire_cache_replaced_pages_total", NULL) - before >= 4);
	pagecache_drop();
	write_version(file, 2, 0, sizeof(words));
	expect_version(file, 2);
	end_file(file);
}

KTEST("write", behind, "write-behind-takes-pages-to-the-disk-unasked")
{
	struct inode *file = new_file();
	uint64_t end = clock_ns() + 200 * NS_PER_SEC; // 3.3 s are enough where the host gives time

	if (!file)
		return;
	write_version(file, 1, 0, sizeof(words));
	EXPECT(dirty() > 0);
	while (dirty() && clock_ns() < end)
		thread_sleep_ns(50 * NS_PER_MS);
	EXPECT_EQ(dirty(), 0);
	pagecache_drop();
	expect_version(file, 1);
	end_file(file);
}

// ---- a writer and a reader at once ----

#define ROUNDS 300

static struct inode *shared;
static volatile bool written;

static void write_on(void *arg)
{
	for (unsigned round = 2; round < ROUNDS; round++) {
		uint64_t at = round % PAGES * (uint64_t)PAGE_SIZE;
		write_version(shared, round, at, at + PAGE_SIZE);
		if (round % 7 == 0)
			EXPECT_EQ(file_sync_wait(shared), 0);
		if (round % 50 == 0)
			pagecache_drop();
		thread_yield();
	}
	__atomic_store_n(&written, true, __ATOMIC_RELEASE);
}

static unsigned version_of(struct page *page)
{
	const uint64_t *found = vmm_window_open(page);
	unsigned version = (unsigned)(found[0] >> 48);

	vmm_window_close(page);
	return version;
}

KTEST("write", versions, "a-page-that-is-held-is-one-version-while-others-write")
{
	unsigned looked = 0, wrong = 0;

	shared = new_file();
	if (!shared)
		return;
	write_version(shared, 1, 0, sizeof(words));
	__atomic_store_n(&written, false, __ATOMIC_RELEASE);
	bool made = thread_create("cache write", THREAD_NORMAL, write_on, NULL);
	EXPECT(made);
	while (made && !__atomic_load_n(&written, __ATOMIC_ACQUIRE)) {
		uint64_t index = looked++ % PAGES;
		struct page *page;
		if (pagecache_get_wait(shared, index, &page)) {
			wrong++;
			continue;
		}
		unsigned version = version_of(page);
		wrong += !whole_page_has(page, index, version);
		thread_yield(); // the writer goes on: this page must not
		wrong += !whole_page_has(page, index, version);
		page_wire_put(page);
	}
	EXPECT_EQ(wrong, 0);
	ktest_note("looked at %u pages", looked);
	end_file(shared);
}
