// SPDX-License-Identifier: BSD-2-Clause
// Frames of programs, how often each is mapped, and the account of all memory that programs may have
// (kernel/uspace.h).
#include "kernel/cpu.h"
#include "kernel/kstat.h"
#include "kernel/lock.h"
#include "kernel/panic.h"
#include "kernel/pmm.h"
#include "kernel/uspace_private.h"
#include "kernel/vmm.h"

static uint64_t frames_used, memory_used, memory_max, memory_refused; // atomic; memory_max constant
KSTAT_GAUGE(memory_used, "pagewire_user_memory_frames",
	    "Page frames that programs and what the kernel keeps for them have.");
KSTAT_COUNTER(memory_refused, "pagewire_user_memory_full_total",
	      "Times that all programs together had half of the memory and wanted more.");
KSTAT_GAUGE(frames_used, "pagewire_user_frames", "Page frames that programs have.");

bool user_memory_take(uint32_t frames)
{
	uint64_t now = __atomic_add_fetch(&memory_used, frames, __ATOMIC_RELAXED);

	if (now <= memory_max)
		return true;
	user_memory_give(frames);
	memory_refused++;
	return false;
}

void user_memory_give(uint32_t frames)
{
	__atomic_fetch_sub(&memory_used, frames, __ATOMIC_RELAXED);
}

// As many as the allocator takes for it, but one.
static uint32_t frames_beyond_one(size_t bytes)
{
	uint32_t frames = 1;

	while (((size_t)frames << PAGE_SHIFT) < bytes)
		frames *= 2;
	return frames - 1;
}

void *user_kpages_alloc_as(size_t bytes, uint32_t frames)
{
	void *memory;

	if (!user_memory_take(frames))
		return NULL;
	memory = kpages_alloc(bytes);
	if (!memory)
		user_memory_give(frames);
	return memory;
}

void user_kpages_free_as(void *memory, size_t bytes, uint32_t frames)
{
	kpages_free(memory, bytes);
	user_memory_give(frames);
}

void *user_kpages_alloc(size_t bytes)
{
	return user_kpages_alloc_as(bytes, frames_beyond_one(bytes));
}

void user_kpages_free(void *memory, size_t bytes)
{
	user_kpages_free_as(memory, bytes, frames_beyond_one(bytes));
}

struct page *user_frame_alloc(void)
{
	void *memory;
	struct page *page;

	if (!user_memory_take(1))
		return NULL;
	memory = kpages_alloc(PAGE_SIZE);
	if (!memory) {
		user_memory_give(1);
		return NULL;
	}
	page = page_of_phys(virt_to_phys(memory));
	page->flags |= PAGE_USER;
	page->index = 1;
	__atomic_fetch_add(&frames_used, 1, __ATOMIC_RELAXED);
	return page;
}

void user_frame_get(struct page *page)
{
	__atomic_fetch_add(&page->index, 1, __ATOMIC_RELAXED);
}

static void frame_free(struct page *page)
{
	page->flags &= (uint16_t)~PAGE_USER;
	__atomic_fetch_sub(&frames_used, 1, __ATOMIC_RELAXED);
	kpages_free(page_virt(page), PAGE_SIZE);
	user_memory_give(1);
}

// Whoever sees both counts at 0 frees; with fast WTDs kept out nobody comes between.
void user_frame_put(struct page *page)
{
	wtd_disable();
	ASSERT(page->flags & PAGE_USER && page->index);
	if (--page->index == 0 && page->wire == 0)
		frame_free(page);
	wtd_enable();
}

// page.c: a program's frame came off the wire. Between that and here another thread may have run: it may have freed the
// frame, and somebody may have it again.
static void frame_released(struct page *page)
{
	wtd_disable();
	if (page->flags & PAGE_USER && page->index == 0 && page->wire == 0)
		frame_free(page);
	wtd_enable();
}

void uspace_init(void)
{
	struct pmm_stats stats;

	pmm_stats(&stats);
	memory_max = stats.frames_total / 2;
	page_set_user_release_hook(frame_released);
	uspace_fault_init();
}
