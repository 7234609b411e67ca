// SPDX-License-Identifier: BSD-2-Clause
// The wire count of pages, and the copy rule's counters.
#include "kernel/page.h"
#include "kernel/copy.h"
#include "kernel/kstring.h"
#include "kernel/kstat.h"
#include "kernel/ktest.h"
#include "kernel/pmm.h"
#include "kernel/vmm.h"

KTEST("page", wire, "a-page-is-pinned-from-its-first-reference-to-its-last")
{
	struct page *page = pmm_alloc(0);
	uint64_t before = page_pinned();

	EXPECT(page != NULL);
	if (!page)
		return;
	page_wire_get(page);
	page_wire_get(page);
	EXPECT_EQ(page->wire, 2);
	EXPECT_EQ(page_pinned(), before + 1);
	EXPECT(page_pinned_high() >= before + 1);
	EXPECT_EQ(kstat_get("pagewire_cache_pinned_pages", NULL), before + 1);
	page_wire_put(page);
	EXPECT_EQ(page_pinned(), before + 1);
	page_wire_put(page);
	EXPECT_EQ(page_pinned(), before);
	pmm_free(page, 0);
}

static void put(void *page)
{
	page_wire_put(page);
}

KTEST("page", underflow, "unlocking-more-often-than-locking-panics")
{
	struct page *page = pmm_alloc(0);

	EXPECT(ktest_panics(put, page));
	page->wire = 0;
	pmm_free(page, 0);
}

KTEST("copy", counts, "only-copies-that-touch-a-data-page-of-the-cache-are-counted")
{
	struct page *page = pmm_alloc(1);
	char *there, header[64];
	uint64_t before = copy_bytes(COPY_OTHER);

	EXPECT(page != NULL);
	if (!page)
		return;
	there = page_virt(page);
	copy_other(there, header, 54);
	copy_other(header, there, 54);
	EXPECT_EQ(copy_bytes(COPY_OTHER), before);
	page[1].flags |= PAGE_CACHE | PAGE_META; // metadata is the CPU's to read
	copy_other(header, there + PAGE_SIZE, 54);
	EXPECT_EQ(copy_bytes(COPY_OTHER), before);
	page[1].flags &= (uint16_t)~PAGE_META;
	copy_other(header, there + PAGE_SIZE, 54);
	EXPECT_EQ(copy_bytes(COPY_OTHER), before + 54);
	copy_other(there + PAGE_SIZE - 10, header, 20); // only its end is in the cache
	EXPECT_EQ(copy_bytes(COPY_OTHER), before + 74);
	copy_other(there + PAGE_SIZE - 10, header, 10);
	copy_other(there + PAGE_SIZE, header, 0);
	EXPECT_EQ(copy_bytes(COPY_OTHER), before + 74);
	page[1].flags &= (uint16_t)~PAGE_CACHE;
	pmm_free(page, 1);
	copy_take_back(COPY_OTHER, 74);
	EXPECT_EQ(copy_bytes(COPY_OTHER), before);
}

KTEST("copy", moves, "copies-may-overlap")
{
	char text[] = "abcdefgh";

	copy_other(text + 2, text, 6);
	EXPECT(memcmp(text, "ababcdef", 8) == 0);
	copy_other(text, text + 2, 6);
	EXPECT(memcmp(text, "abcdefef", 8) == 0);
}
