// SPDX-License-Identifier: BSD-2-Clause
// See filebed.h.
#include "filebed.h"
#include "kernel/panic.h"
#include "kernel/thread.h"

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

void filebed_must(int error, const char *what)
{
	if (error)
		PANIC("%s: error %d", what, error);
}
