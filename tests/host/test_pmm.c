// SPDX-License-Identifier: BSD-2-Clause
// SOURCES: kernel/pmm.c kernel/bootinfo.c
// The buddy allocator against a model that knows every frame, on a machine with holes, odd range ends
// and RAM full of garbage: alignment, overlap, counts, and coalescing back to what it was at boot.
#define _GNU_SOURCE
#include <stdarg.h>
#include <setjmp.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <cmocka.h>
#include "kernel/bootinfo.h"
#include "kernel/kstring.h"
#include "kernel/panic.h"
#include "kernel/pmm.h"
#include "kernel/pmm_private.h"
#include "kernel/vmm.h"
#include "shim.h"

#define RAM_BYTES (96UL << 20)
#define FRAMES	  (RAM_BYTES >> PAGE_SHIFT)
#define BLOCKS	  4096

struct boot_info boot_info;
static uint8_t owner[FRAMES]; // 0: not ours, 1: free, 2: handed out
static struct {
	struct page *page;
	unsigned order;
} blocks[BLOCKS];
static size_t block_count;

static int setup(void **state)
{
	struct pmm_stats stats;
	void *ram =
	    mmap(NULL, RAM_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	assert_ptr_not_equal(ram, MAP_FAILED);
	memset(ram, 0xff, RAM_BYTES); // every struct page claims to be the head of a free block
	host_direct_base = (uintptr_t)ram;
	shim_seed();
	bootinfo_add_range(&boot_info, 0, 96UL << 20, true);
	bootinfo_reserve(&boot_info, 0, 1UL << 20);
	bootinfo_reserve(&boot_info, 0x107000, 0x14b123);   // the kernel image
	bootinfo_reserve(&boot_info, 0x1fff000, 0x2000000); // ends at a boundary
	bootinfo_reserve(&boot_info, 0x2400000, 0x2c01000); // a hole larger than a block
	bootinfo_reserve(&boot_info, 0x4001000, 0x4002000); // starts behind a boundary
	bootinfo_reserve(&boot_info, 0x5fe1000, 0x6000000);
	paddr_t early = pmm_early_alloc(3);
	assert_int_equal(early, 0x5fde000);
	pmm_init();
	pmm_stats(&stats);
	for (unsigned i = 0; i < boot_info.range_count; i++)
		for (uint64_t f = boot_info.ranges[i].start >> PAGE_SHIFT;
		     f < boot_info.ranges[i].end >> PAGE_SHIFT; f++)
			owner[f] = boot_info.ranges[i].usable;
	size_t usable = 0;
	for (size_t f = 0; f < FRAMES; f++)
		usable += owner[f];
	assert_int_equal(stats.frames_total, usable);
	assert_int_equal(stats.frames_free, usable);
	return 0;
}

static bool model_alloc(unsigned order)
{
	struct page *page = pmm_alloc(order);
	if (!page)
		return false;
	uint64_t frame = page_phys(page) >> PAGE_SHIFT;
	assert_int_equal(frame & ((1UL << order) - 1), 0);
	for (uint64_t f = frame; f < frame + (1UL << order); f++) {
		assert_int_equal(owner[f], 1);
		owner[f] = 2;
		static const struct page zero;
		assert_memory_equal(&pages[f], &zero, sizeof zero);
	}
	assert_true(block_count < BLOCKS);
	blocks[block_count].page = page;
	blocks[block_count++].order = order;
	return true;
}

static void model_free(size_t i)
{
	uint64_t frame = page_phys(blocks[i].page) >> PAGE_SHIFT;
	for (uint64_t f = frame; f < frame + (1UL << blocks[i].order); f++)
		owner[f] = 1;
	pmm_free(blocks[i].page, blocks[i].order);
	blocks[i] = blocks[--block_count];
}

static uint64_t free_now(void)
{
	struct pmm_stats stats;
	pmm_stats(&stats);
	return stats.frames_free;
}

// How many blocks of the largest size there are: the measure of coalescing.
static size_t largest_blocks(void)
{
	size_t n = 0;
	while (model_alloc(PMM_MAX_ORDER))
		n++;
	while (block_count)
		model_free(0);
	return n;
}

static void random_use_keeps_blocks_apart_and_coalesces(void **state)
{
	uint64_t at_boot = free_now();
	size_t large = largest_blocks();
	assert_true(large >= 12);
	for (unsigned n = 0; n < 300000; n++) {
		bool take =
		    block_count < 20 ||
		    (block_count < BLOCKS && shim_random_below(100) < (n / 50000 % 2 ? 35 : 60));
		if (take)
			model_alloc(
			    (unsigned)shim_random_below(shim_random_below(PMM_MAX_ORDER + 1) + 1));
		else
			model_free(shim_random_below(block_count));
	}
	while (block_count)
		model_free(shim_random_below(block_count));
	assert_int_equal(free_now(), at_boot);
	assert_int_equal(largest_blocks(), large);
}

static void every_frame_can_be_had_once_and_then_null(void **state)
{
	uint64_t at_boot = free_now();
	struct page **all = calloc(at_boot + 1, sizeof *all);
	uint64_t n = 0;
	while (n <= at_boot && (all[n] = pmm_alloc(0)))
		n++;
	assert_int_equal(n, at_boot);
	assert_int_equal(free_now(), 0);
	assert_true(pmm_low());
	struct pmm_stats stats;
	pmm_stats(&stats);
	assert_int_equal(stats.frames_free_low, 0);
	assert_true(stats.failed > 0);
	while (n)
		pmm_free(all[--n], 0);
	free(all);
	assert_int_equal(free_now(), at_boot);
	assert_false(pmm_low());
}

static struct page *hoard[FRAMES];
static size_t hoarded, reclaim_calls;
static size_t give_back(size_t wanted)
{
	size_t n = 0;
	reclaim_calls++;
	for (; n < wanted && hoarded; n++)
		pmm_free(hoard[--hoarded], 0);
	return n;
}

static void kernel_memory_makes_the_hoarder_give_back(void **state)
{
	uint64_t at_boot = free_now();
	pmm_register_reclaim(give_back);
	while ((hoard[hoarded] = pmm_alloc(0)))
		hoarded++;
	uint8_t *p = kpages_alloc(5 * PAGE_SIZE);
	assert_non_null(p);
	assert_true(reclaim_calls > 0);
	for (size_t i = 0; i < 5 * PAGE_SIZE; i++)
		assert_int_equal(p[i], 0);
	kpages_free(p, 5 * PAGE_SIZE);
	give_back(SIZE_MAX);
	assert_int_equal(free_now(), at_boot);
	assert_null(kpages_alloc(0));
	assert_null(kpages_alloc((PAGE_SIZE << PMM_MAX_ORDER) + 1));
}

static void a_bare_block_leaves_struct_pages_alone_and_comes_back_whole(void **state)
{
	uint64_t at_boot = free_now();
	size_t large = largest_blocks();
	struct page *page = pmm_alloc(6); // what was there last: pages in use
	for (unsigned n = 0; n < 64; n++)
		page[n].index = 7;
	pmm_free(page, 6);
	void *p = kpages_alloc_bare(PAGE_SIZE << 6);
	assert_ptr_equal(p, page_virt(page)); // the one that was freed last
	assert_int_equal(page[0].index, 0);
	assert_int_equal(page[1].index, 7);
	page[63].wire = 5; // as after the machine was switched on
	page[62].flags = PAGE_HEAD | PAGE_HIDDEN;
	assert_int_equal(free_now(), at_boot - 64);
	kpages_free_bare(p, PAGE_SIZE << 6);
	assert_int_equal(free_now(), at_boot);
	assert_int_equal(largest_blocks(), large);
	kpages_free_bare(NULL, PAGE_SIZE);
}

static void free_twice(void *page)
{
	pmm_free(page, 0);
}
static void free_wired(void *page)
{
	pmm_free(page, 1);
}

static void wrong_frees_are_panics(void **state)
{
	struct page *page = pmm_alloc(1), *other = pmm_alloc(0);
	pmm_free(other, 0);
	if (other->flags & PAGE_HEAD) {
		assert_true(shim_panics(free_twice, other));
		assert_non_null(strstr(shim_panic_text(), "freed twice"));
	}
	page[1].wire = 1;
	assert_true(shim_panics(free_wired, page));
	assert_non_null(strstr(shim_panic_text(), "on the wire"));
	page[1].wire = 0;
	pmm_free(page, 1);
}

static void junk_fills_what_is_handed_out_and_freed(void **state)
{
	pmm_set_junk(true);
	struct page *page = pmm_alloc(0);
	uint8_t *bytes = page_virt(page);
	for (size_t i = 0; i < PAGE_SIZE; i++)
		assert_int_equal(bytes[i], PAGE_JUNK);
	memset(bytes, 0, PAGE_SIZE);
	pmm_free(page, 0);
	for (size_t i = 0; i < PAGE_SIZE; i++)
		assert_int_equal(bytes[i], PAGE_JUNK);
	pmm_set_junk(false);
}

// What virt_to_phys is on the host: no kernel image, RAM only.
paddr_t virt_to_phys(const void *p)
{
	return (uintptr_t)p - DIRECT_BASE;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(random_use_keeps_blocks_apart_and_coalesces),
	    cmocka_unit_test(every_frame_can_be_had_once_and_then_null),
	    cmocka_unit_test(kernel_memory_makes_the_hoarder_give_back),
	    cmocka_unit_test(a_bare_block_leaves_struct_pages_alone_and_comes_back_whole),
	    cmocka_unit_test(wrong_frees_are_panics),
	    cmocka_unit_test(junk_fills_what_is_handed_out_and_freed),
	};
	return cmocka_run_group_tests_name("pmm", tests, setup, NULL);
}
