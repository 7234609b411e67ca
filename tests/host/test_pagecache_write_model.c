// SPDX-License-Identifier: BSD-2-Clause
// Writing under a random load: several files written, read, synced and truncated at once, pages held by readers, a
// slow disk that completes out of order, a format that must sleep and gives scattered blocks, too little
// memory, cancels; and once more with a disk and a format that fail. A model of each file says what its bytes
// are. A page that is held stays as it is. At each moment at which the journal could commit, the disk shows
// no byte that was never in the file, and zeros only where the file had a hole.
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
#include "fs/transaction.h"
#include "fs/volume_private.h"
#include "kernel/copy.h"
#include "kernel/panic.h"
#include "kernel/pmm.h"
#include "kernel/pool.h"
#include "shim.h"

#define FILES	 6
#define FILE_MAX 400000
#define HELD	 60

static struct file {
	uint64_t number;
	struct inode *inode;
	uint8_t byte[FILE_MAX + PAGE_SIZE],
	    written[FILE_MAX + PAGE_SIZE];	// as it is; as the write under way will make it
	uint64_t changed[FILE_MAX + PAGE_SIZE]; // version in which it was last changed
	bool hole[FILE_MAX];			// was a hole since the file last ended before it
	uint64_t size, version;
	struct file_write write;
	uint64_t write_from, applied, write_end;
	bool writing;
	struct file_sync sync;
	uint64_t sync_version;
	bool syncing;
	struct page_get get;
	uint64_t cuts, get_cuts, get_version; // truncations so far; when the page was asked for
	bool getting;
} files[FILES];

static struct held {
	struct page *page;
	struct file *file;
	uint64_t index;
	uint8_t bytes[PAGE_SIZE];
} held[HELD];
static unsigned held_count;
static uint64_t taken, reads, followed, syncs, write_errors, sync_errors, commits;
static bool failing;

// What the write under way has put into the cache so far.
static void apply(struct file *f)
{
	uint64_t to = f->writing ? f->write.offset : f->applied;
	if (to > f->size && f->applied < to) {
		memset(f->hole + f->size, true, f->applied > f->size ? f->applied - f->size : 0);
		memset(f->byte + f->size, 0, to - f->size);
		f->size = to;
	}
	if (f->applied < to) {
		memcpy(f->byte + f->applied, f->written + f->applied, to - f->applied);
		f->version++;
		for (uint64_t at = f->applied; at < to; at++)
			f->changed[at] = f->version;
		taken += to - f->applied;
	}
	f->applied = to;
}

// Byte `at` may be this: as the model has it, or as the write under way makes it just now.
static bool byte_right(const struct file *f, uint64_t at, uint8_t byte)
{
	uint8_t is = at < f->size ? f->byte[at] : 0;
	bool between = f->writing && at >= f->applied && at < f->write_end;
	return byte == is || (between && byte == f->written[at]);
}

// Who asked before a byte was changed may get what was there.
static void check_page(struct file *f, uint64_t index, const uint8_t *bytes)
{
	apply(f);
	for (uint64_t i = 0; !failing && f->get_cuts == f->cuts && i < PAGE_SIZE; i++)
		if (f->changed[index * PAGE_SIZE + i] <= f->get_version &&
		    !byte_right(f, index * PAGE_SIZE + i, bytes[i]))
			PANIC("file %lu byte %lu is %u, not %u (size %lu)", f->number,
			      index * PAGE_SIZE + i, bytes[i], f->byte[index * PAGE_SIZE + i],
			      f->size);
}

static void hold(struct file *f, struct page *page, uint64_t index)
{
	uint8_t bytes[PAGE_SIZE];
	reads++;
	shim_dma_read(page_phys(page), bytes, PAGE_SIZE);
	check_page(f, index, bytes);
	if (held_count == HELD) {
		page_wire_put(page);
		return;
	}
	struct held *h = &held[held_count++];
	*h = (struct held){.page = page, .file = f, .index = index};
	memcpy(h->bytes, bytes, PAGE_SIZE);
}

static void let_go(void)
{
	uint8_t bytes[PAGE_SIZE];
	if (!held_count)
		return;
	struct held *h = &held[shim_random_below(held_count)];
	shim_dma_read(page_phys(h->page), bytes, PAGE_SIZE);
	ASSERT(!memcmp(bytes, h->bytes, PAGE_SIZE));
	page_wire_put(h->page);
	*h = held[--held_count];
}

static void got(struct page_get *get)
{
	struct file *f = CONTAINER_OF(get, struct file, get);
	ASSERT(f->getting);
	f->getting = false;
	if (!get->status)
		hold(f, get->page, get->index);
	else
		ASSERT(get->status == -ENOMEM || get->status == -ERANGE || failing);
}

static void read_some(struct file *f)
{
	if (f->getting || !f->inode->size)
		return;
	uint64_t index = shim_random_below((f->inode->size + PAGE_SIZE - 1) / PAGE_SIZE);
	apply(f);
	f->get_cuts = f->cuts;
	f->get_version = f->version;
	struct page *page = pagecache_probe(f->inode, index);
	if (page) {
		unsigned more =
		    pagecache_follow(f->inode, page, index, (unsigned)shim_random_below(4));
		followed += more;
		for (unsigned i = 0; i <= more; i++)
			hold(f, page + i, index + i);
		return;
	}
	f->get = (struct page_get){.inode = f->inode, .index = index, .done = got};
	f->getting = true;
	pagecache_get(&f->get);
}

static void write_over(struct file *f, int status)
{
	apply(f);
	f->writing = false;
	if (!status)
		return;
	write_errors++;
	ASSERT(failing || status == -ENOMEM || status == -ENOSPC);
}

static void write_done(struct file_write *write)
{
	struct file *f = CONTAINER_OF(write, struct file, write);
	ASSERT(f->writing && (write->status || !write->len));
	write_over(f, write->status);
}

static void write_some(struct file *f)
{
	if (f->writing)
		return;
	apply(f);
	uint64_t at = shim_random_below(3) ? f->size : shim_random_below(FILE_MAX - 40000);
	uint64_t len = 1 + shim_random_below(shim_random_below(3) ? 3000 : 40000);
	at = MIN(at, FILE_MAX - len);
	for (uint64_t i = at; i < at + len; i++)
		f->written[i] = (uint8_t)(1 + shim_random_below(127));
	f->write = (struct file_write){.inode = f->inode,
				       .offset = at,
				       .bytes = (char *)f->written + at,
				       .len = len,
				       .done = write_done};
	f->write_from = f->applied = at;
	f->write_end = at + len;
	f->writing = true;
	int status = file_write(&f->write);
	if (status != -EAGAIN)
		write_over(f, status);
}

static void check_disk(struct file *f)
{
	uint64_t step = fake_rules.block_bytes;
	for (uint64_t at = 0; at < f->size; at += step) {
		uint8_t bytes[PAGE_SIZE] = {0};
		(void)!fake_disk_block(f->number, at / step, bytes);
		ASSERT(!memcmp(bytes, f->byte + at, MIN(step, f->size - at)));
	}
	ASSERT(fake_disk_size(f->number) == f->size);
}

static void sync_done(struct file_sync *sync)
{
	struct file *f = CONTAINER_OF(sync, struct file, sync);
	apply(f);
	f->syncing = false;
	syncs++;
	if (sync->status) {
		sync_errors++;
		ASSERT(failing);
	} else if (f->sync_version == f->version && !f->writing && !failing) {
		check_disk(f);
	}
}

static void sync_some(struct file *f)
{
	if (f->syncing)
		return;
	apply(f);
	f->sync = (struct file_sync){.inode = f->inode, .done = sync_done};
	f->sync_version = f->version;
	f->syncing = true;
	file_sync(&f->sync);
}

static void truncate_some(struct file *f)
{
	struct transaction t;
	pagecache_truncate_begin(f->inode);
	apply(f);
	f->cuts++;
	if (transaction_begin(&t, f->inode->volume, 1)) {
		pagecache_truncate_end(f->inode);
		return;
	}
	uint64_t size = shim_random_below(f->size + 1);
	f->inode->size = size;
	memset(f->hole + size, 0, FILE_MAX - size);
	memset(f->byte + size, 0, FILE_MAX - size);
	f->size = size;
	f->version++;
	transaction_end(&t);
	int error = pagecache_truncate(f->inode, size);
	ASSERT(!error || failing);
	fake_truncate_blocks(f->inode, size);
	pagecache_truncate_end(f->inode);
}

static void cancel(struct file *f)
{
	wtd_disable();
	if (f->writing && file_write_cancel(&f->write)) {
		apply(f);
		memset(&f->write, 0xa5, sizeof(f->write)); // nobody may look at it again
		f->writing = false;
	}
	wtd_enable();
}

// The journal could commit now; and the power fail.
static void check_commit(void)
{
	if (!fake_committed() || failing)
		return;
	commits++;
	struct file *f = &files[commits % FILES];
	apply(f);
	uint64_t size = fake_disk_size(f->number), step = fake_rules.block_bytes;
	ASSERT(size <= f->size);
	for (uint64_t at = 0; at < size; at += step) {
		uint8_t bytes[PAGE_SIZE] = {0};
		(void)!fake_disk_block(f->number, at / step, bytes);
		for (uint64_t i = at; i < MIN(at + step, size); i++)
			if (!bytes[i - at] ? !f->hole[i] : bytes[i - at] > 127)
				PANIC("file %lu byte %lu of %lu would be %u after a crash",
				      f->number, i, size, bytes[i - at]);
	}
}

static void disturb(struct file *f)
{
	size_t bytes = PAGE_SIZE << shim_random_below(4);
	void *p;
	switch (shim_random_below(8)) {
	case 0:
		pagecache_drop();
		break;
	case 1: // somebody else wants memory for a moment
		p = kpages_alloc(bytes);
		shim_advance(shim_random_below(5000));
		if (p)
			kpages_free(p, bytes);
		break;
	case 2:
		pool_fail_after((uint32_t)shim_random_below(4));
		write_some(f);
		read_some(f);
		pool_fail_off();
		break;
	case 3:
		shim_frames_fail_after((uint32_t)shim_random_below(4));
		write_some(f);
		read_some(f);
		shim_frames_fail_off();
		break;
	case 4:
		shim_advance(shim_random_below(4 * NS_PER_SEC));
		break;
	default:
		shim_advance(shim_random_below(20000));
	}
}

static void settle(void)
{
	fake_rules.write_fails_pct = fake_rules.allocate_fails_pct = fake_rules.inode_fails_pct = 0;
	fake_rules.begin_fails_pct = fake_rules.disk_fails_pct = 0;
	shim_advance(200 * NS_PER_SEC);
	for (struct file *f = files; f < files + FILES; f++) {
		ASSERT(!f->writing && !f->syncing && !f->getting);
		if (failing) {
			(void)!file_sync_wait(f->inode); // tells what happened
			ASSERT(!file_sync_wait(f->inode));
			continue;
		}
		ASSERT(!file_sync_wait(f->inode));
		apply(f);
		check_disk(f);
	}
	while (held_count)
		let_go();
	assert_int_equal(cache.dirty, 0);
	assert_int_equal(fake_promised(), 0);
	assert_int_equal(page_pinned(), 0);
	assert_int_equal(cache.reads, 0);
}

static void random_load(uint32_t block_bytes, unsigned steps, bool fails)
{
	failing = fails;
	fake_rules = (struct fake_rules){.block_bytes = block_bytes,
					 .writable = true,
					 .delay_max_ns = 3000,
					 .map_again_pct = 20,
					 .format_sleeps = true,
					 .scatter_pct = 20,
					 .log_blocks = fails ? 20 : 0,
					 .max_segs = fails ? 3 : 0,
					 .max_sectors = fails ? 24 : 0,
					 .disk_fails_pct = fails ? 2 : 0,
					 .write_fails_pct = fails ? 5 : 0,
					 .allocate_fails_pct = fails ? 5 : 0,
					 .inode_fails_pct = fails ? 3 : 0,
					 .begin_fails_pct = fails ? 3 : 0};
	fake_start(500);
	memset(files, 0, sizeof(files));
	for (struct file *f = files; f < files + FILES; f++) {
		f->number = fake_new_file(FAKE_ROOT, "f");
		assert_int_equal(inode_open(volume_first(), f->number, &f->inode), 0);
	}
	shim_set_unmapped(block_bytes != 1024);
	shim_preempt(shim_random());
	taken = reads = followed = syncs = write_errors = sync_errors = commits = 0;
	uint64_t copied = copy_bytes(COPY_CACHE_WRITE);
	for (unsigned i = 0; i < steps; i++) {
		struct file *f = &files[shim_random_below(FILES)];
		uint64_t what = shim_random_below(100);
		if (what < 35)
			write_some(f);
		else if (what < 60)
			read_some(f);
		else if (what < 80)
			let_go();
		else if (what < 84)
			sync_some(f);
		else if (what < 86)
			truncate_some(f);
		else if (what < 88)
			cancel(f);
		else
			disturb(f);
		if (i % 50 == 0)
			check_commit();
	}
	settle();
	print_message("%lu bytes written, %lu reads, %lu of them in runs, %lu syncs, errors %lu "
		      "and %lu, %lu commits, "
		      "%lu refills, %lu replaced, %lu room waits, %lu page waits\n",
		      taken, reads, followed, syncs, write_errors, sync_errors, commits,
		      writeback_figures.refills, writeback_figures.replaced,
		      writeback_figures.room_waits, writeback_figures.page_waits);
	assert_int_equal(copy_bytes(COPY_CACHE_WRITE) - copied, taken);
	assert_true(followed > 0);
	for (struct file *f = files; f < files + FILES; f++)
		inode_put(f->inode);
	pagecache_drop();
	assert_int_equal(cache.pages, 0);
	assert_int_equal(fake_stop(), 0);
}

static void random_load_on_a_sound_disk(void **state)
{
	random_load(4096, 8000, false);
	random_load(1024, 8000, false);
}

static void random_load_on_a_failing_disk(void **state)
{
	random_load(4096, 8000, true);
	random_load(2048, 8000, true);
	random_load(1024, 8000, true);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(random_load_on_a_sound_disk),
	    cmocka_unit_test(random_load_on_a_failing_disk),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
