// SPDX-License-Identifier: BSD-2-Clause
// Writing the users file (rights_file.h): a new file takes the old one's name, so that whoever reads, and a power
// cut, find one or the other. Thread context.
#include "fs/file.h"
#include "fs/name.h"
#include "kernel/kstring.h"
#include "kernel/lock.h"
#include "kernel/thread.h"
#include "server/http_conn.h"
#include "server/rights_file.h"

struct writing {
	struct file_write write;
	struct waitq done; // W: lock
	bool again;	   // (W)
};
static struct spinlock lock = SPINLOCK_INIT("users file", RANK_HTTP);

static void may_go_on(struct file_write *write)
{
	struct writing *w = CONTAINER_OF(write, struct writing, write);

	spin_lock_wtd(&lock);
	w->again = true;
	waitq_wake_all(&w->done);
	spin_unlock_wtd(&lock);
}

static int write_all(struct inode *file, const char *text, size_t len)
{
	struct writing w = {.write = {.inode = file, .bytes = text, .len = len, .done = may_go_on}};
	int status;

	waitq_init(&w.done);
	while ((status = file_write(&w.write)) == -EAGAIN) {
		spin_lock_wtd(&lock);
		while (!w.again)
			waitq_sleep(&w.done, &lock);
		w.again = false;
		spin_unlock_wtd(&lock);
		if (w.write.status)
			return w.write.status;
	}
	return status ? status : file_sync_wait(file);
}

static int directory(struct inode **dir)
{
	struct inode *root;
	int status = name_find_wait(http_root, RIGHTS_DIRECTORY, strlen(RIGHTS_DIRECTORY), dir);

	if (status != -ENOENT)
		return status;
	root = volume_root_inode(http_root);
	status = dir_create(root, RIGHTS_DIRECTORY, strlen(RIGHTS_DIRECTORY), 0700, dir);
	inode_put(root);
	return status;
}

int rights_file_write(const char *text, size_t len)
{
	static const char name[] = "users";
	struct inode *dir = NULL, *file = NULL;
	int status = http_root ? directory(&dir) : -ENODEV;

	if (status == 0)
		status = file_create(dir, 0600, &file);
	if (status == 0)
		status = write_all(file, text, len);
	if (status == 0)
		status = file_link(dir, name, sizeof(name) - 1, file, NAME_REPLACE);
	if (status == 0)
		status = durable_wait_sync(http_root, volume_ticket(http_root));
	if (file)
		inode_put(file);
	if (dir)
		inode_put(dir);
	return status ? status : rights_file_load();
}
