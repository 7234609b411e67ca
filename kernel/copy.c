// SPDX-License-Identifier: BSD-2-Clause
// The copy rule's counters (include/kernel/copy.h). copy_other is on the path of every packet
// header that lwIP builds, so the question "is this a file byte?" is two compares and one load a
// side.
#include "kernel/copy.h"
#include "kernel/kstat.h"
#include "kernel/kstring.h"
#include "kernel/page.h"
#include "kernel/panic.h"
#include "kernel/vmm.h"

static uint64_t bytes_at[COPY_SITES]; // atomic
KSTAT_COUNTER_L(copy_stream_head, "pagewire_copy_bytes_total", "site=\"stream_head\"",
		"Bytes that may be file bytes, copied by the processor.",
		bytes_at[COPY_STREAM_HEAD]);
KSTAT_COUNTER_L(copy_cache_write, "pagewire_copy_bytes_total", "site=\"cache_write\"",
		"Bytes that may be file bytes, copied by the processor.",
		bytes_at[COPY_CACHE_WRITE]);
KSTAT_COUNTER_L(copy_other_site, "pagewire_copy_bytes_total", "site=\"other\"",
		"Bytes that may be file bytes, copied by the processor.", bytes_at[COPY_OTHER]);

uint64_t copy_bytes(enum copy_site site)
{
	return __atomic_load_n(&bytes_at[site], __ATOMIC_RELAXED);
}

void copy_take_back(enum copy_site site, uint64_t bytes)
{
	__atomic_fetch_sub(&bytes_at[site], bytes, __ATOMIC_RELAXED);
}

int copy_from_page(void *to, const void *from, size_t len)
{
	struct page *page = page_of_phys(virt_to_phys(from));
	const char *window = vmm_window_open(page);

	memcpy(to, window + (uintptr_t)from % PAGE_SIZE, len);
	vmm_window_close(page);
	return 0;
}

void copy_count(enum copy_site site, uint64_t bytes)
{
	__atomic_fetch_add(&bytes_at[site], bytes, __ATOMIC_RELAXED);
}

void copy_from_cache(void *to, struct page *page, size_t offset, size_t bytes)
{
	const char *window = vmm_window_open(page);

	memcpy(to, window + offset, bytes);
	vmm_window_close(page);
	copy_count(COPY_STREAM_HEAD, bytes);
}

// Cache pages are frames of RAM, reached through the direct map only. Pages of metadata are the
// file system's to read and do not count.
static inline bool file_page(uintptr_t frame)
{
	return frame < pages_count && (pages[frame].flags & (PAGE_CACHE | PAGE_META)) == PAGE_CACHE;
}

static inline bool holds_file_bytes(const void *p, size_t len)
{
	uintptr_t offset = (uintptr_t)p - DIRECT_BASE;
	uintptr_t frame = offset >> PAGE_SHIFT, last = (offset + len - 1) >> PAGE_SHIFT;
	bool found = file_page(frame);

	while (UNLIKELY(frame != last) && !found)
		found = file_page(++frame);
	return found;
}

void *copy_other(void *to, const void *from, size_t len)
{
	if (UNLIKELY(len == 0))
		return to;
	if (UNLIKELY(holds_file_bytes(from, len) || holds_file_bytes(to, len)))
		__atomic_fetch_add(&bytes_at[COPY_OTHER], len, __ATOMIC_RELAXED);
	return memmove(to, from, len);
}

int copy_cache_write(struct page *page, size_t offset, const void *from, size_t len,
		     int (*copy)(void *to, const void *from, size_t len))
{
	int error = 0;

	ASSERT(offset + len <= PAGE_SIZE);
	uint8_t *window = vmm_window_open(page);
	if (copy)
		error = copy(window + offset, from, len);
	else
		memcpy(window + offset, from, len);
	vmm_window_close(page);
	if (!error)
		__atomic_fetch_add(&bytes_at[COPY_CACHE_WRITE], len, __ATOMIC_RELAXED);
	return error;
}
