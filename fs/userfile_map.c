// SPDX-License-Identifier: BSD-2-Clause
// Files of volumes in programs' memory: where pages of a mapping come from, and how a write through a shared one makes
// a page DIRTY (kernel/filemap.c). The bytes themselves are the program's to write: nothing is copied.
#include "fs/file.h"
#include "fs/pagecache.h"
#include "fs/userfile.h"
#include "kernel/lock.h"
#include "kernel/pool.h"
#include "kernel/uspace.h"

struct file_backing {
	struct uspace_backing backing;
	struct inode *inode; // a reference
	bool writes; // who mapped it had it opened for writing, and may have closed it since
};

static struct pool backing_pool =
    POOL_INIT("program mapping", struct file_backing, 65536); // of all programs; more is -ENOMEM

static struct inode *inode_of(struct uspace_backing *backing)
{
	return CONTAINER_OF(backing, struct file_backing, backing)->inode;
}

static uint64_t backing_pages(struct uspace_backing *backing)
{
	return (inode_of(backing)->size + PAGE_SIZE - 1) >> PAGE_SHIFT;
}

static int backing_page(struct uspace_backing *backing, uint64_t index, struct page **out)
{
	if (index >= backing_pages(backing))
		return -ERANGE;
	return pagecache_get_wait(inode_of(backing), index, out);
}

static struct page *backing_peek(struct uspace_backing *backing, uint64_t index)
{
	return pagecache_peek(inode_of(backing), index);
}

static int backing_touch(struct uspace_backing *backing, uint64_t index)
{
	if (index >= backing_pages(backing))
		return -ERANGE;
	return userfile_touch(inode_of(backing), index);
}

static int backing_sync(struct uspace_backing *backing)
{
	return inode_durable_wait(inode_of(backing));
}

static void backing_release(struct uspace_backing *backing)
{
	struct file_backing *b = CONTAINER_OF(backing, struct file_backing, backing);

	if (b->writes)
		userfile_unclaim(b->inode, 1);
	inode_put(b->inode);
	pool_free(&backing_pool, b);
}

static const struct uspace_backing_ops backing_ops = {.page = backing_page,
						      .size_pages = backing_pages,
						      .peek = backing_peek,
						      .touch = backing_touch,
						      .sync = backing_sync,
						      .release = backing_release};

struct uspace_backing *userfile_backing(struct stream *s)
{
	struct file_backing *b = pool_alloc(&backing_pool);

	if (!b)
		return NULL;
	b->inode = userfile_of(s)->inode;
	b->backing = (struct uspace_backing){
	    .ops = &backing_ops, .references = 1, .file = pagecache_key(b->inode)};
	inode_get(b->inode);
	b->writes = userfile_of(s)->writes > 0 && !userfile_claim(b->inode, 1);
	return &b->backing;
}
