// SPDX-License-Identifier: BSD-2-Clause
// One file's bytes and properties into another: COPY. Page to page: a page of the source is wired, and its bytes
// go into the page of the new file with the write path's one copy, counted as cache_write. Worker context.
#include "fs/pagecache.h"
#include "kernel/copy.h"
#include "kernel/kstring.h"
#include "kernel/lock.h"
#include "kernel/pmm.h"
#include "kernel/thread.h"
#include "kernel/vmm.h"
#include "server/http_change.h"

#define ATTRIBUTES_MOST 65536 // of a list of names, and of a value (ext4 holds less)

struct copying {
	struct file_write write;
	struct spinlock lock;
	struct waitq waitq;
	bool done; // (lock)
};

static void write_done(struct file_write *write)
{
	struct copying *c = CONTAINER_OF(write, struct copying, write);

	spin_lock_wtd(&c->lock);
	c->done = true;
	waitq_wake_all(&c->waitq);
	spin_unlock_wtd(&c->lock);
}

// Until everything is taken, whatever it waits for.
static int write_wait(struct copying *c)
{
	int error;

	while ((error = file_write(&c->write)) == -EAGAIN) {
		spin_lock_wtd(&c->lock);
		while (!c->done)
			waitq_sleep(&c->waitq, &c->lock);
		c->done = false;
		spin_unlock_wtd(&c->lock);
		if (c->write.status || !c->write.len)
			return c->write.status;
	}
	return error;
}

static int bytes_copy(struct inode *from, struct inode *to)
{
	struct copying c = {.write = {.inode = to, .copy = copy_from_page, .done = write_done},
			    .lock = SPINLOCK_INIT("http copy", RANK_HTTP)};
	uint64_t size = from->size;
	int error = 0;

	waitq_init(&c.waitq);
	for (uint64_t at = 0; at < size && !error; at += PAGE_SIZE) {
		struct page *page;
		error = pagecache_get_wait(from, at >> PAGE_SHIFT, &page);
		if (error)
			break;
		c.write.bytes = page_virt(page); // named, not read: copy_from_page opens a window
		c.write.len = MIN(PAGE_SIZE, size - at);
		error = write_wait(&c);
		page_wire_put(page);
	}
	return error;
}

static int property_copy(struct inode *from, struct inode *to, const char *name, char *value)
{
	int n = xattr_get(from, name, value, ATTRIBUTES_MOST);

	return n < 0 ? n : xattr_set(to, name, value, (size_t)n);
}

int http_properties_copy(struct inode *from, struct inode *to)
{
	char *names, *value;
	int n = xattr_list(from, NULL, 0), error = 0;

	if (n <= 0 || n > ATTRIBUTES_MOST)
		return n == -EOPNOTSUPP ? 0 : MIN(n, 0);
	names = kpages_alloc(ATTRIBUTES_MOST);
	value = kpages_alloc(ATTRIBUTES_MOST);
	if (names && value) {
		n = xattr_list(from, names, ATTRIBUTES_MOST);
		error = MIN(n, 0);
		for (int at = 0; at < n && !error; at += (int)strlen(names + at) + 1)
			error = property_copy(from, to, names + at, value);
	} else {
		error = -ENOMEM;
	}
	if (names)
		kpages_free(names, ATTRIBUTES_MOST);
	if (value)
		kpages_free(value, ATTRIBUTES_MOST);
	return error == -ENODATA ? 0 : error; // removed meanwhile
}

int http_file_copy(struct inode *from, struct inode *to)
{
	int error = bytes_copy(from, to);

	if (error == 0)
		error = file_sync_wait(to);
	if (error == 0)
		error = http_properties_copy(from, to);
	return error;
}
