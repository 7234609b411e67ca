// SPDX-License-Identifier: BSD-2-Clause
// See filebed.h.
#include "filebed.h"
#include "fs/pagecache.h"
#include "kernel/panic.h"
#include "kernel/thread.h"
#include "shim.h"

struct waiting {
	struct file_write write;
	bool told;
};

static void told(struct file_write *write)
{
	CONTAINER_OF(write, struct waiting, write)->told = true;
}

int filebed_write(struct inode *inode, uint64_t offset, const void *from, size_t len)
{
	struct waiting w = {
	    .write = {.inode = inode, .offset = offset, .bytes = from, .len = len, .done = told}};
	int status = file_write(&w.write);

	if (status != -EAGAIN)
		return status;
	while (!w.told)
		thread_sleep_ns(NS_PER_MS);
	return w.write.status;
}

void filebed_read(struct inode *inode, void *out, size_t len)
{
	for (size_t at = 0; at < len; at += PAGE_SIZE) {
		struct page *page;

		filebed_must(pagecache_get_wait(inode, at >> PAGE_SHIFT, &page), "read");
		shim_dma_read(page_phys(page), (uint8_t *)out + at, MIN(len - at, PAGE_SIZE));
		page_wire_put(page);
	}
}

void filebed_must(int error, const char *what)
{
	if (error)
		PANIC("%s: error %d", what, error);
}
